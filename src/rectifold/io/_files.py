"""Reading and writing files so that a failure leaves nothing half-written and reads as one sentence."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from rectifold.core.errors import ProblemError

__all__ = ["as_path", "read_bytes", "write_atomically"]


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` as a `Path`, with ``~`` expanded."""
    try:
        return Path(path).expanduser()
    except (TypeError, RuntimeError) as error:
        raise ProblemError(f"not a file name: {path!r}") from error


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file; `ProblemError` if it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise ProblemError(f"cannot read {path}: {_reason(error)}") from error


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it there.

    Raises
    ------
    ProblemError
        If the file cannot be written; ``path`` is then as it was.
    """
    try:
        target = Path(os.path.realpath(path))
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("xb") as stream:
                write(stream)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise ProblemError(f"cannot write {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return the system's sentence without the path that Python adds to it."""
    return getattr(error, "strerror", None) or str(error)

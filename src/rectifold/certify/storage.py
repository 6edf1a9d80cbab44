"""Certificates in files: one ``.npz``, or readable ``.json`` with its arrays in an ``.npz`` beside it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core.certificate import TrainingCertificate
from rectifold.core.certificate_format import from_arrays, to_arrays
from rectifold.core.errors import CertificateError

__all__ = ["load_certificate", "save_certificate"]


def save_certificate(
    certificate: TrainingCertificate, path: str | os.PathLike[str], *, include_data: bool = False
) -> None:
    """Write a certificate.

    Parameters
    ----------
    certificate : TrainingCertificate
    path : path-like
        Ending in ``.npz`` (one file) or ``.json`` (text, floats in hex, and the arrays in ``<stem>.npz``).
    include_data : bool
        Whether the training data go in; otherwise only their SHA-256 does, and `verify` needs ``problem=``.

    Raises
    ------
    CertificateError
        If the path ends otherwise, or the data are asked for and the certificate has none.
    """
    target = Path(path)
    _require_suffix(target)
    arrays = to_arrays(certificate, include_data)
    if target.suffix == ".json":
        text = arrays.pop("json").tobytes()
        _write_arrays(target.with_suffix(".npz"), arrays)
        _replace(target, lambda p: p.write_bytes(text + b"\n"))
    else:
        _write_arrays(target, arrays)


def load_certificate(path: str | os.PathLike[str]) -> TrainingCertificate:
    """Read what `save_certificate` wrote; it is not verified by that.

    Raises
    ------
    CertificateError
        If a file is missing or is not a certificate.
    """
    target = Path(path)
    _require_suffix(target)
    try:
        arrays = _read_arrays(target.with_suffix(".npz"))
        if target.suffix == ".json":
            arrays["json"] = np.frombuffer(target.read_bytes(), dtype=np.uint8)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CertificateError(f"{target} is not a readable certificate ({type(error).__name__}: {error}).") from error
    return from_arrays(arrays)


def _require_suffix(path: Path) -> None:
    if path.suffix not in (".npz", ".json"):
        raise CertificateError(f"A certificate's file ends in .npz or .json, got {path.name!r}.")


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise ValueError("not an .npz archive")
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def _write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    _replace(path, write)


def _replace(path: Path, write: Any) -> None:
    """Write beside the target first, so that a failure leaves no half-written file."""
    partial = path.with_name(path.name + ".partial")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

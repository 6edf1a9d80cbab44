"""The options of ``rectifold fit``, checked before any work, and what other commands check like it."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rectifold.core.errors import BackendNotFoundError, ProblemError

__all__ = ["FitOptions", "check_save", "check_seed", "check_time_limit", "check_writable"]


@dataclass(frozen=True)
class FitOptions:
    """What ``rectifold fit`` was asked to do.

    Raises
    ------
    ProblemError
        If an option makes no sense, or a file to be written could not be.
    BackendNotFoundError
        If writing ONNX was asked for and onnx is missing.
    """

    data: str
    target: str | None = None
    alpha: str = "auto"
    path: bool = False
    classify: bool = False
    report: Path | None = None
    save: Path | None = None
    time_limit: float | None = None
    max_work: float | None = None
    standardize: bool = True
    test_size: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.alpha != "auto":
            self._check_alpha()
        if not 0.0 <= self.test_size < 1.0:
            raise ProblemError(f"--test-size must be at least 0 and below 1, got {self.test_size}")
        check_time_limit(self.time_limit)
        if self.max_work is not None and not 0 <= self.max_work <= 1e18:
            raise ProblemError(f"--max-work must be a number of samples from 0 to 1e18, got {self.max_work}")
        check_seed(self.seed)
        for name, file in (("--report", self.report), ("--save", self.save)):
            if file is not None:
                check_writable(name, file)
        if self.save is not None:
            check_save(self.save)

    @property
    def fixed_alpha(self) -> float | None:
        """Alpha as a number, or None when it is to be chosen."""
        return None if self.alpha == "auto" else float(self.alpha)

    def command(self) -> str:
        """Return the command line that repeats the run."""
        words = ["rectifold", "fit", self.data]
        words += ["--target", self.target] if self.target is not None else []
        words += ["--path"] if self.path else ["--alpha", self.alpha]
        words += ["--classify"] if self.classify else []
        words += ["--time-limit", f"{self.time_limit:g}"] if self.time_limit is not None else []
        words += ["--max-work", f"{self.max_work:g}"] if self.max_work is not None else []
        words += [] if self.standardize else ["--no-standardize"]
        words += ["--test-size", f"{self.test_size:g}", "--seed", str(self.seed)]
        words += ["--report", str(self.report)] if self.report is not None else []
        words += ["--save", str(self.save)] if self.save is not None else []
        return shlex.join(words)

    def _check_alpha(self) -> None:
        """Refuse what is not a positive number."""
        if self.path:
            raise ProblemError("--path chooses alpha itself: give either --path or --alpha")
        try:
            value = float(self.alpha)
        except ValueError:
            raise ProblemError(f"--alpha must be 'auto' or a positive number, got {self.alpha!r}") from None
        if not (math.isfinite(value) and value > 0):
            raise ProblemError(f"--alpha must be positive and finite, got {self.alpha}")


def check_time_limit(seconds: float | None) -> None:
    """Refuse a limit that is not a positive number."""
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise ProblemError(f"--time-limit must be a positive number of seconds, got {seconds}")


def check_seed(seed: int) -> None:
    """Refuse a negative seed."""
    if seed < 0:
        raise ProblemError(f"--seed must not be negative, got {seed}")


def check_writable(option: str, file: Path) -> None:
    """Find out before the work, not after it, that there is no folder to write to."""
    if file.is_dir():
        raise ProblemError(f"{option}: {file} is a folder")
    if not file.absolute().parent.is_dir():
        raise ProblemError(f"{option}: there is no folder {file.parent}")


def check_save(file: Path) -> None:
    """Refuse endings that no writer knows, and ONNX without onnx."""
    if file.suffix not in (".npz", ".onnx"):
        raise ProblemError(f"--save writes .npz or .onnx files, not {file.name!r}")
    if file.suffix == ".onnx" and find_spec("onnx") is None:
        raise BackendNotFoundError("saving ONNX needs onnx: pip install 'rectifold[onnx]'")

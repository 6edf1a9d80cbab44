"""The options of ``rectifold minimize``, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rectifold.cli.options import check_seed, check_time_limit, check_writable
from rectifold.core.errors import ProblemError

__all__ = ["MinimizeOptions"]


@dataclass(frozen=True)
class MinimizeOptions:
    """What ``rectifold minimize`` was asked to do.

    Raises
    ------
    ProblemError
        If an option makes no sense, or the file to be written could not be.
    """

    network: Path
    box: tuple[str, str] | None = None
    polytope: Path | None = None
    output: int = 0
    maximize: bool = False
    start: str | None = None
    starts: int | None = None
    time_limit: float | None = None
    seed: int = 0
    save: Path | None = None

    def __post_init__(self) -> None:
        if self.starts is not None and self.starts < 1:
            raise ProblemError(f"--starts must be at least 1, got {self.starts}")
        check_time_limit(self.time_limit)
        check_seed(self.seed)
        if self.save is not None:
            check_writable("--save", self.save)
            if self.save.suffix != ".npz":
                raise ProblemError(f"--save writes an .npz file, not {self.save.name!r}")

    @property
    def goal(self) -> str:
        """What is looked for, in a word."""
        return "maximum" if self.maximize else "minimum"

"""Progress on the screen, and Ctrl-C as a request to stop."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any, Literal, Self

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rectifold.report.words import number, percent

__all__ = ["ScreenMonitor"]


class ScreenMonitor:
    """A monitor that shows one line of progress and turns the first Ctrl-C into ``should_stop``.

    Use as a context manager around one phase. A second Ctrl-C in the same phase raises KeyboardInterrupt. On anything
    but a terminal it shows nothing.

    Parameters
    ----------
    console : rich.console.Console
        Where progress goes.
    phase : str
        What is being done.
    shown : {"lowest", "highest", "latest"}
        Which of the values so far is the one to show.

    Attributes
    ----------
    interrupted : bool
    elapsed, value, bound : list of float
        The events of the phase.
    """

    def __init__(self, console: Console, phase: str, shown: Literal["lowest", "highest", "latest"] = "lowest") -> None:
        self.console, self.phase, self.shown = console, phase, shown
        self.interrupted = False
        self.elapsed: list[float] = []
        self.value: list[float] = []
        self.bound: list[float] = []
        self._progress = Progress(
            SpinnerColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._line = self._progress.add_task(phase, total=None)
        self._start = time.perf_counter()
        self._previous: Any = None

    def event(self, stage: str, value: float, bound: float, elapsed: float, **counts: float) -> None:
        """Show and keep an event."""
        self.elapsed.append(elapsed)
        self.value.append(value)
        self.bound.append(bound)
        best, floor = self._best(), float(np.fmax.reduce(self.bound))
        parts = [f"{self.phase}: {stage}", f"objective {number(best)}"]
        if np.isfinite(floor):
            parts += [f"bound {number(floor)}", f"gap {percent(max(best - floor, 0.0) / best if best > 0 else 0.0)}"]
        shown = [key for key in counts if "neurons" in key or key in ("pivots", "starts")]
        parts += [f"{key.removeprefix('n_')} {counts[key]:g}" for key in shown]
        if "rho" in counts:
            parts.append(f"trying rho {counts['rho']:.4g}")
            parts.append(f"{number(counts.get('nodes'), 3)} nodes, about {number(counts.get('nodes_left'), 2)} left")
        self._progress.update(self._line, description="  ".join(parts))

    def _best(self) -> float:
        if self.shown == "latest":
            return self.value[-1]
        return float((np.fmax if self.shown == "highest" else np.fmin).reduce(self.value))

    def note(self, text: str) -> None:
        """Replace the line of progress."""
        self._progress.update(self._line, description=f"{self.phase}: {text}")

    def should_stop(self) -> bool:
        """Return whether Ctrl-C was pressed."""
        return self.interrupted

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._on_interrupt)
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    @property
    def seconds(self) -> float:
        """Seconds since the phase began."""
        return time.perf_counter() - self._start

    def _on_interrupt(self, number_: int, frame: FrameType | None) -> None:
        """Ask to stop; on the second time, abort."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self.note("stopping with what there is so far (Ctrl-C again aborts)")

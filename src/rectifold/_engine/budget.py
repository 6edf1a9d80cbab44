"""What a run may still spend, and what it has reported so far."""

from __future__ import annotations

import time

import numpy as np

from rectifold.core.errors import ProblemError
from rectifold.core.monitor import Monitor, SilentMonitor
from rectifold.core.result import Status, Trace


class Budget:
    """Wall-clock limit, monitor and trace of one run.

    Parameters
    ----------
    monitor : Monitor, optional
    time_limit : float, optional
        Seconds from now.

    Raises
    ------
    ProblemError
        If the limit is not a positive number or the monitor lacks ``event`` or ``should_stop``.
    """

    def __init__(self, monitor: Monitor | None = None, time_limit: float | None = None) -> None:
        if monitor is not None and not isinstance(monitor, Monitor):
            raise ProblemError(
                "callback must have the methods event(stage, value, bound, elapsed, ...) and should_stop()."
            )
        if time_limit is not None and not _is_positive_number(time_limit):
            raise ProblemError(f"time_limit must be positive seconds or None, got {time_limit!r}.")
        self._monitor: Monitor = SilentMonitor() if monitor is None else monitor
        self._limit = np.inf if time_limit is None else float(time_limit)
        self._start = time.perf_counter()
        self._interrupted = False
        self._rows: list[tuple[float, float, float, str]] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    @property
    def remaining(self) -> float:
        """Seconds left of the limit; infinity without one."""
        return max(self._limit - self.elapsed, 0.0)

    def report(self, stage: str, value: float, bound: float = -np.inf, **counts: float) -> None:
        """Record value and bound, and tell the monitor."""
        elapsed = self.elapsed
        self._rows.append((elapsed, value, bound, stage))
        self._monitor.event(stage, value, bound, elapsed, **counts)

    def should_stop(self) -> bool:
        """Return True once the time is over or the monitor asks to stop; it stays True."""
        self._interrupted = self._interrupted or self._monitor.should_stop()
        return self._interrupted or self.elapsed >= self._limit

    def status(self, otherwise: Status) -> Status:
        """Return why the run ended: the limit that was hit, else the given status."""
        if self._interrupted:
            return Status.INTERRUPTED
        return Status.TIME_LIMIT if self.elapsed >= self._limit else otherwise

    def trace(self) -> Trace:
        """Return what was reported."""
        columns = list(zip(*self._rows, strict=True)) or [(), (), (), ()]
        return Trace(
            elapsed=np.asarray(columns[0], dtype=np.float64),
            value=np.asarray(columns[1], dtype=np.float64),
            bound=np.asarray(columns[2], dtype=np.float64),
            stage=tuple(columns[3]),
        )


def _is_positive_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return bool(value > 0)

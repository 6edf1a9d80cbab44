"""How a long computation speaks while it runs, and how it is asked to stop."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Monitor(Protocol):
    """What every ``callback`` must offer.

    A long computation calls ``event`` when its value or bound moves, and ``should_stop`` between steps;
    when that returns True it ends with the best result so far and status ``interrupted``.
    """

    def event(self, stage: str, value: float, bound: float, elapsed: float, **counts: float) -> None:
        """Take note of the incumbent ``value`` and proven ``bound`` after ``elapsed`` seconds."""

    def should_stop(self) -> bool:
        """Return True to ask for the best result so far."""


class SilentMonitor:
    """The monitor that neither shows nor stops anything."""

    def event(self, stage: str, value: float, bound: float, elapsed: float, **counts: float) -> None:
        """Ignore the event."""

    def should_stop(self) -> bool:
        """Return False."""
        return False

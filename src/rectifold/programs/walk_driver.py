"""Runs a walk over vertices under a budget, and has its degenerate vertices decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rectifold._engine.budget import Budget
from rectifold._kernels.vertex_walk import WalkStatus
from rectifold.core.result import Status
from rectifold.programs.degenerate import Decision, Outcome

__all__ = ["NEVER", "SLICE", "WalkEnd", "drive", "run_slices"]

SLICE = 0.1
"""Seconds in the kernel between two looks at the clock and the monitor."""
NEVER = 1 << 62
"""More steps than any walk takes."""


@dataclass(frozen=True)
class WalkEnd:
    """How a walk ended.

    Attributes
    ----------
    status : Status
        ``local_optimum`` (see ``decided_by``), ``unbounded``, ``degenerate``, a limit, or ``numerical``.
    decided_by : str
        "vertex": the slopes of all 2n edges; "directional program": at a degenerate vertex; "": not decided.
    n_programs : int
        Directional programs that were needed.
    bound : float
        Of the directional derivative, where such a program decided.
    """

    status: Status
    decided_by: str = ""
    n_programs: int = 0
    bound: float = -np.inf


def run_slices(
    walk: Any, budget: Budget, max_moves: int = NEVER, note: Callable[[Any], None] | None = None
) -> WalkStatus:
    """Run a walk until it ends or the budget does (then it is RUNNING still); ``note`` hears of it after each slice."""
    while True:
        left = NEVER if max_moves == NEVER else max_moves + 1 - len(walk.trace)
        code = WalkStatus(walk.run(max(left, 0), min(SLICE, budget.remaining)))
        if note is not None:
            note(walk)
        if code is not WalkStatus.RUNNING or left <= 0 or budget.should_stop():
            return code


def drive(
    walk: Any,
    decide: Callable[[dict[str, Any]], Decision],
    budget: Budget,
    max_moves: int = NEVER,
    note: Callable[[Any], None] | None = None,
) -> WalkEnd:
    """Walk on to a local minimum, a ray, or a limit; ``decide`` judges the state at degenerate vertices."""
    n_programs = 0
    while True:
        code = run_slices(walk, budget, max_moves, note)
        if code is WalkStatus.RUNNING:
            return WalkEnd(_limit(budget), n_programs=n_programs)
        if code is not WalkStatus.DEGENERATE:
            break
        decision = decide(walk.state())
        n_programs += 1
        if decision.outcome is Outcome.MINIMUM:
            return WalkEnd(Status.LOCAL_OPTIMUM, "directional program", n_programs, decision.bound)
        if decision.outcome is Outcome.UNDECIDED or decision.direction is None:
            return WalkEnd(budget.status(Status.DEGENERATE), n_programs=n_programs)
        walk.push(np.ascontiguousarray(decision.direction))
        if budget.should_stop():
            return WalkEnd(_limit(budget), n_programs=n_programs)
    if code is WalkStatus.MINIMUM:
        return WalkEnd(Status.LOCAL_OPTIMUM, "vertex", n_programs)
    if code is WalkStatus.UNBOUNDED:
        return WalkEnd(Status.UNBOUNDED, n_programs=n_programs)
    return WalkEnd(Status.NUMERICAL, n_programs=n_programs)


def _limit(budget: Budget) -> Status:
    return budget.status(Status.ITERATION_LIMIT)

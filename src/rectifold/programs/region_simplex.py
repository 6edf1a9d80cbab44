"""The region simplex: from a point down over vertices to a local minimum, a ray, or an honest stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.budget import Budget
from rectifold._kernels.vertex_walk import DenseVertexWalk, WalkStatus
from rectifold.core.errors import ProblemError
from rectifold.core.result import Status
from rectifold.programs.degenerate import DirectionalProgram, Outcome
from rectifold.programs.objective import Objective

__all__ = ["Descent", "RegionSimplex", "WalkStep"]

Array = NDArray[np.float64]

_SLICE = 0.1  # seconds in the kernel between two looks at the clock and the monitor
_MAX_NODES = 20_000
_NEVER = 1 << 62


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a walk ended.

    Attributes
    ----------
    status : Status
        ``local_optimum`` (see ``decided_by``), ``unbounded``, a limit, or ``numerical``.
    decided_by : str
        "vertex": the slopes of all 2n edges; "directional program": at a degenerate vertex; "": not decided.
    state : dict
        The kernel's answer: x, value, basis, slopes and so on, of the objective with its sign.
    values : ndarray
        The value after every move.
    n_programs : int
        Directional programs that were needed.
    bound : float
        Of the directional derivative, where such a program decided.
    n_equalities : int
        How many of the state's fixed directions are equality rows.
    """

    status: Status
    decided_by: str
    state: dict[str, Any]
    values: Array
    n_programs: int
    bound: float
    n_equalities: int

    @property
    def x(self) -> Array:
        """The point."""
        return np.asarray(self.state["x"])

    @property
    def value(self) -> float:
        """The objective there; minus infinity along a ray."""
        return -np.inf if self.status is Status.UNBOUNDED else float(self.state["value"])


@dataclass(frozen=True, eq=False)
class WalkStep:
    """One point of a walk.

    Attributes
    ----------
    x : ndarray, shape (n_inputs,)
    value : float
        Of the network's output.
    phase : int
        1 on the way to the first vertex, then 2.
    constraints : ndarray of int64
        What holds there with equality, numbered as in `LocalMinimum`.
    """

    x: Array
    value: float
    phase: int
    constraints: NDArray[np.int64]


class RegionSimplex:
    """A walk that can be started again and again for one objective.

    Parameters
    ----------
    objective : Objective
    random_state : Generator
        For the directions that are tried at degenerate vertices.
    """

    def __init__(self, objective: Objective, random_state: np.random.Generator) -> None:
        self.objective, self._rng = objective, random_state
        self._equalities = _independent(objective.domain.equalities()[0])
        rows = objective.domain.inequality_rows()
        network = objective.network
        self._walk = DenseVertexWalk(
            list(network.weights[:-1]),
            list(network.biases[:-1]),
            objective.lo,
            objective.hi,
            objective.output_weights,
            objective.offset,
            np.ascontiguousarray(rows.starts),
            np.ascontiguousarray(rows.columns),
            np.ascontiguousarray(rows.values),
            np.ascontiguousarray(rows.limits),
            self._equalities,
        )

    def descend(self, x: Array, budget: Budget) -> Descent:
        """Walk down from a point of the domain.

        Raises
        ------
        ProblemError
            If the point is outside of the domain.
        """
        self._start(x)
        n_programs = 0
        while True:
            code = WalkStatus(self._walk.run(_NEVER, _SLICE))
            if code is WalkStatus.RUNNING:
                if budget.should_stop():
                    return self._stopped(budget.status(Status.TIME_LIMIT), n_programs)
                continue
            if code is not WalkStatus.DEGENERATE:
                break
            state, program = self._directional_program()
            decision = program.decide(state["edges"], self._rng, _MAX_NODES, _seconds(budget))
            n_programs += 1
            if decision.outcome is Outcome.MINIMUM:
                return self._ended(Status.LOCAL_OPTIMUM, "directional program", n_programs, decision.bound)
            if decision.outcome is Outcome.UNDECIDED or decision.direction is None:
                return self._stopped(budget.status(Status.DEGENERATE), n_programs)
            self._walk.push(np.ascontiguousarray(decision.direction))
            if budget.should_stop():
                return self._stopped(budget.status(Status.TIME_LIMIT), n_programs)
        if code is WalkStatus.MINIMUM:
            return self._ended(Status.LOCAL_OPTIMUM, "vertex", n_programs)
        if code is WalkStatus.UNBOUNDED:
            return self._ended(Status.UNBOUNDED, "", n_programs)
        return self._stopped(Status.NUMERICAL, n_programs)

    def steps(self, x: Array) -> Iterator[WalkStep]:
        """Walk down from a point, one move at a time, up to the first vertex that the kernel calls the end."""
        self._start(x)
        code, sign = WalkStatus.RUNNING, self.objective.sign
        while True:
            state = self._walk.state()
            phase = 1 if len(state["basis"]) < self.objective.n_inputs else 2
            yield WalkStep(state["x"], sign * state["value"], phase, state["basis"])
            if code is not WalkStatus.RUNNING:
                return
            code = WalkStatus(self._walk.run(1, _SLICE))

    def _start(self, x: Array) -> None:
        if not self.objective.domain.contains(x):
            raise ProblemError("the start is not a point of the domain")
        self._walk.start(np.ascontiguousarray(x, dtype=np.float64))

    def _directional_program(self) -> tuple[dict[str, Any], DirectionalProgram]:
        state = self._walk.state()
        parts = (state["critical"], state["gradient_size"], state["fixed"])
        return state, DirectionalProgram(self.objective, state["x"], *parts)

    def _ended(self, status: Status, decided_by: str, n_programs: int, bound: float = -np.inf) -> Descent:
        values = np.array(self._walk.trace)
        return Descent(status, decided_by, self._walk.state(), values, n_programs, bound, len(self._equalities))

    def _stopped(self, status: Status, n_programs: int) -> Descent:
        return self._ended(status, "", n_programs)


def _independent(rows: Array) -> Array:
    """A basis of the span of some rows, orthonormal."""
    if not len(rows):
        return np.ascontiguousarray(rows)
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    return np.ascontiguousarray(directions[sizes > 1e-11 * sizes[0]])


def _seconds(budget: Budget) -> float | None:
    return None if np.isinf(budget.remaining) else max(budget.remaining, 1e-3)

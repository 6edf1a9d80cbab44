"""The region simplex: from a point down over vertices to a local minimum, a ray, or an honest stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.budget import Budget
from rectifold._kernels.vertex_walk import DenseVertexWalk, WalkStatus
from rectifold.core.errors import ProblemError
from rectifold.core.result import Status
from rectifold.programs.degenerate import Decision, seconds_left
from rectifold.programs.network_directions import NetworkDirections
from rectifold.programs.objective import Objective
from rectifold.programs.walk_driver import SLICE, drive

__all__ = ["Descent", "RegionSimplex", "WalkStep"]

Array = NDArray[np.float64]

_MAX_NODES = 20_000


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

    def descend(self, x: Array, budget: Budget, note: Callable[[float], None] | None = None) -> Descent:
        """Walk down from a point of the domain; ``note`` hears the network's output some ten times a second.

        Raises
        ------
        ProblemError
            If the point is outside of the domain.
        """
        self._start(x)
        sign = self.objective.sign
        heard = None if note is None else lambda walk: note(sign * float(walk.trace[-1]))
        end = drive(self._walk, lambda state: self._decide(state, budget), budget, note=heard)
        values = np.array(self._walk.trace)
        n_equalities = len(self._equalities)
        return Descent(end.status, end.decided_by, self._walk.state(), values, end.n_programs, end.bound, n_equalities)

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
            code = WalkStatus(self._walk.run(1, SLICE))

    def _start(self, x: Array) -> None:
        if not self.objective.domain.contains(x):
            raise ProblemError("the start is not a point of the domain")
        self._walk.start(np.ascontiguousarray(x, dtype=np.float64))

    def _decide(self, state: dict[str, Any], budget: Budget) -> Decision:
        parts = (state["critical"], state["gradient_size"], state["fixed"])
        program = NetworkDirections(self.objective, state["x"], *parts)
        return program.decide(state["edges"], self._rng, _MAX_NODES, seconds_left(budget))


def _independent(rows: Array) -> Array:
    """A basis of the span of some rows, orthonormal."""
    if not len(rows):
        return np.ascontiguousarray(rows)
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    return np.ascontiguousarray(directions[sizes > 1e-11 * sizes[0]])

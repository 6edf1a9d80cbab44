"""Is a point a local minimum where more constraints meet than a vertex needs? Its directional program decides.

Near x the function is f(x) + f'(x; u), and f'(x; .) is a network without biases in which only the critical units, those
at zero, are not linear. It falls somewhere iff its minimum over the tangent cone of the domain and |u|_inf <= 1 is
negative: a linear program if every critical unit is a convex kink, else a mixed-integer one with a binary for each that
is not.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rectifold._engine.budget import Budget
from rectifold._engine.lp import LinearProgram, LPStatus
from rectifold._engine.mip import solve_mip

__all__ = ["Decision", "DirectionalProgram", "Outcome", "seconds_left"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_FALL_TOL = 1e-9  # of the gradient's size: a direction that falls less does not fall
_BOUND_TOL = 1e-6  # of the gradient's size: what the programs' own tolerances leave open
_SAMPLES = 256


class Outcome(StrEnum):
    """What a directional program has shown."""

    FALLS = "falls"
    MINIMUM = "minimum"
    UNDECIDED = "undecided"


@dataclass(frozen=True, eq=False)
class Decision:
    """The answer about one point.

    Attributes
    ----------
    outcome : Outcome
    direction : ndarray, shape (n_inputs,), or None
        Along which the function falls.
    bound : float
        Proven lower bound of f'(x; u) over |u|_inf <= 1 in the tangent cone; minus infinity without one.
    n_binaries : int
    """

    outcome: Outcome
    direction: Array | None
    bound: float
    n_binaries: int


class DirectionalProgram(ABC):
    """The directional derivative ``f'(x; .)`` of a function at a point of its domain.

    Attributes
    ----------
    n_inputs : int
    size : float
        The size of gradients to compare slopes with.
    active_rows : ndarray, shape (r, n_inputs)
        Rows G of the domain that hold with equality, of length one: a direction u needs ``G u <= 0``.
    held : ndarray, shape (p, n_inputs)
        Rows E for which a direction needs ``E u = 0``: equality rows, and directions along which nothing changes.
    max_binaries : int
        With more units that are no convex kinks nothing is decided beyond trying directions.
    """

    def __init__(self, size: float, active_rows: Array, held: Array, max_binaries: int = sys.maxsize) -> None:
        self.n_inputs = held.shape[1]
        self.size, self.active_rows, self.held, self.max_binaries = size, active_rows, held, max_binaries

    @abstractmethod
    def derivatives(self, U: Array) -> Array:
        """``f'(x; u)`` for the rows u of U, shape (m,)."""

    @abstractmethod
    def linear_parts(self) -> tuple[Array, Array, Array, Array]:
        """With every critical unit off: gradients of their z (c, n), how z responds to outputs (c, c), weights, g.

        Entry (i, j) of the second is ``dz_i / dh_j``, the third is ``df / dh_j``.
        """

    @property
    @abstractmethod
    def jumps(self) -> Array:
        """``hi - lo`` of the critical units."""

    def decide(self, candidates: Array, rng: np.random.Generator, max_nodes: int, time_limit: float | None) -> Decision:
        """Look for a direction of descent among candidates (m, n_inputs) and random ones, then solve the program."""
        n = self.n_inputs
        random = rng.standard_normal((_SAMPLES, n))
        sampled = self.steepest(np.concatenate([candidates, -candidates, random, np.eye(n), -np.eye(n)]))
        if sampled is not None:
            return Decision(Outcome.FALLS, sampled, -np.inf, 0)
        return self._solve(max_nodes, time_limit)

    def steepest(self, U: Array) -> Array | None:
        """The direction that falls most among those of the tangent cone; None if none falls."""
        if len(self.held):
            U = U - (U @ np.linalg.pinv(self.held)) @ self.held
        length = np.linalg.norm(U, axis=1)
        U = U[length > 1e-12] / length[length > 1e-12, None]
        U = U[np.all(U @ self.active_rows.T <= 1e-12, axis=1)]
        if not len(U):
            return None
        slopes = self.derivatives(U)
        best = int(np.argmin(slopes))
        return U[best] if slopes[best] < -_FALL_TOL * self.size else None

    def _solve(self, max_nodes: int, time_limit: float | None) -> Decision:
        model = _Model(self)
        if model.binary.sum() > self.max_binaries:
            return Decision(Outcome.UNDECIDED, None, -np.inf, int(model.binary.sum()))
        if model.binary.any():
            found = solve_mip(*model.mixed_integer(), time_limit=time_limit, max_nodes=max_nodes)
            point, bound, done = found.x, found.bound, found.status is LPStatus.OPTIMAL
        else:
            solution = model.linear().solve(time_limit=time_limit)
            done = solution.status is LPStatus.OPTIMAL
            point, bound = solution.x, solution.value if done else -np.inf
        bound -= model.shift
        count = int(model.binary.sum())
        if point is not None:
            direction = self.steepest((point[: self.n_inputs] - 1.0)[None])
            if direction is not None:
                return Decision(Outcome.FALLS, direction, bound, count)
        proven = done and bound >= -_BOUND_TOL * self.size
        return Decision(Outcome.MINIMUM if proven else Outcome.UNDECIDED, None, bound, count)


class _Model:
    """The program in columns (u + 1, p, q, y): z = p - q of each critical unit, p <= M y, q <= M (1 - y)."""

    def __init__(self, program: DirectionalProgram) -> None:
        rows, response, weights, g = program.linear_parts()
        gain = program.jumps
        count, n = rows.shape
        self._n, self._count = n, count
        influences = (response != 0.0).any(axis=0)
        self.binary: Mask = influences | (weights * gain < 0.0)
        bounds = np.zeros(count)
        for i in range(count):  # |z| <= bounds, in the order of the layers
            bounds[i] = np.abs(rows[i]).sum() + (np.abs(response[i]) * np.maximum(gain, -gain) * bounds).sum()
        size = np.maximum(bounds, 1e-300)
        self._limits = bounds / size
        # z_i = rows_i u + sum_j response_ij gain_j p_j, every z in units of its bound
        eye = sparse.eye_array(count)
        links = response * gain * size / size[:, None]
        self._definition = sparse.hstack([rows / size[:, None], links - eye, eye]).tocsr()
        self._rhs = (rows / size[:, None]).sum(axis=1)
        cone = np.concatenate([program.active_rows, program.held])
        self._cone = sparse.hstack([cone, sparse.csr_array((len(cone), 2 * count))]).tocsr()
        self._cone_rhs = cone.sum(axis=1)
        self._n_active = len(program.active_rows)
        self._cost = np.concatenate([g, weights * gain * size, np.zeros(count)])
        self.shift = float(g.sum())

    def _rows(self) -> tuple[sparse.csr_array, Array, Array]:
        matrix = sparse.vstack([self._definition, self._cone]).tocsr()
        upper = np.concatenate([self._rhs, self._cone_rhs])
        lower = upper.copy()
        lower[self._count : self._count + self._n_active] = -np.inf
        return matrix, lower, upper

    def linear(self) -> LinearProgram:
        """The program where no unit needs a binary."""
        matrix, lower, upper = self._rows()
        top = np.concatenate([np.full(self._n, 2.0), self._limits, self._limits])
        return LinearProgram(self._cost, matrix, lower, upper, 0.0, top)

    def mixed_integer(self) -> tuple[Array, sparse.csr_array, Array, Array, Array, Mask]:
        """The arguments of `solve_mip`."""
        matrix, lower, upper = self._rows()
        units = np.flatnonzero(self.binary)
        count, k = self._count, len(units)
        pick = sparse.csr_array((np.ones(k), (np.arange(k), units)), shape=(k, count))
        limits, zero, inputs = (
            sparse.diags_array(self._limits[units]),
            sparse.csr_array((k, count)),
            sparse.csr_array((k, self._n)),
        )
        matrix = sparse.vstack(
            [
                sparse.hstack([matrix, sparse.csr_array((matrix.shape[0], k))]),
                sparse.hstack([inputs, pick, zero, -limits]),
                sparse.hstack([inputs, zero, pick, limits]),
            ]
        ).tocsr()
        free = np.full(2 * k, -np.inf)
        tops = np.concatenate([np.zeros(k), self._limits[units]])
        columns = np.concatenate([np.full(self._n, 2.0), self._limits, self._limits, np.ones(k)])
        integer = np.concatenate([np.zeros(self._n + 2 * count, bool), np.ones(k, bool)])
        cost = np.concatenate([self._cost, np.zeros(k)])
        return cost, matrix, np.concatenate([lower, free]), np.concatenate([upper, tops]), columns, integer


def seconds_left(budget: Budget, most: float = np.inf) -> float | None:
    """What a solver may spend of a budget; None without a limit."""
    left = min(budget.remaining, most)
    return None if np.isinf(left) else max(left, 1e-3)

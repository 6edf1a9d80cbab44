"""The walk over vertices of a piecewise-affine program: the numpy twin of ``vertex_walk.hpp``.

Constraints are numbered: the units of the program, then the rows ``G x <= h`` of the domain, then the fixed directions
(equality rows, and directions along which nothing changes). A constraint's *slack* is ``o z`` of a unit, with o = +1
where it is on and -1 where it is off, and ``h - G x`` of a row; its *normal* is the slack's gradient. A vertex holds n
constraints with independent normals N at zero; row k of ``A = N^{-T}`` is the edge that leaves constraint k alone.
(Hinz and van de Geer 2021; the line search is that of Barrodale and Roberts 1973.)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold._kernels.reference.dense_program import DenseProgram
from rectifold._kernels.reference.layer_program import LayerProgram
from rectifold._kernels.reference.walk_line_search import RATE_TOL, SLOPE_TOL, TIE_TOL, LineSearch
from rectifold._kernels.reference.walk_state import RUNNING, ZERO_TOL, WalkState

__all__ = ["DenseVertexWalk", "LayerVertexWalk"]

Array = NDArray[np.float64]

MINIMUM, UNBOUNDED, DEGENERATE, NUMERICAL = range(1, 5)

_DRIFT_TOL = 1e-11
_REFRESH = 50


class VertexWalk(WalkState):
    """Walk down a program over a domain; the parameters are those of `WalkState`."""

    # ------------------------------------------------------------------ driver

    def run(self, max_steps: int, max_seconds: float) -> int:
        """Walk until the end, or for so many steps or seconds; return the status."""
        end = time.perf_counter() + max_seconds
        for _ in range(max_steps):
            if self.status != RUNNING:
                break
            if len(self.basis) < self._n:
                self._descend()
            else:
                self._step()
            if time.perf_counter() > end:
                break
        return self.status

    # ----------------------------------------------------------------- phase 1

    def _descend(self) -> None:
        """One step of phase 1: down within the region until one more constraint is at zero."""
        v = -self._project(self.g)
        flat = np.linalg.norm(v) <= 1e-10 * np.linalg.norm(self.g) or not v.any()
        if flat:
            v = self._free_direction()
        beta, derivative = self._program.directions(self.slope, v)
        entering, t = self._first_hit(v, self._rates(beta, v))
        if entering < 0 and flat:
            v, beta, derivative = -v, -beta, -derivative
            entering, t = self._first_hit(v, self._rates(beta, v))
            if entering < 0:
                self._fixed.append(v / np.linalg.norm(v))
                self._append(self._n_units + self._n_rows + len(self._fixed) - 1, self._fixed[-1])
                return self._complete()
        if entering < 0:
            return self._found_ray(v)
        self._advance(v, beta, t)
        self._append(entering, self._normal(entering))
        self._complete()
        return None

    def _found_ray(self, v: Array) -> None:
        self.status, self.ray = UNBOUNDED, v / np.linalg.norm(v)

    def _free_direction(self) -> Array:
        """The coordinate that the normals in the basis span least, made orthogonal to them."""
        spanned = np.zeros(self._n)
        for q in self._Q:
            spanned += q * q
        unit = np.zeros(self._n)
        unit[np.argmin(spanned)] = 1.0
        return self._project(unit)

    def _first_hit(self, v: Array, rates: Array) -> tuple[int, float]:
        slack = np.maximum(self._slack(), 0.0)
        limit = RATE_TOL * np.linalg.norm(v) * self._row_scale
        candidates = self._kinked & (rates < -limit)
        candidates[[c for c in self.basis if c < len(candidates)]] = False
        index = np.flatnonzero(candidates)
        if not index.size:
            return -1, np.inf
        times = slack[index] / -rates[index]
        first = times.min()
        tied = index[times <= first + TIE_TOL * (1.0 + first)]
        best = tied[np.argmax(-rates[tied] / self._row_scale[tied])]
        return int(best), float(slack[best] / -rates[best])

    def _complete(self) -> None:
        if len(self.basis) == self._n:
            self.A = np.linalg.inv(np.array(self._normals)).T
            self.since_refresh = 0

    def _advance(self, v: Array, beta: Array, t: float) -> None:
        self.x = self.x + t * v
        self.z = self.z + t * beta
        self.room = self.room - t * (self._G @ v)
        self.value = self._program.value(self.slope, self.z, self.x)
        self._extend_reach()
        self.trace.append(self.value)

    # ----------------------------------------------------------------- phase 2

    def _step(self) -> None:
        """One move along an edge that falls, or the end."""
        if self.since_refresh >= _REFRESH:
            self._refresh()
        if self.straight >= 0:  # the edge goes on, bent, behind the unit just hit: no search is needed
            k, self.straight = self.straight, -1
            if self._leave_opposite(k):
                return
        if not self._leave_best():
            self._finish()

    def _leave_best(self) -> bool:
        own, opposite = self.prices()
        tol = SLOPE_TOL * self.gradient_size
        while True:
            k, j = int(np.argmin(own)), int(np.argmin(opposite))
            if min(own[k], opposite[j]) >= -tol:
                return False
            if own[k] <= opposite[j]:
                v = np.array(self.A[k])
                beta, derivative = self._program.directions(self.slope, v)
                self._move(k, v, beta, derivative)
                return True
            if self._leave_opposite(j):
                return True
            opposite[j] = np.inf

    def prices(self) -> tuple[Array, Array]:
        """Slopes of the own edges and the opposite ones, by length of the own edge; infinite where barred."""
        slopes, opposite = self.edge_slopes()
        length = np.linalg.norm(self.A, axis=1)
        free = np.array(self.basis) < self._n_units + self._n_rows
        return np.where(free, slopes / length, np.inf), opposite / length

    def edge_slopes(self) -> tuple[Array, Array]:
        """Slopes along the rows of A, and along the opposite edges (infinite where there is none)."""
        basis = np.array(self.basis)
        slopes = self.A @ self.g
        units = np.flatnonzero(basis < self._n_units)
        u = basis[units]
        sign = np.where(self.on[u], 1.0, -1.0)
        injected = np.zeros(self._n_units)
        injected[u] = -sign * slopes[units]
        outputs, _ = self._program.adjoint(self.slope, injected)
        change = sign * (self._program.lo[u] - self._program.hi[u])
        opposite = np.full(self._n, np.inf)
        opposite[units] = -slopes[units] - sign * outputs[u] * change
        return slopes, opposite

    def opposite_edge(self, k: int) -> tuple[Array, Array, float]:
        """Flip the unit of position k; return its new axis with the derivatives along it."""
        u = self.basis[k]
        self._flip(u)
        v = -self.A[k]
        beta, derivative = self._program.directions(self.slope, v)
        others = [(i, c) for i, c in enumerate(self.basis) if u < c < self._n_units]
        bends = [(i, beta[c] if self.on[c] else -beta[c]) for i, c in others if beta[c] != 0.0]
        bends = [(i, r) for i, r in bends if abs(r) > RATE_TOL * np.linalg.norm(v) * self._row_scale[self.basis[i]]]
        for i, r in bends:
            v = v - r * self.A[i]
        if bends:
            beta, derivative = self._program.directions(self.slope, v)
        return v, beta, derivative

    def _flip(self, u: int) -> None:
        self.on[u] = not self.on[u]
        self.slope[u] = self._program.hi[u] if self.on[u] else self._program.lo[u]

    def _leave_opposite(self, k: int) -> bool:
        """Cross the unit of position k and go along the opposite edge, if it falls."""
        v, beta, derivative = self.opposite_edge(k)
        if derivative >= -SLOPE_TOL * self.gradient_size * np.linalg.norm(v):
            self._flip(self.basis[k])
            return False
        self.A[k] = v
        self._move(k, v, beta, derivative, flipped=True)
        return True

    def _move(self, k: int, v: Array, beta: Array, derivative: float, flipped: bool = False) -> None:
        """Go along edge k past every breakpoint behind which it still falls straight on; the last one enters."""
        search = LineSearch(self, k, v, beta, derivative)
        entering, t, bends = search.run()
        if entering < 0:
            return self._found_ray(v)
        crossed = search.crossed
        self.crossings += len(crossed)
        self.x = self.x + t * v
        self.z = search.base + t * search.beta
        self.room = self.room - t * (self._G @ v)
        if crossed or flipped:
            self.outputs, self.g = self._adjoint()
        self.value = self._program.value(self.slope, self.z, self.x)
        self._extend_reach()
        self.trace.append(self.value)
        self._pivot(k, v, entering)
        self.straight = k if bends else -1
        self.pivots += 1
        self.since_refresh += 1
        self.zero_steps = 0 if t * np.linalg.norm(v) > TIE_TOL * (1.0 + np.linalg.norm(self.x)) else self.zero_steps + 1
        if self.zero_steps > 20 + 4 * self._n:
            self._finish()
        return None

    def _pivot(self, k: int, v: Array, entering: int) -> None:
        normal = self._normal(entering)
        alpha = self.A @ normal
        edge = v / alpha[k]
        alpha[k] = 0.0
        self.A -= np.outer(alpha, edge)
        self.A[k] = edge
        self.basis[k] = entering

    # --------------------------------------------------------------- precision

    def _refresh(self) -> None:
        """Recompute the slacks, and the edges and the point as well if the constraints of the basis have drifted."""
        self.z, self.value = self._program.preactivations(self.slope, self.x)
        self.room = self._h - self._G @ self.x
        self._extend_reach()
        self.since_refresh = 0
        members = [c for c in self.basis if c < self._n_units + self._n_rows]
        drift = np.abs(self._slack()[members]) / (self.slack_sizes()[members] + 1e-300)
        if drift.max(initial=0.0) > _DRIFT_TOL:
            self._refactor()

    def _refactor(self) -> None:
        self.A = np.linalg.inv(np.array([self._normal(c) for c in self.basis])).T
        slack = np.append(self._slack(), np.zeros(len(self._fixed)))
        self.x = self.x - slack[self.basis] @ self.A
        self.z, self.value = self._program.preactivations(self.slope, self.x)
        self.room = self._h - self._G @ self.x
        self._extend_reach()

    def _finish(self) -> None:
        """Decide, with fresh edges, whether this is the end and what it proves."""
        self._refactor()
        self.outputs, self.g = self._adjoint()
        self.since_refresh = 0
        own, opposite = self.prices()
        falls = min(own.min(), opposite.min()) < -SLOPE_TOL * self.gradient_size
        if len(self.critical()) + len(self._fixed) > len(self.basis):
            self.status = DEGENERATE
        elif not falls:
            self.status = MINIMUM
        elif self._finished_at == self.pivots:
            self.status = NUMERICAL
        self._finished_at, self.zero_steps = self.pivots, 0

    def push(self, v: Array) -> int:
        """Leave a point along a direction, every constraint at zero free, up to the first breakpoint; then phase 1."""
        v = np.array(v)
        zero = (np.abs(self.z) <= ZERO_TOL * self.slack_sizes()[: self._n_units]) & self._kinked[: self._n_units]
        limit = RATE_TOL * np.linalg.norm(v) * self._program.scale
        while True:
            beta, derivative = self._program.directions(self.slope, v)
            rates = np.where(self.on, beta, -beta)
            wrong = np.flatnonzero(zero & (rates < -limit))
            if not wrong.size:
                break
            self._flip(int(wrong[0]))
        self.basis = []
        entering, t = self._first_hit(v, self._rates(beta, v))
        if entering < 0:
            if derivative >= 0.0:
                self.status = NUMERICAL
            else:
                self._found_ray(v)
            return self.status
        self.x = self.x + t * v
        self._enter_region()
        return self.status

    # ----------------------------------------------------------------- answers

    def state(self) -> dict[str, Any]:
        """Everything that a caller may ask for, copied."""
        full = len(self.basis) == self._n and self.A.shape[0] == self._n
        slopes, opposite = self.edge_slopes() if full else (np.zeros(0), np.zeros(0))
        return {
            "x": self.x.copy(),
            "value": self.value,
            "on": self.on.copy(),
            "basis": np.array(self.basis, dtype=np.int64),
            "critical": self.critical().astype(np.int64),
            "edges": self.A.copy(),
            "slopes": slopes,
            "opposite": opposite,
            "gradient": self.g.copy(),
            "gradient_size": self.gradient_size,
            "reach": self.reach,
            "fixed": np.array(self._fixed).reshape(-1, self._n),
            "ray": self.ray.copy(),
            "pivots": self.pivots,
            "crossings": self.crossings,
            "status": self.status,
        }


class DenseVertexWalk(VertexWalk):
    """Walk down a dense network over ``{x : G x <= h, E x = e}``.

    Parameters
    ----------
    weights, biases : sequences of float64 arrays
    lo, hi : (n_units,) float64 arrays
    output : (n_L,) float64 array
    offset : float
    starts, columns, values, limits : arrays
        Compressed rows of G and h.
    fixed : (p, n) float64 array, independent rows
        E; its right-hand side is whatever the start has.
    """

    def __init__(
        self,
        weights: Sequence[Array],
        biases: Sequence[Array],
        lo: Array,
        hi: Array,
        output: Array,
        offset: float,
        *domain: Any,
    ) -> None:
        super().__init__(DenseProgram(weights, biases, lo, hi, output, offset), *domain)


class LayerVertexWalk(VertexWalk):
    """Walk down the L1 loss of a network over the weights of one layer; the parameters are those of `LayerProgram`."""

    def __init__(self, *parts: Any) -> None:
        program = LayerProgram(*parts)
        none = np.zeros(0, np.int64)
        super().__init__(program, np.zeros(1, np.int64), none, np.zeros(0), np.zeros(0), np.zeros((0, program.n)))

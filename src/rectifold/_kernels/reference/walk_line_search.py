"""The search along one edge of a vertex walk: the numpy twin of ``walk_line_search.hpp``."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RATE_TOL", "SLOPE_TOL", "TIE_TOL", "LineSearch"]

Array = NDArray[np.float64]

SLOPE_TOL = 1e-9  # of the largest gradient: an edge that falls less does not fall
RATE_TOL = 1e-11  # a constraint that moves slower than this along an edge does not move
TIE_TOL = 1e-12


class LineSearch:
    """The weighted-quantile search along one edge."""

    def __init__(self, walk: Any, k: int, v: Array, beta: Array, derivative: float) -> None:
        self._walk, self._k = walk, k
        self.beta, self._derivative = beta.copy(), derivative
        self.base = walk.z.copy()  # z at step t is base + t * beta
        self._length = float(np.linalg.norm(v))
        self._row_rates = -(walk._G @ v)
        self._barred = np.zeros(walk._n_units + walk._n_rows, bool)
        self._barred[[c for i, c in enumerate(walk.basis) if i != k and c < len(self._barred)]] = True
        self.crossed: list[int] = []

    def run(self) -> tuple[int, float, bool]:
        """The constraint that enters (-1: none), the step, and whether the edge bends there."""
        walk, t = self._walk, 0.0
        heap = [(self._time(c, t), c) for c in range(len(self._barred))]
        heap = [entry for entry in heap if entry[0] < np.inf]
        heapq.heapify(heap)
        while heap:
            when, c = heapq.heappop(heap)
            if self._time(c, t) > when:
                continue  # its rate has changed since
            t = max(t, when)
            stops, bends = self._cross(c, t, heap) if c < walk._n_units else (True, False)
            if stops:
                entering = self._fastest(c, t, heap)
                return entering, t, bends if entering == c else entering < walk._n_units
        return -1, np.inf, False

    def _fastest(self, c: int, t: float, heap: list[tuple[float, int]]) -> int:
        """Of the constraints at zero together with c the one that gives the largest pivot."""
        best, speed = c, self._speed(c)
        while heap and heap[0][0] <= t + TIE_TOL * (1.0 + t):
            other = heapq.heappop(heap)[1]
            if self._time(other, t) <= t + TIE_TOL * (1.0 + t) and self._speed(other) > speed:
                best, speed = other, self._speed(other)
        return best

    def _speed(self, c: int) -> float:
        rate = self.beta[c] if c < self._walk._n_units else self._row_rates[c - self._walk._n_units]
        return float(abs(rate) / self._walk._row_scale[c])

    def _time(self, c: int, now: float) -> float:
        """When a constraint gets to zero; infinity if it does not approach it."""
        walk = self._walk
        if self._barred[c] or not walk._kinked[c]:
            return np.inf
        if c < walk._n_units:
            sign = 1.0 if walk.on[c] else -1.0
            rate, slack = sign * self.beta[c], sign * self.base[c]
        else:
            rate, slack = self._row_rates[c - walk._n_units], walk.room[c - walk._n_units]
        if rate >= -RATE_TOL * self._length * walk._row_scale[c]:
            return np.inf
        return float(max(slack / -rate, now))

    def _cross(self, c: int, t: float, heap: list[tuple[float, int]]) -> tuple[bool, bool]:
        """Go past a unit unless the edge stops falling or bends behind it."""
        walk = self._walk
        old = walk.slope[c]
        walk._flip(c)
        moved, step, change = walk._program.bump(walk.slope, c, (walk.slope[c] - old) * self.beta[c])
        bends = bool(np.any(self._barred[moved] & (np.abs(step) > RATE_TOL * self._length * walk._row_scale[moved])))
        stops = self._derivative + change >= -SLOPE_TOL * walk.gradient_size * self._length
        if bends or stops:
            walk._flip(c)
            return True, bends
        self.base[moved] -= t * step
        self.beta[moved] += step
        self._derivative += change
        self.crossed.append(c)
        for m in moved:
            when = self._time(int(m), t)
            if when < np.inf:
                heapq.heappush(heap, (when, int(m)))
        return False, False

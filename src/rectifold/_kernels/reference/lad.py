"""Numpy twin of the compiled vertex walk for least absolute deviations and quantile regression.

Minimises ``sum_i phi_i(y_i - x_i'theta) + c'theta`` with ``phi_i(r) = hi_i r`` for r > 0 and ``lo_i r`` otherwise,
``lo_i <= 0 <= hi_i``: Barrodale & Roberts (1973), phase 2, and Koenker & d'Orey (1987). A vertex makes p independent
residuals zero (the basis); row k of ``A = X_B^-T`` is the edge that leaves residual k and keeps the others at zero.
With ``d_i`` the slope of a residual off the basis, ``d_B = A (c - sum_N d_i x_i)`` is the dual vector, and the slopes
of the two directions of edge k are ``d_k - lo_k`` and ``hi_k - d_k``.

A residual that is zero off the basis keeps the side it came from. Where such ties stall the walk, they are moved apart
on their own side, which leaves the vertex in place, and put back at the optimum.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

__all__ = ["LADWalk"]

Floats = NDArray[np.float64]

RUNNING, OPTIMAL, UNBOUNDED, SINGULAR, STALLED = range(5)

_OPTIMALITY = 1e-9
_FLAT = 1e-11
_ZERO = 1e-12
_REFACTOR = 64
_SHIFTS = 1e-6, 1e-7, 1e-8, 1e-9, 1e-5


class LADWalk:
    """Rows of the program, a vertex of it, and the walk down its edges.

    Parameters
    ----------
    n_columns : int
        The number p of coefficients.
    """

    def __init__(self, n_columns: int) -> None:
        p = n_columns
        self._X, self._y, self._lo, self._hi = np.zeros((0, p)), np.zeros(0), np.zeros(0), np.zeros(0)
        self._positive = np.zeros(0, bool)
        self._target, self._theta = np.zeros(p), np.zeros(p)
        self._basis = np.zeros(0, np.int64)
        self._A, self._g = np.zeros((p, p)), np.zeros(p)
        self._r = self._shift = np.zeros(0)
        self._since_factor, self._stalled, self._shifts_used = 0, 0, 0
        self._shifted = False
        self.pivots = self.crossings = 0

    @property
    def theta(self) -> Floats:
        """The vertex, shape (p,)."""
        return self._theta.copy()

    @property
    def basis(self) -> NDArray[np.int64]:
        """The rows whose residual is zero there, shape (p,)."""
        return self._basis.copy()

    @property
    def basis_duals(self) -> Floats:
        """The dual vector on the basis, shape (p,)."""
        return self._A @ self._g

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Whether a row off the basis counts as having a positive residual, shape (m,)."""
        return self._positive.copy()

    @property
    def residuals(self) -> Floats:
        """``y - X theta``, shape (m,); exactly zero on the basis."""
        return self._r.copy()

    def add_rows(self, X: Floats, y: Floats, lo: Floats, hi: Floats, positive: NDArray[np.bool_]) -> None:
        """Append rows; those whose residual is not zero get the side it says."""
        self._X = np.vstack([self._X, X])
        self._y, self._lo = np.append(self._y, y), np.append(self._lo, lo)
        self._hi, self._positive = np.append(self._hi, hi), np.append(self._positive, positive)
        self._shift = np.zeros(len(self._y))
        self._r = self._y - self._X @ self._theta

    def add_linear(self, c: Floats) -> None:
        """Add c'theta to the objective."""
        self._target = self._target + c

    def set_slopes(self, lo: Floats, hi: Floats) -> None:
        """Replace the slopes of all rows; `start` is to follow."""
        self._lo, self._hi = lo.copy(), hi.copy()

    def start(self, basis: NDArray[np.int64]) -> bool:
        """Go to the vertex of a basis; False if its rows are dependent."""
        self._basis = np.array(basis, np.int64)
        self._stalled = self._shifts_used = 0
        self._shifted = False
        self._shift[:] = 0.0
        return self._factor()

    def run(self, max_pivots: int, seconds: float) -> int:
        """Walk; return 0 (more to do), 1 (optimal), 2 (unbounded), 3 (the basis became singular), 4 (stalled)."""
        end = time.perf_counter() + seconds
        for _ in range(max_pivots):
            code = self._pivot()
            if code != RUNNING or time.perf_counter() >= end:
                return code
        return RUNNING

    def _pivot(self) -> int:
        if self._since_factor >= _REFACTOR and not self._factor():
            return SINGULAR
        choice = self._steepest_edge()
        if choice is None:
            return self._finish()
        k, sign, need = choice
        v = sign * self._A[k]
        beta = self._X @ v
        beta[self._basis] = 0.0
        side = np.where(self._positive, 1.0, -1.0)
        speed = side * beta
        ahead = np.flatnonzero(speed > _FLAT * np.sqrt(v @ v))
        rise = (self._hi[ahead] - self._lo[ahead]) * speed[ahead]
        if rise.sum() < need * (1.0 - 1e-12):
            return UNBOUNDED
        distance = np.maximum((side * self._r)[ahead], 0.0)
        times = distance / speed[ahead]
        order = np.argsort(times, kind="stable")
        last = order[min(int(np.searchsorted(np.cumsum(rise[order]), need)), len(order) - 1)]
        step = times[last]
        enter, crossed = self._resolve_ties(ahead, times, rise, distance, speed[ahead], step, need)
        enter_distance = max(side[enter] * self._r[enter], 0.0)
        step = enter_distance / abs(beta[enter])
        self._stalled = self._stalled + 1 if enter_distance <= self._zero(np.array([enter]))[0] else 0
        self._move(k, sign, v, beta, step, enter, crossed)
        if self._stalled > 2 * len(v) + 20:
            return self._move_ties_apart()
        return RUNNING

    def _steepest_edge(self) -> tuple[int, float, float] | None:
        """The edge of steepest descent: its index, its direction and minus its slope."""
        d = self._A @ self._g
        lo, hi = self._lo[self._basis], self._hi[self._basis]
        excess = np.maximum(d - hi, lo - d)
        steep = np.where(excess > _OPTIMALITY * (hi - lo), excess, 0.0) ** 2 / (self._A**2).sum(axis=1)
        k = int(np.argmax(steep))
        if not steep[k] > 0.0:
            return None
        return k, (-1.0 if d[k] > hi[k] else 1.0), float(excess[k])

    def _finish(self) -> int:
        """No edge falls: optimal, once the numbers are fresh and ties are where they belong."""
        if self._since_factor == 0 and not self._shifted:
            return OPTIMAL
        self._shifted = False
        self._shift[:] = 0.0
        return RUNNING if self._factor() else SINGULAR

    def _resolve_ties(
        self, rows: NDArray[np.int64], times: Floats, rise: Floats, distance: Floats, speed: Floats, step: float,
        need: float,
    ) -> tuple[int, NDArray[np.int64]]:  # fmt: skip
        """Of the rows that reach zero together the one with the largest rise enters; returns it and those crossed."""
        tied = np.abs(distance - step * speed) <= self._zero(rows)
        before = (times < step) & ~tied
        tied |= times == step
        group = np.flatnonzero(tied)
        best = group[np.argmax(rise[group])]
        gone = rise[before].sum()
        crossed = [rows[before]]
        for i in group[group != best]:
            if gone + rise[best] >= need:
                break
            gone += rise[i]
            crossed.append(rows[i : i + 1])
        return int(rows[best]), np.concatenate(crossed)

    def _zero(self, rows: NDArray[np.int64]) -> Floats:
        """What counts as zero in a residual."""
        return _ZERO * (np.abs(self._y[rows]) + np.abs(self._theta).sum())

    def _move(
        self, k: int, sign: float, v: Floats, beta: Floats, step: float, enter: int, crossed: NDArray[np.int64]
    ) -> None:
        leave = self._basis[k]
        self._theta = self._theta + step * v
        self._r -= step * beta
        was_positive = self._positive[crossed]
        span = (self._hi - self._lo)[crossed]
        self._g = self._g + self._X[crossed].T @ np.where(was_positive, span, -span)
        self._positive[crossed] = ~was_positive
        self._g += (self._hi if self._positive[enter] else self._lo)[enter] * self._X[enter]
        self._positive[leave] = sign < 0.0
        self._g -= (self._hi if sign < 0.0 else self._lo)[leave] * self._X[leave]
        alpha = self._A @ self._X[enter]
        row = self._A[k] / alpha[k]
        self._A -= np.outer(alpha, row)
        self._A[k] = row
        self._basis[k] = enter
        self._r[self._basis] = 0.0
        self._r[leave] = -sign * step
        self.pivots += 1
        self.crossings += len(crossed)
        self._since_factor += 1

    def _move_ties_apart(self) -> int:
        if self._shifts_used == len(_SHIFTS):
            return STALLED
        size = _SHIFTS[self._shifts_used] * float(np.abs(self._r).mean() + 1e-3 * np.abs(self._y).mean() + 1e-300)
        share = np.modf((np.arange(len(self._y)) + 1.0) * 0.6180339887498949)[0]
        self._shift = np.where(self._positive, size, -size) * (0.5 + share)
        self._shift[self._basis] = 0.0
        self._shifts_used += 1
        self._shifted, self._stalled = True, 0
        return RUNNING if self._factor() else SINGULAR

    def _factor(self) -> bool:
        B = self._X[self._basis]
        try:
            A = np.asarray(np.linalg.inv(B).T, np.float64)
        except np.linalg.LinAlgError:
            return False
        if not np.isfinite(A).all() or np.abs(B @ A.T - np.eye(len(B))).max(initial=0.0) > 1e-6:
            return False
        self._A = A
        y = self._y + self._shift
        theta = A.T @ y[self._basis]
        self._theta = theta + A.T @ (y[self._basis] - B @ theta)
        self._r = y - self._X @ self._theta
        self._r[self._basis] = 0.0
        clear = np.abs(self._r) > self._zero(np.arange(len(y)))
        self._positive = np.where(clear, self._r > 0.0, self._positive)
        d = np.where(self._positive, self._hi, self._lo)
        d[self._basis] = 0.0
        self._g = self._target - self._X.T @ d
        self._since_factor = 0
        return True

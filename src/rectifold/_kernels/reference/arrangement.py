"""Numpy twin of ``arrangement.hpp`` and ``max_margin.hpp``: cells of a central arrangement, margins of signed rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["CellWalk", "max_margins"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_RAY_TOL = 1e-11
_THIN = 1e-6


@dataclass
class _Cone:
    depth: int
    positive: Bools
    rays: Floats
    tight: Bools
    witness: Floats | None = None


class CellWalk:
    """Walk over the full-dimensional cells of {u : rows @ u = 0} on the positive side of the first row, depth first.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, r)
        Unit rows; the first r are a basis.
    basis_rays : ndarray of float64, shape (r, r)
        Row j is the unit ray on which the first r rows vanish, except row j, which is positive.
    tol : float
        A cell counts if some unit point of it keeps a distance above ``tol`` from every hyperplane.
    by_rays : bool
        Whether cones carry their extreme rays, or one interior point.
    """

    def __init__(self, rows: Floats, basis_rays: Floats, tol: float, by_rays: bool) -> None:
        n, rank = rows.shape
        if rank < 1 or n < rank or basis_rays.shape != (rank, rank):
            raise ValueError("rows must be (n, r) with n >= r >= 1, and basis_rays (r, r)")
        self._rows, self._tol, self._by_rays = rows, tol, by_rays
        tight = np.zeros((rank, n), bool)
        tight[:, :rank] = ~np.eye(rank, dtype=bool)
        self._stack = [_Cone(1, np.ones(n, bool), basis_rays.copy(), tight)]

    def next(self, max_cells: int, seconds: float) -> tuple[Bools, Floats, bool]:
        """Return at most ``max_cells`` further cells: signs (k, n), interior points (k, r), and whether all are out."""
        end = time.perf_counter() + seconds
        n, rank = self._rows.shape
        found: list[tuple[Bools, Floats]] = []
        while self._stack and len(found) < max_cells:
            cone = self._stack.pop()
            while cone.depth < n:
                self._advance(cone)
            witness = self._interior_point(cone)
            if witness is not None:
                found.append((cone.positive, witness))
            if time.perf_counter() > end:
                break
        positive = np.array([p for p, _ in found], bool).reshape(-1, n)
        return positive, np.array([w for _, w in found], float).reshape(-1, rank), not self._stack

    def _advance(self, cone: _Cone) -> None:
        if cone.depth < self._rows.shape[1]:
            self._flip_basis_ray(cone)
        elif self._by_rays:
            self._cut_rays(cone)
        else:
            self._cut_by_margin(cone)
        cone.depth += 1

    def _push_other_side(self, cone: _Cone, positive: bool, **changes: Floats | Bools) -> None:
        signs = cone.positive.copy()
        signs[cone.depth] = positive
        self._stack.append(replace(cone, depth=cone.depth + 1, positive=signs, **changes))  # type: ignore[arg-type]

    def _flip_basis_ray(self, cone: _Cone) -> None:
        rays = cone.rays.copy()
        rays[cone.depth] *= -1
        self._push_other_side(cone, False, rays=rays, tight=cone.tight.copy())

    def _cut_rays(self, cone: _Cone) -> None:
        i = cone.depth
        value = cone.rays @ self._rows[i]
        value[np.abs(value) <= _RAY_TOL] = 0.0
        cone.tight[value == 0.0, i] = True
        above, below = value > 0, value < 0
        cone.positive[i] = above.any()
        if not (above.any() and below.any()):
            return
        new = [self._crossing(cone, p, q, value) for p in above.nonzero()[0] for q in below.nonzero()[0]
               if self._adjacent(cone.tight, p, q)]  # fmt: skip
        n, rank = self._rows.shape  # there may be no new ray: the hyperplane can run through existing ones
        new_rays, new_tight = np.reshape([r for r, _ in new], (-1, rank)), np.reshape([t for _, t in new], (-1, n)) > 0
        rays = np.vstack([cone.rays[~above], new_rays])
        self._push_other_side(cone, False, rays=rays, tight=np.vstack([cone.tight[~above], new_tight]))
        cone.rays, cone.tight = np.vstack([cone.rays[~below], new_rays]), np.vstack([cone.tight[~below], new_tight])

    def _adjacent(self, tight: Bools, p: int, q: int) -> bool:
        rank = self._rows.shape[1]
        common = tight[p] & tight[q]
        if common.sum() < rank - 2:
            return False
        return bool(tight[:, common].all(axis=1).sum() == 2)

    def _crossing(self, cone: _Cone, p: int, q: int, value: Floats) -> tuple[Floats, Bools]:
        tight = cone.tight[p] & cone.tight[q]
        tight[cone.depth] = True
        ray = value[p] * cone.rays[q] - value[q] * cone.rays[p]
        _, singular, basis = np.linalg.svd(self._rows[tight], full_matrices=False)
        basis = basis[: self._rows.shape[1] - 1][singular[: self._rows.shape[1] - 1] > 1e-6]
        ray = _unit(ray)
        return _unit(ray - basis.T @ (basis @ ray)), tight

    def _cut_by_margin(self, cone: _Cone) -> None:
        i = cone.depth
        witness = _unit(cone.rays.sum(axis=0)) if cone.witness is None else cone.witness
        value = float(self._rows[i] @ witness)
        here = value > 0
        cone.witness, cone.positive[i] = witness, not here
        other, margin, _ = self._best_point(cone, i + 1)
        cone.positive[i] = here
        if margin <= self._tol:
            return
        if abs(value) <= _THIN:  # the old witness may have no interior side at all
            own, own_margin, _ = self._best_point(cone, i + 1)
            if own_margin <= self._tol:
                cone.witness, cone.positive[i] = other, not here
                return
            cone.witness = own
        self._push_other_side(cone, not here, witness=other)

    def _interior_point(self, cone: _Cone) -> Floats | None:
        witness = _unit(cone.rays.sum(axis=0)) if cone.witness is None else cone.witness
        margin = np.where(cone.positive, 1.0, -1.0) * (self._rows @ witness)
        if margin.min() > _THIN:
            return witness
        best, value, _ = self._best_point(cone, len(self._rows))
        return best if value > self._tol else None

    def _best_point(self, cone: _Cone, depth: int) -> tuple[Floats, float, float]:
        return _max_margin(self._rows[:depth], cone.positive[:depth], 0.5, self._tol)


def max_margins(rows: Floats, positive: Bools, accuracy: float, floor: float) -> tuple[Floats, Floats, Floats]:
    """For each row of signs, the unit direction of largest margin min_i s_i rows_i'u, that margin, and a bound on it.

    A search stops once the margin is at least ``accuracy`` times the bound, or the bound is at most ``floor``.
    """
    n, dim = rows.shape
    if n == 0 or dim == 0 or positive.ndim != 2 or positive.shape[1] != n:
        raise ValueError("rows must be (n, r) and positive (P, n), n and r > 0")
    answers = [_max_margin(rows, signs, accuracy, floor) for signs in positive]
    directions = np.array([u for u, _, _ in answers], float).reshape(-1, dim)
    return directions, np.array([m for _, m, _ in answers], float), np.array([b for _, _, b in answers], float)


def _max_margin(rows: Floats, positive: Bools, accuracy: float, floor: float) -> tuple[Floats, float, float]:
    """Lawson-Hanson on min |M z - e_0|, M = [1'; B'], B the signed rows: see ``max_margin.hpp``."""
    signed = np.where(positive, 1.0, -1.0)[:, None] * rows
    lifted = np.hstack([np.ones((len(rows), 1)), signed])
    u = signed.sum(axis=0)
    u = _unit(u) if u.any() else np.eye(rows.shape[1])[0]
    active: list[int] = []
    weight: Floats = np.zeros(0)
    best, margin, bound = u, -np.inf, 1.0
    for _ in range(100 + 20 * lifted.shape[1]):
        values = signed @ u
        enter = int(values.argmin())
        if values[enter] > margin:
            best, margin = u, float(values[enter])
        if margin >= accuracy * bound or bound <= floor or enter in active:
            break
        trial = [*active, enter]
        q, triangle = np.linalg.qr(lifted[trial].T)
        if len(trial) > lifted.shape[1] or abs(triangle[-1, -1]) < 1e-13:
            break
        active, weight, q = _drop_negative_weights(lifted, trial, np.append(weight, 0.0))
        residual = np.eye(lifted.shape[1])[0]
        for _ in range(2):
            residual = residual - q @ (q.T @ residual)
        norm = float(np.linalg.norm(residual[1:]))
        u, bound = -residual[1:] / (norm or 1.0), min(bound, norm / (1.0 - float(residual[0])))
    return best, margin, bound


def _drop_negative_weights(lifted: Floats, active: list[int], weight: Floats) -> tuple[list[int], Floats, Floats]:
    while True:
        q, triangle = np.linalg.qr(lifted[active].T)
        target = np.linalg.solve(triangle, q[0])
        blocked = np.flatnonzero(target <= 0)
        if not len(blocked):
            return active, target, q
        gap = weight[blocked] - target[blocked]
        ratio = np.divide(weight[blocked], gap, out=np.zeros_like(gap), where=gap > 0)
        weight = weight + ratio.min() * (target - weight)
        leaving = int(blocked[ratio.argmin()])
        active = [*active[:leaving], *active[leaving + 1 :]]
        weight = np.maximum(np.delete(weight, leaving), 0.0)


def _unit(v: Floats) -> Floats:
    norm = float(np.linalg.norm(v))
    return v / norm if norm > 0 else v

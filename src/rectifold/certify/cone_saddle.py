"""The relaxation of g on simplicial cones as a saddle point: minimum over alpha, maximum over directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.cone_geometry import Cones, joined
from rectifold.certify.cone_leaves import leaf_bounds
from rectifold.certify.cone_rows import ConeRows

__all__ = ["Saddle"]

Array = NDArray[np.float64]

_FIRST_SWEEPS, _SWEEPS = 12, 8
_SMALLEST = 1e-300
_EXTENSION = 1.3


@dataclass(eq=False)
class Saddle:
    """Cones with iterates of ``min over q in the zonotope of pulls, max over u`` of the relaxation on each.

    For given q the maximum is a non-negative least squares problem, ``min 1/2 ||V't||^2 - c't`` over t >= 0; its
    maximiser u is minus the gradient of half the squared value with respect to q.

    Attributes
    ----------
    rows : ConeRows
    cones : Cones
    pulls : ndarray, shape (m, d)
        q.
    shares : ndarray, shape (m, K)
        t.
    gram : ndarray, shape (K, K, m)
        Inner products of the rays.
    lift : ndarray, shape (m, K)
        A vector whose product with every ray is at least 1: it repairs what coordinate descent leaves.
    """

    rows: ConeRows
    cones: Cones
    pulls: Array
    shares: Array
    gram: Array
    lift: Array

    @classmethod
    def start(cls, cones: Cones, rows: ConeRows) -> Saddle:
        """Begin with the activities at the centre of each cone."""
        k = cones.rays.shape[1]
        centers = cones.rays.sum(axis=1)
        pulls = (centers @ rows.negative[:, :k].T > 0.0).astype(np.float64) @ rows.negative
        state = cls._at(rows, cones, pulls, np.zeros((len(cones), k)))
        state._sweep(_FIRST_SWEEPS)
        return state

    @classmethod
    def joined(cls, parts: Sequence[Saddle]) -> Saddle:
        """Return all cones in one batch."""
        cones = joined([part.cones for part in parts])
        shares = np.zeros((len(cones), cones.rays.shape[1]))
        stops = np.cumsum([len(part) for part in parts]).tolist()
        for part, stop in zip(parts, stops, strict=True):
            shares[stop - len(part) : stop, : part.shares.shape[1]] = part.shares
        return cls._at(parts[0].rows, cones, np.concatenate([part.pulls for part in parts]), shares)

    @classmethod
    def _at(cls, rows: ConeRows, cones: Cones, pulls: Array, shares: Array) -> Saddle:
        gram = np.ascontiguousarray(np.matmul(cones.rays, cones.rays.transpose(0, 2, 1)).transpose(1, 2, 0))
        products = np.where(np.arange(len(gram))[:, None] < cones.dims, gram.sum(axis=1), np.inf)
        lift = cones.rays.sum(axis=1) / products.min(axis=0)[:, None]
        return cls(rows, cones, pulls, shares, gram, lift)

    def __len__(self) -> int:
        return len(self.cones)

    def take(self, mask: NDArray[np.bool_]) -> Saddle:
        """Return some of the cones with their iterates."""
        index = np.flatnonzero(mask)
        cones = self.cones.take(index)
        k = cones.rays.shape[1]
        gram = np.ascontiguousarray(self.gram[:k, :k, index])
        return Saddle(self.rows, cones, self.pulls[index], self.shares[index, :k], gram, self.lift[index, :k])

    def solve(self) -> Array:
        """Improve t for the present q and return upper bounds of g on the cones, shape (m,)."""
        short = self._sweep(_SWEEPS)
        duals = np.zeros_like(self.pulls)
        duals[:, : self.shares.shape[1]] = self._points() + short[:, None] * self.lift
        return leaf_bounds(self.cones, self.rows, self.pulls, duals)

    def directions(self, smoothing: float = 0.0) -> Array:
        """Return multiples ``(V't, R b / max(||b||, smoothing))`` of the maximisers u, shape (m, d).

        The residual term R has a kink where b = 0, round which exact maximisers make q circle.
        """
        beside, length = self._beside()
        scale = self._residuals(length) / np.maximum(length, max(smoothing, _SMALLEST))
        out = beside * scale[:, None]
        out[:, : self.shares.shape[1]] += self._points()
        return out

    def reached(self, directions: Array, supports: Array) -> Array:
        """Return the relaxation's value at the maximisers under the best alpha there, shape (m,).

        No alpha bounds g below it on the cone.

        Parameters
        ----------
        directions : ndarray, shape (m, d)
        supports : ndarray, shape (m,)
            ``sum_{r_i < 0} |r_i| (z_i'u)_+`` at them.
        """
        beside, length = self._beside()
        residuals = self._residuals(length)
        value = (self._levels() * self.shares).sum(axis=1) + (beside * directions).sum(axis=1)
        value += (residuals - length) * residuals + (self.pulls * directions).sum(axis=1) - supports
        size = np.hypot(np.linalg.norm(self._points(), axis=1), residuals)
        return np.asarray(value / np.maximum(size, _SMALLEST))

    def is_blocked(self, bound: float) -> NDArray[np.bool_]:
        """Return where the residual term alone, or what g attains in the cone with it, is too much for bisections."""
        inside = self._points()
        inside /= np.maximum(np.linalg.norm(inside, axis=1), _SMALLEST)[:, None]
        beside = np.where(
            np.arange(self.pulls.shape[1]) < self.cones.dims[:, None], 0.0, self.rows.half_sum - self.pulls
        )
        residual = np.linalg.norm(beside, axis=1) + self.rows.spreads(self.cones.dims)
        k = inside.shape[1]
        value = self.rows.heights(inside) - np.maximum(inside @ self.rows.negative[:, :k].T, 0.0).sum(axis=1)
        return np.asarray(np.maximum(value, 0.0) ** 2 + _EXTENSION * residual**2 > bound**2)

    def gains(self) -> Array:
        """Return g at the maximisers u, normalised, shape (m,)."""
        directions = self.directions()
        return self.rows.gains(directions / np.maximum(np.linalg.norm(directions, axis=1), _SMALLEST)[:, None])

    def _beside(self) -> tuple[Array, Array]:
        """Return b, zero within the cones' dimensions, and its norm, shapes (m, d) and (m,)."""
        inside = np.arange(self.pulls.shape[1]) < self.cones.dims[:, None]
        beside = np.where(inside, 0.0, self.rows.half_sum - self.pulls)
        return beside, np.asarray(np.linalg.norm(beside, axis=1))

    def _residuals(self, length: Array) -> Array:
        return np.asarray(length + self.rows.spreads(self.cones.dims))

    def _sweep(self, count: int) -> Array:
        """Improve t by coordinate descent and return ``max_j (c_j - v_j'V't)_+``, shape (m,)."""
        t = np.ascontiguousarray(self.shares.T)
        slope = self._levels().T - np.einsum("ijm,jm->im", self.gram, t)
        step, change = np.empty_like(t[0]), np.empty_like(t)
        for _ in range(count):
            for j in range(len(t)):
                np.maximum(slope[j], np.negative(t[j], out=step), out=step)
                t[j] += step
                slope -= np.multiply(self.gram[j], step, out=change)
        self.shares = np.ascontiguousarray(t.T)
        return np.maximum(slope.max(axis=0, initial=0.0), 0.0)

    def _levels(self) -> Array:
        """Return ``c_j = h(v_j) - q'v_j``, shape (m, K)."""
        k = self.cones.rays.shape[1]
        return np.asarray(self.cones.heights - np.einsum("mjl,ml->mj", self.cones.rays, self.pulls[:, :k]))

    def _points(self) -> Array:
        """Return ``V't``, shape (m, K)."""
        return np.asarray(np.einsum("mj,mjl->ml", self.shares, self.cones.rays))

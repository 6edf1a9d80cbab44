"""The function ``g(z) = sum_i r_i (z_i'z)_+`` that a cone tree bounds, split by the sign of r."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.bounds import half_spreads, require_weights
from rectifold.core.certificate import Grade
from rectifold.core.rounding import gamma

__all__ = ["ConeRows", "blocks"]

Array = NDArray[np.float64]

_BLOCK_NUMBERS = 400_000


class ConeRows:
    """Rows in a tree's coordinates, each multiplied by |r_i|; rows with r_i = 0 are dropped.

    Parameters
    ----------
    Z : ndarray, shape (n, d)
    r : ndarray, shape (n,)
    row_weights : ndarray, shape (d, n)
    grade : Grade

    Attributes
    ----------
    positive, negative : ndarrays, shapes (n_positive, d) and (n_negative, d)
        ``|r_i| z_i`` of the rows with r_i > 0 and r_i < 0.
    half_sum : ndarray, shape (d,)
        Half the sum of ``positive``.
    size : float
        At least ``sum_i |r_i| ||z_i||``, a Lipschitz constant of g.
    block : int
        How many points times rows fit a small machine's cache.
    """

    def __init__(self, Z: Array, r: Array, row_weights: Array, grade: Grade) -> None:
        self._Z, self._r, self._row_weights, self._grade = Z, r, row_weights, grade
        scaled = np.abs(r)[:, None] * Z
        self.positive = np.ascontiguousarray(scaled[r > 0])
        self.negative = np.ascontiguousarray(scaled[r < 0])
        self.is_negative = r < 0
        self.half_sum = 0.5 * self.positive.sum(axis=0)
        self.size = float(np.linalg.norm(scaled, axis=1).sum()) * (1.0 + 2.0 * gamma(len(r) + Z.shape[1] + 8))
        self.block = max(64, _BLOCK_NUMBERS // max(len(r), 1))
        self._spreads = np.full(Z.shape[1] + 1, np.nan)
        self._spreads[-1] = 0.0

    @property
    def dimension(self) -> int:
        """The number d of coordinates."""
        return self._Z.shape[1]

    def heights(self, points: Array) -> Array:
        """Return ``sum_{r_i > 0} r_i (z_i'v)_+`` at the rows v of ``points`` (m, k), zero beyond k, shape (m,)."""
        out = np.empty(len(points))
        rows = np.ascontiguousarray(self.positive[:, : points.shape[1]].T)
        for part in blocks(len(points), self.block):
            images = points[part] @ rows
            out[part] = np.maximum(images, 0.0, out=images).sum(axis=1)
        return out

    def gains(self, points: Array) -> Array:
        """Return g at the rows of ``points`` (m, d), shape (m,)."""
        return self.heights(points) - np.maximum(points @ self.negative.T, 0.0).sum(axis=1)

    def spreads(self, dims: NDArray[np.int64]) -> Array:
        """Return the K of the residual term for cones of these dimensions, each computed once.

        Raises
        ------
        Refusal
            If a row weight that is needed is not positive.
        """
        for k in np.unique(dims[np.isnan(self._spreads[dims])]).tolist():
            on = self._r > 0
            weights = np.where(on, self._row_weights[k], 1.0)
            require_weights(weights)
            rows = np.ascontiguousarray(self._Z[:, k:])
            self._spreads[k] = half_spreads(rows, self._r, weights, on[None, :], self._grade)[0]
        return self._spreads[dims]


def blocks(count: int, size: int) -> Iterator[slice]:
    """Cut ``range(count)`` into slices of at most ``size``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))

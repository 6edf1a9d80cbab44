"""Projection on the cones of activation patterns, for many patterns at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold._kernels import ConeProjector as Kernel

Array = NDArray[np.float64]

_TOL = 1e-12


@dataclass(frozen=True, eq=False)
class Projections:
    """Projections of ``X' D_b theta`` and of its negative on the cones ``K_b`` of P patterns.

    Attributes
    ----------
    points : ndarray, shape (2, P, d)
        Sign first: ``Proj_{K_b}(+-X' D_b theta)``.
    norms : ndarray, shape (2, P)
        ``max {+-theta'(Xu)_+ : u in K_b, ||u|| <= 1}``, or an upper bound of it no larger than the threshold.
    rows : ndarray of int32, shape (2, P, k)
        Rows on whose hyperplanes the projection lies, -1 where there are fewer.
    """

    points: Array
    norms: Array
    rows: NDArray[np.int32]


class ConeProjector:
    """The primitive behind duality gaps, screening and alpha_max: a small non-negative least squares per pattern.

    Parameters
    ----------
    X : ndarray, shape (n, d)
    patterns : ndarray of bool, shape (P, n)
        ``K_b = {w : (2 D_b - I) X w >= 0}``.

    Notes
    -----
    Active-set method, warm-started from the previous call; a pivot costs ``O(n d)``.

    References
    ----------
    Lawson and Hanson (1974); Mishkin and Pilanci (2023) for the program.
    """

    def __init__(self, X: Array, patterns: NDArray[np.bool_]) -> None:
        self._patterns = np.ascontiguousarray(patterns, dtype=np.uint8)
        self._kernel = Kernel(np.ascontiguousarray(X))
        self._warm = np.empty((0, 0), dtype=np.int32)

    def project(self, theta: Array, threshold: float = -np.inf, n_threads: int = 1) -> Projections:
        """Project for both signs; stop at a block once its bound is at most ``threshold``."""
        theta = np.ascontiguousarray(theta)
        points, norms, rows, _, _ = self._kernel.price(self._patterns, theta, threshold, _TOL, self._warm, n_threads)
        self._warm = rows
        shape = (len(self._patterns), 2, -1)
        return Projections(
            points.reshape(shape).swapaxes(0, 1), norms.reshape(shape[:2]).T, rows.reshape(shape).swapaxes(0, 1)
        )

    def price(self, theta: Array, threshold: float = -np.inf) -> Array:
        """Return the norms of `project`, shape (2, P)."""
        return self.project(theta, threshold).norms

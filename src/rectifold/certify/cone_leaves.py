"""The inequality that closes a leaf of a cone tree, for any alpha in [0, 1]^n and any vector a."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.cone_geometry import Cones
from rectifold.certify.cone_rows import ConeRows
from rectifold.core.rounding import gamma

__all__ = ["leaf_bounds", "leaf_slack", "stored_pulls"]

Array = NDArray[np.float64]


def leaf_bounds(cones: Cones, rows: ConeRows, pulls: Array, duals: Array) -> Array:
    """Return upper bounds of g on each cone, times the whole space of the other axes, within the unit ball.

    With ``q = sum_{r_i < 0} |r_i| alpha_i z_i`` and ``delta = max_j (h(v_j) - q'v_j - a'v_j)_+`` the vector
    ``a + delta sigma``, sigma the signs of the cone's orthant, is at least ``h(v) - q'v`` at every ray, since
    ``sigma'v = ||v||_1 >= ||v||_2 = 1``. So no dual vector is wrong; a poor one gives a poor bound.

    Parameters
    ----------
    cones : Cones
    rows : ConeRows
    pulls : ndarray, shape (m, d)
        The points q.
    duals : ndarray, shape (m, d)
        The vectors a; entries from a cone's dimension on are not used.

    Returns
    -------
    ndarray, shape (m,)
        Short of the true bound by at most `leaf_slack`.
    """
    k = cones.rays.shape[1]
    inside = np.arange(pulls.shape[1]) < cones.dims[:, None]
    a = np.where(inside, duals, 0.0)
    excess = cones.heights - np.einsum("mjl,ml->mj", cones.rays, pulls[:, :k] + a[:, :k])
    delta = np.maximum(excess.max(axis=1, initial=0.0), 0.0)
    in_cone = np.linalg.norm(a, axis=1) + np.sqrt(cones.dims) * delta
    beside = np.linalg.norm(np.where(inside, 0.0, rows.half_sum - pulls), axis=1) + rows.spreads(cones.dims)
    return np.asarray(np.sqrt(in_cone**2 + beside**2))


def leaf_slack(rows: ConeRows, n: int, bound: float, steps: int = 0) -> float:
    """Return what `leaf_bounds` may have lost to rounding where it is at most ``bound``.

    Every height, pull, product with a ray and norm is a sum of at most n + 2 d products, of size at most
    ``rows.size + bound``; errors of the sqrt(d) coordinates of delta sigma, of a, and of the residual term add up.

    Parameters
    ----------
    rows : ConeRows
    n : int
        Rows of the problem.
    bound : float
    steps : int
        Convex combinations ``q + s (q' - q)`` by which a pull may have been formed.
    """
    d = rows.dimension
    return (math.sqrt(d) + 3.0) * gamma(n + 3 * d + 8 * steps + 64) * (rows.size + bound)


def stored_pulls(alphas: NDArray[np.uint8], rows: ConeRows) -> Array:
    """Return ``sum_{r_i < 0} |r_i| alpha_i z_i`` for activities stored in bytes (m, n), shape (m, d)."""
    return (alphas[:, rows.is_negative].astype(np.float64) / 255.0) @ rows.negative

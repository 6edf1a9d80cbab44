"""What the leaves of a fixed cone tree demand of theta: a convex inequality each (proven_bound sheet, section 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.tree_sweep import LeafPoints
from rectifold.core.certificate import CONE_EXTENSION
from rectifold.training.convex.proof.cone_sides import Side
from rectifold.training.convex.proof.spectral_bound import residual_root

__all__ = ["Cuts", "leaf_cuts"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 4_000_000


class Cuts(NamedTuple):
    """Inequalities ``sum_i above_i max(theta_i, 0) + below_i min(theta_i, 0) <= level``, convex as below <= above.

    Attributes
    ----------
    above, below : ndarray, shape (m, n)
    """

    above: Array
    below: Array

    @classmethod
    def none(cls, n: int) -> Cuts:
        """Return no cuts on n entries."""
        return cls(np.zeros((0, n)), np.zeros((0, n)))

    def __add__(self, other: tuple[Array, ...]) -> Cuts:  # type: ignore[override]
        return Cuts(np.vstack([self.above, other[0]]), np.vstack([self.below, other[1]]))

    def take(self, keep: NDArray[np.bool_]) -> Cuts:
        """Return some of the cuts."""
        return Cuts(self.above[keep], self.below[keep])

    def values(self, theta: Array) -> Array:
        """Return the left-hand sides at theta (n,), shape (m,)."""
        return np.asarray(self.above @ np.maximum(theta, 0.0) + self.below @ np.minimum(theta, 0.0))


def leaf_cuts(side: Side, points: LeafPoints) -> Cuts:
    """Return the cut of each leaf, exact at the side's own theta, where its value is that of the point.

    With the point's rays ``t_j v_j``, its part u2 beside them and the residual term's length s, and for r = sign theta,
    the bound of the leaf is at least ``sum_{r_i > 0} r_i phi_i - sum_{r_i < 0} |r_i| psi_i``,

        phi_i = sum_j t_j (z1_i'v_j)_+ + 1/2 z2_i'u2 + s kappa_i,   psi_i = (z_i'u)_+,

    where ``sum_{r_i > 0} r_i kappa_i = K2`` linearises the residual term. Where that leaves ``psi_i > phi_i``, the one
    that this theta does not use gives way.
    """
    Z, r, spread, _ = side.task.arguments
    d = Z.shape[1]
    extensions = [np.count_nonzero(path[1::2] == CONE_EXTENSION) for path in points.paths]
    dims = np.array(extensions, dtype=np.int64) + min(2, d)
    phi = _interpolated(Z, points.rays, dims) + 0.5 * (points.beside @ Z.T)
    for k in np.unique(dims[dims < d]).tolist():
        phi[dims == k] += points.rests[dims == k, None] * _residual_slopes(Z[:, k:], r, spread[k])
    psi = np.maximum((points.rays.sum(axis=1) + points.beside) @ Z.T, 0.0)
    up = r > 0
    phi, psi = np.where(up, phi, np.maximum(phi, psi)), np.where(up, np.minimum(phi, psi), psi)
    return Cuts(phi, psi) if side.sign > 0 else Cuts(-psi, -phi)


def _interpolated(Z: Array, rays: Array, dims: Ints) -> Array:
    """Return ``sum_j t_j (z1_i'v_j)_+``, shape (m, n)."""
    out = np.empty((len(rays), len(Z)))
    for k in np.unique(dims).tolist():
        index = np.flatnonzero(dims == k)
        for part in np.array_split(index, 1 + len(index) * k * len(Z) // _BLOCK):
            images = rays[part, :k, :k].reshape(-1, k) @ Z[:, :k].T
            out[part] = np.maximum(images, 0.0).reshape(len(part), k, -1).sum(axis=1)
    return out


def _residual_slopes(rest: Array, r: Array, spread: float) -> Array:
    """Return the kappa of `leaf_cuts`, shape (n,), non-negative."""
    on = (r > 0) & np.any(rest != 0.0, axis=1)
    if not np.any(on):
        return np.zeros(len(r))
    size = np.linalg.norm(rest @ residual_root(rest[on], r[on]), axis=1)
    return np.asarray(size * (spread / float(r[on] @ size[on])))

"""Batches of simplicial cones: the roots of a cone tree, bisection and extension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.cone_rows import ConeRows

__all__ = ["Cones", "bisected", "extended", "joined", "root_count", "roots"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cones:
    """Some cones, padded with zeros to the largest dimension K among them.

    All rays of a cone lie in one orthant: bisection never cancels, so that a ray is exact to a relative rounding error
    in every coordinate, and a point moves by no more than that relative to its norm.

    Attributes
    ----------
    rays : ndarray, shape (m, K, K)
        Ray j of cone c is ``rays[c, j]``; unit, up to rounding.
    heights : ndarray, shape (m, K)
        `ConeRows.heights` of the rays.
    dims : ndarray of int64, shape (m,)
    depths : ndarray of int64, shape (m,)
        Bisections on the way from the root.
    """

    rays: Array
    heights: Array
    dims: Ints
    depths: Ints

    def __len__(self) -> int:
        return len(self.dims)

    def take(self, index: Ints | slice) -> Cones:
        """Return some of the cones, padded no more than they need."""
        dims = self.dims[index]
        k = int(dims.max(initial=0))
        return Cones(self.rays[index, :k, :k], self.heights[index, :k], dims, self.depths[index])


def root_count(d: int) -> int:
    """Return the number of root cones in R^d: the orthants of the first ``min(2, d)`` axes."""
    return int(2 ** min(2, d))


def roots(rows: ConeRows) -> Cones:
    """Return the root cones; ray j of root o is ``-e_j`` if bit j of o is set."""
    k = min(2, rows.dimension)
    bits = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
    rays = np.eye(k) * (1.0 - 2.0 * bits)[:, :, None]
    heights = rows.heights(rays.reshape(-1, k)).reshape(-1, k)
    return Cones(rays, heights, np.full(2**k, k), np.zeros(2**k, dtype=np.int64))


def bisected(cones: Cones, first: Ints, second: Ints, metric: Array, rows: ConeRows) -> tuple[Cones, Cones]:
    """Split every cone at the midpoint of the edge between rays ``first`` < ``second``; return both children."""
    at, k = np.arange(len(cones)), cones.rays.shape[1]
    left, right = cones.rays[at, first], cones.rays[at, second]
    left, right = (v / np.sqrt((v * v) @ metric[:k])[:, None] for v in (left, right))
    middle = left + right
    middle /= np.sqrt((middle * middle).sum(axis=1))[:, None]
    height = rows.heights(middle)
    children = []
    for slot in (first, second):
        rays, heights = cones.rays.copy(), cones.heights.copy()
        rays[at, slot], heights[at, slot] = middle, height
        children.append(Cones(rays, heights, cones.dims, cones.depths + 1))
    return children[0], children[1]


def extended(cones: Cones, rows: ConeRows) -> tuple[Cones, Cones]:
    """Give every cone one more ray, along the next axis; return the children with ``+e_k`` and with ``-e_k``."""
    at, k = np.arange(len(cones)), int(cones.dims.max(initial=0)) + 1
    grown = joined([cones], k)
    children = []
    for direction in (1.0, -1.0):
        rays, heights = grown.rays.copy(), grown.heights.copy()
        rays[at, cones.dims, cones.dims] = direction
        heights[at, cones.dims] = rows.heights(direction * np.eye(k))[cones.dims]
        children.append(Cones(rays, heights, cones.dims + 1, cones.depths))
    return children[0], children[1]


def joined(parts: Sequence[Cones], width: int = 0) -> Cones:
    """Return all cones in one batch, padded to at least ``width``."""
    width = max([width, *(part.rays.shape[1] for part in parts)])
    count = sum(len(part) for part in parts)
    rays, heights = np.zeros((count, width, width)), np.zeros((count, width))
    start = 0
    for part in parts:
        k, stop = part.rays.shape[1], start + len(part)
        rays[start:stop, :k, :k], heights[start:stop, :k] = part.rays, part.heights
        start = stop
    dims, depths = (np.concatenate([getattr(part, name) for part in parts]) for name in ("dims", "depths"))
    return Cones(rays, heights, dims, depths)

"""Closes the leaves of a cone tree that was stored without its alphas and dual vectors.

Nothing here has to be right: what is found closes a leaf only through `leaf_bounds`, and bisecting a leaf covers it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.cone_geometry import Cones, bisected, joined
from rectifold.certify.cone_rows import ConeRows, blocks
from rectifold.certify.cone_saddle import Saddle
from rectifold.certify.verdict import Refusal

__all__ = ["MAX_STEPS", "Replay"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_STEPS = 24
LF=1.0
STEPS=200
"""Steps on a cone's pull before it is bisected; a bound on the roundings in that pull."""
_FREE_SPLITS = 1000


class Replay:
    """Closes cones at a bound, those that resist after bisecting them, up to a limited effort.

    Parameters
    ----------
    rows : ConeRows
    metric : ndarray, shape (d,)
        Of the bisections.
    bound : float
    n_leaves : int
        Leaves of the tree: as many bisections, and a few more, are the effort.
    """

    def __init__(self, rows: ConeRows, metric: Array, bound: float, n_leaves: int) -> None:
        self._rows, self._metric, self._bound = rows, metric, bound
        self._splits_left = _FREE_SPLITS + n_leaves

    def close(self, cones: Cones) -> int:
        """Close every cone and return the largest number of bisections on the way to one.

        Raises
        ------
        Refusal
            If the effort is spent, or g is above the bound in a direction that was met.
        """
        depth, pending = 0, [cones.take(part) for part in blocks(len(cones), self._rows.block)]
        while pending:
            batch = _popped(pending, self._rows.block)
            depth = max(depth, int(batch.depths.max(initial=0)))
            for state in self._resisting(batch):
                pending.extend(self._split(state))
        return depth

    def _resisting(self, cones: Cones) -> list[Saddle]:
        """Return the cones that no alpha can close, or that were not closed in `MAX_STEPS`."""
        state, resisting = Saddle.start(cones, self._rows), []
        for step in range(MAX_STEPS):
            state = state.take(~(state.solve(first=step == 0) <= self._bound))
            if not len(state):
                break
            beyond = state.advance(1.0 / (1.0 + 0.7 * step)) > self._bound
            resisting.append(state.take(beyond))
            state = state.take(~beyond)
        global LF,STEPS,MS
        if len(state):
            L=np.linalg.eigvalsh(self._rows.negative.T@self._rows.negative)[-1]*LF
            resisting+=state.polish(self._bound,STEPS,L)
            state=state.take(np.zeros(len(state),bool))
        return [part for part in (*resisting, state) if len(part)]

    def _split(self, state: Saddle) -> tuple[Cones, Cones]:
        self._splits_left -= len(state)
        if np.any(state.gains() > self._bound):
            raise Refusal("A direction exceeds the bound of a cone tree.")
        if self._splits_left < 0:
            raise Refusal("The leaves of a cone tree could not be closed at its bound.")
        first, second = _edges(state.cones, state.shares, self._rows)
        return bisected(state.cones, first, second, self._metric, self._rows)


def _popped(pending: list[Cones], count: int) -> Cones:
    """Take whole parts from the end, one or up to ``count`` cones."""
    taken = [pending.pop()]
    while pending and len(pending[-1]) + sum(map(len, taken)) <= count:
        taken.append(pending.pop())
    return joined(taken)


def _edges(cones: Cones, shares: Array, rows: ConeRows) -> tuple[Ints, Ints]:
    """Choose the edge of each cone on which the interpolated heights err most, weighted by the maximiser's shares."""
    m, k = len(cones), cones.rays.shape[1]
    i, j = np.triu_indices(k, 1)
    sums = cones.rays[:, i] + cones.rays[:, j]
    error = cones.heights[:, i] + cones.heights[:, j] - rows.heights(sums.reshape(-1, k)).reshape(m, -1)
    weight = np.sqrt(np.minimum(shares[:, i], shares[:, j])) + 1e-3 * np.sqrt(shares.sum(axis=1, keepdims=True)) + 1e-9
    lengths = np.linalg.norm(cones.rays[:, i] - cones.rays[:, j], axis=2)
    score = np.where(j < cones.dims[:, None], weight * (np.maximum(error, 0.0) + 1e-6 * rows.size * lengths), -1.0)
    best = score.argmax(axis=1)
    return i[best], j[best]

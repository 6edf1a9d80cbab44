"""Closes the leaves of a cone tree that was stored without its alphas and dual vectors.

Nothing here has to be right: what is found closes a leaf only through `leaf_bounds`, and what a leaf is split into
covers it.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.cone_descent import Averages, Gradients
from rectifold.certify.cone_geometry import Cones, bisected, extended, joined
from rectifold.certify.cone_rows import ConeRows, blocks
from rectifold.certify.cone_saddle import Saddle
from rectifold.certify.verdict import Refusal

__all__ = ["AVERAGES", "Replay"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
_Batch = TypeVar("_Batch", Cones, Saddle)

AVERAGES = 500
"""Averaging steps on a cone's pull, at most; a bound on the roundings in that pull."""
_FEW = 8
_SMOOTHING = 0.05
_GRADIENTS = 150
_FREE_SPLITS = 1000


class Replay:
    """Closes cones at a bound, those that resist after bisecting or extending them, up to a limited effort.

    Cones that averages do not close wait until there are enough of them for one batch of gradient steps.

    Parameters
    ----------
    rows : ConeRows
    metric : ndarray, shape (d,)
        Of the bisections.
    bound : float
    n_leaves : int
        Leaves of the tree: as many bisections, and a few more, are the effort.

    Attributes
    ----------
    depth : int
        The largest number of bisections on the way to a cone that was closed.
    """

    def __init__(self, rows: ConeRows, metric: Array, bound: float, n_leaves: int) -> None:
        self._rows, self._metric, self._bound = rows, metric, bound
        self._splits_left = _FREE_SPLITS + n_leaves
        self._fresh: list[Cones] = []
        self._waiting: list[Saddle] = []
        self.depth = 0

    def close(self, cones: Cones) -> None:
        """Close cones, or keep them for `finish`.

        Raises
        ------
        Refusal
            If the effort is spent, or g is above the bound in a direction that was met.
        """
        self._fresh.extend(cones.take(part) for part in blocks(len(cones), self._rows.block))
        self._work(self._rows.block)

    def finish(self) -> None:
        """Close what is left; raises as `close` does."""
        self._work(1)

    def _work(self, enough: int) -> None:
        while self._fresh or sum(map(len, self._waiting)) >= enough:
            if self._fresh:
                self._average()
            else:
                self._descend()

    def _average(self) -> None:
        cones = joined(_popped(self._fresh, self._rows.block))
        self.depth = max(self.depth, int(cones.depths.max(initial=0)))
        left, beyond = self._run(Averages(Saddle.start(cones, self._rows)), _FEW)
        if len(left):
            self._waiting.append(left)
        for state in beyond:
            self._split(state)

    def _descend(self) -> None:
        batch = Saddle.joined(_popped(self._waiting, self._rows.block))
        left, beyond = self._run(Gradients.start(batch), _GRADIENTS)
        if len(left):  # circling round a kink, if not at the end of what this cone admits
            left, more = self._run(Averages(left, _SMOOTHING * self._bound), AVERAGES)
            beyond += more
        for state in (left, *beyond):
            if len(state):
                self._split(state)

    def _run(self, state: Averages | Gradients, limit: int) -> tuple[Saddle, list[Saddle]]:
        """Take steps, dropping cones that close; return those still open and those that no alpha can close."""
        beyond = []
        for _ in range(limit):
            closed = state.saddle.solve() <= self._bound
            if closed.any():
                state = state.take(~closed)
            if not len(state.saddle):
                break
            lost = state.advance() > self._bound
            if lost.any():
                beyond.append(state.saddle.take(lost))
                state = state.take(~lost)
                if lost.all():
                    break
        return state.saddle, beyond

    def _split(self, state: Saddle) -> None:
        self._splits_left -= len(state)
        if np.any(state.gains() > self._bound):
            raise Refusal("A direction exceeds the bound of a cone tree.")
        if self._splits_left < 0 or state.shares.shape[1] < 2:
            raise Refusal("The leaves of a cone tree could not be closed at its bound.")
        blocked = state.is_blocked(self._bound) & (state.cones.dims < self._rows.dimension)
        if blocked.any():
            self._fresh.extend(extended(state.cones.take(np.flatnonzero(blocked)), self._rows))
            state = state.take(~blocked)
        if len(state):
            first, second = _edges(state.cones, state.shares, self._rows)
            self._fresh.extend(bisected(state.cones, first, second, self._metric, self._rows))


def _popped(parts: list[_Batch], count: int) -> list[_Batch]:
    """Take parts from the end, one or as many as have ``count`` cones together."""
    taken = [parts.pop()]
    while parts and len(parts[-1]) + sum(map(len, taken)) <= count:
        taken.append(parts.pop())
    return taken


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

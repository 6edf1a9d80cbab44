"""A tree of cones that is searched piece by piece: what is open may be finished at a larger bound than what is done."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.executor import TaskPool
from rectifold._engine.tree_search import LEAF, OPEN, TreeOutcome, TreeProgress, TreeStatus, search_tree, subtree_ends
from rectifold.core.certificate import ConeTree
from rectifold.training.convex.proof.cone_sides import Side

__all__ = ["GrowingTree"]

Codes = NDArray[np.uint16]
Leaves = tuple[NDArray[Any], ...]

_QUOTA = 40_000_000
_DIVES = 128


class GrowingTree:
    """The tree of one side, from the roots alone to the proof.

    Attributes
    ----------
    side : Side
    nodes : ndarray of uint16
        As `search_tree` returns them.
    open_paths : tuple of ndarray of uint16
        Of the subtrees still to be searched.
    """

    def __init__(self, side: Side, pool: TaskPool, keep_leaves: bool) -> None:
        self.side, self._pool, self._keep_leaves = side, pool, keep_leaves
        self.open_paths: tuple[Codes, ...] = tuple(side.roots)
        self.nodes: Codes = np.full(len(self.open_paths), OPEN, dtype=np.uint16)
        self._leaves: Leaves = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is open."""
        return not self.open_paths

    def grow(
        self,
        bound: float,
        max_work: int,
        max_nodes: int,
        should_stop: Callable[[], bool],
        on_progress: Callable[[TreeProgress], None],
    ) -> TreeOutcome:
        """Search what is open for a proof of this bound."""
        outcome = search_tree(
            self.side.at(bound, self._keep_leaves),
            self.open_paths,
            max_work=max(max_work, 1),
            quota=_QUOTA,
            pool=self._pool,
            should_stop=should_stop,
            on_progress=on_progress,
            max_nodes=max(max_nodes, 1),
        )
        if outcome.status not in (TreeStatus.REFUTED, TreeStatus.DEPTH_LIMIT):
            self.nodes, self._leaves = _graft(self.nodes, self._leaves, outcome)
            self.open_paths = outcome.open_paths
        return outcome

    def expected_work(self, bound: float) -> float:
        """Return what finishing the tree at this bound may cost, a standard error added: dives have long tails."""
        return sum(self.side.estimate(bound, _DIVES, self.open_paths)) if self.open_paths else 0.0

    def tree(self, bound: float) -> ConeTree:
        """Return the evidence: no leaf was closed at a larger bound than this."""
        return self.side.tree(bound, self.nodes, self._leaves)


def _graft(nodes: Codes, leaves: Leaves, found: TreeOutcome) -> tuple[Codes, Leaves]:
    """Put the subtrees found in the places that were open."""
    gaps = np.flatnonzero(nodes == OPEN)
    stems = [piece[i > 0 :] for i, piece in enumerate(np.split(nodes, gaps))]
    branches = np.split(found.nodes, subtree_ends(found.nodes)[:-1])
    pieces = [piece for pair in zip(stems, branches, strict=False) for piece in pair] + stems[-1:]
    if not found.leaves or not (len(found.leaves[0]) or (leaves and len(leaves[0]))):
        return np.concatenate(pieces), found.leaves
    ours = leaves or tuple(rows[:0] for rows in found.leaves)
    counts = [0, *np.cumsum([np.count_nonzero(stem == LEAF) for stem in stems])]
    theirs = [0, *np.cumsum([np.count_nonzero(branch == LEAF) for branch in branches])]
    kept = []
    for old, new in zip(ours, found.leaves, strict=True):
        rows = [old[low:high] for low, high in pairwise(counts)]
        grown = [new[low:high] for low, high in pairwise(theirs)]
        kept.append(np.concatenate([part for pair in zip(rows, grown, strict=False) for part in pair] + rows[-1:]))
    return np.concatenate(pieces), tuple(kept)

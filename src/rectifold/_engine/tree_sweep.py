"""A finished proof tree walked again: the bounds of its leaves at another right-hand side, in parallel and in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.executor import TaskPool
from rectifold._engine.tree_search import LEAF, SubtreeTask, subtree_ends

__all__ = ["LeafPoints", "Part", "SweepOutcome", "SweepTask", "split_tree", "sweep_tree"]

Array = NDArray[np.float64]
Codes = NDArray[np.uint16]


class Part(NamedTuple):
    """Subtrees of a tree: the paths to them, and their streams, one after the other."""

    paths: tuple[Codes, ...]
    nodes: Codes

    @classmethod
    def of_leaves(cls, paths: Sequence[Codes]) -> Part:
        """Return a part of leaves alone."""
        return cls(tuple(paths), np.full(len(paths), LEAF, dtype=np.uint16))


class LeafPoints(NamedTuple):
    """Leaves and where their bounds are attained: unit vectors u = (sum of the rays, beside).

    Attributes
    ----------
    paths : list of ndarray of uint16
        m of them.
    values : ndarray, shape (m,)
        The relaxation at u, under the best multipliers.
    rays : ndarray, shape (m, d, d)
        Those of the leaf, times non-negative factors, a row each; zero from the leaf's dimension on.
    beside : ndarray, shape (m, d)
    rests : ndarray, shape (m,)
        What the leaf's residual term is multiplied by, at least ``||beside||``.
    """

    paths: list[Codes]
    values: Array
    rays: Array
    beside: Array
    rests: Array

    def take(self, index: NDArray[np.intp]) -> LeafPoints:
        """Return some of the leaves."""
        paths = [self.paths[i] for i in index.tolist()]
        return LeafPoints(paths, self.values[index], self.rays[index], self.beside[index], self.rests[index])


class SweepOutcome(NamedTuple):
    """What a sweep found.

    Attributes
    ----------
    worst : float
        The largest bound of a leaf, as far as it exceeds the target.
    points : LeafPoints
        The leaves above the target, largest first.
    work : int
    leaves : tuple of ndarray
        Multipliers, a row a leaf in the order of the stream, if they were to be kept.
    """

    worst: float
    points: LeafPoints
    work: int
    leaves: tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class SweepTask:
    """The task that hands parts to a kernel's ``sweep``, picklable.

    Parameters
    ----------
    search : SubtreeTask
        With the target below which leaves are of no interest.
    max_points, stride : int
        Leaves to return from one part; take every so-manyth only.
    """

    search: SubtreeTask
    max_points: int
    stride: int = 1

    def __call__(self, part: Part) -> tuple[Any, ...]:
        """Sweep a part."""
        search = self.search
        extent = (self.max_points, self.stride, search.keep_leaves)
        return search.kernel().sweep(list(part.paths), part.nodes, search.target, *extent)


def split_tree(nodes: Codes, roots: Sequence[Codes], n_parts: int) -> list[Part]:
    """Cut a finished tree into parts of one subtree each, about ``n_parts`` of them, in the order of the stream.

    Notes
    -----
    O(length) a level of the largest subtrees.
    """
    ends = [0, *subtree_ends(nodes).tolist()]
    parts = [Part((root,), nodes[start:stop]) for root, (start, stop) in zip(roots, pairwise(ends), strict=True)]
    enough = max(len(nodes) // max(n_parts, 1), 1)
    while len(parts) < n_parts:
        grown = [child for part in parts for child in (_children(part) if len(part.nodes) > enough else [part])]
        if len(grown) == len(parts):
            break
        parts = grown
    return parts


def _children(part: Part) -> list[Part]:
    code, below = part.nodes[0], part.nodes[1:]
    middle = int(subtree_ends(below)[0])
    return [
        Part((np.append(part.paths[0], np.array([code, which], dtype=np.uint16)),), nodes)
        for which, nodes in enumerate((below[:middle], below[middle:]))
    ]


def sweep_tree(
    task: SweepTask,
    parts: Sequence[Part],
    *,
    max_work: int,
    max_points: int,
    pool: TaskPool | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SweepOutcome | None:
    """Sweep all parts, in order; None if a limit or ``should_stop`` left some of them out.

    Parameters
    ----------
    task : SweepTask
    parts : sequence of Part
        Each one task; with the other arguments, ``pool`` aside, they determine the answer.
    max_work, max_points : int
        Of all parts together. The limit on work is kept up to the parts under way.
    pool : TaskPool, optional
    should_stop : callable
    """
    pool = TaskPool() if pool is None else pool
    results: list[tuple[Any, ...]] = []
    work = 0
    for result in pool.map(task, parts, should_stop=should_stop):
        results.append(result)
        work += int(result[0])
        if work > max_work:
            break
    if len(results) < len(parts) or work > max_work:
        return None
    paths = [path for result in results for path in result[3]]
    joined = (np.concatenate([result[i] for result in results]) for i in (4, 5, 6, 7))
    points = LeafPoints(paths, *joined)
    order = np.argsort(-points.values, kind="stable")[:max_points]
    kept = task.search.keep_leaves
    leaves = tuple(np.concatenate([result[i] for result in results]) for i in (8, 9)) if kept else ()
    return SweepOutcome(max(float(result[1]) for result in results), points.take(order), work, leaves)

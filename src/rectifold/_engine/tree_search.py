"""A proof tree searched in rounds of independent tasks: anytime, and the same answer on every executor.

A tree is binary, and its nodes are uint16 codes in preorder: ``LEAF``, ``OPEN`` (not searched yet), anything else an
inner node with two children. A path names a subtree: root, code of the split, child taken, code, child, ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.executor import TaskPool
from rectifold.core.errors import ProblemError, SolverError

__all__ = [
    "LEAF",
    "OPEN",
    "Share",
    "SubtreeTask",
    "TreeOutcome",
    "TreeProgress",
    "TreeStatus",
    "search_tree",
    "subtree_ends",
]

Codes = NDArray[np.uint16]

LEAF, OPEN = 0xFFFF, 0xFFFD

_REFUTED, _TOO_DEEP = 2, 3
_SUBTREES_PER_GROUP = 4  # with fewer open subtrees than this a round is shorter: it is there to split them


class TreeStatus(StrEnum):
    """Why a search ended."""

    COMPLETE = "complete"
    REFUTED = "refuted"
    DEPTH_LIMIT = "depth_limit"
    WORK_LIMIT = "work_limit"
    NODE_LIMIT = "node_limit"
    INTERRUPTED = "interrupted"


class Share(NamedTuple):
    """What one task gets: the subtrees to search, depth first and one after the other, and where it must stop."""

    paths: tuple[Codes, ...]
    max_work: int
    max_nodes: int


class TreeProgress(NamedTuple):
    """How far a search is; ``finished`` is the share of random dives from the roots that end in a leaf already seen."""

    work: int
    n_nodes: int
    n_open: int
    finished: float
    max_depth: int

    @property
    def n_nodes_left(self) -> float:
        """A guess at the nodes still to come, as if the rest of the tree were like its finished part."""
        return self.n_nodes * (1.0 - self.finished) / self.finished if self.finished > 0.0 else np.inf


@dataclass(frozen=True, eq=False)
class TreeOutcome:
    """What a search found.

    Attributes
    ----------
    status : TreeStatus
    nodes : ndarray of uint16
        The whole tree in preorder; ``OPEN`` stands for a subtree that was not finished.
    leaves : tuple of ndarray
        What the task keeps per leaf, a row each in the order of the stream; no rows if it keeps nothing.
    open_paths : tuple of ndarray of uint16
        One per ``OPEN``, in order.
    progress : TreeProgress
    best_value : float
        The refutation's, or the largest any task has met.
    best_point : ndarray
    """

    status: TreeStatus
    nodes: Codes
    leaves: tuple[NDArray[Any], ...]
    open_paths: tuple[Codes, ...]
    progress: TreeProgress
    best_value: float
    best_point: NDArray[np.float64]


@dataclass(frozen=True)
class SubtreeTask:
    """The task that hands its shares to a kernel, built once per process and picklable.

    Parameters
    ----------
    build : callable
        Makes the kernel from ``arguments``; importable by name. Its ``run(paths, target, max_work, max_nodes,
        keep_leaves)`` is safe to call from several threads.
    arguments : tuple
    target : float
    keep_leaves : bool
    key : str
        Tasks with equal keys share a kernel: ``dataclasses.replace(task, target=...)`` builds none anew.
    """

    build: Callable[..., Any] = field(compare=False)
    arguments: tuple[Any, ...] = field(compare=False, repr=False)
    target: float = field(compare=False)
    keep_leaves: bool = field(default=False, compare=False)
    key: str = field(default_factory=lambda: uuid4().hex)

    def __call__(self, share: Share) -> tuple[Any, ...]:
        """Search the subtrees of a share."""
        return self.kernel().run(list(share.paths), self.target, share.max_work, share.max_nodes, self.keep_leaves)

    def kernel(self) -> Any:
        """Return the kernel, built on first use in a process."""
        return _kernel(self)

    def aimed(self, target: float, keep_leaves: bool = False) -> SubtreeTask:
        """Return the same task with another target, on the same kernel."""
        return replace(self, target=target, keep_leaves=keep_leaves)


@lru_cache(maxsize=16)
def _kernel(task: SubtreeTask) -> Any:
    return task.build(*task.arguments)


def search_tree(
    run: Callable[[Share], tuple[Any, ...]],
    roots: Sequence[Codes],
    *,
    max_work: int,
    quota: int,
    pool: TaskPool | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[TreeProgress], None] = lambda progress: None,
    max_nodes: int = 2**62,
    n_groups: int = 8,
) -> TreeOutcome:
    """Search the trees below the roots until they are finished, refuted, or a limit is reached.

    Parameters
    ----------
    run : callable
        A pure function of a `Share`; returns (status, nodes, open_paths, work, n_nodes, best_value, best_point,
        max_depth, ...): 0 finished, 1 stopped by its quota, 2 refuted by ``best_point``, 3 too deep; the streams of
        the share's subtrees, one after the other; the path of each ``OPEN``; what it spent; then arrays with a row
        per leaf, or without rows. It must visit a node at least, however small the quota.
    roots : sequence of ndarray of uint16
        Paths, of which none leads to a node below another.
    max_work : int
        In the unit ``run`` counts. Exceeded by no more than the last node of each task.
    quota : int
        Work of one task, best 0.1 to 0.5 s. Rounds with few open subtrees get less.
    pool : TaskPool, optional
        Left out: serial.
    should_stop : callable
        Asked between tasks and while waiting; what is running then goes on unheard and counts as not done.
    on_progress : callable
        Told after every task.
    max_nodes : int
        Limit on the length of the stream, kept as ``max_work`` is.
    n_groups : int
        Tasks in a round.

    Returns
    -------
    TreeOutcome
        Unless ``should_stop`` cut it short, a function of the other arguments without ``pool``: every round's tasks
        are fixed in advance and heard in order, and the first that refutes or is too deep ends the search.

    Raises
    ------
    ProblemError
        If there is no root or a limit is below 1.
    SolverError
        If a task returns a malformed stream or visits no node.

    Notes
    -----
    Holds the stream and the open paths: 2 bytes a node.
    """
    for name, value in {"max_work": max_work, "quota": quota, "max_nodes": max_nodes, "n_groups": n_groups}.items():
        if value < 1:
            raise ProblemError(f"{name} must be at least 1, got {value!r}.")
    search = _Search([_Subtree(np.asarray(root, dtype=np.uint16)) for root in roots])
    pool = TaskPool() if pool is None else pool
    status: TreeStatus | None = None
    while (status := status or search.reached(max_work, max_nodes)) is None:
        groups = search.groups(n_groups)
        shares = search.shares(groups, quota, max_work, max_nodes, n_groups)
        status = search.hear(groups, pool.map(run, shares, should_stop=should_stop), on_progress)
    return search.outcome(status)


class _Visit(NamedTuple):
    status: int
    nodes: Codes
    open_paths: Sequence[Codes]
    work: int
    n_nodes: int
    best_value: float
    best_point: NDArray[np.float64]
    max_depth: int
    leaves: tuple[NDArray[Any], ...]


class _Segment(NamedTuple):
    """A stretch of the stream without open subtrees, and the rows of its leaves."""

    nodes: Codes
    leaves: tuple[NDArray[Any], ...]


class _Subtree:
    """A subtree of the answer: open while it has no parts; then what was found, with open subtrees in between."""

    def __init__(self, path: Codes) -> None:
        self.path = path
        self.parts: list[_Segment | _Subtree] | None = None

    @property
    def weight(self) -> float:
        """The probability of coming here from its root, with a fair coin at every split."""
        return 0.5 ** (len(self.path) // 2)

    def open_subtrees(self) -> list[_Subtree]:
        """Itself, or after a visit the subtrees which that left open."""
        return [self] if self.parts is None else [part for part in self.parts if isinstance(part, _Subtree)]


class _Search:
    """The state between rounds."""

    def __init__(self, roots: list[_Subtree]) -> None:
        if not roots:
            raise ProblemError("A search needs a root at least.")
        self._roots = self._open = roots
        self._n_open = len(roots)
        self._left = self._whole = sum(root.weight for root in roots)
        self._work = self._n_nodes = self._max_depth = 0
        self._best_value, self._best_point = -np.inf, np.zeros(0)
        self._no_leaves: tuple[NDArray[Any], ...] = ()

    def reached(self, max_work: int, max_nodes: int) -> TreeStatus | None:
        """Return why there is no other round, or None."""
        if not self._open:
            return TreeStatus.COMPLETE
        if self._work >= max_work:
            return TreeStatus.WORK_LIMIT
        return TreeStatus.NODE_LIMIT if self._n_nodes >= max_nodes else None

    def groups(self, n_groups: int) -> list[list[_Subtree]]:
        """Deal the open subtrees like cards: neighbours are alike, and small where the last task stopped."""
        n_used = min(n_groups, len(self._open))
        return [self._open[g::n_used] for g in range(n_used)]

    def shares(
        self, groups: list[list[_Subtree]], quota: int, max_work: int, max_nodes: int, n_groups: int
    ) -> list[Share]:
        """Return a round's payloads: full quotas only once there are subtrees enough to keep everybody busy."""
        enough = _SUBTREES_PER_GROUP * n_groups
        quota = max(1, quota * min(len(self._open), enough) // enough)
        quota = max(1, min(quota, (max_work - self._work) // len(groups)))
        node_quota = max(1, (max_nodes - self._n_nodes) // len(groups))
        return [Share(tuple(subtree.path for subtree in group), quota, node_quota) for group in groups]

    def hear(
        self,
        groups: list[list[_Subtree]],
        results: Iterable[tuple[Any, ...]],
        on_progress: Callable[[TreeProgress], None],
    ) -> TreeStatus | None:
        """Take a round's results in order; return why the search ends with this round, or None."""
        n_heard, status = 0, None
        for group, result in zip(groups, results, strict=False):  # fewer results than groups: interrupted
            visit = _Visit._make((*result[:8], tuple(result[8:])))
            self._add(group, visit)
            on_progress(self.progress)
            n_heard += 1
            if visit.status in (_REFUTED, _TOO_DEEP):
                status = TreeStatus.REFUTED if visit.status == _REFUTED else TreeStatus.DEPTH_LIMIT
                break
        self._open = [subtree for visited in self._open for subtree in visited.open_subtrees()]
        return status or (None if n_heard == len(groups) else TreeStatus.INTERRUPTED)

    def _add(self, group: list[_Subtree], visit: _Visit) -> None:
        if visit.n_nodes < 1 and visit.status != _TOO_DEEP:
            raise SolverError("A task of the tree search visited no node, so that the search would not end.")
        _attach(group, visit)
        for subtree in group:
            below = subtree.open_subtrees()
            self._n_open += len(below) - 1
            self._left += sum(child.weight for child in below) - subtree.weight
        self._work += int(visit.work)
        self._n_nodes += int(visit.n_nodes)
        self._max_depth = max(self._max_depth, int(visit.max_depth))
        self._no_leaves = self._no_leaves or tuple(rows[:0] for rows in visit.leaves)
        if visit.best_value > self._best_value or visit.status == _REFUTED:
            self._best_value, self._best_point = float(visit.best_value), np.asarray(visit.best_point)

    @property
    def progress(self) -> TreeProgress:
        finished = min(max(1.0 - self._left / self._whole, 0.0), 1.0) if self._n_open else 1.0
        return TreeProgress(self._work, self._n_nodes, self._n_open, finished, self._max_depth)

    def outcome(self, status: TreeStatus) -> TreeOutcome:
        segments = _in_preorder(self._roots)
        columns = zip(*(segment.leaves for segment in segments if len(segment.leaves)), strict=True)
        return TreeOutcome(
            status=status,
            nodes=np.concatenate([segment.nodes for segment in segments]),
            leaves=tuple(np.concatenate(rows) for rows in columns) or self._no_leaves,
            open_paths=tuple(subtree.path for subtree in self._open),
            progress=self.progress,
            best_value=self._best_value,
            best_point=self._best_point,
        )


def _attach(group: list[_Subtree], visit: _Visit) -> None:
    """Cut a task's stream into its subtrees, and these at the places left open."""
    nodes = np.asarray(visit.nodes, dtype=np.uint16)
    ends = subtree_ends(nodes)
    gaps = np.flatnonzero(nodes == OPEN)
    n_leaves = np.concatenate([[0], np.cumsum(nodes == LEAF)])
    kept = bool(len(visit.leaves)) and len(visit.leaves[0]) > 0
    if len(ends) != len(group) or ends[-1] != len(nodes) or len(gaps) != len(visit.open_paths):
        raise SolverError("A task of the tree search returned a malformed stream.")
    if kept and any(len(rows) != n_leaves[-1] for rows in visit.leaves):
        raise SolverError("A task of the tree search returned a number of rows that is not its number of leaves.")

    def segment(start: int, stop: int) -> _Segment:
        rows = slice(n_leaves[start], n_leaves[stop])
        return _Segment(nodes[start:stop], tuple(leaf[rows] for leaf in visit.leaves) if kept else ())

    first_gap = np.searchsorted(gaps, [0, *ends])
    for subtree, (start, stop), (low, high) in zip(group, pairwise([0, *ends]), pairwise(first_gap), strict=True):
        if nodes[start] == OPEN:
            continue  # not begun
        subtree.parts = []
        for i in range(low, high):
            if gaps[i] > start:
                subtree.parts.append(segment(start, gaps[i]))
            subtree.parts.append(_Subtree(np.asarray(visit.open_paths[i], dtype=np.uint16)))
            start = gaps[i] + 1
        if stop > start:
            subtree.parts.append(segment(start, stop))


def subtree_ends(nodes: Codes) -> NDArray[np.intp]:
    """Return where each subtree of a stream ends: the count of awaited subtrees falls to a new minimum there."""
    awaited = np.cumsum(np.where((nodes == LEAF) | (nodes == OPEN), -1, 1))
    lowest = np.minimum.accumulate(np.concatenate([[0], awaited]))
    return np.flatnonzero(lowest[1:] < lowest[:-1]) + 1


def _in_preorder(roots: list[_Subtree]) -> list[_Segment]:
    placeholder = _Segment(np.array([OPEN], dtype=np.uint16), ())
    segments: list[_Segment] = []
    stack: list[_Segment | _Subtree] = [*reversed(roots)]
    while stack:
        part = stack.pop()
        if isinstance(part, _Segment):
            segments.append(part)
        elif part.parts is None:
            segments.append(placeholder)
        else:
            stack.extend(reversed(part.parts))
    return segments

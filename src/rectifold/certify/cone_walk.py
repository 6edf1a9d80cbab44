"""Walks a cone tree from the roots, many nodes at a time, and hands out its leaves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.cone_geometry import Cones, bisected, extended, joined, root_count, roots
from rectifold.certify.cone_rows import ConeRows
from rectifold.certify.cone_stream import root_positions, second_children
from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import CONE_EXTENSION, CONE_LEAF

__all__ = ["leaf_batches"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def leaf_batches(nodes: NDArray[np.uint16], metric: Array, rows: ConeRows) -> Iterator[tuple[Ints, Cones]]:
    """Yield the leaves of a stream in batches: their numbers in the stream's order, and their cones.

    The roots cover all directions and the children of a node cover it, so that the leaves do.

    Raises
    ------
    Refusal
        If the stream is not one binary tree per root, or splits an edge or opens an axis that a cone does not have.

    Notes
    -----
    A stack of batches, deepest last: memory is O(depth * batch) beside the stream, time O(n d) a node in numpy.
    """
    walk = _Walk(nodes, metric, rows)
    numbers = np.cumsum(nodes == CONE_LEAF) - 1
    waiting: list[tuple[Ints, Cones]] = []
    for positions, cones in walk.leaves():
        waiting.append((numbers[positions], cones))
        if sum(len(part) for part, _ in waiting) >= rows.block:
            yield _merged(waiting)
            waiting = []
    if waiting:
        yield _merged(waiting)


class _Walk:
    def __init__(self, nodes: NDArray[np.uint16], metric: Array, rows: ConeRows) -> None:
        self._nodes, self._metric, self._rows = nodes, metric, rows
        ends = root_positions(nodes, root_count(rows.dimension)).tolist()
        parts = [second_children(nodes[start:stop]) + start for start, stop in pairwise(ends)]
        self._starts, self._second = np.array(ends[:-1]), np.concatenate(parts)

    def leaves(self) -> Iterator[tuple[Ints, Cones]]:
        stack = [(self._starts, roots(self._rows))]
        while stack:
            positions, cones = _pop(stack, self._rows.block)
            codes = self._nodes[positions]
            leaf = np.flatnonzero(codes == CONE_LEAF)
            if len(leaf):
                yield positions[leaf], cones.take(leaf)
            for inner, children in (
                (np.flatnonzero(codes == CONE_EXTENSION), self._extend),
                (np.flatnonzero(codes < CONE_EXTENSION), self._bisect),
            ):
                if len(inner):
                    first, second = children(cones.take(inner), codes[inner])
                    stack.append((self._second[positions[inner]], second))
                    stack.append((positions[inner] + 1, first))

    def _extend(self, cones: Cones, codes: NDArray[np.uint16]) -> tuple[Cones, Cones]:
        if np.any(cones.dims >= self._rows.dimension):
            raise Refusal("A cone tree extends a cone that has all dimensions.")
        return extended(cones, self._rows)

    def _bisect(self, cones: Cones, codes: NDArray[np.uint16]) -> tuple[Cones, Cones]:
        first, second = codes.astype(np.int64) >> 8, codes.astype(np.int64) & 255
        if np.any(first >= second) or np.any(second >= cones.dims):
            raise Refusal("A cone tree splits an edge that is not there.")
        return bisected(cones, first, second, self._metric, self._rows)


def _pop(stack: list[tuple[Ints, Cones]], count: int) -> tuple[Ints, Cones]:
    """Take up to ``count`` nodes from the end of the stack."""
    taken: list[tuple[Ints, Cones]] = []
    room = count
    while stack and room:
        positions, cones = stack.pop()
        if len(cones) > room:
            stack.append((positions[room:], cones.take(slice(room, None))))
            positions, cones = positions[:room], cones.take(slice(room))
        taken.append((positions, cones))
        room -= len(cones)
    return _merged(taken)


def _merged(parts: list[tuple[Ints, Cones]]) -> tuple[Ints, Cones]:
    return np.concatenate([part for part, _ in parts]), joined([cones for _, cones in parts])

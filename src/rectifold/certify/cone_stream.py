"""Reads the stream of a cone tree: its roots, and which node is the second child of which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import CONE_LEAF, CONE_OPEN

__all__ = ["root_positions", "second_children"]

Ints = NDArray[np.int64]


def root_positions(nodes: NDArray[np.uint16], n_roots: int) -> Ints:
    """Return where the trees of a preorder stream begin, and its length last, shape (n_roots + 1,).

    Raises
    ------
    Refusal
        If the stream is not exactly ``n_roots`` binary trees one after the other, or has an open node.
    """
    if np.any(nodes == CONE_OPEN):
        raise Refusal("A cone tree has an open node.")
    balance = np.cumsum(np.where(nodes == CONE_LEAF, -1, 1))
    lowest = np.minimum.accumulate(np.minimum(balance, 0))
    ends = 1 + np.flatnonzero(np.diff(lowest, prepend=0))  # a leaf below all before it ends a tree
    if len(ends) < n_roots:
        raise Refusal("A cone tree is incomplete: a root or a child is missing.")
    if len(ends) > n_roots or ends[-1] != len(nodes):
        raise Refusal("A cone tree goes on after its last leaf.")
    return np.concatenate([[0], ends])


def second_children(nodes: NDArray[np.uint16]) -> Ints:
    """Return the position of each inner node's second child in one tree's preorder stream; -1 at leaves.

    Inner nodes and leaves match like parentheses, the last leaf apart: the node after a leaf is the second child of the
    inner node that the leaf matches. Sorted by level of nesting, matching pairs are neighbours. O(n log n), no loop.
    """
    leaf = nodes == CONE_LEAF
    level = np.cumsum(np.where(leaf, -1, 1)) - ~leaf
    order = np.argsort(level[:-1].astype(np.int16 if level.max(initial=0) < 2**15 else np.int64), kind="stable")
    children = np.full(len(nodes), -1, dtype=np.int64)
    children[order[0::2]] = order[1::2] + 1
    return children

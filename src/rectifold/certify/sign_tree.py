"""Checks `SignTrees` evidence: coverage from the structure, leaves by their multipliers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.bounds import half_spreads, norms, require_weights
from rectifold.certify.multipliers import (
    chunks,
    dense,
    require,
    require_array,
    require_multipliers,
    require_number,
)
from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import Grade, SignTree, SignTrees

__all__ = ["sign_tree_pricing"]

Array = NDArray[np.float64]


def sign_tree_pricing(X: Array, theta: Array, evidence: SignTrees, grade: Grade) -> Array:
    """Re-derive upper bounds of ``max_{||u|| <= 1} +-theta_k'(Xu)_+``, shape (1, K, 2), sign + first."""
    require(isinstance(evidence.trees, tuple), "trees must be a tuple")
    out = np.full((1, theta.shape[1], 2), np.inf)
    for tree in evidence.trees:
        require(isinstance(tree, SignTree), "trees must hold SignTree objects")
        require_number(tree.output, "a tree's output", int)
        require_number(tree.sign, "a tree's sign", int)
        require(0 <= tree.output < theta.shape[1], "a tree names an unknown output")
        require(tree.sign in (1, -1), "a tree has a sign other than +1 and -1")
        side = 0 if tree.sign > 0 else 1
        require(out[0, tree.output, side] == np.inf, "two trees are for the same output and sign")
        out[0, tree.output, side] = _tree_bound(X, tree.sign * theta[:, tree.output], tree, grade)
    if not np.all(np.isfinite(out)):
        raise Refusal("A tree is missing: every output needs one for each sign.")
    return out


def _tree_bound(X: Array, r: Array, tree: SignTree, grade: Grade) -> float:
    n = len(r)
    require_array(tree.splits, "splits", "i")
    require(tree.splits.ndim == 1 and len(tree.splits) > 0, "splits must be a non-empty list of nodes")
    require(bool(np.all((tree.splits >= -1) & (tree.splits < n))), "a tree splits on a row that does not exist")
    require_array(tree.row_weights, "row_weights", "f", (n,))
    require_weights(tree.row_weights)
    n_leaves = int(np.count_nonzero(tree.splits == -1))
    require_multipliers(tree.leaves, n_leaves, n)
    paths = _leaf_paths(tree.splits.tolist(), n_leaves)
    bound = 0.0
    for part in chunks(n_leaves, n):
        states = np.zeros((part.stop - part.start, n), dtype=np.int8)
        for state, path in zip(states, paths[part], strict=True):
            for row in path:
                state[row if row >= 0 else ~row] = 1 if row >= 0 else -1
        bound = max(bound, _leaf_bounds(X, r, tree, part, states, grade))
    return bound


def _leaf_paths(splits: list[int], n_leaves: int) -> list[tuple[int, ...]]:
    """Read the preorder stream; a row on a path is stored as i where ``x_i'u >= 0`` and as ~i where it is <= 0.

    Raises
    ------
    Refusal
        If the stream is not exactly one binary tree, or a path splits twice on a row.
    """
    path: list[int] = []
    used: set[int] = set()
    leaves: list[tuple[int, ...]] = []
    open_nodes = 1
    for row in splits:
        if open_nodes == 0:
            raise Refusal("The tree goes on after its last leaf.")
        if row >= 0:
            if row in used:
                raise Refusal(f"A path of the tree splits twice on row {row}.")
            used.add(row)
            path.append(row)
            open_nodes += 1
            continue
        leaves.append(tuple(path))
        open_nodes -= 1
        while path and path[-1] < 0:  # both children of the split are done
            used.discard(~path.pop())
        if path:
            path[-1] = ~path[-1]
    if open_nodes or len(leaves) != n_leaves:
        raise Refusal("The tree is incomplete: a split lacks a child.")
    return leaves


def _leaf_bounds(X: Array, r: Array, tree: SignTree, part: slice, states: NDArray[np.int8], grade: Grade) -> float:
    """Check the multipliers of some leaves by exact comparisons and return their largest bound."""
    G = dense(tree.leaves, part, r)
    free = states == 0
    spread = free & (r > 0)
    G[spread] = np.broadcast_to(0.5 * r, G.shape)[spread]
    R = np.broadcast_to(r, G.shape)
    if np.any(G[states > 0] < R[states > 0]):
        raise Refusal("A leaf has gamma_i < r_i on a row known to be non-negative.")
    if np.any(G[states < 0] > 0.0):
        raise Refusal("A leaf has gamma_i > 0 on a row known to be non-positive.")
    loose = free & (r <= 0)
    if np.any(G[loose] > 0.0) or np.any(G[loose] < R[loose]):
        raise Refusal("A leaf has gamma_i outside [r_i, 0] on a row of unknown sign.")
    return float((norms(G, X, grade) + half_spreads(X, r, tree.row_weights, spread, grade)).max())

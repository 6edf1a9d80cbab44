"""Checks `ConeTrees` evidence: coverage from the structure, every leaf by its inequality, rounding a priori."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.cone_leaves import leaf_bounds, leaf_slack, stored_pulls
from rectifold.certify.cone_replay import AVERAGES, Replay
from rectifold.certify.cone_rows import ConeRows
from rectifold.certify.cone_walk import leaf_batches
from rectifold.certify.multipliers import require, require_array, require_number
from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import CONE_LEAF, ConeLeaves, ConeTree, ConeTrees, Grade
from rectifold.core.rounding import gamma

__all__ = ["cone_tree_pricing"]

Array = NDArray[np.float64]

_LARGEST_SKEW = 1e-6
_METRIC_RANGE = 1e-60, 1e60


def cone_tree_pricing(X: Array, theta: Array, evidence: ConeTrees, grade: Grade) -> Array:
    """Re-derive upper bounds of ``max_{||u|| <= 1} +-theta_k'(Xu)_+``, shape (1, K, 2), sign + first.

    Notes
    -----
    Per leaf O(n d): about 2 us at n = 442, d = 7 where the leaves are stored, 10 us where they are not; memory
    O(depth) beside the certificate.
    """
    require(isinstance(evidence.trees, tuple), "trees must be a tuple")
    out = np.full((1, theta.shape[1], 2), np.inf)
    for tree in evidence.trees:
        require(isinstance(tree, ConeTree), "trees must hold ConeTree objects")
        _require_tree(tree, *X.shape)
        require(0 <= tree.output < theta.shape[1], "a tree names an unknown output")
        side = 0 if tree.sign > 0 else 1
        require(out[0, tree.output, side] == np.inf, "two trees are for the same output and sign")
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows closes no leaf
            out[0, tree.output, side] = _tree_bound(X, tree.sign * theta[:, tree.output], tree, grade)
    if not np.all(np.isfinite(out)):
        raise Refusal("A tree is missing: every output needs one for each sign.")
    return out


def _require_tree(tree: ConeTree, n: int, d: int) -> None:
    require_number(tree.output, "a tree's output", int)
    require_number(tree.sign, "a tree's sign", int)
    require(tree.sign in (1, -1), "a tree has a sign other than +1 and -1")
    require_number(tree.bound, "a tree's bound", float)
    require(bool(0.0 < tree.bound < np.inf), "a tree's bound is not a positive number")
    require_array(tree.rotation, "rotation", "f", (d, d))
    require_array(tree.metric, "metric", "f", (d,))
    low, high = _METRIC_RANGE
    require(bool(np.all((tree.metric >= low) & (tree.metric <= high))), "a metric is not positive and of usable size")
    require_array(tree.row_weights, "row_weights", "f", (d, n))
    require(bool(np.all(tree.row_weights >= 0.0)), "a row weight is negative")
    require_array(tree.nodes, "nodes", "u")
    require(tree.nodes.ndim == 1 and tree.nodes.dtype == np.uint16, "nodes must be a list of 16-bit codes")
    if tree.leaves is not None:
        n_leaves = int(np.count_nonzero(tree.nodes == CONE_LEAF))
        require(isinstance(tree.leaves, ConeLeaves), "leaves must be ConeLeaves")
        require_array(tree.leaves.alphas, "alphas", "u", (n_leaves, n))
        require(tree.leaves.alphas.dtype == np.uint8, "alphas must be bytes")
        require_array(tree.leaves.duals, "duals", "f", (n_leaves, d))


def _tree_bound(X: Array, r: Array, tree: ConeTree, grade: Grade) -> float:
    stretch = _stretch(tree.rotation)
    rows = ConeRows(X @ tree.rotation, r, tree.row_weights, grade)
    if tree.leaves is None:
        depth, steps = _replay(tree, rows), AVERAGES
    else:
        depth, steps = _check_stored(tree, tree.leaves, rows), 0
    bound = tree.bound
    if grade >= Grade.INTERVAL:
        bound += leaf_slack(rows, len(r), bound, steps)
        bound += _coverage_slack(rows, bound, depth) + _product_slack(X, r, tree.rotation)
        stretch *= 1.0 + gamma(32)
    return bound * stretch


def _check_stored(tree: ConeTree, leaves: ConeLeaves, rows: ConeRows) -> int:
    """Test every leaf with what is stored for it; return the largest number of bisections on the way to one."""
    depth = 0
    for numbers, cones in leaf_batches(tree.nodes, tree.metric, rows):
        bounds = leaf_bounds(cones, rows, stored_pulls(leaves.alphas[numbers], rows), leaves.duals[numbers])
        if not np.all(bounds <= tree.bound):
            raise Refusal("A leaf of a cone tree does not stay within the tree's bound.")
        depth = max(depth, int(cones.depths.max()))
    return depth


def _replay(tree: ConeTree, rows: ConeRows) -> int:
    """Close every leaf; return the largest number of bisections on the way to a cone that was closed."""
    replay = Replay(rows, tree.metric, tree.bound, int(np.count_nonzero(tree.nodes == CONE_LEAF)))
    for _, cones in leaf_batches(tree.nodes, tree.metric, rows):
        replay.close(cones)
    replay.finish()
    return replay.depth


def _stretch(Q: Array) -> float:
    """Return ``(1 - eps)^(-1/2)``, eps >= ||Q'Q - I||: u = Qz in the unit ball has ||z|| at most that."""
    d = len(Q)
    error = np.abs(Q.T @ Q - np.eye(d)) + gamma(d + 4) * (np.abs(Q).T @ np.abs(Q) + np.eye(d))
    eps = float(np.linalg.norm(error)) * (1.0 + gamma(d * d + 8))
    if not eps < _LARGEST_SKEW:
        raise Refusal("The rotation of a cone tree is not orthonormal.")
    return float(1.0 / np.sqrt(1.0 - eps))


def _coverage_slack(rows: ConeRows, bound: float, depth: int) -> float:
    """Bound what rounded midpoints cost.

    A rounded midpoint is off by at most 3 roundings in every coordinate. All rays of a cone lie in one orthant, so that
    a point of the parent moves into a child by at most that, relative to its norm; g has Lipschitz constant ``size``.
    """
    return gamma(4 * depth + 4) * (rows.size + bound)


def _product_slack(X: Array, r: Array, Q: Array) -> float:
    """Bound ``sum_i |r_i| ||error of row i of X Q||``."""
    sizes = np.linalg.norm(np.abs(X) @ np.abs(Q), axis=1)
    return float(np.abs(r) @ sizes) * gamma(X.shape[1] + 2) * (1.0 + gamma(X.shape[0] + 2 * X.shape[1] + 16))

"""Cuts of leaves: exact at their own theta, and nowhere above what the leaf's cone bounds."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.test_cone_tree import LEAF, rays_at, walk

from rectifold._engine.tree_search import search_tree
from rectifold._engine.tree_sweep import Part, SweepTask, sweep_tree
from rectifold.training.convex.proof.cone_sides import cone_sides, side_at
from rectifold.training.convex.proof.leaf_cuts import Cuts, leaf_cuts


def grown(seed, rho, n=40, d=4):
    """Rows, theta, one side with its stream, where theta's gains are at most about 1."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.standard_normal((n, d - 1)), np.ones(n)])
    theta = rng.standard_normal(n)
    theta -= X @ np.linalg.lstsq(X, theta, rcond=None)[0]
    U = rng.standard_normal((d, 20_000))
    theta /= np.abs(theta @ np.maximum(X @ (U / np.linalg.norm(U, axis=0)), 0.0)).max()
    sides = cone_sides(X, theta[:, None])
    trees = [search_tree(s.at(rho, False), s.roots, max_work=10**9, quota=10**6).nodes for s in sides]
    return X, theta, sides, trees


def points_of(side, nodes, target, count=10**6):
    task = SweepTask(side.task.aimed(target), count)
    return sweep_tree(task, [Part(tuple(side.roots), nodes)], max_work=10**9, max_points=count).points


@pytest.mark.parametrize("rho", [1.05, 1.3, 2.0, 4.0])
@pytest.mark.parametrize("which", [0, 1])
def test_a_cut_is_exact_at_its_own_theta(rho, which):
    _, theta, sides, trees = grown(0, rho)
    points = points_of(sides[which], trees[which], 0.2)
    assert len(points.values) > 3
    cuts = leaf_cuts(sides[which], points)
    np.testing.assert_allclose(cuts.values(theta), points.values, rtol=1e-4, atol=1e-5)
    assert np.all(cuts.below <= cuts.above)


@pytest.mark.parametrize("rho", [1.05, 1.3, 2.0])
@pytest.mark.parametrize("which", [0, 1])
def test_a_cut_at_any_theta_is_below_the_bound_of_its_leaf(rho, which):
    """So that a theta which the leaves prove meets every cut, and the master's value is an upper bound."""
    X, theta, sides, trees = grown(1, rho)
    side = sides[which]
    points = points_of(side, trees[which], 0.5, 60)
    cuts = leaf_cuts(side, points)
    Z = np.ascontiguousarray(X @ side.rotation)
    rng, checked = np.random.default_rng(2), 0
    for _ in range(4):
        other = theta * rng.uniform(-0.5, 1.5, len(theta))
        there = side_at(Z, other, 0, side.sign, side.rotation, side.metric)
        values = cuts.values(other)
        for path, value in zip(points.paths, values, strict=True):
            if value <= 0.0 or len(rays_at(path.tolist(), side.metric)) < Z.shape[1]:
                continue  # where other axes are left the residual term is linearised
            task = SweepTask(there.task.aimed(1e-3 * value), 1)
            bound = sweep_tree(task, [Part.of_leaves([path])], max_work=10**9, max_points=1).worst
            assert value <= bound * (1 + 1e-4) + 1e-5
            checked += 1
    assert checked or rho > 1.5


@pytest.mark.parametrize("seed", range(3))
def test_no_direction_of_a_cone_gains_more_than_its_bound(seed):
    """At any theta, directions sampled in the leaf's cone, in all dimensions."""
    X, theta, sides, trees = grown(seed, 1.3)
    rng = np.random.default_rng(seed)
    other = theta * rng.uniform(-0.5, 1.5, len(theta))
    for side, nodes in zip(sides, trees, strict=True):
        Z = np.ascontiguousarray(X @ side.rotation)
        there = side_at(Z, other, 0, side.sign, side.rotation, side.metric)
        paths = [p for p, c in zip(walk(nodes, side.roots), nodes.tolist(), strict=True) if c == LEAF]
        for path in paths[:: max(1, len(paths) // 15)]:
            V = rays_at(path, side.metric)
            k = len(V)
            U = np.column_stack([rng.exponential(1.0, (200, k)) @ V, rng.standard_normal((200, Z.shape[1] - k))])
            U /= np.linalg.norm(U, axis=1, keepdims=True)
            met = float((np.maximum(U @ Z.T, 0.0) @ (side.sign * other)).max())
            task = SweepTask(there.task.aimed(1e-3), 1)
            part = [Part.of_leaves([np.array(path, dtype=np.uint16)])]
            assert sweep_tree(task, part, max_work=10**9, max_points=1).worst >= met * (1 - 1e-6)


def test_cuts_are_joined_and_taken():
    some = Cuts(np.ones((2, 3)), np.zeros((2, 3)))
    joined = Cuts.none(3) + some + some
    assert joined.above.shape == (4, 3)
    assert joined.take(np.array([True, False, False, True])).below.shape == (2, 3)
    np.testing.assert_array_equal(joined.values(np.array([1.0, -2.0, 3.0])), np.full(4, 4.0))

"""Sweeps of finished trees: bounds of leaves at any weights, against every sign pattern and against the twin."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.test_cone_tree import (
    EXTEND,
    HOMES,
    LEAF,
    OPEN,
    ROUNDING,
    Twin,
    every_home,
    instance,
    leaf_bound,
    prepared,
    rays_at,
    roots,
    run,
    value,
    walk,
)

import rectifold as rf
from rectifold import _kernels

MANY = 10**6
CASES = [("residual", 0, 30, 4, 1.05), ("residual", 1, 20, 3, 1.5), ("generic", 2, 12, 3, 1.1),
         ("opposite", 3, 10, 2, 1.02), ("integer grid", 5, 15, 4, 1.2), ("residual", 6, 25, 4, 2.5)]  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def tree(case, home):
    """A search's arguments, its target, the stream it finds and the paths of the leaves."""
    kind, seed, n, d, rho = case
    arguments, exact, _ = instance(kind, seed, n=n, d=d)
    d = arguments[0].shape[1]
    nodes = run(home(*arguments), d, rho * exact, keep_leaves=False, max_nodes=10**6)[1]
    paths = [p for p, code in zip(walk(nodes, roots(d)), nodes.tolist(), strict=True) if code == LEAF]
    return arguments, rho * exact, nodes, paths


def other_weights(arguments, seed):
    """The same axes and metric with other signs and sizes, and the exact maximum of theirs."""
    Z, r, _, metric = arguments
    rng = np.random.default_rng(seed)
    moved = r * rng.uniform(-0.2, 1.5, len(r))
    spread = np.zeros(Z.shape[1] + 1)
    up = moved > 0
    for k in range(Z.shape[1]):
        moment = (Z[up, k:].T * moved[up]) @ Z[up, k:]
        spread[k] = 0.5 * np.sqrt(moved[up].sum() * max(np.linalg.eigvalsh(moment).max(), 0.0)) * (1 + 1e-9)
    patterns = np.ascontiguousarray(rf.all_patterns(Z).T)
    norms = _kernels.price_cones(Z, patterns, moved, -np.inf, 1e-12, np.zeros((0, 0), np.int32), 1)[1]
    return (Z, np.ascontiguousarray(moved), spread, metric), float(norms[::2].max(initial=0.0))


def size(arguments):
    return float(np.abs(arguments[1]) @ np.linalg.norm(arguments[0], axis=1))


def relaxation(arguments, path, rays, beside, rest):
    """The value that the sheet gives a point of a leaf, and the point; its rays must be those of the leaf."""
    Z, r, spread, metric = arguments
    V = rays_at(path, metric)
    k, up = len(V), r > 0
    t = np.linalg.norm(rays[:k], axis=1)
    np.testing.assert_allclose(rays[:k, :k], t[:, None] * V, atol=1e-12)
    for rest_of in (rays[k:], rays[:, k:], beside[:k]):
        assert not rest_of.any()
    assert np.linalg.norm(beside) <= rest * (1 + 1e-9)
    u = rays.sum(axis=0) + beside
    assert np.linalg.norm(u[:k]) ** 2 + rest**2 == pytest.approx(1.0, abs=1e-9)
    upper = r[up] @ (np.maximum(Z[up, :k] @ rays[:k, :k].T, 0.0).sum(axis=1) + 0.5 * Z[up] @ beside)
    return float(upper + spread[k] * rest + r[~up] @ np.maximum(Z[~up] @ u, 0.0)), u


@every_home
@every_case
def test_the_leaves_of_a_search_stay_within_its_target(home, case):
    arguments, target, nodes, paths = tree(case, home)
    tol = ROUNDING[home] * size(arguments)
    answer = home(*arguments).sweep(roots(arguments[0].shape[1]), nodes, 0.3 * target, MANY)
    assert answer[2] == len(paths)
    assert answer[1] <= target * (1 + 1e-3) + tol
    assert answer[4].tolist() == sorted(answer[4].tolist(), reverse=True)
    assert answer[4][0] <= answer[1] + tol
    assert answer[0] > 0
    assert {tuple(p.tolist()) for p in answer[3]} <= set(paths)


@every_home
@every_case
def test_other_weights_are_bounded_too(home, case):
    """The leaves cover all directions, so that the largest is never below the exact maximum."""
    arguments, _, nodes, _ = tree(case, home)
    for seed in range(3):
        moved, exact = other_weights(arguments, seed)
        for target in (0.3 * exact, exact):
            answer = home(*moved).sweep(roots(moved[0].shape[1]), nodes, target, 5)
            assert answer[1] >= exact * (1 - 1e-9) - ROUNDING[home] * size(moved)
            assert len(answer[3]) <= 5


@every_home
@every_case
def test_points_attain_what_they_claim(home, case):
    arguments, _, nodes, _ = tree(case, home)
    moved, exact = other_weights(arguments, 7)
    search, d = home(*moved), moved[0].shape[1]
    answer = search.sweep(roots(d), nodes, 0.3 * exact, MANY)
    tol = 10 * ROUNDING[home] * size(moved)
    assert len(answer[3])
    for path, claimed, rays, beside, rest in zip(*answer[3:8], strict=True):
        reached, u = relaxation(moved, path.tolist(), rays, beside, rest)
        assert reached == pytest.approx(claimed, abs=tol)
        assert reached >= value(*moved[:2], u) - tol  # a relaxation
        alone = search.sweep([path], np.array([LEAF], np.uint16), 0.3 * exact, 1)
        assert alone[1] >= claimed - tol  # whose value no multipliers go below
    if case[-1] < 2:  # coarse leaves end at a kink of the residual term, where Frank-Wolfe steps are slow
        assert answer[1] <= answer[4][0] * (1 + 2e-3) + tol


@every_case
def test_the_kernel_and_its_twin_agree(case):
    if len(HOMES) == 1:
        return
    arguments, _, nodes, paths = tree(case, _kernels.ConeTreeSearch)
    moved, exact = other_weights(arguments, 3)
    d = moved[0].shape[1]
    ours, theirs = (home(*moved).sweep(roots(d), nodes, 0.3 * exact, MANY) for home in (_kernels.ConeTreeSearch, Twin))
    assert ours[1] == pytest.approx(theirs[1], rel=1e-2)
    assert ours[4][0] == pytest.approx(theirs[4][0], rel=1e-2)
    assert ours[2] == theirs[2] == len(paths)
    for path in theirs[3]:
        alone = [home(*moved).sweep([path], np.array([LEAF], np.uint16), 0.3 * exact, 1)
                 for home in (_kernels.ConeTreeSearch, Twin)]  # fmt: skip
        assert alone[0][1] == pytest.approx(alone[1][1], rel=1e-2)


@every_home
@every_case
def test_kept_leaves_prove_the_largest_bound(home, case):
    arguments, _, nodes, paths = tree(case, home)
    moved, exact = other_weights(arguments, 1)
    d = moved[0].shape[1]
    reached = home(*moved).sweep(roots(d), nodes, exact, 0)[1]
    answer = home(*moved).sweep(roots(d), nodes, reached, 0, 1, True)
    assert answer[1] <= reached * 1.02 + ROUNDING[home] * size(moved)
    assert answer[8].shape == (len(paths), len(moved[0]))
    for path, alpha, dual in zip(paths, *answer[8:10], strict=True):
        bound, violation = leaf_bound(moved, rays_at(path, moved[3]), alpha, dual)
        assert violation <= ROUNDING[home] * size(moved)
        assert bound <= answer[1] + ROUNDING[home] * size(moved)


@every_home
def test_every_so_manyth_leaf_is_taken(home):
    arguments, target, nodes, paths = tree(CASES[0], home)
    search = home(*arguments)
    some = search.sweep(roots(4), nodes, 0.3 * target, MANY, 7)
    assert some[2] == len(paths)
    assert {tuple(p.tolist()) for p in some[3]} == set(paths[::7])
    assert some[0] < 0.6 * search.sweep(roots(4), nodes, 0.3 * target, MANY)[0]


@every_home
def test_parts_are_swept_as_the_whole(home):
    arguments, target, nodes, paths = tree(CASES[0], home)
    search = home(*arguments)
    whole = search.sweep(roots(4), nodes, 0.98 * target, MANY)
    leaves = [np.array(p, np.uint16) for p in paths]
    parts = [search.sweep([p], np.array([LEAF], np.uint16), 0.98 * target, MANY) for p in leaves]
    assert max(part[1] for part in parts) == pytest.approx(whole[1], rel=2e-3)


@every_home
@pytest.mark.parametrize(
    "nodes",
    [[], [LEAF], [LEAF] * 5, [OPEN] * 4, [1, LEAF, LEAF, LEAF, LEAF], [2, LEAF, LEAF, LEAF, LEAF, LEAF],
     [EXTEND, EXTEND, LEAF, LEAF, LEAF, LEAF, LEAF, LEAF]],
    ids=str,
)  # fmt: skip
def test_streams_that_are_no_tree_are_refused(home, nodes):
    search = home(np.ones((5, 3)), np.ones(5), np.zeros(4), np.ones(3))
    with pytest.raises(ValueError):
        search.sweep(roots(3), np.array(nodes, np.uint16), 1.0, 1)


@every_home
@pytest.mark.parametrize("arguments", [(0.0, 1), (1.0, -1), (1.0, 1, 0), (1.0, 1, 2, True)])
def test_bad_limits_are_refused(home, arguments):
    search = home(np.ones((5, 3)), np.ones(5), np.zeros(4), np.ones(3))
    with pytest.raises(ValueError):
        search.sweep(roots(3), np.full(4, LEAF, np.uint16), *arguments)


@every_home
def test_one_dimension(home):
    Z, r, spread, metric = prepared(np.array([[1.0], [-2.0], [0.5]]), np.array([1.0, 0.5, -1.0]))
    answer = home(Z, r, spread, metric).sweep(roots(1), np.array([LEAF, LEAF], np.uint16), 1e-3, 2)
    assert answer[1] == pytest.approx(1.0)

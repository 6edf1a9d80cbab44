"""The tree of cones: what it proves and refutes against all patterns, its streams, every leaf by its own inequality."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib.externals.loky import get_reusable_executor

import rectifold as rf
from rectifold import _kernels
from rectifold._engine.executor import TaskPool
from rectifold._engine.tree_search import SubtreeTask, TreeStatus, search_tree
from rectifold._kernels.reference.cone_tree import ConeTreeSearch as Twin

DONE, QUOTA, REFUTED, TOO_DEEP = 0, 1, 2, 3
LEAF, EXTEND, OPEN = 0xFFFF, 0xFFFE, 0xFFFD
FAR = 10**9
HOMES = [pytest.param(Twin, id="twin")]
ROUNDING = {Twin: 1e-13}  # of the columns, for a problem of size 1
if _kernels.COMPILED:
    HOMES.append(pytest.param(_kernels.ConeTreeSearch, id="compiled"))
    ROUNDING[_kernels.ConeTreeSearch] = 1e-5  # single precision
every_home = pytest.mark.parametrize("home", HOMES)
KINDS = [
    "generic",
    "duplicates",
    "zero rows",
    "collinear columns",
    "integer grid",
    "one sign",
    "opposite",
    "residual",
]


def data(kind, seed, n=None, d=None):
    """Rows and signed weights of one kind; at most 30 rows and 4 columns."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    n, d = n or int(rng.integers(3, 21)), d or int(rng.integers(1, 5))
    X, r = rng.standard_normal((n, d)), rng.standard_normal(n)
    if kind == "duplicates":
        X = X[rng.integers(0, (n + 1) // 2, n)]
    elif kind == "zero rows":
        X[rng.random(n) < 0.3], r[rng.random(n) < 0.3] = 0.0, 0.0
    elif kind == "collinear columns":
        X[:, -1] = X[:, 0] * 2
    elif kind == "integer grid":
        X, r = rng.integers(-2, 3, (n, d)).astype(float), rng.integers(-2, 3, n).astype(float)
    elif kind == "one sign":
        r = np.abs(r) * rng.choice([-1.0, 1.0])
    elif kind == "opposite":
        X = np.vstack([X, -X])[:30]
        r = rng.standard_normal(len(X))
    elif kind == "residual":
        X[:, -1] = 1.0
        r = r - X @ np.linalg.lstsq(X, r, rcond=None)[0]
    return X, r


def prepared(X, r):
    """Principal axes of X'diag|r|X; the residual term with the weights w = r."""
    size, Q = np.linalg.eigh((X.T * np.abs(r)) @ X)
    Z, up = np.ascontiguousarray(X @ Q[:, ::-1]), r > 0
    metric = np.maximum(size[::-1], 1e-6 * max(size.max(), 1e-12)) ** 0.4
    spread = np.zeros(X.shape[1] + 1)
    for k in range(X.shape[1]):
        moment = (Z[up, k:].T * r[up]) @ Z[up, k:]
        spread[k] = 0.5 * np.sqrt(r[up].sum() * max(np.linalg.eigvalsh(moment).max(), 0.0)) * (1 + 1e-9)
    return Z, np.ascontiguousarray(r), spread, metric


def value(Z, r, u):
    return float(r @ np.maximum(Z @ u, 0.0))


@cache
def instance(kind, seed, n=None, d=None):
    """(arguments of a search, the exact maximum by all patterns, a scale for it)."""
    X, r = data(kind, seed, n, d)
    scale = float(np.abs(r) @ np.linalg.norm(X, axis=1)) or 1.0
    if not X.any():
        return prepared(X, r), 0.0, scale
    patterns = np.ascontiguousarray(rf.all_patterns(X).T)
    norms = _kernels.price_cones(X, patterns, r, -np.inf, 1e-12, np.zeros((0, 0), np.int32), 1)[1]
    return prepared(X, r), float(norms[::2].max(initial=0.0)), scale


def roots(d):
    return [np.array([o], dtype=np.uint16) for o in range(2 ** min(2, d))]


def run(search, d, target, paths=None, max_work=FAR, max_nodes=30_000, keep_leaves=True):
    return search.run(roots(d) if paths is None else paths, target, max_work, max_nodes, keep_leaves)


def walk(nodes, paths):
    """The path of every node of a stream of the subtrees below some paths."""
    found, stack = [], [tuple(path.tolist()) for path in reversed(paths)]
    for code in nodes.tolist():
        found.append(path := stack.pop())
        if code not in (LEAF, OPEN):
            stack += [(*path, code, 1), (*path, code, 0)]
    assert not stack
    return found


def rays_at(path, metric):
    """The rays of a cone, straight from the definition."""
    V = np.diag([-1.0 if path[0] >> j & 1 else 1.0 for j in range(min(2, len(metric)))])
    for code, which in zip(path[1::2], path[2::2], strict=True):
        k = len(V)
        if code == EXTEND:
            V = np.block([[V, np.zeros((k, 1))], [np.zeros((1, k)), np.full((1, 1), -1.0 if which else 1.0)]])
            continue
        i, j = code >> 8, code & 255
        assert i < j < k
        m = sum(V[e] / np.sqrt(metric[:k] @ V[e] ** 2) for e in (i, j))
        V = V.copy()
        V[j if which else i] = m / np.linalg.norm(m)
    return V


def leaf_bound(arguments, V, alpha, dual):
    """The sheet's bound of one leaf, with the dual vector repaired where rounding left a ray uncovered."""
    Z, r, spread, _ = arguments
    k, up, down = len(V), r > 0, r < 0
    weights = -r[down] * (alpha[down] / 255.0)
    c = r[up] @ np.maximum(Z[up, :k] @ V.T, 0.0) - weights @ (Z[down, :k] @ V.T)
    violation = max(float((c - V @ dual[:k]).max()), 0.0)
    rest = 0.5 * r[up] @ Z[up, k:] - weights @ Z[down, k:]
    assert not dual[k:].any()
    return np.hypot(np.linalg.norm(dual), np.linalg.norm(rest) + spread[k]), violation


def assert_leaves_prove(arguments, target, answer, paths, tol):
    """``tol`` times the size of the problem for the rounding of the columns."""
    Z, r, _, metric = arguments
    size = float(np.abs(r) @ np.linalg.norm(Z, axis=1))
    leaves = [p for p, code in zip(walk(answer[1], paths), answer[1].tolist(), strict=True) if code == LEAF]
    assert answer[8].shape == (len(leaves), len(Z))
    assert answer[9].shape == (len(leaves), Z.shape[1])
    for path, alpha, dual in zip(leaves, answer[8], answer[9], strict=True):
        bound, violation = leaf_bound(arguments, rays_at(path, metric), alpha, dual)
        assert violation <= tol * size
        assert bound <= target + tol * size


# -- decisions ---------------------------------------------------------------------------------------------------------


@every_home
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_above_the_maximum_is_proven_and_below_it_is_not(home, kind, seed):
    arguments, exact, scale = instance(kind, seed)
    search, d = home(*arguments), arguments[0].shape[1]
    above = 1.01 * exact if exact > 1e-3 * scale else 0.01 * scale
    answer = run(search, d, above)
    assert answer[0] == DONE
    assert answer[5] <= exact + 1e-9 * scale
    assert_leaves_prove(arguments, above, answer, roots(d), ROUNDING[home])
    if exact > 1e-3 * scale:
        answer = run(search, d, 0.995 * exact)
        assert answer[0] != DONE
        if answer[0] == REFUTED:
            assert_refutes(arguments, 0.995 * exact, answer)


def assert_refutes(arguments, target, answer):
    assert np.linalg.norm(answer[6]) == pytest.approx(1.0, abs=1e-14)
    assert answer[5] == pytest.approx(value(*arguments[:2], answer[6]), rel=1e-12)
    assert answer[5] > target


@every_home
def test_below_the_maximum_is_mostly_refuted(home):
    refuted = 0
    for seed in range(20):
        arguments, exact, _ = instance("residual", seed, n=20, d=3)
        answer = run(home(*arguments), 3, 0.99 * exact)
        assert answer[0] != DONE
        refuted += answer[0] == REFUTED
    assert refuted >= 19


@every_home
@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(1000, 10**6), ratio=st.floats(0.5, 0.9999))
def test_nothing_false_is_ever_proven(home, kind, seed, ratio):
    arguments, exact, scale = instance(kind, seed, n=8)
    if exact > 1e-6 * scale:
        answer = run(home(*arguments), arguments[0].shape[1], ratio * exact, max_nodes=300)
        assert answer[0] != DONE
        if answer[0] == REFUTED:
            assert_refutes(arguments, ratio * exact, answer)


@every_home
@pytest.mark.parametrize("rho", [1.02, 1.3, 3.0])
def test_thirty_rows_in_four_columns(home, rho):
    arguments, exact, _ = instance("residual", 0, n=30, d=4)
    answer = run(home(*arguments), 4, rho * exact)
    assert answer[0] == DONE
    assert_leaves_prove(arguments, rho * exact, answer, roots(4), ROUNDING[home])


@every_home
def test_more_columns_are_only_extended_to_where_needed(home):
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((25, 9)) * 0.6 ** np.arange(9), rng.standard_normal(25)
    arguments = prepared(X, r)
    points = rng.standard_normal((20_000, 9)) * 0.5 ** np.arange(9)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    met = float((np.maximum(points @ arguments[0].T, 0.0) @ r).max())
    answer = run(home(*arguments), 9, 1.2 * met)
    assert answer[0] == DONE
    assert answer[5] <= 1.2 * met
    dimensions = {
        2 + path[1::2].count(EXTEND)
        for path, code in zip(walk(answer[1], roots(9)), answer[1].tolist(), strict=True)
        if code == LEAF
    }
    assert 2 < max(dimensions) < 9
    assert_leaves_prove(arguments, 1.2 * met, answer, roots(9), ROUNDING[home])


@every_home
def test_a_kink_at_the_target_is_not_decided(home):
    """g is zero, but a cone around the kink never looks so."""
    X = np.array([[1.0, 0.5], [1.0, 0.5]])
    search = home(X, np.array([1.0, -1.0]), np.array([2.0, 2.0, 0.0]), np.ones(2))
    answer = run(search, 2, 1e-30)
    assert answer[0] == TOO_DEEP
    assert answer[7] == 250
    assert OPEN in answer[1]


@every_home
def test_a_flat_cone_gets_its_longest_edge_cut(home):
    """Bisecting the edges from a ray between two others, back and forth, would never shorten the edge of these."""
    chain = [(0 << 8) | 1, 0, (0 << 8) | 2, 0]
    first = [(2 << 8) | 3, 0, (1 << 8) | 3, 0]  # so that one edge is the longest
    cosines = {3: [], 21: []}
    for seed in range(12):
        rows = np.random.default_rng(seed).standard_normal((6, 4))
        X, r = np.vstack([rows, rows]), np.repeat([1.0, -1.0], 6)  # g is zero, and its relaxation is not
        search = home(X, r, np.array([9.0, 9.0, 9.0, 9.0, 0.0]), np.ones(4))
        for turns, found in cosines.items():
            path = np.array([0, EXTEND, 0, EXTEND, 0, *first, *chain * turns], dtype=np.uint16)
            code = int(run(search, 4, 1e-9, [path], max_nodes=1, keep_leaves=False)[1][0])
            if code != LEAF:
                V = rays_at(tuple(path.tolist()), np.ones(4))
                found.append(V[code >> 8] @ V[code & 255] - (V @ V.T).min())
    assert max(cosines[3]) > 0.1
    assert len(cosines[21]) > 0
    assert max(cosines[21]) < 1e-6


@every_home
@pytest.mark.parametrize("d", [1, 2, 3])
def test_nothing_to_bound(home, d):
    answer = run(home(np.zeros((3, d)), np.ones(3), np.zeros(d + 1), np.ones(d)), d, 1e-9)
    assert answer[0] == DONE
    assert answer[1].tolist() == [LEAF] * 2 ** min(2, d)


# -- streams, quotas, paths --------------------------------------------------------------------------------------------


def hard():
    arguments, exact, _ = instance("residual", 0, n=30, d=4)
    return arguments, 1.03 * exact


@every_home
@pytest.mark.parametrize("limits", [{"max_work": 1}, {"max_work": 900}, {"max_nodes": 1}, {"max_nodes": 37}])
def test_a_run_that_meets_its_quota_says_what_is_open(home, limits):
    arguments, target = hard()
    search = home(*arguments)
    answer = run(search, 4, target, **limits)
    assert answer[0] == QUOTA
    assert answer[1].dtype == np.uint16
    paths = walk(answer[1], roots(4))
    left = [p for p, code in zip(paths, answer[1].tolist(), strict=True) if code == OPEN]
    assert [tuple(path.tolist()) for path in answer[2]] == left
    assert answer[4] == len(paths) - len(left) >= 1
    assert answer[7] == max(len(p) // 2 for p, code in zip(paths, answer[1].tolist(), strict=True) if code != OPEN)
    if "max_nodes" in limits:
        assert answer[4] == limits["max_nodes"]
    again = run(search, 4, target, **limits)
    for ours, theirs in zip(answer, again, strict=True):
        np.testing.assert_equal(ours, theirs)
    rest = run(search, 4, target, paths=answer[2])
    assert rest[0] == DONE
    assert_leaves_prove(arguments, target, rest, answer[2], ROUNDING[home])


@every_home
def test_leaves_are_kept_on_request_and_change_nothing(home):
    arguments, target = hard()
    kept, bare = (run(home(*arguments), 4, target, keep_leaves=keep) for keep in (True, False))
    np.testing.assert_array_equal(kept[1], bare[1])
    assert kept[3] == bare[3]
    assert kept[8].dtype == np.uint8
    assert kept[9].dtype == np.float64
    assert (bare[8].shape, bare[9].shape) == ((0, 30), (0, 4))
    assert not kept[8][:, arguments[1] >= 0].any()


@every_home
@pytest.mark.parametrize("quota", [100, 1000, FAR])
def test_the_search_in_rounds_finishes_the_tree(home, quota):
    arguments, target = hard()
    task = SubtreeTask(home, arguments, target, keep_leaves=True)
    outcome = search_tree(task, roots(4), max_work=FAR, quota=quota, pool=TaskPool())
    assert outcome.status is TreeStatus.COMPLETE
    answer = (DONE, outcome.nodes, [], 0, 0, 0.0, None, 0, *outcome.leaves)
    assert_leaves_prove(arguments, target, answer, roots(4), ROUNDING[home])
    if home is Twin:  # which walks every path anew
        whole = run(Twin(*arguments), 4, target)
        np.testing.assert_array_equal(outcome.nodes, whole.nodes)
        np.testing.assert_array_equal(outcome.leaves[0], whole.alphas)
        np.testing.assert_array_equal(outcome.leaves[1], whole.duals)


@every_home
def test_the_search_in_rounds_is_the_same_on_threads_and_processes(home):
    arguments, target = hard()
    task = SubtreeTask(home, arguments, target, keep_leaves=True)
    limits = {"max_work": FAR, "quota": 2000}
    serial = search_tree(task, roots(4), **limits)
    with ThreadPoolExecutor(2) as threads:
        for executor in (threads, get_reusable_executor(max_workers=2, timeout=100)):
            found = search_tree(task, roots(4), **limits, pool=TaskPool(executor))
            assert found.progress == serial.progress
            np.testing.assert_array_equal(found.nodes, serial.nodes)
            for ours, theirs in zip(found.leaves, serial.leaves, strict=True):
                np.testing.assert_array_equal(ours, theirs)


@every_home
def test_the_search_in_rounds_refutes(home):
    arguments, exact, _ = instance("residual", 0, n=30, d=4)
    task = SubtreeTask(home, arguments, 0.97 * exact)
    outcome = search_tree(task, roots(4), max_work=FAR, quota=500)
    assert outcome.status is TreeStatus.REFUTED
    assert outcome.best_value > 0.97 * exact
    assert value(*arguments[:2], outcome.best_point) == pytest.approx(outcome.best_value)


# -- the estimate ------------------------------------------------------------------------------------------------------


@every_home
def test_random_dives_estimate_the_tree(home):
    arguments, target = hard()
    search = home(*arguments)
    true = run(search, 4, target)
    nodes, work, error, failed = search.estimate(target, 200, 0, 250)
    assert failed == 0.0
    assert abs(nodes - true[4]) <= 5 * error
    assert error < 0.3 * true[4]
    assert 0.3 * true[3] < work < 3 * true[3]
    assert search.estimate(target, 200, 0, 250) == (nodes, work, error, failed)
    assert search.estimate(target, 200, 1, 250) != (nodes, work, error, failed)


@every_home
@pytest.mark.parametrize("n_done", [10, 60])
def test_dives_below_what_is_open_estimate_the_rest_of_a_tree(home, n_done):
    arguments, target = hard()
    search = home(*arguments)
    open_paths = run(search, 4, target, max_nodes=n_done)[2]
    assert len(open_paths) > (0 if n_done > 10 else 4)  # of more than four every dive takes one
    rest = run(search, 4, target, paths=open_paths)
    nodes, work, error, failed = search.estimate(target, 1000, 0, 250, open_paths)
    assert failed == 0.0
    assert abs(nodes - rest[4]) <= 5 * error
    assert error < 0.3 * rest[4]
    assert 0.3 * rest[3] < work < 3 * rest[3]


@every_home
def test_dives_that_hit_the_depth_limit_are_counted_apart(home):
    arguments, target = hard()
    assert 0.5 < home(*arguments).estimate(target, 50, 0, 3)[3] <= 1.0
    shallow = run(home(*arguments), 4, 100 * target)
    assert home(*arguments).estimate(100 * target, 5, 0, 3)[::2] == (shallow[4], 0.0)


# -- bad input ---------------------------------------------------------------------------------------------------------


@every_home
@pytest.mark.parametrize(
    "change",
    [
        {"r": np.ones(4)},
        {"spread": np.zeros(3)},
        {"spread": np.full(4, -1.0)},
        {"metric": np.ones(4)},
        {"metric": np.array([1.0, 0.0, 1.0])},
        {"Z": np.full((5, 3), np.nan)},
        {"r": np.full(5, np.inf)},
        {"Z": np.ones((5, 3), dtype=np.float32)},
        {"Z": np.ones((3, 5)).T},
        {"Z": np.ones(5)},
    ],
)
def test_bad_arrays_are_refused(home, change):
    good = {"Z": np.ones((5, 3)), "r": np.ones(5), "spread": np.zeros(4), "metric": np.ones(3)}
    home(**good)
    with pytest.raises((ValueError, TypeError)):
        home(**(good | change))


@every_home
@pytest.mark.parametrize(
    "path", [[], [4], [0, EXTEND], [0, 256 * 1 + 1, 0], [0, 2, 0], [0, 1, 2], [0, EXTEND, 0, EXTEND, 0], [0, LEAF, 0]]
)
def test_paths_that_name_no_cone_are_refused(home, path):
    search = home(np.ones((5, 3)), np.ones(5), np.zeros(4), np.ones(3))
    with pytest.raises(ValueError):
        search.run([np.array(path, dtype=np.uint16)], 1.0, 1, 1, False)


@every_home
@pytest.mark.parametrize("target", [0.0, -1.0, np.nan])
def test_bad_targets_are_refused(home, target):
    search = home(np.ones((5, 3)), np.ones(5), np.zeros(4), np.ones(3))
    with pytest.raises(ValueError):
        run(search, 3, target)
    with pytest.raises(ValueError):
        search.estimate(target, 3, 0, 250)


# -- twin and kernel ---------------------------------------------------------------------------------------------------


@every_home
def test_a_node_without_rows_of_open_sign_costs_work(home):
    """Around a gain that is all but the target the signs of all rows are soon known: a budget must end that too."""
    arguments, exact, _ = instance("generic", 7, n=10, d=6)
    found = run(home(*arguments), 6, exact * (1 + 1e-7), max_nodes=2000)
    assert found[0] == QUOTA
    assert found[3] >= 30 * found[4]


@pytest.mark.skipif(not _kernels.COMPILED, reason="the pure wheel has no kernel to compare the twin with")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(50, 54))
def test_kernel_and_twin_decide_alike(kind, seed):
    arguments, exact, scale = instance(kind, seed)
    d = arguments[0].shape[1]
    for target in {1.01 * exact, 0.99 * exact} if exact > 1e-3 * scale else {0.01 * scale}:
        ours, twin = (run(home(*arguments), d, target) for home in (_kernels.ConeTreeSearch, Twin))
        assert ours[0] == twin[0] == (DONE if target > exact else REFUTED)

"""The tree search: one preorder stream, whatever the quotas, the executor, and the fate of the workers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from engine.tree_tasks import LEAF, OPEN, HashedTree, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib.externals.loky import get_reusable_executor

from rectifold._engine.executor import TaskPool
from rectifold._engine.tree_search import Share, SubtreeTask, TreeStatus, search_tree
from rectifold.core.errors import ProblemError, SolverError

ROOTS = [np.array([i], dtype=np.uint16) for i in range(4)]
UNLIMITED = 10**9

TREE = HashedTree(seed=5, leaf_share=0.3, max_depth=17)  # some thousand nodes

ignore_debris = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:A worker stopped while some jobs were given:UserWarning",
    "ignore:.*leaked:UserWarning",
)


def loky():
    return get_reusable_executor(max_workers=2, timeout=100)


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(3) as executor:
        yield executor


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="dask and distributed are an extra")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(params=["threads", "loky", "dask"])
def executor(request):
    if request.param == "loky":
        return loky()
    if request.param == "dask":
        return request.getfixturevalue("cluster").get_executor()
    return request.getfixturevalue("threads")


def search(tree=TREE, roots=ROOTS, **options):
    return search_tree(tree, roots, **({"max_work": UNLIMITED, "quota": 300} | options))


def assert_same(found, expected):
    assert found.status is expected.status
    assert found.progress == expected.progress
    assert found.best_value == expected.best_value
    np.testing.assert_array_equal(found.best_point, expected.best_point)
    np.testing.assert_array_equal(found.nodes, expected.nodes)
    assert len(found.leaves) == len(expected.leaves)
    for ours, theirs in zip(found.leaves, expected.leaves, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert_same_paths(found.open_paths, expected.open_paths)


def assert_same_paths(found, expected):
    assert [path.tolist() for path in found] == [path.tolist() for path in expected]


def walk(nodes, n_roots):
    """The paths of the stream's nodes, read one by one."""
    paths, stack = [], [(root,) for root in reversed(range(n_roots))]
    for code in nodes.tolist():
        paths.append(path := stack.pop())
        if code not in (LEAF, OPEN):
            stack += [(*path, code, 1), (*path, code, 0)]
    assert not stack
    return paths


def assert_parses(outcome, tree, n_roots=4):
    """The stream is a preorder of the tree with gaps where the open paths say."""
    paths = walk(outcome.nodes, n_roots)
    codes = outcome.nodes.tolist()
    assert [list(p) for p, code in zip(paths, codes, strict=True) if code == OPEN] == [
        path.tolist() for path in outcome.open_paths
    ]
    assert all(code in (OPEN, tree.code(p)) for p, code in zip(paths, codes, strict=True))
    rows = [tree.row(p) for p, code in zip(paths, codes, strict=True) if code == LEAF]
    np.testing.assert_array_equal(outcome.leaves[0], np.array(rows, dtype=np.uint8).reshape(-1, 2))
    assert len(outcome.leaves[1]) == len(rows)
    assert outcome.progress.n_nodes == len(codes) - codes.count(OPEN)
    assert outcome.progress.n_open == codes.count(OPEN)
    finished = sum(0.5 ** (len(p) // 2) for p, code in zip(paths, codes, strict=True) if code == LEAF) / n_roots
    assert outcome.progress.finished == pytest.approx(finished, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    leaf_share=st.floats(0.3, 1.0),
    quota=st.integers(1, 400),
    n_groups=st.integers(1, 9),
    n_roots=st.integers(1, 4),
)
def test_the_finished_stream_is_the_tree_whatever_the_quota(seed, leaf_share, quota, n_groups, n_roots):
    tree = HashedTree(seed=seed, leaf_share=leaf_share, max_depth=7)
    outcome = search(tree, ROOTS[:n_roots], quota=quota, n_groups=n_groups)
    nodes, rows = whole(tree, range(n_roots))
    assert outcome.status is TreeStatus.COMPLETE
    assert outcome.progress.finished == 1.0
    assert outcome.open_paths == ()
    np.testing.assert_array_equal(outcome.nodes, nodes)
    np.testing.assert_array_equal(outcome.leaves[0], rows)
    np.testing.assert_array_equal(outcome.leaves[1], np.repeat(rows[:, :1], 3, axis=1))
    assert_parses(outcome, tree, n_roots)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), quota=st.integers(1, 100), max_work=st.integers(1, 2000))
def test_a_search_that_reaches_its_work_says_what_is_open(seed, quota, max_work):
    tree = HashedTree(seed=seed, leaf_share=0.4, max_depth=12)
    outcome = search(tree, quota=quota, max_work=max_work)
    assert_parses(outcome, tree)
    if outcome.status is TreeStatus.COMPLETE:
        np.testing.assert_array_equal(outcome.nodes, whole(tree, range(4))[0])
    else:
        assert outcome.status is TreeStatus.WORK_LIMIT
        assert max_work <= outcome.progress.work < max_work + 8 * 7  # the last node of each task
        assert outcome.open_paths


@pytest.mark.parametrize("max_nodes", [1, 50, 700])
def test_a_search_that_reaches_its_nodes(max_nodes):
    outcome = search(max_nodes=max_nodes)
    assert outcome.status is TreeStatus.NODE_LIMIT
    assert max_nodes <= outcome.progress.n_nodes < max_nodes + 8
    assert_parses(outcome, TREE)


def test_the_instance_of_these_tests_takes_many_rounds():
    rounds = []
    outcome = search(on_progress=rounds.append)
    assert outcome.status is TreeStatus.COMPLETE
    assert outcome.progress.n_nodes > 3000
    assert len(rounds) > 50
    assert outcome.progress == rounds[-1]


@pytest.mark.parametrize("max_work", [UNLIMITED, 5000])
def test_every_executor_gives_the_serial_answer(executor, max_work):
    limits = {"max_work": max_work, "quota": 1000}
    assert_same(search(**limits, pool=TaskPool(executor)), search(**limits))


@ignore_debris
@pytest.mark.parametrize("home", ["loky", "dask"])
def test_a_killed_worker_changes_nothing(home, tmp_path, request):
    executor = loky() if home == "loky" else request.getfixturevalue("cluster").get_executor()
    killer = replace(TREE, kill_folder=tmp_path, kill_at=3)
    found = search(killer, pool=TaskPool(executor), quota=1000)
    assert (tmp_path / "died").exists()
    assert_same(found, search(quota=1000))


def test_leaves_that_are_not_kept_cost_no_rows():
    outcome = search(replace(TREE, keep_leaves=False))
    np.testing.assert_array_equal(outcome.nodes, search().nodes)
    assert [rows.shape for rows in outcome.leaves] == [(0, 2), (0, 3)]


# -- ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", ["serial", "threads", "loky"])
def test_the_first_refutation_in_the_order_of_groups_wins(home, threads):
    tree = replace(TREE, refuted_by=77)
    executor = {"serial": None, "threads": threads, "loky": None if home != "loky" else loky()}[home]
    heard = []

    def spy(share):
        heard.append(tree(share))
        return heard[-1]

    serial = search(spy)
    assert serial.status is TreeStatus.REFUTED
    assert serial.best_value == heard[-1][5] >= 1e9
    assert all(result[0] != 2 for result in heard[:-1])
    np.testing.assert_array_equal(serial.best_point, heard[-1][6])
    assert_parses(serial, tree)
    assert_same(search(tree, pool=TaskPool(executor)), serial)


def test_a_refutation_counts_more_than_a_larger_value_met_before():
    low = HashedTree(seed=1)

    def run(share):
        result = low(share)
        first = share.paths[0][0] == 0
        return (
            1 if first else 2,
            *result[1:5],
            99.0 if first else 5.0,
            np.full(2, 99.0 if first else 5.0),
            *result[7:],
        )

    outcome = search(run, quota=8)
    assert (outcome.status, outcome.best_value) == (TreeStatus.REFUTED, 5.0)
    np.testing.assert_array_equal(outcome.best_point, [5.0, 5.0])


def test_a_node_too_deep_ends_the_search_undecided():
    tree = replace(TREE, too_deep=77)
    outcome = search(tree)
    assert outcome.status is TreeStatus.DEPTH_LIMIT
    assert_parses(outcome, tree)


def test_best_value_and_point_are_the_largest_met():
    heard = []

    def spy(share):
        heard.append(TREE(share))
        return heard[-1]

    outcome = search(spy)
    best = max(heard, key=lambda result: result[5])  # the first of equals
    assert outcome.best_value == best[5]
    np.testing.assert_array_equal(outcome.best_point, best[6])
    assert outcome.progress.max_depth == max(result[7] for result in heard)


def test_interruption_before_anything_leaves_the_roots_open():
    outcome = search(should_stop=lambda: True)
    assert outcome.status is TreeStatus.INTERRUPTED
    assert outcome.nodes.tolist() == [OPEN] * 4
    assert_same_paths(outcome.open_paths, ROOTS)
    assert outcome.progress.n_nodes == 0
    assert outcome.progress.finished == 0.0
    assert outcome.progress.n_nodes_left == np.inf


@pytest.mark.parametrize("home", ["serial", "threads"])
def test_interruption_gives_what_is_there(home, threads):
    rounds = []
    outcome = search(
        pool=TaskPool(threads if home == "threads" else None),
        on_progress=rounds.append,
        should_stop=lambda: len(rounds) >= 20,
    )
    assert outcome.status is TreeStatus.INTERRUPTED
    assert 20 <= len(rounds) <= 28
    assert outcome.progress == rounds[-1]
    assert_parses(outcome, TREE)


def test_interruption_does_not_wait_for_what_is_running(threads):
    asked = []
    start = time.perf_counter()
    slow = replace(TREE, sleep=2.0)
    outcome = search(slow, pool=TaskPool(threads), should_stop=lambda: asked.append(0) or len(asked) > 8)
    assert time.perf_counter() - start < 2.0
    assert outcome.status is TreeStatus.INTERRUPTED
    assert outcome.nodes.tolist() == [OPEN] * 4


def test_a_search_that_is_complete_is_not_interrupted_afterwards():
    seen = []
    outcome = search(HashedTree(leaf_share=1.0), on_progress=seen.append, should_stop=lambda: len(seen) == 4)
    assert outcome.status is TreeStatus.COMPLETE


# -- shares ------------------------------------------------------------------------------------------------------------


def test_shares_are_a_fixed_number_and_short_while_there_are_few_subtrees():
    shares = []

    def spy(share):
        shares.append(share)
        return TREE(share)

    search(spy, quota=640, n_groups=8)
    assert [share.paths[0].tolist() for share in shares[:4]] == [[0], [1], [2], [3]]
    assert [share.max_work for share in shares[:4]] == [80] * 4  # 4 of the 32 subtrees that a full quota takes
    assert max(share.max_work for share in shares) == 640
    assert all(share.max_nodes >= 1 for share in shares)


def test_progress_is_monotone_and_the_estimate_of_the_rest_is_sane():
    rounds = []
    total = search(on_progress=rounds.append, quota=100).progress.n_nodes
    finished = [p.finished for p in rounds]
    assert all(a <= b + 1e-12 for a, b in pairwise(finished))
    assert all(a.work < b.work for a, b in pairwise(rounds))
    half = next(p for p in rounds if p.n_nodes > total / 2)
    assert 0 < half.n_nodes_left < 100 * total
    assert rounds[-1].n_nodes_left == 0.0


def test_many_pieces_are_put_together():
    outcome = search(quota=30, n_groups=16)
    np.testing.assert_array_equal(outcome.nodes, whole(TREE, range(4))[0])


# -- kernels as tasks --------------------------------------------------------------------------------------------------


class CountingKernel:
    """Counts how often it is built."""

    built = 0

    def __init__(self, tree):
        type(self).built += 1
        self.tree = tree

    def run(self, paths, target, max_work, max_nodes, keep_leaves):
        tree = replace(self.tree, seed=int(target), keep_leaves=keep_leaves)
        return tree(Share(tuple(paths), max_work, max_nodes))


def test_a_kernel_is_built_once_and_serves_several_targets():
    CountingKernel.built = 0
    task = SubtreeTask(CountingKernel, (TREE,), 5.0, keep_leaves=True)
    assert_same(search(task), search())
    assert_same(search(replace(task, target=6.0)), search(replace(TREE, seed=6)))
    assert CountingKernel.built == 1
    search(SubtreeTask(CountingKernel, (TREE,), 5.0), max_work=1)
    assert CountingKernel.built == 2


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"max_work": 0}, {"quota": 0}, {"max_nodes": 0}, {"n_groups": 0}, {"roots": []}])
def test_bad_arguments_are_refused_before_any_work(change):
    with pytest.raises(ProblemError, match="at least"):
        search(lambda share: pytest.fail("work was done"), **change)


def malformed(tree, change):
    def run(share):
        status, nodes, left, *rest = tree(share)
        return change(status, nodes, left, *rest)

    return run


@pytest.mark.parametrize(
    "change",
    [
        lambda status, nodes, left, *rest: (status, nodes[:-1], left, *rest),
        lambda status, nodes, left, *rest: (status, np.append(nodes, np.uint16(LEAF)), left, *rest),
        lambda status, nodes, left, *rest: (status, nodes, left[:-1], *rest),
        lambda status, nodes, left, *rest: (status, nodes, left, *rest[:-1], rest[-1][:-1]),
    ],
    ids=["short", "long", "a path less", "a row less"],
)
def test_malformed_answers_of_a_task_are_an_error(change):
    with pytest.raises(SolverError, match="returned"):
        search(malformed(TREE, change))


def test_a_task_that_visits_nothing_is_an_error_rather_than_a_loop():
    empty = np.zeros((0, 2), dtype=np.uint8)

    def idle(share):
        left = list(share.paths)
        return 1, np.full(len(left), OPEN, dtype=np.uint16), left, 5, 0, -np.inf, np.zeros(2), 0, empty

    with pytest.raises(SolverError, match="visited no node"):
        search(idle)

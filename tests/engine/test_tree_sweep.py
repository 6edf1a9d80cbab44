"""Parts of finished trees: together the tree, each with the path to it; sweeps that are cut short say so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifold._engine.executor import TaskPool
from rectifold._engine.tree_search import LEAF, SubtreeTask
from rectifold._engine.tree_sweep import Part, SweepTask, split_tree, sweep_tree

ROOTS = [np.array([o], dtype=np.uint16) for o in range(2)]


def random_tree(rng, size):
    """A stream of two random trees."""
    nodes, waiting = [], 2
    while waiting:
        inner = len(nodes) + waiting < size and rng.random() < 0.7
        nodes.append(int(rng.integers(0, 100)) if inner else LEAF)
        waiting += 1 if inner else -1
    return np.array(nodes, dtype=np.uint16)


def leaf_paths(paths, nodes):
    found, stack = [], [tuple(p.tolist()) for p in reversed(paths)]
    for code in nodes.tolist():
        path = stack.pop()
        if code == LEAF:
            found.append(path)
        else:
            stack += [(*path, code, 1), (*path, code, 0)]
    assert not stack
    return found


class Counter:
    """A kernel that finds every leaf, its length of path as its bound."""

    def sweep(self, paths, nodes, target, max_cuts, stride, keep_leaves):
        leaves = leaf_paths(paths, nodes)
        values = np.array([float(len(p)) for p in leaves])
        order = np.argsort(-values, kind="stable")[:max_cuts]
        shape = (len(order), 1)
        found = [np.array(leaves[i], dtype=np.uint16) for i in order]
        kept = np.arange(len(leaves), dtype=np.uint8)[:, None] if keep_leaves else np.zeros((0, 1), np.uint8)
        return (len(leaves), values.max(), len(leaves), found, values[order], np.zeros((*shape, 1)), np.zeros(shape),
                np.zeros(len(order)), kept, kept.astype(float))  # fmt: skip


def task(max_points=10**6, keep_leaves=False):
    return SweepTask(SubtreeTask(Counter, (), 1.0, keep_leaves), max_points)


@given(seed=st.integers(0, 10**6), size=st.integers(2, 400), n_parts=st.integers(1, 20))
def test_the_parts_are_the_tree(seed, size, n_parts):
    nodes = random_tree(np.random.default_rng(seed), size)
    parts = split_tree(nodes, ROOTS, n_parts)
    assert [p for part in parts for p in leaf_paths(part.paths, part.nodes)] == leaf_paths(ROOTS, nodes)
    assert all(len(part.paths) == 1 for part in parts)


def test_large_trees_have_enough_parts():
    full: list[int] = [LEAF]
    for _ in range(12):
        full = [7, *full, *full]
    parts = split_tree(np.array([*full, *full], dtype=np.uint16), ROOTS, 16)
    assert len(parts) == 16
    assert max(len(part.nodes) for part in parts) == 1023


def test_what_the_parts_find_is_joined():
    nodes = random_tree(np.random.default_rng(3), 500)
    parts = split_tree(nodes, ROOTS, 8)
    everything = leaf_paths(ROOTS, nodes)
    outcome = sweep_tree(task(keep_leaves=True), parts, max_work=10**6, max_points=5)
    assert outcome.worst == max(map(len, everything))
    assert outcome.work == len(everything)
    assert [len(p) for p in outcome.points.paths] == sorted(map(len, everything), reverse=True)[:5]
    assert outcome.points.values.tolist() == [float(len(p)) for p in outcome.points.paths]
    assert len(outcome.leaves[0]) == len(outcome.leaves[1]) == len(everything)
    with ThreadPoolExecutor(2) as threads:
        again = sweep_tree(task(), parts, max_work=10**6, max_points=5, pool=TaskPool(threads))
    assert [p.tolist() for p in again.points.paths] == [p.tolist() for p in outcome.points.paths]
    assert again.leaves == ()


def test_leaves_alone_are_a_part():
    paths = [np.array([0, 5, 1], dtype=np.uint16), np.array([1], dtype=np.uint16)]
    outcome = sweep_tree(task(), [Part.of_leaves(paths)], max_work=10, max_points=9)
    assert [p.tolist() for p in outcome.points.paths] == [[0, 5, 1], [1]]


@pytest.mark.parametrize("stop", ["work", "request"])
def test_a_sweep_that_is_cut_short_is_none(stop):
    nodes = random_tree(np.random.default_rng(3), 500)
    parts = split_tree(nodes, ROOTS, 8)
    limits = {"max_work": 10 if stop == "work" else 10**6, "max_points": 5}
    assert sweep_tree(task(), parts, **limits, should_stop=lambda: stop == "request") is None

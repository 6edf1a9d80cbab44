"""Streams decode to the cones that plain recursion finds, and to nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifold.certify.cone_rows import ConeRows
from rectifold.certify.cone_stream import root_positions, second_children
from rectifold.certify.cone_walk import leaf_batches
from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import CONE_EXTENSION, CONE_LEAF, CONE_OPEN, Grade


def random_stream(rng, d, size):
    """A stream, and the rays of its leaves by recursion."""
    metric = rng.uniform(0.2, 1.0, d)
    nodes, leaves = [], []

    def grow(rays, depth):
        k = len(rays)
        if rng.random() < depth / size or (k == d == 1):
            nodes.append(CONE_LEAF)
            leaves.append((np.array(rays), depth))
        elif k < d and rng.random() < 0.3:
            nodes.append(CONE_EXTENSION)
            for sign in (1.0, -1.0):
                grow([*rays, sign * np.eye(d)[k]], depth)
        else:
            i, j = sorted(rng.choice(k, 2, replace=False).tolist())
            m = rays[i] / np.sqrt(metric @ rays[i] ** 2) + rays[j] / np.sqrt(metric @ rays[j] ** 2)
            m /= np.linalg.norm(m)
            nodes.append(256 * i + j)
            for slot in (i, j):
                grow([*rays[:slot], m, *rays[slot + 1 :]], depth + 1)

    k = min(2, d)
    for signs in ([1, 1], [-1, 1], [1, -1], [-1, -1])[: 2**k]:
        grow([signs[j] * np.eye(d)[j] for j in range(k)], 0)
    return np.array(nodes, np.uint16), metric, leaves


def rows_of(rng, n, d):
    return ConeRows(rng.standard_normal((n, d)), rng.standard_normal(n), np.ones((d, n)), Grade.FLOAT)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), d=st.integers(1, 5), size=st.floats(2.0, 9.0), block=st.sampled_from([1, 3, 1000]))
def test_leaves_are_those_of_the_recursion(seed, d, size, block):
    rng = np.random.default_rng(seed)
    nodes, metric, expected = random_stream(rng, d, size)
    rows = rows_of(rng, 7, d)
    rows.block = block
    seen = {}
    for numbers, cones in leaf_batches(nodes, metric, rows):
        for c, number in enumerate(numbers.tolist()):
            assert number not in seen
            k = int(cones.dims[c])
            assert not cones.rays[c, k:].any()
            assert not cones.rays[c, :, k:].any()
            seen[number] = cones.rays[c, :k, :k], cones.heights[c, :k], int(cones.depths[c])
    assert sorted(seen) == list(range(len(expected)))
    for number, (rays, depth) in enumerate(expected):
        found, heights, found_depth = seen[number]
        assert np.allclose(found, rays[:, : len(found)], atol=1e-13)
        assert np.allclose(heights, np.maximum(rays @ rows.positive.T, 0.0).sum(axis=1))
        assert found_depth == depth


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), d=st.integers(1, 4))
def test_leaves_cover_all_directions(seed, d):
    rng = np.random.default_rng(seed)
    nodes, metric, _ = random_stream(rng, d, 6.0)
    points = np.vstack([rng.standard_normal((20, d)), np.eye(d), -np.eye(d), rng.integers(-1, 2, (10, d))])
    covered = np.zeros(len(points), dtype=bool)
    for _, cones in leaf_batches(nodes, metric, rows_of(rng, 3, d)):
        for c, k in enumerate(cones.dims.tolist()):
            shares = np.linalg.solve(cones.rays[c, :k, :k].T, points[:, :k].T)
            covered |= np.all(shares >= -1e-9, axis=0)
    assert covered.all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_changed_structure_is_refused(seed):
    rng = np.random.default_rng(seed)
    nodes, metric, _ = random_stream(rng, 3, 5.0)
    rows = rows_of(rng, 4, 3)
    at = int(rng.integers(len(nodes)))
    broken = [
        np.delete(nodes, at),
        np.insert(nodes, at, CONE_LEAF),
        np.insert(nodes, at, nodes[at] if nodes[at] != CONE_LEAF else CONE_EXTENSION),
        np.append(nodes, CONE_LEAF),
        nodes[:-1],
        nodes[:0],
    ]
    if nodes[at] == CONE_LEAF:
        other = nodes.copy()
        other[at] = CONE_OPEN
        broken.append(other)
    for stream in broken:
        with pytest.raises(Refusal):
            list(leaf_batches(stream, metric, rows))


@pytest.mark.parametrize("code", [0, 256, 257, 3, 256 * 2 + 1, 256 * 300 // 2 + 1, 256 * 253 + 254])
def test_edges_that_are_not_there(code):
    rng = np.random.default_rng(0)
    nodes = np.array([code, CONE_LEAF, CONE_LEAF, CONE_LEAF, CONE_LEAF, CONE_LEAF], np.uint16)
    with pytest.raises(Refusal, match="edge"):
        list(leaf_batches(nodes, np.ones(3), rows_of(rng, 4, 3)))


def test_no_axis_is_left_to_extend_to():
    nodes = np.array([CONE_EXTENSION, *[CONE_LEAF] * 5], np.uint16)
    assert len(list(leaf_batches(nodes, np.ones(3), rows_of(np.random.default_rng(0), 4, 3)))) == 1
    with pytest.raises(Refusal, match="all dimensions"):
        list(leaf_batches(nodes, np.ones(2), rows_of(np.random.default_rng(0), 4, 2)))


@pytest.mark.parametrize("depth", [1000, 40_000])
def test_depth_is_no_recursion(depth):
    nodes = np.array([*[1] * depth, *[CONE_LEAF] * (depth + 1)], np.uint16)
    assert root_positions(nodes, 1).tolist() == [0, 2 * depth + 1]
    children = second_children(nodes)
    assert children[0] == 2 * depth
    assert children[depth - 1] == depth + 1
    assert np.all(children[depth:] == -1)

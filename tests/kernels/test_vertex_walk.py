import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs.network_cases import cube, he_network, integer_network, walk_of

import rectifold as rf
from rectifold._kernels import vertex_walk
from rectifold._kernels.reference.vertex_walk import DenseVertexWalk as Twin

Kernel = vertex_walk.DenseVertexWalk
MANY = 1 << 40


def walked(kind, net, domain, x):
    walk = walk_of(net, domain, kind)
    walk.start(x)
    status = walk.run(MANY, 60.0)
    return status, walk.state(), np.array(walk.trace)


@pytest.mark.parametrize("dims", [(5, 50), (20, 50), (6, 20, 20), (10, 30, 30, 30), (9, 8)])
@pytest.mark.parametrize("seed", range(3))
def test_kernel_takes_the_steps_of_its_twin(dims, seed):
    net, x = he_network(dims, seed), np.random.default_rng(seed).uniform(-1.0, 1.0, dims[0])
    status, state, trace = walked(Kernel, net, cube(dims[0]), x)
    twin_status, twin_state, twin_trace = walked(Twin, net, cube(dims[0]), x)
    assert status == twin_status == vertex_walk.WalkStatus.MINIMUM
    assert (state["pivots"], state["crossings"]) == (twin_state["pivots"], twin_state["crossings"])
    np.testing.assert_allclose(trace, twin_trace, atol=1e-9)
    np.testing.assert_array_equal(state["basis"], twin_state["basis"])
    for name in ("x", "edges", "slopes", "opposite", "gradient"):
        np.testing.assert_allclose(state[name], twin_state[name], atol=1e-8)
    assert state.keys() == twin_state.keys()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_kernel_and_twin_never_rise_and_agree_on_degenerate_networks(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    net, x = integer_network(rng, n), rng.uniform(-1.0, 1.0, n)
    for kind in (Kernel, Twin):
        status, state, trace = walked(kind, net, cube(n), x)
        assert np.diff(trace).max(initial=0.0) <= 1e-9
        assert state["value"] == pytest.approx(net(state["x"])[0], abs=1e-9)
        assert status in (vertex_walk.WalkStatus.MINIMUM, vertex_walk.WalkStatus.DEGENERATE)
        if status == vertex_walk.WalkStatus.DEGENERATE:
            assert len(state["critical"]) + len(state["fixed"]) > n


def test_slices_of_a_run_add_up_to_the_whole():
    net, x = he_network((10, 50, 50), 0), np.full(10, 0.1)
    _, whole, trace = walked(Kernel, net, cube(10), x)
    walk = walk_of(net, cube(10), Kernel)
    walk.start(x)
    while walk.run(1, 60.0) == vertex_walk.WalkStatus.RUNNING:
        pass
    np.testing.assert_array_equal(walk.state()["x"], whole["x"])
    np.testing.assert_array_equal(walk.trace, trace)


def test_push_leaves_a_point_downwards():
    net = rf.ReLUNetwork([[[1.0]], [[1.0], [1.0]], [[1.0, -0.5]]], [[0.0], [-1.0, 0.0], [0.0]])
    for kind in (Kernel, Twin):
        walk = walk_of(net, rf.Box([-2.0], [3.0]), kind)
        walk.start(np.zeros(1))
        assert walk.run(MANY, 60.0) == vertex_walk.WalkStatus.DEGENERATE
        walk.push(np.ones(1))
        assert walk.run(MANY, 60.0) == vertex_walk.WalkStatus.MINIMUM
        assert walk.state()["x"][0] == pytest.approx(1.0)


def test_two_slopes_price_the_far_side_of_every_edge():
    """Fact 4 against forward differences, and what a flip does to the basis, at vertices of a deep network."""
    net, domain = he_network((6, 40, 40, 40), 3), cube(6, 50.0)
    rng, bends = np.random.default_rng(0), 0
    for _ in range(100):
        walk = walk_of(net, domain)
        walk.start(rng.uniform(-1.0, 1.0, 6))
        while len(walk.basis) < 6:
            walk.run(1, 60.0)
        edges, determinant = walk.A.copy(), abs(np.linalg.det(np.array([walk._normal(c) for c in walk.basis])))
        slopes, opposite = walk.edge_slopes()
        x, value = walk.x, net(walk.x)[0]
        for k, c in enumerate(walk.basis):
            if c >= walk._n_units:
                continue
            v, _, derivative = walk.opposite_edge(k)
            bends += int(np.abs(v + edges[k]).max() > 1e-6)
            normals = np.array([walk._normal(m) for m in walk.basis])
            assert abs(abs(np.linalg.det(normals)) / determinant - 1.0) <= 1e-9
            new = edges.copy()
            new[k] = v
            np.testing.assert_allclose(normals @ new.T, np.eye(6), atol=1e-8)
            length = np.linalg.norm(v)
            assert derivative == pytest.approx(opposite[k], abs=1e-9 * (1 + abs(opposite[k])))
            step = 1e-7
            assert (net(x + step / length * v)[0] - value) / step == pytest.approx(opposite[k] / length, abs=1e-5)
            own = np.linalg.norm(edges[k])
            assert (net(x + step / own * edges[k])[0] - value) / step == pytest.approx(slopes[k] / own, abs=1e-5)
            walk._flip(c)
    assert bends > 20


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_long_walks_stay_exact(scale):
    net = he_network((30, 100, 100), 1)
    net = rf.ReLUNetwork([w * scale for w in net.weights], [b * scale ** (i + 1) for i, b in enumerate(net.biases)])
    status, state, trace = walked(Kernel, net, cube(30), np.zeros(30))
    assert status == vertex_walk.WalkStatus.MINIMUM
    assert state["pivots"] > 100
    assert state["value"] == pytest.approx(net(state["x"])[0], rel=1e-11)
    assert trace[-1] == pytest.approx(state["value"], rel=1e-11)
    z = np.concatenate(net.preactivations(state["x"]))
    units = state["basis"][state["basis"] < len(z)]
    assert np.abs(z[units]).max() <= 1e-11 * np.abs(z).max()


@pytest.mark.parametrize("kind", [Kernel, Twin])
def test_time_limit_returns_in_the_middle(kind):
    net = he_network((30, 100, 100), 1)
    walk = walk_of(net, cube(30), kind)
    walk.start(np.zeros(30))
    assert walk.run(MANY, 0.0) == vertex_walk.WalkStatus.RUNNING
    assert len(walk.trace) == 2


def arguments():
    net = he_network((2, 4), 0)
    rows = cube(2).inequality_rows()
    weights, biases = [net.weights[0]], [net.biases[0]]
    return [weights, biases, np.zeros(4), np.ones(4), net.weights[1][0].copy(), 0.0, *rows, np.zeros((0, 2))]


@pytest.mark.skipif(Kernel is Twin, reason="the pure build has no compiled walk")
@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, [np.full((4, 2), np.nan)]),
        (1, [np.zeros(3)]),
        (2, np.zeros(3)),
        (4, np.zeros(3)),
        (6, np.array([0, 1, 2, 3, 9])),
        (7, np.array([0, 1, 0, 7])),
        (10, np.zeros((0, 3))),
    ],
)
def test_kernel_refuses_arrays_that_do_not_fit(position, value):
    parts = arguments()
    Kernel(*parts)
    parts[position] = value
    with pytest.raises(ValueError, match=r"."):
        Kernel(*parts)

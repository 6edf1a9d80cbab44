import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs.network_cases import walk_of
from training.layerwise.layer_cases import block_diagonal, deep_case, layer_walk

import rectifold as rf
from rectifold._kernels import vertex_walk
from rectifold._kernels.reference.vertex_walk import LayerVertexWalk as Twin
from rectifold.core.layer_l1 import L1Problem, LayerData

Kernel = vertex_walk.LayerVertexWalk
MANY = 1 << 40


def instance(dims, n, layer, seed, repeats=1):
    net, X, y = deep_case(dims, n, seed)
    rng = np.random.default_rng(seed)
    if repeats > 1:
        again = rng.integers(0, n, n * (repeats - 1))
        X, y = np.concatenate([X, X[again]]), np.concatenate([y, y[again] + rng.integers(0, 2, len(again))])
    data = LayerData(L1Problem(X, y, rng.uniform(0.5, 2.0, len(y))), net, layer)
    return data, 1e-7 * rng.uniform(-1.0, 1.0, (data.width, len(data.inputs)))


def walked(walk, theta):
    walk.start(theta)
    status = walk.run(MANY, 60.0)
    return status, walk.state(), np.array(walk.trace)


CASES = [
    ((2, 3), 30, 0, 1), ((2, 3), 30, 0, 3), ((3, 4, 3), 40, 0, 2), ((3, 4, 3), 40, 1, 1), ((4, 5, 4, 2), 60, 0, 1),
    ((4, 6, 4), 200, 0, 1),
]  # fmt: skip


@pytest.mark.parametrize(("dims", "n", "layer", "repeats"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_kernel_takes_the_steps_of_its_twin(dims, n, layer, repeats, seed):
    data, shifts = instance(dims, n, layer, seed, repeats)
    theta = data.parameters()
    status, state, trace = walked(layer_walk(Kernel, data, shifts), theta)
    twin_status, twin_state, twin_trace = walked(layer_walk(Twin, data, shifts), theta)
    assert status == twin_status
    assert (state["pivots"], state["crossings"]) == (twin_state["pivots"], twin_state["crossings"])
    np.testing.assert_allclose(trace, twin_trace, rtol=1e-9)
    np.testing.assert_array_equal(state["basis"], twin_state["basis"])
    np.testing.assert_array_equal(state["critical"], twin_state["critical"])
    for name in ("x", "gradient"):
        np.testing.assert_allclose(state[name], twin_state[name], atol=1e-7)
    length = np.linalg.norm(state["edges"], axis=1) * state["gradient_size"]
    for name in ("slopes", "opposite"):
        np.testing.assert_allclose(state[name] / length, twin_state[name] / length, atol=1e-9)
    assert state.keys() == twin_state.keys()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_walk_is_that_of_the_block_diagonal_network(seed):
    rng = np.random.default_rng(seed)
    dims = [int(rng.integers(1, 4)), *(int(width) for width in rng.integers(1, 4, rng.integers(1, 4)))]
    layer = int(rng.integers(0, len(dims) - 1))
    data, shifts = instance(dims, int(rng.integers(8, 25)), layer, seed, int(rng.integers(1, 3)))
    net, theta = block_diagonal(data, shifts), data.parameters()
    everywhere = rf.Box(np.full(net.n_inputs, -np.inf), np.inf)
    status, state, trace = walked(layer_walk(Kernel, data, shifts), theta)
    dense_status, dense_state, dense_trace = walked(walk_of(net, everywhere, vertex_walk.DenseVertexWalk), theta)
    assert trace[0] == pytest.approx(net(theta)[0], rel=1e-12)
    assert np.diff(trace).max(initial=0.0) <= 1e-9 * trace[0]
    assert state["value"] == pytest.approx(net(state["x"])[0], rel=1e-9, abs=1e-9)
    if (
        np.linalg.matrix_rank(data.inputs) == data.inputs.shape[1]
    ):  # else free directions are chosen among rounding errors
        assert status == dense_status
        assert state["value"] == pytest.approx(dense_state["value"], rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(trace, dense_trace, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("layer", [0, 1])
def test_price_of_every_edge_is_what_the_loss_does_along_it(layer):
    """Slopes against difference quotients of the loss itself, at vertices on the way."""
    data, shifts = instance((3, 5, 4), 60, layer, 7)
    walk, net = layer_walk(Twin, data, shifts), block_diagonal(data, shifts)
    walk.start(data.parameters())
    while len(walk.basis) < data.n_parameters:
        walk.run(1, 60.0)
    checked = 0
    for _ in range(12):
        slopes, opposite = walk.edge_slopes()
        x, value, edges = walk.x.copy(), walk.value, walk.A.copy()
        for k in range(data.n_parameters):
            v, _, derivative = walk.opposite_edge(k)
            walk._flip(walk.basis[k])
            assert derivative == pytest.approx(opposite[k], abs=1e-7 * (1.0 + abs(opposite[k])))
            for direction, slope in ((edges[k], slopes[k]), (v, opposite[k])):
                length = np.linalg.norm(direction)
                step = 1e-9 / length
                quotient = (net(x + step * direction)[0] - value) / step
                checked += bool(abs(quotient - slope) <= 1e-4 * max(length, abs(slope)))
        if walk.run(3, 60.0) != vertex_walk.WalkStatus.RUNNING:
            break
    assert checked >= 0.9 * 2 * data.n_parameters  # at a few vertices another kink is nearer than the step


def test_slices_of_a_run_add_up_to_the_whole():
    data, shifts = instance((4, 6, 4), 120, 0, 1)
    _, whole, trace = walked(layer_walk(Kernel, data, shifts), data.parameters())
    walk = layer_walk(Kernel, data, shifts)
    walk.start(data.parameters())
    while walk.run(1, 60.0) == vertex_walk.WalkStatus.RUNNING:
        pass
    np.testing.assert_array_equal(walk.state()["x"], whole["x"])
    np.testing.assert_array_equal(walk.trace, trace)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_scale_of_the_data_changes_nothing_but_the_scale(scale):
    net, X, y = deep_case((4, 6), 150, 3)
    reference = rf.FirstLayerL1(net).fit(X, y)
    scaled = rf.ReLUNetwork([net.weights[0], net.weights[1] * scale], [net.biases[0], net.biases[1] * scale])
    assert rf.FirstLayerL1(scaled).fit(X, y * scale).loss_ == pytest.approx(scale * reference.loss_, rel=1e-9)


def arguments():
    data, shifts = instance((2, 3, 2), 10, 0, 0)
    (weight, bias), (output, offset) = data.above[0], data.output
    widths = sum(data.widths)
    parts = [data.inputs, shifts, [weight.copy()], [bias.copy()], np.zeros(widths), np.ones(widths)]
    return [*parts, np.array(output), offset, data.starts, data.targets, data.weights]


@pytest.mark.skipif(Kernel is Twin, reason="the pure build has no compiled walk")
@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, np.full((10, 3), np.nan)),
        (1, np.zeros((3, 9))),
        (2, [np.zeros((2, 4))]),
        (3, [np.zeros(3)]),
        (4, np.zeros(4)),
        (6, np.zeros(3)),
        (7, float("inf")),
        (8, np.arange(10)),
        (8, np.array([0, 0, *range(2, 11)])),
        (9, np.zeros(9)),
        (10, np.zeros(9)),
    ],
)
def test_kernel_refuses_arrays_that_do_not_fit(position, value):
    parts = arguments()
    Kernel(*parts)
    parts[position] = value
    with pytest.raises(ValueError, match=r"."):
        Kernel(*parts)

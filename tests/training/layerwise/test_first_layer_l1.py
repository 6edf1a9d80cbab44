import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from training.layerwise.layer_cases import (
    TABLE,
    deep_case,
    loss_of,
    parameters,
    recipe,
    steepest_sampled_slope,
    with_parameters,
)  # fmt: skip

import rectifold as rf
from rectifold.core.layer_l1 import L1Problem, LayerData


def check_descent(fit, net, X, y, weights=1.0):
    """What holds of every end: the reported losses fall to the loss of the network, and nothing else has moved."""
    result = fit.result_
    assert fit.losses_[0] == pytest.approx(loss_of(net, X, y, weights), rel=1e-12)
    assert np.diff(fit.losses_).max(initial=0.0) <= 1e-9 * fit.losses_[0]
    assert fit.loss_ == pytest.approx(loss_of(fit.network_, X, y, weights), rel=1e-9, abs=1e-9)
    assert fit.losses_[-1] == fit.loss_
    for layer in range(len(net.weights)):
        if layer != fit.layer:
            np.testing.assert_array_equal(net.weights[layer], fit.network_.weights[layer])
            np.testing.assert_array_equal(net.biases[layer], fit.network_.biases[layer])
    if result.decided_by == "vertex":
        assert min(result.slopes.min(), result.opposite_slopes.min()) >= -1e-9 * np.abs(result.slopes).max()
    assert (result.certificate is not None) == (result.decided_by in ("vertex", "global"))
    assert result.certificate is None or rf.verify(result)


@pytest.mark.parametrize(("n", "d", "h", "teacher", "start", "end"), TABLE[:5])
def test_table_of_one_hidden_layer(n, d, h, teacher, start, end):
    net, X, y = recipe(n, d, h, teacher)
    fit = rf.FirstLayerL1(net).fit(X, y)
    check_descent(fit, net, X, y)
    assert fit.losses_[0] == pytest.approx(start, abs=0.005)
    assert fit.result_.status in (rf.Status.LOCAL_OPTIMUM, rf.Status.DEGENERATE)
    assert not teacher or fit.loss_ <= 0.9 * start
    best = min(fit.loss_, *(rf.FirstLayerL1(net, random_state=seed).fit(X, y).loss_ for seed in range(1, 8)))
    assert best <= 1.02 * end


@pytest.mark.slow
def test_largest_row_of_the_table():
    n, d, h, teacher, start, end = TABLE[5]
    net, X, y = recipe(n, d, h, teacher)
    fit = rf.FirstLayerL1(net, n_walks=4).fit(X, y)
    check_descent(fit, net, X, y)
    assert fit.losses_[0] == pytest.approx(start, abs=0.005)
    assert fit.loss_ <= 1.02 * end


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("dims", "layer"), [((3, 5), 0), ((3, 5, 4), 0), ((3, 5, 4), 1), ((4, 5, 4, 2), 1)])
def test_certified_ends_rise_in_all_sampled_directions(dims, layer, seed):
    net, X, y = deep_case(dims, 60, seed)
    fit = rf.FirstLayerL1(net, layer).fit(X, y)
    check_descent(fit, net, X, y)
    if fit.result_.status is rf.Status.LOCAL_OPTIMUM:
        slope = steepest_sampled_slope(fit.network_, layer, X, y, np.random.default_rng(0))
        assert slope >= -1e-4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_any_network_and_layer_fall_to_an_honest_end(seed):
    rng = np.random.default_rng(seed)
    dims = [int(rng.integers(1, 4)), *(int(width) for width in rng.integers(1, 5, rng.integers(1, 4)))]
    slopes = [
        [(0.0, 1.0), (0.1, 1.0), (-1.0, 1.0), (np.arange(width) % 2.0, 1.0)][rng.integers(4)] for width in dims[1:]
    ]
    n = int(rng.integers(1, 40))
    net, X, y = deep_case(dims, n, seed, slopes=slopes)
    if rng.random() < 0.5:  # ties: equal samples, equal targets, small integers
        X, y = np.round(X), np.round(y)
    weights = rng.integers(0, 3, n).astype(float)
    weights[0] = 1.0
    layer = int(rng.integers(0, len(dims)))
    fit = rf.FirstLayerL1(net, layer, time_limit=20.0).fit(X, y, weights)
    check_descent(fit, net, X, y, weights)
    ends = [rf.Status.LOCAL_OPTIMUM, rf.Status.DEGENERATE] if layer < len(dims) - 1 else [rf.Status.OPTIMAL]
    assert fit.result_.status in ends


def test_output_layer_is_least_absolute_deviations():
    net, X, y = deep_case((4, 6, 5), 80, 0)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, 80)
    fit = rf.FirstLayerL1(net, layer=2).fit(X, y, weights)
    check_descent(fit, net, X, y, weights)
    hidden = np.maximum(net.preactivations(X)[1], 0.0)
    E = np.column_stack([hidden, np.ones(80)])
    cost = np.concatenate([np.zeros(E.shape[1]), weights, weights])
    free = [(None, None)] * E.shape[1] + [(0, None)] * 160
    program = linprog(cost, A_eq=np.hstack([E, np.eye(80), -np.eye(80)]), b_eq=y, bounds=free)
    assert fit.loss_ == pytest.approx(program.fun, rel=1e-9)
    assert fit.result_.status is rf.Status.OPTIMAL
    assert fit.result_.proof is rf.Proof.CERTIFIED
    assert fit.result_.relative_gap <= 1e-8


def test_network_without_hidden_layers_is_a_regression():
    X = np.random.default_rng(0).standard_normal((40, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.25
    fit = rf.FirstLayerL1(rf.ReLUNetwork([np.zeros((1, 3))], [np.zeros(1)])).fit(X, y)
    assert fit.loss_ <= 1e-9
    np.testing.assert_allclose(fit.network_.weights[0][0], [1.0, -2.0, 0.5], atol=1e-9)


@pytest.mark.parametrize("layer", [0, 1])
def test_repeated_samples_with_other_targets(layer):
    net, X, y = recipe(200, 4, 5, True)
    if layer == 1:
        net, X, y = deep_case((4, 5, 4), 100, 2)
    twice, targets = np.concatenate([X, X]), np.concatenate([y, y + 0.3])
    fit = rf.FirstLayerL1(net, layer).fit(twice, targets)
    check_descent(fit, net, twice, targets)
    assert fit.result_.stats["blocks"] <= len(X)
    assert fit.result_.status in (rf.Status.LOCAL_OPTIMUM, rf.Status.DEGENERATE)


def test_merged_loss_is_the_loss():
    """Equal samples are one block, equal (x, y) one merged sample; samples without weight are left out."""
    net, X, y = deep_case((3, 5, 4), 50, 1)
    X, y = np.concatenate([X, X, X[:7]]), np.concatenate([y, y + 0.3, y[:7]])
    weights = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    for layer in (0, 1):
        data = LayerData(L1Problem(X, y, weights), net, layer)
        kept = weights > 0
        assert len(data.targets) == len(np.unique(np.column_stack([X, y])[kept], axis=0))
        assert len(data.inputs) <= len(np.unique(X[kept], axis=0))
        assert data.weights.sum() == weights.sum()
        theta = np.random.default_rng(1).standard_normal(data.n_parameters)
        expected = loss_of(with_parameters(net, layer, theta), X, y, weights)
        assert data.loss(theta) == pytest.approx(expected, rel=1e-12)
        np.testing.assert_array_equal(data.parameters(), parameters(net, layer).ravel())
        np.testing.assert_array_equal(data.merged(np.flatnonzero(~kept)), -1)
        np.testing.assert_array_equal(data.targets[data.merged(np.flatnonzero(kept))], y[kept])


def test_repeating_a_sample_is_doubling_its_weight():
    net, X, y = recipe(200, 4, 5, False)
    heavy = rf.FirstLayerL1(net).fit(X, y, np.where(np.arange(200) < 50, 2.0, 1.0))
    repeated = rf.FirstLayerL1(net).fit(np.concatenate([X, X[:50]]), np.concatenate([y, y[:50]]))
    np.testing.assert_array_equal(heavy.network_.weights[0], repeated.network_.weights[0])
    assert heavy.loss_ == pytest.approx(repeated.loss_, rel=1e-12)


def test_dead_layer_comes_to_life():
    """No unit is on for any sample, so that the gradient is zero: only the kinks lead on."""
    net, X, y = recipe(200, 4, 5, True)
    dead = rf.ReLUNetwork(net.weights, [net.biases[0] - 1000.0, net.biases[1]])
    fit = rf.FirstLayerL1(dead).fit(X, y)
    check_descent(fit, dead, X, y)
    assert fit.loss_ < 0.9 * fit.losses_[0]


def test_start_where_all_kinks_meet():
    net, X, y = recipe(200, 4, 5, True)
    zero = rf.ReLUNetwork([np.zeros((5, 4)), net.weights[1]], [np.zeros(5), net.biases[1]])
    fit = rf.FirstLayerL1(zero).fit(X, y)
    check_descent(fit, zero, X, y)
    assert fit.loss_ < 0.9 * fit.losses_[0]


def test_inputs_that_depend_on_each_other_leave_invariant_directions():
    net, X, y = recipe(100, 3, 3, True)
    wide = rf.ReLUNetwork([np.column_stack([net.weights[0], np.ones(3)]), net.weights[1]], net.biases)
    copied = np.column_stack([X, X[:, 0]])
    fit = rf.FirstLayerL1(wide).fit(copied, y)
    check_descent(fit, wide, copied, y)
    if fit.certificate_ is not None:
        assert fit.certificate_.invariant.shape == (3, 15)


def test_more_walks_are_never_worse_and_repeatable():
    net, X, y = recipe(200, 4, 5, False)
    losses = [rf.FirstLayerL1(net, n_walks=4).fit(X, y).loss_ for _ in range(2)]
    assert losses[0] == losses[1]
    assert losses[0] < 0.995 * rf.FirstLayerL1(net, n_walks=1).fit(X, y).loss_


def test_limits_end_the_walk_with_what_it_has():
    net, X, y = recipe(1000, 5, 10, True)
    early = rf.FirstLayerL1(net, max_moves=200).fit(X, y)
    assert early.result_.status is rf.Status.ITERATION_LIMIT
    assert early.certificate_ is None
    assert len(early.losses_) <= 202
    assert early.loss_ < 0.8 * early.losses_[0]
    assert np.diff(early.losses_).max() <= 1e-9 * early.losses_[0]
    assert rf.FirstLayerL1(net, time_limit=1e-9).fit(X, y).result_.status is rf.Status.TIME_LIMIT


class Stopper:
    def __init__(self):
        self.events = []

    def event(self, stage, value, bound, elapsed, **counts):
        self.events.append((stage, value, counts))

    def should_stop(self):
        return True


def test_monitor_hears_and_stops():
    net, X, y = recipe(1000, 5, 10, True)
    stopper = Stopper()
    fit = rf.FirstLayerL1(net).fit(X, y, callback=stopper)
    assert fit.result_.status in (rf.Status.INTERRUPTED, rf.Status.LOCAL_OPTIMUM)
    assert stopper.events
    assert {"walk", "layer"} >= {stage for stage, _, _ in stopper.events}
    assert np.isfinite([value for _, value, _ in stopper.events]).all()


def test_result_survives_pickling():
    net, X, y = recipe(200, 4, 5, True)
    result = rf.FirstLayerL1(net).fit(X, y).result_
    again = pickle.loads(pickle.dumps(result))
    assert again.certificate.problem is None
    assert rf.verify(again, problem=rf.L1Problem(X, y))
    assert not rf.verify(again, problem=rf.L1Problem(X, y + 1.0))
    with pytest.raises(ValueError, match="read-only"):
        again.losses[0] = 0.0


def test_predict_is_the_trained_network():
    net, X, y = recipe(200, 4, 5, True)
    fit = rf.FirstLayerL1(net).fit(X, y)
    assert fit.predict(X).shape == (200,)
    assert np.abs(fit.predict(X) - y).sum() == pytest.approx(fit.loss_)
    assert fit.predict(X[0]) == pytest.approx(fit.predict(X)[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X": np.full((200, 4), np.nan)}, "NaN"),
        ({"y": np.full(200, np.inf)}, "NaN"),
        ({"y": np.zeros(199)}, "entries"),
        ({"y": np.zeros((200, 2))}, "dimension"),
        ({"X": np.zeros((200, 3))}, "columns"),
        ({"X": np.zeros((0, 4)), "y": np.zeros(0)}, "at least one"),
        ({"sample_weight": np.zeros(200)}, "not zero"),
        ({"sample_weight": -np.ones(200)}, "non-negative"),
        ({"layer": 2}, "layer"),
        ({"layer": -1}, "layer"),
        ({"layer": 0.0}, "integer"),
        ({"n_walks": 0}, "n_walks"),
        ({"max_moves": 0}, "max_moves"),
        ({"time_limit": -1.0}, "time_limit"),
        ({"net": "network"}, "ReLUNetwork"),
        ({"net": rf.ReLUNetwork([np.ones((2, 4)), np.ones((2, 2))], [np.zeros(2)] * 2)}, "one output"),
        ({"net": rf.ReLUNetwork([np.zeros((0, 4)), np.zeros((1, 0))], [np.zeros(0), np.zeros(1)])}, "no units"),
    ],
)
def test_bad_input_is_refused(change, words):
    net, X, y = recipe(200, 4, 5, True)
    given = {"net": net, "X": X, "y": y, "layer": 0, "n_walks": 1, "sample_weight": None, **change}
    options = {k: v for k, v in given.items() if k not in ("net", "X", "y", "sample_weight")}
    with pytest.raises(rf.ProblemError, match=words):
        rf.FirstLayerL1(given["net"], **options).fit(given["X"], given["y"], given["sample_weight"])

"""The training problem: canonical data, the objective, networks in its coordinates, and what it refuses."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import small, targets_for

from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import FREE_BIAS_SCALE, ConvexReLUProblem

LOSSES = ("squared", "logistic", "squared_hinge", "multinomial")


def problem_of(loss="squared", seed=0, **switches):
    X, y = small(seed)
    return ConvexReLUProblem(X, targets_for(loss, y), 0.1, loss, **switches)


def network_for(problem, seed=0, width=5, intercept=True):
    rng = np.random.default_rng(seed)
    bias = rng.standard_normal(width) if problem.hidden_bias is not False else np.zeros(width)
    c = rng.standard_normal(problem.n_outputs) * intercept
    return ReLUNetwork(
        [rng.standard_normal((width, problem.n_features)), rng.standard_normal((problem.n_outputs, width))], [bias, c]
    )


# -- canonical data ---------------------------------------------------------------------------------------------------


def test_rows_of_zero_weight_leave_no_trace():
    X, y = small()
    weight = np.ones(len(y))
    weight[[2, 7]] = 0.0
    kept = weight > 0
    whole = ConvexReLUProblem(X, y, 0.1, sample_weight=weight)
    assert whole.digest == ConvexReLUProblem(X[kept], y[kept], 0.1).digest
    assert set(whole.source_rows) == set(np.flatnonzero(kept))


def test_a_target_of_zero_weight_may_be_a_class_nobody_has():
    X, y = small()
    labels = np.where(y > 0, 1.0, -1.0)
    labels[3] = 7.0
    weight = np.ones(len(y))
    weight[3] = 0.0
    assert ConvexReLUProblem(X, labels, 0.1, "logistic", sample_weight=weight).n_outputs == 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), row=st.integers(0, 11), by=st.sampled_from([0.3, 1.0, 7.25]))
def test_repeating_a_row_is_doubling_its_weight_bit_for_bit(seed, row, by):
    X, y = small(seed)
    order = np.random.default_rng(seed).permutation(len(y) + 1)
    weight = np.full(len(y), by)
    weight[row] *= 2.0
    doubled = ConvexReLUProblem(X, y, 0.1, sample_weight=weight)
    repeated = ConvexReLUProblem(
        np.vstack([X, X[row]])[order], np.append(y, y[row])[order], 0.1, sample_weight=np.full(len(y) + 1, by)
    )
    assert doubled.digest == repeated.digest
    np.testing.assert_array_equal(doubled.weights, repeated.weights)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_order_of_rows_does_not_matter_even_among_repeated_rows(seed):
    rng = np.random.default_rng(seed)
    X, y = small(seed, n=4)
    rows = rng.integers(0, 4, 12)
    weight = rng.uniform(0.1, 1.0, 12)
    order = rng.permutation(12)
    one = ConvexReLUProblem(X[rows], y[rows], 0.1, sample_weight=weight)
    other = ConvexReLUProblem(X[rows][order], y[rows][order], 0.1, sample_weight=weight[order])
    assert one.digest == other.digest


def test_negative_zero_is_zero():
    X = np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, -1.0]])
    problem = ConvexReLUProblem(X, [0.0, -0.0, 1.0], 0.1)
    assert len(problem.design) == 2
    assert not np.signbit(problem.design[problem.design == 0]).any()


def test_equal_rows_with_different_targets_stay_apart():
    assert len(ConvexReLUProblem([[1.0], [1.0]], [0.0, 1.0], 0.1).design) == 2


def test_weights_are_normalised_and_arrays_read_only():
    problem = problem_of(sample_weight=np.arange(1.0, 13.0))
    assert problem.weights.sum() == pytest.approx(1.0, abs=1e-15)
    for array in (problem.design, problem.targets, problem.weights, problem.source_rows):
        assert not array.flags.writeable


def test_source_rows_point_at_the_data():
    X, y = small()
    problem = ConvexReLUProblem(X, y, 0.1)
    np.testing.assert_array_equal(problem.design[:, :2], X[problem.source_rows])
    np.testing.assert_array_equal(problem.targets[:, 0], y[problem.source_rows])


@pytest.mark.parametrize(("hidden_bias", "columns"), [(True, 3), (False, 2), ("free", 3)])
def test_design_has_the_bias_column(hidden_bias, columns):
    problem = problem_of(hidden_bias=hidden_bias)
    assert problem.design.shape[1] == columns
    if hidden_bias == "free":
        assert problem.bias_column == pytest.approx(FREE_BIAS_SCALE * np.linalg.norm(small()[0], axis=1).max())


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.2},
        {"loss": "squared_hinge"},
        {"hidden_bias": False},
        {"fit_intercept": False},
        {"output_penalty": "l1"},
        {"sample_weight": np.arange(1.0, 13.0)},
    ],
)
def test_digest_tells_every_switch(change):
    X, y = small()
    given_ = {"X": X, "y": np.sign(y), "alpha": 0.1}
    assert ConvexReLUProblem(**given_).digest != ConvexReLUProblem(**{**given_, **change}).digest


def test_digest_survives_pickling():
    problem = problem_of()
    assert pickle.loads(pickle.dumps(problem)).digest == problem.digest


def test_with_alpha_changes_alpha_only():
    problem = problem_of()
    before = problem.digest
    other = problem.with_alpha(0.5)
    assert other.alpha == 0.5
    assert problem.alpha == 0.1
    assert other.digest == ConvexReLUProblem(*small(), 0.5).digest != before
    with pytest.raises(ProblemError, match="alpha"):
        problem.with_alpha(0.0)


# -- the objective ----------------------------------------------------------------------------------------------------


def direct_objective(X, y, network, alpha, loss, hidden_bias, output_penalty, weight):
    """F by its definition, a sample and a neuron at a time."""
    total = 0.0
    f = network(X)
    for i in range(len(X)):
        if loss == "squared":
            term = 0.5 * np.sum((f[i] - y[i]) ** 2)
        elif loss == "logistic":
            term = np.log1p(np.exp(-y[i] * f[i, 0]))
        elif loss == "squared_hinge":
            term = 0.5 * max(0.0, 1 - y[i] * f[i, 0]) ** 2
        else:
            term = np.log(np.exp(f[i]).sum()) - f[i, y[i]]
        total += weight[i] / weight.sum() * term
    order = 1 if output_penalty == "l1" else 2
    for w, b, a in zip(network.weights[0], network.biases[0], network.weights[1].T, strict=True):
        inner = np.append(w, b) if hidden_bias is True else w
        total += alpha * np.linalg.norm(inner) * np.linalg.norm(a, order)
    return total


@pytest.mark.parametrize("hidden_bias", [True, False, "free"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output_penalty", ["l2", "l1"])
def test_objective_against_the_formula(loss, hidden_bias, output_penalty):
    X, y = small(outputs=2) if loss == "squared" else small()
    y = y if loss == "squared" else targets_for(loss, y)
    weight = np.random.default_rng(1).uniform(0.0, 2.0, len(y))
    weight[4] = 0.0
    problem = ConvexReLUProblem(X, y, 0.3, loss, hidden_bias, output_penalty=output_penalty, sample_weight=weight)
    network = network_for(problem)
    expected = direct_objective(X, y, network, 0.3, loss, hidden_bias, output_penalty, weight)
    assert problem.objective(network) == pytest.approx(expected, rel=1e-12)
    assert problem.objective(network) == pytest.approx(
        problem.loss_value(problem.fit(network)) + 0.3 * problem.penalty(network), rel=1e-15
    )


def test_one_vs_rest_squared_hinge():
    X, y = small()
    codes = targets_for("multinomial", y)
    problem = ConvexReLUProblem(X, codes, 0.3, "squared_hinge")
    network = network_for(problem)
    signs = np.where(codes[:, None] == np.arange(3), 1.0, -1.0)
    loss = 0.5 * (np.maximum(0, 1 - signs * network(X)) ** 2).sum(axis=1).mean()
    assert problem.objective(network) == pytest.approx(loss + 0.3 * problem.penalty(network), rel=1e-13)


def test_objective_under_l1_is_the_sum_of_one_output_problems():
    X, y = small(outputs=3)
    problem = ConvexReLUProblem(X, y, 0.1, output_penalty="l1")
    network = network_for(problem)
    w, a, c = problem.neurons(network)
    parts = [problem.output(k).objective(problem.output(k).network(w, a[:, [k]], c[[k]])) for k in range(3)]
    assert problem.objective(network) == pytest.approx(sum(parts), rel=1e-12)
    with pytest.raises(ProblemError, match="separate"):
        problem_of("multinomial").output(0)


@pytest.mark.parametrize("loss", LOSSES)
def test_null_model_is_the_best_constant(loss):
    problem = problem_of(loss)
    empty = problem.network(np.empty((0, 3)), np.empty((0, problem.n_outputs)), problem.null_intercept)
    assert problem.objective(empty) == pytest.approx(problem.null_value, rel=1e-14)
    np.testing.assert_allclose(problem.null_theta.sum(axis=0), 0.0, atol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        c = problem.null_intercept + 0.1 * rng.standard_normal(problem.n_outputs)
        assert problem.null_value <= problem.loss_value(np.zeros_like(problem.targets) + c) + 1e-15


def test_without_an_intercept_the_null_model_is_zero():
    problem = problem_of(fit_intercept=False)
    assert problem.null_intercept == np.zeros(1)
    assert problem.null_value == pytest.approx(0.5 * (small()[1] ** 2).mean(), rel=1e-14)


# -- networks ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    hidden_bias=st.sampled_from([True, False, "free"]),
    output_penalty=st.sampled_from(["l1", "l2"]),
)
def test_neurons_and_network_are_inverse_and_balanced(seed, hidden_bias, output_penalty):
    X, y = small(seed, outputs=2)
    problem = ConvexReLUProblem(X, y, 0.1, hidden_bias=hidden_bias, output_penalty=output_penalty)
    network = network_for(problem, seed)
    balanced = problem.network(*problem.neurons(network))
    np.testing.assert_allclose(balanced(X), network(X), atol=1e-12)
    assert problem.objective(balanced) == pytest.approx(problem.objective(network), rel=1e-12)
    w, a, _ = problem.neurons(balanced)
    inner = w[:, :2] if hidden_bias == "free" else w
    order = 1 if output_penalty == "l1" else 2
    np.testing.assert_allclose(np.linalg.norm(inner, axis=1), np.linalg.norm(a, order, axis=1), rtol=1e-12)


def test_dead_neurons_cost_nothing():
    problem = problem_of()
    network = problem.network(np.array([[1.0, 0, 0], [0, 0, 0]]), np.array([[0.0], [2.0]]), np.zeros(1))
    assert np.isfinite(network.weights[0]).all()
    assert problem.penalty(network) == 0.0


@pytest.mark.parametrize(
    ("switches", "network", "message"),
    [
        ({}, ReLUNetwork([np.ones((2, 3)), np.ones((1, 2))], [np.zeros(2), np.zeros(1)]), "2 -> width -> 1"),
        ({}, ReLUNetwork([np.ones((2, 2)), np.ones((2, 2))], [np.zeros(2), np.zeros(2)]), "2 -> width -> 1"),
        ({}, ReLUNetwork([np.ones((1, 2))], [np.zeros(1)]), "one hidden layer"),
        ({}, ReLUNetwork([np.ones((2, 2)), np.ones((1, 2))], [np.zeros(2), np.zeros(1)], [(0.1, 1)]), "slopes"),
        (
            {"hidden_bias": False},
            ReLUNetwork([np.ones((2, 2)), np.ones((1, 2))], [np.ones(2), np.zeros(1)]),
            "hidden_bias=False",
        ),
        (
            {"fit_intercept": False},
            ReLUNetwork([np.ones((2, 2)), np.ones((1, 2))], [np.ones(2), np.ones(1)]),
            "fit_intercept=False",
        ),
    ],
)
def test_networks_that_do_not_fit_are_refused(switches, network, message):
    with pytest.raises(ProblemError, match=message):
        problem_of(**switches).objective(network)


# -- bad input --------------------------------------------------------------------------------------------------------

GOOD = {"X": [[0.0], [1.0], [2.0]], "y": [0.0, 1.0, 0.5], "alpha": 0.1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": [[0.0], [np.nan], [2.0]]}, "NaN"),
        ({"X": [[0.0], [np.inf], [2.0]]}, "NaN or infini"),
        ({"X": [0.0, 1.0, 2.0]}, "2 dimension"),
        ({"X": [["a"], ["b"], ["c"]]}, "X must be an array of real numbers"),
        ({"X": [[1j], [0], [0]]}, "real"),
        ({"X": np.empty((0, 2)), "y": []}, "at least one sample"),
        ({"X": np.empty((3, 0))}, "one feature"),
        ({"y": [0.0, 1.0]}, "3 rows"),
        ({"y": 1.0}, "3 rows"),
        ({"y": np.zeros((3, 1, 1))}, "3 rows"),
        ({"y": np.empty((3, 0))}, "output"),
        ({"y": [0.0, np.nan, 1.0]}, "NaN"),
        ({"y": [0.0, np.inf, 1.0]}, "NaN or infini"),
        ({"y": ["a", "b", "c"]}, "numbers"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": np.nan}, "alpha"),
        ({"alpha": np.inf}, "alpha"),
        ({"alpha": "0.1"}, "alpha"),
        ({"alpha": True}, "alpha"),
        ({"alpha": None}, "alpha"),
        ({"loss": "hinge"}, "Unknown loss"),
        ({"loss": None}, "Unknown loss"),
        ({"loss": ["squared"]}, "Unknown loss"),
        ({"hidden_bias": "yes"}, "hidden_bias"),
        ({"hidden_bias": "free", "fit_intercept": False}, "well-posed"),
        ({"output_penalty": "l3"}, "output_penalty"),
        ({"sample_weight": [1.0, -1.0, 1.0]}, "non-negative"),
        ({"sample_weight": [0.0, 0.0, 0.0]}, "positive weight"),
        ({"sample_weight": [1.0, 1.0]}, "sample_weight"),
        ({"sample_weight": [1.0, np.nan, 1.0]}, "sample_weight"),
        ({"sample_weight": [[1.0], [1.0], [1.0]]}, "sample_weight"),
        ({"loss": "logistic", "y": [1.0, 1.0, 1.0]}, "two classes"),
        ({"loss": "logistic", "y": [1.0, -1.0, -1.0], "sample_weight": [0.0, 1.0, 1.0]}, "two classes"),
        ({"loss": "multinomial", "y": [0, 1, 1]}, "three or more"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ProblemError, match=message):
        ConvexReLUProblem(**{**GOOD, **change})


def test_inputs_are_not_written_to():
    X, y = small()
    before = X.copy()
    ConvexReLUProblem(X, y, 0.1)
    np.testing.assert_array_equal(X, before)
    assert X.flags.writeable

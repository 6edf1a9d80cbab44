"""Pruning of networks: cases with known widths, planted dependences, what never changes, and what is refused."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import FIXED_PROGRAMS, PLAIN, T1_LAMBDA_MAX, T1_OPTIMA, small, t1, table
from quick import solve_convex_relu

import rectifold as rf
from rectifold.core.errors import ProblemError, UnsupportedNetworkError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.pruning.prune import prune
from rectifold.training.convex.restricted.patterns import all_patterns, sample_patterns


def random_network(seed=0, width=30, d=3, outputs=1, offset=True):
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((width, d)), rng.standard_normal((outputs, width))]
    return rf.ReLUNetwork(weights, [rng.standard_normal(width), np.full(outputs, float(offset))])


def penalty(network, hidden_bias=True, order=2):
    hidden = np.column_stack([network.weights[0], network.biases[0]]) if hidden_bias is True else network.weights[0]
    return float(np.linalg.norm(hidden, axis=1) @ np.linalg.norm(network.weights[1], ord=order, axis=0))


def is_minimal(network, X, offset=None):
    """Whether the columns ``(X w_j)_+ a_j'``, and those of the free offsets, are independent."""
    outputs = network.n_outputs
    offset = bool(network.biases[1].any()) if offset is None else offset
    hidden = np.maximum(X @ network.weights[0].T + network.biases[0], 0.0)
    if network.widths[0] == 0:
        return True
    columns = (hidden[:, None, :] * network.weights[1]).reshape(-1, network.widths[0])
    columns = columns / np.linalg.norm(columns, axis=0)
    if offset:
        columns = np.hstack([columns, np.tile(np.eye(outputs), (len(X), 1))])
    return np.linalg.matrix_rank(columns, tol=1e-9) == columns.shape[1]


# -- known widths --


def test_t1_has_a_minimal_optimum_of_seven_neurons():
    X, y = t1()
    alpha = 0.01 * T1_LAMBDA_MAX / 10
    result = solve_convex_relu(X, y, alpha, all_patterns(X), tol=1e-12, **PLAIN)
    problem = ConvexReLUProblem(X, y, alpha, **PLAIN)
    assert result.solution.widths[0] > 7
    pruned = prune(result, smallest=True)
    assert pruned.width == 7
    assert pruned.is_smallest
    assert problem.objective(pruned.network) == pytest.approx(result.value, rel=1e-12)
    assert 10 * pruned.objective == pytest.approx(T1_OPTIMA[0.01], rel=1e-9)
    assert is_minimal(pruned.network, X)
    assert prune(pruned.network, X, y, alpha=alpha).width == 7


def test_of_an_optimal_set_the_smallest_of_all_optima_is_found():
    X, y = t1()
    alpha = 0.01 * T1_LAMBDA_MAX / 10
    optima = rf.optimal_set(solve_convex_relu(X, y, alpha, all_patterns(X), tol=1e-12, **PLAIN))
    pruned = prune(optima, smallest=True)
    assert pruned.given.widths == (10,)
    assert pruned.width == pruned.width_bound == 7
    assert optima.contains(pruned.network)
    with pytest.raises(ProblemError, match="has its data"):
        prune(optima, X, y)


@pytest.mark.parametrize("program", FIXED_PROGRAMS[:2], ids=str)
def test_below_the_minimal_width_the_objective_is_no_higher_than_printed(program):
    printed = {0.1: {8: 1.0015, 5: 1.0115, 3: 1.0395}, 0.01: {18: 1.0305, 9: 1.185}}[program.fraction]
    X, y = table(program.data)
    patterns = sample_patterns(X, 100, 0)
    result = solve_convex_relu(X, y, program.penalty / len(y), patterns, tol=1e-10, **PLAIN)
    pruned = prune(result, continue_to=2)
    assert pruned.width == program.active
    problem = ConvexReLUProblem(X, y, program.penalty / len(y), **PLAIN)
    for width, ratio in printed.items():
        network = pruned.at_width(width)
        assert network.widths[0] <= width
        assert len(y) * problem.objective(network) <= ratio * program.optimum
    trace = pruned.trace
    last = trace.objective[np.flatnonzero(trace.width == 2)[-1]]
    assert problem.objective(pruned.at_width(2)) == pytest.approx(last, rel=1e-12)


def planted(seed, n=80, d=3, base=12, splits=8, pairs=10):
    """Splits, antipodal pairs, units dead on the samples and one that a split has left with nothing to say."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    unit = rng.standard_normal((base + pairs, d + 1)) * np.r_[np.ones(d), 0.2]  # no unit is on everywhere
    hidden = np.vstack([unit, -unit[base:] * rng.uniform(0.5, 2.0, (pairs, 1))])
    output = rng.standard_normal(len(hidden))
    chosen = rng.choice(base, splits, replace=False)
    hidden = np.vstack([hidden, hidden[chosen] * 3.0, np.append(rng.standard_normal(d), -100.0)])
    output = np.concatenate([output, output[chosen] * 0.5, [1.0]])
    return rf.ReLUNetwork([hidden[:, :d], output[None]], [hidden[:, d], np.zeros(1)]), X, base + pairs + d + 1


@pytest.mark.parametrize("seed", range(5))
def test_planted_dependences_are_found(seed):
    network, X, width = planted(seed)
    pruned = prune(network, X)
    assert pruned.width == width
    assert pruned.stats["merged"] == network.widths[0] - 8
    stages = pruned.trace.stage
    assert [stages.count(s) for s in ("merged", "unused", "exact")] == [8, 1, 10 - 3 - 1]
    assert is_minimal(pruned.network, X)
    np.testing.assert_allclose(pruned.network(X), network(X), rtol=0, atol=1e-11)


def test_an_offset_takes_constants_for_free():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 2))
    hidden, bias = np.vstack([rng.standard_normal((3, 2)), np.zeros((1, 2))]), np.array([0.1, 0.2, 0.3, 2.0])
    with_offset = rf.ReLUNetwork([hidden, np.ones((1, 4))], [bias, np.ones(1)])
    without = rf.ReLUNetwork([hidden, np.ones((1, 4))], [bias, np.zeros(1)])
    assert prune(with_offset, X).width == 3
    assert prune(with_offset, X).network.biases[1] == pytest.approx([3.0])
    assert prune(without, X).width == 4
    assert prune(without, X).network.biases[1] == 0.0
    assert prune(without, X, fit_intercept=True).width == 3


def test_pairs_of_opposite_sign_cancel():
    network = rf.ReLUNetwork([[[1.0], [2.0], [1.0]], [[1.0, -0.5, 1.0]]], [np.zeros(3), np.zeros(1)])
    pruned = prune(network, [[1.0], [2.0], [-1.0]])
    assert pruned.width == 1
    np.testing.assert_allclose(pruned.network([[3.0]]), [[3.0]])
    nothing = rf.ReLUNetwork([[[1.0], [2.0]], [[1.0, -0.5]]], [np.zeros(2), np.zeros(1)])
    assert prune(nothing, [[1.0]], smallest=True, continue_to=1).width == 0


def test_other_slopes_keep_the_function():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((12, 2))
    slopes = [(rng.choice([-1.0, 0.0, 0.1, 1.0], 40), 1.0)]
    network = rf.ReLUNetwork(
        [rng.standard_normal((40, 2)), rng.standard_normal((1, 40))], [np.zeros(40), np.zeros(1)], slopes
    )
    pruned = prune(network, X)
    assert pruned.width <= 12
    np.testing.assert_allclose(pruned.network(X), network(X), atol=1e-11)


# -- what never changes --


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 40),
    n=st.integers(1, 25),
    d=st.integers(1, 4),
    outputs=st.integers(1, 3),
    offset=st.booleans(),
    norm=st.sampled_from(["l2", "l1"]),
)
def test_fit_stays_penalty_never_rises_and_the_support_is_minimal(seed, width, n, d, outputs, offset, norm):
    network = random_network(seed, width, d, outputs, offset)
    X = np.random.default_rng(seed + 1).standard_normal((n, d))
    pruned = prune(network, X, output_penalty=norm, continue_to=1)
    order = {"l2": 2, "l1": 1}[norm]
    scale = np.abs(network(X)).max() + penalty(network)
    np.testing.assert_allclose(pruned.network(X), network(X), rtol=0, atol=1e-9 * scale)
    assert penalty(pruned.network, order=order) <= penalty(network, order=order) * (1 + 1e-9)
    assert pruned.penalty == pytest.approx(penalty(pruned.network, order=order), rel=1e-12)
    assert is_minimal(pruned.network, X, offset)
    again = prune(pruned.network, X, output_penalty=norm, fit_intercept=offset)
    assert again.width == pruned.width
    assert again.penalty == pytest.approx(pruned.penalty, rel=1e-8)
    trace = pruned.trace
    assert trace.width[0] == width
    assert (np.diff(trace.width) <= 0).all()
    exact = [stage != "approximate" for stage in trace.stage]
    assert (np.diff(trace.penalty[exact]) <= 1e-9 * penalty(network, order=order)).all()
    assert trace.width[exact][-1] == pruned.width
    assert trace.width[-1] == min(pruned.width, 1)


def test_entries_of_the_trace_name_every_removed_neuron_once():
    network, X, _ = planted(0)
    trace = prune(network, X, continue_to=1).trace
    named = trace.removed[trace.removed >= 0]
    assert len(set(named)) == len(named) or "exchanged" in trace.stage
    single = [i for i, s in enumerate(trace.stage) if s in ("merged", "unused", "exact", "approximate")]
    assert all(trace.width[i] == trace.width[i - 1] - 1 for i in single)
    assert (np.array(trace.fit_error)[[s != "approximate" for s in trace.stage]] <= 1e-10).all()


def test_the_cheapest_vertex_is_cheaper_than_the_first():
    network = random_network(5, 60, 2)
    X = np.random.default_rng(0).standard_normal((15, 2))
    pruned = prune(network, X)
    before = pruned.trace.penalty[[s == "exact" for s in pruned.trace.stage]][-1]
    assert pruned.stats["exchanges"] > 0
    assert pruned.penalty < before


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
@pytest.mark.parametrize("hidden_bias", [True, "free"])
def test_a_trained_network_keeps_its_objective(loss, hidden_bias):
    X, y = small(1, n=15)
    y = y if loss == "squared" else np.where(y > 0.5, 1.0, -1.0)
    result = solve_convex_relu(X, y, 3e-3, loss=loss, hidden_bias=hidden_bias, certify=False, tol=1e-8)
    split = doubled(result.solution)
    problem = ConvexReLUProblem(X, y, 3e-3, loss=loss, hidden_bias=hidden_bias)
    pruned = prune(split, X, y, alpha=3e-3, loss=loss, hidden_bias=hidden_bias)
    assert pruned.width <= result.solution.widths[0]
    assert problem.objective(pruned.network) <= result.value * (1 + 1e-10)
    assert pruned.objective == pytest.approx(problem.objective(pruned.network), rel=1e-12)
    assert prune(result, X, y, loss=loss, hidden_bias=hidden_bias, alpha=3e-3).width == pruned.width


def doubled(network):
    """Every neuron split in two."""
    hidden, output = (np.repeat(w, 2, axis=axis) for w, axis in zip(network.weights, (0, 1), strict=True))
    share = np.tile([0.3, 0.7], network.widths[0])
    return rf.ReLUNetwork([hidden, output * share], [np.repeat(network.biases[0], 2), network.biases[1]])


def test_sample_weights_of_zero_do_not_bind():
    network = random_network(0, 20, 2)
    X = np.random.default_rng(1).standard_normal((30, 2))
    weight = np.r_[np.ones(8), np.zeros(22)]
    pruned = prune(network, X, sample_weight=weight)
    assert pruned.width <= 8
    np.testing.assert_allclose(pruned.network(X[:8]), network(X[:8]), atol=1e-11)
    assert prune(network, X).width > 8


# -- solutions --


def test_estimators_bring_their_data():
    X, y = small(2, n=25)
    est = rf.ConvexReLURegressor(alpha=0.01, certify=False).fit(X, y)
    pruned = rf.prune(est)
    assert pruned.objective == pytest.approx(est.objective_, rel=1e-10)
    assert pruned.stats["own_gap"] <= 1e-6
    assert rf.prune(est, X, y).width == pruned.width
    stored = pickle.loads(pickle.dumps(est))
    with pytest.raises(ProblemError, match="X and y"):
        rf.prune(stored)
    assert rf.prune(stored, X, y).width == pruned.width


def test_classifiers_take_their_labels():
    X, y = small(2, n=25)
    labels = np.where(y > 0.5, "yes", "no")
    est = rf.ConvexReLUClassifier(alpha=0.01, certify=False).fit(X, labels)
    pruned = rf.prune(est, X, labels)
    assert pruned.objective == pytest.approx(est.objective_, rel=1e-10)
    with pytest.raises(ProblemError, match="not among the classes"):
        rf.prune(est, X, np.where(y > 0.5, "yes", "maybe"))


def test_other_data_are_refused_with_both_objectives():
    X, y = small(2, n=25)
    est = rf.ConvexReLURegressor(alpha=0.01, certify=False).fit(X, y)
    with pytest.raises(ProblemError, match=r"not the data of the fit: .* objective on them is 0\.\d+ instead of 0\."):
        rf.prune(est, X, y + 0.1)


def test_an_inexact_solution_is_refused_with_its_gap():
    X, y = small(4, n=40, d=2)
    problem = ConvexReLUProblem(X, y, 0.01)
    w, a, c = problem.neurons(solve_convex_relu(X, y, 0.01, tol=1e-9, certify=False).solution)
    rough = doubled(problem.network(w, a * np.linspace(0.95, 1.05, len(a))[:, None], c))
    inexact = rf.Result(rough, problem.objective(rough))
    with pytest.raises(ProblemError, match=r"relative duality gap of 0\.\d+ over its own neurons, above gap_tol=1e-05"):
        prune(inexact, X, y, alpha=0.01)
    plain = prune(rough, X, y, alpha=0.01)
    assert plain.width <= len(a)
    assert plain.objective <= problem.objective(rough) * (1 + 1e-9)
    assert prune(inexact, X, y, alpha=0.01, gap_tol=0.99).width == plain.width
    with pytest.raises(ProblemError, match="alpha"):
        prune(inexact, X, y)


# -- refusals --


@pytest.mark.parametrize(
    ("error", "message", "kwargs"),
    [
        (ProblemError, "X is needed", {"X": None}),
        (ProblemError, r"X must have shape \(n, 3\)", {"X": np.zeros((4, 2))}),
        (ProblemError, "NaN", {"X": np.full((4, 3), np.nan)}),
        (ProblemError, "n > 0", {"X": np.zeros((0, 3))}),
        (ProblemError, "hidden biases", {"hidden_bias": False}),
        (ProblemError, "intercept", {"hidden_bias": "free", "fit_intercept": False}),
        (ProblemError, "output_penalty", {"output_penalty": "l3"}),
        (ProblemError, "needs y", {"alpha": 0.1}),
        (ProblemError, "alpha must be positive", {"alpha": 0.0, "y": np.zeros(4)}),
        (ProblemError, "4 rows", {"y": np.zeros(5)}),
        (ProblemError, "output", {"y": np.zeros((4, 2))}),
        (ProblemError, "loss", {"y": np.zeros(4), "loss": "absolute"}),
        (ProblemError, "sample_weight", {"sample_weight": -np.ones(4)}),
        (ProblemError, "continue_to", {"continue_to": 0}),
        (ProblemError, "continue_to", {"continue_to": 1.5}),
        (ProblemError, "tol", {"tol": 0.0}),
        (ProblemError, "gap_tol", {"gap_tol": -1.0}),
        (ProblemError, "time_limit", {"time_limit": -1.0}),
    ],
)
def test_bad_input(error, message, kwargs):
    with pytest.raises(error, match=message):
        prune(random_network(), **{"X": np.ones((4, 3)), **kwargs})


def test_objects_that_are_not_two_layer_networks():
    deep = rf.ReLUNetwork([np.ones((2, 1)), np.ones((2, 2)), np.ones((1, 2))], [np.zeros(2), np.zeros(2), np.zeros(1)])
    with pytest.raises(UnsupportedNetworkError, match="one hidden layer"):
        prune(deep, [[1.0]])
    with pytest.raises(UnsupportedNetworkError, match="from_torch"):
        prune("net.onnx", [[1.0]])
    with pytest.raises(UnsupportedNetworkError, match="call fit"):
        prune(rf.ConvexReLURegressor())
    X, y = small()
    gated = solve_convex_relu(X, y, 0.1, all_patterns(np.c_[X, np.ones(12)]), activation="gated")
    with pytest.raises(UnsupportedNetworkError, match="GatedModel"):
        prune(gated, X, y, alpha=0.1)


def test_widths_that_were_not_reached():
    pruned = prune(random_network(), np.random.default_rng(0).standard_normal((10, 3)), continue_to=4)
    assert pruned.at_width(pruned.width) is pruned.network
    assert pruned.at_width(4).widths[0] <= 4
    with pytest.raises(ProblemError, match="continue_to=2"):
        pruned.at_width(2)


def test_results_are_stored_whole():
    network, X, width = planted(3)
    pruned = prune(network, X, continue_to=3)
    copy = pickle.loads(pickle.dumps(pruned))
    assert copy.network.digest() == pruned.network.digest()
    assert copy.at_width(3).digest() == pruned.at_width(3).digest()
    assert f"{network.widths[0]} -> {width}" in str(copy)
    with pytest.raises(ValueError, match="read-only"):
        copy.trace.width[0] = 1

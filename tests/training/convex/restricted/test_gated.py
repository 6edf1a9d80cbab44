"""The gated program against a conic solver."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from oracles import cone_program, nuclear_program
from problems import small, targets_for
from quick import solve_convex_relu

from rectifold.core.errors import ProblemError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof, Status
from rectifold.training.convex.restricted.patterns import sample_patterns


def with_ones(X):
    return np.hstack([X, np.ones((len(X), 1))])


def gated(X, y, alpha, patterns, loss="squared", **kwargs):
    return solve_convex_relu(X, y, alpha, patterns, loss, activation="gated", **kwargs)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
def test_one_output_against_a_conic_solver(loss, fit_intercept):
    X, y = small(1, n=15)
    y = targets_for(loss, y)
    patterns = sample_patterns(with_ones(X), 8, 0)
    problem = ConvexReLUProblem(X, y, 0.02, loss, fit_intercept=fit_intercept)
    conic = cone_program(problem, patterns[problem.source_rows], gated=True)
    result = gated(X, y, 0.02, patterns, loss, fit_intercept=fit_intercept, tol=1e-7)
    assert result.status is Status.OPTIMAL
    assert result.proof is Proof.RESTRICTED
    assert result.value == pytest.approx(conic.value, rel=3e-7)
    assert result.bound <= conic.value * (1 + 1e-7)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_two_outputs_under_the_nuclear_norm(fit_intercept):
    X, y = small(2, n=12, outputs=2)
    patterns = sample_patterns(with_ones(X), 5, 0)
    problem = ConvexReLUProblem(X, y, 0.03, fit_intercept=fit_intercept)
    result = gated(X, y, 0.03, patterns, fit_intercept=fit_intercept, tol=1e-6)
    assert result.value == pytest.approx(nuclear_program(problem, patterns[problem.source_rows]), rel=2e-6)
    assert result.relative_gap <= 1e-6


def test_two_outputs_under_l1_are_one_program_each():
    X, y = small(2, n=12, outputs=2)
    patterns = sample_patterns(with_ones(X), 6, 0)
    joint = gated(X, y, 0.03, patterns, output_penalty="l1", tol=1e-7)
    parts = [gated(X, y[:, k], 0.03, patterns, tol=1e-7) for k in range(2)]
    assert joint.value == pytest.approx(sum(p.value for p in parts), rel=1e-6)


def test_multinomial_closes_its_gap():
    X, y = small(3, n=15)
    result = gated(X, targets_for("multinomial", y), 0.02, sample_patterns(with_ones(X), 6, 0), "multinomial", tol=1e-5)
    assert result.status is Status.OPTIMAL
    assert result.relative_gap <= 1e-5


@pytest.mark.parametrize("hidden_bias", [True, False])
def test_the_model_computes_what_was_optimised(hidden_bias):
    X, y = small(4, n=15)
    design = with_ones(X) if hidden_bias else X
    patterns = sample_patterns(design, 8, 0)
    result = gated(X, y, 0.02, patterns, hidden_bias=hidden_bias)
    model = result.solution
    on = X @ model.gates.T + model.gate_biases > 0
    assert {p.tobytes() for p in on.T} == {p.tobytes() for p in patterns.T}
    weights = np.concatenate([model.weights[:, :, 0], model.biases], axis=1)
    f = model(X)[:, 0]
    np.testing.assert_allclose(f, (on * (with_ones(X) @ weights.T)).sum(axis=1) + model.intercept[0], atol=1e-12)
    value = 0.5 * ((f - y) ** 2).mean() + 0.02 * np.linalg.norm(weights, axis=1).sum()
    assert result.value == pytest.approx(value, rel=1e-10)
    assert model.n_active == np.count_nonzero(np.linalg.norm(weights, axis=1))
    np.testing.assert_allclose(model(X[3]), model(X)[3], atol=1e-12)


def test_gated_bounds_the_cone_program_from_below():
    X, y = small(5, n=15)
    patterns = sample_patterns(with_ones(X), 10, 0)
    relaxed = gated(X, y, 0.02, patterns, tol=1e-7)
    constrained = solve_convex_relu(X, y, 0.02, patterns, tol=1e-7)
    # w = u - h turns a feasible pair into a gated weight that costs no more.
    assert relaxed.value <= constrained.value * (1 + 1e-7)


def test_large_penalty_gives_the_constant():
    X, y = small(6)
    result = gated(X, y, 100.0, sample_patterns(with_ones(X), 8, 0))
    assert result.solution.n_active == 0
    assert result.value == pytest.approx(y.var() / 2, rel=1e-12)


def test_models_are_read_only_also_after_pickling():
    X, y = small(7)
    model = gated(X, y, 0.02, sample_patterns(with_ones(X), 8, 0)).solution
    again = pickle.loads(pickle.dumps(model))
    for array in (model.gates, again.gates, again.weights, again.biases, again.intercept, again.gate_biases):
        assert not array.flags.writeable
    np.testing.assert_array_equal(again(X), model(X))


def test_it_needs_patterns():
    with pytest.raises(ProblemError, match="patterns"):
        gated(*small(), 0.1, None)
    with pytest.raises(ProblemError, match="activation"):
        solve_convex_relu(*small(), 0.1, activation="tanh")

"""Training on given patterns against a conic solver, for every scalar loss and switch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import cone_program, projection_norms
from problems import small, targets_for
from quick import solve_convex_relu

from rectifold.certify import verify
from rectifold.core.errors import ProblemError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof, Status
from rectifold.training.convex.alpha_max import alpha_max
from rectifold.training.convex.restricted.patterns import all_patterns, sample_patterns

SWITCHES = (
    {"hidden_bias": True, "fit_intercept": True},
    {"hidden_bias": True, "fit_intercept": False},
    {"hidden_bias": False, "fit_intercept": True},
    {"hidden_bias": False, "fit_intercept": False},
    {"hidden_bias": "free", "fit_intercept": True},
)


def design(X, hidden_bias):
    return X if hidden_bias is False else np.hstack([X, np.ones((len(X), 1))])


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: f"{s['hidden_bias']}-{s['fit_intercept']}")
@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
def test_against_a_conic_solver(loss, switches):
    X, y = small(3, n=14, d=2)
    y = targets_for(loss, y)
    patterns = sample_patterns(design(X, switches["hidden_bias"]), 12, 1)
    weight = np.random.default_rng(0).uniform(0.2, 2.0, len(y))
    everything = {"loss": loss, "sample_weight": weight, **switches}
    alpha = 0.1 * alpha_max(X, y, patterns, **everything)
    problem = ConvexReLUProblem(X, y, alpha, **everything)
    conic = cone_program(problem, patterns[problem.source_rows])
    result = solve_convex_relu(X, y, alpha, patterns, tol=1e-7, certify=False, **everything)
    assert result.status is Status.OPTIMAL
    assert result.proof is Proof.RESTRICTED
    # A free bias is penalised a little, at most 5e-7 of the penalty: see ConvexReLUProblem.
    slack = 1e-6 if switches["hidden_bias"] == "free" else 3e-7
    assert result.value == pytest.approx(conic.value, rel=slack)
    assert result.bound <= conic.value * (1 + 1e-8)
    assert result.value - result.bound <= slack * result.value


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), fraction=st.sampled_from([0.5, 0.1, 0.02]), n=st.integers(2, 15))
def test_random_programs_are_solved_to_a_gap_that_an_independent_projection_confirms(seed, fraction, n):
    X, y = small(seed, n=n, d=3)
    patterns = sample_patterns(X, 10, seed)
    switches = {"hidden_bias": False, "fit_intercept": False}
    largest = alpha_max(X, y, patterns, **switches)
    assert n * largest == pytest.approx(projection_norms(X, patterns, y).max(), rel=1e-9)
    result = solve_convex_relu(X, y, fraction * largest, patterns, tol=1e-6, **switches)
    problem = ConvexReLUProblem(X, y, fraction * largest, **switches)
    assert problem.objective(result.solution) == pytest.approx(result.value, rel=1e-13)
    theta = problem.theta(problem.fit(result.solution))[:, 0]
    size = projection_norms(problem.design, patterns[problem.source_rows], theta).max()
    t = problem.loss.best_scale(theta[:, None], problem.targets, problem.weights, problem.alpha / size)
    bound = problem.loss.dual_value(t * theta[:, None], problem.targets, problem.weights)
    assert result.value - bound <= 2e-6 * result.value


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
def test_neurons_stay_in_the_closed_cones_of_the_patterns(loss):
    X, y = small(5, n=20, d=3)
    patterns = sample_patterns(X, 15, 2)
    y = targets_for(loss, y)
    result = solve_convex_relu(X, y, 5e-3, patterns, loss, hidden_bias=False, tol=1e-7)
    assert result.status is Status.OPTIMAL
    assert result.solution.widths[0] > 0
    for w in result.solution.weights[0]:
        z = X @ (w / np.linalg.norm(w))
        signs = 2.0 * patterns - 1.0
        assert (signs * z[:, None] >= -1e-9).all(axis=0).any()


def test_certificate_of_a_restricted_program_verifies():
    X, y = small(6)
    patterns = sample_patterns(design(X, True), 10, 0)
    result = solve_convex_relu(X, y, 0.01, patterns)
    verdict = verify(result, problem=ConvexReLUProblem(X, y, 0.01))
    assert verdict.holds
    assert solve_convex_relu(X, y, 0.01, patterns, certify=False).certificate is None


def test_certificates_cost_nothing_in_value():
    X, y = small(6)
    patterns = sample_patterns(design(X, True), 10, 0)
    one, other = (solve_convex_relu(X, y, 0.01, patterns, certify=c) for c in (True, False))
    assert one.value == other.value
    assert one.bound == pytest.approx(other.bound, rel=1e-6)


def test_l1_outputs_are_one_program_each():
    X, y = small(7, outputs=3)
    patterns = sample_patterns(design(X, True), 12, 0)
    joint = solve_convex_relu(X, y, 0.02, patterns, output_penalty="l1", tol=1e-8)
    parts = [solve_convex_relu(X, y[:, k], 0.02, patterns, tol=1e-8) for k in range(3)]
    assert joint.value == pytest.approx(sum(p.value for p in parts), rel=1e-7)
    assert np.count_nonzero(joint.solution.weights[1], axis=0).max() == 1
    for k, part in enumerate(parts):
        np.testing.assert_allclose(joint.solution(X)[:, k], part.solution(X)[:, 0], atol=1e-3)


def test_joint_outputs_on_given_patterns_are_refused():
    X, y = small(7, outputs=2)
    patterns = sample_patterns(design(X, True), 12, 0)
    with pytest.raises(ProblemError, match="gated"):
        solve_convex_relu(X, y, 0.02, patterns)
    with pytest.raises(ProblemError, match="gated"):
        solve_convex_relu(X, targets_for("multinomial", y[:, 0]), 0.02, patterns, "multinomial", output_penalty="l1")


def test_more_patterns_never_hurt():
    X, y = small(8, n=20, d=3)
    patterns = sample_patterns(design(X, True), 40, 0)
    values = [solve_convex_relu(X, y, 0.01, patterns[:, :k], tol=1e-8).value for k in (1, 5, 15, patterns.shape[1])]
    assert all(b <= a * (1 + 1e-8) for a, b in pairwise(values))


def test_repeating_rows_is_weighting_them():
    X, y = small(9)
    patterns = sample_patterns(design(X, True), 12, 0)
    rows = np.r_[np.arange(12), 3, 3, 8]
    weight = np.bincount(rows).astype(float)
    repeated = solve_convex_relu(X[rows], y[rows], 0.02, patterns[rows])
    weighted = solve_convex_relu(X, y, 0.02, patterns, sample_weight=weight)
    assert repeated.value == weighted.value
    np.testing.assert_array_equal(repeated.solution.weights[0], weighted.solution.weights[0])


@pytest.mark.parametrize(
    "patterns",
    [
        np.ones(12, dtype=bool),
        np.ones((11, 3), dtype=bool),
        np.array([["a"] * 12]).T,
        np.full((12, 1), 2),
    ],
    ids=["vector", "rows", "text", "twos"],
)
def test_patterns_that_do_not_fit_are_refused(patterns):
    X, y = small()
    with pytest.raises(ProblemError):
        solve_convex_relu(X, y, 0.1, patterns)


def test_alpha_above_alpha_max_of_the_patterns_gives_the_constant():
    X, y = small(4)
    patterns = all_patterns(X)
    alpha = alpha_max(X, y, patterns, hidden_bias=False) * (1 + 1e-9)
    result = solve_convex_relu(X, y, alpha, patterns, hidden_bias=False)
    assert result.solution.widths == (0,)
    assert result.value == pytest.approx(y.var() / 2, rel=1e-12)
    assert result.relative_gap <= 1e-9

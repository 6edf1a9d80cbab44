"""Degenerate data: clear answers, and no warnings (pytest turns them into errors)."""

from __future__ import annotations

import numpy as np
import pytest
from problems import small, targets_for
from quick import alpha_max_bound, solve_convex_relu

from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Status
from rectifold.training.convex.alpha_max import alpha_max
from rectifold.training.convex.restricted.patterns import sample_patterns

LOSSES = ("squared", "logistic", "squared_hinge", "multinomial")


def constant_column(X):
    return np.hstack([X, np.full((len(X), 1), 3.0)])


def zero_column(X):
    return np.hstack([X, np.zeros((len(X), 1))])


def repeated_column(X):
    return np.hstack([X, X[:, :1]])


def zero_rows(X):
    return np.vstack([np.zeros((2, X.shape[1])), X[2:]])


def repeated_rows(X):
    return np.vstack([X[:6], X[:6]])


def one_column(X):
    return X[:, :1]


def wide(X):
    return np.random.default_rng(0).standard_normal((len(X), 3 * len(X)))


def huge(X):
    return 1e6 * X


def tiny(X):
    return 1e-6 * X


def integers(X):
    return np.round(X)


DATA = (
    constant_column, zero_column, repeated_column, zero_rows, repeated_rows, one_column, wide, huge, tiny, integers
)  # fmt: skip


@pytest.mark.parametrize("hidden_bias", [True, False])
@pytest.mark.parametrize("change", DATA, ids=lambda f: f.__name__)
@pytest.mark.parametrize("loss", LOSSES)
def test_over_all_patterns(loss, change, hidden_bias):
    X, y = small(3, n=12)
    X, y = change(X), targets_for(loss, y)
    switches = {"loss": loss, "hidden_bias": hidden_bias}
    alpha = 0.1 * alpha_max(X, y, **switches)
    result = solve_convex_relu(X, y, alpha, max_iter=15, **switches)
    problem = ConvexReLUProblem(X, y, alpha, **switches)
    assert problem.objective(result.solution) == result.value
    assert result.value < problem.null_value
    assert 0 <= result.bound <= result.value
    if loss != "multinomial":
        assert result.status is Status.OPTIMAL


@pytest.mark.parametrize("change", DATA, ids=lambda f: f.__name__)
@pytest.mark.parametrize("activation", ["relu", "gated"])
def test_on_given_patterns(change, activation):
    X, y = small(3, n=12)
    X = change(X)
    patterns = sample_patterns(np.hstack([X, np.ones((12, 1))]), 10, 0)
    alpha = 0.1 * alpha_max(X, y, patterns)
    result = solve_convex_relu(X, y, alpha, patterns, activation=activation, certify=False)
    assert result.status is Status.OPTIMAL
    assert result.relative_gap <= 2e-6


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("with_patterns", [True, False])
def test_one_sample(fit_intercept, with_patterns):
    X, y = [[1.0, 2.0]], [3.0]
    patterns = np.ones((1, 1), dtype=bool) if with_patterns else None
    result = solve_convex_relu(X, y, 0.1, patterns, fit_intercept=fit_intercept)
    expected = 0.0 if fit_intercept else 0.1 * 3 / np.sqrt(6) - 0.01 / 12
    assert result.value == pytest.approx(expected, rel=1e-9)
    assert result.bound <= result.value


@pytest.mark.parametrize("with_patterns", [True, False])
@pytest.mark.parametrize("level", [0.0, 1.0, -7.5, 1e9])
def test_constant_targets_have_objective_zero(level, with_patterns):
    X, _ = small()
    patterns = sample_patterns(np.hstack([X, np.ones((len(X), 1))]), 5, 0) if with_patterns else None
    result = solve_convex_relu(X, np.full(len(X), level), 0.1, patterns)
    assert result.value == pytest.approx(0.0, abs=1e-25 * max(level**2, 1.0))
    assert result.solution.widths == (0,)
    assert result.relative_gap == 0.0
    assert result.status is Status.OPTIMAL
    np.testing.assert_allclose(result.solution(X), level)


def test_zero_inputs_leave_the_constant():
    X, y = np.zeros((5, 2)), np.arange(5.0)
    result = solve_convex_relu(X, y, 0.1, hidden_bias=False)
    assert result.solution.widths == (0,)
    assert result.value == pytest.approx(y.var() / 2, rel=1e-12)
    assert alpha_max(X, y, hidden_bias=False) == 0.0
    assert alpha_max_bound(X, y, hidden_bias=False) < 1e-12


@pytest.mark.parametrize("seed", [0, 2, 24])
@pytest.mark.parametrize("loss", ["logistic", "squared_hinge"])
def test_separable_classes_at_a_small_penalty(loss, seed):
    X = np.array([[3.0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 1]])
    y = np.array([-1, -1, -1, 1, 1, 1])
    for alpha in (1e-3, 1e-5):
        result = solve_convex_relu(X, y, alpha, loss=loss, certify=False, random_state=seed)
        assert result.status is Status.OPTIMAL
        assert np.array_equal(np.sign(result.solution(X)[:, 0]), y)


def test_contradicting_labels_cannot_be_fitted():
    X, y = [[1.0], [1.0], [2.0]], [-1, 1, 1]
    result = solve_convex_relu(X, y, 1e-3, loss="logistic")
    assert result.value >= np.log(2) * 2 / 3


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_inputs_that_are_all_zero_leave_nothing_to_learn(loss):
    _, y = small(3, n=7)
    result = solve_convex_relu(
        np.zeros((7, 1)), targets_for(loss, y), 0.09, loss=loss, hidden_bias=False, fit_intercept=False
    )
    assert result.solution.widths == (0,)
    assert result.relative_gap == pytest.approx(0.0, abs=1e-9)

"""The group lasso over gates against a conic solver, and its block step against optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import cone_program
from problems import small, targets_for

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.restricted.group_lasso import block_minimum, solve_group_lasso
from rectifold.training.convex.restricted.patterns import sample_patterns

LOSSES = ("squared", "logistic", "squared_hinge")


def instance(loss, alpha, fit_intercept=True):
    X, y = small(5, n=20, d=3)
    problem = ConvexReLUProblem(X, targets_for(loss, y), alpha, loss, fit_intercept=fit_intercept)
    return problem, np.ascontiguousarray(sample_patterns(problem.design, 15, 0).T)


@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(1e-3, 1e3), st.booleans())
def test_the_block_step_is_stationary(seed, d, alpha, singular):
    rng = np.random.default_rng(seed)
    h, v = 10.0 ** rng.uniform(-6, 3, d), rng.standard_normal(d) * 10.0 ** rng.uniform(-2, 3)
    if singular and d > 1:
        h[0] = v[0] = 0.0
    w = block_minimum(h, v, alpha)
    if np.linalg.norm(v) <= alpha:
        assert not w.any()
        return
    residual = h * w + alpha * w / np.linalg.norm(w) - v
    np.testing.assert_allclose(residual, 0.0, atol=1e-9 * np.linalg.norm(v))


# the conic solver may fall short of its own 1e-10, which these comparisons do not need
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.05, 0.002])
@pytest.mark.parametrize("loss", LOSSES)
def test_true_gap_of_1e_10_at_the_conic_value(loss, alpha, fit_intercept):
    problem, patterns = instance(loss, alpha, fit_intercept)
    solution = solve_group_lasso(problem, patterns, tol=1e-10, max_rounds=100)
    assert solution.objective - solution.bound <= 1e-10 * solution.objective
    conic = cone_program(problem, patterns.T, gated=True)
    assert solution.objective == pytest.approx(conic.value, rel=1e-6)
    assert solution.bound <= conic.value * (1 + 1e-7)


def test_rounds_and_the_stop_are_limits():
    problem, patterns = instance("squared", 0.002)
    none = solve_group_lasso(problem, patterns, tol=1e-10, max_rounds=0)
    assert none.objective == pytest.approx(problem.null_value)
    assert none.bound < none.objective
    stopped = solve_group_lasso(problem, patterns, tol=1e-10, max_rounds=50, should_stop=lambda: True)
    assert stopped.rounds == 0

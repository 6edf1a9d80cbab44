"""Derivatives of optima: case 11, finite differences of problems solved again, leaving samples out, and refusals."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from problems import PLAIN, T1_LAMBDA_MAX, small, t1, targets_for
from quick import solve_convex_relu

import rectifold as rf
from rectifold.core.errors import ProblemError
from rectifold.training.convex.paths.sensitivity import sensitivity

CASE_11_LAMBDA = 3.42536081617
H = 1e-6


def case_11():
    rng = np.random.default_rng(3)
    X, g1, g2 = rng.standard_normal((30, 3)), rng.standard_normal(3), rng.standard_normal(3)
    return X, np.maximum(X @ g1, 0) - np.maximum(X @ g2, 0) + 0.2 * rng.standard_normal(30)


def solved(X, y, alpha, patterns=None, **switches):
    patterns = rf.all_patterns(X) if patterns is None else patterns
    return solve_convex_relu(X, y, alpha, patterns, tol=1e-12, **{**PLAIN, **switches})


@pytest.fixture(scope="module")
def moved():
    X, y = case_11()
    return X, y, sensitivity(solved(X, y, CASE_11_LAMBDA / 30))


def test_case_11(moved):
    X, _, s = moved
    assert rf.all_patterns(X).shape == (30, 872)
    assert s.is_differentiable
    assert 30 * s.objective == pytest.approx(9.335081504, rel=1e-9)
    assert len(s.weights) == s.network.widths[0] == 4
    assert s.objective_alpha == pytest.approx(2.2334715, abs=5e-8)
    assert np.linalg.norm(s.weights_alpha()[0]) / 30 == pytest.approx(0.814728, abs=1e-6)  # per unit of lambda
    assert 1 - s.margin == pytest.approx(0.99990827, abs=1e-8)
    assert s.n_tight == 1
    (multiplier,) = [rho for rho in s._tangent.multipliers if len(rho)]
    assert 30 * multiplier == pytest.approx([0.561459], abs=1e-6)


def test_over_all_patterns_it_is_the_same(moved):
    X, y, s = moved
    searched = sensitivity(solve_convex_relu(X, y, CASE_11_LAMBDA / 30, tol=1e-8, certify=False, **PLAIN))
    assert searched.fit_y() == pytest.approx(s.fit_y(), abs=1e-7)
    assert searched.margin == pytest.approx(s.margin, rel=1e-4)


def test_derivatives_in_alpha(moved):
    X, y, s = moved
    alpha, X_new = CASE_11_LAMBDA / 30, np.random.default_rng(0).standard_normal((6, 3))
    up, down = (solved(X, y, alpha * (1 + h)) for h in (H, -H))
    step = 2 * alpha * H
    assert s.predictions_alpha(X_new) == pytest.approx(
        (up.solution(X_new) - down.solution(X_new))[:, 0] / step, rel=1e-5
    )
    assert s.fit_alpha() == pytest.approx((up.solution(X) - down.solution(X))[:, 0] / step, rel=1e-5, abs=1e-6)
    assert s.objective_alpha == pytest.approx((up.value - down.value) / step, rel=1e-6)


@pytest.mark.parametrize("sample", [0, 4, 17])
def test_derivatives_in_a_target(moved, sample):
    X, y, s = moved
    X_new = np.random.default_rng(0).standard_normal((6, 3))
    bump = H * (np.arange(30) == sample)
    up, down = (solved(X, y + d, CASE_11_LAMBDA / 30) for d in (bump, -bump))
    change = (up.solution(X_new) - down.solution(X_new))[:, 0] / (2 * H)
    assert s.predictions_y(X_new)[:, sample] == pytest.approx(change, abs=1e-7)
    assert s.fit_y()[:, sample] == pytest.approx((up.solution(X) - down.solution(X))[:, 0] / (2 * H), abs=1e-7)
    assert s.objective_y[sample] == pytest.approx((up.value - down.value) / (2 * H), abs=1e-8)


@pytest.mark.parametrize(("sample", "feature"), [(0, 0), (4, 0), (4, 2), (9, 1)])
def test_derivatives_in_an_input(moved, sample, feature):
    """Sample 4 lies on a kink of a neuron, which follows it."""
    X, y, s = moved
    assert list(np.unique(s.problem.source_rows[s._face.tight.any(axis=0)])) == [4]
    X_new, bump = np.random.default_rng(0).standard_normal((6, 3)), np.zeros_like(X)
    bump[sample, feature] = H
    up, down = (solved(X + d, y, CASE_11_LAMBDA / 30) for d in (bump, -bump))
    change = (up.solution(X_new) - down.solution(X_new))[:, 0] / (2 * H)
    assert s.predictions_X(X_new)[:, sample, feature] == pytest.approx(change, abs=1e-7)
    assert s.objective_X[sample, feature] == pytest.approx((up.value - down.value) / (2 * H), abs=1e-8)


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
def test_with_an_intercept_a_bias_and_sampled_patterns(loss):
    X, y = small(seed=1, n=20, d=2)
    y = targets_for(loss, y)
    switches = {"loss": loss, "hidden_bias": True, "fit_intercept": True}
    patterns = rf.sample_patterns(np.hstack([X, np.ones((20, 1))]), 15)
    alpha = 0.15 * rf.alpha_max(X, y, patterns, **switches)
    s = sensitivity(solved(X, y, alpha, patterns, **switches))
    assert s.is_differentiable
    assert s.n_tight > 0
    up, down = (solved(X, y, alpha * (1 + h), patterns, **switches).solution(X)[:, 0] for h in (H, -H))
    assert s.fit_alpha() == pytest.approx((up - down) / (2 * alpha * H), rel=1e-4, abs=1e-5)
    X_new, bump = np.random.default_rng(0).standard_normal((6, 2)), np.zeros_like(X)
    bump[3, 1] = 1e-7
    up, down = (solved(X + d, y, alpha, patterns, **switches).solution(X_new)[:, 0] for d in (bump, -bump))
    assert s.predictions_X(X_new)[:, 3, 1] == pytest.approx((up - down) / 2e-7, abs=1e-5)


def test_leave_one_out_is_first_order_right_and_exact_on_request(moved):
    X, y, s = moved
    table = s.influence()
    chosen = np.flatnonzero(table.stays)[:4]
    for i, prediction in zip(chosen, s.leave_one_out(exact=True, samples=chosen), strict=True):
        kept = np.arange(30) != i
        again = solve_convex_relu(X[kept], y[kept], CASE_11_LAMBDA / 30, tol=1e-9, certify=False, **PLAIN)
        assert prediction == pytest.approx(again.solution(X[i])[0], abs=1e-5)
        shift = prediction - table.fitted[i]
        assert table.leave_one_out[i] - table.fitted[i] == pytest.approx(shift, rel=0.05, abs=1e-3)
    assert s.leave_one_out(samples=[3]) == table.leave_one_out[[3]]


def test_influence_table(moved):
    X, y, s = moved
    table = s.influence()
    assert list(table.rows) == list(range(30))
    assert table.fitted == pytest.approx(s.network(X)[:, 0])
    assert table.residual == pytest.approx(y - table.fitted)
    assert table.leverage == pytest.approx(np.diag(s.fit_y()))
    assert ((table.leverage >= -1e-12) & (table.leverage < 1)).all()
    frame = table.to_frame()
    assert next(iter(frame.columns)) == "rows"
    assert len(frame) == 30


def test_infinitesimal_removal_matches_its_derivative():
    """Of many samples each moves the fit little: the Newton step is then exact to second order in it."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((150, 2))
    y = np.abs(X[:, 0]) + 0.1 * rng.standard_normal(150)
    s = sensitivity(solve_convex_relu(X, y, 0.1, tol=1e-9, certify=False, **PLAIN), max_patterns=2000)
    table = s.influence()
    chosen = np.flatnonzero(table.stays)[:3]
    exact = s.leave_one_out(exact=True, samples=chosen)
    moved = np.abs(exact - table.fitted[chosen])
    assert (np.abs(exact - table.leave_one_out[chosen]) <= 0.02 * moved + 1e-7).all()


def test_weighted_and_repeated_rows_are_left_out_together():
    X, y = small(n=15, d=2)
    rows = np.r_[np.arange(15), 2, 2]
    s = sensitivity(solved(X[rows], y[rows], 0.05))
    assert len(s.rows) == 15
    kept = rows != 2
    again = solve_convex_relu(X[rows][kept], y[rows][kept], 0.05, tol=1e-9, certify=False,
                              patterns=rf.all_patterns(X[rows])[kept], **PLAIN)  # fmt: skip
    assert s.leave_one_out(exact=True, samples=[int(np.searchsorted(s.rows, 2))]) == pytest.approx(
        again.solution(X[2]), abs=1e-6
    )


def test_many_optima_are_not_differentiable():
    X, y = t1()
    s = sensitivity(solved(X, y, 0.01 * T1_LAMBDA_MAX / 10))
    assert not s.is_differentiable
    assert "rank 7 of 10" in s.obstacles[0]
    with pytest.raises(ProblemError, match=r"Not differentiable here, because .*dependent"):
        s.fit_y()


def test_the_constant_is_not_differentiable():
    X, y = t1()
    s = sensitivity(solved(X, y, 2 * T1_LAMBDA_MAX / 10))
    assert s.obstacles == ("the optimum is the constant, which has no neurons",)


def test_labels_have_no_derivative():
    X, y = small(n=20)
    y = targets_for("logistic", y)
    s = sensitivity(solved(X, y, 0.02, loss="logistic"))
    with pytest.raises(ProblemError, match="labels"):
        s.fit_y()


def test_estimators_and_pickles():
    X, y = small(n=20)
    est = rf.ConvexReLURegressor(alpha=0.05, certify=False).fit(X, y)
    s = sensitivity(est)
    loaded = pickle.loads(pickle.dumps(est))
    with pytest.raises(ProblemError, match="pass X and y"):
        sensitivity(loaded)
    assert sensitivity(loaded, X, y).predictions_y(X) == pytest.approx(s.predictions_y(X), abs=1e-8)
    with pytest.raises(ProblemError, match="not the data of the fit"):
        sensitivity(est, X[1:], y[1:])
    with pytest.raises(ProblemError, match="2 features"):
        s.predictions_alpha(X[:, :1])
    with pytest.raises(ProblemError, match="positions"):
        s.leave_one_out(samples=[20])


def test_of_an_alpha_chosen_by_cross_validation():
    X, y = small(n=40)
    options = {"alphas": [0.3, 0.1, 0.05], "cv": 2, "fold_steps": 40, "tol": 1e-8, "max_iter": 50}
    est = pickle.loads(pickle.dumps(rf.ConvexReLURegressorCV(**options).fit(X, y)))
    s = sensitivity(est, X, y)
    assert s.problem.alpha == est.alpha_ < 0.3
    plain = sensitivity(rf.ConvexReLURegressor(alpha=est.alpha_, tol=1e-8, certify=False).fit(X, y))
    assert s.fit_y() == pytest.approx(plain.fit_y(), abs=1e-7)
    with pytest.raises(ProblemError, match="not those of the fit"):
        sensitivity(est, X, 2.0 * y)


def test_an_unsolved_network_is_refused():
    X, y = small(n=20)
    rough = rf.ConvexReLUProblem(X, y, 0.05).network(np.ones((1, 3)), np.ones((1, 1)), np.zeros(1))
    with pytest.raises(ProblemError, match=r"not optimal: its objective .* exceeds the optimum"):
        sensitivity(rough, problem=rf.ConvexReLUProblem(X, y, 0.05))


def test_several_outputs_are_refused():
    X, y = small(n=12, outputs=2)
    with pytest.raises(ProblemError, match="one output"):
        sensitivity(solve_convex_relu(X, y, 0.1, certify=False))

"""The master program against a conic solver, for every separable loss, with weights and with an intercept."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.proof.cut_master import CutMaster
from rectifold.training.convex.proof.leaf_cuts import Cuts


def case(loss, intercept, seed=0, n=25, m=40):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    y = rng.standard_normal(n) + 0.3 if loss == "squared" else np.where(rng.random(n) < 0.6, 1.0, -1.0)
    weight = rng.uniform(0.2, 2.0, n)
    problem = ConvexReLUProblem(X, y, 0.1, loss, False, intercept, sample_weight=weight)
    below = rng.standard_normal((m, n))
    return problem, Cuts(below + rng.exponential(0.5, (m, n)), below)


def conic(problem, cuts, level):
    """max D(theta) under the cuts."""
    n = len(problem.targets)
    up, down = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
    theta, y, s = up - down, problem.targets[:, 0], problem.weights
    limits = [cuts.above @ up - cuts.below @ down <= level]
    if problem.loss.name != "squared":
        limits.append(cp.multiply(y, theta) >= 0)
    if problem.fit_intercept:
        limits.append(cp.sum(theta) == 0)
    if problem.loss.name == "logistic":
        p = cp.multiply(y / s, theta)
        value = cp.sum(cp.multiply(s, cp.entr(p) + cp.entr(1 - p)))
    else:
        value = theta @ y - 0.5 * cp.sum(cp.multiply(1 / s, cp.square(theta)))
    program = cp.Problem(cp.Maximize(value), limits)
    program.solve(solver="CLARABEL")
    return program.value


@pytest.mark.parametrize("loss", ["squared", "squared_hinge", "logistic"])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("level", [0.02, 0.2])
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate:UserWarning")
def test_the_maximum_is_that_of_a_conic_solver(loss, intercept, level):
    problem, cuts = case(loss, intercept)
    master = CutMaster(problem, level)
    master.add(cuts)
    master.solve()
    exact = conic(problem, cuts, level)
    assert master.bound == pytest.approx(exact, rel=1e-3, abs=1e-6)
    assert master.bound >= exact * (1 - 1e-6)  # weak duality, wherever it stopped
    assert cuts.values(master.theta).max() <= level * 1.002
    if intercept:
        assert abs(master.theta.sum()) <= 1e-3 * np.abs(master.theta).sum()
    value = problem.loss.dual_value(master.theta[:, None], problem.targets, problem.weights)
    assert value == pytest.approx(exact, rel=5e-3, abs=1e-5)
    assert master.work > 0


def test_more_cuts_never_help():
    problem, cuts = case("squared", True)
    master, bounds = CutMaster(problem, 0.1), []
    for start in range(0, 40, 8):
        master.add(cuts.take(np.arange(40) // 8 * 8 == start))
        master.solve()
        bounds.append(master.bound)
        master.drop_idle(10)
    assert bounds == sorted(bounds, reverse=True)
    assert len(master.cuts.above) <= 40
    assert bounds[-1] == pytest.approx(conic(problem, cuts, 0.1), rel=1e-2)


def test_without_cuts_the_maximum_is_free():
    problem, _ = case("squared", False)
    master = CutMaster(problem, 0.1)
    master.solve()
    assert master.bound == pytest.approx(problem.null_value)
    np.testing.assert_allclose(master.theta, problem.null_theta[:, 0])

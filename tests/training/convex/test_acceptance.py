"""Cases with known answers: tiny data, closed forms, and the optima on given patterns of real tables."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import projection_norms, true_gap
from problems import (
    FIXED_PROGRAMS,
    GATED_LAMBDA_MAX,
    LAMBDA_MAX,
    PLAIN,
    T1_GATED_LAMBDA_MAX,
    T1_LAMBDA_MAX,
    T1_NULL,
    T1_OPTIMA,
    identity_case,
    t1,
    table,
    table_classes,
    xor,
)
from quick import solve_convex_relu

from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof, Status
from rectifold.training.convex.alpha_max import alpha_max
from rectifold.training.convex.restricted.patterns import all_patterns, sample_patterns


def merged_width(problem, network, angle=1e-3):
    """Number of neurons once those of one output sign and direction are counted as one."""
    w, a, _ = problem.neurons(network)
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    distinct = []
    for direction, sign in zip(unit, np.sign(a[:, 0]), strict=True):
        if not any(sign == s and np.linalg.norm(direction - u) < angle for u, s in distinct):
            distinct.append((direction, sign))
    return len(distinct)


# -- T1: ten points in the plane --------------------------------------------------------------------------------------


def test_t1_lambda_max():
    X, y = t1()
    patterns = all_patterns(X)
    assert patterns.shape == (10, 20)
    assert 10 * alpha_max(X, y, patterns, **PLAIN) == pytest.approx(T1_LAMBDA_MAX, rel=1e-11)
    assert 10 * alpha_max(X, y, **PLAIN) == pytest.approx(T1_LAMBDA_MAX, rel=1e-6)


@pytest.mark.parametrize(("factor", "is_constant"), [(1 - 1e-4, False), (1 + 1e-11, True)])
def test_t1_gated_lambda_max(factor, is_constant):
    X, y = t1()
    alpha = factor * T1_GATED_LAMBDA_MAX / 10
    result = solve_convex_relu(X, y, alpha, all_patterns(X), activation="gated", tol=1e-12, **PLAIN)
    assert (result.solution.n_active == 0) == is_constant


@pytest.mark.parametrize("over_all", [False, True])
@pytest.mark.parametrize("fraction", T1_OPTIMA)
def test_t1_optima(fraction, over_all):
    X, y = t1()
    alpha = fraction * T1_LAMBDA_MAX / 10
    result = solve_convex_relu(X, y, alpha, None if over_all else all_patterns(X), tol=1e-9, **PLAIN)
    assert 10 * result.value == pytest.approx(T1_OPTIMA[fraction], rel=1e-9)
    problem = ConvexReLUProblem(X, y, alpha, **PLAIN)
    assert problem.objective(result.solution) == pytest.approx(result.value, rel=1e-10)
    assert result.bound <= T1_OPTIMA[fraction] / 10 * (1 + 1e-10)


@pytest.mark.parametrize("over_all", [False, True])
def test_t1_above_lambda_max_is_the_constant(over_all):
    X, y = t1()
    result = solve_convex_relu(X, y, 1.0001 * T1_LAMBDA_MAX / 10, None if over_all else all_patterns(X), **PLAIN)
    assert result.solution.widths == (0,)
    assert 10 * result.value == pytest.approx(T1_NULL, rel=1e-10) == pytest.approx(y @ y / 2, rel=1e-10)
    assert result.status is Status.OPTIMAL


@pytest.mark.parametrize("over_all", [False, True])
def test_t1_small_penalty_needs_ten_neurons_at_most(over_all):
    X, y = t1()
    alpha = 0.01 * T1_LAMBDA_MAX / 10
    result = solve_convex_relu(X, y, alpha, None if over_all else all_patterns(X), tol=1e-8, **PLAIN)
    problem = ConvexReLUProblem(X, y, alpha, **PLAIN)
    assert 7 <= merged_width(problem, result.solution) <= 10
    if over_all:
        assert result.solution.widths[0] <= 20


@pytest.mark.parametrize("over_all", [False, True])
def test_t1_with_an_output_intercept(over_all):
    X, y = t1()
    patterns = all_patterns(X)
    switches = {"hidden_bias": False, "fit_intercept": True}
    # The sheet's 2.257667407 is a grid's value, 3e-8 below the maximum on a kink.
    assert 10 * alpha_max(X, y, patterns, **switches) == pytest.approx(2.257667407, rel=1e-6)
    assert 10 * alpha_max(X, y, **switches) == pytest.approx(2.257667407, rel=1e-6)
    result = solve_convex_relu(X, y, 0.02257667407, None if over_all else patterns, tol=1e-8, **switches)
    assert 10 * result.value == pytest.approx(2.097075856, rel=1e-8)


# -- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over_all", [False, True])
def test_orthogonal_rows(over_all):
    X, y = identity_case()
    result = solve_convex_relu(X, y, 2.0 / 4, None if over_all else all_patterns(X), tol=1e-9, **PLAIN)
    assert 4 * result.value == pytest.approx(32.0, rel=1e-8)
    assert merged_width(ConvexReLUProblem(X, y, 0.5, **PLAIN), result.solution) == 2
    assert 4 * alpha_max(X, y, all_patterns(X), **PLAIN) == pytest.approx(13.0, rel=1e-12)
    assert 4 * alpha_max(X, y, **PLAIN) == pytest.approx(13.0, rel=1e-6)


@pytest.mark.parametrize("penalty", [0.5, 4.0, 6.0, 20.0])
def test_orthogonal_rows_at_any_penalty(penalty):
    X, y = identity_case()
    sizes = [np.linalg.norm(y[y > 0]), np.linalg.norm(y[y < 0])]
    expected = sum(penalty * r - penalty**2 / 2 if r > penalty else r**2 / 2 for r in sizes)
    assert 4 * solve_convex_relu(X, y, penalty / 4, tol=1e-9, **PLAIN).value == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("over_all", [False, True])
@pytest.mark.parametrize("target", [2.0, -2.0])
def test_one_sample(target, over_all):
    X = [[3.0, 4.0]]
    result = solve_convex_relu(X, [target], 1.5, None if over_all else all_patterns(X), tol=1e-9, **PLAIN)
    assert result.value == pytest.approx(1.5 * 2 / 5 - 1.5**2 / 50, rel=1e-8)


@pytest.mark.parametrize(("penalty", "optimum"), [(0.1, 0.27284271), (0.5, 1.16421356), (1.0, 1.82842712)])
def test_xor(penalty, optimum):
    X, y = xor()
    exact = 2 * np.sqrt(2) * penalty - penalty**2
    assert exact == pytest.approx(optimum, rel=1e-7)
    patterns = all_patterns(X)
    assert patterns.shape == (4, 13)
    given = solve_convex_relu(X, y, penalty / 4, patterns, tol=1e-9, **PLAIN)
    assert 4 * given.value == pytest.approx(exact, rel=1e-8)
    everything = solve_convex_relu(X[:, :2], y, penalty / 4, tol=1e-9, hidden_bias=True, fit_intercept=False)
    assert 4 * everything.value == pytest.approx(exact, rel=1e-7)


def test_xor_lambda_max():
    X, y = xor()
    assert 4 * alpha_max(X, y, all_patterns(X), **PLAIN) == pytest.approx(np.sqrt(2), rel=1e-12)
    assert 4 * alpha_max(X, y, **PLAIN) == pytest.approx(np.sqrt(2), rel=1e-6)


# -- sampled optima of real tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(p, id=str(p), marks=pytest.mark.slow if (p.data, p.fraction) == ("breast", 0.01) else ())
        for p in FIXED_PROGRAMS
    ],
)
def test_sampled_optimum(program):
    X, y = table(program.data)
    patterns = sample_patterns(X, 100, 0)
    alpha = program.penalty / len(y)
    result = solve_convex_relu(X, y, alpha, patterns, tol=5e-8, **PLAIN)
    problem = ConvexReLUProblem(X, y, alpha, **PLAIN)
    assert result.status is Status.OPTIMAL
    assert result.proof is Proof.RESTRICTED
    assert len(y) * result.value == pytest.approx(program.optimum, rel=1e-7)
    assert result.solution.widths == (program.active,)
    assert result.relative_gap <= 1e-7
    assert true_gap(problem, result.solution, patterns[problem.source_rows]) <= 1e-7
    assert problem.objective(result.solution) == pytest.approx(result.value, rel=1e-12)


@pytest.mark.parametrize("name", LAMBDA_MAX)
def test_sampled_lambda_max(name):
    X, y = table(name)
    patterns = sample_patterns(X, 100, 0)
    largest = len(y) * alpha_max(X, y, patterns, **PLAIN)
    assert largest == pytest.approx(LAMBDA_MAX[name], rel=1e-9)
    assert largest == pytest.approx(projection_norms(X, patterns, y).max(), rel=1e-9)
    assert np.linalg.norm((patterns.T * y) @ X, axis=1).max() == pytest.approx(GATED_LAMBDA_MAX[name], rel=1e-6)


def test_wine_one_vs_all():
    X, _ = table("wine")
    Y = np.where(table_classes("wine")[:, None] == np.arange(3), 1.0, -1.0)
    patterns = sample_patterns(X, 50, 1)
    n = len(Y)
    joint = solve_convex_relu(X, Y, 10.0 / n, patterns, output_penalty="l1", tol=1e-8, **PLAIN)
    assert n * joint.value == pytest.approx(90.452262, rel=1e-7)
    for k, (optimum, active) in enumerate(zip([29.618505, 37.442428, 23.391329], [12, 10, 11], strict=True)):
        part = solve_convex_relu(X, Y[:, k], 10.0 / n, patterns, tol=1e-8, **PLAIN)
        assert n * part.value == pytest.approx(optimum, rel=1e-7)
        assert part.solution.widths == (active,)
        assert np.count_nonzero(joint.solution.weights[1][k]) == active


# -- all patterns of real tables, a fixed seed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "penalty", "limit"),
    [
        ("wine", 11.886527765, 22.79277),
        ("diabetes", 20.975841068, 120.0031),
        ("breast", 49.467646761, 79.8592),
        ("wine", 1.1886527765, 5.90),
    ],
)
def test_priced_training_beats_the_best_known_values(name, penalty, limit):
    X, y = table(name)
    result = solve_convex_relu(X, y, penalty / len(y), tol=1e-6, certify=False, **PLAIN)
    assert len(y) * result.value <= limit
    assert result.proof is Proof.PRICED
    assert result.stats["priced_gap"] <= 1e-2
    assert 0 < result.bound < result.value

"""Regularisation paths: case 10, cold solves, continuity, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import true_gap
from problems import PLAIN, T1_LAMBDA_MAX, small, t1, table, targets_for
from quick import solve_convex_relu

import rectifold as rf
from rectifold.core.errors import ProblemError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Status
from rectifold.training.convex.paths.continuity import find_jumps, moment
from rectifold.training.convex.paths.path import convex_relu_path

WINE_LAMBDA_MAX = 118.865277653
CASE_10 = np.array([
    [0.9, 88.784966, 2, 0.038227], [0.7, 85.183286, 5, 0.294262], [0.5, 74.558551, 6, 0.603032],
    [0.3, 56.382121, 8, 0.929250], [0.2, 44.325435, 9, 1.102150], [0.1, 30.089787, 11, 1.313818],
    [0.05, 21.557326, 15, 1.622661], [0.02, 14.331488, 23, 2.867797],
])  # fmt: skip


@pytest.fixture(scope="module")
def wine():
    X, y = table("wine")
    patterns = rf.sample_patterns(X, 100)
    alphas = CASE_10[:, 0] * WINE_LAMBDA_MAX / len(X)
    return X, y, patterns, convex_relu_path(X, y, alphas, patterns, tol=1e-9, continuity=True, **PLAIN)


def test_case_10(wine):
    X, _, _, path = wine
    assert path.alpha_max * len(X) == pytest.approx(WINE_LAMBDA_MAX, rel=1e-9)
    assert len(X) * path.objectives == pytest.approx(CASE_10[:, 1], rel=1e-7)
    assert list(path.n_neurons) == list(CASE_10[:, 2])
    assert path.penalties == pytest.approx(CASE_10[:, 3], abs=1e-6)
    assert path.status is Status.OPTIMAL


def test_case_10_is_followed_to_a_true_gap(wine):
    X, y, patterns, path = wine
    assert set(path.how) == {"followed"}
    for alpha, network, bound, value in zip(path.alphas, path.networks, path.bounds, path.objectives, strict=True):
        problem = ConvexReLUProblem(X, y, alpha, **PLAIN)
        assert true_gap(problem, network, patterns[problem.source_rows]) <= 1e-8
        assert value * (1 - 1e-9) <= bound <= value * (1 + 1e-12)


def test_case_10_is_unique_and_continuous(wine):
    path = wine[3]
    assert [point.n_equicorrelated for point in path.conditions] == list(CASE_10[:, 2])
    assert all(point.dimension == 0 and point.margin > 0 for point in path.conditions)
    assert path.is_continuous


def test_the_value_is_concave_with_the_penalty_as_its_slope(wine):
    X, y, patterns, coarse = wine
    path = convex_relu_path(X, y, np.geomspace(0.5, 0.4, 30) * coarse.alpha_max, patterns, tol=1e-9, **PLAIN)
    slopes = np.diff(path.objectives) / np.diff(path.alphas)
    assert (np.diff(path.objectives) < 0).all()
    assert (np.diff(slopes) > 0).all()
    assert (np.diff(path.penalties) > 0).all()
    assert (path.penalties[:-1] < slopes).all()
    assert (slopes < path.penalties[1:]).all()


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
@pytest.mark.parametrize("hidden_bias", [True, "free"])
def test_path_on_patterns_equals_cold_solves(loss, hidden_bias):
    X, y = small(n=25, d=3)
    y = targets_for(loss, y)
    switches = {"loss": loss, "hidden_bias": hidden_bias}
    patterns = rf.sample_patterns(np.hstack([X, np.ones((25, 1))]), 40)
    path = convex_relu_path(X, y, None, patterns, n_alphas=6, eps=0.02, tol=1e-8, **switches)
    assert path.alphas[0] == path.alpha_max == pytest.approx(rf.alpha_max(X, y, patterns, **switches))
    assert path.n_neurons[0] == 0 < path.n_neurons[-1]
    for alpha, value in zip(path.alphas, path.objectives, strict=True):
        cold = solve_convex_relu(X, y, alpha, patterns, tol=1e-8, certify=False, **switches)
        assert value == pytest.approx(cold.value, rel=3e-8)


@pytest.mark.parametrize("loss", ["squared", "logistic", "multinomial"])
def test_path_over_all_patterns_equals_cold_solves(loss):
    X, y = small(n=15, d=2)
    y = targets_for(loss, y)
    path = convex_relu_path(X, y, loss=loss, n_alphas=4, eps=0.1, tol=1e-5, n_starts=60)
    assert (path.gaps <= (1e-5 if loss != "multinomial" else 1e-2)).all()
    for alpha, value, bound in zip(path.alphas, path.objectives, path.bounds, strict=True):
        cold = solve_convex_relu(X, y, alpha, loss=loss, certify=False, tol=1e-5, n_starts=60)
        assert value == pytest.approx(cold.value, rel=2e-5 if loss != "multinomial" else 1e-2)
        assert bound <= cold.value * (1 + 1e-9)
    if loss == "squared":
        assert path.how.count("followed") >= 2


def test_outputs_that_are_independent_are_followed_each():
    X, y = small(n=20, d=2, outputs=2)
    patterns = rf.all_patterns(X)
    alphas = [0.2, 0.05, 0.01]
    path = convex_relu_path(X, y, alphas, patterns, output_penalty="l1", tol=1e-8, **PLAIN)
    for k, value in enumerate(path.objectives):
        parts = [solve_convex_relu(X, y[:, j], alphas[k], patterns, tol=1e-9, certify=False, **PLAIN) for j in (0, 1)]
        assert value == pytest.approx(sum(part.value for part in parts), rel=1e-7)
    assert path.predict(X).shape == (3, 20, 2)
    assert path.nearest(0.045) is path.networks[1]


def test_minimum_norm_where_optima_are_many():
    X, y = t1()
    path = convex_relu_path(X, y, [0.5, 0.01] * np.array(T1_LAMBDA_MAX / 10), rf.all_patterns(X), minimum_norm=True,
                            tol=1e-11, **PLAIN)  # fmt: skip
    first, last = path.conditions
    assert (first.is_unique, last.is_unique) == (True, False)
    assert (last.n_equicorrelated, last.dimension) == (10, 3)
    assert 1 - last.margin == pytest.approx(0.66717, abs=1e-5)
    problem = ConvexReLUProblem(X, y, path.alphas[1], **PLAIN)
    w, a, _ = problem.neurons(path.networks[1])
    assert np.linalg.norm(w * np.abs(a)) == pytest.approx(4.524442, abs=1e-6)
    assert 10 * path.objectives[1] == pytest.approx(1.4250397753, rel=1e-9)
    assert path.is_continuous is None


def test_a_jump_is_found_and_a_fast_but_continuous_step_is_not():
    X, y = small()
    problem = ConvexReLUProblem(X, y, 0.1, **PLAIN)
    alphas = np.geomspace(1.0, 0.1, 20)

    def jumping(alpha):
        w = np.array([[1.0, 0.1 * alpha]]) if alpha > 0.3 else np.array([[0.1 * alpha, 1.0]])
        return problem.network(w, np.ones((1, 1)), np.zeros(1))

    def turning(alpha):
        angle = np.pi / 4 * (1 + np.tanh(60 * np.log(alpha / 0.3)))
        return problem.network(np.array([[np.sin(angle), np.cos(angle)]]), np.ones((1, 1)), np.zeros(1))

    (jump,) = find_jumps(problem, alphas, [jumping(alpha) for alpha in alphas], jumping)
    assert jump.lower <= 0.3 <= jump.upper
    assert jump.upper / jump.lower < 1.002
    assert jump.jump > 0.5
    assert find_jumps(problem, alphas, [turning(alpha) for alpha in alphas], turning) == ()


def test_moment_is_blind_to_order_and_splits():
    X, y = small()
    problem = ConvexReLUProblem(X, y, 0.1, **PLAIN)
    w, a = np.array([[1.0, 2.0], [-1.0, 0.5]]), np.array([[1.0], [-2.0]])
    whole = problem.network(w, a, np.zeros(1))
    split = problem.network(w[[1, 0, 0]], a[[1, 0, 0]] * np.array([[1.0], [0.25], [0.75]]), np.zeros(1))
    assert moment(problem, split) == pytest.approx(moment(problem, whole), abs=1e-14)


def test_a_time_limit_leaves_a_shorter_path():
    X, y = small(n=40, d=3)
    path = convex_relu_path(X, y, n_alphas=500, tol=1e-8, time_limit=1e-3)
    assert 1 <= len(path) < 500
    assert path.status is Status.TIME_LIMIT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": [0.1, 0.0]}, "positive"),
        ({"alphas": [0.1, 0.1]}, "distinct"),
        ({"alphas": []}, "at least one"),
        ({"n_alphas": 0}, "n_alphas"),
        ({"eps": 1.5}, "eps"),
        ({"minimum_norm": True}, "patterns"),
        ({"continuity": True}, "patterns"),
        ({"tol": 0.0}, "tol"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ProblemError, match=message):
        convex_relu_path(*small(), **options)


def test_no_default_grid_without_a_neuron():
    X, _ = small()
    with pytest.raises(ProblemError, match="pass alphas"):
        convex_relu_path(X, np.ones(len(X)))


def test_joint_outputs_on_patterns_are_refused():
    X, y = small(outputs=2)
    with pytest.raises(ProblemError, match="output_penalty='l1'"):
        convex_relu_path(X, y, [0.1], rf.all_patterns(X), **PLAIN)

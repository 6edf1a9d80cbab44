"""Training over all patterns: against enumeration, several outputs, proofs, determinism and warm starts."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import cone_program, direction_program
from problems import small, targets_for
from quick import alpha_max_bound, solve_convex_relu

from rectifold.certify import verify
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof, Status
from rectifold.training.convex.alpha_max import alpha_max
from rectifold.training.convex.restricted.patterns import all_patterns


def design(X, hidden_bias):
    return X if hidden_bias is False else np.hstack([X, np.ones((len(X), 1))])


# -- the global optimum ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.3, 0.03])
@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
@pytest.mark.parametrize(("d", "hidden_bias"), [(1, True), (2, False), (2, True), (3, False), (2, "free")])
def test_all_patterns_by_search_equal_all_patterns_by_enumeration(loss, d, hidden_bias, fraction):
    X, y = small(d, n=12, d=d)
    y = targets_for(loss, y)
    patterns = all_patterns(design(X, hidden_bias))
    switches = {"loss": loss, "hidden_bias": hidden_bias}
    alpha = fraction * alpha_max(X, y, patterns, **switches)
    given = solve_convex_relu(X, y, alpha, patterns, tol=1e-8, certify=False, **switches)
    found = solve_convex_relu(X, y, alpha, tol=1e-7, max_iter=50, **switches)
    assert given.status is Status.OPTIMAL
    assert found.value == pytest.approx(given.value, rel=1e-6)
    assert found.bound <= given.value * (1 + 1e-9)
    assert found.proof in (Proof.CERTIFIED, Proof.PRICED)


@pytest.mark.parametrize("seed", range(3))
def test_bound_and_value_bracket_the_optimum_of_a_conic_solver(seed):
    X, y = small(seed, n=9)
    problem = ConvexReLUProblem(X, y, 0.02)
    conic = cone_program(problem, all_patterns(problem.design))
    result = solve_convex_relu(X, y, 0.02, tol=1e-7)
    assert result.bound <= conic.value <= result.value * (1 + 1e-7)
    assert result.value == pytest.approx(conic.value, rel=1e-6)
    assert verify(result, problem=problem).holds


def test_objective_is_that_of_the_network():
    X, y = small(2, n=20)
    result = solve_convex_relu(X, y, 0.01)
    problem = ConvexReLUProblem(X, y, 0.01)
    assert problem.objective(result.solution) == result.value
    w, b, a = result.solution.weights[0], result.solution.biases[0], result.solution.weights[1]
    size = np.hypot(np.linalg.norm(w, axis=1), b)
    assert result.value == pytest.approx(
        0.5 * np.mean((result.solution(X)[:, 0] - y) ** 2) + 0.01 * size @ np.abs(a[0]), rel=1e-12
    )
    np.testing.assert_allclose(size, np.abs(a[0]), rtol=1e-9)  # returned balanced


def test_without_a_proof_only_the_cheap_bound_is_reported():
    X, y = small(3, n=15)
    cheap = solve_convex_relu(X, y, 0.01, certify=False)
    proven = solve_convex_relu(X, y, 0.01, certify=True)
    assert cheap.value == pytest.approx(proven.value, rel=1e-6)
    assert cheap.bound <= proven.bound * (1 + 1e-12)
    assert verify(cheap, problem=ConvexReLUProblem(X, y, 0.01)).holds


def test_proof_needs_its_effort():
    X, y = small(4, n=15)
    assert solve_convex_relu(X, y, 0.01, max_work=0).proof is Proof.PRICED
    assert solve_convex_relu(X, y, 0.01).proof is Proof.CERTIFIED


# -- several outputs ------------------------------------------------------------------------------------------------


def test_l1_outputs_are_the_sum_of_scalar_problems():
    X, y = small(5, n=15, outputs=3)
    joint = solve_convex_relu(X, y, 0.02, output_penalty="l1", certify=False)
    parts = [solve_convex_relu(X, y[:, k], 0.02, certify=False) for k in range(3)]
    assert joint.value == pytest.approx(sum(p.value for p in parts), rel=3e-6)
    assert np.count_nonzero(joint.solution.weights[1], axis=0).max() == 1
    assert joint.bound <= sum(p.value for p in parts)


def test_one_vs_rest_squared_hinge_is_the_sum_of_scalar_problems():
    X, y = small(6, n=15)
    codes = targets_for("multinomial", y)
    joint = solve_convex_relu(X, codes, 0.02, loss="squared_hinge", output_penalty="l1", certify=False)
    parts = [
        solve_convex_relu(X, np.where(codes == k, 1, -1), 0.02, loss="squared_hinge", certify=False) for k in range(3)
    ]
    assert joint.value == pytest.approx(sum(p.value for p in parts), rel=3e-6)


def circle(k):
    angles = 2 * np.pi * np.arange(k) / k
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_joint_squared_outputs_reach_the_optimum_on_a_grid_of_directions():
    X, y = small(7, n=12, outputs=2)
    problem = ConvexReLUProblem(X, y, 0.03, hidden_bias=False)
    grid = direction_program(problem, circle(360))
    result = solve_convex_relu(X, y, 0.03, hidden_bias=False, max_iter=30)
    assert result.value <= grid * (1 + 1e-4)
    assert result.value >= grid * (1 - 1e-3)  # a grid of one degree is that good
    assert result.bound <= grid
    separate = solve_convex_relu(X, y, 0.03, hidden_bias=False, output_penalty="l1", certify=False)
    assert result.value <= problem.objective(separate.solution) * (1 + 1e-6)
    assert result.value <= separate.value * (1 + 1e-6)


def test_joint_multinomial_reaches_the_optimum_on_a_grid_of_directions():
    X, y = small(8, n=12)
    codes = targets_for("multinomial", y)
    problem = ConvexReLUProblem(X, codes, 0.03, "multinomial", hidden_bias=False)
    grid = direction_program(problem, circle(180))
    result = solve_convex_relu(X, codes, 0.03, loss="multinomial", hidden_bias=False, max_iter=30)
    assert result.value <= grid * (1 + 1e-4)
    assert result.value >= grid * (1 - 2e-3)
    assert result.bound <= grid


# -- the constant -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge", "multinomial"])
@pytest.mark.parametrize("output_penalty", ["l2", "l1"])
def test_above_the_bound_of_alpha_max_the_constant_is_certified(loss, output_penalty):
    X, y = small(9, n=15, d=3)
    switches = {"loss": loss, "output_penalty": output_penalty}
    y = targets_for(loss, y)
    # without trees: the bound that training itself finds by eigenvalues
    alpha = alpha_max_bound(X, y, max_work=0, **switches) * (1 + 1e-6)
    result = solve_convex_relu(X, y, alpha, **switches)
    assert result.solution.widths == (0,)
    assert result.proof is Proof.CERTIFIED
    assert result.status is Status.OPTIMAL
    assert result.relative_gap <= 1e-9
    problem = ConvexReLUProblem(X, y, alpha, **switches)
    assert result.value == pytest.approx(problem.null_value, rel=1e-13)


def test_just_above_alpha_max_nothing_beats_the_constant():
    X, y = small(10, n=15)
    alpha = alpha_max(X, y, all_patterns(design(X, True))) * (1 + 1e-6)
    result = solve_convex_relu(X, y, alpha)
    assert result.solution.widths == (0,)
    assert result.value == ConvexReLUProblem(X, y, alpha).null_value


def test_just_below_alpha_max_a_neuron_enters():
    X, y = small(10, n=15)
    alpha = alpha_max(X, y, all_patterns(design(X, True))) * (1 - 1e-2)
    result = solve_convex_relu(X, y, alpha)
    assert result.solution.widths[0] >= 1
    assert result.value < ConvexReLUProblem(X, y, alpha).null_value


# -- behaviour --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared", "logistic", "multinomial"])
def test_values_never_rise(loss):
    X, y = small(11, n=40, d=3)
    result = solve_convex_relu(X, targets_for(loss, y), 2e-3, loss=loss, max_iter=10, certify=False)
    assert len(result.trace) >= 3
    assert np.all(np.diff(result.trace.value) <= 1e-12 * result.trace.value[0])
    assert result.trace.value[-1] == result.value
    assert np.all(result.trace.bound <= result.value)
    assert np.all(np.diff(result.trace.elapsed) >= 0)


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge", "multinomial"])
def test_same_seed_same_bits(loss):
    X, y = small(12, n=25, d=3)
    one, other = (
        solve_convex_relu(X, targets_for(loss, y), 5e-3, loss=loss, random_state=7, max_iter=8) for _ in range(2)
    )
    assert one.value == other.value
    assert one.bound == other.bound
    for a, b in zip(
        (*one.solution.weights, *one.solution.biases), (*other.solution.weights, *other.solution.biases), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_rows_in_another_order_give_the_same_bits():
    X, y = small(13, n=25, d=3)
    order = np.random.default_rng(0).permutation(25)
    one, other = solve_convex_relu(X, y, 5e-3), solve_convex_relu(X[order], y[order], 5e-3)
    np.testing.assert_array_equal(one.solution.weights[0], other.solution.weights[0])


def test_generators_and_none_are_seeds_too():
    X, y = small(14, n=12)
    values = [solve_convex_relu(X, y, 0.02, random_state=s).value for s in (0, np.random.default_rng(0), None)]
    assert values[0] == values[1]
    assert values[2] == pytest.approx(values[0], rel=1e-5)


@pytest.mark.parametrize("loss", ["squared", "logistic", "multinomial"])
@pytest.mark.parametrize("max_iter", [1, 20])
def test_a_warm_start_is_never_made_worse(loss, max_iter):
    X, y = small(15, n=25, d=3)
    y = targets_for(loss, y)
    problem = ConvexReLUProblem(X, y, 5e-3, loss)
    start = solve_convex_relu(X, y, 5e-3, loss=loss, certify=False, max_iter=30, random_state=1).solution
    again = solve_convex_relu(X, y, 5e-3, loss=loss, certify=False, warm_start=start, max_iter=max_iter)
    assert again.value <= problem.objective(start) * (1 + 1e-12)


def test_a_poor_warm_start_is_improved():
    X, y = small(16, n=25)
    rng = np.random.default_rng(0)
    start = ReLUNetwork([rng.standard_normal((3, 2)), rng.standard_normal((1, 3))], [np.zeros(3), np.zeros(1)])
    cold = solve_convex_relu(X, y, 5e-3)
    warm = solve_convex_relu(X, y, 5e-3, warm_start=start)
    assert warm.value == pytest.approx(cold.value, rel=1e-5)


def test_a_warm_start_of_width_zero_is_a_start():
    X, y = small(16, n=25)
    start = ReLUNetwork([np.empty((0, 2)), np.empty((1, 0))], [np.empty(0), np.zeros(1)])
    assert solve_convex_relu(X, y, 5e-3, warm_start=start).value == pytest.approx(
        solve_convex_relu(X, y, 5e-3).value, rel=1e-5
    )

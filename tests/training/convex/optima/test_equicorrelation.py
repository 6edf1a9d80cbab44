"""The neurons that optima may use: figures of the sheet, and an independent projection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles import cone_program, planar_patterns, projection_norms
from problems import FIXED_PROGRAMS, PLAIN, T1_LAMBDA_MAX, T1_OPTIMA, identity_case, small, t1, table, targets_for, xor

from rectifold.core.errors import ProblemError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.alpha_max import alpha_max
from rectifold.training.convex.optima import exact_solution as exact_module
from rectifold.training.convex.optima.equicorrelation import equicorrelation, identify
from rectifold.training.convex.optima.exact_solution import (
    ExactSolution,
    bound_solution,
    exact_solution,
    point_solution,
)
from rectifold.training.convex.restricted.patterns import PatternSet, all_patterns, sample_patterns
from rectifold.training.convex.restricted.training import pattern_set
from rectifold.training.convex.restricted.working_set import solve_on_patterns

SWITCHES = ((True, True), (True, False), (False, True), (False, False), ("free", True))


def t1_problem(fraction=0.01):
    X, y = t1()
    return ConvexReLUProblem(X, y, fraction * T1_LAMBDA_MAX / 10, **PLAIN)


def test_twenty_blocks_of_t1_are_ten_neurons_with_a_wide_margin():
    blocks = equicorrelation(t1_problem())
    assert blocks.n_blocks == 20
    assert len(blocks) == 10
    assert blocks.complete
    assert 1 - blocks.margin == pytest.approx(0.66717, abs=5e-6)
    assert np.linalg.matrix_rank(blocks.activations, tol=1e-9) == 7
    assert 10 * blocks.objective == pytest.approx(T1_OPTIMA[0.01], rel=1e-9)


def test_blocks_are_those_of_an_independent_projection():
    problem = t1_problem()
    blocks = equicorrelation(problem)
    norms = projection_norms(problem.design, planar_patterns(problem.design), blocks.theta[:, 0]) / problem.alpha
    assert (norms > 1 - 1e-8).sum() == blocks.n_blocks
    assert norms.max() <= 1 + 1e-9
    assert norms[norms <= 1 - 1e-8].max() == pytest.approx(1 - blocks.margin, abs=1e-8)


def test_unmerged_directions_are_the_merged_ones_again():
    """Merging is by direction: with the tolerance of the eye there are as many."""
    blocks = equicorrelation(t1_problem())
    cosines = (blocks.directions @ blocks.directions.T)[np.equal.outer(blocks.signs, blocks.signs)]
    assert (cosines > 1 - 1e-4).sum() == len(blocks)


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_neurons_attain_alpha_and_combine_to_the_fit(loss, switches):
    X, y = small(3, n=14)
    y = targets_for(loss, y)
    weight = np.random.default_rng(0).uniform(0.2, 2.0, len(y))
    options = {"loss": loss, "hidden_bias": switches[0], "fit_intercept": switches[1], "sample_weight": weight}
    problem = ConvexReLUProblem(X, y, 0.05 * alpha_max(X, y, **options), **options)
    blocks = equicorrelation(problem)
    gains = blocks.theta.ravel() @ blocks.activations
    np.testing.assert_allclose(gains, problem.alpha, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(blocks.directions, axis=1), 1.0, rtol=1e-12)
    if problem.fit_intercept:
        assert abs(blocks.theta.sum()) < 1e-12
    heights = blocks.directions @ problem.design.T
    assert np.where(blocks.cells, heights, -heights).min() >= -1e-9 * np.abs(heights).max(), "outside its cell"
    assert np.abs(heights[blocks.tight]).max(initial=0.0) <= 1e-9 * np.abs(heights).max()


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
def test_fit_and_objective_are_those_of_a_conic_solver(loss):
    X, y = small(4, n=12)
    problem = ConvexReLUProblem(X, targets_for(loss, y), 3e-3, loss)
    patterns = all_patterns(problem.design)
    conic = cone_program(problem, patterns)
    blocks = equicorrelation(problem)
    assert blocks.objective == pytest.approx(conic.value, rel=1e-7)
    used = np.flatnonzero(np.linalg.norm(conic.weights, axis=1) > 1e-4)
    units = conic.weights[used] / np.linalg.norm(conic.weights[used], axis=1, keepdims=True)
    for unit, sign in zip(units, conic.signs[used], strict=True):
        same = blocks.directions[blocks.signs == sign]
        assert np.abs(same - unit).max(axis=1).min() < 1e-3, "the conic solver uses a neuron that E does not have"


def test_search_finds_the_neurons_of_the_enumeration():
    problem = t1_problem()
    every, found = equicorrelation(problem), equicorrelation(problem, max_patterns=5)
    assert not found.complete
    assert found.patterns is None
    assert len(found) == len(every)
    order = [np.lexsort((blocks.directions[:, 0], blocks.signs)) for blocks in (every, found)]
    np.testing.assert_allclose(every.directions[order[0]], found.directions[order[1]], atol=1e-9)


def test_closed_forms_have_one_neuron_a_sign():
    X, y = identity_case()
    blocks = equicorrelation(ConvexReLUProblem(X, y, 2.0 / 4, **PLAIN))
    assert 4 * blocks.objective == pytest.approx(32.0, rel=1e-12)
    assert sorted(blocks.signs) == [-1.0, 1.0]
    order = np.argsort(-blocks.signs)
    np.testing.assert_allclose(blocks.directions[order], [[0.6, 0.8, 0, 0], [0, 0, 5 / 13, 12 / 13]], atol=1e-12)


def test_sampled_programs_have_as_many_neurons_as_the_sheet_says():
    for program in (p for p in FIXED_PROGRAMS if p.data == "wine"):
        X, y = table(program.data)
        problem = ConvexReLUProblem(X, y, program.penalty / len(y), **PLAIN)
        blocks = equicorrelation(problem, pattern_set(problem, sample_patterns(X, 100, 0)))
        assert len(blocks) == program.active
        assert len(y) * blocks.objective == pytest.approx(program.optimum, rel=1e-8)
        assert blocks.relative_gap < 1e-12
        assert np.linalg.matrix_rank(blocks.activations, tol=1e-9) == program.active


def test_xor():
    X, y = xor()
    blocks = equicorrelation(ConvexReLUProblem(X, y, 0.1 / 4, **PLAIN))
    assert 4 * blocks.objective == pytest.approx(0.27284271, abs=1e-8)
    assert len(blocks) == 4


def test_above_alpha_max_there_is_no_neuron():
    blocks = equicorrelation(t1_problem(1.0001))
    assert len(blocks) == 0
    assert blocks.activations.shape == (10, 0)
    assert blocks.margin == pytest.approx(1 - 1 / 1.0001, rel=1e-6)


def test_outputs_under_l1_stand_side_by_side():
    X, y = small(7, outputs=3)
    problem = ConvexReLUProblem(X, y, 0.01, output_penalty="l1")
    blocks = equicorrelation(problem)
    parts = [equicorrelation(problem.output(k)) for k in range(3)]
    assert [int((blocks.output_index == k).sum()) for k in range(3)] == [len(part) for part in parts]
    gains = blocks.theta.ravel() @ blocks.activations
    np.testing.assert_allclose(gains, problem.alpha, rtol=1e-9)
    assert blocks.objective == pytest.approx(sum(part.objective for part in parts), rel=1e-12)


def test_where_many_cells_spoil_the_solver_one_cell_a_neuron_is_enough(monkeypatch):
    """Thin cells around one neuron stall interior-point steps; here everything beyond nine cells stalls."""
    calls = []

    def stalling(problem, patterns, interior, **options):
        calls.append(len(patterns))
        if len(patterns) > 9:
            options.update(tol=1e-1, max_rounds=1)
        return solve_on_patterns(problem, patterns, interior, **options)

    problem = t1_problem(0.1)
    every = PatternSet.all(problem.design)
    assert solve_on_patterns(problem, every.patterns, every.points, tol=1e-1, max_rounds=1).relative_gap > 1e-9
    monkeypatch.setattr(exact_module, "solve_on_patterns", stalling)
    exact = exact_solution(problem, every)
    assert exact.solution.relative_gap < 1e-11
    assert 10 * exact.solution.objective == pytest.approx(T1_OPTIMA[0.1], rel=1e-9)
    assert len(calls) > 1


# -- refusals -----------------------------------------------------------------------------------------------------


def test_joint_outputs_are_refused():
    X, y = small(7, outputs=2)
    with pytest.raises(ProblemError, match="share neurons"):
        equicorrelation(ConvexReLUProblem(X, y, 0.01))


def test_an_inexact_solution_is_refused_with_its_gap():
    problem = t1_problem()
    every = PatternSet.all(problem.design)
    solution = solve_on_patterns(problem, every.patterns, every.points, tol=1e-11)
    coarse = replace(solution, bound=solution.objective * (1 - 1e-4))
    with pytest.raises(ProblemError, match=r"gap of 0\.0001 only.*needs 1e-09"):
        identify(problem, ExactSolution(coarse, every, True))


def test_inexact_dual_points_are_refined():
    problem = t1_problem()
    every = PatternSet.all(problem.design)
    exact = exact_solution(problem, every)
    noise = np.random.default_rng(0).standard_normal(exact.solution.w.shape)
    w = exact.solution.w * (1 + 1e-9 * noise[:, :1])
    shaken = point_solution(problem, w, exact.solution.program.signs, 0.0, exact.solution.program.patterns)
    bound_solution(problem, shaken, every, None)
    assert shaken.largest > problem.alpha * (1 + 1e-9)
    blocks = identify(problem, ExactSolution(shaken, every, True))
    assert blocks.spread < 1e-12
    np.testing.assert_allclose(blocks.fit, identify(problem, exact).fit, atol=1e-12)


def test_a_neuron_that_is_about_to_enter_cannot_be_told_apart():
    X, y = t1()
    entry = alpha_max(X, y, all_patterns(X), **PLAIN)
    with pytest.raises(ProblemError, match=r"cannot be told from the next.*falls short of it by 5e-10"):
        equicorrelation(ConvexReLUProblem(X, y, entry * (1 + 5e-10), **PLAIN))
    assert len(equicorrelation(ConvexReLUProblem(X, y, entry * (1 + 1e-7), **PLAIN))) == 0
    assert len(equicorrelation(ConvexReLUProblem(X, y, entry * (1 - 1e-7), **PLAIN))) == 1


def test_a_program_that_takes_many_working_sets_is_solved_to_rounding(monkeypatch):
    """Noisy labels and a small alpha: two thirds as many neurons as samples, found over eight rounds or so."""
    rng = np.random.default_rng(1)
    X = np.c_[rng.standard_normal((120, 6)), np.ones(120)]
    y = np.sign(X[:, 0] + 1.5 * rng.standard_normal(120))
    patterns = np.unique(X @ rng.standard_normal((7, 300)) > 0, axis=1)
    problem = ConvexReLUProblem(X, y, 1e-3, **PLAIN)
    monkeypatch.setattr(exact_module, "_on_few_cells", lambda problem, chosen, solution: solution)
    exact = exact_solution(problem, pattern_set(problem, patterns))
    assert exact.solution.rounds > 6
    assert exact.solution.relative_gap <= 1e-9

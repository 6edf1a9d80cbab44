"""Programs solved to rounding: what identifying the neurons of optima asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.geometry.arrangement import Arrangement
from rectifold.geometry.cones import ConeProjector
from rectifold.training.convex.restricted.blocks import BlockProgram
from rectifold.training.convex.restricted.patterns import PatternSet, move_off_kinks
from rectifold.training.convex.restricted.working_set import BlockSolution, solve_on_patterns
from rectifold.training.convex.search.pricing import price, starting_directions

__all__ = [
    "ExactSolution",
    "bound_solution",
    "cells_of",
    "exact_over_all",
    "exact_solution",
    "point_solution",
    "solution_of_network",
]

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

_TOL = 1e-11
_SOLVE_ROUNDS = 20
_PRICING_ROUNDS = 30
_EXCESS = 1e-10
_NEARLY = 0.98
_NEW_PER_ROUND = 60
_NEGLIGIBLE = 1e-9
_ENOUGH = 1e-11
_FEW_CELLS_ROUNDS, _STALLED, _ENTERING = 40, 4, 20
_SAME_NEURON, _SEPARATION = 1e-3, 0.02


@dataclass(frozen=True, eq=False)
class ExactSolution:
    """A program's solution and its patterns.

    Attributes
    ----------
    solution : BlockSolution
        Its bound is that of the program on ``patterns``.
    patterns : PatternSet
    complete : bool
        Whether ``patterns`` are all of the program's.
    allowed : ndarray of bool, shape (2, P), or None
        Which output signs, + first, each pattern may have; None if both.
    """

    solution: BlockSolution
    patterns: PatternSet
    complete: bool
    allowed: Bits | None = None


def exact_solution(problem: ConvexReLUProblem, chosen: PatternSet) -> ExactSolution:
    """Solve the one-output program on given patterns until its relative gap is at rounding level, if it can be done."""
    solution = solve_on_patterns(problem, chosen.patterns, chosen.points, tol=_TOL, max_rounds=_SOLVE_ROUNDS)
    bound_solution(problem, solution, chosen, None)  # that of its own residual: the solver keeps the best of several
    if solution.relative_gap > _ENOUGH:
        solution = _on_few_cells(problem, chosen, solution)
    return ExactSolution(solution, chosen, True)


def _on_few_cells(problem: ConvexReLUProblem, chosen: PatternSet, solution: BlockSolution) -> BlockSolution:
    """Solve with one cell a neuron: many cells around one neuron spoil the conditioning of interior-point steps."""
    d = problem.design.shape[1]
    nothing = np.empty((0, len(problem.design)), dtype=bool)
    null = point_solution(problem, np.empty((0, d)), np.empty(0), float(problem.null_intercept[0]), nothing)
    best = solution
    for start in (solution, null):
        best = min(best, _grown(problem, chosen, start), key=lambda s: s.relative_gap)
        if best.relative_gap <= _ENOUGH:
            break
    return best


def _grown(problem: ConvexReLUProblem, chosen: PatternSet, solution: BlockSolution) -> BlockSolution:
    """Let the cells whose price exceeds alpha enter beside those in use, one of each neighbourhood, until none does."""
    projector, best, stalled = ConeProjector(problem.design, chosen.patterns), None, 0
    index = {pattern.tobytes(): p for p, pattern in enumerate(chosen.patterns)}
    for _ in range(_FEW_CELLS_ROUNDS):
        signs = solution.program.signs
        order = np.argsort(-np.linalg.norm(solution.w, axis=1), kind="stable")
        own = order[_separate(solution.w[order], signs[order], _SAME_NEURON)]
        cells = [index[solution.program.patterns[b].tobytes()] for b in own]
        projections = projector.project(solution.theta, 0.5 * problem.alpha)
        norms, points = projections.norms.ravel(), projections.points.reshape(2 * len(chosen), -1)
        over = np.flatnonzero(norms > problem.alpha * (1 + _EXCESS))
        over = over[np.argsort(-norms[over], kind="stable")]
        side = np.where(over < len(chosen), 1.0, -1.0)
        entering = over[_separate(points[over], side, _SEPARATION)][:_ENTERING] % len(chosen)
        used = np.unique(np.concatenate([np.array(cells, dtype=np.intp), entering]))
        if len(used) == 0:
            break
        solution = solve_on_patterns(
            problem, chosen.patterns[used], chosen.points[used], tol=_TOL, max_rounds=_SOLVE_ROUNDS
        )
        bound_solution(problem, solution, chosen, None)
        stalled = 0 if best is None or solution.relative_gap < 0.5 * best.relative_gap else stalled + 1
        best = solution if best is None else min(best, solution, key=lambda s: s.relative_gap)
        if best.relative_gap <= _ENOUGH or len(solution.w) == 0 or stalled >= _STALLED:
            break
    return solution if best is None else best


def _separate(directions: Array, signs: Array, angle: float) -> NDArray[np.intp]:
    """Return the rows that are not within an angle of an earlier one that is kept, of the same sign."""
    units = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
    kept: list[int] = []
    for b in range(len(units)):
        mine = [a for a in kept if signs[a] == signs[b]]
        if not mine or np.linalg.norm(units[mine] - units[b], axis=1).min() > angle:
            kept.append(b)
    return np.array(kept, dtype=np.intp)


def exact_over_all(
    problem: ConvexReLUProblem,
    max_patterns: int,
    n_starts: int,
    random_state: int | np.random.Generator | None,
    start: Array | None = None,
) -> ExactSolution:
    """Solve the one-output program over all patterns: by enumeration if that is affordable, else by pricing.

    Parameters
    ----------
    max_patterns : int
        Enumerate where Cover's bound on their number is at most this.
    n_starts : int
        Ascents a round of pricing.
    random_state : int, Generator or None
    start : ndarray, shape (k, d), optional
        Directions whose cells pricing starts from.
    """
    if Arrangement(problem.design).max_cells <= max_patterns:
        return exact_solution(problem, PatternSet.all(problem.design, max_patterns=max_patterns))
    rng = np.random.default_rng(random_state)
    d = problem.design.shape[1]
    points = np.empty((0, d)) if start is None else np.asarray(start, dtype=np.float64)
    theta = problem.null_theta
    if start is None or not len(points):
        points = price(problem, theta, starting_directions(problem, n_starts, rng)).directions
    chosen = cells_of(problem, points)
    return _priced(problem, chosen, n_starts, rng)


def _priced(problem: ConvexReLUProblem, chosen: PatternSet, n_starts: int, rng: np.random.Generator) -> ExactSolution:
    """Solve on the cells in use and let those enter whose price exceeds alpha, until a search finds none."""
    for _ in range(_PRICING_ROUNDS):
        exact = exact_solution(problem, chosen)
        solution = exact.solution
        own = solution.w / np.linalg.norm(solution.w, axis=1, keepdims=True)
        theta = solution.theta[:, None]
        if problem.fit_intercept:
            theta = problem.loss.to_domain(theta, problem.targets, problem.weights)
        priced = price(problem, theta, np.vstack([own, starting_directions(problem, n_starts, rng)]))
        violating = priced.values > problem.alpha * (1 + _EXCESS)
        wanted = violating if violating.any() else priced.values > _NEARLY * problem.alpha
        larger = cells_of(problem, np.vstack([chosen.points, priced.directions[wanted][:_NEW_PER_ROUND]]))
        grown, chosen = len(larger) > len(chosen), larger
        if not violating.any() or not grown:
            break
    bound_solution(problem, solution, chosen, None)  # cells that do not price out change the solution no more
    return ExactSolution(solution, chosen, False)


def cells_of(problem: ConvexReLUProblem, directions: Array) -> PatternSet:
    """Return the distinct cells of directions (k, d), each with an interior point far from its walls.

    A direction on a kink counts for a cell beside it.
    """
    points, _ = move_off_kinks(problem.design, directions)
    if not len(points):
        return PatternSet(np.empty((0, len(problem.design)), dtype=bool), points)
    return PatternSet.from_columns(problem.design, (points @ problem.design.T > 0).T)


def solution_of_network(problem: ConvexReLUProblem, network: ReLUNetwork) -> ExactSolution:
    """Return a one-output network as a point of the program on its own cells, each with its neuron's output sign.

    The gap is zero, up to rounding, where the network is stationary.

    Raises
    ------
    ProblemError
        If it has no active neuron, or one whose kinks cannot be told apart in float64.
    """
    directions, outputs, intercept = problem.neurons(network)
    w, signs = directions * np.abs(outputs), np.sign(outputs[:, 0])
    sizes = np.linalg.norm(w, axis=1)
    kept = (sizes > _NEGLIGIBLE * sizes.max(initial=0.0)) & (w @ problem.design.T > 0).any(axis=1)
    w, signs = w[kept], signs[kept]
    points, moved = move_off_kinks(problem.design, w)
    if not len(w) or len(moved) < len(w):
        raise ProblemError(
            f"{len(w) - len(moved)} neurons lie on kinks that cannot be told apart in floating point."
            if len(w)
            else "The network has no neuron that is active on the data: there is no pattern to speak of."
        )
    patterns = points @ problem.design.T > 0
    chosen = PatternSet.from_columns(problem.design, patterns.T)
    allowed = np.zeros((2, len(chosen)), dtype=bool)
    for pattern, sign in zip(patterns, signs, strict=True):
        allowed[int(sign < 0), (chosen.patterns == pattern).all(axis=1)] = True
    solution = point_solution(problem, w, signs, float(intercept[0]), patterns)
    bound_solution(problem, solution, chosen, allowed)
    return ExactSolution(solution, chosen, True, allowed)


def point_solution(
    problem: ConvexReLUProblem, w: Array, signs: Array, intercept: float, patterns: Bits
) -> BlockSolution:
    """Return convex weights as a `BlockSolution` whose bound is yet to be filled in."""
    program = BlockProgram(problem, patterns, signs)
    theta = program.theta(program.fit(w, intercept))
    value = program.objective(w, intercept)
    return BlockSolution(program, w, intercept, theta, np.zeros_like(patterns), value, -np.inf, np.inf, 0, 0)


def bound_solution(
    problem: ConvexReLUProblem, solution: BlockSolution, chosen: PatternSet, allowed: Bits | None
) -> None:
    """Fill in the dual bound that the residual's correlations with the allowed blocks prove."""
    loss, theta = problem.loss, solution.theta[:, None]
    if problem.fit_intercept:
        theta = loss.to_domain(theta, problem.targets, problem.weights)
    norms = ConeProjector(problem.design, chosen.patterns).price(theta[:, 0], problem.alpha)
    norms = norms if allowed is None else norms[allowed]
    solution.largest = max(float(norms.max(initial=0.0)), problem.alpha)
    t = loss.best_scale(theta, problem.targets, problem.weights, problem.alpha / solution.largest)
    solution.bound = loss.dual_value(t * theta, problem.targets, problem.weights)

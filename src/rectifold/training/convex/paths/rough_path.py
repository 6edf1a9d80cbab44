"""A rough path for cross-validation: one round of pricing and a short descent at each alpha, whatever the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.budget import Budget
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof, Result, Status
from rectifold.training.convex.options import TrainingOptions
from rectifold.training.convex.proof.global_bound import lower_bound
from rectifold.training.convex.search.descent import Neurons, descend, extended
from rectifold.training.convex.search.network_descent import descend_and_price, merged, prune
from rectifold.training.convex.search.pricing import Priced, price, starting_directions

__all__ = ["first_order_result", "rough_path"]

Array = NDArray[np.float64]

_ENTERING = 8
_ROUNDS, _ENOUGH = 3, 1.1
_ASCENT = 40
_MERGE_ANGLE = 0.03
_SMALL = 1e-3
_LARGE = 2e4


def rough_path(
    problem: ConvexReLUProblem,
    alphas: Sequence[float] | Array,
    *,
    start: ReLUNetwork | None = None,
    n_starts: int = 24,
    steps: int = 60,
    rng: np.random.Generator,
) -> Iterator[ReLUNetwork]:
    """Yield a network for each alpha of a falling grid, near the optimum: good enough to rank the alphas.

    Parameters
    ----------
    problem : ConvexReLUProblem
        At any alpha.
    alphas : sequence of float
    start : ReLUNetwork, optional
        Network of an alpha just above the grid.
    n_starts : int
        Starts of pricing at each alpha.
    steps : int
        L-BFGS steps at each alpha.
    rng : numpy.random.Generator

    Notes
    -----
    First order: about 1e-3 to 1e-2 above the optimum; nothing is known about the gap. ``O(n m (d + K))`` a step.
    """
    neurons = _none(problem) if start is None else Neurons(*problem.neurons(start))
    single = problem.design.size > _LARGE
    for alpha in alphas:
        at = problem.with_alpha(float(alpha))
        for rounds in range(_ROUNDS):
            priced = _priced(at, neurons, n_starts, rng)
            if rounds > 0 and priced.largest <= _ENOUGH * at.alpha:
                break
            neurons = _descended(at, extended(at, neurons, priced, _ENTERING), steps, single)
        yield at.network(neurons.directions, neurons.outputs, neurons.intercept)


def _priced(problem: ConvexReLUProblem, neurons: Neurons, n_starts: int, rng: np.random.Generator) -> Priced:
    theta = problem.theta(neurons.fit(problem.design))
    if problem.fit_intercept:
        theta = problem.loss.to_domain(theta, problem.targets, problem.weights)
    return price(problem, theta, starting_directions(problem, n_starts, rng), max_iter=_ASCENT, coarse=True)


def _descended(problem: ConvexReLUProblem, neurons: Neurons, steps: int, single: bool) -> Neurons:
    if len(neurons):
        neurons = prune(descend(problem, neurons, max_iter=steps, single=single), _SMALL)
    return merged(neurons, _MERGE_ANGLE) if len(neurons) else neurons


def _none(problem: ConvexReLUProblem) -> Neurons:
    d, k = problem.design.shape[1], problem.n_outputs
    return Neurons(np.empty((0, d)), np.empty((0, k)), np.asarray(problem.null_intercept))


def first_order_result(
    problem: ConvexReLUProblem, options: TrainingOptions, budget: Budget, start: ReLUNetwork
) -> Result[ReLUNetwork]:
    """Train from a network by descent and pricing alone, for data on which convex solves are dear.

    Parameters
    ----------
    problem : ConvexReLUProblem
    options : TrainingOptions
        ``max_iter`` rounds at most; the bound is the cheap one.
    budget : Budget
    start : ReLUNetwork

    Returns
    -------
    Result
        As that of `train`.
    """
    found = descend_and_price(
        problem, Neurons(*problem.neurons(start)), tol=options.tol, n_starts=options.n_starts,
        max_rounds=options.max_iter, rng=np.random.default_rng(options.random_state),
        known=np.empty((0, problem.design.shape[1])), should_stop=budget.should_stop,
        on_round=lambda r: budget.report("descent", r.objective, neurons=len(r.neurons), priced_gap=r.priced_gap),
    )  # fmt: skip
    network = problem.network(found.neurons.directions, found.neurons.outputs, found.neurons.intercept)
    network = min(network, start, key=problem.objective)
    bound, certificate, _ = lower_bound(problem, network, found.theta)
    value = problem.objective(network)
    gap = (value - bound) / value if value > 0 else 0.0
    best = min(gap, found.priced_gap)
    proof = Proof.CERTIFIED if gap <= options.gap_tol else Proof.PRICED if best <= options.gap_tol else Proof.RESTRICTED
    status = budget.status(Status.OPTIMAL if best <= options.tol else Status.ITERATION_LIMIT)
    stats = {
        "neurons": network.widths[0],
        "restricted_gap": np.nan,
        "priced_gap": found.priced_gap,
        "starts": found.starts,
        "rounds": found.rounds,
        "iterations": 0,
        "seconds": budget.elapsed,
    }
    return Result(network, value, bound, status, proof, certificate, stats, budget.trace())

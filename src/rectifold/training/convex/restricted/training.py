"""Training on given activation patterns, ReLU and gated."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rectifold._engine.budget import Budget
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import FREE_BIAS_SCALE, ConvexReLUProblem
from rectifold.core.result import Proof, Result, Status
from rectifold.training.convex.options import TrainingOptions
from rectifold.training.convex.proof.global_bound import restricted_bound
from rectifold.training.convex.restricted.gated import GatedModel, solve_gated
from rectifold.training.convex.restricted.patterns import PatternSet
from rectifold.training.convex.restricted.working_set import BlockSolution, solve_on_patterns
from rectifold.training.convex.search.descent import Neurons


def pattern_set(problem: ConvexReLUProblem, patterns: ArrayLike) -> PatternSet:
    """Return a user's patterns, columns over the rows of X, as patterns over the rows of ``problem.design``."""
    array = np.asarray(patterns)
    if array.ndim != 2 or array.shape[0] != problem.n_samples_given:
        raise ProblemError(f"patterns must have shape ({problem.n_samples_given}, P), got {array.shape}.")
    return PatternSet.from_columns(problem.design, array[problem.source_rows])


def train_restricted(
    problem: ConvexReLUProblem, chosen: PatternSet, options: TrainingOptions, budget: Budget
) -> Result[ReLUNetwork]:
    """Train on given patterns, an output at a time; the body of `solve_convex_relu` with ``patterns``.

    Raises
    ------
    ProblemError
        For several outputs that are not independent programs.
    """
    if problem.n_outputs > 1 and not (problem.output_penalty == "l1" and problem.loss.separable):
        raise ProblemError(
            "With given patterns and several outputs only the gated program is convex: use activation='gated', "
            "or output_penalty='l1' with a squared or squared-hinge loss, or leave patterns out."
        )
    parts = [
        _solve_output(problem.output(k) if problem.n_outputs > 1 else problem, chosen, options, budget)
        for k in range(problem.n_outputs)
    ]
    neurons = [_block_neurons(part) for part in parts]
    w = np.vstack([n.directions for n in neurons])
    a = np.vstack([n.outputs * (np.arange(problem.n_outputs) == k) for k, n in enumerate(neurons)])
    network = problem.network(w, a, np.array([part.intercept for part in parts]))
    theta = np.column_stack([part.theta for part in parts])
    value, bound = problem.objective(network), sum(part.bound for part in parts)
    gap = max(sum(part.objective for part in parts) - bound, 0.0) / value if value > 0 else 0.0
    if problem.hidden_bias == "free":  # the parts penalise the bias a little: see ConvexReLUProblem
        bound /= (1.0 + FREE_BIAS_SCALE**-2) ** 0.5
    certificate = restricted_bound(problem, network, chosen.columns, theta)[1] if options.certify else None
    bound = certificate.lower_bound if certificate is not None else bound
    status = budget.status(Status.OPTIMAL if gap <= options.tol else Status.ITERATION_LIMIT)
    stats = {
        "neurons": network.widths[0],
        "restricted_gap": gap,
        "priced_gap": np.nan,
        "patterns": len(chosen),
        "rounds": sum(part.rounds for part in parts),
        "iterations": sum(part.iterations for part in parts),
        "seconds": budget.elapsed,
    }
    return Result(network, value, bound, status, Proof.RESTRICTED, certificate, stats, budget.trace())


def _solve_output(
    problem: ConvexReLUProblem, chosen: PatternSet, options: TrainingOptions, budget: Budget
) -> BlockSolution:
    return solve_on_patterns(
        problem,
        chosen.patterns,
        chosen.points,
        tol=options.tol,
        max_rounds=options.max_iter,
        should_stop=budget.should_stop,
        on_round=lambda s: budget.report("working set", s.objective, s.bound, neurons=float(len(s.w))),
    )


def _block_neurons(part: BlockSolution) -> Neurons:
    size = np.sqrt(np.linalg.norm(part.w, axis=1))[:, None]
    return Neurons(part.w / size, part.program.signs[:, None] * size, np.array([part.intercept]))


def train_gated(
    problem: ConvexReLUProblem, chosen: PatternSet, options: TrainingOptions, budget: Budget
) -> Result[GatedModel]:
    """Train a gated network; the body of `solve_convex_relu` with ``activation="gated"``."""
    solution = solve_gated(
        problem, chosen, tol=options.tol, max_iter=100 * options.max_iter, should_stop=budget.should_stop
    )
    gap = max(solution.objective - solution.bound, 0.0) / solution.objective if solution.objective > 0 else 0.0
    status = budget.status(Status.OPTIMAL if gap <= options.tol else Status.ITERATION_LIMIT)
    budget.report("gated", solution.objective, solution.bound, neurons=float(solution.model.n_active))
    stats = {
        "neurons": solution.model.n_active,
        "restricted_gap": gap,
        "priced_gap": np.nan,
        "patterns": len(chosen),
        "iterations": solution.iterations,
        "seconds": budget.elapsed,
    }
    return Result(
        solution.model, solution.objective, solution.bound, status, Proof.RESTRICTED, None, stats, budget.trace()
    )

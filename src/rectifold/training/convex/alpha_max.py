"""The penalty above which the constant is optimal: found by pricing, and bounded by proof."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rectifold.core.problem import ConvexReLUProblem, HiddenBias
from rectifold.geometry.cones import ConeProjector
from rectifold.training.convex import global_bound
from rectifold.training.convex.patterns import PatternSet
from rectifold.training.convex.pricing import price, starting_directions


def alpha_max(
    X: ArrayLike,
    y: ArrayLike,
    patterns: ArrayLike | None = None,
    *,
    loss: str = "squared",
    hidden_bias: HiddenBias = True,
    fit_intercept: bool = True,
    output_penalty: str = "l2",
    sample_weight: ArrayLike | None = None,
    n_starts: int = 1000,
    random_state: int = 0,
) -> float:
    """Return the largest alpha at which a neuron was found to enter.

    Parameters
    ----------
    X, y, loss, hidden_bias, fit_intercept, output_penalty, sample_weight
        As in :class:`rectifold.ConvexReLUProblem`.
    patterns : array_like of bool, shape (n_samples, P), optional
        Only neurons of these activation patterns; the answer is then exact.
    n_starts : int
        Ascents of the search over all patterns.
    random_state : int

    Returns
    -------
    float
        Over all patterns a lower bound on the true value, attained by a neuron; see `alpha_max_bound` for a proof.
    """
    problem = ConvexReLUProblem(X, y, 1.0, loss, hidden_bias, fit_intercept, output_penalty, sample_weight)
    if patterns is not None:
        return _given_patterns(problem, patterns)
    starts = starting_directions(problem, n_starts, np.random.default_rng(random_state))
    return price(problem, problem.null_theta, starts).largest


def _given_patterns(problem: ConvexReLUProblem, patterns: ArrayLike) -> float:
    chosen = PatternSet.from_columns(problem.design, np.asarray(patterns)[problem.source_rows])
    projector = ConeProjector(problem.design, chosen.patterns)
    columns = problem.null_theta.T
    largest = [max(float(v.max(initial=0.0)) for v in projector.price(theta, -np.inf)) for theta in columns]
    joint = problem.output_penalty == "l2" and problem.n_outputs > 1
    return float(np.linalg.norm(largest)) if joint else max(largest)


def alpha_max_bound(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str = "squared",
    hidden_bias: HiddenBias = True,
    fit_intercept: bool = True,
    output_penalty: str = "l2",
    sample_weight: ArrayLike | None = None,
    max_work: int = 2_000_000,
) -> float:
    """Return a proven upper bound on the alpha at which the first neuron enters: above it the constant is optimal.

    Parameters
    ----------
    X, y, loss, hidden_bias, fit_intercept, output_penalty, sample_weight
        As in :class:`rectifold.ConvexReLUProblem`.
    max_work : int
        Effort of the search, in samples visited.
    """
    problem = ConvexReLUProblem(X, y, 1.0, loss, hidden_bias, fit_intercept, output_penalty, sample_weight)
    return global_bound.alpha_max_bound(problem, max_nodes=max_work // len(problem.design))[0]

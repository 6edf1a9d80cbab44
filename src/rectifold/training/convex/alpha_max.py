"""The penalty above which the constant is optimal: found by pricing, and bounded by proof."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.errors import ProblemError
from rectifold.core.pattern import unique_patterns
from rectifold.core.problem import ConvexReLUProblem, HiddenBias
from rectifold.geometry.cones import ConeProjector
from rectifold.training.convex.proof import global_bound
from rectifold.training.convex.restricted.training import pattern_set
from rectifold.training.convex.search.pricing import Priced, price, starting_directions

Array = NDArray[np.float64]

_POLISHED = 100
_POLISH_WORK = 1e7


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

    Raises
    ------
    ProblemError
        For data that do not fit, or patterns with several outputs under the l2 penalty, where only a search over all
        patterns is at hand.
    """
    problem = ConvexReLUProblem(X, y, 1.0, loss, hidden_bias, fit_intercept, output_penalty, sample_weight)
    if patterns is not None:
        return _given_patterns(problem, patterns)
    starts = starting_directions(problem, n_starts, np.random.default_rng(random_state))
    priced = price(problem, problem.null_theta, starts)
    if _is_joint(problem) or problem.design.size > _POLISH_WORK:
        return priced.largest
    return max(priced.largest, _polished(problem, priced, starts))


def _is_joint(problem: ConvexReLUProblem) -> bool:
    return problem.output_penalty == "l2" and problem.n_outputs > 1


def _polished(problem: ConvexReLUProblem, priced: Priced, starts: Array) -> float:
    """Return the exact maximum over the cells of the best starts and ends of the search.

    Ascent is slow where the maximum is on a kink, and leaves cells that are narrow.
    """
    most = int(np.clip(_POLISH_WORK / problem.design.size, 1, _POLISHED))
    gains = np.abs(np.maximum(starts @ problem.design.T, 0.0) @ problem.null_theta).max(axis=1)
    best = starts[np.argsort(-gains, kind="stable")[:most]]
    cells = np.vstack([priced.directions[:most], best]) @ problem.design.T > 0
    projector = ConeProjector(problem.design, cells[unique_patterns(cells)[0]])
    return max(_attained(problem.design, projector, theta) for theta in problem.null_theta.T)


def _attained(X: Array, projector: ConeProjector, theta: Array) -> float:
    """Return what the maximisers over the cells gain: on ill-scaled data less than the projections' norms may say."""
    points = projector.project(theta).points.reshape(-1, X.shape[1])
    lengths = np.linalg.norm(points, axis=1)
    points = points[lengths > 0] / lengths[lengths > 0, None]
    return float(np.abs(np.maximum(points @ X.T, 0.0) @ theta).max(initial=0.0))


def _given_patterns(problem: ConvexReLUProblem, patterns: ArrayLike) -> float:
    if _is_joint(problem):
        raise ProblemError(
            "With given patterns and several outputs alpha_max is a convex question under output_penalty='l1' only; "
            "leave patterns out to search over all."
        )
    return _largest(problem, pattern_set(problem, patterns).patterns)


def _largest(problem: ConvexReLUProblem, cells: NDArray[np.bool_]) -> float:
    projector = ConeProjector(problem.design, cells)
    return max(float(projector.price(theta).max(initial=0.0)) for theta in problem.null_theta.T)


def alpha_max_bound(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str = "squared",
    hidden_bias: HiddenBias = True,
    fit_intercept: bool = True,
    output_penalty: str = "l2",
    sample_weight: ArrayLike | None = None,
    max_work: int = 5_000_000_000,
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
    return global_bound.alpha_max_bound(problem, global_bound.ProofEffort(max_work=max_work))[0]

"""A proven lower bound on the training objective over all widths and weights, from the dual and a bound on pricing.

For any theta in the dual's domain and any upper bound ``sbar`` of what a neuron of unit penalty can gain at theta,
``D(t theta)`` with ``t <= alpha / sbar`` is a lower bound of F. This module rounds theta so that it is feasible
exactly, bounds pricing by one eigenvalue per output and sign, and by sign trees where the data are small enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.certificate import Evidence, TrainingCertificate
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import UNIT_ROUNDOFF, DyadicArray, gamma
from rectifold.training.convex.dual_rounding import round_dual
from rectifold.training.convex.pricing_bounds import (
    TreeBound,
    cover_count,
    never,
    pattern_bounds,
    sign_tree_bound,
    spectral_bound,
)
from rectifold.training.convex.pricing_rows import PricingRows

__all__ = [
    "BoundInfo",
    "TreeBound",
    "alpha_max_bound",
    "cover_count",
    "lower_bound",
    "pattern_bounds",
    "restricted_bound",
    "sign_tree_bound",
    "spectral_bound",
]

Array = NDArray[np.float64]

_CELLS_PER_NODE = 100
"""Sign trees are tried where the arrangement has at most this many cells per node of the budget."""


@dataclass(frozen=True, eq=False)
class BoundInfo:
    """How a lower bound came about.

    Attributes
    ----------
    spectral_bound : float
        Bound on pricing by eigenvalues.
    pricing_bound : float
        The bound that was used.
    scale : float
        The factor t of the dual point.
    violator : ndarray, shape (d,), or None
        A unit direction of one output that gains more than alpha at theta: the network is not optimal.
    n_nodes : int
        Tree nodes evaluated; 0 if none was tried.
    """

    spectral_bound: float
    pricing_bound: float
    scale: float
    violator: Array | None
    n_nodes: int


def lower_bound(
    problem: ConvexReLUProblem,
    network: ReLUNetwork,
    theta: Array | None = None,
    *,
    max_nodes: int = 2000,
    gap_tol: float = 1e-2,
    should_stop: Callable[[], bool] = never,
) -> tuple[float, TrainingCertificate, BoundInfo]:
    """Prove a lower bound on F over all widths and weights, with its certificate.

    Parameters
    ----------
    problem : ConvexReLUProblem
    network : ReLUNetwork
        The solution that the bound is for.
    theta : ndarray, shape (n, K), optional
        Dual vector, ``-dL/df`` at the network's fit if left out.
    max_nodes : int
        Effort of the sign trees; they are skipped where the data are too large for it.
    gap_tol : float
        Relative gap to aim at: the trees are grown until the bound on pricing is about that close to alpha.
    should_stop : callable
        Asks the trees to end with what they have.

    Returns
    -------
    bound : float
        Lowered by its rounding margin, so that `verify` accepts it at grade INTERVAL.
    certificate : TrainingCertificate
    info : BoundInfo
    """
    dual = round_dual(problem, problem.theta(problem.fit(network)) if theta is None else theta)
    pricing, evidence, rows, info = _bound_pricing(problem, dual, problem.alpha, max_nodes, gap_tol, should_stop)
    limit = problem.alpha / pricing * (1.0 - 1e-12) if pricing > 0 else 1.0
    values = dual.to_float()
    scale = problem.loss.best_scale(values, problem.targets, problem.weights, limit)
    certificate = _certificate(problem, network, dual, scale, evidence, rows)
    info = BoundInfo(info.spectral_bound, pricing, scale, info.violator, info.n_nodes)
    return certificate.lower_bound, certificate, info


def alpha_max_bound(
    problem: ConvexReLUProblem,
    *,
    max_nodes: int = 2000,
    gap_tol: float = 1e-2,
    should_stop: Callable[[], bool] = never,
) -> tuple[float, TrainingCertificate]:
    """Return a proven upper bound on the smallest alpha at which the constant is optimal.

    Returns
    -------
    bound : float
        At this alpha and above the best constant is a global minimum (up to the rounding of its value).
    certificate : TrainingCertificate
        Of the constant network for ``problem.with_alpha(bound)``.
    """
    dual = round_dual(problem, problem.null_theta)
    pricing, evidence, rows, _ = _bound_pricing(problem, dual, None, max_nodes, gap_tol, should_stop)
    bound = max(pricing * (1.0 + 1e-12), 1e-300)
    at_bound = problem.with_alpha(bound)
    d, k = problem.design.shape[1], problem.n_outputs
    constant = problem.network(np.empty((0, d)), np.empty((0, k)), problem.null_intercept)
    return bound, _certificate(at_bound, constant, dual, 1.0, evidence, rows)


def restricted_bound(
    problem: ConvexReLUProblem, network: ReLUNetwork, patterns: NDArray[np.bool_], theta: Array | None = None
) -> tuple[float, TrainingCertificate]:
    """Prove a lower bound on F over networks whose neurons have the given activation patterns only.

    Parameters
    ----------
    patterns : ndarray of bool, shape (n, P)
        Over the rows of ``problem.design``.
    """
    dual = round_dual(problem, problem.theta(problem.fit(network)) if theta is None else theta)
    pricing, evidence, rows = pattern_bounds(problem, dual, patterns)
    limit = problem.alpha / pricing * (1.0 - 1e-12) if pricing > 0 else 1.0
    scale = problem.loss.best_scale(dual.to_float(), problem.targets, problem.weights, limit)
    certificate = _certificate(problem, network, dual, scale, evidence, rows)
    return certificate.lower_bound, certificate


def _bound_pricing(
    problem: ConvexReLUProblem,
    dual: DyadicArray,
    alpha: float | None,
    max_nodes: int,
    gap_tol: float,
    should_stop: Callable[[], bool],
) -> tuple[float, Evidence, PricingRows, BoundInfo]:
    """Bound pricing by eigenvalues, and by trees where they are affordable; alpha None: as low as the budget allows."""
    spectral, evidence, rows = spectral_bound(problem, dual)
    info = BoundInfo(spectral, spectral, 1.0, None, 0)
    tau = 0.0 if alpha is None else alpha * (1.0 + 0.5 * gap_tol)
    if spectral <= tau or not _trees_pay(problem, max_nodes):
        return spectral, evidence, rows, info
    trees = sign_tree_bound(problem, dual, tau, max_nodes=max_nodes, should_stop=should_stop, tightness=0.5 * gap_tol)
    limit = np.inf if alpha is None else alpha * (1.0 + 1e-9) * trees.rows.factor
    violator = None if trees.attained <= limit else trees.violator
    if trees.bound >= spectral:
        return spectral, evidence, rows, BoundInfo(spectral, spectral, 1.0, violator, trees.n_nodes)
    return trees.bound, trees.evidence, trees.rows, BoundInfo(spectral, trees.bound, 1.0, violator, trees.n_nodes)


def _trees_pay(problem: ConvexReLUProblem, max_nodes: int) -> bool:
    n, d = problem.design.shape
    if max_nodes < 4 * problem.n_outputs or (d > 64 and n > 64):
        return False
    rank = d if n > d and d <= 2 else int(np.linalg.matrix_rank(problem.design))
    return cover_count(n, rank) <= _CELLS_PER_NODE * max_nodes


def _certificate(
    problem: ConvexReLUProblem,
    network: ReLUNetwork,
    dual: DyadicArray,
    scale: float,
    evidence: Evidence,
    rows: PricingRows,
) -> TrainingCertificate:
    objective = problem.objective(network)
    bound = min(_dual_value_lower(problem, scale * dual.to_float()), objective)
    return TrainingCertificate(
        problem=problem,
        problem_digest=problem.digest,
        network=network,
        objective=objective,
        lower_bound=bound,
        theta=dual,
        scale=float(scale),
        evidence=evidence,
        bias_center=rows.center,
        bias_scale=rows.scale,
    )


def _dual_value_lower(problem: ConvexReLUProblem, theta: Array) -> float:
    """Return D(theta) lowered by more than its rounding, never below 0, which bounds every loss."""
    value = problem.loss.dual_value(theta, problem.targets, problem.weights)
    size = abs(value) + float(np.abs(theta * problem.targets).sum())
    absolute = 64.0 * UNIT_ROUNDOFF * problem.n_outputs if problem.loss.name in ("logistic", "multinomial") else 0.0
    return max(value - (gamma(theta.size + 16) + 256.0 * UNIT_ROUNDOFF) * size - absolute, 0.0)

"""A proven lower bound on the training objective over all widths and weights, from the dual and a bound on pricing.

For any theta in the dual's domain and any upper bound ``sbar`` of what a neuron of unit penalty can gain at theta,
``D(t theta)`` with ``t <= alpha / sbar`` is a lower bound of F. This module rounds theta so that it is feasible
exactly, and bounds pricing by one eigenvalue per output and sign, or by trees of cones as far as a budget goes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.blas import single_threaded_blas
from rectifold.core.certificate import Evidence, TrainingCertificate
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import DyadicArray
from rectifold.training.convex.proof.dual_point import (
    BoundInfo,
    DualPoint,
    ProofEffort,
    best_scale,
    dual_value_lower,
)
from rectifold.training.convex.proof.dual_rounding import round_dual
from rectifold.training.convex.proof.pricing_bounds import pattern_bounds
from rectifold.training.convex.proof.pricing_rows import PricingRows
from rectifold.training.convex.proof.proof_rounds import prove_in_rounds

__all__ = ["BoundInfo", "ProofEffort", "alpha_max_bound", "lower_bound", "restricted_bound", "with_network"]

Array = NDArray[np.float64]


def lower_bound(
    problem: ConvexReLUProblem, network: ReLUNetwork, theta: Array | None = None, effort: ProofEffort | None = None
) -> tuple[float, TrainingCertificate, BoundInfo]:
    """Prove a lower bound on F over all widths and weights, with its certificate.

    Parameters
    ----------
    problem : ConvexReLUProblem
    network : ReLUNetwork
        The solution that the bound is for.
    theta : ndarray, shape (n, K), optional
        Dual vector, ``-dL/df`` at the network's fit if left out.
    effort : ProofEffort, optional
        Left out: the cheap bound only.

    Returns
    -------
    bound : float
        Lowered by its rounding margin, so that `verify` accepts it at grade INTERVAL.
    certificate : TrainingCertificate
    info : BoundInfo
    """
    effort = ProofEffort() if effort is None else effort
    dual = round_dual(problem, problem.theta(problem.fit(network)) if theta is None else theta)
    with single_threaded_blas:  # each of its many uses within would look for the libraries anew
        found = prove_in_rounds(problem, dual, problem.objective(network), effort)
    scale = best_scale(problem, found.dual.to_float(), found.pricing)
    certificate = _certificate(problem, network, found.dual, scale, found.evidence, found.rows)
    return certificate.lower_bound, certificate, replace(found.info, pricing_bound=found.pricing, scale=scale)


def alpha_max_bound(problem: ConvexReLUProblem, effort: ProofEffort | None = None) -> tuple[float, TrainingCertificate]:
    """Return a proven upper bound on the smallest alpha at which the constant is optimal.

    Returns
    -------
    bound : float
        At this alpha and above the best constant is a global minimum (up to the rounding of its value).
    certificate : TrainingCertificate
        Of the constant network for ``problem.with_alpha(bound)``.
    """
    effort = ProofEffort() if effort is None else effort
    dual = round_dual(problem, problem.null_theta)
    found = DualPoint(problem, dual, None, effort).prove(effort.max_work)
    bound = max(found.pricing * (1.0 + 1e-12), 1e-300)
    at_bound = problem.with_alpha(bound)
    d, k = problem.design.shape[1], problem.n_outputs
    constant = problem.network(np.empty((0, d)), np.empty((0, k)), problem.null_intercept)
    return bound, _certificate(at_bound, constant, dual, 1.0, found.evidence, found.rows)


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
    scale = best_scale(problem, dual.to_float(), pricing)
    certificate = _certificate(problem, network, dual, scale, evidence, rows)
    return certificate.lower_bound, certificate


def with_network(
    problem: ConvexReLUProblem, certificate: TrainingCertificate, network: ReLUNetwork
) -> TrainingCertificate:
    """Return the certificate for another network of the same problem: its lower bound holds for every one."""
    objective = problem.objective(network)
    bound = min(certificate.lower_bound, objective)
    return replace(certificate, network=network, objective=objective, lower_bound=bound)


def _certificate(
    problem: ConvexReLUProblem,
    network: ReLUNetwork,
    dual: DyadicArray,
    scale: float,
    evidence: Evidence,
    rows: PricingRows,
) -> TrainingCertificate:
    objective = problem.objective(network)
    bound = min(dual_value_lower(problem, scale * dual.to_float()), objective)
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

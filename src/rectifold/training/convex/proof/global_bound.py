"""A proven lower bound on the training objective over all widths and weights, from the dual and a bound on pricing.

For any theta in the dual's domain and any upper bound ``sbar`` of what a neuron of unit penalty can gain at theta,
``D(t theta)`` with ``t <= alpha / sbar`` is a lower bound of F. This module rounds theta so that it is feasible
exactly, and bounds pricing by one eigenvalue per output and sign, or by trees of cones as far as a budget goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.blas import single_threaded_blas
from rectifold._engine.executor import TaskPool
from rectifold.core.certificate import ConeTrees, Evidence, TrainingCertificate
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import UNIT_ROUNDOFF, DyadicArray, gamma
from rectifold.training.convex.proof.cone_sides import MAX_DIMENSION, attained_gains
from rectifold.training.convex.proof.dual_optimization import DualOptimization, OptimizedDual
from rectifold.training.convex.proof.dual_rounding import round_dual
from rectifold.training.convex.proof.pricing_bounds import pattern_bounds, spectral_bound
from rectifold.training.convex.proof.pricing_proof import LEAST_RHO, PricingProof, ProofProgress
from rectifold.training.convex.proof.pricing_rows import PricingRows, pricing_rows

__all__ = ["BoundInfo", "ProofEffort", "alpha_max_bound", "lower_bound", "restricted_bound", "with_network"]

Array = NDArray[np.float64]

_TREE_BIAS_RATIO = 30.0
"""Column of a free hidden bias in the trees, over the largest input: costs 0.06 %."""
_TREE_ROUNDING, _ROUNDING_PER_ROW, _ROUNDING_PER_SIZE = 1e-8, 1e-13, 5e-11
"""What `verify` may add to the bound of a tree for rounding, relative: its own figure is well below this."""
_LEAST_SIZE = 1e-140
"""Of the gains, below which the cheap bound is as good as any."""
_MAX_SIZE = 2e7
"""Entries of the design up to which trees are tried."""


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
        A unit direction, in design coordinates, that gains more than alpha at theta: the network is not optimal.
    attained : float
        The largest gain of a direction that the trees met, over its level; 0 if none was.
    work, n_nodes : int
        Samples and tree nodes visited; 0 if no tree was tried.
    n_passes : int
        Sweeps of the finished trees that optimised the dual point.
    tree_work : int
        Samples that the trees of the bound took.
    """

    spectral_bound: float
    pricing_bound: float
    scale: float
    violator: Array | None = None
    attained: float = 0.0
    work: int = 0
    n_nodes: int = 0
    n_passes: int = 0
    tree_work: int = 0


@dataclass(frozen=True)
class ProofEffort:
    """What a proof may cost, and where it runs.

    Attributes
    ----------
    gap_tol : float
        Relative gap to aim at.
    max_work : int
        Samples that the trees may visit; 0: no trees.
    floor : float
        A gain over alpha that is known to be attained: no proof below it is tried.
    keep_leaves : bool
        Keep every leaf's multipliers in the certificate.
    pool : TaskPool or None
    should_stop : callable
    on_progress : callable
        Told how the proof stands, and the lower bound on F that it gives so far.
    """

    gap_tol: float = 1e-2
    max_work: int = 0
    floor: float = 0.0
    keep_leaves: bool = False
    pool: TaskPool | None = None
    should_stop: Callable[[], bool] = lambda: False
    on_progress: Callable[[ProofProgress, float], None] = lambda progress, bound: None


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
    values, objective = dual.to_float(), problem.objective(network)

    def value_at(pricing: float) -> float:
        return _value(problem, values, pricing, objective)

    levels = np.full(problem.n_outputs, problem.alpha)
    with single_threaded_blas:  # each of its many uses within would look for the libraries anew
        pricing, evidence, rows, info = _bound_pricing(problem, dual, levels, value_at, objective, effort)
        if isinstance(evidence, ConeTrees) and info.violator is None:
            optimized, info = _optimize_dual(problem, values, pricing, evidence, rows, info, objective, effort)
            if optimized is not None:
                dual, pricing, evidence = optimized.dual, optimized.pricing, optimized.trees
    scale = _scale(problem, dual.to_float(), pricing)
    certificate = _certificate(problem, network, dual, scale, evidence, rows)
    return certificate.lower_bound, certificate, replace(info, pricing_bound=pricing, scale=scale)


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
    pricing, evidence, rows, _ = _bound_pricing(problem, dual, np.zeros(problem.n_outputs), None, 0.0, effort)
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
    scale = _scale(problem, dual.to_float(), pricing)
    certificate = _certificate(problem, network, dual, scale, evidence, rows)
    return certificate.lower_bound, certificate


def _scale(problem: ConvexReLUProblem, values: Array, pricing: float) -> float:
    """Return the best factor t of the dual point that the bound on pricing allows."""
    limit = problem.alpha / pricing * (1.0 - 1e-12) if pricing > 0 else 1.0
    return float(problem.loss.best_scale(values, problem.targets, problem.weights, limit))


def _value(problem: ConvexReLUProblem, theta: Array, pricing: float, objective: float) -> float:
    """Return the lower bound on F that a bound on pricing gives."""
    return min(_dual_value_lower(problem, _scale(problem, theta, pricing) * theta), objective)


def _optimize_dual(
    problem: ConvexReLUProblem,
    theta: Array,
    pricing: float,
    trees: ConeTrees,
    rows: PricingRows,
    info: BoundInfo,
    objective: float,
    effort: ProofEffort,
) -> tuple[OptimizedDual | None, BoundInfo]:
    """Look for a better dual point that the trees prove, with the work that they left; count what it took."""
    value, wanted = _value(problem, theta, pricing, objective), (1.0 - effort.gap_tol) * objective
    left = effort.max_work - info.work
    needed = DualOptimization.least_work(rows.X, info.tree_work, effort.keep_leaves)
    is_optimal = info.violator is None  # otherwise the dual point is about to change
    if (
        not is_optimal
        or value >= wanted
        or left < needed
        or not DualOptimization.applies(problem)
        or effort.should_stop()
    ):
        return None, info
    rounding = _rounding(rows, theta, problem.alpha)
    rho = pricing / problem.alpha

    def tell(best: float, n_passes: int) -> None:
        effort.on_progress(ProofProgress(rho, rho, info.n_nodes, 0.0, n_passes), best)

    method = DualOptimization(
        problem,
        rows.X,
        trees,
        lambda bounds: rows.combine(bounds, problem) * (1.0 + rounding),
        lambda point, price: _value(problem, point, price, objective),
        left,
        effort.pool,
        effort.should_stop,
        tell,
    )
    found = method.run(theta / rho, value, wanted, objective, info.tree_work, effort.keep_leaves)
    return found, replace(info, work=info.work + method.work, n_passes=method.n_sweeps)


def _rounding(rows: PricingRows, theta: Array, level: float) -> float:
    """Return more than `verify` adds to the bound of a tree for rounding, relative to a level."""
    size = float((np.linalg.norm(rows.X, axis=1) @ np.abs(theta)).max())
    return max(_TREE_ROUNDING, _ROUNDING_PER_ROW * len(theta), _ROUNDING_PER_SIZE * size / level)


def _bound_pricing(
    problem: ConvexReLUProblem,
    dual: DyadicArray,
    levels: Array,
    value_at: Callable[[float], float] | None,
    objective: float,
    effort: ProofEffort,
) -> tuple[float, Evidence, PricingRows, BoundInfo]:
    """Bound pricing by eigenvalues, and by trees where that is not enough.

    ``value_at`` turns a bound on pricing into one on F; without it the trees aim at a bound within gap_tol of the gains
    that are attained.
    """
    wanted = (1.0 - effort.gap_tol) * objective
    spectral, evidence, rows = spectral_bound(problem, dual)
    info = BoundInfo(spectral, spectral, 1.0)
    enough = value_at is not None and value_at(spectral) >= wanted
    d = problem.design.shape[1]
    if enough or effort.max_work < 1 or d > MAX_DIMENSION or problem.design.size > _MAX_SIZE or spectral <= 0.0:
        return spectral, evidence, rows, info
    tree_rows, values = pricing_rows(problem, _TREE_BIAS_RATIO), dual.to_float()
    gains, directions = attained_gains(tree_rows.X, values)
    sizes = np.linalg.norm(tree_rows.X, axis=1) @ np.abs(values)
    if sizes.max() < _LEAST_SIZE:
        return spectral, evidence, rows, info
    is_own_level = value_at is None or _is_joint(problem)
    if is_own_level:
        levels = np.maximum(gains, 1e-5 * float(sizes.max()))
    rounding = _rounding(tree_rows, values / levels, 1.0)
    base = tree_rows.combine(levels, problem) * (1.0 + rounding)

    def tell(progress: ProofProgress) -> None:
        bound = min(progress.proven * base, spectral)
        effort.on_progress(progress, -np.inf if value_at is None else value_at(bound))

    if value_at is None:
        goal = 1.0 + effort.gap_tol
    else:
        goal = _goal(lambda rho: value_at(rho * base) >= wanted)
    worst = int((gains / levels).argmax())
    attained = float(gains[worst] / levels[worst])
    if attained > max(goal, effort.floor * 1.0005):  # a neuron is missing: no need of trees to see it
        missing = tree_rows.in_design(directions[worst], problem)
        return spectral, evidence, rows, BoundInfo(spectral, spectral, 1.0, missing, attained)

    def reserve(tree_work: float) -> float:
        return DualOptimization.least_work(tree_rows.X, tree_work, effort.keep_leaves)

    proof = PricingProof(tree_rows.X, values, levels, effort.pool, effort.keep_leaves)
    proven = proof.run(
        goal,
        effort.max_work,
        ceiling=spectral / base,
        floor=effort.floor,
        stop_at_violator=not is_own_level,
        should_stop=effort.should_stop,
        on_progress=tell,
        reserve=reserve if value_at is not None and DualOptimization.applies(problem) else None,
    )
    violator = None if proven.violator is None else tree_rows.in_design(proven.violator, problem)
    if is_own_level and violator is not None and not _enters(problem, values, violator):
        violator = None
    info = BoundInfo(
        spectral, spectral, 1.0, violator, proven.attained, proven.work, proven.n_nodes, tree_work=proven.tree_work
    )
    if proven.trees is None or proven.rho * base >= spectral:
        return spectral, evidence, rows, info
    return proven.rho * base, proven.trees, tree_rows, info


def _enters(problem: ConvexReLUProblem, values: Array, direction: Array) -> bool:
    gains = np.maximum(problem.design @ direction, 0.0) @ values
    return bool(np.linalg.norm(gains, 2 if _is_joint(problem) else np.inf) > problem.alpha)


def _goal(enough: Callable[[float], bool]) -> float:
    """Return the largest rho that is enough, or the least there is."""
    low, high = LEAST_RHO, 64.0
    for _ in range(40):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low / (1.0 + 1e-6)


def _is_joint(problem: ConvexReLUProblem) -> bool:
    return problem.output_penalty == "l2" and problem.n_outputs > 1


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

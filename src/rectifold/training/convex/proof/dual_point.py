"""What one dual point proves about F: pricing at it is bounded by eigenvalues, or by trees of cones within a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.executor import TaskPool
from rectifold.core.certificate import ConeTrees, Evidence
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import UNIT_ROUNDOFF, DyadicArray, gamma
from rectifold.training.convex.proof.cone_sides import MAX_DIMENSION, attained_gains
from rectifold.training.convex.proof.dual_optimization import DualOptimization
from rectifold.training.convex.proof.pricing_bounds import spectral_bound
from rectifold.training.convex.proof.pricing_proof import LEAST_RHO, PricingProof, ProofProgress, Proven
from rectifold.training.convex.proof.pricing_rows import PricingRows, pricing_rows

__all__ = ["BoundInfo", "DualBound", "DualPoint", "ProofEffort", "best_scale", "dual_value_lower"]

Array = NDArray[np.float64]

_TREE_BIAS_RATIO = 30.0
"""Column of a free hidden bias in the trees, over the largest input: costs 0.06 %."""
_TREE_ROUNDING, _ROUNDING_PER_ROW, _ROUNDING_PER_SIZE = 1e-8, 1e-13, 5e-11
"""What `verify` may add to the bound of a tree for rounding, relative: its own figure is well below this."""
_LEAST_SIZE = 1e-140
"""Of the gains, below which the cheap bound is as good as any."""
_MAX_SIZE = 2e7
"""Entries of the design up to which trees are tried."""
_LEAST_TO_OPTIMIZE = 6e8
"""Budget below which the programs that optimise a dual point take longer than they are worth, in CPU time."""
_GAINED = 0.13
"""Of the gap at a network's own dual point, that optimising it on the same trees is expected to close."""


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


@dataclass(frozen=True, eq=False)
class DualBound:
    """A dual point with what is proven about pricing at it.

    Attributes
    ----------
    dual : DyadicArray
    pricing : float
        No neuron of unit penalty gains more.
    evidence : Evidence
    rows : PricingRows
        What the evidence speaks of.
    info : BoundInfo
    value : float
        The lower bound on F; minus infinity where there is no objective.
    """

    dual: DyadicArray
    pricing: float
    evidence: Evidence
    rows: PricingRows
    info: BoundInfo
    value: float


class DualPoint:
    """A dual point whose pricing is to be bounded.

    Parameters
    ----------
    problem : ConvexReLUProblem
    dual : DyadicArray
    objective : float or None
        F of the network. None: there is no network, and trees aim at a bound within gap_tol of what is attained.
    effort : ProofEffort
    is_networks : bool
        Whether theta is that of the network: then a direction that gains more than alpha refutes its optimality, and
        the search ends with it.
    """

    def __init__(
        self,
        problem: ConvexReLUProblem,
        dual: DyadicArray,
        objective: float | None,
        effort: ProofEffort,
        is_networks: bool = True,
    ) -> None:
        self.problem, self.dual, self.objective, self.effort = problem, dual, objective, effort
        self.theta = dual.to_float()
        self._spectral, self._evidence, self._rows = spectral_bound(problem, dual)
        self._is_own_level = objective is None or not is_networks or _is_joint(problem)
        self.is_networks = is_networks
        self._trees = self._prepared() if self._applies() else None

    def value_at(self, pricing: float) -> float:
        """Return the lower bound on F that a bound on pricing gives."""
        if self.objective is None:
            return -np.inf
        scale = best_scale(self.problem, self.theta, pricing)
        return min(dual_value_lower(self.problem, scale * self.theta), self.objective)

    @property
    def wanted(self) -> float:
        """The lower bound on F to aim at."""
        return np.inf if self.objective is None else (1.0 - self.effort.gap_tol) * self.objective

    def promise(self, max_work: float) -> float:
        """Return the lower bound that a budget is expected to give; costs random dives."""
        trees = self._trees
        if trees is None:
            return self.value_at(self._spectral)
        rho = trees.proof.least_affordable(trees.goal, int(max_work), self._spectral / trees.base)
        value = self.value_at(min(rho * trees.base, self._spectral))
        if self.is_networks and rho > trees.goal and self._can_optimize() and self.objective is not None:
            value += _GAINED * (self.objective - value)
        return value

    def prove(self, max_work: int, reserves: bool = True) -> DualBound:
        """Bound pricing, with trees up to so many samples; leave work for `optimized` where that promises more."""
        trees, effort = self._trees, self.effort
        if trees is None or max_work < 1:
            return self._bound(self._spectral, self._evidence, self._rows, self._info())
        worst = int((trees.gains / trees.levels).argmax())
        attained = float(trees.gains[worst] / trees.levels[worst])
        if attained > max(trees.goal, effort.floor * 1.0005):  # a neuron is missing: no need of trees to see it
            missing = trees.rows.in_design(trees.directions[worst], self.problem)
            info = replace(self._info(), violator=missing, attained=attained)
            return self._bound(self._spectral, self._evidence, self._rows, info)
        before = trees.proof.known
        proven = trees.proof.run(
            trees.goal,
            before.work + max_work,
            ceiling=self._spectral / trees.base,
            floor=effort.floor if self.is_networks else 0.0,
            stop_at_violator=not self._is_own_level,
            should_stop=effort.should_stop,
            on_progress=self._tell,
            reserve=self._reserve if reserves and self._can_optimize() else None,
        )
        info = replace(
            self._info(),
            violator=self._refutation(proven),
            attained=proven.attained,
            work=proven.work - before.work,
            n_nodes=proven.n_nodes - before.n_nodes,
            tree_work=proven.tree_work,
        )
        pricing = proven.rho * trees.base
        if proven.trees is None or pricing >= self._spectral:
            return self._bound(self._spectral, self._evidence, self._rows, info)
        return self._bound(pricing, proven.trees, trees.rows, info)

    def optimized(self, bound: DualBound, max_work: int) -> DualBound:
        """Return what a better dual point gives on the same trees, with the work counted, or the bound itself."""
        info, effort = bound.info, self.effort
        if (
            not isinstance(bound.evidence, ConeTrees)
            or info.violator is not None
            or bound.value >= self.wanted
            or not self._can_optimize()
            or max_work < DualOptimization.least_work(bound.rows.X, info.tree_work, effort.keep_leaves)
            or effort.should_stop()
        ):
            return bound
        assert self.objective is not None
        rounding = _rounding(bound.rows, self.theta, self.problem.alpha)
        rho = bound.pricing / self.problem.alpha

        def tell(best: float, n_passes: int) -> None:
            effort.on_progress(ProofProgress(rho, rho, info.n_nodes, 0.0, n_passes), best)

        method = DualOptimization(
            self.problem,
            bound.rows.X,
            bound.evidence,
            lambda bounds: bound.rows.combine(bounds, self.problem) * (1.0 + rounding),
            self._value_of,
            max_work,
            effort.pool,
            effort.should_stop,
            tell,
        )
        found = method.run(
            self.theta / rho, bound.value, self.wanted, self.objective, info.tree_work, effort.keep_leaves
        )
        info = replace(info, work=info.work + method.work, n_passes=method.n_sweeps)
        if found is None:
            return replace(bound, info=info)
        return DualBound(found.dual, found.pricing, found.trees, bound.rows, info, found.value)

    def _value_of(self, theta: Array, pricing: float) -> float:
        assert self.objective is not None
        return min(dual_value_lower(self.problem, best_scale(self.problem, theta, pricing) * theta), self.objective)

    def _applies(self) -> bool:
        """Whether trees are needed and possible."""
        enough = self.objective is not None and self.value_at(self._spectral) >= self.wanted
        design = self.problem.design
        small = design.shape[1] <= MAX_DIMENSION and design.size <= _MAX_SIZE
        return not enough and self.effort.max_work >= 1 and small and self._spectral > 0.0

    def _prepared(self) -> _Trees | None:
        """Rows, levels and goal of the trees; None where the gains are too small for them."""
        problem = self.problem
        rows = pricing_rows(problem, _TREE_BIAS_RATIO)
        gains, directions = attained_gains(rows.X, self.theta)
        sizes = np.linalg.norm(rows.X, axis=1) @ np.abs(self.theta)
        if sizes.max() < _LEAST_SIZE:
            return None
        levels = np.full(problem.n_outputs, problem.alpha)
        if self._is_own_level:
            levels = np.maximum(gains, 1e-5 * float(sizes.max()))
        base = rows.combine(levels, problem) * (1.0 + _rounding(rows, self.theta / levels, 1.0))
        goal = 1.0 + self.effort.gap_tol
        if self.objective is not None:
            goal = _goal(lambda rho: self.value_at(rho * base) >= self.wanted)
        proof = PricingProof(
            rows.X, self.theta, levels, self.effort.pool, self.effort.keep_leaves, self.effort.max_work
        )
        return _Trees(rows, gains, directions, levels, base, goal, proof)

    def _can_optimize(self) -> bool:
        enough = self.effort.max_work >= _LEAST_TO_OPTIMIZE
        return enough and self.objective is not None and DualOptimization.applies(self.problem)

    def _reserve(self, tree_work: float) -> float:
        assert self._trees is not None
        return DualOptimization.least_work(self._trees.rows.X, tree_work, self.effort.keep_leaves)

    def _refutation(self, proven: Proven) -> Array | None:
        """The direction that shows the network not to be optimal, in design coordinates."""
        if proven.violator is None or not self.is_networks or self._trees is None:
            return None
        violator = self._trees.rows.in_design(proven.violator, self.problem)
        return violator if not self._is_own_level or _enters(self.problem, self.theta, violator) else None

    def _tell(self, progress: ProofProgress) -> None:
        assert self._trees is not None
        bound = min(progress.proven * self._trees.base, self._spectral)
        self.effort.on_progress(progress, self.value_at(bound))

    def _info(self) -> BoundInfo:
        return BoundInfo(self._spectral, self._spectral, 1.0)

    def _bound(self, pricing: float, evidence: Evidence, rows: PricingRows, info: BoundInfo) -> DualBound:
        return DualBound(self.dual, pricing, evidence, rows, info, self.value_at(pricing))


@dataclass(frozen=True, eq=False)
class _Trees:
    """What trees at a dual point need: rho times ``base`` bounds pricing."""

    rows: PricingRows
    gains: Array
    directions: Array
    levels: Array
    base: float
    goal: float
    proof: PricingProof


def best_scale(problem: ConvexReLUProblem, theta: Array, pricing: float) -> float:
    """Return the best factor t of a dual point that the bound on pricing allows."""
    limit = problem.alpha / pricing * (1.0 - 1e-12) if pricing > 0 else 1.0
    return float(problem.loss.best_scale(theta, problem.targets, problem.weights, limit))


def dual_value_lower(problem: ConvexReLUProblem, theta: Array) -> float:
    """Return D(theta) lowered by more than its rounding, never below 0, which bounds every loss."""
    value = problem.loss.dual_value(theta, problem.targets, problem.weights)
    size = abs(value) + float(np.abs(theta * problem.targets).sum())
    absolute = 64.0 * UNIT_ROUNDOFF * problem.n_outputs if problem.loss.name in ("logistic", "multinomial") else 0.0
    return max(value - (gamma(theta.size + 16) + 256.0 * UNIT_ROUNDOFF) * size - absolute, 0.0)


def _rounding(rows: PricingRows, theta: Array, level: float) -> float:
    """Return more than `verify` adds to the bound of a tree for rounding, relative to a level."""
    size = float((np.linalg.norm(rows.X, axis=1) @ np.abs(theta)).max())
    return max(_TREE_ROUNDING, _ROUNDING_PER_ROW * len(theta), _ROUNDING_PER_SIZE * size / level)


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

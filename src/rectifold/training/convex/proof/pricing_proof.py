"""A proof that no neuron gains more than rho times a level: rho is chosen by what its trees are expected to cost.

Each rho is a question of its own, answered by trees of cones, one per output and sign (proven_bound sheet, section 2).
Coarse ones come first, each some times as dear as the one before: an interruption leaves the best rho proven so far,
and their costs tell which rho the last attempt can afford. One that costs more than was expected gives way: what is
still open is finished at a larger rho.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.executor import TaskPool
from rectifold._engine.tree_search import TreeProgress, TreeStatus
from rectifold.core.certificate import ConeTrees
from rectifold.training.convex.proof.cone_sides import cone_sides
from rectifold.training.convex.proof.growing_tree import GrowingTree
from rectifold.training.convex.proof.tree_costs import TreeCosts

__all__ = ["LEAST_RHO", "PricingProof", "ProofProgress", "Proven"]

Array = NDArray[np.float64]

LEAST_RHO = 1.003
"""Below, the trees around a neuron that attains the level grow without end."""
_GROWTH = 6.5
"""Every attempt may cost this many times the one before, so that all before the last cost a sixth of the budget."""
_FIRST_WORK = 3e6
_LAST_SHARE, _SWEPT_SHARE, _GOAL_SHARE = 1.15, 0.92, 0.2
"""Of the work left, that an attempt may be expected to need: the last one, which can give way (and forecasts are rather
high); with the sweep that follows it; one at the goal that needs no preparation."""
_PATIENCE, _LEAST_WORK, _LEAST_SHARE, _MOST_SHARE = 1.6, 2.4e7, 0.06, 0.35
"""Limits of an attempt before the last: over the work expected; the smaller of a work and a share of the work left is
allowed in any case; the most, of the work left."""
_LEAST_STEP = 0.97
"""A smaller factor of rho - 1 is worth another attempt."""
_MOST_RELIEF = 1.3
"""Factor of rho - 1 by which an earlier attempt may give way: beyond, its work is better spent on the next."""
_RELIEF_SHARE, _RELIEF_STEPS = 0.9, 6
"""Of the work left, that the rest of an attempt may be expected to need; bisections for the rho that makes it so."""
_ABOVE = 0.2
"""Of the way from a refuted rho to the one proven: trees at less may meet one larger gain after the other."""
_CLEAN = 1.1
"""Up to this factor of rho - 1 the work of an attempt that gave way tells what its last rho costs."""
_LAST_CHECK = 0.04
"""Share of an attempt's work that is left when it is looked at for the last time."""
_SHARE_FOR_VIOLATORS = 0.2
"""Of the work left where nothing is affordable: dives also fail where a direction exceeds the goal."""
_MAX_NODES = 256_000_000
"""Nodes of all trees together: 512 MB of codes, about half of that once compressed."""


@dataclass(frozen=True, eq=False)
class Proven:
    """What a `PricingProof` knows.

    Attributes
    ----------
    rho : float
        Every g of output k is proven to stay below ``rho * levels[k]``; infinite if nothing is.
    trees : ConeTrees or None
    violator : ndarray, shape (d,), or None
        A unit direction that gains more than the goal times its level: no proof can reach that.
    output : int
        Whose g it refutes.
    attained : float
        The largest g met, over its level.
    work, n_nodes : int
        Samples and nodes visited, those of failed attempts included.
    tree_work : int
        Samples that ``trees`` took.
    """

    rho: float = np.inf
    trees: ConeTrees | None = None
    violator: Array | None = None
    output: int = 0
    attained: float = 0.0
    work: int = 0
    n_nodes: int = 0
    tree_work: int = 0


@dataclass(frozen=True)
class ProofProgress:
    """How a proof stands: the rho being tried, the one proven, nodes so far and a guess at those left.

    ``n_passes`` counts sweeps of the finished trees, which optimise the dual point.
    """

    trying: float
    proven: float
    n_nodes: int
    n_nodes_left: float
    n_passes: int = 0


@dataclass(frozen=True)
class _Step:
    """The rho to try next, none if there is no point; whether the dual point is to be optimised on its trees."""

    rho: float | None
    optimizes: bool = False


class PricingProof:
    """Searches for the least rho that can be proven within a budget of work.

    Parameters
    ----------
    X : ndarray, shape (n, d)
    theta : ndarray, shape (n, K)
    levels : ndarray, shape (K,)
        Positive: what the gains of each output are compared with.
    pool : TaskPool, optional
    keep_leaves : bool
        Keep the multipliers of all leaves in the trees: n + 8 d bytes each.
    budget : float
        The work that is planned: dives are made in proportion.

    Notes
    -----
    Deterministic, whatever runs the tasks: 0.3 to 0.9 million nodes a second and thread.
    """

    def __init__(
        self,
        X: Array,
        theta: Array,
        levels: Array,
        pool: TaskPool | None = None,
        keep_leaves: bool = False,
        budget: float = 0.0,
    ) -> None:
        self._sides = cone_sides(X, theta)
        self._levels = levels
        self._pool = TaskPool() if pool is None else pool
        self._keep_leaves = keep_leaves
        self._costs = TreeCosts(self._sides, levels, budget)
        self._known = Proven()

    @property
    def known(self) -> Proven:
        """What the runs so far have shown."""
        return self._known

    def least_affordable(self, goal: float, max_work: int, ceiling: float) -> float:
        """Return the least rho that dives expect to be proven with so much more work, at most the ceiling."""
        high = min(ceiling, self._known.rho)
        low = max(goal, LEAST_RHO, 1.0005 * self._known.attained)
        rho = self._costs.by_dives().least_rho(low, high, max_work) if low < high else None
        return high if rho is None else rho

    def run(
        self,
        goal: float,
        max_work: int,
        ceiling: float = np.inf,
        floor: float = 0.0,
        stop_at_violator: bool = True,
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[ProofProgress], None] = lambda progress: None,
        reserve: Callable[[float], float] | None = None,
    ) -> Proven:
        """Lower rho towards the goal.

        Parameters
        ----------
        goal : float
            The rho to end with.
        max_work : int
            Samples to visit, at most, those of earlier runs included: these are gone on from.
        ceiling : float
            A rho that is known to hold: only smaller ones are tried.
        floor : float
            A value that is known to be attained: only larger ones are tried.
        stop_at_violator : bool
            End with the first direction that gains more than the goal; otherwise go on with what it leaves possible.
        should_stop : callable
        on_progress : callable
        reserve : callable, optional
            What a `DualOptimization` needs on trees that cost so much work, if one follows: it is left where that
            promises more than larger trees.
        """
        goal = max(goal, LEAST_RHO)
        self._low = max(goal, floor * 1.0005, self._known.attained * 1.0005)
        self._high = min(ceiling, self._known.rho)
        stage = -int(np.log(max(_LAST_SHARE * max_work / _FIRST_WORK, 1.0)) / np.log(_GROWTH))
        tried = False
        while self._low < self._high and self._known.work < max_work and not should_stop():
            left = max_work - self._known.work
            step = None if tried else self._first(goal, left)
            step = self._next(left, stage, reserve) if step is None else step
            is_last = stage >= 0
            if step.rho is None:
                if is_last:
                    break
                stage += 1
                continue
            limit = left if is_last else self._limit(step.rho, left)
            most = np.inf if is_last else 1.0 + _MOST_RELIEF * (step.rho - 1.0)
            complete, tried = self._attempt(step.rho, limit, goal, most, should_stop, on_progress), True
            stage += complete
            if stop_at_violator and self._known.violator is not None:
                break
            self._low = max(self._low, 1.0005 * self._known.attained)
            self._high = min(self._high, self._known.rho)
        if not tried and stop_at_violator and self._low < self._high and not should_stop():
            share = int(_SHARE_FOR_VIOLATORS * (max_work - self._known.work))
            self._attempt(self._low, share, goal, np.inf, should_stop, on_progress)
        return self._known

    def _above(self, refuted: float) -> float:
        """Return a rho worth a trial after a refuted one: neighbours of the gain met may gain a little more."""
        step = 0.0 if self._high == np.inf else _ABOVE * (self._high - refuted)
        return max(1.0005 * refuted, refuted + step)

    def _first(self, goal: float, left: float) -> _Step | None:
        """Return the goal where its trees are so cheap that there is nothing to prepare."""
        cheap = self._low == goal and self._costs.forecast(goal).careful <= _GOAL_SHARE * left
        return _Step(goal) if cheap else None

    def _limit(self, rho: float, left: float) -> int:
        """Return the work of an attempt that others will follow."""
        patience = _PATIENCE * self._costs.forecast(rho).work
        return int(min(max(patience, min(_LEAST_WORK, _LEAST_SHARE * left)), _MOST_SHARE * left))

    def _next(self, left: float, stage: int, reserve: Callable[[float], float] | None) -> _Step:
        """Return the smallest rho that is affordable, or one that promises more with an optimised dual point."""
        rho = self._affordable(_LAST_SHARE * _GROWTH ** min(stage, 0) * left)
        smaller = self._to_optimize(left, reserve) if reserve is not None and stage >= 0 else None
        if smaller is not None and _optimized(smaller) < 1.0 - 1.0 / (rho or self._high):
            return _Step(None if smaller == self._known.rho else smaller, optimizes=True)
        return _Step(rho)

    def _affordable(self, allowed: float) -> float | None:
        """Return the smallest rho that is expected to cost no more than allowed, if that is much of a step."""
        if self._costs.work_per_node:
            allowed = min(allowed, 0.9 * _MAX_NODES * self._costs.work_per_node)
        rho = self._costs.least_rho(self._low, self._high, allowed)
        if rho is None or (rho > self._low and not rho - 1.0 < _LEAST_STEP * (self._high - 1.0)):
            return None
        return rho

    def _to_optimize(self, left: float, reserve: Callable[[float], float]) -> float | None:
        """Return the smallest rho whose trees leave work to optimise the dual point on them, or the one proven."""
        fixed = reserve(0.0)
        per_work = reserve(1e9) / 1e9 - fixed / 1e9
        rho = self._affordable((_SWEPT_SHARE * left - fixed) / (1.0 + 1.1 * per_work)) if left > fixed else None
        if rho is None and self._known.trees is not None and reserve(self._known.tree_work) < left:
            return self._known.rho
        return rho

    def _attempt(
        self,
        rho: float,
        max_work: int,
        goal: float,
        most: float,
        should_stop: Callable[[], bool],
        on_progress: Callable[[ProofProgress], None],
    ) -> bool:
        """Search all trees at this rho, up to ``most`` where they cost too much; return whether anything is proven."""
        trees = [GrowingTree(side, self._pool, self._keep_leaves) for side in self._sides]
        before, nodes_before = self._known.work, self._known.n_nodes
        end, first, awaited = before + max_work, rho, np.inf
        while True:
            begun = self._known.work
            pause = (begun + end) // 2 if end - begun > _LAST_CHECK * max_work else end
            status = self._grow(trees, rho, pause, goal, should_stop, on_progress)
            spent = self._known.work - before
            if status is TreeStatus.COMPLETE:
                break
            if status is not TreeStatus.WORK_LIMIT:
                self._costs.add_failure(rho, spent)
                self._low = max(self._low, self._above(rho))
                return False
            rest, left = self._rest(trees, rho), end - self._known.work
            missed = (self._known.work - begun + rest) / max(
                awaited, 1.0
            )  # dives: what is open may hide more than they show
            allowed = _RELIEF_SHARE * left / np.sqrt(max(missed, 1.0))
            if left <= 0 or rest > allowed:
                self._costs.add_failure(rho, spent + (rest if rest < np.inf else spent))
                afresh = self._costs.least_rho(self._low, self._high, _RELIEF_SHARE * left) or np.inf
                larger = self._relief(trees, rho, min(most, afresh, self._high), allowed)
                if larger is None:
                    return False
                rho, rest = larger, self._rest(trees, larger)
            awaited = rest
        known = self._known
        if rho - 1.0 <= _CLEAN * (first - 1.0):
            self._costs.add(rho, spent, known.n_nodes - nodes_before)
        done = ConeTrees(tuple(tree.tree(rho * self._levels[tree.side.output]) for tree in trees))
        self._known = replace(known, rho=rho, trees=done, tree_work=spent)
        return True

    def _relief(self, trees: list[GrowingTree], rho: float, most: float, allowed: float) -> float | None:
        """Return a larger rho, below ``most``, at which the rest of the trees is expected to be affordable, if any.

        ``most`` is at most what trees from scratch promise, which close nothing at a smaller rho than theirs.
        """
        low, high = np.log(rho - 1.0), np.log(min(most, 64.0) - 1.0)
        for _ in range(_RELIEF_STEPS):
            middle = 0.5 * (low + high)
            dear = self._rest(trees, 1.0 + float(np.exp(middle))) > allowed
            low, high = (middle, high) if dear else (low, middle)
        larger = 1.0 + float(np.exp(high))
        return larger if allowed > 0.0 and rho < larger < most * (1.0 - 1e-9) else None

    def _rest(self, trees: list[GrowingTree], rho: float) -> float:
        return sum(tree.expected_work(rho * self._levels[tree.side.output]) for tree in trees)

    def _grow(
        self,
        trees: list[GrowingTree],
        rho: float,
        max_work: int,
        goal: float,
        should_stop: Callable[[], bool],
        on_progress: Callable[[ProofProgress], None],
    ) -> TreeStatus:
        """Go on with the trees until they are complete or so much work is done; note what was met."""
        for tree in trees:
            side, known = tree.side, self._known
            if tree.is_complete:
                continue
            if known.work >= max_work:
                return TreeStatus.WORK_LIMIT

            def tell(progress: TreeProgress, known: Proven = known) -> None:
                on_progress(ProofProgress(rho, known.rho, known.n_nodes + progress.n_nodes, progress.n_nodes_left))

            bound = rho * self._levels[side.output]
            room = _MAX_NODES - sum(len(other.nodes) for other in trees)
            outcome = tree.grow(bound, max_work - known.work, room, should_stop, tell)
            attained = outcome.best_value / self._levels[side.output]
            refuted = (outcome.status is TreeStatus.REFUTED or attained > goal) and attained > known.attained
            self._known = replace(
                known,
                violator=side.rotation @ outcome.best_point if refuted else known.violator,
                output=side.output if refuted else known.output,
                attained=max(known.attained, attained),
                work=known.work + outcome.progress.work,
                n_nodes=known.n_nodes + outcome.progress.n_nodes,
            )
            if outcome.status is not TreeStatus.COMPLETE:
                return outcome.status
        return TreeStatus.COMPLETE


def _optimized(rho: float) -> float:
    """Guess the relative gap of this rho once the dual point is optimised: coarse trees gain more (measured)."""
    return (1.0 - 1.0 / rho) * (0.97 - 0.25 * min(rho - 1.0, 1.0))

"""A proof that no neuron gains more than rho times a level: rho is chosen by what its trees are expected to cost.

Each rho is a question of its own, answered by trees of cones, one per output and sign (proven_bound sheet, section 2).
Coarse ones come first, so that a limit or an interruption leaves the best rho proven so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.executor import TaskPool
from rectifold._engine.tree_search import TreeProgress, TreeStatus, search_tree
from rectifold.core.certificate import ConeTree, ConeTrees
from rectifold.training.convex.proof.cone_sides import cone_sides

__all__ = ["LEAST_RHO", "PricingProof", "ProofProgress", "Proven"]

Array = NDArray[np.float64]

LEAST_RHO = 1.003
"""Below, the trees around a neuron that attains the level grow without end."""
_RHOS = tuple(1.0 + 2.0 * 0.82**k for k in range(-6, 33))
_DIVES = 128
_PATIENCE = 2.0
"""An attempt ends when it has cost this many times what was expected of it."""
_STAGES = (0.02, 0.1, 0.75, 0.95)
"""Shares of the work left that the next rho may be expected to need."""
_SHARE_FOR_VIOLATORS = 0.2
"""Of the work left when no other rho seems affordable: dives also fail where a direction exceeds the goal."""
_SECOND_LAST = 2
_HALF = 0.5
"""Share of the work left for a tree on which the dual point is then optimised: what is left pays a sweep or two."""
_QUOTA = 40_000_000
_MAX_NODES = 32_000_000
"""Nodes of all trees together: 64 MB of stream."""


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

    Notes
    -----
    Deterministic, whatever runs the tasks: 0.1 to 0.5 million nodes a second and thread.
    """

    def __init__(
        self, X: Array, theta: Array, levels: Array, pool: TaskPool | None = None, keep_leaves: bool = False
    ) -> None:
        self._sides = cone_sides(X, theta)
        self._levels = levels
        self._pool = TaskPool() if pool is None else pool
        self._keep_leaves = keep_leaves
        self._costs: dict[float, float] = {}
        self._known = Proven()

    def run(
        self,
        goal: float,
        max_work: int,
        ceiling: float = np.inf,
        floor: float = 0.0,
        stop_at_violator: bool = True,
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[ProofProgress], None] = lambda progress: None,
        optimizes: bool = False,
    ) -> Proven:
        """Lower rho towards the goal.

        Parameters
        ----------
        goal : float
            The rho to end with.
        max_work : int
            Samples to visit, at most.
        ceiling : float
            A rho that is known to hold: only smaller ones are tried.
        floor : float
            A value that is known to be attained: only larger ones are tried.
        stop_at_violator : bool
            End with the first direction that gains more than the goal; otherwise go on with what it leaves possible.
        should_stop : callable
        on_progress : callable
        optimizes : bool
            Whether a `DualOptimization` follows, for which work is to be left where it promises more than larger trees.
        """
        goal = max(goal, LEAST_RHO)
        rhos = [rho for rho in (*(r for r in _RHOS if r > goal * 1.0005), goal) if floor * 1.0005 < rho < ceiling]
        stage = 0
        while rhos and self._known.work < max_work and not should_stop():
            left = max_work - self._known.work
            rho = self._affordable(rhos, _STAGES[min(stage, len(_STAGES) - 1)] * left)
            smaller = self._to_optimize(rhos, left) if optimizes and stage >= _SECOND_LAST else None
            last = rho is not None and goal < rho < (smaller or 0.0) and _optimized(smaller or rho) < 1.0 - 1.0 / rho
            if last and smaller == self._known.rho:
                break
            rho = smaller if last else rho
            stage += 1
            if rho is None and stage < len(_STAGES):
                continue
            if rho is None:
                if stop_at_violator:
                    share = int(_SHARE_FOR_VIOLATORS * (max_work - self._known.work))
                    self._attempt(rhos[-1], self._known.work + share, goal, should_stop, on_progress)
                break
            patience = _PATIENCE * max(self._costs[rho], _STAGES[0] * max_work)
            limit = int(min(max_work, self._known.work + patience))
            complete = self._attempt(rho, limit, goal, should_stop, on_progress)
            if stop_at_violator and self._known.violator is not None:
                break
            rhos = [r for r in rhos if (r < rho if complete else r > rho)]
            rhos = [r for r in rhos if 1.0005 * self._known.attained < r < self._known.rho]
            if last and complete:
                break
        return self._known

    def _to_optimize(self, rhos: list[float], left: float) -> float | None:
        """Return the rho whose trees leave enough work to optimise the dual point on them, or the one proven."""
        rho = self._affordable(rhos, _HALF * left)
        return self._known.rho if rho is None and self._known.trees is not None else rho

    def _affordable(self, rhos: list[float], allowed: float) -> float | None:
        """Return the smallest rho of a falling list that is expected to cost no more than allowed."""
        low, high = 0, len(rhos)  # those before low are affordable, those from high on are not
        while low < high:
            middle = (low + high) // 2
            if self._cost(rhos[middle], allowed) <= allowed:
                low = middle + 1
            else:
                high = middle
        return rhos[low - 1] if low else None

    def _cost(self, rho: float, enough: float) -> float:
        if rho not in self._costs:
            total = nodes = 0.0
            for side in self._sides:
                work, count = side.estimate(rho * self._levels[side.output], _DIVES)
                total, nodes = total + work, nodes + count
                if not (total <= 100.0 * enough and nodes <= _MAX_NODES):
                    total = np.inf
                    break
            self._costs[rho] = total
        return self._costs[rho]

    def _attempt(
        self,
        rho: float,
        max_work: int,
        goal: float,
        should_stop: Callable[[], bool],
        on_progress: Callable[[ProofProgress], None],
    ) -> bool:
        """Search all trees at this rho and note what came of it; return whether it is proven."""
        trees: list[ConeTree] = []
        stored, before = 0, self._known.work
        for side in self._sides:
            bound, known = rho * self._levels[side.output], self._known

            def tell(progress: TreeProgress, known: Proven = known) -> None:
                on_progress(ProofProgress(rho, known.rho, known.n_nodes + progress.n_nodes, progress.n_nodes_left))

            outcome = search_tree(
                side.at(bound, self._keep_leaves),
                side.roots,
                max_work=max(max_work - known.work, 1),
                quota=_QUOTA,
                pool=self._pool,
                should_stop=should_stop,
                on_progress=tell,
                max_nodes=max(_MAX_NODES - stored, 1),
            )
            attained = outcome.best_value / self._levels[side.output]
            refuted = (outcome.status is TreeStatus.REFUTED or attained > goal) and attained > known.attained
            self._known = Proven(
                known.rho,
                known.trees,
                side.rotation @ outcome.best_point if refuted else known.violator,
                side.output if refuted else known.output,
                max(known.attained, attained),
                known.work + outcome.progress.work,
                known.n_nodes + outcome.progress.n_nodes,
                known.tree_work,
            )
            if outcome.status is not TreeStatus.COMPLETE:
                return False
            stored += len(outcome.nodes)
            trees.append(side.tree(bound, outcome.nodes, outcome.leaves))
        known = self._known
        self._known = replace(known, rho=rho, trees=ConeTrees(tuple(trees)), tree_work=known.work - before)
        return True


def _optimized(rho: float) -> float:
    """Guess the relative gap of this rho once the dual point is optimised: coarse trees gain more (measured)."""
    return (1.0 - 1.0 / rho) * (0.97 - 0.25 * min(rho - 1.0, 1.0))

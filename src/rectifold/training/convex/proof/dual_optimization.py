"""The best dual point that a finished cone tree proves: theta optimised with the tree fixed (proven_bound sheet, 4).

Cutting planes: a master program maximises D under the cuts of some leaves; a sweep at its theta finds the leaves that
exceed the level, each of them another cut. Most rounds sweep a pool of leaves only; a sweep of the whole tree then
tells what the theta found is worth, since dividing by the largest leaf makes every theta feasible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.blas import single_threaded_blas
from rectifold._engine.executor import TaskPool
from rectifold._engine.tree_sweep import Part, SweepOutcome, SweepTask, split_tree, sweep_tree
from rectifold.core.certificate import CONE_LEAF, ConeTree, ConeTrees
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import DyadicArray
from rectifold.training.convex.proof.cone_sides import Side, preparation_work, side_at
from rectifold.training.convex.proof.cut_master import CutMaster
from rectifold.training.convex.proof.dual_rounding import round_dual
from rectifold.training.convex.proof.leaf_cuts import leaf_cuts

__all__ = ["DualOptimization", "OptimizedDual"]

Array = NDArray[np.float64]
Codes = NDArray[np.uint16]

_SWEEPS, _ROUNDS = 4, 10
_FIRST_CUTS, _MORE_CUTS, _IDLE_CUTS = 300, 150, 600
"""Of one tree: from the first sweep, from any other; how many of all may wait for a multiplier."""
_POOL, _POOL_NUMBERS, _POOL_SHARE = 20_000, 4_000_000, 0.03
"""Leaves of one tree's pool; numbers that they may take; the share of the work left that one round on them may cost."""
_NEAR = 0.9
"""Leaves of the first sample that reach this share of the level enter the pool."""
_PER_SWEEP, _PER_LEAF = 0.65, 12.0
"""Work of a sweep over that of the search; of a leaf of the pool, in samples a row."""
_FIXED = 100_000
"""Samples a row for the masters and the pool."""
_FEW_STEPS = 4
"""On the weights of the residual term where only the pool is swept."""
_PART_NODES, _PART_LEAVES, _MAX_PARTS = 20_000, 1_000, 32
_LEAST_GAIN = 0.03
"""Of the gap that is left: a sweep that promises less is not worth it."""


@dataclass(frozen=True, eq=False)
class OptimizedDual:
    """A dual point with its trees.

    Attributes
    ----------
    dual : DyadicArray
    trees : ConeTrees
        The given ones with other bounds and weights of the residual term.
    pricing : float
        What they prove about a neuron of unit penalty at ``dual``.
    value : float
        The lower bound on F.
    """

    dual: DyadicArray
    trees: ConeTrees
    pricing: float
    value: float


@dataclass(frozen=True, eq=False)
class _Fixed:
    """A tree, with the rows in its coordinates and its parts."""

    tree: ConeTree
    Z: Array
    parts: list[Part]

    def side(self, theta: Array, steps: int) -> Side:
        tree = self.tree
        return side_at(self.Z, theta[:, tree.output], tree.output, tree.sign, tree.rotation, tree.metric, steps)


class DualOptimization:
    """Improves the dual point of a proof without growing its trees.

    Parameters
    ----------
    problem : ConvexReLUProblem
        With a separable loss, and outputs that are independent: one, or several under the l1 penalty.
    X : ndarray, shape (n, d)
        The rows that the trees speak of.
    trees : ConeTrees
    price : callable
        Turns bounds of the outputs, shape (K,), into one on a neuron of unit penalty.
    value_of : callable
        Turns theta, shape (n, K), and such a bound into a lower bound on F.
    max_work : int
        In samples visited, as for the search.
    pool : TaskPool, optional
    should_stop : callable
    on_sweep : callable
        Told the best lower bound after every sweep of whole trees, and their number.

    Attributes
    ----------
    work, n_sweeps : int
        Spent so far; sweeps of the whole trees.

    Notes
    -----
    Deterministic, whatever runs the tasks. A sweep costs about as much as the search that grew the tree.
    """

    def __init__(
        self,
        problem: ConvexReLUProblem,
        X: Array,
        trees: ConeTrees,
        price: Callable[[Array], float],
        value_of: Callable[[Array, float], float],
        max_work: int,
        pool: TaskPool | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        on_sweep: Callable[[float, int], None] = lambda value, n_sweeps: None,
    ) -> None:
        self._problem, self._price, self._value_of = problem, price, value_of
        self._max_work, self._pool = max_work, TaskPool() if pool is None else pool
        self._should_stop, self._on_sweep = should_stop, on_sweep
        self._fixed = [_fixed(tree, X) for tree in trees.trees]
        self._level = problem.alpha**2 / price(np.full(problem.n_outputs, problem.alpha))
        self._masters = [CutMaster(problem.output(k), self._level) for k in range(problem.n_outputs)]
        self._paths: list[list[Codes]] = [[] for _ in self._fixed]
        self._known: list[set[bytes]] = [set() for _ in self._fixed]
        self.work = self.n_sweeps = 0

    @staticmethod
    def applies(problem: ConvexReLUProblem) -> bool:
        """Return whether the outputs are independent problems."""
        return problem.loss.separable and (problem.n_outputs == 1 or problem.output_penalty == "l1")

    @staticmethod
    def least_work(X: Array, search_work: float, keep_leaves: bool) -> float:
        """Return what is needed at least, where the search for the trees cost this much."""
        fixed = _FIXED * X.shape[0] + 2 * _ROUNDS * preparation_work(len(X), X.shape[1], _FEW_STEPS)
        return fixed + _PER_SWEEP * search_work * (3.0 if keep_leaves else 1.0)

    def run(
        self, theta: Array, value: float, wanted: float, objective: float, search_work: int, keep_leaves: bool = False
    ) -> OptimizedDual | None:
        """Return something better than the present value, or None.

        Parameters
        ----------
        theta : ndarray, shape (n, K)
            A point at which the trees prove about the level.
        value : float
            The lower bound it gives.
        wanted : float
            A lower bound to be content with.
        objective : float
            The upper bound.
        search_work : int
            What the trees cost.
        keep_leaves : bool
            Renew the multipliers of the leaves.
        """
        with single_threaded_blas:
            best, last_sweep = None, _PER_SWEEP * search_work
            reserve = 1.5 * last_sweep if keep_leaves else 0.0
            if not self._take_sample(theta):
                return None
            while self.n_sweeps < _SWEEPS and value < wanted:
                found = self._settle(reserve + last_sweep)
                promised = sum(master.bound for master in self._masters)
                if promised - value < _LEAST_GAIN * (objective - value) or self._left < reserve + last_sweep:
                    break
                before = self.work
                candidate = self._try(found)
                if candidate is None:
                    break
                last_sweep = float(self.work - before)
                if candidate.value > value:
                    best, value = candidate, candidate.value
                self._on_sweep(value, self.n_sweeps)
            return self._with_leaves(best) if best is not None and keep_leaves else best

    @property
    def _left(self) -> float:
        return float(self._max_work - self.work)

    def _take_sample(self, theta: Array) -> bool:
        """Fill the pools with some leaves near the level, and give the masters their first cuts."""
        n, d = self._fixed[0].Z.shape
        affordable = _POOL_SHARE * self._left / (_PER_LEAF * n * len(self._fixed))
        count = int(max(min(_POOL, _POOL_NUMBERS // (d * (d + 2)), affordable), _FIRST_CUTS))
        for i, (fixed, side) in enumerate(zip(self._fixed, self._sides(theta), strict=True)):
            n_leaves = int(np.count_nonzero(fixed.tree.nodes == CONE_LEAF))
            stride = max(1, n_leaves // count)
            outcome = self._sweep(side, fixed.parts, _NEAR * self._level, count, stride)
            if outcome is None:
                return False
            self._take(i, side, outcome, _FIRST_CUTS)
        return True

    def _settle(self, reserve: float) -> Array:
        """Solve the masters in turn with sweeps of the pools, until these show nothing new; return theta."""
        for _ in range(_ROUNDS):
            for master in self._masters:
                before = master.work
                master.solve(2 * int(max(self._left - reserve, 0.0)))
                self.work += (master.work - before) // 2
                master.drop_idle(_IDLE_CUTS)
            theta = np.stack([master.theta for master in self._masters], axis=1)
            if self._left <= reserve:
                break
            n_new = 0
            for i, side in enumerate(self._sides(theta, _FEW_STEPS)):
                chunks = range(0, len(self._paths[i]), _PART_LEAVES)
                parts = [Part.of_leaves(self._paths[i][start : start + _PART_LEAVES]) for start in chunks]
                outcome = self._sweep(side, parts, 1.001 * self._level, _MORE_CUTS, 1, reserve) if parts else None
                n_new += self._take(i, side, outcome, _MORE_CUTS) if outcome is not None else 0
            if n_new == 0:
                break
        return theta

    def _try(self, theta: Array) -> OptimizedDual | None:
        """Sweep the whole trees at a theta; return what that proves, or None if it was cut short."""
        dual = round_dual(self._problem, theta)
        bounds, trees = np.zeros(self._problem.n_outputs), []
        for i, (fixed, side) in enumerate(zip(self._fixed, self._sides(dual.to_float()), strict=True)):
            outcome = self._sweep(side, fixed.parts, self._level, 4 * _MORE_CUTS, 1)
            if outcome is None:
                return None
            self._take(i, side, outcome, _MORE_CUTS)
            bound = side.claim(outcome.worst)
            bounds[side.output] = max(bounds[side.output], bound)
            trees.append(replace(fixed.tree, bound=bound, row_weights=side.row_weights, leaves=None))
        self.n_sweeps += 1
        pricing = self._price(bounds)
        return OptimizedDual(dual, ConeTrees(tuple(trees)), pricing, self._value_of(dual.to_float(), pricing))

    def _with_leaves(self, found: OptimizedDual) -> OptimizedDual | None:
        """Sweep once more for the multipliers of all leaves."""
        bounds, trees = np.zeros(self._problem.n_outputs), []
        sides = self._sides(found.dual.to_float())
        for fixed, side, tree in zip(self._fixed, sides, found.trees.trees, strict=True):
            outcome = self._sweep(side, fixed.parts, side.target(tree.bound), 0, 1, keep_leaves=True)
            if outcome is None:
                return None
            trees.append(side.tree(side.claim(outcome.worst), tree.nodes, outcome.leaves))
            bounds[side.output] = max(bounds[side.output], trees[-1].bound)
        pricing = self._price(bounds)
        value = self._value_of(found.dual.to_float(), pricing)
        return OptimizedDual(found.dual, ConeTrees(tuple(trees)), pricing, value)

    def _sides(self, theta: Array, steps: int = 12) -> list[Side]:
        self.work += len(self._fixed) * preparation_work(len(self._fixed[0].Z), self._fixed[0].Z.shape[1], steps)
        return [fixed.side(theta, steps) for fixed in self._fixed]

    def _sweep(
        self,
        side: Side,
        parts: list[Part],
        target: float,
        max_points: int,
        stride: int,
        reserve: float = 0.0,
        keep_leaves: bool = False,
    ) -> SweepOutcome | None:
        if self._left <= reserve or self._should_stop():
            return None
        outcome = sweep_tree(
            SweepTask(side.task.aimed(target, keep_leaves), max_points, stride),
            parts,
            max_work=int(self._left - reserve),
            max_points=max_points,
            pool=self._pool,
            should_stop=self._should_stop,
        )
        self.work += outcome.work if outcome is not None else int(max(self._left - reserve, 0))
        return outcome

    def _take(self, i: int, side: Side, outcome: SweepOutcome, count: int) -> int:
        """Put new leaves in the pool of tree i and the largest of all into the master; return how many these are."""
        points = outcome.points
        for path in points.paths:
            if (key := path.tobytes()) not in self._known[i]:
                self._known[i].add(key)
                self._paths[i].append(path)
        used = points.take(np.arange(min(count, len(points.values))))
        if len(used.values):
            self._masters[side.output].add(leaf_cuts(side, used))
        return len(used.values)


def _fixed(tree: ConeTree, X: Array) -> _Fixed:
    n_parts = int(np.clip(len(tree.nodes) // _PART_NODES, 1, _MAX_PARTS))
    roots = [np.array([o], dtype=np.uint16) for o in range(1 << min(2, X.shape[1]))]
    return _Fixed(tree, np.ascontiguousarray(X @ tree.rotation), split_tree(tree.nodes, roots, n_parts))

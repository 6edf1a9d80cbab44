"""Best-first branch and bound over the signs of ``x_i'u``: proves how large ``sum_i r_i (x_i'u)_+`` can be on the ball.

Every tree it returns is valid evidence, however early it stopped; nodes only buy a smaller bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from rectifold.core.certificate import LeafMultipliers, SignTree
from rectifold.core.pattern import pack_patterns
from rectifold.core.rounding import product_norm_upper
from rectifold.training.convex.spectral_bound import balanced_activity, half_spread, half_spread_upper, residual_weights

__all__ = ["SignTreeSearch", "TreeOutcome"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDS = 8
_POLL = 64


@dataclass
class _Node:
    """A node of a tree: once evaluated it carries its bound, multiplier and the row to split on (-1: it is exact)."""

    state: NDArray[np.int8]
    bound: float = np.inf
    row: int = -1
    mask: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    indices: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    excess: Array = field(default_factory=lambda: np.empty(0))
    spread: float = 0.0
    priority: float = np.inf
    children: tuple[_Node, _Node] | None = None


@dataclass(frozen=True)
class TreeOutcome:
    """What a search proved about one column r and one sign.

    Attributes
    ----------
    tree : SignTree
    bound : float
        ``g(u) <= bound`` on the unit ball, rigorously.
    attained : float
        Largest value of g met.
    direction : ndarray, shape (d,)
        Unit vector that attains it; zero if none was met.
    """

    tree: SignTree
    bound: float
    attained: float
    direction: Array


class _Side:
    """One function ``g(u) = sum_i r_i (x_i'u)_+``: evaluates nodes of its tree."""

    def __init__(self, X: Array, r: Array, output: int, sign: int, weights: Array) -> None:
        self.X, self.r, self.output, self.sign, self.weights = X, r, output, sign, weights
        self.positive, self.negative = r > 0, r < 0
        self.norms = np.maximum(np.linalg.norm(X, axis=1), 1e-150)
        self.share = np.where(self.positive, r * r / weights, 0.0)
        self.attained, self.direction = 0.0, np.zeros(X.shape[1])
        self.root = _Node(np.zeros(len(r), dtype=np.int8))

    def evaluate(self, node: _Node, activity: Array, spread: float | None, target: float) -> None:
        """Bound g on the node's cone by alternating the activities of free rows r < 0 and a cone projection."""
        X, r, state = self.X, self.r, node.state
        free = state == 0
        loose, on = free & self.negative, free & self.positive
        node.spread = half_spread(X[on], r[on], self.weights[on]) if spread is None else spread
        decided = np.flatnonzero(state)
        signs = state[decided].astype(np.float64)
        cone = (signs[:, None] * X[decided]).T
        base = np.where(state > 0, r, 0.0)
        base[on] = 0.5 * r[on]
        rows = np.flatnonzero(loose)
        r_loose, beta = r[rows], activity[rows].copy()
        for q in range(_ROUNDS):
            base[rows] = beta * r_loose
            pull = base @ X
            rho = _cone_multipliers(cone, pull)
            v = pull + cone @ rho
            value = float(np.sqrt(v @ v))
            z = X @ v
            active = z[rows] > 0
            error = beta * r_loose * z[rows] - np.where(active, r_loose * z[rows], 0.0)
            if value + node.spread < node.bound:
                self._record(node, value, base, rows, beta, decided, signs * rho)
                node.row = self._branching_row(z, value, on, rows, error)
            if value <= 0.0:
                break
            self._attain(v / value, float(r @ np.maximum(z, 0.0)) / value)
            slack = float(error.sum()) / value
            if node.bound <= target or slack <= 1e-4 * node.bound or value + node.spread - slack > target:
                break
            beta += (active - beta) / (1.0 + 0.7 * q)

    def _record(
        self, node: _Node, value: float, base: Array, rows: Ints, beta: Array, decided: Ints, excess: Array
    ) -> None:
        node.bound = value + node.spread
        node.mask = node.state > 0
        node.mask[rows[beta >= 1.0]] = True
        partial = rows[(beta > 0.0) & (beta < 1.0)]
        moved = np.flatnonzero(excess)
        node.indices = np.concatenate([partial, decided[moved]])
        node.excess = np.concatenate([base[partial], excess[moved]])

    def _branching_row(self, z: Array, value: float, on: NDArray[np.bool_], rows: Ints, error: Array) -> int:
        """Pick a free row with a large share of the spread whose hyperplane passes near the maximiser.

        Without such rows, the row with the largest relaxation error; -1 if the bound is exact.
        """
        cosine = np.abs(z) / (self.norms * value) if value > 0.0 else np.zeros_like(z)
        score = np.where(on, self.share * (1.2 - cosine), 0.0)
        row = int(score.argmax())
        if score[row] > 0.0:
            return row
        return int(rows[error.argmax()]) if len(rows) and error.max() > 0.0 else -1

    def _attain(self, u: Array, value: float) -> None:
        if value > self.attained:
            self.attained, self.direction = value, u

    def activity_of(self, node: _Node) -> Array:
        """Return the activities that the node's multiplier stands for, shape (n,)."""
        activity = node.mask.astype(np.float64)
        loose = node.indices[node.state[node.indices] == 0]
        activity[loose] = node.excess[node.state[node.indices] == 0] / self.r[loose]
        return activity

    def split(self, node: _Node, target: float) -> tuple[_Node, _Node]:
        """Evaluate and attach the two children, the non-negative one first."""
        activity = self.activity_of(node)
        spread = None if self.positive[node.row] else node.spread
        children = []
        for sign in (1, -1):
            state = node.state.copy()
            state[node.row] = sign
            child = _Node(state)
            self.evaluate(child, activity, spread, target)
            if spread is None:
                spread = child.spread  # both children free the same rows
            child.priority = min(child.bound, node.priority)
            children.append(child)
        node.children = (children[0], children[1])
        return node.children

    def outcome(self, X: Array, basis: Array) -> TreeOutcome:
        """Collapse what did not pay, write the tree down and bound its leaves rigorously on the rows X."""
        _collapse(self.root)
        nodes = list(_preorder(self.root))
        leaves = [node for node in nodes if node.children is None]
        splits = np.array([-1 if node.children is None else node.row for node in nodes], dtype=np.int32)
        tree = SignTree(self.output, self.sign, splits, self.weights, _pack_leaves(leaves, len(self.r)))
        bound = max(self._leaf_bound_upper(X, leaf) for leaf in leaves)
        return TreeOutcome(tree, bound, self.attained, basis @ self.direction)

    def _leaf_bound_upper(self, X: Array, leaf: _Node) -> float:
        multiplier = np.where(leaf.mask, self.r, 0.0)
        multiplier[leaf.indices] += leaf.excess
        on = (leaf.state == 0) & self.positive
        multiplier[on] = 0.5 * self.r[on]
        return float(product_norm_upper(multiplier[None, :], X)[0]) + half_spread_upper(X, self.r, self.weights, on)


class SignTreeSearch:
    """Searches the sign trees of all columns of theta and both signs together, the largest bound first.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        Rows whose signs are split on.
    theta : ndarray, shape (n, K)
    max_bytes : int
        Memory for open nodes; the search stops there as at ``max_nodes``.

    Attributes
    ----------
    n_nodes : int
        Nodes evaluated so far, roots included.

    Notes
    -----
    A node costs one cone projection (NNLS) a round over its decided rows, at most 8 rounds of O(n d), and one
    eigenvalue of a d x d matrix where a row with r > 0 was decided. The search works in principal coordinates of X, so
    that d is its rank.
    """

    def __init__(self, X: Array, theta: Array, max_bytes: int = 2**28) -> None:
        self._rows, self.basis = X, _row_space(X)
        Z = np.ascontiguousarray(X @ self.basis)
        self.sides = []
        for k in range(theta.shape[1]):
            for sign in (1, -1):
                r = sign * theta[:, k]
                side = _Side(Z, r, k, sign, residual_weights(Z, r))
                side.evaluate(side.root, balanced_activity(Z, r), None, np.inf)
                side.root.priority = side.root.bound
                self.sides.append(side)
        self.n_nodes = len(self.sides)
        self._heap = [(-side.root.bound, i, i, side.root) for i, side in enumerate(self.sides)]
        heapq.heapify(self._heap)
        self._count = len(self.sides)
        self._max_nodes = max_bytes // (4 * X.shape[0] + 512)

    @property
    def bound(self) -> float:
        """The largest open bound: no g exceeds it, up to rounding."""
        return max(-self._heap[0][0] if self._heap else 0.0, self.attained)

    @property
    def attained(self) -> float:
        """The largest value of any g met: no proof can go below it."""
        return max(side.attained for side in self.sides)

    def run(
        self,
        targets: Array,
        max_nodes: int,
        should_stop: Callable[[], bool] = lambda: False,
        stop_above: float = np.inf,
        tightness: float | None = None,
    ) -> bool:
        """Split until no bound that is left can be lowered to its target; return whether the search came to its end.

        Parameters
        ----------
        targets : ndarray, shape (K,)
            A target for the g of each column.
        max_nodes : int
            Limit on `n_nodes`.
        should_stop : callable
            Polled every 64 nodes.
        stop_above : float
            Stop as soon as some g was seen to exceed this.
        tightness : float, optional
            Leave bounds alone that exceed the largest g met by a factor of at most ``1 + tightness``.
        """
        limit, closed = min(max_nodes, self._max_nodes), []
        while self._heap and self.n_nodes + 2 <= limit and self.attained <= stop_above:
            _, _, i, node = self._heap[0]
            side = self.sides[i]
            target = float(targets[side.output])
            if tightness is not None:
                target = max(target, self.attained * (1.0 + tightness))
            if node.priority <= target or node.row < 0:
                closed.append(heapq.heappop(self._heap))
                continue
            if self.n_nodes % _POLL < 2 and should_stop():
                break
            heapq.heappop(self._heap)
            for child in side.split(node, target):
                heapq.heappush(self._heap, (-child.priority, self._count, i, child))
                self._count += 1
            self.n_nodes += 2
        done = not self._heap
        for entry in closed:
            heapq.heappush(self._heap, entry)
        return done

    def outcomes(self) -> list[TreeOutcome]:
        """Return one outcome per column and sign, (0, +), (0, -), (1, +), ...; ends the search."""
        return [side.outcome(self._rows, self.basis) for side in self.sides]


def _pack_leaves(leaves: list[_Node], n: int) -> LeafMultipliers:
    """Return the multipliers of leaves in their order."""
    masks = pack_patterns(np.array([leaf.mask for leaf in leaves]).reshape(len(leaves), n))
    indptr = np.concatenate([[0], np.cumsum([len(leaf.indices) for leaf in leaves])]).astype(np.int64)
    order = [np.argsort(leaf.indices) for leaf in leaves]
    indices = np.concatenate([leaf.indices[o] for leaf, o in zip(leaves, order, strict=True)]).astype(np.int32)
    excess = np.concatenate([leaf.excess[o] for leaf, o in zip(leaves, order, strict=True)])
    return LeafMultipliers(masks, indptr, indices, excess)


def _cone_multipliers(cone: Array, pull: Array) -> Array:
    """Return rho >= 0 that minimises ``||pull + cone @ rho||``; zero, which is valid too, where NNLS gives up."""
    if cone.shape[1] == 0 or not np.any(pull @ cone < 0.0):
        return np.zeros(cone.shape[1])
    try:
        return np.maximum(nnls(cone, -pull)[0], 0.0)
    except RuntimeError:
        return np.zeros(cone.shape[1])


def _row_space(X: Array) -> Array:
    """Return an orthonormal basis of the span of the rows of X as columns, at least one."""
    _, values, vectors = np.linalg.svd(np.linalg.qr(X, mode="r"), full_matrices=False)
    rank = max(int(np.count_nonzero(values > 8 * np.finfo(np.float64).eps * values[0])), 1)
    return np.asarray(vectors[:rank].T)


def _preorder(root: _Node) -> Iterator[_Node]:
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        if node.children is not None:
            stack.extend(reversed(node.children))


def _collapse(root: _Node) -> None:
    """Cut subtrees whose worst leaf is no better than their root, and set `priority` to the bound then proven."""
    for node in reversed(list(_preorder(root))):
        node.priority = node.bound
        if node.children is not None:
            worst = max(child.priority for child in node.children)
            if worst >= node.bound:
                node.children = None
            else:
                node.priority = worst

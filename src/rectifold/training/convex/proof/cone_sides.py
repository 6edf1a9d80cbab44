"""The functions that a proof of pricing has to bound, one per output and sign, prepared for the tree search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.tree_search import SubtreeTask
from rectifold._kernels import ConeTreeSearch
from rectifold.core.certificate import ConeLeaves, ConeTree
from rectifold.training.convex.proof.spectral_bound import half_spread_upper, residual_weights
from rectifold.training.convex.restricted.coordinates import Coordinates

__all__ = ["MAX_DIMENSION", "Side", "attained_gains", "cone_sides", "preparation_work", "side_at"]

Array = NDArray[np.float64]
Codes = NDArray[np.uint16]

MAX_DIMENSION = 250
_METRIC_POWER, _METRIC_FLOOR = 0.4, 1e-8
_WEIGHT_FLOPS, _STEPS = 4e9, 12
_ASCENT_FLOPS = 4e8
_LEAST_SLACK, _MOST_SLACK, _SINGLE_SLACK = 1e-4, 2e-3, 4e-6


@dataclass(frozen=True, eq=False)
class Side:
    """``g(u) = sum_i r_i (x_i'u)_+`` with r = sign * theta_k, in the principal axes of ``X' diag(|r|) X``.

    Attributes
    ----------
    output, sign : int
    rotation : ndarray, shape (d, d)
    metric : ndarray, shape (d,)
        Of the lengths that a bisection balances.
    row_weights : ndarray, shape (d, n)
        Row k: weights of the residual term of cones of k dimensions.
    task : SubtreeTask
        Its target is left to `at`.
    size : float
        ``sum_i |r_i| ||x_i||``, a Lipschitz constant of g.
    """

    output: int
    sign: int
    rotation: Array
    metric: Array
    row_weights: Array
    task: SubtreeTask
    size: float

    @property
    def roots(self) -> list[Codes]:
        """The paths of the root cones."""
        return [np.array([o], dtype=np.uint16) for o in range(1 << min(2, len(self.rotation)))]

    def target(self, bound: float) -> float:
        """Return what to ask of the search, which rounds in single precision, so that the check in double succeeds."""
        return bound * (1.0 - self._slack(bound))

    def claim(self, reached: float) -> float:
        """Return the bound that may be claimed where the leaves were found to reach this."""
        return reached * (1.0 + 1.01 * self._slack(reached))

    def _slack(self, bound: float) -> float:
        return min(max(_SINGLE_SLACK * self.size / bound, _LEAST_SLACK), _MOST_SLACK)

    def estimate(self, bound: float, n_dives: int, paths: Sequence[Codes] = ()) -> tuple[float, float]:
        """Return what a proof of this bound may cost, with its standard error: of the whole tree or below some paths.

        Infinite where dives end in no leaf.
        """
        kernel = self.task.kernel()
        nodes, work, error, failed = kernel.estimate(self.target(bound), n_dives, 0, MAX_DIMENSION, list(paths))
        return (work, work * error / nodes) if failed == 0.0 else (np.inf, np.inf)

    def at(self, bound: float, keep_leaves: bool) -> SubtreeTask:
        """Return the task that searches for a proof of this bound."""
        return self.task.aimed(self.target(bound), keep_leaves)

    def tree(self, bound: float, nodes: Codes, leaves: tuple[NDArray[Any], ...]) -> ConeTree:
        """Return the evidence that a finished search gives."""
        kept = ConeLeaves(*leaves) if leaves and len(leaves[0]) else None
        return ConeTree(self.output, self.sign, bound, self.rotation, self.metric, self.row_weights, nodes, kept)


def cone_sides(X: Array, theta: Array) -> list[Side]:
    """Prepare both signs of every column of theta, shape (n, K).

    Notes
    -----
    O(n d^2) a residual term, d of them, times up to 12 reweightings as far as the data are small.
    """
    sides = []
    for k in range(theta.shape[1]):
        values, vectors = np.linalg.eigh((X.T * np.abs(theta[:, k])) @ X)
        rotation = np.ascontiguousarray(vectors[:, ::-1])
        top = max(float(values[-1]), 1e-300)
        metric = np.maximum(values[::-1] / top, _METRIC_FLOOR) ** _METRIC_POWER
        Z = np.ascontiguousarray(X @ rotation)
        sides += [side_at(Z, theta[:, k], k, sign, rotation, metric) for sign in (1, -1)]
    return sides


def side_at(
    Z: Array, theta: Array, output: int, sign: int, rotation: Array, metric: Array, max_steps: int = _STEPS
) -> Side:
    """Prepare one sign of one output, theta of shape (n,), in given axes: ``Z = X rotation``.

    Fewer steps on the weights of the residual term make it larger.
    """
    r = np.ascontiguousarray(sign * theta)
    n, d = Z.shape
    steps = _steps(n, d, max_steps)
    weights, spread, on = np.ones((d, n)), np.zeros(d + 1), r > 0
    for k in range(d):
        rest = np.ascontiguousarray(Z[:, k:])
        weights[k] = residual_weights(rest, r, steps)
        spread[k] = half_spread_upper(rest, r, weights[k], on)
    spread = np.maximum.accumulate(spread[::-1])[::-1]
    task = SubtreeTask(ConeTreeSearch, (Z, r, np.ascontiguousarray(spread), metric), 1.0)
    size = float(np.abs(r) @ np.linalg.norm(Z, axis=1))
    return Side(output, sign, rotation, metric, weights, task, size)


def preparation_work(n: int, d: int, max_steps: int = _STEPS) -> int:
    """Return what `side_at` costs, in the unit of the search: samples visited."""
    return n * d**3 * _steps(n, d, max_steps) // 16


def _steps(n: int, d: int, max_steps: int) -> int:
    return int(np.clip(_WEIGHT_FLOPS / (2.0 * n * d**3), 1, max_steps))


def attained_gains(X: Array, theta: Array) -> tuple[Array, Array]:
    """Return what short ascents from many directions find of ``max_u |theta_k'(Xu)_+|``, (K,), and where, (K, d)."""
    n, d = X.shape
    count = int(np.clip(_ASCENT_FLOPS / (100.0 * n * d), 8, 200))
    rng = np.random.default_rng(0)
    coordinates = Coordinates.of(X)
    best, where = np.zeros(theta.shape[1]), np.zeros((theta.shape[1], d))
    for k in range(theta.shape[1]):
        for r in (theta[:, k], -theta[:, k]):
            U = coordinates.onto(rng.standard_normal((count, d))).T
            for _ in range(25):
                U /= np.maximum(np.linalg.norm(U, axis=0), 1e-300)
                heights = np.maximum(X @ U, 0.0)
                found = r @ heights
                top = int(found.argmax())
                if found[top] > best[k]:
                    best[k], where[k] = found[top], U[:, top]
                U = X.T @ (r[:, None] * (heights > 0))
    return best, where

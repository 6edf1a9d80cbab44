"""Bounds of the leaves of a given tree, and where the largest are attained: the twin of ``cone_tree_sweep.hpp``.

Each leaf's bound is minimised over alpha by Frank-Wolfe steps. Its residual term has a kink where b2 = 0, round which
they would circle: there the maximiser's part in the other axes is shortened.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rectifold._kernels.reference.cone_relaxation import EXTEND, Cone, ConeProblem, Leaf

__all__ = ["LeafProblem", "Sweep"]

Floats = NDArray[np.float64]
Codes = NDArray[np.uint16]

LEAF = 0xFFFF
_ROUNDS, _CUT_ROUNDS = 400, 16
_TOLERANCE, _CUT_TOLERANCE = 1e-4, 5e-3
_SMOOTHING, _SHARPENING = 0.05, 0.03


class Sweep(NamedTuple):
    """What a sweep finds; see ``ConeTreeSearch.sweep``."""

    work: int
    worst: float
    n_leaves: int
    paths: list[Codes]
    values: Floats
    rays: Floats
    beside: Floats
    rests: Floats
    alphas: NDArray[np.uint8]
    duals: Floats


class _Point(NamedTuple):
    """A unit vector u = (sum of the rays, beside) and the relaxation there under the best alpha."""

    value: float
    rays: Floats
    beside: Floats
    rest: float


class LeafProblem(ConeProblem):
    """A `ConeProblem` that also bounds given leaves as well as its relaxation can."""

    def sweep(
        self, paths: list[Codes], nodes: Codes, target: float, max_cuts: int, stride: int, keep_leaves: bool
    ) -> Sweep:
        """Bound the leaves of the streams of the subtrees below some paths."""
        worst, found, leaves, floor = 0.0, [], [], 0.0
        places = _leaf_paths(nodes, paths)
        chosen = places[::stride]
        for number, path in enumerate(chosen):
            upper, point, leaf = self._close(self.cone_at(path), target, floor, keep_leaves)
            worst, floor = max(worst, upper), max(floor, point.value)
            leaves += [leaf] if leaf is not None else []
            if point.value > target and upper > target:
                found.append((-point.value, number, path, point))
        found = sorted(found, key=lambda cut: cut[:2])[:max_cuts]
        points = [cut[3] for cut in found]
        d = self.d
        return Sweep(
            len(chosen) * self.n,
            worst,
            len(places),
            [np.array(cut[2], dtype=np.uint16) for cut in found],
            np.array([point.value for point in points]),
            np.array([_padded(point.rays, d) for point in points]).reshape(-1, d, d),
            np.array([point.beside for point in points]).reshape(-1, d),
            np.array([point.rest for point in points]),
            np.array([leaf.alpha for leaf in leaves], dtype=np.uint8).reshape(-1, self.n),
            np.array([leaf.dual for leaf in leaves]).reshape(-1, d),
        )

    def cone_at(self, path: tuple[int, ...]) -> Cone:
        cone = self.root(path[0])
        for code, which in zip(path[1::2], path[2::2], strict=True):
            cone = self.child(cone, code, which)
        return cone

    def _close(self, cone: Cone, target: float, floor: float, keep: bool) -> tuple[float, _Point, Leaf | None]:
        """Return a bound, the best point met and, to be kept, what proves the bound."""
        gram, heights = cone.rays @ cone.rays.T, np.maximum(cone.positive, 0.0).sum(axis=0)
        alpha = (cone.negative.sum(axis=1) > 0).astype(np.float64)
        weights = np.zeros(len(cone.rays))
        best = _Point(0.0, np.zeros_like(cone.rays), np.zeros(self.d), 0.0)
        upper = np.inf
        for step in range(_ROUNDS + 1):
            bound = self._bound(cone, gram, heights, alpha, weights, target)
            weights, upper = bound.weights, min(upper, bound.total)
            last = step == _ROUNDS
            if bound.total <= target or (last and keep):
                goal = np.inf if last else target
                leaf = self._leaf(cone, gram, heights, alpha, bound, goal) if keep else None
                if leaf is not None:
                    return self._leaf_value(leaf, len(cone.rays)), best, leaf
                if not keep:
                    return upper, best, None
            smoothing = _SMOOTHING * target / (1.0 + _SHARPENING * step)
            beside = bound.rest * (bound.residual / max(float(np.linalg.norm(bound.rest)), smoothing))
            point = np.concatenate([bound.dual, beside])
            size = float(np.hypot(np.linalg.norm(bound.dual), bound.residual))
            value = self._value_at(cone, heights, bound.weights, point, bound.residual) / size if size > 0 else 0.0
            if value > best.value:
                away = np.append(np.zeros(len(cone.rays)), beside) / size
                best = _Point(value, weights[:, None] * cone.rays / size, away, bound.residual / size)
            floor = max(floor, best.value)
            known = upper <= best.value * (1.0 + (_TOLERANCE if upper > floor else _CUT_TOLERANCE))
            if last or (not keep and (known or (upper <= floor and step >= _CUT_ROUNDS))):
                return upper, best, None
            alpha = alpha + ((self._Z_down @ point > 0) - alpha) / (1.5 + 0.5 * step)
        raise AssertionError

    def _value_at(self, cone: Cone, heights: Floats, weights: Floats, point: Floats, residual: float) -> float:
        k = len(cone.rays)
        value = heights @ weights + self._half_up[k:] @ point[k:] + self._spread[k] * residual
        return float(value - np.maximum(self._Z_down @ point, 0.0).sum())

    def _leaf_value(self, leaf: Leaf, k: int) -> float:
        pulls = (leaf.alpha[self._down] / 255.0) @ self._Z_down
        rest = float(np.linalg.norm(self._half_up[k:] - pulls[k:]) + self._spread[k])
        return float(np.hypot(np.linalg.norm(leaf.dual), rest))


def _leaf_paths(nodes: Codes, paths: list[Codes]) -> list[tuple[int, ...]]:
    stack = [tuple(int(code) for code in path) for path in reversed(paths)]
    found = []
    for code in nodes.tolist():
        path = stack.pop()
        if code == LEAF:
            found.append(path)
        else:
            stack += [(*path, code, 1), (*path, code, 0)]
    return found


def require_stream(nodes: Codes, paths: list[Codes], d: int) -> None:
    """Raise `ValueError` unless the stream holds one tree below each path."""
    waiting = [(min(2, d) + int(np.count_nonzero(path[1::2] == EXTEND)), len(path) // 2) for path in reversed(paths)]
    for code in nodes.tolist():
        if not waiting:
            raise ValueError("the stream goes on behind its last tree")
        k, depth = waiting.pop()
        if code == LEAF:
            continue
        i, j = divmod(code, 256)
        if depth >= 250 or not (k < d if code == EXTEND else i < j < k):
            raise ValueError("the stream names a split that does not exist")
        waiting += [(k + (code == EXTEND), depth + 1)] * 2
    if waiting:
        raise ValueError("the stream ends within a tree")


def _padded(rays: Floats, d: int) -> Floats:
    out = np.zeros((d, d))
    out[: len(rays), : rays.shape[1]] = rays
    return out

"""Bounds of g(u) = sum_i r_i (z_i'u)_+ on simplicial cones: what ``cone_tree.py`` asks of every node.

A node is a cone of k unit rays in the first k coordinates, times all of the other d - k. Its bound is that of the sheet
``proven_bound``: positive parts are interpolated on the rays, negative ones replaced by -alpha z, and the other
coordinates cost a term R, so that g(u) <= sqrt(val^2 + R^2) for ||u|| <= 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BISECTIONS", "EXTEND", "Cone", "ConeProblem", "Leaf", "Split"]

Floats = NDArray[np.float64]

EXTEND = 0xFFFE
BISECTIONS = 20
MANY_BISECTIONS = 40
"""In a flat cone errors can point at two edges in turn and never at its longest: from here on that takes turns too."""

_ALPHA_ROUNDS = 16
_SWEEPS = 100
_ASCENT_STEPS = 20
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Cone:
    """A node: its rays and what it inherits.

    Attributes
    ----------
    rays : (k, k)
        One unit ray a row.
    positive, negative : (n_+, k), (n_-, k)
        |r_i| z_i'v_j of the rows with r_i > 0 and r_i < 0.
    alpha : (n_-,)
        Where the rounds start.
    weights : (k,)
        Where the least squares start.
    bisections : int
        Since the last extension.
    """

    rays: Floats
    positive: Floats
    negative: Floats
    alpha: Floats
    weights: Floats
    bisections: int = 0


class Leaf(NamedTuple):
    """What proves a node: alpha in bytes for every row, a dual vector padded with zeros."""

    alpha: NDArray[np.uint8]
    dual: Floats


class Split(NamedTuple):
    """How an unproven node goes on: the code of its split (None: it has none), and what its children inherit."""

    code: int | None
    cone: Cone


class _Bound(NamedTuple):
    """sqrt(val^2 + R^2) for one alpha: val lies in [lower, upper]; ``dual``'v_j >= c_j up to ``violation``."""

    upper: float
    lower: float
    weights: Floats
    dual: Floats
    violation: float
    rest: Floats
    residual: float

    @property
    def total(self) -> float:
        return float(np.hypot(self.upper, self.residual))


class ConeProblem:
    """The rows, split by the sign of r, and the bound on a cone.

    Parameters
    ----------
    Z : (n, d)
    r : (n,)
    spread : (d + 1,)
        At least max {1/2 sum_{r_i>0} r_i |z2_i'u2| : ||u2|| <= 1}, z2 = z without its first k entries.
    metric : (d,)
        Positive; the midpoint of an edge is that of its ends scaled to equal length in it.
    """

    def __init__(self, Z: Floats, r: Floats, spread: Floats, metric: Floats) -> None:
        self._Z, self._r, self._spread, self._metric = Z, r, spread, metric
        self.n, self.d = Z.shape
        self._up, self._down = np.flatnonzero(r > 0), np.flatnonzero(r < 0)
        self._Z_up, self._Z_down = r[self._up, None] * Z[self._up], -r[self._down, None] * Z[self._down]
        self._half_up = 0.5 * self._Z_up.sum(axis=0)
        self._size = float(np.abs(r) @ np.linalg.norm(Z, axis=1))

    # -- cones ---------------------------------------------------------------------------------------------------------

    def root(self, orthant: int) -> Cone:
        """Return an orthant of the first two axes; bit j says that ray j is -e_j."""
        k = min(2, self.d)
        signs = 1.0 - 2.0 * ((orthant >> np.arange(k)) & 1)
        return self._built(np.diag(signs), np.full(len(self._down), 0.5), np.ones(k))

    def child(self, cone: Cone, code: int, which: int) -> Cone:
        """Return a child: an edge's midpoint in the place of one of its ends, or a ray on the next axis, + or -."""
        k = len(cone.rays)
        if code == EXTEND:
            rays = np.zeros((k + 1, k + 1))
            rays[:k, :k] = cone.rays
            rays[k, k] = -1.0 if which else 1.0
            return self._built(rays, cone.alpha, np.append(cone.weights, 0.0))
        i, j = divmod(code, 256)
        slot, other = (j, i) if which else (i, j)
        middle = self._middle(cone.rays[i], cone.rays[j])
        rays, positive, negative = cone.rays.copy(), cone.positive.copy(), cone.negative.copy()
        rays[slot] = middle
        positive[:, slot], negative[:, slot] = self._Z_up[:, :k] @ middle, self._Z_down[:, :k] @ middle
        weights = cone.weights.copy()
        weights[slot], weights[other] = 2.0 * min(weights[i], weights[j]), max(0.0, weights[other] - weights[slot])
        return self._pure(Cone(rays, positive, negative, cone.alpha, weights, cone.bisections + 1))

    def _built(self, rays: Floats, alpha: Floats, weights: Floats) -> Cone:
        k = len(rays)
        return self._pure(Cone(rays, self._Z_up[:, :k] @ rays.T, self._Z_down[:, :k] @ rays.T, alpha, weights))

    def _middle(self, v: Floats, w: Floats) -> Floats:
        metric = self._metric[: len(v)]
        middle = v / np.sqrt(metric @ (v * v)) + w / np.sqrt(metric @ (w * w))
        return middle / np.linalg.norm(middle)

    def _pure(self, cone: Cone) -> Cone:
        """Set alpha where all rays agree on the sign of a row."""
        alpha = np.where((cone.negative >= 0).all(axis=1), 1.0, cone.alpha)
        return replace(cone, alpha=np.where((cone.negative <= 0).all(axis=1), 0.0, alpha))

    # -- bounds --------------------------------------------------------------------------------------------------------

    def examine(self, cone: Cone, target: float) -> tuple[Leaf | Split, Floats]:
        """Prove that g <= target on a cone, or say how to split it; also unit points where g may be large, as rows."""
        mixed = (cone.negative > 0).any(axis=1) & (cone.negative < 0).any(axis=1)
        gram, heights = cone.rays @ cone.rays.T, np.maximum(cone.positive, 0.0).sum(axis=0)
        alpha, weights = cone.alpha, cone.weights
        for step in range(_ALPHA_ROUNDS + 1):
            bound = self._bound(cone, gram, heights, alpha, weights, target)
            if bound.total <= target and (leaf := self._leaf(cone, gram, heights, alpha, bound, target)) is not None:
                return leaf, np.zeros((0, self.d))
            weights, point = bound.weights, self._maximiser(cone, bound)
            if step == _ALPHA_ROUNDS or self._relaxed(cone, heights, bound, point) > target:
                break
            wanted = self._Z_down @ point > 0
            alpha = np.where(mixed, alpha + (wanted - alpha) / (1.0 + 0.7 * step), alpha)
        flat = np.append(bound.dual, np.zeros(self.d - len(bound.dual)))
        code = self._split(replace(cone, weights=weights), self.value(_unit(flat)), bound, target)
        points = np.array([_unit(p) for p in (flat, point) if np.any(p)]).reshape(-1, self.d)
        return Split(code, replace(cone, alpha=alpha, weights=weights)), points

    def _bound(
        self, cone: Cone, gram: Floats, heights: Floats, alpha: Floats, weights: Floats, target: float
    ) -> _Bound:
        k = len(cone.rays)
        rest = self._half_up[k:] - alpha @ self._Z_down[:, k:]
        residual = float(np.linalg.norm(rest) + self._spread[k])
        limit = np.sqrt(max(target * target - residual * residual, 0.0))
        c = heights - alpha @ cone.negative
        weights, upper, lower, violation = _nonnegative_least_squares(gram, c, weights, limit)
        return _Bound(upper, lower, weights, weights @ cone.rays, violation, rest, residual)

    def _leaf(
        self, cone: Cone, gram: Floats, heights: Floats, alpha: Floats, bound: _Bound, target: float
    ) -> Leaf | None:
        """Round alpha to bytes and raise the dual vector until it covers every ray; None if that costs the bound."""
        rounded = np.rint(255.0 * alpha).astype(np.uint8)
        bound = self._bound(cone, gram, heights, rounded / 255.0, bound.weights, target)
        axis = cone.rays.sum(axis=0)
        lift = (bound.violation + 4.0 * _EPS * self.d * self._size) / float((cone.rays @ axis).min())
        dual = np.append(bound.dual + lift * axis, np.zeros(self.d - len(axis)))
        if np.hypot(np.linalg.norm(dual), bound.residual) > target:
            return None
        full = np.zeros(self.n, dtype=np.uint8)
        full[self._down] = rounded
        return Leaf(full, dual)

    def _maximiser(self, cone: Cone, bound: _Bound) -> Floats:
        """A point at which the bound is attained, not scaled; zero only where the bound is."""
        size = np.linalg.norm(bound.rest)
        rest = bound.rest * (bound.residual / size) if size > 0 else np.zeros_like(bound.rest)
        return np.concatenate([bound.dual, rest])

    def _relaxed(self, cone: Cone, heights: Floats, bound: _Bound, point: Floats) -> float:
        """The relaxed function at the maximiser: no alpha brings the bound below it."""
        k = len(cone.rays)
        rest = float(np.linalg.norm(point[k:]))
        value = heights @ bound.weights + self._half_up[k:] @ point[k:] + self._spread[k] * rest
        value -= np.maximum(self._Z_down @ point, 0.0).sum()
        size = float(np.linalg.norm(point))
        return float(value) / size if size > 0 else 0.0

    # -- splits --------------------------------------------------------------------------------------------------------

    def _split(self, cone: Cone, value: float, bound: _Bound, target: float) -> int | None:
        k = len(cone.rays)
        hopeless = max(value, 0.0) ** 2 + 1.4 * bound.residual**2 > target * target
        if k < self.d and (k < 2 or hopeless or cone.bisections >= BISECTIONS):
            return EXTEND
        return self._edge(cone) if k > 1 else None

    def _edge(self, cone: Cone) -> int:
        """The edge on which interpolation errs most, as i * 256 + j."""
        i, j = np.triu_indices(len(cone.rays), 1)
        t = cone.weights / max(cone.weights.sum(), 1e-300)
        error = _edge_errors(cone.positive, i, j)
        score = np.sqrt(np.minimum(t[i], t[j])) * error
        if score.max() <= 1e-12 * self._size:
            score = error + _edge_errors(cone.negative, i, j)
        takes_turn = cone.bisections > MANY_BISECTIONS and cone.bisections % 2 == 0
        if takes_turn or score.max() <= 1e-12 * self._size:  # the longest edge
            score = -(cone.rays @ cone.rays.T)[i, j]
        best = int(score.argmax())
        return int(i[best]) * 256 + int(j[best])

    # -- points --------------------------------------------------------------------------------------------------------

    def value(self, u: Floats) -> float:
        """g(u)."""
        return float(self._r @ np.maximum(self._Z @ u, 0.0))

    def ascend(self, u: Floats) -> tuple[float, Floats]:
        """Return value and place of the best point on the way from u along normalised gradients."""
        best = (self.value(u), u)
        for _ in range(_ASCENT_STEPS):
            u = _unit((self._r * (self._Z @ u > 0)) @ self._Z)
            if (value := self.value(u)) <= best[0]:
                break
            best = (value, u)
        return best


def _nonnegative_least_squares(
    gram: Floats, c: Floats, weights: Floats, limit: float
) -> tuple[Floats, float, float, float]:
    """Minimise t'Gt/2 - c't over t >= 0; return t, bounds from above and below of max {c't : t'Gt <= 1}, max(c - Gt)_+.

    Coordinate descent; it stops once that maximum is known to be at most the limit, or not, or exactly.
    """
    row_sums = gram.sum(axis=1)
    lift = float(np.sqrt(row_sums.sum()) / row_sums.min())
    t, slack = weights.copy(), gram @ weights - c
    upper, lower, violation = np.inf, 0.0, np.inf
    for _ in range(_SWEEPS):
        for j in range(len(t)):
            step = max(-slack[j] / gram[j, j], -t[j])
            if step != 0.0:
                t[j] += step
                slack += step * gram[j]
        slack = gram @ t - c
        length = float(np.sqrt(max(float(t @ (slack + c)), 0.0)))
        violation = float(max(-slack.min(), 0.0))
        upper, lower = length + violation * lift, float(c @ t) / length if length > 0 else 0.0
        if upper <= limit or upper - lower <= 1e-13 * upper or (lower > limit and upper - lower < 0.01 * lower):
            break
    return t, upper, lower, violation


def _edge_errors(Y: Floats, i: NDArray[np.intp], j: NDArray[np.intp]) -> Floats:
    heights = np.maximum(Y, 0.0).sum(axis=0)
    return heights[i] + heights[j] - np.maximum(Y[:, i] + Y[:, j], 0.0).sum(axis=0)


def _unit(v: Floats) -> Floats:
    size = np.linalg.norm(v)
    return v / size if size > 0 else v

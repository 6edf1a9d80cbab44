"""Losses of the convex training objective, with their conjugates and optimal intercepts.

Throughout ``f`` and ``y`` are float64 of shape (n, K), ``s`` holds sample weights of shape (n,) that sum to 1, and the
dual variable is ``theta = -dL/df``, which contains ``s``. ``dual_value`` is ``D(theta) = -L*(-theta)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError

Array = NDArray[np.float64]


class Loss(ABC):
    """A convex, smooth loss ``L(f)`` summed over samples."""

    name: ClassVar[str]
    smoothness: ClassVar[float]
    """Largest second derivative per unit of sample weight."""
    separable: ClassVar[bool] = True
    """Whether L is a sum over the entries of f, so that one-output programs are independent under the l1 penalty."""

    @abstractmethod
    def encode(self, y: NDArray[np.generic]) -> Array:
        """Return targets as (n, K) float64, or raise ``ProblemError``."""

    @abstractmethod
    def value(self, f: Array, y: Array, s: Array) -> float:
        """Return ``L(f)``."""

    @abstractmethod
    def theta(self, f: Array, y: Array, s: Array) -> Array:
        """Return ``-dL/df``, shape (n, K)."""

    @abstractmethod
    def curvature(self, f: Array, y: Array, s: Array) -> Array:
        """Return the diagonal of the Hessian of L, shape (n, K)."""

    def smoothed(self, f: Array, y: Array, s: Array, mu: float) -> tuple[Array, Array]:
        """Return ``theta`` and the curvature of L smoothed by a barrier of weight mu; L itself where it is smooth.

        The curvature is kept away from zero, which makes Newton steps on it well defined.
        """
        floor = 1e-10 * self.smoothness * s[:, None]
        return self.theta(f, y, s), np.maximum(self.curvature(f, y, s), floor)

    @abstractmethod
    def dual_value(self, theta: Array, y: Array, s: Array) -> float:
        """Return ``D(theta)``; minus infinity outside its domain."""

    @abstractmethod
    def to_domain(self, theta: Array, y: Array, s: Array) -> Array:
        """Return ``theta`` moved into the domain of the dual, the sum of every column being zero up to rounding."""

    def intercept(self, f: Array, y: Array, s: Array) -> Array:
        """Return the c of shape (K,) that minimises ``L(f + c)``, by safeguarded Newton steps."""
        c = np.zeros(f.shape[1])
        value = self.value(f, y, s)
        for _ in range(100):
            g = self.theta(f + c, y, s).sum(axis=0)
            if np.abs(g).max() <= 1e-15:
                break
            step = self._newton_step(f + c, y, s, g)
            t = 1.0
            while t > 1e-10 and not self._improves(f + c + t * step, y, s, value, g):
                t *= 0.5
            if t <= 1e-10:
                break
            c = c + t * step
            value = self.value(f + c, y, s)
        return c

    def _improves(self, f: Array, y: Array, s: Array, value: float, g: Array) -> bool:
        """Return whether the value falls or, where rounding hides that, the gradient does."""
        new = self.value(f, y, s)
        if new <= value:
            return True
        return new <= value * (1 + 1e-14) and np.abs(self.theta(f, y, s).sum(axis=0)).max() < 0.5 * np.abs(g).max()

    def _newton_step(self, f: Array, y: Array, s: Array, g: Array) -> Array:
        # Away from the minimum the curvature may vanish: never a step longer than the Lipschitz bound allows by 1e6.
        h = np.maximum(self.curvature(f, y, s).sum(axis=0), 1e-6 * self.smoothness)
        return g / h

    def best_scale(self, theta: Array, y: Array, s: Array, t_max: float) -> float:
        """Return the t in [0, t_max] that maximises ``D(t theta)``, by golden-section search inside the domain."""
        hi = self._domain_end(theta, y, s, t_max)
        lo, ratio = 0.0, (5**0.5 - 1) / 2
        for _ in range(80):
            a, b = hi - ratio * (hi - lo), lo + ratio * (hi - lo)
            if self.dual_value(a * theta, y, s) >= self.dual_value(b * theta, y, s):
                hi = b
            else:
                lo = a
        return max((lo, hi), key=lambda t: self.dual_value(t * theta, y, s))

    def _domain_end(self, theta: Array, y: Array, s: Array, t_max: float) -> float:
        """Return the largest t in [0, t_max] with ``t theta`` in the domain, which is convex and holds 0."""
        inside, outside = 0.0, min(1.0, t_max)
        while np.isfinite(self.dual_value(outside * theta, y, s)):
            if outside == t_max:
                return t_max
            inside, outside = outside, min(2.0 * outside, t_max)
        for _ in range(80):
            middle = 0.5 * (inside + outside)
            if np.isfinite(self.dual_value(middle * theta, y, s)):
                inside = middle
            else:
                outside = middle
        return inside


def _shift_into_box(theta: Array, s: Array, lower: Array, upper: Array) -> Array:
    """Project columns of theta onto {lower <= theta <= upper, sum zero} along the direction s, by bisection."""
    out = np.empty_like(theta)
    for k in range(theta.shape[1]):
        col, lo_b, up_b = theta[:, k], lower[:, k], upper[:, k]
        span = (np.abs(col).max() + np.abs(np.where(np.isfinite(lo_b), lo_b, 0)).max() + 1.0) / max(s.min(), 1e-300)
        lo, hi = -span, span
        for _ in range(200):
            mid = 0.5 * (lo + hi)
            if mid in (lo, hi):
                break
            lo, hi = (mid, hi) if np.clip(col - mid * s, lo_b, up_b).sum() > 0 else (lo, mid)
        out[:, k] = np.clip(col - lo * s, lo_b, up_b)
    return out


class SquaredLoss(Loss):
    """``1/2 sum_i s_i ||f_i - y_i||^2``."""

    name = "squared"
    smoothness = 1.0

    def encode(self, y: NDArray[np.generic]) -> Array:
        return _as_columns(y)

    def value(self, f: Array, y: Array, s: Array) -> float:
        return 0.5 * float(s @ ((f - y) ** 2).sum(axis=1))

    def theta(self, f: Array, y: Array, s: Array) -> Array:
        return s[:, None] * (y - f)

    def curvature(self, f: Array, y: Array, s: Array) -> Array:
        return np.broadcast_to(s[:, None], f.shape).copy()

    def dual_value(self, theta: Array, y: Array, s: Array) -> float:
        return float((theta * y).sum() - 0.5 * ((theta**2).sum(axis=1) / s).sum())

    def to_domain(self, theta: Array, y: Array, s: Array) -> Array:
        return theta - s[:, None] * (theta.sum(axis=0) / s.sum())

    def intercept(self, f: Array, y: Array, s: Array) -> Array:
        c = (s @ (y - f)) / s.sum()
        return c + (s @ (y - f - c)) / s.sum()  # twice, so that constant targets are met exactly

    def best_scale(self, theta: Array, y: Array, s: Array, t_max: float) -> float:
        return _quadratic_scale(theta, y, s, t_max)


class SquaredHingeLoss(Loss):
    """``1/2 sum_i s_i max(0, 1 - y_i f_i)^2`` with ``y`` in {-1, +1}; one-vs-rest for three and more classes."""

    name = "squared_hinge"
    smoothness = 1.0

    def encode(self, y: NDArray[np.generic]) -> Array:
        return _signs_or_one_vs_rest(y)

    def value(self, f: Array, y: Array, s: Array) -> float:
        return 0.5 * float(s @ (np.maximum(0.0, 1.0 - y * f) ** 2).sum(axis=1))

    def theta(self, f: Array, y: Array, s: Array) -> Array:
        return s[:, None] * y * np.maximum(0.0, 1.0 - y * f)

    def curvature(self, f: Array, y: Array, s: Array) -> Array:
        return s[:, None] * (y * f < 1.0)

    def smoothed(self, f: Array, y: Array, s: Array, mu: float) -> tuple[Array, Array]:
        """Return theta and curvature of ``min_e 1/2 s (1 + e - y f)^2 - mu log e``, the hinge with a slack e > 0."""
        margin = 1.0 - y * f
        root = np.sqrt(margin**2 + 4.0 * mu / s[:, None])
        share = np.maximum(0.5 * (1.0 + margin / root), 1e-10)
        return s[:, None] * y * share * root, s[:, None] * share

    def dual_value(self, theta: Array, y: Array, s: Array) -> float:
        if np.any(y * theta < 0):
            return -np.inf
        return float((theta * y).sum() - 0.5 * ((theta**2).sum(axis=1) / s).sum())

    def to_domain(self, theta: Array, y: Array, s: Array) -> Array:
        lower, upper = np.where(y > 0, 0.0, -np.inf), np.where(y > 0, np.inf, 0.0)
        return _shift_into_box(theta, s, lower, upper)

    def best_scale(self, theta: Array, y: Array, s: Array, t_max: float) -> float:
        return _quadratic_scale(theta, y, s, t_max)


class LogisticLoss(Loss):
    """``sum_i s_i log(1 + exp(-y_i f_i))`` with ``y`` in {-1, +1}: two classes, one output."""

    name = "logistic"
    smoothness = 0.25

    def encode(self, y: NDArray[np.generic]) -> Array:
        return _signs(y, self.name)

    def value(self, f: Array, y: Array, s: Array) -> float:
        return float(s @ np.logaddexp(0.0, -y * f).sum(axis=1))

    def theta(self, f: Array, y: Array, s: Array) -> Array:
        return s[:, None] * y * _sigmoid(-y * f)

    def curvature(self, f: Array, y: Array, s: Array) -> Array:
        p = _sigmoid(-y * f)
        return s[:, None] * p * (1.0 - p)

    def dual_value(self, theta: Array, y: Array, s: Array) -> float:
        p = y * theta / s[:, None]
        if np.any(p < 0) or np.any(p > 1):
            return -np.inf
        return float(s @ (_entropy(p) + _entropy(1.0 - p)).sum(axis=1))

    def to_domain(self, theta: Array, y: Array, s: Array) -> Array:
        box = s[:, None] * y
        return _shift_into_box(theta, s, np.minimum(box, 0.0), np.maximum(box, 0.0))


class MultinomialLoss(Loss):
    """Cross-entropy ``sum_i s_i (logsumexp(f_i) - f_{i, y_i})`` for three and more classes, targets one-hot."""

    name = "multinomial"
    smoothness = 0.5
    separable = False

    def encode(self, y: NDArray[np.generic]) -> Array:
        codes = _class_codes(y)
        n_classes = int(codes.max()) + 1
        if n_classes < 3:
            raise ProblemError("The multinomial loss is for three or more classes 0..K-1; use 'logistic' for two.")
        return np.eye(n_classes)[codes]

    def value(self, f: Array, y: Array, s: Array) -> float:
        top = f.max(axis=1, keepdims=True)
        lse = top[:, 0] + np.log(np.exp(f - top).sum(axis=1))
        return float(s @ (lse - (f * y).sum(axis=1)))

    def theta(self, f: Array, y: Array, s: Array) -> Array:
        return s[:, None] * (y - _softmax(f))

    def curvature(self, f: Array, y: Array, s: Array) -> Array:
        p = _softmax(f)
        return s[:, None] * p * (1.0 - p)

    def dual_value(self, theta: Array, y: Array, s: Array) -> float:
        p = y - theta / s[:, None]
        if np.any(p < -1e-15) or np.any(np.abs(p.sum(axis=1) - 1.0) > 1e-9):
            return -np.inf
        return float(s @ _entropy(np.maximum(p, 0.0)).sum(axis=1))

    def to_domain(self, theta: Array, y: Array, s: Array) -> Array:
        p = np.maximum(y - theta / s[:, None], 1e-200)
        target = s @ y
        for _ in range(200):  # Sinkhorn: class masses to those of the targets, rows to the simplex.
            p *= target / (s @ p)
            p /= p.sum(axis=1, keepdims=True)
            if np.abs(s @ p - target).max() <= 1e-16:
                break
        return s[:, None] * y - _round_to_marginals(s[:, None] * p, s, target)

    def intercept(self, f: Array, y: Array, s: Array) -> Array:
        c = super().intercept(f, y, s)
        return c - c.mean()

    def _newton_step(self, f: Array, y: Array, s: Array, g: Array) -> Array:
        p = _softmax(f)
        h = np.diag(s @ p) - (p * s[:, None]).T @ p
        k = len(g)
        return np.linalg.solve(h + np.full((k, k), 1.0 / k) + 1e-12 * np.eye(k), g)


LOSSES: dict[str, Loss] = {
    loss.name: loss for loss in (SquaredLoss(), SquaredHingeLoss(), LogisticLoss(), MultinomialLoss())
}


def get_loss(name: object) -> Loss:
    """Return the loss called ``name``, or raise ``ProblemError`` naming the known ones."""
    if not isinstance(name, str) or name not in LOSSES:
        raise ProblemError(f"Unknown loss {name!r}; expected one of {sorted(LOSSES)}.")
    return LOSSES[name]


def _round_to_marginals(mass: Array, rows: Array, columns: Array) -> Array:
    """Return a non-negative matrix near ``mass`` with these row and column sums (Altschuler et al., 2017, alg. 2)."""
    mass = mass * np.minimum(1.0, rows / mass.sum(axis=1))[:, None]
    mass = mass * np.minimum(1.0, columns / mass.sum(axis=0))
    row_gap, column_gap = np.maximum(rows - mass.sum(axis=1), 0.0), np.maximum(columns - mass.sum(axis=0), 0.0)
    total = row_gap.sum()
    return mass + np.outer(row_gap, column_gap) / total if total > 0 else mass


def _quadratic_scale(theta: Array, y: Array, s: Array, t_max: float) -> float:
    square = float(((theta**2).sum(axis=1) / s).sum())
    return float(np.clip((theta * y).sum() / square, 0.0, t_max)) if square > 0 else 0.0


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e))


def _softmax(f: Array) -> Array:
    e = np.exp(f - f.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _entropy(p: Array) -> Array:
    return -p * np.log(np.where(p > 0, p, 1.0))


def _as_columns(y: NDArray[np.generic]) -> Array:
    if y.dtype.kind not in "fiub":
        raise ProblemError(f"Regression targets must be numbers, got an array of dtype {y.dtype}.")
    columns = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
    if columns.shape[1] == 0:
        raise ProblemError("y must have at least one output.")
    return columns


def _signs(y: NDArray[np.generic], name: str) -> Array:
    values = np.unique(y)
    if len(values) < 2:
        raise ProblemError(f"The {name} loss needs two classes; every target is {values[0]!r}.")
    if len(values) != 2 or not np.array_equal(values, [-1, 1]):
        raise ProblemError(f"The {name} loss expects targets -1 and +1, got {values[:5]!r}.")
    return np.asarray(y, dtype=np.float64).reshape(-1, 1)


def _class_codes(y: NDArray[np.generic]) -> NDArray[np.intp]:
    values, codes = np.unique(y, return_inverse=True)
    if len(values) < 2:
        raise ProblemError(f"Classification needs at least two classes; every target is {values[0]!r}.")
    if not np.array_equal(values, np.arange(len(values))):
        raise ProblemError(f"Class targets must be the integers 0..K-1, all present; got {values[:5]!r}.")
    return codes.reshape(-1)


def _signs_or_one_vs_rest(y: NDArray[np.generic]) -> Array:
    values = np.unique(y)
    if len(values) <= 2:
        return _signs(y, "squared_hinge")
    codes = _class_codes(y)
    return 2.0 * np.eye(len(values))[codes] - 1.0

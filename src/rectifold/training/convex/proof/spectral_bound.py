"""The cheap bound on pricing: one eigenvalue for ``max_{||u|| <= 1} sum_i r_i (x_i'u)_+``, at any size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.core.rounding import gamma, product_norm_upper, top_eigenvalue_upper

__all__ = [
    "balanced_activity",
    "half_spread",
    "half_spread_upper",
    "residual_root",
    "residual_weights",
    "spectral_bound_upper",
]

Array = NDArray[np.float64]

_FLOPS = 8e9
"""Work of one call: iterations shrink for large data, any number of them gives a valid bound."""
_SUBSAMPLE_ROWS = 4000


def spectral_bound_upper(X: Array, r: Array, weights: Array, activity: Array) -> float:
    """Return a rigorous upper bound of ``sum_i r_i (x_i'u)_+`` over the unit ball.

    It is ``||X'gamma|| + 1/2 sqrt(sum_{r_i > 0} r_i^2 / w_i * lambda_max(sum_{r_i > 0} w_i x_i x_i'))`` with
    ``gamma_i = r_i / 2`` where ``r_i > 0`` and ``activity_i r_i`` elsewhere.
    """
    on = r > 0
    multiplier = np.where(on, 0.5, activity) * r
    return float(product_norm_upper(multiplier[None, :], X)[0]) + half_spread_upper(X, r, weights, on)


def half_spread_upper(X: Array, r: Array, weights: Array, rows: NDArray[np.bool_]) -> float:
    """Return a rigorous upper bound of `half_spread` on some rows."""
    if not np.any(rows):
        return 0.0
    first = float(np.sum(r[rows] ** 2 / weights[rows])) * (1.0 + 2.0 * gamma(len(r) + 8))
    top = float(top_eigenvalue_upper(X, np.where(rows, weights, 0.0)[None, :])[0])
    return 0.5 * float(np.sqrt(first * top)) * (1.0 + 2.0 * gamma(8))


def half_spread(X: Array, r: Array, weights: Array) -> float:
    """Return ``1/2 sqrt(sum r^2 / w * lambda_max(sum w x x'))``, at least ``1/2 max_u sum r_i |x_i'u|``; r, w > 0."""
    if len(r) == 0:
        return 0.0
    top = float(np.linalg.eigvalsh((X.T * weights) @ X)[-1])
    return 0.5 * float(np.sqrt(np.sum(r * r / weights) * max(top, 0.0)))


def residual_weights(X: Array, r: Array, steps: int = 12) -> Array:
    """Return row weights w > 0 that make `half_spread` small on the rows where r > 0, and 1 elsewhere.

    Parameters
    ----------
    X : ndarray, shape (n, d)
    r : ndarray, shape (n,)
    steps : int
        Multiplicative updates of the dual of the minimisation over w.

    Returns
    -------
    ndarray, shape (n,)

    Notes
    -----
    ``min_w sum r^2/w * lambda_max(sum w x x') = max_P (sum r_i sqrt(x_i'P x_i))^2`` over P of trace 1; the best weights
    of P are ``r_i / sqrt(x_i'P x_i)``, and ``P <- P^1/2 M(w) P^1/2 / trace`` ascends. O(steps (n d^2 + d^3)), with P
    found on a sample of the rows where that would be slow.
    """
    weights = np.ones(len(r))
    on = np.flatnonzero((r > 0) & np.any(X != 0, axis=1))
    if len(on) == 0:
        return weights
    size = np.linalg.norm(X[on] @ residual_root(X[on], r[on], steps), axis=1)
    weights[on] = r[on] / np.maximum(size, 1e-6 * size.max())
    weights[(r > 0) & ~np.any(X != 0, axis=1)] = weights[on].max() * 1e6  # no spread: make r^2 / w negligible
    return weights


def residual_root(X: Array, r: Array, steps: int = 12) -> Array:
    """Return the symmetric root of the P of `residual_weights`, shape (d, d); r > 0, and no row of X is zero."""
    n, d = X.shape
    if n * d * d * steps > _FLOPS and n > _SUBSAMPLE_ROWS:
        rows = np.linspace(0, n - 1, _SUBSAMPLE_ROWS).astype(int)
        X, r = X[rows], r[rows]
    steps = int(np.clip(_FLOPS / (len(X) * d * d), 2, steps))
    root = np.eye(d) / np.sqrt(d)
    best, best_value = root, np.inf
    for _ in range(steps):
        w = r / np.linalg.norm(X @ root, axis=1).clip(1e-150)
        moment = (X.T * w) @ X
        value = float(np.sum(r**2 / w) * np.linalg.eigvalsh(moment)[-1])
        if value < best_value:
            best, best_value = root, value
        root = _next_root(root, moment)
    return best


def _next_root(root: Array, moment: Array) -> Array:
    """Return the symmetric root of ``root moment root``, scaled to trace 1."""
    values, vectors = np.linalg.eigh(root @ moment @ root)
    values = np.maximum(values, 1e-12 * values[-1])
    return np.asarray((vectors * np.sqrt(values / values.sum())) @ vectors.T)


def balanced_activity(X: Array, r: Array) -> Array:
    """Return activities in [0, 1] of the rows with r < 0 that make ``||X'gamma||`` of `spectral_value` small.

    Notes
    -----
    Minimises ``1/2 ||q - X'(a |r|)||^2 + eps/2 sum |r| (a - 1/2)^2`` with ``q = X'r_+ / 2`` for falling eps by Newton
    steps in the d-dimensional dual, where ``a = clip(1/2 + Xb / eps, 0, 1)``; O(n d^2) a step.
    """
    activity = np.full(len(r), 0.5)
    off = np.flatnonzero(r < 0)
    q = 0.5 * (np.maximum(r, 0.0) @ X)
    if len(off) == 0 or not np.any(q):
        return activity
    Z, size = X[off], -r[off]
    steps = int(np.clip(_FLOPS / (len(off) * X.shape[1] ** 2), 3, 40))
    eps = float(np.abs(Z @ q).max())
    if eps < 1e-150:
        return activity
    best = np.linalg.norm(q - (0.5 * size) @ Z)
    b = q.copy()
    for step in range(steps):
        a, b, done = _newton_step(Z, size, q, b, eps)
        residual = np.linalg.norm(q - (a * size) @ Z)
        if residual < best:
            best, activity[off] = residual, a
        if done or step % 6 == 5:
            eps *= 0.1
        if best <= 1e-9 * np.linalg.norm(q) or eps < 1e-12:
            break
    return activity


def _newton_step(Z: Array, size: Array, q: Array, b: Array, eps: float) -> tuple[Array, Array, bool]:
    """One damped Newton step on ``1/2 ||b||^2 - q'b + eps sum size h(Zb / eps)``, h' = clip(1/2 + t, 0, 1)."""

    def potential(b: Array) -> float:
        t = (Z @ b) / eps
        inside = 0.5 * (t + 0.5).clip(0.0, 1.0) ** 2
        return float(0.5 * b @ b - q @ b + eps * size @ (inside + np.maximum(t - 0.5, 0.0)))

    t = (Z @ b) / eps
    gradient = b - q + (size * (t + 0.5).clip(0.0, 1.0)) @ Z
    inner = np.abs(t) < 0.5
    hessian = np.eye(len(b)) + (Z[inner].T * (size[inner] / eps)) @ Z[inner]
    direction = -np.linalg.solve(hessian, gradient)
    slope, value, length = float(gradient @ direction), potential(b), 1.0
    while length > 1e-6 and potential(b + length * direction) > value + 1e-4 * length * slope:
        length *= 0.5
    new = b + length * direction
    done = float(np.abs(gradient).max()) <= 1e-10 * float(np.abs(q).max())
    return (0.5 + (Z @ new) / eps).clip(0.0, 1.0), new, done

"""An independent second pricing: search the unit ball for a neuron that violates the dual test of a trained network.

Plain numpy, nothing of rectifold: normalised gradient ascent ``u <- u + 0.5 * 0.96^t g / ||g||`` from many random
starts, all by matrix products, on ``|theta' (X u)_+|``. A search can only show that a network is *not* optimal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, xlogy

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Priced:
    """Objective, the largest dual test found, and the relative gap it suggests."""

    objective: float
    largest_test: float
    priced_gap: float


def largest_test(X: Array, theta: Array, starts: Array, steps: int = 150, chunk: int = 512) -> float:
    """``max_u |theta' (X u)_+|`` over the unit ball as far as the search sees, starts of shape (k, d)."""
    found = 0.0
    for sign in (1.0, -1.0):
        for block in np.array_split(starts, max(1, len(starts) // chunk)):
            U = block / np.linalg.norm(block, axis=1, keepdims=True)
            for t in range(steps):
                Z = X @ U.T
                G = ((Z > 0) * (sign * theta)[:, None]).T @ X
                found = max(found, float((G * U).sum(axis=1).max()))
                length = np.linalg.norm(G, axis=1, keepdims=True)
                U = U + 0.5 * 0.96**t * np.divide(G, length, out=np.zeros_like(G), where=length > 0)
                U /= np.linalg.norm(U, axis=1, keepdims=True)
    return found


def price(X: Array, y: Array, alpha: float, hidden: Array, output: Array, offset: float, loss: str, *, n_starts: int,
          seed: int) -> Priced:  # fmt: skip
    """Price a one-output network on the matrix as given (ones column included), loss 'squared' or 'logistic' (+-1).

    The objective is ``mean loss + alpha * sum_j ||w_j|| |a_j|`` with a free offset; the dual point is the residual on
    its best scaling. The gap is relative to the objective.
    """
    raw = np.maximum(X @ hidden.T, 0) @ output
    offset = best_offset(raw, y, loss, offset)
    f = raw + offset
    penalty = alpha * float(np.linalg.norm(hidden, axis=1) @ np.abs(output))
    n = len(y)
    theta = (y - f) / n if loss == "squared" else y * expit(-y * f) / n
    value = (
        0.5 * float(np.mean((y - f) ** 2)) if loss == "squared" else float(np.mean(np.logaddexp(0, -y * f)))
    ) + penalty
    theta = theta - theta.mean() if loss == "squared" else theta
    rng = np.random.default_rng(seed)
    starts = rng.standard_normal((n_starts, X.shape[1]))
    norms = np.linalg.norm(hidden, axis=1)
    starts = np.concatenate([starts, hidden[norms > 0] / norms[norms > 0, None]])
    s = largest_test(X, theta, starts)
    bound = best_dual(theta, y, loss, alpha / s if s > 0 else 1.0)
    return Priced(value, s, (value - bound) / value if value else 0.0)


def best_offset(raw: Array, y: Array, loss: str, offset: float) -> float:
    """The unpenalised output offset for given neuron outputs."""
    if loss == "squared":
        return float((y - raw).mean())
    for _ in range(100):
        p = expit(-y * (raw + offset))
        step = float((y * p).mean() / max((p * (1 - p)).mean(), 1e-12))
        offset += float(np.clip(step, -1, 1))
        if abs(step) < 1e-14:
            break
    return offset


def best_dual(theta: Array, y: Array, loss: str, limit: float) -> float:
    """The dual value of ``t * theta`` at its best ``t`` in [0, limit]."""
    n = len(y)
    if loss == "squared":
        t = min(max(float(y @ theta) / (n * float(theta @ theta)), 0.0), limit) if theta.any() else 0.0
        return t * float(y @ theta) - 0.5 * n * t * t * float(theta @ theta)
    q = n * y * theta
    limit = min(limit, 1.0 / max(float(q.max()), 1e-300))

    def value(t: float) -> float:
        p = np.clip(t * q, 0.0, 1.0)
        return float(np.mean(-xlogy(p, p) - xlogy(1 - p, 1 - p)))

    best = minimize_scalar(lambda t: -value(t), bounds=(0.0, limit), method="bounded", options={"xatol": 1e-12})
    return max(value(float(best.x)), value(limit))

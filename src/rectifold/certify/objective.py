"""Re-derives F(network) and the dual value D(scale theta) from the problem's data, each with an error radius."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.enclosures import entropy, exp, log, softplus, total
from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import Grade
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import TINY, UNIT_ROUNDOFF, gamma

__all__ = ["dual_value", "primal_value", "require_dual_domain"]

Array = NDArray[np.float64]
Enclosed = tuple[Array, Array]

_U = UNIT_ROUNDOFF
_FLOAT_SLACK = 1e-9


def primal_value(problem: ConvexReLUProblem, network: ReLUNetwork) -> tuple[float, float]:
    """Return (value, radius) of F(network), the network as `ConvexReLUProblem.neurons` accepts it."""
    fit = _fit(problem, network)
    loss, loss_radius = total(_LOSSES[problem.loss.name](fit, problem.targets, problem.weights))
    penalty, penalty_radius = _penalty(problem, network)
    value = loss + problem.alpha * penalty
    return value, loss_radius + problem.alpha * penalty_radius + 4.0 * _U * abs(value)


def _fit(problem: ConvexReLUProblem, network: ReLUNetwork) -> Enclosed:
    X = problem.design[:, : problem.n_features]
    (W, A), (b, c) = network.weights, network.biases
    hidden = np.maximum(X @ W.T + b, 0.0)
    hidden_radius = gamma(X.shape[1] + 2) * 1.01 * (np.abs(X) @ np.abs(W).T + np.abs(b)) + TINY
    value = hidden @ A.T + c
    size = (hidden + hidden_radius) @ np.abs(A).T + np.abs(c)
    return value, 1.01 * (hidden_radius @ np.abs(A).T + gamma(W.shape[0] + 2) * size) + TINY


def _penalty(problem: ConvexReLUProblem, network: ReLUNetwork) -> tuple[float, float]:
    W, A = network.weights
    rows = W if problem.hidden_bias is not True else np.hstack([W, network.biases[0][:, None]])
    outputs = np.abs(A).sum(axis=0) if problem.output_penalty == "l1" else np.linalg.norm(A, axis=0)
    terms = np.linalg.norm(rows, axis=1) * outputs
    return total((terms, 2.0 * gamma(rows.shape[1] + A.shape[0] + 8) * terms))


def _squared(f: Enclosed, y: Array, s: Array) -> Enclosed:
    return _half_square(f[0] - y, f[1] + _U * np.abs(f[0] - y), s)


def _squared_hinge(f: Enclosed, y: Array, s: Array) -> Enclosed:
    margin = 1.0 - y * f[0]
    return _half_square(np.maximum(margin, 0.0), f[1] + 2.0 * _U * (1.0 + np.abs(f[0])), s)


def _half_square(e: Array, radius: Array, s: Array) -> Enclosed:
    value = 0.5 * s[:, None] * e * e
    return value, s[:, None] * (np.abs(e) + radius) * radius * 1.01 + 8.0 * _U * value + TINY


def _logistic(f: Enclosed, y: Array, s: Array) -> Enclosed:
    value, radius = softplus(-y * f[0], f[1])
    return s[:, None] * value, s[:, None] * radius * 1.01 + 4.0 * _U * s[:, None] * value


def _multinomial(f: Enclosed, y: Array, s: Array) -> Enclosed:
    top = f[0].max(axis=1, keepdims=True)
    e, e_radius = exp(f[0] - top)
    mass = e.sum(axis=1)
    value, radius = log(mass)
    own = (f[0] * y).sum(axis=1)
    out = value + (top[:, 0] - own)
    size = np.abs(f[0]).max(axis=1)
    radius = radius + e_radius.sum(axis=1) + 2.0 * f[1].max(axis=1) + 16.0 * _U * (1.0 + size + np.abs(out))
    radius = radius + 2.0 * gamma(f[0].shape[1] + 2) * mass
    return s * out, s * radius * 1.01 + 4.0 * _U * s * np.abs(out)


_LOSSES = {"squared": _squared, "squared_hinge": _squared_hinge, "logistic": _logistic, "multinomial": _multinomial}


def require_dual_domain(problem: ConvexReLUProblem, theta: Array, scale: float, grade: Grade) -> None:
    """Raise `Refusal` unless ``scale * theta`` is in the domain of the dual, by comparisons that do not round.

    Row sums of a multinomial theta are checked on its integers, by the caller.
    """
    name, y, s = problem.loss.name, problem.targets, problem.weights[:, None]
    if name == "squared":
        return
    own = y * theta if name != "multinomial" else np.where(y > 0, theta, -theta)
    if np.any(own < 0.0):
        raise Refusal("theta has the wrong sign in some entry: it is outside the domain of the dual.")
    if name == "squared_hinge":
        return
    slack = 1.0 + _FLOAT_SLACK if grade < Grade.INTERVAL else 1.0
    inside = scale * own * (1.0 + 4.0 * _U) <= s * slack
    if scale <= 1.0:
        inside |= own <= s
    if not np.all(inside):
        raise Refusal("theta exceeds its sample weight in some entry: it is outside the domain of the dual.")


def dual_value(problem: ConvexReLUProblem, theta: Array, scale: float) -> tuple[float, float]:
    """Return (value, radius) of D(scale theta), for a point in its domain."""
    v, y, s = scale * theta, problem.targets, problem.weights[:, None]
    if problem.loss.name in ("squared", "squared_hinge"):
        linear, square = v * y, 0.5 * v * v / s
        return total((linear - square, 8.0 * _U * (np.abs(linear) + square) + TINY))
    share = np.abs(v) / s
    low, high = share * (1.0 - 4.0 * _U), share * (1.0 + 4.0 * _U)
    rest = ((1.0 - high) * (1.0 - 2.0 * _U), (1.0 - low) * (1.0 + 2.0 * _U))
    if problem.loss.name == "logistic":
        parts = [entropy(low, high), entropy(*rest)]
    else:
        own = y > 0
        parts = [entropy(np.where(own, rest[0], low), np.where(own, rest[1], high))]
    values = np.stack([s * value for value, _ in parts])
    radii = np.stack([s * radius * 1.01 for _, radius in parts]) + 4.0 * _U * np.abs(values)
    return total((values, radii))

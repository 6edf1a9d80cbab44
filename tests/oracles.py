"""Independent answers: conic solutions of the convex programs and cone projections by SciPy's least squares."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from scipy.optimize import nnls


def every_pattern(X):
    """All non-zero patterns of open cells, by testing each of the 2^n sign vectors with a small linear program."""
    X = X[X.any(axis=1)] if not X.any(axis=1).all() else X
    found = []
    for signs in itertools.product((-1.0, 1.0), repeat=len(X)):
        margin, u = cp.Variable(), cp.Variable(X.shape[1])
        program = cp.Problem(cp.Maximize(margin), [(np.array(signs)[:, None] * X) @ u >= margin, cp.norm_inf(u) <= 1])
        if program.solve(solver=cp.CLARABEL) > 1e-7:
            found.append(np.array(signs) > 0)
    patterns = np.array(found).T
    return patterns[:, patterns.any(axis=0)]


def planar_patterns(X):
    """All non-zero patterns of open cells for two columns, by the middles of the sectors between kinks."""
    kinks = np.concatenate([np.arctan2(X[:, 1], X[:, 0]) + s * np.pi / 2 for s in (1, -1)])
    angles = np.unique(np.round(kinks % (2 * np.pi), 12))
    middles = (angles + np.append(angles[1:], angles[0] + 2 * np.pi)) / 2
    patterns = np.unique(X @ np.stack([np.cos(middles), np.sin(middles)]) > 0, axis=1)
    return patterns[:, patterns.any(axis=0)]


def conic_loss(name, f, y, s):
    """The loss as a cvxpy expression; f has shape (n,)."""
    if name == "squared":
        return 0.5 * cp.sum(cp.multiply(s, cp.square(f - y)))
    if name == "squared_hinge":
        return 0.5 * cp.sum(cp.multiply(s, cp.square(cp.pos(1 - cp.multiply(y, f)))))
    return cp.sum(cp.multiply(s, cp.logistic(-cp.multiply(y, f))))


@dataclass(frozen=True)
class Conic:
    """Value of a conic program with its block weights, shape (2 P, d), blocks of either sign alternating."""

    value: float
    weights: np.ndarray
    signs: np.ndarray
    intercept: float


def cone_program(problem, patterns, *, gated=False):
    """Solve the one-output program on patterns (n, P) over the rows of ``problem.design``."""
    X, y, s = problem.design, problem.targets[:, 0], problem.weights
    c = cp.Variable() if problem.fit_intercept else cp.Constant(0.0)
    penalised = slice(0, problem.n_features) if problem.hidden_bias == "free" else slice(None)
    blocks, signs, constraints, size, fit = [], [], [], 0, c
    for active in patterns.T:
        for sign in (1.0,) if gated else (1.0, -1.0):
            w = cp.Variable(X.shape[1])
            fit = fit + sign * ((active[:, None] * X) @ w)
            size = size + cp.norm(w[penalised])
            if not gated:
                constraints.append(((2.0 * active - 1.0)[:, None] * X) @ w >= 0)
            blocks.append(w)
            signs.append(sign)
    program = cp.Problem(cp.Minimize(conic_loss(problem.loss.name, fit, y, s) + problem.alpha * size), constraints)
    program.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return Conic(program.value, np.array([w.value for w in blocks]), np.array(signs), float(c.value))


def nuclear_program(problem, patterns):
    """Value of the gated program of several outputs under the nuclear norm, squared loss."""
    X, Y, s = problem.design, problem.targets, problem.weights
    blocks = [cp.Variable((X.shape[1], Y.shape[1])) for _ in patterns.T]
    c = cp.Variable((1, Y.shape[1])) if problem.fit_intercept else np.zeros((1, Y.shape[1]))
    fit = np.ones((len(X), 1)) @ c
    for active, w in zip(patterns.T, blocks, strict=True):
        fit = fit + (active[:, None] * X) @ w
    loss = 0.5 * cp.sum_squares(cp.multiply(np.sqrt(s)[:, None], fit - Y))
    program = cp.Problem(cp.Minimize(loss + problem.alpha * sum(cp.normNuc(w) for w in blocks)))
    return program.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)


def direction_program(problem, directions):
    """Value of the group lasso over fixed neuron directions (k, d), each with K free output weights."""
    hidden = np.maximum(problem.design @ (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T, 0.0)
    n, k = problem.targets.shape
    a = cp.Variable((hidden.shape[1], k))
    fit = hidden @ a
    if problem.fit_intercept:
        fit = fit + np.ones((n, 1)) @ cp.Variable((1, k))
    if problem.loss.name == "multinomial":
        chosen = cp.sum(cp.multiply(problem.targets, fit), axis=1)
        loss = cp.sum(cp.multiply(problem.weights, cp.log_sum_exp(fit, axis=1) - chosen))
    else:
        loss = 0.5 * cp.sum_squares(cp.multiply(np.sqrt(problem.weights)[:, None], fit - problem.targets))
    program = cp.Problem(cp.Minimize(loss + problem.alpha * cp.sum(cp.norm(a, 2, axis=1))))
    return program.solve(solver=cp.CLARABEL)


def projection_norms(X, patterns, theta):
    """``||Proj(s X'D theta)||`` on the cone of each pattern (n, P) for s = +1 and -1, shape (2, P)."""
    norms = np.zeros((2, patterns.shape[1]))
    for b, active in enumerate(patterns.T):
        pull = (active * theta) @ X
        cone = ((2.0 * active - 1.0)[:, None] * X).T
        norms[:, b] = [nnls(cone, -sign * pull, maxiter=100 * X.shape[0])[1] for sign in (1.0, -1.0)]
    return norms


def true_gap(problem, network, patterns):
    """Recompute the relative duality gap of a network on patterns over the design's rows, squared loss."""
    y, s = problem.targets[:, 0], problem.weights
    directions = np.hstack([network.weights[0], network.biases[0][:, None]])[:, : problem.design.shape[1]]
    hidden = np.maximum(problem.design @ directions.T, 0)
    f = hidden @ network.weights[1][0] + network.biases[1][0]
    theta = s * (y - f)
    size = np.linalg.norm(network.weights[0], axis=1) @ np.abs(network.weights[1][0])
    value = 0.5 * s @ (y - f) ** 2 + problem.alpha * size
    largest = projection_norms(problem.design, patterns, theta).max()
    t = np.clip(theta @ y / (theta**2 / s).sum(), 0.0, problem.alpha / largest)
    return (value - (t * theta @ y - 0.5 * t**2 * (theta**2 / s).sum())) / value

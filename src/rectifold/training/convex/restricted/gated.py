"""Gated ReLU networks: the convex program without its cone constraints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_points
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import ReadOnlyArrays
from rectifold.training.convex.restricted.group_lasso import solve_group_lasso
from rectifold.training.convex.restricted.patterns import PatternSet

Array = NDArray[np.float64]

_CHECK_EVERY = 10


@dataclass(frozen=True, eq=False)
class GatedModel(ReadOnlyArrays):
    """``f(x) = sum_i 1(g_i'x + h_i > 0) (W_i'x + v_i) + c``.

    Attributes
    ----------
    gates : ndarray, shape (P, n_features)
    gate_biases : ndarray, shape (P,)
    weights : ndarray, shape (P, n_features, K)
    biases : ndarray, shape (P, K)
    intercept : ndarray, shape (K,)
    """

    gates: Array
    gate_biases: Array
    weights: Array
    biases: Array
    intercept: Array

    def __call__(self, X: ArrayLike) -> Array:
        """Evaluate at points (n, n_features), giving (n, K), or at one point (n_features,)."""
        points, single = as_points(X, self.gates.shape[1])
        on = points @ self.gates.T + self.gate_biases > 0
        values = np.einsum("np,npk->nk", on, np.einsum("nd,pdk->npk", points, self.weights) + self.biases)
        values = values + self.intercept
        return np.asarray(values[0] if single else values)

    @property
    def n_active(self) -> int:
        """Number of gates with a non-zero weight."""
        return int((self.weights.any(axis=(1, 2)) | self.biases.any(axis=1)).sum())


@dataclass(frozen=True, eq=False)
class GatedSolution:
    """A gated model with the value and dual bound of its program."""

    model: GatedModel
    objective: float
    bound: float
    iterations: int


def solve_gated(
    problem: ConvexReLUProblem,
    patterns: PatternSet,
    *,
    tol: float,
    max_iter: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> GatedSolution:
    """Minimise ``L(sum_i D_i X W_i + c) + alpha sum_i ||W_i||``.

    The norm is the Euclidean one for one output, the nuclear norm for several under the l2 penalty (several neurons
    may share a gate) and the sum over outputs under l1. One output, and outputs that are independent problems, go to
    `solve_group_lasso`; joint ones are solved by FISTA with restarts.

    Parameters
    ----------
    tol : float
        Relative duality gap.
    max_iter : int
        Each costs ``4 n P d K`` operations, or is a round of `solve_group_lasso`.

    References
    ----------
    Mishkin, Sahiner and Pilanci (2022); Beck and Teboulle (2009); O'Donoghue and Candes (2015) for the restarts.
    """
    if problem.n_outputs == 1 or (problem.output_penalty == "l1" and problem.loss.separable):
        return _by_output(problem, patterns, tol, max_iter, should_stop)
    state = _Joint(problem, patterns.patterns.astype(np.float64))
    W = np.zeros((len(patterns), problem.design.shape[1], problem.n_outputs))
    c = problem.null_intercept.copy()
    ahead, ahead_c, momentum, step = W, c, 1.0, 1.0 / state.lipschitz()
    best, bound = np.inf, -np.inf
    for iteration in range(max_iter):
        if iteration % _CHECK_EVERY == 0:
            best, bound = state.objective(W, c), max(bound, state.bound(W, c))
            if best - bound <= tol * best or should_stop():
                break
        theta = problem.theta(state.fit(ahead, ahead_c))
        new = state.prox(ahead + step * state.correlations(theta), step * problem.alpha)
        new_c = ahead_c + step * theta.sum(axis=0) if problem.fit_intercept else c
        if ((ahead - new) * (new - W)).sum() > 0:
            momentum = 1.0
        following = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        weight = (momentum - 1) / following
        ahead, ahead_c = new + weight * (new - W), new_c + weight * (new_c - c)
        W, c, momentum = new, new_c, following
    best = state.objective(W, c)
    return GatedSolution(_model(problem, patterns, W, c), best, bound, iteration)


def _by_output(
    problem: ConvexReLUProblem,
    patterns: PatternSet,
    tol: float,
    max_rounds: int,
    should_stop: Callable[[], bool],
) -> GatedSolution:
    singles = [problem.output(k) if problem.n_outputs > 1 else problem for k in range(problem.n_outputs)]
    parts = [
        solve_group_lasso(single, patterns.patterns, tol=tol, max_rounds=max_rounds, should_stop=should_stop)
        for single in singles
    ]
    W = np.stack([part.w for part in parts], axis=2)
    model = _model(problem, patterns, W, np.array([part.intercept for part in parts]))
    objective, bound = sum(part.objective for part in parts), sum(part.bound for part in parts)
    return GatedSolution(model, objective, bound, sum(part.rounds for part in parts))


def _model(problem: ConvexReLUProblem, patterns: PatternSet, W: Array, c: Array) -> GatedModel:
    p, scale = problem.n_features, problem.bias_column
    gate_biases = patterns.points[:, p] * scale if scale else np.zeros(len(patterns))
    biases = W[:, p, :] * scale if scale else np.zeros((len(patterns), problem.n_outputs))
    return GatedModel(patterns.points[:, :p], gate_biases, W[:, :p, :], biases, c)


class _Joint:
    """The program of several outputs that share gates."""

    def __init__(self, problem: ConvexReLUProblem, masks: Array) -> None:
        self.problem, self.masks, self.X = problem, masks, problem.design
        self.nuclear = problem.output_penalty == "l2" and problem.n_outputs > 1

    def fit(self, W: Array, c: Array) -> Array:
        pre = np.tensordot(self.X, W, axes=(1, 1))
        return np.asarray(np.einsum("pn,npk->nk", self.masks, pre) + c)

    def correlations(self, theta: Array) -> Array:
        masked = self.masks[:, :, None] * theta
        return np.asarray(np.einsum("nd,pnk->pdk", self.X, masked, optimize=True))

    def lipschitz(self) -> float:
        rng = np.random.default_rng(0)
        v, weights = rng.standard_normal(len(self.X)), np.sqrt(self.problem.weights)
        gate_count = self.masks.T @ self.masks
        gram = (self.X @ self.X.T) * gate_count + float(self.problem.fit_intercept)
        gram *= weights[:, None] * weights
        for _ in range(100):
            v = gram @ v
            v /= max(float(np.linalg.norm(v)), 1e-300)
        return 1.05 * self.problem.loss.smoothness * max(float(v @ gram @ v), 1e-300)

    def prox(self, W: Array, threshold: float) -> Array:
        if self.nuclear:
            u, s, vt = np.linalg.svd(W, full_matrices=False)
            return np.asarray((u * np.maximum(s - threshold, 0.0)[:, None, :]) @ vt)
        norms = np.linalg.norm(W, axis=1, keepdims=True)
        return np.asarray(W * np.maximum(1.0 - threshold / np.maximum(norms, 1e-300), 0.0))

    def penalty(self, W: Array) -> float:
        if self.nuclear:
            return float(np.linalg.svd(W, compute_uv=False).sum())
        return float(np.linalg.norm(W, axis=1).sum())

    def objective(self, W: Array, c: Array) -> float:
        return self.problem.loss_value(self.fit(W, c)) + self.problem.alpha * self.penalty(W)

    def bound(self, W: Array, c: Array) -> float:
        problem, loss = self.problem, self.problem.loss
        fit = self.fit(W, c)
        if problem.fit_intercept:
            fit = fit + loss.intercept(fit, problem.targets, problem.weights)
        theta = problem.theta(fit)
        if problem.fit_intercept:
            theta = loss.to_domain(theta, problem.targets, problem.weights)
        z = self.correlations(theta)
        norms = np.linalg.norm(z, 2, axis=(1, 2)) if self.nuclear else np.linalg.norm(z, axis=1)
        largest = max(float(norms.max(initial=0.0)), 1e-300)
        t = loss.best_scale(theta, problem.targets, problem.weights, min(problem.alpha / largest, 1e6))
        return loss.dual_value(t * theta, problem.targets, problem.weights)

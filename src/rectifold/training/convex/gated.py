"""Gated ReLU networks: the convex program without its cone constraints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_points
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import ReadOnlyArrays
from rectifold.training.convex.blocks import BlockProgram
from rectifold.training.convex.face_newton import Face, FaceSystem
from rectifold.training.convex.patterns import PatternSet

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
    """Minimise ``L(sum_i D_i X W_i + c) + alpha sum_i ||W_i||`` by FISTA with restarts.

    The norm is the Euclidean one for one output, the nuclear norm for several under the l2 penalty (several neurons
    may share a gate) and the sum over outputs under l1. One output is finished by Newton steps on the active gates.

    Parameters
    ----------
    tol : float
        Relative duality gap.
    max_iter : int
        Each costs ``4 n P d K`` operations.

    References
    ----------
    Mishkin, Sahiner and Pilanci (2022); Beck and Teboulle (2009); O'Donoghue and Candes (2015) for the restarts.
    """
    state = _Gated(problem, patterns.patterns.astype(np.float64))
    W = np.zeros((len(patterns), problem.design.shape[1], problem.n_outputs))
    c = problem.null_intercept.copy()
    ahead, ahead_c, momentum, step = W, c, 1.0, 1.0 / state.lipschitz()
    best, bound = np.inf, -np.inf
    for iteration in range(max_iter):
        if iteration % _CHECK_EVERY == 0:
            W, c = state.refined(W, c)
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
    return GatedSolution(state.model(patterns, W, c), best, bound, iteration)


class _Gated:
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

    def refined(self, W: Array, c: Array) -> tuple[Array, Array]:
        """Return the point after Newton steps on the active gates if that is lower; one output only."""
        norms = np.linalg.norm(W, axis=(1, 2))
        active = np.flatnonzero(norms > 1e-9 * norms.max(initial=0.0))
        if self.problem.n_outputs > 1 or len(active) == 0:
            return W, c
        program = BlockProgram(self.problem, self.masks[active] > 0, np.ones(len(active)))
        w, intercept = W[active, :, 0], float(c[0])
        none = np.zeros((len(active), len(self.X)), dtype=bool)
        for _ in range(5):
            value = program.objective(w, intercept)
            dw, dc, decrement = FaceSystem(Face(program, w, intercept, none)).direction()
            t = 1.0
            while t > 1e-3 and program.objective(w + t * dw, intercept + t * dc) > value:
                t *= 0.5
            if t <= 1e-3 or decrement <= 1e-16 * value:
                break
            w, intercept = w + t * dw, intercept + t * dc
        out = W.copy()
        out[active, :, 0] = w
        moved = np.array([intercept])
        return (out, moved) if self.objective(out, moved) < self.objective(W, c) else (W, c)

    def model(self, patterns: PatternSet, W: Array, c: Array) -> GatedModel:
        p, scale = self.problem.n_features, self.problem.bias_column
        gate_biases = patterns.points[:, p] * scale if scale else np.zeros(len(patterns))
        biases = W[:, p, :] * scale if scale else np.zeros((len(patterns), self.problem.n_outputs))
        return GatedModel(patterns.points[:, :p], gate_biases, W[:, :p, :], biases, c)

"""Small certified problems, shared by the tests of the checker, the file format and the producer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from certify.cone_tree_builder import build, without_leaves

from rectifold.certify import verify
from rectifold.core.certificate import ConeTrees, TrainingCertificate
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.proof.global_bound import lower_bound, restricted_bound

LOSSES = ("squared", "squared_hinge", "logistic", "multinomial")
EVIDENCE = ("spectral", "trees", "patterns")


def problem_of(loss="squared", seed=0, n=9, d=2, outputs=1, alpha=0.02, **switches):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    if loss == "squared":
        y = np.abs(X[:, :1]) @ np.ones((1, outputs)) + 0.3 * rng.standard_normal((n, outputs))
    elif loss == "multinomial" or outputs > 1:
        y = np.arange(n) % 3
    else:
        y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    return ConvexReLUProblem(X, y, alpha, loss, sample_weight=rng.uniform(0.5, 1.5, n), **switches)


def descended(problem: ConvexReLUProblem, seed=1, width=6, steps=400, rate=0.3) -> ReLUNetwork:
    """A few gradient steps on the balanced objective: a decent network, no optimum."""
    rng = np.random.default_rng(seed)
    X, k = problem.design, problem.n_outputs
    W, A, c = rng.standard_normal((width, X.shape[1])) * 0.5, rng.standard_normal((width, k)) * 0.5, np.zeros(k)
    rate /= 1.0 + (X**2).sum(axis=1).max()
    for _ in range(steps):
        Z = X @ W.T
        theta = problem.theta(np.maximum(Z, 0.0) @ A + c)
        step_w = ((theta @ A.T) * (Z > 0)).T @ X - problem.alpha * W
        A = A + rate * (np.maximum(Z, 0.0).T @ theta - problem.alpha * A)
        W = W + rate * step_w
    f = np.maximum(X @ W.T, 0.0) @ A
    if problem.fit_intercept:
        c = problem.loss.intercept(f, problem.targets, problem.weights)
    return problem.network(W, A, c)


@cache
def certified(kind="trees", loss="squared", **switches) -> TrainingCertificate:
    if kind == "trees":
        return cone_certified(loss, **switches)
    problem = problem_of(loss, **switches)
    network = descended(problem) if problem.hidden_bias != "free" else descended(problem, steps=0)
    if kind == "patterns":
        directions = np.random.default_rng(5).standard_normal((problem.design.shape[1], 12))
        return restricted_bound(problem, network, problem.design @ directions > 0)[1]
    return lower_bound(problem, network)[1]


@cache
def cone_certified(loss="squared", stored=True, ratio=1.02, **switches) -> TrainingCertificate:
    """What tight cone trees prove at the dual point of a spectral certificate."""
    c = certified("spectral", loss, **switches)
    X, theta = c.problem.design, c.theta.to_float()
    if c.bias_scale is not None:
        X = np.hstack([X[:, :-1] - c.bias_center, np.full((len(X), 1), c.bias_scale)])
    trees = [build(X, theta[:, k], ratio, s, k) for k in range(theta.shape[1]) for s in (1, -1)]
    evidence = ConeTrees(tuple(trees))
    return claim(replace(c, evidence=evidence if stored else without_leaves(evidence)))


def claim(c: TrainingCertificate) -> TrainingCertificate:
    """Take the largest scale and lower bound that the evidence allows."""
    loose = replace(c, scale=0.0, lower_bound=0.0)
    pricing = verify(loose, grade="interval").residuals["pricing_bound"]
    scaled = replace(loose, scale=c.problem.alpha / pricing * (1 - 1e-9))
    proven = verify(scaled).residuals["dual_value"] * (1 - 1e-11)
    return replace(scaled, lower_bound=min(proven, c.objective))

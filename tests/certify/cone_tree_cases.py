"""Cone trees by plain recursion, and certificates made of them; shares no code with the checker."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from certify.certified_cases import certified
from oracles import projection_norms
from scipy.optimize import nnls

from rectifold import all_patterns
from rectifold.certify import verify
from rectifold.core.certificate import CONE_EXTENSION, CONE_LEAF, ConeLeaves, ConeTree, ConeTrees

LARGEST = 4000


def largest_gain(X, r):
    """The exact maximum of g on the unit ball: the longest projection of a pattern's gradient on its cone."""
    return float(projection_norms(X, all_patterns(X), r)[0].max(initial=0.0))


class TreeBuilder:
    """Grows a tree for g(u) = sum_i r_i (x_i'u)_+ by depth-first recursion, one cone at a time."""

    def __init__(self, X, r, bound, rotation=None, metric=None, eager=False):
        n, d = X.shape
        if rotation is None:
            rotation = np.linalg.eigh((X.T * (np.abs(r) + 1e-3)) @ X)[1][:, ::-1]
        self.rotation, self.bound, self.eager = np.ascontiguousarray(rotation), bound, eager
        self.metric = np.ones(d) if metric is None else metric
        self.Z, self.r, self.d = X @ rotation, r, d
        self.size = np.abs(r) @ np.linalg.norm(X, axis=1)
        self.up, self.down = np.maximum(r, 0.0), np.maximum(-r, 0.0)
        self.row_weights = np.zeros((d, n))
        self.row_weights[:, r > 0] = np.sqrt(r[r > 0]) + 0.1
        self.nodes, self.alphas, self.duals, self.rays = [], [], [], []

    def tree(self, output=0, sign=1):
        k = min(2, self.d)
        for orthant in range(2**k):
            self._grow([axis(self.d, j, -1.0 if orthant >> j & 1 else 1.0) for j in range(k)])
        leaves = ConeLeaves(np.array(self.alphas, np.uint8), np.array(self.duals))
        nodes = np.array(self.nodes, np.uint16)
        return ConeTree(output, sign, self.bound, self.rotation, self.metric, self.row_weights, nodes, leaves)

    def _grow(self, rays):
        assert len(self.nodes) < LARGEST
        V, k = np.array(rays), len(rays)
        byte, a, value, u = self._relax(V)
        if value <= self.bound * (1 - 1e-7):
            self.nodes.append(CONE_LEAF)
            self.alphas.append(byte)
            self.duals.append(a)
            self.rays.append(V)
            return
        residual = self.residual(byte / 255, k)
        if k < self.d and (self.eager or self.gain(u) ** 2 + 1.4 * residual**2 > self.bound**2):
            self.nodes.append(CONE_EXTENSION)
            self._grow([*rays, axis(self.d, k, 1.0)])
            self._grow([*rays, axis(self.d, k, -1.0)])
            return
        i, j = max(((i, j) for i in range(k) for j in range(i + 1, k)), key=lambda e: -V[e[0]] @ V[e[1]])
        middle = V[i] / np.sqrt(V[i] ** 2 @ self.metric) + V[j] / np.sqrt(V[j] ** 2 @ self.metric)
        middle /= np.linalg.norm(middle)
        self.nodes.append(256 * i + j)
        self._grow([*rays[:i], middle, *rays[i + 1 :]])
        self._grow([*rays[:j], middle, *rays[j + 1 :]])

    def _relax(self, V):
        """Average activities over the maximisers of the relaxation; then round them to bytes."""
        best, alpha = None, 1.0 * (self.Z @ V.sum(axis=0) > 0)
        for step in range(25):
            byte = np.rint(alpha * 255).astype(np.uint8)
            a, u = self._maximise(V, byte / 255)
            value = self.leaf_value(V, byte / 255, a)
            if best is None or value < best[2]:
                best = byte, a, value, u
            if value <= self.bound * (1 - 1e-7):
                break
            alpha = alpha + ((self.Z @ u > 0) - alpha) / (1 + 0.7 * step)
        return best

    def _maximise(self, V, alpha):
        """The shortest a with Va >= c, and the direction u that maximises a'u1 + (||b|| + K) ||u2||."""
        system = np.vstack(
            [V.T, self.levels(V, alpha) / self.size]
        )  # least distance programming, Lawson and Hanson 1974
        target = axis(self.d + 1, self.d, 1.0)
        rest = system @ nnls(system, target)[0] - target
        a, b = -self.size * rest[:-1] / rest[-1], self.beside(alpha, len(V))
        u = a + b / max(np.linalg.norm(b), 1e-300) * self.residual(alpha, len(V))
        return a, u / max(np.linalg.norm(u), 1e-300)

    def gain(self, u):
        return float(self.r @ np.maximum(self.Z @ u, 0.0))

    def levels(self, V, alpha):
        images = self.Z @ V.T
        return self.up @ np.maximum(images, 0.0) - (self.down * alpha) @ images

    def beside(self, alpha, k):
        b = self.Z.T @ (0.5 * self.up - self.down * alpha)
        b[:k] = 0.0
        return b

    def residual(self, alpha, k):
        on = self.r > 0
        if k == self.d or not on.any():
            return 0.0
        w, rest = self.row_weights[k, on], self.Z[on, k:]
        spread = 0.5 * np.sqrt((self.r[on] ** 2 / w).sum() * np.linalg.eigvalsh((rest.T * w) @ rest)[-1])
        return float(np.linalg.norm(self.beside(alpha, k)) + spread)

    def leaf_value(self, V, alpha, a):
        """The bound of a leaf, its dual vector made feasible along the signs of the orthant."""
        excess = max((self.levels(V, alpha) - V @ a).max(), 0.0)
        inside = np.linalg.norm(a[: len(V)]) + np.sqrt(len(V)) * excess
        return float(np.hypot(inside, self.residual(alpha, len(V))))


def axis(d, j, value):
    e = np.zeros(d)
    e[j] = value
    return e


def build(X, r, ratio=1.02, sign=1, output=0, **options):
    """A tree whose bound is ``ratio`` times the exact maximum, or a twentieth of g's size if that is more."""
    bound = max(ratio * largest_gain(X, sign * r), 0.05 * np.abs(r) @ np.linalg.norm(X, axis=1), 1e-3)
    return TreeBuilder(X, sign * r, bound, **options).tree(output, sign)


def without_leaves(trees):
    return ConeTrees(tuple(replace(tree, leaves=None) for tree in trees.trees))


@cache
def cone_certified(loss="squared", stored=True, ratio=1.02, **switches):
    """The claim that tight cone trees prove at the dual point of a spectral certificate."""
    c = certified("spectral", loss, **switches)
    X, theta = c.problem.design, c.theta.to_float()
    if c.bias_scale is not None:
        X = np.hstack([X[:, :-1] - c.bias_center, np.full((len(X), 1), c.bias_scale)])
    trees = [build(X, theta[:, k], ratio, s, k) for k in range(theta.shape[1]) for s in (1, -1)]
    evidence = ConeTrees(tuple(trees))
    return claim(replace(c, evidence=evidence if stored else without_leaves(evidence)))


def claim(c):
    """Take the largest scale and lower bound that the evidence allows."""
    loose = replace(c, scale=0.0, lower_bound=0.0)
    pricing = verify(loose, grade="interval").residuals["pricing_bound"]
    scaled = replace(loose, scale=c.problem.alpha / pricing * (1 - 1e-9))
    return replace(scaled, lower_bound=verify(scaled).residuals["dual_value"] * (1 - 1e-9))

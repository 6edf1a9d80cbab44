"""Cone trees by plain recursion, one cone at a time; shares no code with the checker or the search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from oracles import projection_norms
from scipy.optimize import minimize, nnls

from rectifold import all_patterns
from rectifold.core.certificate import CONE_EXTENSION, CONE_LEAF, ConeLeaves, ConeTree, ConeTrees

LARGEST = 4000
PATIENCE = 6


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

    def _grow(self, rays, patience=PATIENCE):
        assert len(self.nodes) < LARGEST
        V, k = np.array(rays), len(rays)
        byte, a, value = self._relax(V)
        if value <= self.bound * (1 - 1e-7):
            self.nodes.append(CONE_LEAF)
            self.alphas.append(byte)
            self.duals.append(a)
            self.rays.append(V)
            return
        reached = np.hypot(self.gain(a) / max(np.linalg.norm(a), 1e-300), 1.2 * self.residual(byte / 255, k))
        if k < self.d and (self.eager or patience == 0 or reached > self.bound):
            self.nodes.append(CONE_EXTENSION)
            self._grow([*rays, axis(self.d, k, 1.0)])
            self._grow([*rays, axis(self.d, k, -1.0)])
            return
        i, j = max(((i, j) for i in range(k) for j in range(i + 1, k)), key=lambda e: -V[e[0]] @ V[e[1]])
        middle = V[i] / np.sqrt(V[i] ** 2 @ self.metric) + V[j] / np.sqrt(V[j] ** 2 @ self.metric)
        middle /= np.linalg.norm(middle)
        self.nodes.append(256 * i + j)
        self._grow([*rays[:i], middle, *rays[i + 1 :]], patience - 1)
        self._grow([*rays[:j], middle, *rays[j + 1 :]], patience - 1)

    def _relax(self, V):
        """Activities, in bytes, that give the cone a small bound: half the square of the bound is smooth in them."""

        def half_square(alpha):
            _, u, value = self._maximise(V, alpha)
            return 0.5 * value**2, -self.down * (self.Z @ u) * value

        start = 1.0 * (self.Z @ V.sum(axis=0) > 0)
        best = minimize(half_square, start, jac=True, bounds=[(0, 1)] * len(start), method="L-BFGS-B")
        byte = np.rint(best.x * 255).astype(np.uint8)
        a = self._maximise(V, byte / 255)[0]
        return byte, a, self.leaf_value(V, byte / 255, a)

    def _maximise(self, V, alpha):
        """The shortest a with Va >= c, the unit u that maximises a'u1 + (||b|| + K) ||u2||, and the maximum."""
        system = np.vstack(
            [V.T, self.levels(V, alpha) / self.size]
        )  # least distance programming, Lawson and Hanson 1974
        target = axis(self.d + 1, self.d, 1.0)
        rest = system @ nnls(system, target)[0] - target
        a, b = -self.size * rest[:-1] / rest[-1], self.beside(alpha, len(V))
        u = a + b / max(np.linalg.norm(b), 1e-300) * self.residual(alpha, len(V))
        return a, u / max(np.linalg.norm(u), 1e-300), float(np.linalg.norm(u))

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
        if k == self.d:
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

"""The program on a fixed set of blocks: one block per activation pattern and output sign, one output."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rectifold.core.problem import ConvexReLUProblem

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

_GRAM_BYTES = 256 * 2**20


class BlockProgram:
    """``min L(sum_b Z_b w_b + c) + alpha sum_b ||w_b||`` subject to ``A_b w_b >= 0``, ``Z_b = s_b D_b X``.

    ``A_b = (2 D_b - I) X``. Only X and the masks are kept, never the matrices Z_b.

    Parameters
    ----------
    problem : ConvexReLUProblem
        With one output.
    patterns : ndarray of bool, shape (B, n)
        Activation pattern of each block over the rows of ``problem.design``.
    signs : ndarray, shape (B,)
        +1 or -1: the sign of the output weight.
    """

    def __init__(self, problem: ConvexReLUProblem, patterns: Bits, signs: Array) -> None:
        self.problem = problem
        self.X = problem.design
        self.alpha = problem.alpha
        self.fit_intercept = problem.fit_intercept
        self.patterns = patterns
        self.signs = np.asarray(signs, dtype=np.float64)
        self.mask = patterns * self.signs[:, None]
        nonzero = self.X.any(axis=1)
        self.rows = slice(None) if nonzero.all() else np.flatnonzero(nonzero)
        self.cone_rows = self.X[self.rows]
        self.orientation = np.where(patterns[:, self.rows], 1.0, -1.0)

    def __len__(self) -> int:
        return len(self.signs)

    def subset(self, index: NDArray[np.intp]) -> BlockProgram:
        """Return the program on some of the blocks."""
        return BlockProgram(self.problem, self.patterns[index], self.signs[index])

    @property
    def null_value(self) -> float:
        """Objective with all blocks zero."""
        return self.problem.null_value

    @property
    def null_intercept(self) -> float:
        """Intercept with all blocks zero."""
        return float(self.problem.null_intercept[0])

    def fit(self, w: Array, intercept: float) -> Array:
        """Return ``sum_b Z_b w_b + c``, shape (n,)."""
        return np.einsum("bn,bn->n", self.mask, w @ self.X.T) + intercept

    def loss_value(self, fit: Array) -> float:
        """Return L at the fit."""
        return self.problem.loss_value(fit[:, None])

    def objective(self, w: Array, intercept: float) -> float:
        """Return the objective; that of the mapped network where w is feasible."""
        return self.loss_value(self.fit(w, intercept)) + self.alpha * float(np.linalg.norm(w, axis=1).sum())

    def theta(self, fit: Array) -> Array:
        """Return ``-dL/df``, shape (n,)."""
        return self.problem.theta(fit[:, None])[:, 0]

    def curvature(self, fit: Array) -> Array:
        """Return the diagonal of the loss's Hessian, shape (n,)."""
        return self.problem.loss.curvature(fit[:, None], self.problem.targets, self.problem.weights)[:, 0]

    def smoothed(self, fit: Array, mu: float) -> tuple[Array, Array]:
        """Return theta and the positive curvature of the loss smoothed with barrier weight mu, each of shape (n,)."""
        problem = self.problem
        theta, curvature = problem.loss.smoothed(fit[:, None], problem.targets, problem.weights, mu)
        return theta[:, 0], curvature[:, 0]

    def correlations(self, theta: Array) -> Array:
        """Return ``Z_b' theta``, shape (B, d)."""
        return np.asarray((self.mask * theta) @ self.X)

    def slacks(self, w: Array) -> Array:
        """Return ``A_b w_b`` without zero rows of X, shape (B, n_rows)."""
        return np.asarray((w @ self.cone_rows.T) * self.orientation)

    def adjoint_slacks(self, rho: Array) -> Array:
        """Return ``A_b' rho_b``, shape (B, d)."""
        return np.asarray((rho * self.orientation) @ self.cone_rows)

    @cached_property
    def _products(self) -> Array | None:
        n, d = self.cone_rows.shape
        rows, cols = np.tril_indices(d)
        if n * len(rows) * 8 > _GRAM_BYTES:
            return None
        return self.cone_rows[:, rows] * self.cone_rows[:, cols]

    def weighted_grams(self, weights: Array) -> Array:
        """Return ``A_b' diag(weights_b) A_b`` for every block, shape (B, d, d)."""
        d = self.X.shape[1]
        out = np.empty((len(weights), d, d))
        products = self._products
        if products is None:
            for b, row in enumerate(weights):
                out[b] = (self.cone_rows.T * row) @ self.cone_rows
            return out
        rows, cols = np.tril_indices(d)
        packed = weights @ products
        out[:, rows, cols] = packed
        out[:, cols, rows] = packed
        return out

    def masked_columns(
        self, factors: Array, root: Array, dtype: type[np.floating] = np.float64
    ) -> NDArray[np.floating]:
        """Return the stacked ``F_b Z_b' diag(root)`` in some precision, shape (B d, n)."""
        columns = np.matmul(factors.astype(dtype, copy=False), self.X.T.astype(dtype, copy=False))
        columns *= (self.mask * root).astype(dtype, copy=False)[:, None, :]
        return columns.reshape(-1, len(self.X))

    def design_columns(self, root: Array) -> Array:
        """Return the stacked ``Z_b' diag(root)``, shape (B d, n)."""
        columns = (self.mask * root)[:, None, :] * self.X.T
        return columns.reshape(-1, len(self.X))

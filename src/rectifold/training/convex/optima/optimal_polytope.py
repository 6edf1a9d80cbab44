"""The polytope of multipliers {mu >= 0 : A mu = b, G mu >= h} of all optima: linear programs, dimension, cleaning."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from rectifold._engine.lp import LinearProgram, LPStatus
from rectifold.core.errors import ProblemError, SolverError
from rectifold.core.result import ReadOnlyArrays
from rectifold.training.convex.optima.equicorrelation import Equicorrelation

__all__ = ["OptimalPolytope", "equality_rows"]

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

RANK_TOL = 1e-9
_ZERO = 1e-9
_RESIDUAL = 1e-8
_ACTIVE_THETA = 1e-9


@dataclass(frozen=True, eq=False)
class OptimalPolytope(ReadOnlyArrays):
    """``{mu >= 0 : A mu = b, G mu >= h}``, the intercept eliminated: ``c = c0 - C mu``.

    A has full row rank: the equations ``M mu + c = fit`` reduced by a singular value decomposition of M with
    normalised columns. The inequalities are the samples of zero theta of the squared hinge, ``y f >= 1``.

    Attributes
    ----------
    A : ndarray, shape (rank, m)
    b : ndarray, shape (rank,)
    G : ndarray, shape (q, m)
    h : ndarray, shape (q,)
    intercept_rows : ndarray, shape (K, m)
        C; zero without an intercept.
    intercept_offset : ndarray, shape (K,)
        c0.
    smallest_kept, largest_dropped : float
        Singular values, over the largest, on either side of the rank decision; 1 and 0 where there is none.
    residual : float
        Largest part of the fit that no combination of the columns gives, over the largest fit.
    """

    A: Array
    b: Array
    G: Array
    h: Array
    intercept_rows: Array
    intercept_offset: Array
    smallest_kept: float
    largest_dropped: float
    residual: float

    @classmethod
    def of(cls, blocks: Equicorrelation) -> OptimalPolytope:
        """Build the polytope over the merged blocks of E.

        Raises
        ------
        ProblemError
            If these do not combine to the fit to 1e-8.
        """
        problem = blocks.problem
        n, k = blocks.fit.shape
        m = len(blocks)
        used = equality_rows(blocks)
        cubes = blocks.activations.reshape(n, k, m)
        means, offset = np.zeros((k, m)), np.zeros(k) if not problem.fit_intercept else blocks.intercept.copy()
        for j in range(k if problem.fit_intercept else 0):
            if used[:, j].any():
                means[j], offset[j] = cubes[used[:, j], j].mean(axis=0), blocks.fit[used[:, j], j].mean()
        centred = (cubes - means).reshape(n * k, m)
        flat = used.ravel()
        equal = (blocks.fit - offset).ravel()[flat]
        A, b, singular = _reduced(centred[flat], equal)
        rest = equal - centred[flat] @ np.linalg.lstsq(A, b, rcond=None)[0] if len(b) else equal
        y = problem.targets.ravel()[~flat]
        G, h = y[:, None] * centred[~flat], 1.0 - y * np.broadcast_to(offset, (n, k)).ravel()[~flat]
        scale = max(float(np.abs(blocks.fit).max(initial=0.0)), 1e-300)
        rank = len(b)
        b, h, moved = _feasible(A, b, G, h)
        residual = max(float(np.abs(rest).max(initial=0.0)), moved) / scale
        if residual > _RESIDUAL:
            raise ProblemError(
                f"The neurons found combine to the fit to a relative {residual:.2g} only ({_RESIDUAL:.0e} is needed): "
                "the data are too badly conditioned for the set of optima to be told in float64."
            )
        return cls(
            A,
            b,
            G,
            h,
            means,
            offset,
            float(singular[rank - 1]) if rank else 1.0,
            float(singular[rank]) if rank < len(singular) else 0.0,
            residual,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_dual"}

    @property
    def n_columns(self) -> int:
        """Number of merged neurons m."""
        return int(self.A.shape[1])

    @property
    def rank(self) -> int:
        """Rank of M (of [M, 1] less 1 with an intercept)."""
        return len(self.b)

    def intercept(self, mu: Array) -> Array:
        """Return the intercept that belongs to multipliers, shape (K,)."""
        return np.asarray(self.intercept_offset - self.intercept_rows @ mu)

    # -- linear programs ------------------------------------------------------------------------------------------

    @cached_property
    def _dual(self) -> LinearProgram:
        """``max b'y + h'z`` subject to ``A'y + G'z <= g, z >= 0``: the objective g is a row bound, so solves chain."""
        matrix = np.hstack([self.A.T, self.G.T])
        lower = np.concatenate([np.full(len(self.b), -np.inf), np.zeros(len(self.h))])
        return LinearProgram(-np.concatenate([self.b, self.h]), matrix, row_upper=0.0, col_lower=lower)

    def minimiser(self, g: Array) -> Array:
        """Return a vertex that minimises ``g'mu``.

        Raises
        ------
        SolverError
            If the linear program does not end at an optimum.
        """
        if self.n_columns == 0:
            return np.zeros(0)
        if self.n_columns == self.rank:
            return self.clean(np.asarray(np.linalg.lstsq(self.A, self.b, rcond=None)[0], dtype=np.float64))
        size = max(float(np.abs(g).max(initial=0.0)), 1e-300)
        self._dual.set_row_bounds(np.arange(self.n_columns), -np.inf, g / size)
        solution = self._dual.solve()
        if solution.status is not LPStatus.OPTIMAL or solution.row_duals is None:
            raise SolverError(f"A linear program over the optimal set ended {solution.status}.")
        return self.clean(np.maximum(-solution.row_duals, 0.0))

    def clean(self, mu: Array) -> Array:
        """Return multipliers near ``mu`` that meet the equations to rounding, those that are zero staying zero."""
        support = mu > _ZERO * max(float(mu.max(initial=0.0)), 1e-300)
        out = np.zeros_like(mu)
        for _ in range(len(mu) + 1):
            rows, rhs = self._active_rows(np.where(support, mu, 0.0))
            if not support.any():
                break
            out = np.zeros_like(mu)
            kept = mu[support]
            out[support] = kept + np.linalg.lstsq(rows[:, support], rhs - rows[:, support] @ kept, rcond=1e-12)[0]
            negative = support & (out < 0)
            if not negative.any():
                break
            support &= ~negative
        return out

    def _active_rows(self, mu: Array) -> tuple[Array, Array]:
        if not len(self.h):
            return self.A, self.b
        tight = self.G @ mu - self.h <= _ZERO * (1.0 + np.abs(self.h))
        return np.vstack([self.A, self.G[tight]]), np.concatenate([self.b, self.h[tight]])

    def violation(self, mu: Array) -> float:
        """Return the largest violation of the equations and inequalities, over the size of the right-hand sides."""
        scale = max(float(np.abs(self.b).max(initial=0.0)), float(np.abs(self.h).max(initial=0.0)), 1e-300)
        equal = float(np.abs(self.A @ mu - self.b).max(initial=0.0))
        return max(equal, float((self.h - self.G @ mu).max(initial=0.0)), float(-mu.min(initial=0.0))) / scale

    # -- dimension ------------------------------------------------------------------------------------------------

    @cached_property
    def extremes(self) -> Array:
        """Vertices that maximise each multiplier in turn, shape (m, m); the one point where there is only one."""
        if self.n_columns == self.rank:
            return np.tile(self.minimiser(np.zeros(self.n_columns)), (max(self.n_columns, 1), 1))
        return np.array([self.minimiser(-row) for row in np.eye(self.n_columns)])

    @cached_property
    def center(self) -> Array:
        """A point in the relative interior."""
        points = self.extremes
        slack = points @ self.G.T - self.h
        undecided = np.flatnonzero(slack.max(axis=0, initial=-np.inf) <= _ZERO * (1.0 + np.abs(self.h)))
        if self.n_columns > self.rank:
            points = np.vstack([points, *(self.minimiser(-self.G[i])[None] for i in undecided)])
        return np.asarray(points.mean(axis=0))

    @cached_property
    def live(self) -> Bits:
        """Neurons that some optimum uses, shape (m,)."""
        return np.asarray(self.center > _ZERO * max(float(self.center.max(initial=0.0)), 1e-300))

    @cached_property
    def null_basis(self) -> Array:
        """Orthonormal basis (m, dimension) of the directions in which the polytope extends."""
        fixed = self.G @ self.center - self.h <= _ZERO * (1.0 + np.abs(self.h))
        rows = np.vstack([self.A, self.G[fixed]])[:, self.live]
        basis = np.zeros((self.n_columns, 0))
        if rows.shape[1] and self.n_columns > self.rank:
            _, s, vt = np.linalg.svd(rows)
            rank = int((s > RANK_TOL * s.max(initial=0.0)).sum())
            basis = np.zeros((self.n_columns, rows.shape[1] - rank))
            basis[self.live] = vt[rank:].T
        return basis

    @property
    def dimension(self) -> int:
        """Dimension of the polytope."""
        return int(self.null_basis.shape[1])


def equality_rows(blocks: Equicorrelation) -> Bits:
    """Samples and outputs whose fit is the same at every optimum, shape (n, K)."""
    if blocks.problem.loss.name != "squared_hinge":
        return np.ones(blocks.fit.shape, dtype=bool)
    return np.asarray(np.abs(blocks.theta) > _ACTIVE_THETA * blocks.problem.weights[:, None])


def _feasible(A: Array, b: Array, G: Array, h: Array) -> tuple[Array, Array, float]:
    """Return right-hand sides that some multipliers meet to the last digit, and how far the given ones were moved."""
    m, q = A.shape[1], len(h)
    if m == 0:
        return b, h, 0.0
    matrix = np.block([[A, np.zeros((len(b), q))], [G, -np.eye(q)]])
    lengths = np.maximum(np.linalg.norm(matrix, axis=0), 1e-300)
    rhs = np.concatenate([b, h])
    point, residual = nnls(matrix / lengths, rhs, maxiter=30 * (m + q) + 100)
    met = (matrix / lengths) @ point
    return met[: len(b)], met[len(b) :], float(residual)


def _reduced(M: Array, rhs: Array) -> tuple[Array, Array, Array]:
    """Return full-rank equations equivalent to ``M mu = rhs`` and the relative singular values of M."""
    m = M.shape[1]
    if m == 0:
        return np.empty((0, 0)), np.empty(0), np.empty(0)
    lengths = np.maximum(np.linalg.norm(M, axis=0), 1e-300)
    u, s, _ = np.linalg.svd(M / lengths, full_matrices=False)
    relative = s / max(float(s.max(initial=0.0)), 1e-300)
    rank = int((relative > RANK_TOL).sum())
    return u[:, :rank].T @ M, u[:, :rank].T @ rhs, relative

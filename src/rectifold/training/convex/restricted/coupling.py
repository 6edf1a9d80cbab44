"""The Newton system of the interior-point method: blocks that couple only through the fits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dsyrk, ssyrk
from scipy.linalg.lapack import spotrf

from rectifold.training.convex.restricted.blocks import BlockProgram

__all__ = ["Normal", "Woodbury", "coupling_of"]

Array = NDArray[np.float64]

_SINGLE_FLOPS = 1e9
_SINGLE_RANGE = 1e5
_DROPPED = 0.03
_CG_TOL = 1e-10
_CG_STEPS = 40


class Woodbury:
    """``(blkdiag(H) + Z' S^2 Z) dw = rhs`` through the n x n matrix ``M = I + S Z H^-1 Z' S``.

    Where forming M is dear, its main part is formed and factored in single precision, as the preconditioner of
    conjugate gradients in double: a product with M costs ``4 n B d`` only. Near the optimum M may be too
    ill-conditioned for that.
    """

    def __init__(self, program: BlockProgram, inverse_roots: Array, root: Array) -> None:
        self.program, self.inverse_roots, self.root = program, inverse_roots, root
        dear = inverse_roots.shape[0] * inverse_roots.shape[1] * len(root) ** 2 > _SINGLE_FLOPS
        single = self._factor_in_single() if dear else None
        self.factor: NDArray[np.floating] = self._factor_in_double() if single is None else single
        if program.fit_intercept:
            self.unit = self._solve_coupled(root)

    def solve(self, rhs: Array, theta_sum: float) -> tuple[Array, float]:
        """Return dw, shape (B, d), and the change of the intercept."""
        base = self._apply_inverse(rhs)
        p = self._solve_coupled(self.root * self.program.fit(base, 0.0))
        shift = 0.0
        if self.program.fit_intercept:
            shift = (theta_sum - float(self.root @ p)) / float(self.root @ self.unit)
            p = p + shift * self.unit
        return self._apply_inverse(rhs - self.program.correlations(self.root * p)), shift

    def _factor_in_single(self) -> NDArray[np.float32] | None:
        """Return a factor of M less its smallest terms, which cost more to add than iterations; None if it fails."""
        columns = self.program.masked_columns(self.inverse_roots, self.root, np.float32)
        sizes = np.einsum("kn,kn->k", columns, columns)
        order = np.argsort(sizes, kind="stable")
        dropped = int(np.searchsorted(np.cumsum(sizes[order], dtype=np.float64), _DROPPED * columns.shape[1]))
        matrix = ssyrk(1.0, columns[np.sort(order[dropped:])].T, lower=1)
        matrix[np.diag_indices_from(matrix)] += 1.0
        if matrix.diagonal().max() > _SINGLE_RANGE:
            return None
        factor, info = spotrf(matrix, lower=1, clean=0, overwrite_a=1)
        return None if info else factor

    def _factor_in_double(self) -> Array:
        matrix = dsyrk(1.0, self.program.masked_columns(self.inverse_roots, self.root, np.float64).T, lower=1)
        matrix[np.diag_indices_from(matrix)] += 1.0
        factor, _ = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        return np.asarray(factor)

    def _solve_coupled(self, rhs: Array) -> Array:
        """Solve ``M p = rhs``."""
        if self.factor.dtype == np.float64:
            return np.asarray(cho_solve((self.factor, True), rhs, check_finite=False))
        solution = self._conjugate_gradients(rhs)
        if solution is not None:
            return solution
        self.factor = self._factor_in_double()
        return self._solve_coupled(rhs)

    def _conjugate_gradients(self, rhs: Array) -> Array | None:
        """Solve ``M p = rhs`` to rounding, preconditioned by the single-precision factor; None if that fails."""
        size = float(np.linalg.norm(rhs))
        solution, residual = np.zeros_like(rhs), rhs.copy()
        search, last = np.zeros_like(rhs), np.inf
        for _ in range(_CG_STEPS):
            norm = float(np.linalg.norm(residual))
            if norm <= _CG_TOL * size:
                return solution
            z = norm * cho_solve((self.factor, True), (residual / norm).astype(np.float32), check_finite=False)
            slope = float(residual @ z)
            search = z + slope / last * search
            image = search + self.root * self.program.fit(
                self._apply_inverse(self.program.correlations(self.root * search)), 0.0
            )
            step = slope / float(search @ image)
            solution, residual, last = solution + step * search, residual - step * image, slope
        return None

    def _apply_inverse(self, rhs: Array) -> Array:
        half = np.matmul(self.inverse_roots, rhs[:, :, None])
        return np.asarray(np.matmul(self.inverse_roots.transpose(0, 2, 1), half)[:, :, 0])


class Normal:
    """The same system through its own (B d + 1) matrix, for few blocks."""

    def __init__(self, program: BlockProgram, hessian: Array, root: Array) -> None:
        n_blocks, d, _ = hessian.shape
        columns = program.design_columns(root)
        if program.fit_intercept:
            columns = np.vstack([columns, root])
        matrix = dsyrk(1.0, columns, lower=1)
        for b in range(n_blocks):
            matrix[b * d : (b + 1) * d, b * d : (b + 1) * d] += hessian[b]
        self.shape = (n_blocks, d)
        self.fit_intercept = program.fit_intercept
        self.factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)

    def solve(self, rhs: Array, theta_sum: float) -> tuple[Array, float]:
        """Return dw, shape (B, d), and the change of the intercept."""
        flat = np.append(rhs.ravel(), theta_sum) if self.fit_intercept else rhs.ravel()
        solution = cho_solve(self.factor, flat, check_finite=False)
        size = self.shape[0] * self.shape[1]
        return solution[:size].reshape(self.shape), float(solution[size]) if self.fit_intercept else 0.0


def coupling_of(program: BlockProgram, hessian: Array, root: Array) -> Woodbury | Normal:
    """Return the solver of the Newton system with these block Hessians, by whichever matrix is smaller."""
    n_blocks, d, _ = hessian.shape
    if n_blocks * d < len(root):
        return Normal(program, hessian, root)
    return Woodbury(program, np.linalg.inv(np.linalg.cholesky(hessian)), root)

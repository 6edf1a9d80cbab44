"""Derivatives of the optimum on a face: the KKT system of its active blocks and tight rows, factored once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from rectifold.training.convex.restricted.face_newton import Face, FaceSystem

__all__ = ["FaceTangent"]

Array = NDArray[np.float64]


class FaceTangent:
    """The Jacobian of a face's optimum ``(w, c)`` in alpha, in its dual variable's data, and in X.

    With ``dw_b = p_b + N_b z_b``, N_b a basis of ``{v : x_i'v = 0 on the tight rows}``, the system is
    ``(C'HC + blkdiag(N_b' M_b N_b)) z = rhs``: C holds the columns ``Z_b N_b`` and the intercept's ones, H is the
    curvature of the loss and ``M_b = alpha / ||w_b|| (I - u_b u_b')``. It is positive definite if and only if the
    activations of the blocks are independent where the loss is curved.

    Parameters
    ----------
    face : Face
        At its optimum, with at least one block.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the system is not positive definite.

    References
    ----------
    Mishkin and Pilanci (2023), on the sensitivity of minimal solutions.
    """

    def __init__(self, face: Face) -> None:
        self.face, self.program = face, face.program
        system = FaceSystem(face)
        self.theta, self.bases, self.parts = system.theta, system.bases, system.parts
        self.curvature = self.program.curvature(system.fit)
        size = int(system.ends[-1])
        self.columns = np.ones((len(self.theta), size + self.program.fit_intercept))
        for part, image, mask in zip(system.parts, system.images, self.program.mask, strict=True):
            self.columns[:, part] = image * mask[:, None]
        norms = np.linalg.norm(face.w, axis=1)
        self.units = face.w / norms[:, None]
        hessian = self.columns.T @ (self.columns * self.curvature[:, None])
        self._bends = self.program.alpha / norms
        for b, (part, basis) in enumerate(zip(self.parts, self.bases, strict=True)):
            hessian[part, part] += basis.T @ self.bend(b, basis)
        self._factor = cho_factor(hessian, lower=True)
        self.multipliers = [self._multipliers(b) for b in range(len(face.w))]

    @property
    def n_unknowns(self) -> int:
        """Number of unknowns z, the intercept's among them."""
        return int(self.columns.shape[1])

    def bend(self, b: int, directions: Array) -> Array:
        """Return ``M_b V`` for directions V of shape (d, ...)."""
        along = np.tensordot(self.units[b], directions, axes=1)
        return np.asarray(self._bends[b] * (directions - np.multiply.outer(self.units[b], along)))

    def solve(self, rhs: Array) -> Array:
        """Return z for right-hand sides of shape (k,) or (k, q)."""
        return np.asarray(cho_solve(self._factor, rhs))

    def expand(self, z: Array) -> tuple[Array, Array]:
        """Return ``N_b z_b``, shape (B, d, ...), and the intercept's part."""
        dw = np.array(
            [np.tensordot(basis, z[part], axes=1) for basis, part in zip(self.bases, self.parts, strict=True)]
        )
        return dw, z[-1] if self.program.fit_intercept else np.zeros(z.shape[1:])

    def restrict(self, g: Array, g_intercept: float) -> Array:
        """Return the coordinates ``N_b' g_b`` of a functional, shape (k,), from those of (w, c)."""
        out = np.empty(self.n_unknowns)
        for b, (part, basis) in enumerate(zip(self.parts, self.bases, strict=True)):
            out[part] = g[b] @ basis
        if self.program.fit_intercept:
            out[-1] = g_intercept
        return out

    def alpha_direction(self) -> Array:
        """Return dz/dalpha."""
        return self.solve(self.restrict(-self.units, 0.0))

    def theta_directions(self, changes: Array) -> Array:
        """Return dz for changes of theta at a fixed fit, shape (n,) or (n, q), as where targets move."""
        return self.solve(self.columns.T @ changes)

    # -- derivatives in X -------------------------------------------------------------------------------------------

    def pulls(self) -> Array:
        """Return ``s_b theta_i`` on active rows plus the signed multipliers of tight ones, shape (B, n).

        ``alpha u_b = sum_i pulls_bi x_i``, and ``-sum_b pulls_bi w_b`` is the derivative of the optimal value in x_i.
        """
        out = self.program.mask * self.theta
        for b, rho in enumerate(self.multipliers):
            rows = np.flatnonzero(self.face.tight[b])
            out[b, rows] += np.where(self.program.patterns[b, rows], rho, -rho)
        return np.asarray(out)

    def gradient_in_rows(self, g: Array, g_intercept: float) -> Array:
        """Return the derivative of ``sum_b g_b'w_b + g_c c`` in the rows of X, shape (n, d), by one adjoint solve."""
        face, program, X = self.face, self.program, self.program.X
        adjoint = self.solve(self.restrict(g, g_intercept))
        along, _ = self.expand(adjoint)
        weighted = self.curvature * (self.columns @ adjoint)
        out = self.pulls().T @ along - weighted[:, None] * (program.mask.T @ face.w)
        back = g - (program.mask * weighted) @ X
        for b in np.flatnonzero(face.tight.any(axis=1)):
            rows = np.flatnonzero(face.tight[b])
            force = back[b] - self.bend(int(b), along[b])
            out[rows] -= np.outer(np.linalg.lstsq(X[rows].T, force, rcond=None)[0], face.w[b])
        return np.asarray(out)

    def _multipliers(self, b: int) -> Array:
        rows = np.flatnonzero(self.face.tight[b])
        normals = np.where(self.program.patterns[b, rows], 1.0, -1.0)[:, None] * self.program.X[rows]
        missing = self.program.alpha * self.units[b] - (self.program.mask[b] * self.theta) @ self.program.X
        return np.asarray(np.linalg.lstsq(normals.T, missing, rcond=None)[0]) if len(rows) else np.empty(0)

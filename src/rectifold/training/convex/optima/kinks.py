"""Whether neurons of a convex program are stationary in the network's own weights: the Clarke test on tight rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear, nnls

from rectifold.core.result import ReadOnlyArrays

__all__ = ["STATIONARY_TOL", "TIGHT_TOL", "ClarkeTest", "clarke_test"]

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

TIGHT_TOL = 1e-9
"""Rows with ``|x_i'u| <= TIGHT_TOL ||x_i||`` count as tight."""
STATIONARY_TOL = 1e-7
"""Largest ``violation`` of a stationary neuron."""
_EXCESS = 1e-8


@dataclass(frozen=True, eq=False)
class ClarkeTest(ReadOnlyArrays):
    """The test of one neuron, whose direction does not depend on its size.

    Attributes
    ----------
    rows : ndarray of int, shape (t,)
        Tight rows ``x_i'u = 0``.
    multipliers : ndarray, shape (t,)
        Non-negative, with ``Z_b' theta + A_b' rho = alpha u``; in units of theta.
    limits : ndarray, shape (t,)
        ``max(0, -s theta_i)``: the largest multiplier of a stationary network.
    violation : float
        Distance of zero from the Clarke subdifferential in the neuron's direction, over alpha.
    """

    rows: NDArray[np.intp]
    multipliers: Array
    limits: Array
    violation: float

    @property
    def holds(self) -> bool:
        """Whether the neuron is stationary."""
        return self.violation <= STATIONARY_TOL

    @property
    def n_exceeding(self) -> int:
        """Number of multipliers above their limit."""
        return int((self.multipliers > self.limits + _EXCESS * max(float(self.limits.max(initial=0.0)), 1e-300)).sum())


def clarke_test(X: Array, theta: Array, alpha: float, direction: Array, sign: float, cell: Bits) -> ClarkeTest:
    """Test a neuron of unit direction ``u`` and output sign ``s`` that is optimal in its cell.

    The network is stationary in it if some choice of slopes ``d_i`` in [0, 1] at the tight rows gives
    ``sum_i d_i s theta_i x_i = alpha u``, with d_i = 1 on rows that are on and 0 on rows that are off; equivalently,
    if some multipliers obey ``rho_i <= max(0, -s theta_i)``.

    Parameters
    ----------
    X : ndarray, shape (n, d)
    theta : ndarray, shape (n,)
    alpha : float
    direction : ndarray, shape (d,)
    sign : float
    cell : ndarray of bool, shape (n,)
        The pattern whose multipliers are reported.

    References
    ----------
    Mishkin and Pilanci (2023); Wang, Lacotte and Pilanci (2022).
    """
    heights, lengths = X @ direction, np.linalg.norm(X, axis=1)
    tight = (np.abs(heights) <= TIGHT_TOL * lengths) & (lengths > 0)
    rows = np.flatnonzero(tight)
    slopes = sign * theta
    missing = alpha * direction - (np.where(tight, False, heights > 0) * slopes) @ X
    if len(rows) == 0:
        empty = np.empty(0)
        return ClarkeTest(rows, empty, empty, float(np.linalg.norm(missing)) / alpha)
    fitted = lsq_linear((slopes[rows, None] * X[rows]).T / alpha, missing / alpha, bounds=(0.0, 1.0), method="bvls")
    violation = float(np.linalg.norm(fitted.fun))
    normals = np.where(cell[rows], 1.0, -1.0)[:, None] * X[rows]
    multipliers, _ = nnls(normals.T, alpha * direction - (np.where(tight, cell, heights > 0) * slopes) @ X)
    return ClarkeTest(rows, multipliers, np.maximum(0.0, -slopes[rows]), violation)

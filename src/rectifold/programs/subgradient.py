"""A zero subgradient: the certificate of a minimum where the function is convex nearby."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from rectifold.core.certificate import ConvexMinimumCertificate
from rectifold.programs.network_directions import NetworkDirections
from rectifold.programs.objective import Objective

__all__ = ["zero_subgradient"]

_RESIDUAL = 1e-9


def zero_subgradient(
    objective: Objective, x: NDArray[np.float64], critical: NDArray[np.int64], scale: float
) -> ConvexMinimumCertificate | None:
    """Find shares of the critical units' jumps and multipliers of the active rows that balance the gradient.

    None where the function is not convex near x, or the least residual is not zero within rounding.
    """
    n_units = len(objective.lo)
    G, h = objective.domain.rows()
    E, e = objective.domain.equalities()
    program = NetworkDirections(objective, x, critical, 1.0, E)
    normals, response, weights, gradient = program.linear_parts()
    gains = weights * program.jumps
    if response.any() or np.any(gains < 0.0):
        return None
    units, rows = critical[critical < n_units], critical[critical >= n_units] - n_units
    columns = np.concatenate([gains[:, None] * normals, G[rows], E]).T
    lower = np.concatenate([np.zeros(len(units) + len(rows)), np.full(len(E), -np.inf)])
    upper = np.concatenate([np.ones(len(units)), np.full(len(rows) + len(E), np.inf)])
    solution = np.zeros(0)
    if columns.shape[1]:
        solution = lsq_linear(columns, -gradient, (lower, upper), method="bvls", tol=1e-15).x
    size = max(np.linalg.norm(gradient), np.linalg.norm(columns, axis=0).max(initial=0.0))
    if np.linalg.norm(columns @ solution + gradient) > _RESIDUAL * size:
        return None
    solution = np.clip(solution, lower, upper)
    return ConvexMinimumCertificate(
        objective.network,
        objective.domain if len(h) or len(e) else None,
        objective.output,
        objective.sign < 0.0,
        x,
        float(objective.sign * objective.at(x)),
        scale,
        units,
        solution[: len(units)],
        rows,
        solution[len(units) : len(units) + len(rows)],
        solution[len(units) + len(rows) :],
    )

"""Linear functionals of the multipliers of optima, and their ranges by linear programs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_float_array
from rectifold.core.errors import ProblemError
from rectifold.training.convex.optima.equicorrelation import Equicorrelation
from rectifold.training.convex.optima.members import LinearFunctional
from rectifold.training.convex.optima.optimal_polytope import OptimalPolytope

__all__ = ["as_functional", "check_index", "inputs_of", "prediction_functionals", "ranges"]

Array = NDArray[np.float64]

_FLAT = 1e-12


def inputs_of(blocks: Equicorrelation) -> Array:
    """Return the directions without their bias, shape (m, n_features)."""
    return blocks.directions[:, : blocks.problem.n_features]


def prediction_functionals(blocks: Equicorrelation, polytope: OptimalPolytope, points: Array) -> tuple[Array, Array]:
    """Return coefficients (n, K, m) and constants (K,) of the predictions at points (n, n_features)."""
    heights = points @ inputs_of(blocks).T
    if blocks.problem.bias_column:
        heights = heights + blocks.problem.bias_column * blocks.directions[:, -1]
    own = np.maximum(heights, 0.0)[:, None, :] * blocks.outputs.T
    return own - polytope.intercept_rows, polytope.intercept_offset


def ranges(polytope: OptimalPolytope, rows: Array) -> tuple[Array, Array]:
    """Return the least and largest values of the functionals ``rows`` (k, m) over the polytope, each of shape (k,).

    Two linear programs each, started from the basis of the one before; none for a functional that is constant.
    """
    center = rows @ polytope.center
    lower, upper = center.copy(), center.copy()
    moving = np.abs(rows @ polytope.null_basis).max(axis=1, initial=0.0)
    for i in np.flatnonzero(moving > _FLAT * np.abs(rows).max(axis=1, initial=0.0)):
        lower[i] = rows[i] @ polytope.minimiser(rows[i])
        upper[i] = rows[i] @ polytope.minimiser(-rows[i])
    return lower, upper


def as_functional(direction: LinearFunctional | ArrayLike, size: int) -> LinearFunctional:
    """Return a functional of ``size`` multipliers, from one or from its coefficients."""
    functional = direction
    if not isinstance(functional, LinearFunctional):
        functional = LinearFunctional(as_float_array(functional, "direction", ndim=1))
    if functional.coefficients.shape != (size,):
        raise ProblemError(
            f"direction must have shape ({size},), one coefficient for each neuron of the set, got "
            f"{functional.coefficients.shape}."
        )
    return functional


def check_index(value: object, name: str, limit: int, least: int = 0) -> int:
    """Return an integer of at least ``least`` and below ``limit``, or raise ``ProblemError``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value < limit:
        raise ProblemError(f"{name} must be an integer from {least} to {limit - 1}, got {value!r}.")
    return int(value)

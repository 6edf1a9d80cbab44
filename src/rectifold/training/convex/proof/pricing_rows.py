"""The rows that a bound on pricing speaks of: the design, or for a free hidden bias a better conditioned stand-in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import gamma

__all__ = ["PricingRows", "pricing_rows"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PricingRows:
    """Rows x_i of a pricing problem ``max_{||u|| <= 1} sum_i r_i (x_i'u)_+`` and the factor of its bound.

    Attributes
    ----------
    X : ndarray, shape (n, d)
    factor : float
        The true pricing bound is at most this times the one on these rows; at least 1.
    center : ndarray, shape (n_features,), or None
    scale : float or None
        As ``bias_center`` and ``bias_scale`` of `TrainingCertificate`.
    """

    X: Array
    factor: float
    center: Array | None = None
    scale: float | None = None

    def combine(self, bounds: Array, problem: ConvexReLUProblem) -> float:
        """Combine bounds of the K outputs on these rows into one on a neuron of unit penalty, rounded up."""
        joint = problem.output_penalty == "l2" and problem.n_outputs > 1
        bound = float(np.linalg.norm(bounds)) if joint else float(bounds.max())
        return bound * self.factor * (1.0 + 4.0 * gamma(problem.n_outputs + 8) + 16.0 * gamma(sum(self.X.shape)))

    def in_design(self, u: Array, problem: ConvexReLUProblem) -> Array:
        """Return the neuron direction u of these rows in coordinates of the problem's design."""
        if self.center is None or self.scale is None:
            return u
        bias = self.scale * u[-1] - self.center @ u[:-1]
        return np.append(u[:-1], bias / problem.bias_column)


def pricing_rows(problem: ConvexReLUProblem, bias_ratio: float = 1.0) -> PricingRows:
    """Return the design, or for a free hidden bias centred inputs beside a constant column.

    The column is ``bias_ratio * max ||x_i - center||`` and the factor ``sqrt(1 + bias_ratio^-2)``: small ratios suit
    bounds that pay for the column's size, large ones exact bounds (proven_bound sheet, 2.5).
    """
    if problem.hidden_bias != "free":
        return PricingRows(problem.design, 1.0)
    inputs = problem.design[:, : problem.n_features]
    centers = (inputs.mean(axis=0), 0.5 * (inputs.min(axis=0) + inputs.max(axis=0)), np.zeros(inputs.shape[1]))
    center = min(centers, key=lambda m: float(((inputs - m) ** 2).sum(axis=1).max()))
    radius = float(np.sqrt(((inputs - center) ** 2).sum(axis=1).max()))
    scale = max(bias_ratio * radius, 1e-100)
    factor = float(np.sqrt(1.0 + (radius / scale) ** 2)) * (1.0 + 1e-12)
    return PricingRows(np.hstack([inputs - center, np.full((len(inputs), 1), scale)]), factor, center, scale)

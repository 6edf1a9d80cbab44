"""Checks `SpectralBound` evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.bounds import half_spreads, norms, require_weights
from rectifold.certify.multipliers import require_array
from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import Grade, SpectralBound

__all__ = ["spectral_pricing"]

Array = NDArray[np.float64]


def spectral_pricing(X: Array, theta: Array, evidence: SpectralBound, grade: Grade) -> Array:
    """Re-derive upper bounds of ``max_{||u|| <= 1} +-theta_k'(Xu)_+``, shape (1, K, 2), sign + first."""
    require_array(evidence.row_weights, "row_weights", "f", theta.shape)
    require_array(evidence.activity, "activity", "f", theta.shape)
    require_weights(evidence.row_weights)
    if np.any(evidence.activity < 0.0) or np.any(evidence.activity > 1.0):
        raise Refusal("An activity of the spectral bound is outside [0, 1].")
    out = np.empty((1, theta.shape[1], 2))
    for k in range(theta.shape[1]):
        for side, r in enumerate((theta[:, k], -theta[:, k])):
            on = r > 0
            multiplier = np.where(on, 0.5, evidence.activity[:, k]) * r
            spread = half_spreads(X, r, evidence.row_weights[:, k], on[None, :], grade)[0]
            out[0, k, side] = norms(multiplier[None, :], X, grade)[0] + spread
    return out

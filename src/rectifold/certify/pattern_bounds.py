"""Checks `PatternBounds` evidence, which speaks of the given activation patterns only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.bounds import norms
from rectifold.certify.multipliers import chunks, dense, require, require_array, require_multipliers
from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import Grade, PatternBounds
from rectifold.core.pattern import unpack_patterns

__all__ = ["pattern_pricing"]

Array = NDArray[np.float64]


def pattern_pricing(X: Array, theta: Array, evidence: PatternBounds, grade: Grade) -> Array:
    """Re-derive upper bounds of ``+-theta_k'(Xu)_+`` on each pattern's cone within the ball, shape (P, K, 2)."""
    n, n_outputs = theta.shape
    require_array(evidence.patterns, "patterns", "u")
    require(evidence.patterns.ndim == 2 and len(evidence.patterns) > 0, "patterns must be a non-empty table of bits")
    require_array(evidence.patterns, "patterns", "u", (len(evidence.patterns), (n + 7) // 8))
    require(evidence.patterns.dtype == np.uint8, "patterns must be bytes")
    n_patterns = len(evidence.patterns)
    require_multipliers(evidence.leaves, 2 * n_outputs * n_patterns, n)
    out = np.empty((n_outputs, 2, n_patterns))
    for k in range(n_outputs):
        for side, r in enumerate((theta[:, k], -theta[:, k])):
            offset = (2 * k + side) * n_patterns
            for part in chunks(n_patterns, n):
                leaves = slice(offset + part.start, offset + part.stop)
                out[k, side, part] = _cone_bounds(X, r, evidence, part, leaves, grade)
    return np.moveaxis(out, 2, 0)


def _cone_bounds(X: Array, r: Array, evidence: PatternBounds, part: slice, leaves: slice, grade: Grade) -> Array:
    active = unpack_patterns(evidence.patterns[part], len(r))
    G = dense(evidence.leaves, leaves, r)
    if np.any(G[active] < np.broadcast_to(r, G.shape)[active]):
        raise Refusal("A pattern's multiplier has gamma_i < r_i on an active row.")
    if np.any(G[~active] > 0.0):
        raise Refusal("A pattern's multiplier has gamma_i > 0 on an inactive row.")
    return norms(G, X, grade)

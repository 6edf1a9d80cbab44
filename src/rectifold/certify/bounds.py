"""The two quantities every pricing certificate is made of, in plain float64 or as rigorous upper bounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import Grade
from rectifold.core.rounding import TINY, gamma, product_norm_upper, top_eigenvalue_upper

__all__ = ["half_spreads", "norms", "require_weights"]

Array = NDArray[np.float64]


def norms(G: Array, X: Array, grade: Grade) -> Array:
    """Return ``||X'g||_2`` for the rows g of G (m, n), shape (m,)."""
    if grade >= Grade.INTERVAL:
        return product_norm_upper(G, X)
    return np.asarray(np.linalg.norm(G @ X, axis=1))


def require_weights(weights: Array) -> None:
    """Raise `Refusal` unless weights are positive and far from the ends of the floating-point range."""
    if np.any(weights < 1e-140) or np.any(weights > 1e140):
        raise Refusal("A row weight is not a positive number of usable size.")


def half_spreads(X: Array, r: Array, weights: Array, rows: NDArray[np.bool_], grade: Grade) -> Array:
    """Return ``1/2 sqrt(sum r_i^2 / w_i * lambda_max(sum w_i x_i x_i'))`` over each set of rows, shape (m,).

    Parameters
    ----------
    X : ndarray, shape (n, d)
    r, weights : ndarrays, shape (n,)
        ``weights`` as `require_weights` accepts them.
    rows : ndarray of bool, shape (m, n)
        Equal sets are computed once.
    """
    if not np.any(rows):
        return np.zeros(len(rows))
    first = rows @ (r * r / weights)
    packed = np.ascontiguousarray(np.packbits(rows, axis=1))
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, index, inverse = np.unique(keys, return_index=True, return_inverse=True)
    W = np.where(rows[index], weights, 0.0)
    if grade >= Grade.INTERVAL:
        top = top_eigenvalue_upper(X, W)[inverse.ravel()]
        return 0.5 * np.sqrt(first * top) * (1.0 + 2.0 * gamma(X.shape[0] + 8)) + TINY * np.any(rows, axis=1)
    top = np.array([np.linalg.eigvalsh((X.T * w) @ X)[-1] for w in W])[inverse.ravel()]
    return 0.5 * np.sqrt(first * np.maximum(top, 0.0))

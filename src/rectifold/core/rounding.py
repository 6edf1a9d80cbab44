"""Numbers whose rounding is under control: dyadic arrays, and rigorous bounds on matrix products and eigenvalues.

The a-priori bounds hold for every order of summation and with or without fused multiply-add, so that any BLAS may do
the work. Underflow is covered by `TINY`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.arrays import read_only

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

UNIT_ROUNDOFF = 2.0**-53
TINY = 1e-290
DYADIC_BITS = 44
"""Bits kept by `DyadicArray.round`: sums of up to 2^18 entries stay exact in 64-bit integers."""


def gamma(k: int) -> float:
    """Return ``k u / (1 - k u)``, the relative error bound of a floating-point sum of k products (Higham 2002, 3.1)."""
    return k * UNIT_ROUNDOFF / (1.0 - k * UNIT_ROUNDOFF)


def round_down(x: float) -> float:
    """Return the float below x."""
    return float(np.nextafter(x, -np.inf))


def round_up(x: float) -> float:
    """Return the float above x."""
    return float(np.nextafter(x, np.inf))


def product_norm_upper(G: Array, X: Array) -> Array:
    """Return upper bounds of ``||X' g||_2`` for the rows g of G.

    Parameters
    ----------
    G : ndarray, shape (m, n)
    X : ndarray, shape (n, d)

    Returns
    -------
    ndarray, shape (m,)
    """
    n, d = X.shape
    radius = 1.01 * gamma(n + 2) * (np.abs(G) @ np.abs(X)) + TINY
    norms = np.linalg.norm(np.abs(G @ X) + radius, axis=1)
    return np.asarray(norms * (1.0 + 2.0 * gamma(d + 4)))


def top_eigenvalue_upper(X: Array, W: Array) -> Array:
    """Return upper bounds of ``lambda_max(sum_i w_i x_i x_i')`` for the rows w >= 0 of W.

    A floating-point Cholesky factorisation that runs to its end proves ``L I - M`` positive semidefinite up to an
    a-priori margin (Rump 2006, "Verification of positive definiteness"); where it fails the trace is returned.

    Parameters
    ----------
    X : ndarray, shape (n, d)
    W : ndarray, shape (m, n)

    Returns
    -------
    ndarray, shape (m,)
    """
    n, d = X.shape
    bounds = np.empty(len(W))
    for i, w in enumerate(W):
        on = w > 0
        rows, size = X[on], w[on]
        moment = (rows.T * size) @ rows
        moment = 0.5 * (moment + moment.T)
        trace = float(size @ (rows**2).sum(axis=1)) * (1.0 + 2.0 * gamma(n + d + 4)) + TINY
        radius = 1.01 * gamma(n + 4) * trace  # of the product, in the 2-norm: |X|'W|X| is no larger than its trace
        bounds[i] = min((_psd_shift(moment) + radius) * (1.0 + 4.0 * UNIT_ROUNDOFF), trace)
    return bounds


def _psd_shift(moment: Array) -> float:
    """Return a number L for which ``L I - moment`` is proven positive semidefinite, or infinity."""
    d = len(moment)
    top = max(float(np.linalg.eigvalsh(moment)[-1]), 0.0) * (1.0 + 1e-13) + TINY
    diagonal = np.arange(d)
    for excess in (0.0, 1e-10, 1e-6):
        level = top * (1.0 + excess)
        margin = gamma(2 * d + 16) * float(np.sum(level + np.abs(moment[diagonal, diagonal]))) + TINY
        level += 2.0 * margin
        shifted = -moment
        shifted[diagonal, diagonal] += level - margin
        try:
            np.linalg.cholesky(shifted)
        except np.linalg.LinAlgError:
            continue
        return level * (1.0 + 4.0 * UNIT_ROUNDOFF)
    return np.inf


@dataclass(frozen=True, eq=False)
class DyadicArray:
    """Integers times a power of two, so that sums are exact.

    Attributes
    ----------
    integers : ndarray of int64
    exponent : int
        The array stands for ``integers * 2.0**exponent``.
    """

    integers: Ints
    exponent: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "integers", read_only(np.asarray(self.integers, dtype=np.int64)))

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    @classmethod
    def round(cls, values: Array) -> DyadicArray:
        """Round values to `DYADIC_BITS` bits below the largest entry."""
        top = float(np.abs(values).max()) if values.size else 0.0
        exponent = int(np.frexp(top)[1]) - DYADIC_BITS if top > 0 else 0
        return cls(np.rint(np.ldexp(values, -exponent)).astype(np.int64), exponent)

    def to_float(self) -> Array:
        """Return the array as float64, exactly while entries have at most 53 bits."""
        return np.ldexp(self.integers.astype(np.float64), self.exponent)

    def column_sums(self) -> list[int]:
        """Return the exact integer sum of every column."""
        columns = self.integers.reshape(len(self.integers), -1).T
        return [sum(column.tolist()) for column in columns]


def sum_to_zero(integers: Ints, lower: Ints, upper: Ints) -> Ints:
    """Change integers within [lower, upper] so that they sum to zero exactly, most where there is most room.

    Parameters
    ----------
    integers, lower, upper : ndarrays of int64, shape (n,)
        ``lower <= integers <= upper``.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    ValueError
        If no choice within the box sums to zero.
    """
    out = integers.copy()
    residue = sum(out.tolist())
    room = out - lower if residue > 0 else upper - out
    left = abs(residue)
    share = -(-left // max(len(out), 1))
    for i in np.argsort(-room, kind="stable").tolist():
        if left == 0:
            return out
        step = min(share, left, int(room[i]))
        out[i] += -step if residue > 0 else step
        left -= step
        room[i] -= step
    for i in np.argsort(-room, kind="stable").tolist():
        step = min(left, int(room[i]))
        out[i] += -step if residue > 0 else step
        left -= step
    if left:
        raise ValueError("no point of the box sums to zero")
    return out

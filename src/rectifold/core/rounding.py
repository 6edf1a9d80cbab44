"""Numbers whose rounding is under control: dyadic vectors, and bounds on floating-point error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.arrays import read_only

Array = NDArray[np.float64]

UNIT_ROUNDOFF = 2.0**-53
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


@dataclass(frozen=True, eq=False)
class DyadicArray:
    """Integers times a power of two, so that sums are exact.

    Attributes
    ----------
    integers : ndarray of int64
    exponent : int
        The array stands for ``integers * 2.0**exponent``.
    """

    integers: NDArray[np.int64]
    exponent: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "integers", read_only(np.asarray(self.integers, dtype=np.int64)))

    @classmethod
    def round(cls, values: Array) -> DyadicArray:
        """Round values to `DYADIC_BITS` bits below the largest entry."""
        top = float(np.abs(values).max()) if values.size else 0.0
        exponent = int(np.frexp(top)[1]) - DYADIC_BITS if top > 0 else 0
        return cls(np.rint(np.ldexp(values, -exponent)).astype(np.int64), exponent)

    def to_float(self) -> Array:
        """Return the array as float64, exactly."""
        return np.ldexp(self.integers.astype(np.float64), self.exponent)

    def column_sums(self) -> list[int]:
        """Return the exact integer sum of every column."""
        columns = self.integers.reshape(len(self.integers), -1).T
        return [sum(int(v) for v in column) for column in columns]

"""Activation patterns as bits: packing, and finding the distinct ones among many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError

__all__ = ["pack_patterns", "unique_patterns", "unpack_patterns"]

Bits = NDArray[np.bool_]


def pack_patterns(patterns: Bits) -> NDArray[np.uint8]:
    """Pack the rows of a bool array (P, n) into bytes, shape (P, ceil(n / 8)), first entry in the lowest bit."""
    return np.packbits(_check(patterns), axis=1, bitorder="little")


def unpack_patterns(packed: NDArray[np.uint8], n: int) -> Bits:
    """Invert `pack_patterns`: bytes (P, ceil(n / 8)) to the bool array (P, n).

    Raises
    ------
    ProblemError
        If the packed array is not of bytes, or not wide enough for ``n`` bits and no wider.
    """
    packed = np.asarray(packed)
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != (n + 7) // 8:
        raise ProblemError(f"packed patterns of {n} bits are bytes of shape (P, {(n + 7) // 8}), got {packed.shape}")
    return np.unpackbits(packed, axis=1, count=n, bitorder="little").view(np.bool_)


def unique_patterns(patterns: Bits) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the distinct rows of a bool array (P, n).

    Returns
    -------
    first : ndarray of int, shape (n_distinct,)
        Ascending row numbers: the first occurrence of each distinct row, so ``patterns[first]`` keeps their order.
    inverse : ndarray of int, shape (P,)
        ``patterns[first][inverse]`` equals ``patterns``.

    Notes
    -----
    Rows are compared exactly, as byte strings: O(P n / 8) memory traffic a comparison, O(P log P) comparisons.
    """
    packed = pack_patterns(patterns)
    if packed.shape[1] == 0:
        return np.arange(min(1, len(packed)), dtype=np.intp), np.zeros(len(packed), dtype=np.intp)
    keys = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.shape[0])
    return first[order], rank[inverse.ravel()]


def _check(patterns: Bits) -> Bits:
    """Refuse anything but a two-dimensional bool array."""
    array = np.asarray(patterns)
    if array.dtype != np.bool_ or array.ndim != 2:
        raise ProblemError(f"patterns must be a bool array of two dimensions, got {array.dtype} of shape {array.shape}")
    return array

"""Reading arrays of a certificate that nobody vouches for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core.certificate import LeafMultipliers
from rectifold.core.errors import CertificateError
from rectifold.core.pattern import unpack_patterns

__all__ = ["chunks", "dense", "require", "require_array", "require_multipliers", "require_number"]

Array = NDArray[np.float64]

_CHUNK_NUMBERS = 2_000_000


def require(condition: bool, message: str) -> None:
    """Raise `CertificateError` unless the condition holds."""
    if not condition:
        raise CertificateError(f"The certificate is malformed: {message}.")


def require_number(value: Any, name: str, kind: type) -> None:
    """Check that a value is of exactly this built-in type (a bool is no int)."""
    require(
        type(value) is kind or (kind is float and isinstance(value, float)), f"{name} must be of type {kind.__name__}"
    )


def require_array(value: Any, name: str, kinds: str, shape: tuple[int, ...] | None = None) -> None:
    """Check type, dtype kind, shape and that floats are finite."""
    require(isinstance(value, np.ndarray), f"{name} must be an array, got {type(value).__name__}")
    require(value.dtype.kind in kinds, f"{name} has dtype {value.dtype}")
    require(shape is None or value.shape == shape, f"{name} has shape {value.shape}, expected {shape}")
    require(value.dtype.kind != "f" or bool(np.isfinite(value).all()), f"{name} contains NaN or infinity")


def require_multipliers(leaves: Any, n_leaves: int, n: int) -> None:
    """Check that ``leaves`` holds ``n_leaves`` vectors of length n in good order."""
    require(isinstance(leaves, LeafMultipliers), "leaves must be LeafMultipliers")
    require_array(leaves.masks, "masks", "u", (n_leaves, (n + 7) // 8))
    require(leaves.masks.dtype == np.uint8, "masks must be bytes")
    require_array(leaves.indptr, "indptr", "iu", (n_leaves + 1,))
    require_array(leaves.excess, "excess", "f")
    require_array(leaves.indices, "indices", "iu", leaves.excess.shape)
    require(leaves.indices.ndim == 1, "indices must be one-dimensional")
    pointer, indices = leaves.indptr.astype(np.int64), leaves.indices.astype(np.int64)
    require(pointer[0] == 0 and pointer[-1] == len(indices), "indptr does not span the excess")
    require(bool(np.all(np.diff(pointer) >= 0)), "indptr decreases")
    require(len(indices) == 0 or (indices.min() >= 0 and indices.max() < n), "a row index is out of range")
    leaf = np.repeat(np.arange(n_leaves), np.diff(pointer))
    require(bool(np.all((np.diff(indices) > 0) | (np.diff(leaf) > 0))), "row indices of a leaf do not ascend")


def dense(leaves: LeafMultipliers, part: slice, R: Array) -> Array:
    """Return the multipliers ``mask * r + excess`` of some leaves, shape (m, n), for r of shape (n,) or (m, n)."""
    n = R.shape[-1]
    masks = unpack_patterns(leaves.masks[part], n)
    G = np.where(masks, R, 0.0)
    pointer = leaves.indptr[part.start : part.stop + 1].astype(np.int64)
    entries = slice(int(pointer[0]), int(pointer[-1]))
    row = np.repeat(np.arange(part.stop - part.start), np.diff(pointer))
    G[row, leaves.indices[entries]] += leaves.excess[entries]
    return G


def chunks(n_leaves: int, n: int) -> Iterator[slice]:
    """Cut leaves into parts whose dense multipliers fit in the cache of a small machine."""
    step = max(1, _CHUNK_NUMBERS // max(n, 1))
    for start in range(0, n_leaves, step):
        yield slice(start, min(start + step, n_leaves))

"""Validated, read-only float64 arrays: the form in which every core object holds its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.errors import ProblemError

__all__ = ["as_float_array", "as_points", "read_only"]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a C-contiguous copy of ``array`` that refuses writes."""
    copy = np.array(array, order="C", copy=True)
    copy.setflags(write=False)
    return copy


def as_float_array(value: ArrayLike, name: str, ndim: int | None = None) -> NDArray[np.float64]:
    """Convert to a finite C-contiguous float64 array; no copy is made where none is needed.

    Parameters
    ----------
    value : array_like of real numbers
        Floats of any width, integers or booleans; text and complex numbers are refused.
    name : str
        What to call the value in an error message.
    ndim : int, optional
        The number of dimensions it must have.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ProblemError
        If it is not numeric, not finite or of another dimension.
    """
    try:
        raw = np.asarray(value)
        if raw.dtype.kind not in "fiubO":
            raise TypeError(f"dtype {raw.dtype}")
        array = np.ascontiguousarray(raw, dtype=np.float64).reshape(raw.shape)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ProblemError(f"{name} must be an array of real numbers ({error})") from error
    if ndim is not None and array.ndim != ndim:
        raise ProblemError(f"{name} must have {ndim} dimension(s), but has shape {array.shape}")
    if not np.isfinite(array).all():
        raise ProblemError(f"{name} contains NaN or infinite values")
    return array


def as_points(X: ArrayLike, n_inputs: int, name: str = "X") -> tuple[NDArray[np.float64], bool]:
    """Validate points of R^n_inputs and return them as rows.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_inputs) or (n_inputs,)
    n_inputs : int
    name : str
        What to call the points in an error message.

    Returns
    -------
    rows : ndarray of float64, shape (n_samples, n_inputs)
    single : bool
        True if ``X`` was one point, so that the caller drops the first axis of its answer.

    Raises
    ------
    ProblemError
        If the shape does not fit or a value is not finite.
    """
    points = as_float_array(X, name)
    if points.ndim not in (1, 2) or points.shape[-1] != n_inputs:
        raise ProblemError(f"{name} must have shape (n_samples, {n_inputs}) or ({n_inputs},), got {points.shape}")
    return np.atleast_2d(points), points.ndim == 1

"""Convolutions as matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import UnsupportedNetworkError
from rectifold.io._signals import MAX_ENTRIES

__all__ = ["unroll"]


def unroll(
    kernel: NDArray[np.float64],
    shape: tuple[int, ...],
    *,
    pads: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Return the matrix of a zero-padded cross-correlation over any number of axes.

    Parameters
    ----------
    kernel : ndarray, shape (n_channels, n_inputs / groups, *extent)
    shape : tuple of int
        (n_inputs, *size) of the array that is convolved.
    pads : sequence of int
        As in ONNX: what to add before each axis, then after each.
    strides, dilations : sequence of int, one per axis
    groups : int

    Returns
    -------
    matrix : ndarray of float64, shape (n_channels * prod(spatial), prod(shape))
    spatial : tuple of int
        Sizes of the output's axes.

    Raises
    ------
    UnsupportedNetworkError
        If the matrix would be too large.
    """
    windows = _windows(shape, kernel.shape[2:], pads, strides, dilations)
    spatial = windows.shape[1 : kernel.ndim - 1]
    n_positions, n_channels, n_entries = int(np.prod(spatial)), kernel.shape[0], int(np.prod(shape))
    if n_channels * n_positions * n_entries > MAX_ENTRIES:
        raise UnsupportedNetworkError(f"unrolled it has {n_channels * n_positions} x {n_entries} entries, too many")
    windows = windows.reshape(shape[0], n_positions, -1)
    matrix = np.zeros((n_channels, n_positions, n_entries + 1))
    rows = np.arange(n_positions)[:, None]
    for channel in range(n_channels):
        first = channel // (n_channels // groups) * kernel.shape[1]
        for offset in range(kernel.shape[1]):
            matrix[channel, rows, windows[first + offset]] = kernel[channel, offset].ravel()
    return matrix[:, :, :n_entries].reshape(n_channels * n_positions, n_entries), spatial


def _windows(
    shape: tuple[int, ...],
    extent: tuple[int, ...],
    pads: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> NDArray[np.intp]:
    """Return which entry lies under each kernel entry, (n_inputs, *spatial, *extent); padding is one past the last."""
    axes, size = len(extent), int(np.prod(shape))
    numbers = np.arange(size, dtype=np.intp).reshape(shape)
    numbers = np.pad(numbers, [(0, 0), *zip(pads[:axes], pads[axes:], strict=True)], constant_values=size)
    reach = tuple((n - 1) * dilation + 1 for n, dilation in zip(extent, dilations, strict=True))
    views = np.lib.stride_tricks.sliding_window_view(numbers, reach, axis=tuple(range(1, 1 + axes)))
    steps = [slice(None), *(slice(None, None, k) for k in strides), *(slice(None, None, k) for k in dilations)]
    return views[tuple(steps)]

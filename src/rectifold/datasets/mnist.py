"""MNIST, from one local archive or the four public idx files."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError
from rectifold.datasets.fetch import data_home_folder, fetch
from rectifold.datasets.table import Table

__all__ = ["load_mnist", "read_idx"]

_IDX_UINT8 = 0x08


def load_mnist(digits: Sequence[int] | None = None, data_home: str | os.PathLike[str] | None = None) -> Table:
    """Load MNIST with pixels divided by 255.

    Parameters
    ----------
    digits : sequence of int, optional
        Keep only these digits, for example ``(3, 8)``; all ten by default.
    data_home : path, optional
        Folder with ``mnist/mnist.npz`` or the four gzipped idx files; default the environment variable
        ``RECTIFOLD_DATA``.

    Returns
    -------
    Table
        70 000 rows (fewer with `digits`), 784 features; one split, the canonical one.

    Raises
    ------
    ProblemError
        If a file is missing, unreadable or fails its checksum, or `digits` are not digits.
    BackendNotFoundError
        If a download is needed and pooch is missing.
    """
    wanted = _check_digits(digits)
    images, labels, n_train = _arrays(data_home)
    keep = np.flatnonzero(np.isin(labels, wanted))
    n_kept_train = int(np.count_nonzero(keep < n_train))
    rows = np.arange(keep.shape[0])
    return Table(
        "mnist",
        images[keep] / 255.0,
        labels[keep].astype(np.int64),
        tuple(f"pixel{i}" for i in range(784)),
        "digit",
        "classification",
        ((rows[:n_kept_train], rows[n_kept_train:]),),
    )


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read a gzipped idx file of unsigned bytes, of any number of dimensions.

    Raises
    ------
    ProblemError
        If the file is not such a file or is cut short.
    """
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read()
        zero, kind, n_dimensions = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{n_dimensions}I", content[4 : 4 + 4 * n_dimensions])
    except (OSError, EOFError, struct.error) as error:
        raise ProblemError(f"{Path(path).name} is not a readable idx file: {error}") from error
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * n_dimensions)
    if zero != 0 or kind != _IDX_UINT8 or values.size != int(np.prod(shape)):
        raise ProblemError(f"{Path(path).name} is not an idx file of unsigned bytes, or is cut short")
    return values.reshape(shape)


def _check_digits(digits: Sequence[int] | None) -> list[int]:
    """Return the digits to keep."""
    wanted = list(range(10)) if digits is None else [int(digit) for digit in digits]
    if not wanted or not set(wanted) <= set(range(10)):
        raise ProblemError(f"digits must be some of 0..9, got {digits!r}")
    return wanted


def _arrays(data_home: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int]:
    """Return images (n, 784), labels (n,), the training part first, and its length."""
    folder = data_home_folder(data_home)
    archive = None if folder is None else folder / "mnist" / "mnist.npz"
    if archive is not None and archive.is_file():
        with np.load(archive) as stored:
            parts = [stored[key] for key in ("x_train", "y_train", "x_test", "y_test")]
    else:
        names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
        parts = [read_idx(fetch(f"mnist/{name}-ubyte.gz", data_home)) for name in names]
    images = np.concatenate([parts[0].reshape(-1, 784), parts[2].reshape(-1, 784)])
    return images, np.concatenate([parts[1], parts[3]]), int(parts[1].shape[0])

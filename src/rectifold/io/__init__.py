"""Networks in and out: files (``.npz``, ``.onnx``), torch and scikit-learn; tables in batches."""

from __future__ import annotations

import os
from collections.abc import Callable

from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.io._files import as_path
from rectifold.io.batches import parquet_batches
from rectifold.io.npz import load_npz, save_npz
from rectifold.io.onnx import from_onnx, to_onnx
from rectifold.io.sklearn import from_sklearn
from rectifold.io.torch import from_torch, to_torch

__all__ = [
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "load",
    "load_npz",
    "parquet_batches",
    "save",
    "save_npz",
    "to_onnx",
    "to_torch",
]

_LOADERS: dict[str, Callable[[str | os.PathLike[str]], ReLUNetwork]] = {".npz": load_npz, ".onnx": from_onnx}
_SAVERS: dict[str, Callable[[ReLUNetwork, str | os.PathLike[str]], None]] = {".npz": save_npz, ".onnx": to_onnx}


def load(path: str | os.PathLike[str]) -> ReLUNetwork:
    """Read a network from a file; the suffix, ``.npz`` or ``.onnx``, says how.

    Raises
    ------
    ProblemError
        If the suffix is another or the file cannot be read.
    UnsupportedNetworkError
        If an ONNX model is not a piecewise-affine network (see `from_onnx`).
    BackendNotFoundError
        If the package onnx is needed and missing.
    """
    return _LOADERS[_suffix(path)](path)


def save(net: ReLUNetwork, path: str | os.PathLike[str]) -> None:
    """Write a network to a file in float64, all or nothing; the suffix, ``.npz`` or ``.onnx``, says how.

    Raises
    ------
    ProblemError
        If the suffix is another or the file cannot be written.
    BackendNotFoundError
        If the package onnx is needed and missing.
    """
    _SAVERS[_suffix(path)](net, path)


def _suffix(path: str | os.PathLike[str]) -> str:
    """Return the lower-case suffix of a supported format."""
    suffix = as_path(path).suffix.lower()
    if suffix not in _LOADERS:
        raise ProblemError(f"unknown network format {suffix!r} of {path}; supported: {', '.join(_LOADERS)}")
    return suffix

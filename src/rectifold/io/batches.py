"""Tables that are read in batches, again and again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError
from rectifold.io._backends import require

__all__ = ["parquet_batches"]

Batch = tuple[NDArray[np.float64], ...]


def parquet_batches(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: str,
    features: Sequence[str] | None = None,
    *,
    sample_weight: str | None = None,
    batch_rows: int = 65_536,
) -> Callable[[], Iterator[Batch]]:
    """Return a function that opens Parquet files and yields (X, y) or (X, y, sample_weight), batch by batch.

    Parameters
    ----------
    path : path-like or sequence of them
        Read one after the other.
    target : str
        Column of y.
    features : sequence of str, optional
        Columns of X; by default all others of the first file, in its order.
    sample_weight : str, optional
        Column of weights.
    batch_rows : int

    Returns
    -------
    callable
        For `rectifold.LADRegressor.fit_stream`; each call starts from the first row.

    Raises
    ------
    ProblemError
        If a file cannot be read or lacks a column, or ``batch_rows`` is not positive; a column that is not numeric is
        found when its batch is read.
    BackendNotFoundError
        Without pyarrow.
    """
    parquet = require("pyarrow.parquet", "cli")
    if np.asarray(batch_rows).dtype.kind not in "iu" or batch_rows < 1:
        raise ProblemError(f"batch_rows must be a positive integer, got {batch_rows!r}.")
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths:
        raise ProblemError("parquet_batches needs at least one file.")
    names = _column_names(parquet, paths[0])
    others = {target, sample_weight}
    chosen = [name for name in names if name not in others] if features is None else list(features)
    wanted = [*chosen, target, *([] if sample_weight is None else [sample_weight])]
    for file in paths:
        if missing := sorted(set(wanted) - set(_column_names(parquet, file))):
            raise ProblemError(f"{os.fspath(file)} has no column {missing[0]!r}.")

    def batches() -> Iterator[Batch]:
        for file in paths:
            with parquet.ParquetFile(file) as table:
                for batch in table.iter_batches(batch_size=int(batch_rows), columns=wanted):
                    yield _arrays(batch, chosen, target, sample_weight)

    return batches


def _column_names(parquet: Any, path: str | os.PathLike[str]) -> list[str]:
    try:
        return list(parquet.read_schema(path).names)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise ProblemError(f"{os.fspath(path)} is not a readable Parquet file ({error}).") from error


def _arrays(batch: Any, features: list[str], target: str, sample_weight: str | None) -> Batch:
    X = np.empty((batch.num_rows, len(features)))
    for j, name in enumerate(features):
        X[:, j] = _column(batch, name)
    if sample_weight is None:
        return X, _column(batch, target)
    return X, _column(batch, target), _column(batch, sample_weight)


def _column(batch: Any, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(batch.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"column {name!r} is not numeric ({error}).") from error

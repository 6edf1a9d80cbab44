"""UCI tables with their published splits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from rectifold.core.errors import ProblemError
from rectifold.datasets.fetch import fetch
from rectifold.datasets.table import Split, Table, Task

__all__ = ["UCI", "load_uci"]

_REGRESSION = ("airfoil", "autompg", "concrete", "elevators", "energy", "protein", "wine_red", "yacht")
_CLASSIFICATION = ("banknote", "breast_cancer_w", "ionosphere", "phoneme", "pima", "seeds", "sonar")
UCI: dict[str, Task] = {
    **dict.fromkeys(_REGRESSION, "regression"),
    **dict.fromkeys(_CLASSIFICATION, "classification"),
}
_WITHOUT_SPLITS = frozenset({"wine_red", *_CLASSIFICATION})


def load_uci(name: str, data_home: str | os.PathLike[str] | None = None) -> Table:
    """Load a UCI table.

    Parameters
    ----------
    name : str
        A key of `UCI`. The regression tables other than ``wine_red`` are downloaded if needed, with the ten splits of
        their public collection; the rest are read from a local folder only.
    data_home : path, optional
        Folder with ``uci/<name>.csv.gz``; default the environment variable ``RECTIFOLD_DATA``.

    Returns
    -------
    Table

    Raises
    ------
    ProblemError
        If the name is unknown, or the file is missing, unreadable or fails its checksum.
    BackendNotFoundError
        If a download is needed and pooch is missing.
    """
    if name not in UCI:
        raise ProblemError(f"no UCI table {name!r}; there are {', '.join(UCI)}")
    values = _read_matrix(fetch(f"uci/{name}.csv.gz", data_home))
    splits = () if name in _WITHOUT_SPLITS else _read_splits(fetch(f"uci/{name}.testmask.csv.gz", data_home))
    task = UCI[name]
    target = values[:, -1] if task == "regression" else values[:, -1].astype(np.int64)
    names = tuple(f"x{i}" for i in range(values.shape[1] - 1))
    return Table(name, values[:, :-1], target, names, "y", task, splits)


def _read_matrix(path: Path) -> np.ndarray:
    """Read a headerless numeric CSV, compressed or not."""
    try:
        return np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError, EOFError) as error:
        raise ProblemError(f"{path.name} is not a readable table of numbers: {error}") from error


def _read_splits(path: Path) -> tuple[Split, ...]:
    """Read a 0/1 matrix, one column a split, 1 for a test row."""
    mask = _read_matrix(path).astype(bool)
    return tuple((np.flatnonzero(~column), np.flatnonzero(column)) for column in mask.T)

"""The shape every data set comes in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError

__all__ = ["Split", "Table", "Task"]

Task = Literal["regression", "classification"]
Split = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class Table:
    """A data set: numeric features, one target, and its published splits.

    Attributes
    ----------
    name : str
    data : ndarray of float64, shape (n_samples, n_features), read-only
    target : ndarray, shape (n_samples,), read-only
        float64 for regression, labels of any kind for classification.
    feature_names : tuple of str, length n_features
    target_name : str
    task : {"regression", "classification"}
    splits : tuple of (train, test)
        Pairs of row indices, as published with the data; empty where there are none.
    """

    name: str
    data: NDArray[np.float64]
    target: NDArray[Any]
    feature_names: tuple[str, ...]
    target_name: str
    task: Task
    splits: tuple[Split, ...] = field(default=())

    def __post_init__(self) -> None:
        data = np.array(self.data, dtype=np.float64)
        target = np.array(self.target)
        if data.ndim != 2 or target.shape != (data.shape[0],):
            raise ProblemError(f"{self.name}: data {data.shape} and target {target.shape} do not match")
        if len(self.feature_names) != data.shape[1]:
            raise ProblemError(f"{self.name}: {len(self.feature_names)} feature names for {data.shape[1]} features")
        data.setflags(write=False)
        target.setflags(write=False)
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "feature_names", tuple(str(name) for name in self.feature_names))

    def __repr__(self) -> str:
        rows, columns = self.data.shape
        return f"Table({self.name!r}, {self.task}, {rows} samples, {columns} features, {len(self.splits)} splits)"

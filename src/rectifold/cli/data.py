"""The data of a run: read, checked, split, prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import type_of_target

from rectifold.cli.options import FitOptions
from rectifold.cli.preparation import Preparation
from rectifold.cli.tables import Source, read_source, take_target
from rectifold.core.errors import ProblemError

__all__ = ["RunData", "encode_targets", "load_run_data", "target_values"]

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RunData:
    """What a run works on.

    Attributes
    ----------
    name, target, task : str
    inputs : ndarray of float64, shape (n, n_inputs)
        In the units of the columns, after imputation and encoding.
    y : ndarray, shape (n,)
        float64 for regression, str labels for classification.
    train, test : ndarray of int
        Row numbers; ``test`` may be empty.
    preparation : Preparation
    notes : tuple of str
        Sentences that say what was done.
    """

    name: str
    target: str
    task: str
    inputs: Array
    y: NDArray[Any]
    train: Rows
    test: Rows
    preparation: Preparation
    notes: tuple[str, ...]

    def X(self, rows: Rows) -> Array:
        """Return the scaled inputs of some rows."""
        return self.preparation.standardize(self.inputs[rows])


def load_run_data(options: FitOptions) -> RunData:
    """Read, check, split and prepare the data of a run.

    Raises
    ------
    ProblemError
        For every kind of unusable data, in one sentence.
    """
    source = read_source(options.data)
    frame, column, target, dropped = take_target(source, options.target)
    task = _task(source, target, options.classify)
    y = target_values(column, target, task)
    train, test = _split(y, task, options.test_size, options.seed)
    preparation = Preparation.learn(frame.iloc[train], options.standardize)
    _check_training_part(y[train], target, task)
    notes = [f"{dropped} rows without a value of {target} were left out."] if dropped else []
    notes += preparation.sentences(options.standardize)
    return RunData(source.name, target, task, preparation.encode(frame), y, train, test, preparation, tuple(notes))


def target_values(column: pd.Series, name: str, task: str) -> NDArray[Any]:
    """Return the target as float64 (regression) or text labels (classification).

    Raises
    ------
    ProblemError
        If a regression target is text or infinite, or a classification target is a measurement.
    """
    if task == "regression":
        if not pd.api.types.is_numeric_dtype(column):
            example = str(column.iloc[0])
            raise ProblemError(f"the target {name!r} holds text such as {example!r}; add --classify to predict classes")
        values: NDArray[Any] = np.asarray(column.to_numpy(dtype=np.float64))
        if not np.isfinite(values).all():
            raise ProblemError(f"the target {name!r} holds infinite values")
        return values
    if pd.api.types.is_float_dtype(column):
        numbers = np.asarray(column.to_numpy(dtype=np.float64))
        if not np.isfinite(numbers).all() or type_of_target(numbers) == "continuous":
            raise ProblemError(f"the target {name!r} is a measurement, not a class; leave out --classify")
        return np.array([str(int(v)) for v in numbers])
    return np.array([str(v) for v in column])


def encode_targets(y: NDArray[Any], classes: NDArray[Any] | None) -> NDArray[Any]:
    """Return targets as the training functions want them: numbers, -1 and +1, or codes 0..K-1."""
    if classes is None:
        return y
    codes = np.searchsorted(classes, y)
    return 2.0 * codes - 1.0 if classes.shape[0] == 2 else codes


def _task(source: Source, target: str, classify: bool) -> str:
    """Return the task: as asked, or as the data set defines it for its own target."""
    if classify:
        return "classification"
    return source.task if source.task is not None and target == source.target else "regression"


def _split(y: NDArray[Any], task: str, test_size: float, seed: int) -> tuple[Rows, Rows]:
    """Split rows at random, keeping the share of each class where every class has two rows or more."""
    rows = np.arange(y.shape[0])
    n_test = round(test_size * y.shape[0])
    if test_size > 0 and n_test == 0:
        n_test = 1
    if y.shape[0] - n_test < 2:
        raise ProblemError(f"too few rows: {y.shape[0]} with a target, of which {n_test} are held out for testing")
    if n_test == 0:
        return rows, rows[:0]
    counts = np.unique(y, return_counts=True)[1] if task == "classification" else np.zeros(1)
    stratify = y if counts.min() >= 2 and n_test >= counts.size and y.shape[0] - n_test >= counts.size else None
    train, test = train_test_split(rows, test_size=n_test, random_state=seed, stratify=stratify)
    return np.sort(train), np.sort(test)


def _check_training_part(y: NDArray[Any], target: str, task: str) -> None:
    """Refuse a target that does not vary, and one with almost as many classes as rows."""
    classes = np.unique(y)
    if task == "regression" and classes.shape[0] == 1:
        raise ProblemError(f"the target {target!r} is {classes[0]:g} in every training row; there is nothing to learn")
    if task == "classification" and classes.shape[0] == 1:
        raise ProblemError(f"the target {target!r} has a single class in the training part: {classes[0]}")
    if task == "classification" and classes.shape[0] > y.shape[0] // 2 and classes.shape[0] > 2:
        raise ProblemError(f"the target {target!r} has {classes.shape[0]} classes in {y.shape[0]} training rows")

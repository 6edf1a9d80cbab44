"""From columns to numbers: imputation, one-hot encoding and scaling, learnt on the training part and repeatable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork

__all__ = ["MAX_CATEGORIES", "Column", "Preparation"]

Array = NDArray[np.float64]
MAX_CATEGORIES = 50


@dataclass(frozen=True)
class Column:
    """How one column becomes numbers.

    Attributes
    ----------
    name : str
    fill : float or str
        Stands in for a missing value: the median, or the most frequent text.
    categories : tuple of str or None
        None for a column of numbers. Two categories give one 0/1 input (the second), more give one each; a text not
        seen in training gives zeros.
    missing : int
        Missing values in the training part.
    """

    name: str
    fill: float | str
    categories: tuple[str, ...] | None
    missing: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs that this column becomes."""
        if self.categories is None:
            return (self.name,)
        return tuple(f"{self.name}={category}" for category in self._coded)

    @property
    def _coded(self) -> tuple[str, ...]:
        categories = self.categories or ()
        return categories[1:] if len(categories) == 2 else categories

    def encode(self, series: pd.Series) -> Array:
        """Return the inputs of a column, shape (n, len(self.inputs)).

        Raises
        ------
        ProblemError
            If a column of numbers holds text or infinities.
        """
        if self.categories is None:
            values = _as_numbers(series, self.name)
            return np.where(np.isnan(values), float(self.fill), values)[:, None]
        texts = np.array([str(v) for v in series.where(series.notna(), self.fill)], dtype=object)
        return np.column_stack([texts == category for category in self._coded]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Preparation:
    """The recipe that turns a table into inputs, and inputs into the network's scaled ones.

    Attributes
    ----------
    columns : tuple of Column
    mean, scale : ndarray of float64, shape (n_inputs,)
        Scaled inputs are ``(inputs - mean) / scale``; zeros and ones without standardisation.
    left_out : tuple of str
        Sentences on columns that are not used.
    """

    columns: tuple[Column, ...]
    mean: Array
    scale: Array
    left_out: tuple[str, ...] = ()

    @classmethod
    def learn(cls, frame: pd.DataFrame, standardize: bool = True) -> Preparation:
        """Learn the recipe from the training part.

        Raises
        ------
        ProblemError
            If no usable column is left, or numbers are infinite.
        """
        kept: list[Column] = []
        left_out: list[str] = []
        for name in frame.columns:
            column = _learn_column(frame[name], str(name))
            if isinstance(column, str):
                left_out.append(column)
            else:
                kept.append(column)
        if not kept:
            raise ProblemError(f"no usable column: {' '.join(left_out)}")
        raw = np.hstack([column.encode(frame[column.name]) for column in kept])
        mean = raw.mean(axis=0) if standardize else np.zeros(raw.shape[1])
        deviation = raw.std(axis=0) if standardize else np.ones(raw.shape[1])
        return cls(tuple(kept), mean, np.where(deviation > 0, deviation, 1.0), tuple(left_out))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the network's inputs."""
        return tuple(name for column in self.columns for name in column.inputs)

    def encode(self, frame: pd.DataFrame) -> Array:
        """Return the inputs of a table in the units of its columns, shape (n, n_inputs).

        Raises
        ------
        ProblemError
            If a column is missing or holds something else than in training.
        """
        missing = [column.name for column in self.columns if column.name not in frame.columns]
        if missing:
            raise ProblemError(f"the data has no column {', '.join(map(repr, missing))}, which the network needs")
        return np.hstack([column.encode(frame[column.name]) for column in self.columns])

    def standardize(self, inputs: Array) -> Array:
        """Return scaled inputs."""
        return (inputs - self.mean) / self.scale

    def fold(self, network: ReLUNetwork) -> ReLUNetwork:
        """Return the network that takes unscaled inputs and computes what `network` computes on scaled ones."""
        first = network.weights[0] / self.scale
        bias = network.biases[0] - first @ self.mean
        return ReLUNetwork([first, *network.weights[1:]], [bias, *network.biases[1:]], network.slopes)

    def sentences(self, standardize: bool | None = None) -> tuple[str, ...]:
        """Say what is done to the data; without ``standardize`` not a word on scaling."""
        text = [column for column in self.columns if column.categories is not None]
        filled = [column for column in self.columns if column.missing]
        lines = []
        if text:
            counts = ", ".join(f"{c.name} ({len(c.categories or ())})" for c in text)
            lines.append(f"Text columns one-hot encoded (categories): {counts}.")
        if filled:
            fills = ", ".join(f"{c.name} ({c.missing}, with {_shown(c.fill)})" for c in filled)
            lines.append(f"Missing values filled with the median, or the most frequent text: {fills}.")
        lines.extend(self.left_out)
        if standardize:
            lines.append(
                "Inputs standardised (mean 0, deviation 1 on the training part); folded into the saved network."
            )
        elif standardize is not None:
            lines.append("Inputs not standardised; the penalty depends on their units.")
        return tuple(lines)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the columns as plain data; mean and scale are arrays and travel as such."""
        return [
            {"name": c.name, "fill": c.fill, "categories": c.categories, "missing": c.missing} for c in self.columns
        ]

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]], mean: Array, scale: Array) -> Preparation:
        """Undo `to_json`."""
        restored = tuple(
            Column(c["name"], c["fill"], None if c["categories"] is None else tuple(c["categories"]), int(c["missing"]))
            for c in columns
        )
        return cls(restored, np.asarray(mean, dtype=np.float64), np.asarray(scale, dtype=np.float64))


def _learn_column(series: pd.Series, name: str) -> Column | str:
    """Return the recipe of one column, or a sentence on why it is left out."""
    missing = int(series.isna().sum())
    present = series.dropna()
    if present.empty:
        return f"Column {name} is empty in the training part and left out."
    if present.nunique() == 1:
        return f"Column {name} is constant in the training part and left out."
    if pd.api.types.is_numeric_dtype(series):
        return Column(name, float(np.median(_as_numbers(present, name))), None, missing)
    if pd.api.types.is_datetime64_any_dtype(series) or pd.api.types.is_timedelta64_dtype(series):
        return f"Column {name} holds dates or times and is left out."
    texts = present.astype(str)
    counts = texts.value_counts()
    if len(counts) > MAX_CATEGORIES:
        return f"Column {name} holds {len(counts)} different texts (more than {MAX_CATEGORIES}) and is left out."
    most = min(counts.index[counts == counts.max()])
    return Column(name, str(most), tuple(sorted(map(str, counts.index))), missing)


def _as_numbers(series: pd.Series, name: str) -> Array:
    """Return a column as float64 with NaN where missing; refuse text and infinities."""
    try:
        values = np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        raise ProblemError(f"column {name!r} held numbers in training, but holds text here") from None
    if np.isinf(values).any():
        raise ProblemError(f"column {name!r} holds infinite values")
    return values


def _shown(fill: float | str) -> str:
    """Format a fill value."""
    return f"{fill:.4g}" if isinstance(fill, float) else repr(fill)

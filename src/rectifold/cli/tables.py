"""Reading a table: a CSV or Parquet file, or a data set known by name."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rectifold.core.errors import ProblemError
from rectifold.datasets import BUILTIN, UCI, Table, load_builtin, load_uci

__all__ = ["Source", "read_source", "take_target"]

_CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".csv.bz2", ".csv.xz", ".csv.zst")
_PARQUET = (".parquet", ".pq")
_NAMES_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Source:
    """A table as it was read.

    Attributes
    ----------
    name : str
    frame : pandas.DataFrame
    target : str or None
        The target column, where the data set defines one.
    task : str or None
    """

    name: str
    frame: pd.DataFrame
    target: str | None = None
    task: str | None = None


def read_source(data: str) -> Source:
    """Read a file, or load a data set by its name.

    Raises
    ------
    ProblemError
        If there is no such file or data set, or the file is empty, unreadable or not a table.
    """
    path = Path(data).expanduser()
    if path.is_file():
        return Source(path.name, _check_frame(_read_file(path), path))
    name = data.replace("-", "_")
    if name in BUILTIN:
        return _from_table(load_builtin(name))
    if name in UCI:
        return _from_table(load_uci(name))
    if path.is_dir():
        raise ProblemError(f"{data} is a folder, not a table")
    raise ProblemError(f"there is no file {data}, and no data set of that name (built in: {', '.join(BUILTIN)})")


def take_target(source: Source, target: str | None) -> tuple[pd.DataFrame, pd.Series, str, int]:
    """Split a table into features and target, leaving out rows whose target is missing.

    Returns
    -------
    (features, target values, name of the target, number of rows left out)

    Raises
    ------
    ProblemError
        If the target is not named, not there or always missing, or if there is nothing to predict it from.
    """
    name = target if target is not None else source.target
    columns = [str(column) for column in source.frame.columns]
    shown = ", ".join(columns[:_NAMES_SHOWN]) + (", ..." if len(columns) > _NAMES_SHOWN else "")
    if name is None:
        raise ProblemError(f"say which column to predict with --target; {source.name} has: {shown}")
    if name not in columns:
        raise ProblemError(f"{source.name} has no column {name!r}; it has: {shown}")
    if len(columns) == 1:
        raise ProblemError(f"{source.name} has no column besides the target {name!r}")
    values = source.frame[name]
    present = values.notna().to_numpy()
    if not present.any():
        raise ProblemError(f"the target {name!r} has no value in any row")
    return source.frame.drop(columns=[name])[present], values[present], name, int((~present).sum())


def _read_file(path: Path) -> pd.DataFrame:
    """Read a file by its ending; every way to fail is one sentence."""
    lower = path.name.lower()
    try:
        if lower.endswith(_PARQUET):
            return pd.read_parquet(path)
        if lower.endswith(_CSV):
            return pd.read_csv(path, sep=_separator(path), skipinitialspace=True, na_values=["?"])
    except pd.errors.EmptyDataError:
        raise ProblemError(f"{path} is empty") from None
    except ImportError as error:
        raise ModuleNotFoundError(str(error), name="pyarrow") from error
    except Exception as error:  # pandas, pyarrow and the decoders each raise their own
        raise ProblemError(f"cannot read {path}: {error}") from error
    raise ProblemError(
        f"{path}: unknown kind of file; CSV ({', '.join(_CSV)}) and Parquet ({', '.join(_PARQUET)}) are read"
    )


def _separator(path: Path) -> str:
    """Return the most frequent of comma, semicolon and tab in the header."""
    text = "".join(map(str, pd.read_csv(path, sep="\x1f", nrows=0, quoting=csv.QUOTE_NONE).columns))
    return max(",;\t", key=text.count)


def _check_frame(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Refuse tables without rows and give every column a text name."""
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise ProblemError(f"{path} has no rows")
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(drop=frame.index.name is None)
    return frame.set_axis([str(column).strip() for column in frame.columns], axis=1)


def _from_table(table: Table) -> Source:
    """Turn a data set into a frame with the target as its last column."""
    columns: dict[str, Any] = {
        name: np.array(column) for name, column in zip(table.feature_names, table.data.T, strict=True)
    }
    frame = pd.DataFrame({**columns, table.target_name: table.target})
    return Source(table.name, frame, table.target_name, table.task)

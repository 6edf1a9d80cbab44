"""Domains and points as the command line gives them: numbers, lists of numbers, files."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rectifold.core.domain import Box, Domain, Polytope
from rectifold.core.errors import ProblemError

__all__ = ["parse_box", "parse_numbers", "parse_points", "read_polytope"]

Array = NDArray[np.float64]


def parse_box(bounds: tuple[str, str], n_inputs: int) -> Box:
    """Return the box of two bounds: each one number for all inputs, or a list with one number an input.

    Raises
    ------
    ProblemError
        If they are no numbers, or do not fit the inputs.
    """
    lower, upper = (np.array(parse_numbers(text, "--box")) for text in bounds)
    for side in (lower, upper):
        if side.size not in (1, n_inputs):
            raise ProblemError(f"--box: {side.size} numbers for {n_inputs} inputs; give one, or one an input")
    return Box(np.broadcast_to(lower, n_inputs), np.broadcast_to(upper, n_inputs))


def read_polytope(file: Path, n_inputs: int, box: Box | None = None) -> Domain:
    """Read a polytope, and cut it with a box if there is one.

    Parameters
    ----------
    file : Path
        ``.npz`` with A and b, or A_eq and b_eq, or all four; or text, where a row ``a1 ... an b`` stands for
        ``a1 x1 + ... + an xn <= b``, separated by commas, semicolons or blanks, with ``#`` before comments.
    n_inputs : int
    box : Box, optional

    Raises
    ------
    ProblemError
        If the file cannot be read, or does not hold a polytope of these inputs.
    """
    A, b, A_eq, b_eq = _read_npz(file, n_inputs) if file.suffix == ".npz" else _read_rows(file, n_inputs)
    for name, matrix in (("A", A), ("A_eq", A_eq)):
        if matrix.ndim != 2 or matrix.shape[1] != n_inputs:
            raise ProblemError(f"{file}: {name} has shape {matrix.shape}, but the network has {n_inputs} inputs")
    if box is not None:
        rows, limits = box.rows()
        A, b = np.vstack([A, rows]), np.append(b, limits)
    return Polytope(A, b, A_eq, b_eq)


def parse_numbers(text: str, option: str) -> list[float]:
    """Return numbers separated by commas, semicolons or blanks, or raise `ProblemError`."""
    try:
        return [float(word) for word in re.split(r"[,;\s]+", text.strip())]
    except ValueError:
        raise ProblemError(f"{option}: {text!r} is not a number, and no list of numbers") from None


def parse_points(text: str, n_inputs: int) -> Array:
    """Return points, shape (m, n_inputs): numbers separated by commas, or a file with a point a row (text or ``.npy``).

    Raises
    ------
    ProblemError
        If there is no such file, or what it holds is not points of these inputs.
    """
    file = Path(text).expanduser()
    if file.is_file():
        points = _load_npy(file) if file.suffix == ".npy" else _read_table(file)
    elif re.search(r"[^\d\s.,;eE+-]", text.replace("inf", "").replace("nan", "")):
        raise ProblemError(f"--start: there is no file {text}, and it is not a list of numbers")
    else:
        points = np.array([parse_numbers(text, "--start")])
    points = np.atleast_2d(points)
    if points.ndim != 2 or points.shape[1] != n_inputs:
        raise ProblemError(f"--start: a point has {points.shape[-1]} numbers, but the network has {n_inputs} inputs")
    return points


def _read_npz(file: Path, n_inputs: int) -> tuple[Array, Array, Array, Array]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            held = set(stored.files)
            pairs = [{"A", "b"}, {"A_eq", "b_eq"}]
            if held not in (*pairs, pairs[0] | pairs[1]):
                raise ProblemError(f"{file} must hold A and b, or A_eq and b_eq, or all four; it holds {sorted(held)}")
            entries = {name: np.asarray(stored[name], dtype=np.float64) for name in held}
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        if isinstance(error, ProblemError):
            raise
        raise ProblemError(f"cannot read {file} as an .npz file of numbers: {error}") from error
    none, empty = np.zeros((0, n_inputs)), np.zeros(0)
    return entries.get("A", none), entries.get("b", empty), entries.get("A_eq", none), entries.get("b_eq", empty)


def _read_rows(file: Path, n_inputs: int) -> tuple[Array, Array, Array, Array]:
    table = _read_table(file)
    if table.shape[1] != n_inputs + 1:
        raise ProblemError(
            f"{file}: a row has {table.shape[1]} numbers; {n_inputs} coefficients and a limit make {n_inputs + 1}"
        )
    return table[:, :-1], table[:, -1], np.zeros((0, n_inputs)), np.zeros(0)


def _load_npy(file: Path) -> Array:
    try:
        return np.asarray(np.load(file, allow_pickle=False), dtype=np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise ProblemError(f"cannot read {file}: {error}") from error


def _read_table(file: Path) -> Array:
    """Read rows of equally many numbers from text."""
    try:
        lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"cannot read {file}: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    rows = [parse_numbers(line, str(file)) for line in lines if line]
    if not rows:
        raise ProblemError(f"{file} has no rows")
    if len({len(row) for row in rows}) > 1:
        raise ProblemError(f"{file}: the rows have different lengths")
    return np.array(rows)

"""Activation patterns of a data matrix: all of them, those of random gates, or those a user gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold._engine.lp import LinearProgram, LPStatus
from rectifold.core.arrays import as_float_array
from rectifold.core.errors import ProblemError
from rectifold.geometry.arrangement import MARGIN_TOL, Arrangement

__all__ = ["PatternSet", "RandomState", "all_patterns", "sample_patterns"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
RandomState = int | np.random.Generator | None


def all_patterns(X: ArrayLike, *, max_patterns: int = 1_000_000) -> Bools:
    """All activation patterns 1(X u > 0) of open cells of u, for exactly this matrix.

    These suffice for the convex program: cones of other patterns lie in closures of these (Mishkin & Pilanci, 2023;
    Pilanci & Ergen, 2020).
    For X of rank r in general position there are 2 sum_{k<r} C(n-1, k) cells.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Append a column of ones for a hidden bias.
    max_patterns : int
        The enumeration is refused if Cover's bound on the number of cells is larger.

    Returns
    -------
    ndarray of bool, shape (n, P)
        Distinct non-zero columns.

    Raises
    ------
    ProblemError
        X is not a finite non-empty matrix, or may have too many patterns.
    """
    return PatternSet.all(X, max_patterns=max_patterns).columns


def sample_patterns(X: ArrayLike, n_gates: int, random_state: RandomState = 0) -> Bools:
    """The distinct patterns of random Gaussian gates, by the rule of scnn.

    ``G = default_rng(random_state).standard_normal((d, n_gates))``, then the columns of ``X @ G > 0`` in the order of
    ``np.unique(..., axis=1)``, without the zero column.

    Parameters
    ----------
    X : array_like, shape (n, d)
    n_gates : int
        How many gates are drawn; fewer patterns come back where gates share one.
    random_state : int, Generator or None

    Returns
    -------
    ndarray of bool, shape (n, P), P <= n_gates

    Raises
    ------
    ProblemError
        X is not a finite non-empty matrix, ``n_gates`` is not a positive integer, or ``random_state`` is no seed.
    """
    return PatternSet.sample(X, n_gates, random_state).columns


@dataclass(frozen=True, eq=False)
class PatternSet:
    """Distinct non-zero activation patterns of a matrix X, each with an interior point of its cone.

    Attributes
    ----------
    patterns : ndarray of bool, shape (P, n), C-contiguous
        One pattern a row.
    points : ndarray of float64, shape (P, d)
        ``X @ points[p] > 0`` is ``patterns[p]``, and no non-zero row of X vanishes on it.
    complete : bool
        Whether these are all patterns of open cells.
    """

    patterns: Bools
    points: Floats
    complete: bool = False

    def __post_init__(self) -> None:
        for array in (self.patterns, self.points):
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.patterns)

    @property
    def columns(self) -> Bools:
        """A fresh (n, P) array, one pattern a column."""
        return np.ascontiguousarray(self.patterns.T)

    @classmethod
    def all(
        cls, X: ArrayLike, *, max_patterns: int = 1_000_000, should_stop: Callable[[], bool] | None = None
    ) -> PatternSet:
        """Every pattern, by enumeration; refused (ProblemError) where Cover's bound exceeds ``max_patterns``.

        ``should_stop`` may end it early with ``complete`` False.
        """
        arrangement = Arrangement(X)
        bound = arrangement.max_cells
        if bound > max_patterns:
            raise ProblemError(f"X may have up to {Decimal(bound):.3g} patterns, more than max_patterns={max_patterns}")
        cells = arrangement.enumerate(should_stop=should_stop)
        keep = cells.patterns.any(axis=1)
        return cls(np.ascontiguousarray(cells.patterns[keep]), cells.witnesses[keep], cells.complete)

    @classmethod
    def sample(cls, X: ArrayLike, n_gates: int, random_state: RandomState = 0) -> PatternSet:
        """The patterns of ``sample_patterns``, with their gates as points."""
        X = _matrix(X)
        if not _is_positive_integer(n_gates):
            raise ProblemError(f"n_gates must be a positive integer, got {n_gates!r}")
        try:
            rng = np.random.default_rng(random_state)
        except (TypeError, ValueError) as error:
            raise ProblemError(f"random_state must be None, a non-negative integer or a Generator ({error})") from error
        return cls._from_open_gates(X, rng.standard_normal((X.shape[1], n_gates)))

    @classmethod
    def from_gates(cls, X: ArrayLike, gates: ArrayLike) -> PatternSet:
        """The patterns of given gates (d, P); gates on a kink of the arrangement are moved into an open cell beside it.

        Raises
        ------
        ProblemError
            The shapes do not fit, a value is not finite, or a gate cannot be moved off its kinks.
        """
        X, G = _matrix(X), as_float_array(gates, "gates", ndim=2)
        if len(G) != X.shape[1]:
            raise ProblemError(f"gates must have shape ({X.shape[1]}, P), got {G.shape}")
        return cls._from_open_gates(X, _move_off_kinks(X, G[:, G.any(axis=0)]))

    @classmethod
    def from_columns(cls, X: ArrayLike, patterns: ArrayLike) -> PatternSet:
        """The distinct non-zero columns of an array (n, P) of patterns, in the order of their first occurrence.

        Raises
        ------
        ProblemError
            The array is not boolean (or 0/1) with n rows, or a column is no activation pattern of an open cell: the
            message names the first.
        """
        X = _matrix(X)
        rows, first = _distinct(_boolean_columns(patterns, len(X)).T, in_order=True)
        arrangement = Arrangement(X)
        points, margins, bounds = arrangement.interior_points(rows)
        for p in np.flatnonzero((margins <= MARGIN_TOL) & (bounds > MARGIN_TOL)):
            points[p] = _interior_point_by_lp(X, rows[p])
        good = arrangement.reproduced(rows, points) & (bounds > MARGIN_TOL)
        if not good.all():
            raise ProblemError(
                f"column {first[good.argmin()]} of patterns is not an activation pattern of X: no u has X u > 0 "
                "exactly there and X u < 0 in every other non-zero row"
            )
        return cls(rows, points)

    @classmethod
    def _from_open_gates(cls, X: Floats, gates: Floats) -> PatternSet:
        rows, first = _distinct((X @ gates > 0).T)
        return cls(rows, np.ascontiguousarray(gates.T[first]))


def _matrix(X: ArrayLike) -> Floats:
    array = as_float_array(X, "X", ndim=2)
    if 0 in array.shape:
        raise ProblemError(f"X must have at least one row and one column, got shape {array.shape}")
    return array


def _is_positive_integer(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 1)


def _boolean_columns(patterns: ArrayLike, n: int) -> Bools:
    array = np.asarray(patterns)
    if array.ndim != 2 or len(array) != n:
        raise ProblemError(f"patterns must have shape ({n}, P), got {array.shape}")
    if array.dtype != bool:
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
            raise ProblemError("patterns must be boolean")
        array = array.astype(bool)
    return array


def _distinct(rows: Bools, in_order: bool = False) -> tuple[Bools, NDArray[np.intp]]:
    """Distinct non-zero rows, C-contiguous, and the index of each one's first occurrence.

    Sorted as by ``np.unique(axis=0)``, or as they came. Big-endian packed bits compare like the rows themselves.
    """
    if not len(rows):
        return np.ascontiguousarray(rows), np.zeros(0, np.intp)
    packed = np.ascontiguousarray(np.packbits(rows, axis=1))
    _, first = np.unique(packed.view(f"S{packed.shape[1]}").ravel(), return_index=True)
    if in_order:
        first = np.sort(first)
    first = first[rows[first].any(axis=1)]
    return np.ascontiguousarray(rows[first]), first


def move_off_kinks(X: Floats, directions: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Move directions (k, d) that lie on a kink of X into a cell beside it by small random steps.

    Returns
    -------
    moved : ndarray, shape (k', d)
        Of unit norm, each with margin above ``MARGIN_TOL``.
    kept : ndarray of int, shape (k',)
        Which directions they are; those that no step up to 1e-3 moves are left out.
    """
    unit: Floats = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
    lengths = np.linalg.norm(X, axis=1)
    rows, sizes = X[lengths > 0], lengths[lengths > 0]
    rng = np.random.default_rng(0)
    moved = unit.copy()
    for size in (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3):
        kinked = np.flatnonzero((np.abs(moved @ rows.T) <= 10 * MARGIN_TOL * sizes).any(axis=1))
        if not len(kinked):
            break
        moved[kinked] = unit[kinked] + size * rng.standard_normal((len(kinked), X.shape[1]))
    open_ = (np.abs(moved @ rows.T) > MARGIN_TOL * sizes).all(axis=1) & unit.any(axis=1)
    return moved[open_], np.flatnonzero(open_)


def _move_off_kinks(X: Floats, gates: Floats) -> Floats:
    """Gates (d, P) as they are where their pattern is robust, else moved inside a cell beside them."""
    unit: Floats = gates / np.linalg.norm(gates, axis=0, keepdims=True)
    lengths: Floats = np.linalg.norm(X, axis=1, keepdims=True)
    kinked = np.flatnonzero(((np.abs(X @ unit) <= MARGIN_TOL * lengths) & (lengths > 0)).any(axis=0))
    if not len(kinked):
        return gates
    arrangement, gates = Arrangement(X), gates.copy()
    nudge = np.random.default_rng(0).standard_normal((X.shape[1], 1))
    trial = unit[:, kinked]
    for size in (0.0, 1e-7, 1e-5, 1e-3):  # where the pattern itself has no open cell, a neighbouring one does
        patterns = (X @ (trial + size * nudge)).T > 0
        points, margins, _ = arrangement.interior_points(patterns)
        found = (margins > MARGIN_TOL) & arrangement.reproduced(patterns, points)
        gates[:, kinked[found]] = points[found].T
        kinked, trial = kinked[~found], trial[:, ~found]
        if not len(kinked):
            return gates
    raise ProblemError(f"gate {kinked[0]} lies on kinks of X that cannot be told apart in floating point")


def _interior_point_by_lp(X: Floats, pattern: Bools) -> Floats:
    """Largest margin in a box, by HiGHS: where the margin kernel stopped between its two answers."""
    nonzero = X.any(axis=1)
    signed = np.where(pattern, 1.0, -1.0)[nonzero, None] * X[nonzero]
    signed /= np.linalg.norm(signed, axis=1, keepdims=True)
    d = X.shape[1]
    lp = LinearProgram(
        c=np.append(np.zeros(d), -1.0),
        A=np.hstack([signed, np.full((len(signed), 1), -1.0)]),
        row_lower=0.0,
        col_lower=-1.0,
        col_upper=1.0,
    )
    solution = lp.solve()
    point = solution.x[:d] if solution.status is LPStatus.OPTIMAL and solution.x is not None else np.zeros(d)
    return np.asarray(point / max(float(np.linalg.norm(point)), np.finfo(float).tiny))

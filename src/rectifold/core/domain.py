"""Domains: boxes and polytopes, the sets over which networks are minimised and taken apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_float_array, read_only
from rectifold.core.errors import ProblemError

__all__ = ["Box", "Domain", "Polytope", "Rows"]

Array = NDArray[np.float64]


class Rows(NamedTuple):
    """Linear forms by compressed rows, and one number for each.

    Row i has the coefficients ``values[j]`` in the columns ``columns[j]``, ``starts[i] <= j < starts[i + 1]``.
    """

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Array
    limits: Array

    def dense(self, n_columns: int) -> Array:
        """Return the coefficients as a matrix (n_rows, n_columns)."""
        matrix = np.zeros((len(self.limits), n_columns))
        matrix[np.repeat(np.arange(len(self.limits)), np.diff(self.starts)), self.columns] = self.values
        return matrix

    def product(self, x: Array) -> Array:
        """Return the linear forms at one point (n_columns,), shape (n_rows,)."""
        terms = self.values * x[self.columns]
        row = np.repeat(np.arange(len(self.limits)), np.diff(self.starts))
        return np.bincount(row, terms, minlength=len(self.limits)).astype(np.float64)


class Domain(ABC):
    """A closed convex polyhedron ``{x : G x <= h, E x = e}``; immutable."""

    __slots__ = ()

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """Number of coordinates."""

    @abstractmethod
    def inequality_rows(self) -> Rows:
        """The rows of ``G x <= h``, sparse; only finite limits appear."""

    @abstractmethod
    def equality_rows(self) -> Rows:
        """The rows of ``E x = e``, sparse."""

    def rows(self) -> tuple[Array, Array]:
        """Return ``(G, h)`` of ``G x <= h`` as dense arrays, shapes (m, n_inputs) and (m,)."""
        rows = self.inequality_rows()
        return rows.dense(self.n_inputs), rows.limits

    def equalities(self) -> tuple[Array, Array]:
        """Return ``(E, e)`` of ``E x = e`` as dense arrays, shapes (p, n_inputs) and (p,)."""
        rows = self.equality_rows()
        return rows.dense(self.n_inputs), rows.limits

    def contains(self, x: ArrayLike, tol: float = 1e-9) -> bool:
        """Return whether every constraint holds at the point, up to ``tol`` times one plus the size of its limit."""
        point = as_float_array(x, "x", ndim=1)
        if point.shape != (self.n_inputs,):
            raise ProblemError(f"x must have shape ({self.n_inputs},), got {point.shape}")
        upper, equal = self.inequality_rows(), self.equality_rows()
        excess = upper.product(point) - upper.limits
        residual = np.abs(equal.product(point) - equal.limits)
        return bool(
            np.all(excess <= tol * (1.0 + np.abs(upper.limits)))
            and np.all(residual <= tol * (1.0 + np.abs(equal.limits)))
        )

    def __copy__(self) -> Domain:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Domain:
        return self


class Box(Domain):
    """The set ``{x : lower <= x <= upper}``; a bound may be infinite.

    Parameters
    ----------
    lower, upper : array_like, shape (n_inputs,), or one of them a scalar

    Raises
    ------
    ProblemError
        If shapes differ, a bound is NaN or infinite on the wrong side, or a lower bound is above its upper one.
    """

    __slots__ = ("_lower", "_upper")

    def __init__(self, lower: ArrayLike, upper: ArrayLike) -> None:
        low, high = _bounds(lower, "lower"), _bounds(upper, "upper")
        try:
            low, high = np.broadcast_arrays(low, high)
        except ValueError as error:
            raise ProblemError(f"lower and upper have shapes {low.shape} and {high.shape}") from error
        if low.ndim != 1 or low.size == 0:
            raise ProblemError("lower or upper must have one entry per input; both are scalars or empty")
        if np.any(low == np.inf) or np.any(high == -np.inf):
            raise ProblemError("a box has lower bounds below +inf and upper bounds above -inf")
        empty = np.flatnonzero(low > high)
        if empty.size:
            i = int(empty[0])
            raise ProblemError(f"the box is empty: lower[{i}] = {low[i]:g} is above upper[{i}] = {high[i]:g}")
        self._lower, self._upper = read_only(low), read_only(high)

    @property
    def lower(self) -> Array:
        """Read-only lower bounds, shape (n_inputs,)."""
        return self._lower

    @property
    def upper(self) -> Array:
        """Read-only upper bounds, shape (n_inputs,)."""
        return self._upper

    @property
    def n_inputs(self) -> int:
        """Number of coordinates."""
        return int(self._lower.shape[0])

    def inequality_rows(self) -> Rows:
        """Return ``-x_i <= -lower_i`` for the finite lower bounds, then ``x_i <= upper_i`` for finite upper ones."""
        below, above = np.flatnonzero(self._lower > -np.inf), np.flatnonzero(self._upper < np.inf)
        values = np.concatenate([-np.ones(len(below)), np.ones(len(above))])
        limits = np.concatenate([-self._lower[below], self._upper[above]])
        return Rows(np.arange(len(values) + 1), np.concatenate([below, above]), values, limits)

    def equality_rows(self) -> Rows:
        """A box has none."""
        return _no_rows()

    def __reduce__(self) -> tuple[Any, ...]:
        return Box, (self._lower, self._upper)

    def __repr__(self) -> str:
        return f"Box({self._lower!r}, {self._upper!r})"


class Polytope(Domain):
    """The set ``{x : A x <= b, A_eq x = b_eq}``, bounded or not.

    Parameters
    ----------
    A : array_like or sparse matrix, shape (m, n_inputs)
    b : array_like, shape (m,)
        ``+inf`` stands for no constraint.
    A_eq : array_like or sparse matrix, shape (p, n_inputs), optional
    b_eq : array_like, shape (p,), optional

    Raises
    ------
    ProblemError
        If shapes do not fit, a number is NaN, a coefficient infinite, or a row of zeros cannot hold.

    Notes
    -----
    Whether any point satisfies all rows together is a question for a linear program, asked where the set is used.
    """

    __slots__ = ("_equal", "_n_inputs", "_upper")

    def __init__(self, A: Any, b: ArrayLike, A_eq: Any = None, b_eq: ArrayLike | None = None) -> None:
        upper, n_inputs = _compressed(A, _bounds(b, "b"), "A")
        if np.any(upper.limits == -np.inf):
            raise ProblemError("b must not hold -inf")
        if (A_eq is None) != (b_eq is None):
            raise ProblemError("A_eq and b_eq go together")
        equal = _no_rows()
        if A_eq is not None and b_eq is not None:
            equal, width = _compressed(A_eq, as_float_array(b_eq, "b_eq"), "A_eq")
            if width != n_inputs:
                raise ProblemError(f"A has {n_inputs} columns, but A_eq has {width}")
        self._n_inputs = n_inputs
        self._upper = _usable(upper, "A x <= b", lambda limits: limits >= 0.0)
        self._equal = _usable(equal, "A_eq x = b_eq", lambda limits: limits == 0.0)

    @property
    def n_inputs(self) -> int:
        """Number of coordinates."""
        return self._n_inputs

    def inequality_rows(self) -> Rows:
        """Return the rows of ``A x <= b`` that have a finite limit and a coefficient."""
        return self._upper

    def equality_rows(self) -> Rows:
        """Return the rows of ``A_eq x = b_eq``."""
        return self._equal

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_polytope, (self._n_inputs, tuple(self._upper), tuple(self._equal))

    def __repr__(self) -> str:
        return (
            f"Polytope({self._n_inputs} inputs, {len(self._upper.limits)} rows, {len(self._equal.limits)} equalities)"
        )


def _restore_polytope(n_inputs: int, upper: tuple[Any, ...], equal: tuple[Any, ...]) -> Polytope:
    polytope = Polytope(np.zeros((0, n_inputs)), np.zeros(0))
    polytope._upper = Rows(*map(read_only, upper))
    polytope._equal = Rows(*map(read_only, equal))
    return polytope


def _bounds(value: ArrayLike, name: str) -> Array:
    """Return float64 numbers, infinities allowed."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"{name} must be an array of real numbers ({error})") from error
    if np.isnan(array).any():
        raise ProblemError(f"{name} contains NaN")
    return array


def _compressed(A: Any, limits: Array, name: str) -> tuple[Rows, int]:
    """Return a dense or sparse matrix by rows with its right-hand side, and the number of columns."""
    if hasattr(A, "tocsr"):
        sparse = A.tocsr().copy()
        sparse.sum_duplicates()
        sparse.eliminate_zeros()
        starts, columns, shape = np.asarray(sparse.indptr), np.asarray(sparse.indices), sparse.shape
        values = as_float_array(sparse.data, name)
    else:
        matrix = as_float_array(A, name, ndim=2)
        rows, columns = matrix.nonzero()
        values, shape = matrix[rows, columns], matrix.shape
        starts = np.searchsorted(rows, np.arange(shape[0] + 1))
    if shape[1] == 0:
        raise ProblemError(f"{name} needs at least one column")
    if limits.shape != (shape[0],):
        raise ProblemError(f"{name} has {shape[0]} rows, but its right-hand side has shape {limits.shape}")
    return Rows(starts.astype(np.int64), columns.astype(np.int64), values, limits), int(shape[1])


def _usable(rows: Rows, name: str, holds: Any) -> Rows:
    """Drop rows without coefficients or with an infinite limit; refuse rows of zeros that no point satisfies."""
    lengths = np.diff(rows.starts)
    wrong = np.flatnonzero((lengths == 0) & ~holds(rows.limits))
    if wrong.size:
        raise ProblemError(f"the polytope is empty: row {int(wrong[0])} of {name} has only zeros and cannot hold")
    keep = (lengths > 0) & np.isfinite(rows.limits)
    entries = np.repeat(keep, lengths)
    starts = np.concatenate([[0], np.cumsum(lengths[keep])])
    parts = (starts.astype(np.int64), rows.columns[entries], rows.values[entries], rows.limits[keep])
    return Rows(*map(read_only, parts))


def _no_rows() -> Rows:
    return Rows(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))

"""Cells of the central hyperplane arrangement {u : x_i'u = 0} of the rows of a matrix.

Patterns depend on the column space of X alone, so everything is computed in orthonormal coordinates of it, with rows
scaled to unit length: neither the scale of a feature nor that of a sample decides what counts as a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import qr

from rectifold._kernels.arrangement import CellWalk, max_margins
from rectifold.core.arrays import as_float_array
from rectifold.core.errors import ProblemError

__all__ = ["MARGIN_TOL", "Arrangement", "CellSet", "count_cells_bound", "enumerate_cells"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MARGIN_TOL = 1e-9
"""A cell counts if some unit point of it is further than this from every hyperplane (in the coordinates above)."""

_SLICE_SECONDS = 0.05
_MAX_RAY_RANK = 6  # above, cones have so many extreme rays that a margin problem is cheaper


@dataclass(frozen=True, eq=False)
class CellSet:
    """Full-dimensional cells of an arrangement.

    Attributes
    ----------
    patterns : ndarray of bool, shape (n_cells, n)
        Distinct rows; entry (p, i) says whether x_i'u > 0 in cell p (False for a zero row).
    witnesses : ndarray of float64, shape (n_cells, d)
        A unit point of each cell: ``X @ witnesses[p] > 0`` is ``patterns[p]``, and no non-zero row vanishes on it.
    complete : bool
        Whether these are all cells (up to ``MARGIN_TOL`` and rounding).
    """

    patterns: Bools
    witnesses: Floats
    complete: bool

    def __post_init__(self) -> None:
        self.patterns.setflags(write=False)
        self.witnesses.setflags(write=False)

    def __len__(self) -> int:
        return len(self.patterns)


def count_cells_bound(n: int, r: int) -> int:
    """Cover's bound 2 sum_{k<r} C(n-1, k) on the cells of ``n`` hyperplanes of rank ``r``.

    Attained in general position; 1 where there is no hyperplane. ``n`` may be the number of distinct hyperplanes.
    """
    return 2 * sum(comb(n - 1, k) for k in range(min(r, n))) if n > 0 and r > 0 else 1


def enumerate_cells(
    X: ArrayLike, *, max_cells: int | None = None, should_stop: Callable[[], bool] | None = None
) -> CellSet:
    """All full-dimensional cells of {u : x_i'u = 0}, each with an interior point.

    Zero, duplicate and collinear rows, and any rank, are allowed. Rank 2 is an angular sweep, O(n log n) plus the
    output; above, hyperplanes are added one by one, depth first, and a cone is split where both sides have an interior:
    at most n cones a cell, and memory for n cones besides the output.

    Parameters
    ----------
    X : array_like, shape (n, d)
    max_cells : int, optional
        Stop after this many cells.
    should_stop : callable, optional
        Asked at least every 0.1 s; True ends the enumeration with the cells found so far.

    Returns
    -------
    CellSet

    Raises
    ------
    ProblemError
        X is not a finite matrix with at least one row and column, or ``max_cells`` is negative.
    """
    return Arrangement(X).enumerate(max_cells=max_cells, should_stop=should_stop)


class Arrangement:
    """The hyperplanes of a matrix's rows, reduced to what distinguishes them.

    Parameters
    ----------
    X : array_like, shape (n, d)

    Attributes
    ----------
    X : ndarray of float64, shape (n, d)
    rank : int
        Numerical rank of X, rows and columns scaled.
    rows : ndarray, shape (m, rank)
        Unit rows of the m distinct hyperplanes, in orthonormal coordinates of the column space.

    Raises
    ------
    ProblemError
        X is not a finite matrix with at least one row and column.
    """

    def __init__(self, X: ArrayLike) -> None:
        self.X = as_float_array(X, "X", ndim=2)
        if 0 in self.X.shape:
            raise ProblemError(f"X must have at least one row and one column, got shape {self.X.shape}")
        self._nonzero = self.X.any(axis=1)
        coordinates, self._lift = _column_space(self.X[self._nonzero])
        self.rank = coordinates.shape[1]
        self.rows, self._group, self._flipped = _merge_collinear(coordinates)

    @property
    def max_cells(self) -> int:
        """Cover's bound on the number of cells."""
        return count_cells_bound(len(self.rows), self.rank)

    def cells(self) -> Iterator[tuple[Bools, Floats]]:
        """Yield (patterns (k, n), witnesses (k, d)) a slice at a time, at most 0.1 s apart, until there are no more."""
        for signs, points in self._reduced_cells():
            yield self._expand(np.vstack([signs, ~signs])), self._to_input_space(np.vstack([points, -points]))
        if self.rank == 0:
            yield np.zeros((1, len(self.X)), bool), np.eye(1, self.X.shape[1])

    def enumerate(self, *, max_cells: int | None = None, should_stop: Callable[[], bool] | None = None) -> CellSet:
        """Collect the cells: see ``enumerate_cells``."""
        if max_cells is not None and max_cells < 0:
            raise ProblemError("max_cells must not be negative")
        patterns, witnesses, count, complete = [], [], 0, True
        for signs, points in self.cells():
            keep = self.reproduced(signs, points)
            room = len(signs) if max_cells is None else max_cells - count
            complete = complete and bool(keep.all()) and len(signs) <= room
            patterns.append(signs[keep][:room])
            witnesses.append(points[keep][:room])
            count += len(patterns[-1])
            stop = should_stop is not None and should_stop()
            if stop or (count == max_cells and not complete):
                complete = False
                break
        n, d = self.X.shape
        all_patterns = np.concatenate([np.zeros((0, n), bool), *patterns])
        return CellSet(all_patterns, np.concatenate([np.zeros((0, d)), *witnesses]), complete)

    def reproduced(self, patterns: Bools, points: Floats) -> Bools:
        """Whether each point (k, d), in floating point, has its pattern (k, n) and is off every hyperplane."""
        values = points @ self.X.T
        off = (values != 0) | ~self._nonzero
        return np.asarray(((values > 0) == patterns).all(axis=1) & off.all(axis=1))

    def interior_points(self, patterns: Bools, accuracy: float = 0.9) -> tuple[Floats, Floats, Floats]:
        """Unit points of largest margin in the cells of given patterns.

        Parameters
        ----------
        patterns : ndarray of bool, shape (P, n)
        accuracy : float
            A point is good enough at this fraction of the largest margin.

        Returns
        -------
        points : ndarray, shape (P, d)
        margins : ndarray, shape (P,)
            The least signed distance of each point from a hyperplane: above ``MARGIN_TOL`` for a cell; minus infinity
            where a zero row, or two collinear ones, contradict the pattern.
        bounds : ndarray, shape (P,)
            Proven bounds on the largest margins: at most ``MARGIN_TOL`` where there is no cell.
        """
        on = patterns[:, self._nonzero] ^ self._flipped
        signs = np.zeros((len(patterns), len(self.rows)), bool)
        signs[:, self._group] = on
        clash = patterns[:, ~self._nonzero].any(axis=1) | (signs[:, self._group] != on).any(axis=1)
        if self.rank == 0:
            none = np.where(clash, -np.inf, np.inf)
            return np.repeat(np.eye(1, self.X.shape[1]), len(patterns), axis=0), none, none
        block = max(1, 10**6 // (self.rows.size * self.rank))  # keeps calls below about 0.1 s
        starts = range(0, len(signs), block)
        parts = [max_margins(self.rows, signs[k : k + block], accuracy, MARGIN_TOL) for k in starts]
        points, margins, bounds = (np.concatenate(part) for part in zip(*parts, strict=True))
        margins[clash] = bounds[clash] = -np.inf
        return self._to_input_space(points), margins, bounds

    def _reduced_cells(self) -> Iterator[tuple[Bools, Floats]]:
        """Half of the cells (one of each antipodal pair): signs of the distinct rows, and interior points."""
        if self.rank == 1:
            yield self.rows.T > 0, np.ones((1, 1))
        elif self.rank == 2:
            yield from _sweep(self.rows)
        elif self.rank > 2:
            yield from _walk(self.rows)

    def _expand(self, signs: Bools) -> Bools:
        patterns = np.zeros((len(signs), len(self.X)), bool)
        patterns[:, self._nonzero] = signs[:, self._group] ^ self._flipped
        return patterns

    def _to_input_space(self, points: Floats) -> Floats:
        lifted = points @ self._lift.T
        return np.asarray(lifted / np.linalg.norm(lifted, axis=1, keepdims=True))


def _column_space(X: Floats) -> tuple[Floats, Floats]:
    """Unit rows (n, r) and a matrix (d, r) such that the signs of X @ (matrix @ w) are those of rows @ w."""
    if not len(X):
        return np.zeros((0, 0)), np.zeros((X.shape[1], 0))
    scaled = X / np.abs(X).max(axis=1, keepdims=True)
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    scale = np.abs(scaled).max(axis=0)
    scale[scale == 0] = 1.0
    left, singular, right = np.linalg.svd(scaled / scale, full_matrices=False)
    rank = int((singular > 10 * max(X.shape) * np.finfo(float).eps * singular[0]).sum())
    left = left[:, :rank]
    lift = right[:rank].T / singular[:rank] / scale[:, None]
    return left / np.linalg.norm(left, axis=1, keepdims=True), lift


def _merge_collinear(rows: Floats) -> tuple[Floats, NDArray[np.intp], Bools]:
    """Distinct hyperplanes, and for each row the index of its own and whether it points the other way.

    Rows are compared after rounding to 12 decimals; a pair across a rounding step stays apart, which costs time only.
    """
    if not len(rows):
        return rows, np.zeros(0, np.intp), np.zeros(0, bool)
    leading = (np.abs(rows) > 1e-6).argmax(axis=1)
    flipped = rows[np.arange(len(rows)), leading] < 0
    canonical = np.where(flipped[:, None], -rows, rows)
    _, first, group = np.unique(canonical.round(12) + 0.0, axis=0, return_index=True, return_inverse=True)
    return np.ascontiguousarray(canonical[first]), group.reshape(-1), flipped


def _sweep(rows: Floats) -> Iterator[tuple[Bools, Floats]]:
    """Rank 2: each line crosses a half-circle of directions once, and cells are the arcs between crossings."""
    crossings = np.sort(np.mod(np.arctan2(rows[:, 0], -rows[:, 1]), np.pi))
    arcs = np.diff(crossings, append=crossings[0] + np.pi)
    middle = (crossings + arcs / 2)[np.sin(arcs / 2) > MARGIN_TOL]
    size = max(1, 10**7 // len(rows))
    for k in range(0, len(middle), size):
        points = np.column_stack([np.cos(middle[k : k + size]), np.sin(middle[k : k + size])])
        yield points @ rows.T > 0, points


def _walk(rows: Floats) -> Iterator[tuple[Bools, Floats]]:
    rank = rows.shape[1]
    basis = qr(rows.T, mode="r", pivoting=True)[1][:rank]
    order = np.concatenate([basis, np.setdiff1d(np.arange(len(rows)), basis)])
    back = np.argsort(order)
    rays = np.linalg.inv(rows[basis]).T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    walk = CellWalk(np.ascontiguousarray(rows[order]), np.ascontiguousarray(rays), MARGIN_TOL, rank <= _MAX_RAY_RANK)
    done, size = False, max(1, 10**8 // len(rows))
    while not done:
        signs, points, done = walk.next(size, _SLICE_SECONDS)
        yield signs[:, back], points

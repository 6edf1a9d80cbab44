"""A LAD program on rows in memory: its first vertex, and the walk under a budget."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from rectifold._engine.budget import Budget
from rectifold._kernels.lad import LADWalk
from rectifold.core.errors import SolverError
from rectifold.programs.lad_rows import Frame, Rows

__all__ = ["BandProgram", "Stopped", "Unbounded", "Vertex", "first_basis", "independent_columns"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

OPTIMAL, UNBOUNDED, SINGULAR, STALLED = 1, 2, 3, 4
_SLICE_SECONDS = 0.05
_RANK_TOL = 1e-9


class Stopped(Exception):
    """The budget ended a walk at `theta`."""

    def __init__(self, theta: Array) -> None:
        super().__init__()
        self.theta = theta


class Unbounded(Exception):
    """The rows left out, taken as linear, pull without limit."""


class Vertex:
    """A point and the rows that determine it: sample ids, or -1 - j where coefficient j is zero."""

    def __init__(self, theta: Array, basis: Ints) -> None:
        self.theta, self.basis = theta, basis


class BandProgram:
    """``sum over rows of pinball + linear term + penalty``, in the coordinates of a frame.

    Parameters
    ----------
    frame : Frame
    quantile : float
    penalty : float
        Weight of ``||coef||_1``, the coefficients being those of the features as given.
    """

    def __init__(self, frame: Frame, quantile: float, penalty: float) -> None:
        self._frame, self._quantile = frame, quantile
        self._penalty = penalty * frame.scale if penalty > 0.0 else np.zeros(0)
        self._walk = LADWalk(frame.size)
        self._weights = np.zeros(0)
        self._positions: Ints = -1 - frame.columns[: len(self._penalty)]  # id of every row of the walk
        if len(self._penalty):
            none = np.zeros(len(self._penalty))
            self._walk.add_rows(_unit_rows(frame), none, -self._penalty, self._penalty, none > 0.0)

    @property
    def ids(self) -> Ints:
        """The sample, or -1 - j for a penalty, of every row."""
        return self._positions

    @property
    def quantile(self) -> float:
        """The quantile of the last solve."""
        return self._quantile

    @property
    def pivots(self) -> int:
        """Vertices visited."""
        return int(self._walk.pivots)

    @property
    def crossings(self) -> int:
        """Residuals whose sign changed on the way."""
        return int(self._walk.crossings)

    def add(self, rows: Rows, positive: NDArray[np.bool_] | None = None) -> None:
        """Append samples; `positive` is the side of those with residual zero."""
        side = rows.y > 0.0 if positive is None else positive
        lo, hi = (self._quantile - 1.0) * rows.weights, self._quantile * rows.weights
        self._walk.add_rows(self._frame.design(rows.X), np.ascontiguousarray(rows.y), lo, hi, side)
        self._positions = np.append(self._positions, rows.ids)
        self._weights = np.append(self._weights, rows.weights)

    def add_linear(self, target: Array) -> None:
        """Add target'theta to the objective."""
        self._walk.add_linear(np.ascontiguousarray(target))

    def set_quantile(self, quantile: float) -> None:
        """Turn to another quantile."""
        self._quantile = quantile
        lo = np.append(-self._penalty, (quantile - 1.0) * self._weights)
        self._walk.set_slopes(lo, np.append(self._penalty, quantile * self._weights))

    def solve(self, basis: Ints, budget: Budget) -> Vertex:
        """Walk to the optimum from the vertex of a basis, given by ids.

        Raises
        ------
        Stopped, Unbounded
        SolverError
            If the basis is dependent, or the walk makes no progress.
        """
        if not self._walk.start(self._rows_of(basis)):
            raise SolverError("the first basis of a LAD program has dependent rows")
        code = 0
        while code == 0:
            if budget.should_stop():
                raise Stopped(self._walk.theta)
            code = self._walk.run(1 << 40, min(_SLICE_SECONDS, max(budget.remaining, 1e-3)))
        if code == UNBOUNDED:
            raise Unbounded
        if code != OPTIMAL:
            raise SolverError("the LAD walk " + ("lost its basis" if code == SINGULAR else "made no progress"))
        return Vertex(self._walk.theta, self._positions[self._walk.basis])

    def duals(self) -> Array:
        """The dual vector on all rows, shape (len(ids),)."""
        hi = np.append(self._penalty, self._quantile * self._weights)
        lo = np.append(-self._penalty, (self._quantile - 1.0) * self._weights)
        d = np.where(self._walk.positive, hi, lo)
        basis = self._walk.basis
        d[basis] = np.clip(self._walk.basis_duals, lo[basis], hi[basis])
        return d

    def edge_slopes(self) -> Array:
        """How the objective grows along the two directions of each edge, shape (size, 2); sorted by basis position."""
        basis, d = self._walk.basis, self._walk.basis_duals
        hi = np.append(self._penalty, self._quantile * self._weights)[basis]
        lo = np.append(-self._penalty, (self._quantile - 1.0) * self._weights)[basis]
        return np.column_stack([d - lo, hi - d])

    def edge_scale(self) -> Array:
        """The width of the dual interval of each row of the basis, shape (size,)."""
        return self.edge_slopes().sum(axis=1)

    def _rows_of(self, basis: Ints) -> Ints:
        order = np.argsort(self._positions, kind="stable")
        where = np.searchsorted(self._positions, basis, sorter=order)
        return np.ascontiguousarray(order[np.minimum(where, len(order) - 1)], dtype=np.int64)


def first_basis(frame: Frame, rows: Rows, quantile: float, penalised: bool) -> Ints:
    """Return well-conditioned rows near a least-squares fit: ids that determine a vertex."""
    E = frame.design(rows.X)
    root = np.sqrt(rows.weights)
    theta = np.linalg.lstsq(E * root[:, None], rows.y * root, rcond=None)[0]
    residual = rows.y - E @ theta
    if frame.intercept:
        residual -= np.quantile(residual, quantile)
    order = np.argsort(np.abs(residual), kind="stable")
    for count in (4 * frame.size, len(rows)):
        near = order[:count]
        _, rank, pivots = _pivoted(E[near].T)
        if rank == frame.size:
            return rows.ids[near[pivots[:rank]]]
    if not penalised:
        raise SolverError("the rows of a LAD program do not determine its coefficients")
    joined = np.vstack([E, _unit_rows(frame)])
    _, rank, pivots = _pivoted(joined.T)
    return np.append(rows.ids, -1 - frame.columns)[pivots[:rank]]


def independent_columns(E: Array, intercept: bool) -> Ints:
    """Return a largest set of independent columns, ascending; the last one is kept if it is an intercept."""
    columns = E[:, :-1] - E[:, :-1].mean(axis=0) if intercept else E
    _, rank, pivots = _pivoted(columns)
    return np.sort(np.append(pivots[:rank], [E.shape[1] - 1] if intercept else []).astype(np.int64))


def _pivoted(E: Array) -> tuple[Array, int, Ints]:
    upper, pivots = qr(E, mode="r", pivoting=True, check_finite=False)
    diagonal = np.abs(np.diag(upper))
    rank = int((diagonal > _RANK_TOL * diagonal[0]).sum()) if len(diagonal) and diagonal[0] > 0.0 else 0
    return upper, rank, np.asarray(pivots, dtype=np.int64)


def _unit_rows(frame: Frame) -> Array:
    return np.eye(len(frame.columns), frame.size)

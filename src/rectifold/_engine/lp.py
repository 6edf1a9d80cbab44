"""Linear programs: the one door to HiGHS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import highspy
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.errors import ProblemError, SolverError

__all__ = ["LPSolution", "LPStatus", "LinearProgram"]

Floats = NDArray[np.float64]


class LPStatus(StrEnum):
    """How a solve ended."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    TIME_LIMIT = "time_limit"
    ITERATION_LIMIT = "iteration_limit"


_STATUS = {
    highspy.HighsModelStatus.kOptimal: LPStatus.OPTIMAL,
    highspy.HighsModelStatus.kInfeasible: LPStatus.INFEASIBLE,
    highspy.HighsModelStatus.kUnbounded: LPStatus.UNBOUNDED,
    highspy.HighsModelStatus.kTimeLimit: LPStatus.TIME_LIMIT,
    highspy.HighsModelStatus.kIterationLimit: LPStatus.ITERATION_LIMIT,
}


@dataclass(frozen=True, eq=False)
class LPSolution:
    """What a solve returned.

    Attributes
    ----------
    status : LPStatus
    x : ndarray, shape (n_cols,), or None
        The optimal point; None unless the status is ``optimal``.
    value : float
        c'x, minus infinity if unbounded, plus infinity if infeasible, NaN after a limit.
    row_duals, reduced_costs : ndarray or None
        At an optimum c = A' row_duals + reduced_costs; a row's dual is >= 0 where its lower bound is tight and <= 0
        where its upper bound is.
    ray : ndarray or None
        Unbounded: a direction, shape (n_cols,), along which c'x falls for ever. Infeasible: row multipliers, shape
        (n_rows,), with the signs of duals, for which no x within the column bounds satisfies the combined row.
    """

    status: LPStatus
    x: Floats | None
    value: float
    row_duals: Floats | None
    reduced_costs: Floats | None
    ray: Floats | None


class LinearProgram:
    """min c'x subject to row_lower <= A x <= row_upper, col_lower <= x <= col_upper.

    The simplex basis of one solve starts the next, so that changing a few row bounds and solving again is cheap.

    Parameters
    ----------
    c : array_like, shape (n_cols,)
    A : array_like or scipy sparse matrix, shape (n_rows, n_cols)
    row_lower, row_upper, col_lower, col_upper : array_like or scalar, optional
        Bounds, infinite where omitted; columns are free unless bounded.

    Raises
    ------
    ProblemError
        Shapes do not fit, or there is a NaN, an infinite coefficient or cost, or no column.
    SolverError
        HiGHS refuses the model.
    """

    def __init__(
        self,
        c: ArrayLike,
        A: Any,
        row_lower: ArrayLike = -np.inf,
        row_upper: ArrayLike = np.inf,
        col_lower: ArrayLike = -np.inf,
        col_upper: ArrayLike = np.inf,
    ) -> None:
        starts, index, values, shape = _rows_of(A)
        self.n_rows, self.n_cols = shape
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = shape
        lp.col_cost_ = _vector(c, self.n_cols, "c")
        lp.row_lower_ = _vector(row_lower, self.n_rows, "row_lower")
        lp.row_upper_ = _vector(row_upper, self.n_rows, "row_upper")
        lp.col_lower_ = _vector(col_lower, self.n_cols, "col_lower")
        lp.col_upper_ = _vector(col_upper, self.n_cols, "col_upper")
        if self.n_cols == 0 or not (np.isfinite(lp.col_cost_).all() and np.isfinite(values).all()):
            raise ProblemError("a linear program needs at least one column and finite c and A")
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = starts, index, values
        self._highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        # Presolve would discard the hot start, and with it the ray that proves infeasibility.
        options: dict[str, Any] = {
            "output_flag": False,
            "presolve": "off",
            "solver": "simplex",
            "threads": 1,
            "random_seed": 0,
        }
        for name, value in options.items():
            self._check(self._highs.setOptionValue(name, value))
        self._check(self._highs.passModel(lp))

    def set_row_bounds(self, rows: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> None:
        """Replace the bounds of the given rows (indices, distinct); the next solve starts from the last basis."""
        index = np.atleast_1d(np.asarray(rows, np.int32))
        if len(np.unique(index)) != len(index) or (index < 0).any() or (index >= self.n_rows).any():
            raise ProblemError(f"rows must be distinct indices below {self.n_rows}")
        low, high = _vector(lower, len(index), "lower"), _vector(upper, len(index), "upper")
        order = np.argsort(index)
        self._check(self._highs.changeRowsBounds(len(index), index[order], low[order], high[order]))

    def solve(self, time_limit: float | None = None, iteration_limit: int | None = None) -> LPSolution:
        """Solve, from the last basis if there is one.

        Raises
        ------
        SolverError
            HiGHS ends without a status that answers the question.
        """
        highs = self._highs
        # HiGHS holds its clock against the limit from the first solve on.
        end = np.inf if time_limit is None else highs.getRunTime() + time_limit
        iterations = 2**31 - 1 if iteration_limit is None else iteration_limit
        self._check(highs.setOptionValue("time_limit", float(end)))
        self._check(highs.setOptionValue("simplex_iteration_limit", iterations))
        try:
            highs.run()
            status = _STATUS.get(highs.getModelStatus())
        except Exception as error:  # whatever the bindings raise
            raise SolverError(f"HiGHS failed: {error}") from error
        if status is None:
            raise SolverError(f"HiGHS ended with {highs.modelStatusToString(highs.getModelStatus())}")
        return self._solution(status)

    def _solution(self, status: LPStatus) -> LPSolution:
        highs = self._highs
        if status is LPStatus.OPTIMAL:
            found = highs.getSolution()
            x, duals, costs = (np.array(v, float) for v in (found.col_value, found.row_dual, found.col_dual))
            return LPSolution(status, x, float(highs.getObjectiveValue()), duals, costs, None)
        ray = None
        if status in (LPStatus.INFEASIBLE, LPStatus.UNBOUNDED):
            _, has_ray, values = highs.getDualRay() if status is LPStatus.INFEASIBLE else highs.getPrimalRay()
            ray = np.array(values, float) if has_ray else None
        value = {LPStatus.INFEASIBLE: np.inf, LPStatus.UNBOUNDED: -np.inf}.get(status, np.nan)
        return LPSolution(status, None, value, None, None, ray)

    @staticmethod
    def _check(status: highspy.HighsStatus) -> None:
        if status == highspy.HighsStatus.kError:
            raise SolverError("HiGHS refused the model or an option")


def _vector(value: ArrayLike, length: int, name: str) -> Floats:
    array = np.asarray(value, np.float64)
    if array.shape not in ((), (length,)) or np.isnan(array).any():
        raise ProblemError(f"{name} must be a scalar or have shape ({length},), without NaN; got shape {array.shape}")
    return np.array(np.broadcast_to(array, length))


def _rows_of(A: Any) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats, tuple[int, int]]:
    """The matrix by compressed rows: starts, column indices, values, shape."""
    if hasattr(A, "tocsr"):
        sparse = A.tocsr()
        sparse.sum_duplicates()
        values = np.asarray(sparse.data, np.float64)
        return np.asarray(sparse.indptr, np.int32), np.asarray(sparse.indices, np.int32), values, sparse.shape
    dense = np.asarray(A, np.float64)
    if dense.ndim != 2:
        raise ProblemError(f"A must be a matrix, got {dense.ndim} dimension(s)")
    rows, columns = dense.nonzero()
    starts = np.searchsorted(rows, np.arange(len(dense) + 1))
    return starts.astype(np.int32), columns.astype(np.int32), dense[rows, columns], (dense.shape[0], dense.shape[1])

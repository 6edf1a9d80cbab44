"""Mixed-integer programs: HiGHS's branch and bound, anytime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold._engine.lp import LPStatus
from rectifold.core.errors import ProblemError, SolverError

__all__ = ["MIPSolution", "solve_mip"]

Floats = NDArray[np.float64]

_STATUS = {
    highspy.HighsModelStatus.kOptimal: LPStatus.OPTIMAL,
    highspy.HighsModelStatus.kInfeasible: LPStatus.INFEASIBLE,
    highspy.HighsModelStatus.kTimeLimit: LPStatus.TIME_LIMIT,
    highspy.HighsModelStatus.kIterationLimit: LPStatus.ITERATION_LIMIT,
    highspy.HighsModelStatus.kSolutionLimit: LPStatus.ITERATION_LIMIT,
}
_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class MIPSolution:
    """What the search returned.

    Attributes
    ----------
    status : LPStatus
        ``optimal``, ``infeasible``, or the limit that ended the search (``iteration_limit`` for nodes).
    x : ndarray, shape (n_cols,), or None
        The best point found.
    value, bound : float
        c'x of it, infinity without one, and the lower bound on the optimum.
    """

    status: LPStatus
    x: Floats | None
    value: float
    bound: float


def solve_mip(
    c: ArrayLike,
    A: Any,
    row_lower: ArrayLike,
    row_upper: ArrayLike,
    col_upper: ArrayLike,
    integer: NDArray[np.bool_],
    *,
    start: ArrayLike | None = None,
    time_limit: float | None = None,
    max_nodes: int | None = None,
) -> MIPSolution:
    """Minimise c'x subject to row_lower <= A x <= row_upper, 0 <= x <= col_upper, x integer where asked.

    Parameters
    ----------
    A : scipy sparse matrix, shape (n_rows, n_cols)
    integer : ndarray of bool, shape (n_cols,)
    start : array_like, shape (n_cols,), optional
        A feasible point.
    time_limit : float, optional
        Seconds.
    max_nodes : int, optional

    Raises
    ------
    SolverError
        HiGHS refuses the model or ends without an answer.
    """
    sparse = A.tocsr()
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = sparse.shape
    lp.col_cost_ = _vector(c, lp.num_col_)
    lp.row_lower_, lp.row_upper_ = _vector(row_lower, lp.num_row_), _vector(row_upper, lp.num_row_)
    lp.col_lower_, lp.col_upper_ = np.zeros(lp.num_col_), _vector(col_upper, lp.num_col_)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = sparse.indptr.astype(np.int32), sparse.indices.astype(np.int32)
    lp.a_matrix_.value_ = sparse.data.astype(np.float64)
    lp.integrality_ = [highspy.HighsVarType.kInteger if i else highspy.HighsVarType.kContinuous for i in integer]
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    options: dict[str, Any] = {
        "output_flag": False,
        "threads": 1,
        "random_seed": 0,
        "presolve": "off",  # on dense rows it overruns any time limit
        "mip_rel_gap": 0.0,
        "mip_feasibility_tolerance": _TOLERANCE,
        "primal_feasibility_tolerance": _TOLERANCE,
        "time_limit": np.inf if time_limit is None else float(time_limit),
        "mip_max_nodes": 2**31 - 1 if max_nodes is None else int(max_nodes),
    }
    for name, value in options.items():
        _check(highs.setOptionValue(name, value))
    _check(highs.passModel(lp))
    if start is not None:
        point = highspy.HighsSolution()
        point.col_value = list(_vector(start, lp.num_col_))
        _check(highs.setSolution(point))
    try:
        highs.run()
        status = _STATUS.get(highs.getModelStatus())
    except Exception as error:  # whatever the bindings raise
        raise SolverError(f"HiGHS failed: {error}") from error
    if status is None:
        raise SolverError(f"HiGHS ended with {highs.modelStatusToString(highs.getModelStatus())}")
    return _solution(highs, status)


def _solution(highs: Any, status: LPStatus) -> MIPSolution:
    info = highs.getInfo()
    bound = np.inf if status is LPStatus.INFEASIBLE else float(info.mip_dual_bound)
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return MIPSolution(status, None, np.inf, bound)
    return MIPSolution(status, np.array(highs.getSolution().col_value), float(info.objective_function_value), bound)


def _check(status: highspy.HighsStatus) -> None:
    if status == highspy.HighsStatus.kError:
        raise SolverError("HiGHS refused the model or an option")


def _vector(value: ArrayLike, length: int) -> Floats:
    array = np.asarray(value, np.float64)
    if array.shape not in ((), (length,)) or np.isnan(array).any():
        raise ProblemError(f"expected a scalar or {length} numbers without NaN, got shape {array.shape}")
    return np.array(np.broadcast_to(array, length))

"""The same program in cvxpy, solved by Clarabel.

The problem is built and compiled once (a solve with one iteration, not timed); the timed call is ``solve`` on the
compiled problem, Clarabel's own ``solve_time`` stands beside it. ``warm_start=False``: with cvxpy's default the second
solve would update the first solver object and silently keep its iteration limit.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from benchmarks.instances import FixedProgram


def prepare(program: FixedProgram, setting: dict[str, Any]) -> tuple[cp.Problem, cp.Variable, cp.Variable]:
    """Build and compile."""
    X, D = program.X, program.patterns.astype(float)
    U, H = (cp.Variable((X.shape[1], D.shape[1])) for _ in range(2))
    S = 2 * D - 1
    fit = cp.sum(cp.multiply(D, X @ (U - H)), axis=1)
    penalty = cp.sum(cp.norm(U, 2, axis=0)) + cp.sum(cp.norm(H, 2, axis=0))
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(fit - program.y) + program.lam * penalty),
                         [cp.multiply(S, X @ U) >= 0, cp.multiply(S, X @ H) >= 0])  # fmt: skip
    with contextlib.suppress(cp.error.SolverError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(solver=cp.CLARABEL, max_iter=1)
    return problem, U, H


def solve(
    state: tuple[cp.Problem, cp.Variable, cp.Variable], program: FixedProgram, setting: dict[str, Any]
) -> tuple[NDArray[np.float64], float | None]:
    """Block weights (2P, d) and Clarabel's own solve time."""
    problem, U, H = state
    tol = setting["tol"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(
            solver=cp.CLARABEL, warm_start=False, tol_gap_abs=tol, tol_gap_rel=tol, tol_feas=tol, max_threads=1
        )
    return np.concatenate([U.value.T, H.value.T]), float(problem.solver_stats.solve_time)

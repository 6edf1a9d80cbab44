"""Quantile regressions at many quantiles, each from the vertex of the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold._engine.budget import Budget
from rectifold.core.arrays import as_float_array, as_points
from rectifold.core.errors import ProblemError
from rectifold.core.lad import LADProblem, check_quantile
from rectifold.core.monitor import Monitor
from rectifold.core.result import ReadOnlyArrays, Result
from rectifold.programs.lad import LADModel, make_solver, solve_one
from rectifold.programs.lad_rows import ArrayRows

__all__ = ["QuantilePath", "quantile_path"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class QuantilePath(ReadOnlyArrays):
    """Quantile regressions at several quantiles.

    Attributes
    ----------
    quantiles : ndarray, shape (k,)
        In the order given.
    coef : ndarray, shape (k, n_features)
    intercept, objective : ndarray, shape (k,)
    results : tuple of Result
    """

    quantiles: Array
    coef: Array
    intercept: Array
    objective: Array
    results: tuple[Result[LADModel], ...]

    def __call__(self, X: ArrayLike) -> Array:
        """Return predictions, shape (n_samples, k)."""
        points, _ = as_points(X, self.coef.shape[1])
        return points @ self.coef.T + self.intercept


def quantile_path(
    X: ArrayLike,
    y: ArrayLike,
    quantiles: ArrayLike,
    alpha: float = 0.0,
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
    *,
    time_limit: float | None = None,
    callback: Monitor | None = None,
    random_state: Any = 0,
) -> QuantilePath:
    """Solve quantile regressions in a row, each from the vertex of the one before.

    Parameters
    ----------
    X, y, alpha, fit_intercept, sample_weight, time_limit, callback, random_state
        As in `solve_lad`; the limit is for all together.
    quantiles : array_like, shape (k,)
        Each strictly between 0 and 1.

    Returns
    -------
    QuantilePath

    Raises
    ------
    ProblemError
        As `LADProblem`, or if there is no quantile.
    """
    levels = [check_quantile(float(q)) for q in np.atleast_1d(as_float_array(quantiles, "quantiles")).ravel()]
    if not levels:
        raise ProblemError("quantile_path needs at least one quantile.")
    problem = LADProblem(X, y, levels[0], alpha, fit_intercept, sample_weight)
    budget = Budget(callback, time_limit)
    source = ArrayRows(problem)
    solver = make_solver(source, problem.alpha, problem.fit_intercept, random_state, budget)
    found: dict[float, Result[LADModel]] = {}
    for q in sorted(set(levels)):
        found[q] = solve_one(solver, source, problem.with_quantile(q), budget)
    results = tuple(found[q] for q in levels)
    return QuantilePath(
        np.array(levels),
        np.array([r.solution.coef for r in results]),
        np.array([r.solution.intercept for r in results]),
        np.array([r.value for r in results]),
        results,
    )

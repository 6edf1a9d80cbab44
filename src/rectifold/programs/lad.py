"""Quantile regression and least absolute deviations, solved exactly at a vertex, from arrays, files or batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold._engine.budget import Budget
from rectifold.core.arrays import as_points
from rectifold.core.errors import ProblemError
from rectifold.core.lad import LADCertificate, LADProblem, check_alpha, check_quantile
from rectifold.core.monitor import Monitor
from rectifold.core.result import Proof, ReadOnlyArrays, Result, Status
from rectifold.core.rounding import gamma
from rectifold.programs.lad_levels import Answer, LevelSolver
from rectifold.programs.lad_rows import ArrayRows, Frame, RowSource, StreamRows
from rectifold.programs.lad_walk import Stopped

__all__ = ["LADModel", "make_solver", "solve_lad", "solve_lad_stream", "solve_one"]

Array = NDArray[np.float64]

_MARGIN = 5e-10
_UNIQUE = 1e-9


@dataclass(frozen=True, eq=False)
class LADModel(ReadOnlyArrays):
    """A quantile regression at a vertex.

    Attributes
    ----------
    coef : ndarray, shape (n_features,)
    intercept : float
    quantile : float
    basis : ndarray of int64, shape (k,)
        What determines the coefficients: i >= 0 is a sample that is interpolated, -1 - j a coefficient j that is zero.
    edge_slopes : ndarray, shape (k, 2)
        Growth of the sum of losses along the two directions of the edge that leaves entry k of the basis, per unit of
        its residual; all >= 0 at the optimum.
    is_unique : bool
        Whether the optimum is proven to be the only one. False: an edge is flat, so that there are others, unless more
        residuals are zero than there are coefficients.
    dual : ndarray, shape (n_samples,), or None
        d with ``w_i (q - 1) <= d_i <= w_i q`` and X'd = 0 (between -alpha sum(w) and alpha sum(w) with a penalty); the
        slope of the loss of each residual. None for data that were streamed.
    """

    coef: Array
    intercept: float
    quantile: float
    basis: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    edge_slopes: Array = field(default_factory=lambda: np.zeros((0, 2)))
    is_unique: bool = False
    dual: Array | None = None

    def __call__(self, X: ArrayLike) -> Array:
        """Return predictions, (n_samples,); a number for one point."""
        points, single = as_points(X, len(self.coef))
        values = points @ self.coef + self.intercept
        return values[0] if single else values


def solve_lad(
    X: ArrayLike,
    y: ArrayLike,
    quantile: float = 0.5,
    alpha: float = 0.0,
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
    *,
    time_limit: float | None = None,
    callback: Monitor | None = None,
    random_state: Any = 0,
) -> Result[LADModel]:
    """Minimise the mean pinball loss plus ``alpha ||coef||_1`` exactly.

    Parameters
    ----------
    X, y, quantile, alpha, fit_intercept, sample_weight
        As in `LADProblem`. A memory map is read in parts.
    time_limit : float, optional
        Seconds.
    callback : Monitor, optional
    random_state : int, numpy Generator or None
        Picks the samples that are solved first; matters only where the optimum is not unique.

    Returns
    -------
    Result of LADModel
        With a `LADCertificate`; the value is the mean loss with penalty.

    Raises
    ------
    ProblemError
        As `LADProblem`.

    Notes
    -----
    The long-step vertex walk of Barrodale & Roberts (1973) and Koenker & d'Orey (1987). With many rows a sample is
    solved first and far residuals keep their sign until it proves wrong: a few passes over the data, and vertex walks
    on about sqrt(k) n^(2/3) rows for k coefficients.
    """
    return _solve(LADProblem(X, y, quantile, alpha, fit_intercept, sample_weight), time_limit, callback, random_state)


def _solve(
    problem: LADProblem, time_limit: float | None, callback: Monitor | None, random_state: Any
) -> Result[LADModel]:
    budget = Budget(callback, time_limit)
    source = ArrayRows(problem)
    solver = make_solver(source, problem.alpha, problem.fit_intercept, random_state, budget)
    return solve_one(solver, source, problem, budget)


def solve_one(solver: LevelSolver, source: RowSource, problem: LADProblem, budget: Budget) -> Result[LADModel]:
    """Solve the problem whose rows are those of the source, with its certificate."""
    try:
        answer = solver.solve(problem.quantile, want_dual=True)
    except Stopped as stopped:
        return _unfinished(solver.frame, stopped.theta, source, problem.quantile, problem.alpha, budget)
    result = _result(solver, answer, source, problem.quantile, budget)
    return replace(result, certificate=_certificate(problem, result))


def solve_lad_stream(
    batches: Callable[[], Iterable[Any]],
    quantile: float = 0.5,
    alpha: float = 0.0,
    fit_intercept: bool = True,
    *,
    max_rows: int = 500_000,
    time_limit: float | None = None,
    callback: Monitor | None = None,
    random_state: Any = 0,
) -> Result[LADModel]:
    """Minimise the mean pinball loss plus ``alpha ||coef||_1`` over data that are read in batches.

    Parameters
    ----------
    batches : callable
        Returns an iterable of batches (X, y) or (X, y, sample_weight), the same ones whenever it is called; it is
        called a handful of times. See `parquet_batches`.
    quantile, alpha, fit_intercept
        As in `LADProblem`.
    max_rows : int
        Rows sampled in the first pass; the rows near the optimum, of which there are about
        ``2 n sqrt(k / max_rows)`` for k coefficients, are held as well.
    time_limit, callback, random_state
        As in `solve_lad`.

    Returns
    -------
    Result of LADModel
        The bound was computed, in float64, from a dual vector that is not kept: there is no certificate.

    Raises
    ------
    ProblemError
        For NaN, infinities, batches that do not fit together, or options out of range.
    """
    quantile, alpha = check_quantile(quantile), check_alpha(alpha)
    if int(max_rows) != max_rows or max_rows < 1:
        raise ProblemError(f"max_rows must be a positive integer, got {max_rows!r}.")
    if not callable(batches):
        raise ProblemError("batches must be a function that returns an iterable of batches.")
    budget = Budget(callback, time_limit)
    rng = _generator(random_state)
    source = StreamRows(batches)
    source.scan(int(max_rows), rng)
    solver = LevelSolver(source, alpha, bool(fit_intercept), rng, budget)
    try:
        answer = solver.solve(quantile, want_dual=False)
    except Stopped as stopped:
        return _unfinished(solver.frame, stopped.theta, source, quantile, alpha, budget)
    return _result(solver, answer, source, quantile, budget)


def make_solver(source: RowSource, alpha: float, intercept: bool, random_state: Any, budget: Budget) -> LevelSolver:
    """Return the solver of a source; `random_state` is an int, a Generator or None."""
    return LevelSolver(source, alpha, intercept, _generator(random_state), budget)


def _generator(random_state: Any) -> np.random.Generator:
    return random_state if isinstance(random_state, np.random.Generator) else np.random.default_rng(random_state)


def _result(
    solver: LevelSolver, answer: Answer, source: RowSource, quantile: float, budget: Budget
) -> Result[LADModel]:
    coef, intercept = solver.frame.coefficients(answer.vertex.theta)
    slopes = answer.program.edge_slopes()
    flat = slopes <= _UNIQUE * slopes.sum(axis=1, keepdims=True)
    complete = solver.frame.size == source.n_features + solver.frame.intercept
    unique, slopes = bool(complete and not flat.any()), np.where(flat, 0.0, slopes)
    model = LADModel(coef, intercept, quantile, answer.vertex.basis, slopes, unique, answer.dual)
    value = answer.value / source.total_weight
    stats = {
        "pivots": solver.pivots,
        "crossings": solver.crossings,
        "passes": solver.passes,
        "band_rows": solver.band_rows,
        "rank": solver.frame.size,
    }
    bound = max(value - _margin(value, solver, coef, intercept), 0.0)  # no loss is negative
    proof = Proof.NONE if answer.dual is None else Proof.CERTIFIED  # without a dual there is nothing to re-check
    budget.report("optimal", value, bound)
    return Result(model, value, bound, Status.OPTIMAL, proof, None, stats, budget.trace())


def _margin(value: float, solver: LevelSolver, coef: Array, intercept: float) -> float:
    """What rounding may take from the bound: a fixed share, and what residuals of such data are accurate to."""
    size = solver.typical_size(coef, intercept)
    return _MARGIN * value + 16.0 * gamma(len(coef) + 8) * size


def _certificate(problem: LADProblem, result: Result[LADModel]) -> LADCertificate:
    model = result.solution
    assert model.dual is not None
    return LADCertificate(
        problem, None, model.coef, model.intercept, model.dual, model.basis, result.value, result.bound
    )


def _unfinished(
    frame: Frame, theta: Array, source: RowSource, quantile: float, alpha: float, budget: Budget
) -> Result[LADModel]:
    """The vertex reached when the budget ended, with its loss over all rows; losses are never negative."""
    coef, intercept = frame.coefficients(theta)
    loss = 0.0
    for rows in source.blocks():
        r = rows.y - rows.X @ coef - intercept
        loss += float(rows.weights @ np.maximum(quantile * r, (quantile - 1.0) * r))
    value = loss / source.total_weight + alpha * float(np.abs(coef).sum())
    budget.report("stopped", value, 0.0)
    status = budget.status(Status.ITERATION_LIMIT)
    return Result(LADModel(coef, intercept, quantile), value, 0.0, status, Proof.NONE, None, {}, budget.trace())

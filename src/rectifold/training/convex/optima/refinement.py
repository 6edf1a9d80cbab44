"""The last digits of a solution whose optimum is not unique: Newton's method at a vertex, where it is regular."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.optima.exact_solution import ExactSolution, bound_solution, point_solution
from rectifold.training.convex.restricted.blocks import BlockProgram
from rectifold.training.convex.restricted.face_newton import Face, newton_on_face

__all__ = ["refined"]

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

_EXACT = 1e-13
_ACTIVE_THETA = 1e-9


def refined(
    problem: ConvexReLUProblem,
    exact: ExactSolution,
    directions: Array,
    signs: Array,
    cells: Bits,
    tight: Bits,
    *,
    force: bool = False,
) -> ExactSolution | None:
    """Return a solution whose fit is a combination of the neurons found, to rounding; None if it is that already.

    Parameters
    ----------
    problem : ConvexReLUProblem
    exact : ExactSolution
    directions, signs, cells, tight : ndarray, shapes (m, d), (m,), (m, n), (m, n)
        The merged neurons of E with one cell each and the rows on which they lie.
    force : bool
        Take the steps although the fit is such a combination.

    Notes
    -----
    Non-negative least squares finds a vertex, whose activations are independent; on it Newton's system is positive
    definite, while interior points of a set of optima are determined to the square root of rounding only.
    """
    if len(directions) == 0:
        return None
    solution = exact.solution
    fit = solution.program.fit(solution.w, solution.intercept)
    used = np.ones(len(fit), dtype=bool)
    if problem.loss.name == "squared_hinge":
        used = np.abs(solution.theta) > _ACTIVE_THETA * problem.weights
    columns = (np.maximum(problem.design @ directions.T, 0.0) * signs)[used]
    constant = np.ones((int(used.sum()), 1 if problem.fit_intercept else 0))
    matrix = np.hstack([columns, constant, -constant])
    lengths = np.maximum(np.linalg.norm(matrix, axis=0), 1e-300)
    weights, residual = nnls(matrix / lengths, fit[used], maxiter=30 * matrix.shape[1] + 100)
    if not force and residual <= _EXACT * max(float(np.linalg.norm(fit[used])), 1e-300):
        return None
    mu = (weights / lengths)[: len(directions)]
    support = mu > 0
    program = BlockProgram(problem, cells[support], signs[support])
    w = mu[support, None] * directions[support]
    face, _ = newton_on_face(Face(program, w, _intercept(problem, program, w), tight[support]), crossing=False)
    point = point_solution(problem, face.w, face.program.signs, face.intercept, face.program.patterns)
    bound_solution(problem, point, exact.patterns, exact.allowed)
    return replace(exact, solution=point)


def _intercept(problem: ConvexReLUProblem, program: BlockProgram, w: Array) -> float:
    if not problem.fit_intercept:
        return 0.0
    fit = program.fit(w, 0.0)[:, None]
    return float(problem.loss.intercept(fit, problem.targets, problem.weights)[0])

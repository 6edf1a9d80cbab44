"""Rounds a dual vector to integers times a power of two that are feasible exactly, zero column sums included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.core.arrays import as_float_array
from rectifold.core.errors import ProblemError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import DYADIC_BITS, DyadicArray, sum_to_zero

__all__ = ["round_dual"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_UNBOUNDED = 2**60


def round_dual(problem: ConvexReLUProblem, theta: Array) -> DyadicArray:
    """Return a point of the dual's domain next to theta, its columns summing to zero where there is an intercept.

    Parameters
    ----------
    problem : ConvexReLUProblem
    theta : ndarray, shape (n, K)
        Usually ``problem.theta(f)``; moved into the domain first.

    Raises
    ------
    ProblemError
        If theta has another shape or is not finite.
    """
    theta = as_float_array(theta, "theta")
    if theta.shape != problem.targets.shape:
        raise ProblemError(f"theta must have shape {problem.targets.shape}, got {theta.shape}.")
    if problem.fit_intercept:
        theta = problem.loss.to_domain(theta, problem.targets, problem.weights)
    if problem.loss.name == "multinomial":
        return _round_multinomial(problem, theta)
    rounded = DyadicArray.round(theta)
    lower, upper = _box(problem, rounded.exponent)
    integers = np.clip(rounded.integers, lower, upper)
    if problem.fit_intercept:
        columns = [sum_to_zero(integers[:, k], lower[:, k], upper[:, k]) for k in range(theta.shape[1])]
        integers = np.stack(columns, axis=1)
    return DyadicArray(integers, rounded.exponent)


def _box(problem: ConvexReLUProblem, exponent: int) -> tuple[Ints, Ints]:
    """Return the domain of a separable loss in units of ``2**exponent``."""
    shape, y = problem.targets.shape, problem.targets
    far = np.full(shape, _UNBOUNDED, dtype=np.int64)
    if problem.loss.name == "squared":
        return -far, far
    if problem.loss.name == "logistic":
        units = np.floor(np.ldexp(problem.weights, -exponent))
        far = np.broadcast_to(np.minimum(units, float(_UNBOUNDED)).astype(np.int64)[:, None], shape)
    return np.where(y > 0, 0, -far), np.where(y > 0, far, 0)


def _round_multinomial(problem: ConvexReLUProblem, theta: Array) -> DyadicArray:
    """Round ``theta_i = s_i (e_{y_i} - p_i)`` through the integer masses of p, moved between classes of a row."""
    exponent = int(np.frexp(problem.weights.max())[1]) - DYADIC_BITS
    own = problem.targets > 0
    total = np.floor(np.ldexp(problem.weights, -exponent)).astype(np.int64)
    mass = np.where(own, 0, np.rint(np.ldexp(np.maximum(-theta, 0.0), -exponent))).astype(np.int64)
    rows = np.arange(len(mass))
    over = np.maximum(mass.sum(axis=1) - total, 0)  # rounding, or a theta that sums to more than its weight
    for _ in range(mass.shape[1]):
        largest = mass.argmax(axis=1)
        cut = np.minimum(over, mass[rows, largest])
        mass[rows, largest] -= cut
        over -= cut
    mass[own] = total - mass.sum(axis=1)
    if problem.fit_intercept:
        _balance_classes(mass, np.where(own, total[:, None], 0).sum(axis=0) - mass.sum(axis=0))
    return DyadicArray(np.where(own, total[:, None], 0) - mass, exponent)


def _balance_classes(mass: Ints, missing: Ints) -> None:
    """Move mass between classes of the same row, in place, until no class misses any; the rows' totals stay."""
    while np.any(missing):
        into, out_of = int(missing.argmax()), int(missing.argmin())
        amount = int(min(missing[into], -missing[out_of]))
        left = amount
        for i in np.argsort(-mass[:, out_of], kind="stable").tolist():
            step = min(left, int(mass[i, out_of]))
            mass[i, out_of] -= step
            mass[i, into] += step
            left -= step
            if left == 0:
                break
        missing[into] -= amount
        missing[out_of] += amount

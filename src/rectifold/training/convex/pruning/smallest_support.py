"""The least number of columns in a non-negative combination of given sum and cost: a search with a lower bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lstsq
from scipy.sparse import csr_matrix, eye, hstack, vstack

from rectifold._engine.mip import solve_mip
from rectifold.core.errors import ProblemError

Array = NDArray[np.float64]

_COST_SLACK = 1e-9
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class SmallestSupport:
    """Multipliers with few non-zeros.

    Attributes
    ----------
    mu : ndarray, shape (m,)
        Non-negative.
    bound : int
        No combination of that sum and cost has fewer non-zeros.
    """

    mu: Array
    bound: int

    @property
    def width(self) -> int:
        """Number of non-zeros."""
        return int(np.count_nonzero(self.mu))


def smallest_support(
    columns: Array,
    costs: Array,
    mu: Array,
    budget: float | None = None,
    *,
    tol: float = 1e-9,
    time_limit: float | None = None,
    max_nodes: int | None = None,
) -> SmallestSupport:
    """Minimise the number of non-zeros of nu >= 0 with ``columns nu = columns mu`` and ``costs'nu <= budget``.

    Parameters
    ----------
    columns : ndarray, shape (p, m)
    costs : ndarray, shape (m,)
        Positive; they bound the multipliers.
    mu : ndarray, shape (m,)
        A vertex to start from: returned where nothing narrower is found.
    budget : float, optional
        ``costs'mu`` if left out.
    tol : float
        Largest residual of an accepted answer, relative to the largest column in use.
    time_limit : float, optional
        Seconds; the search can be stopped at any time.
    max_nodes : int, optional
        Nodes of the branch and bound: a limit that does not depend on the clock.

    Raises
    ------
    ProblemError
        If a cost is not positive.

    Notes
    -----
    A mixed-integer program in the shares ``y_j = costs_j nu_j / budget`` of the cost, ``y_j <= z_j`` binary. HiGHS
    works within tolerances; its support is accepted only after a least-squares solve of its own confirms it. The bound
    holds for every combination that meets the sum to within ``tol`` of the largest column that the budget allows.
    """
    if np.any(costs <= 0.0):
        raise ProblemError("the search for the smallest support needs positive costs")
    total = (float(costs @ mu) if budget is None else budget) * (1.0 + _COST_SLACK)
    known = SmallestSupport(mu, int(np.any(mu > 0.0)))
    if known.width <= known.bound:
        return known
    m = columns.shape[1]
    shares = columns * (total / costs)
    rows, target = _independent_rows(shares, columns @ mu)
    links = hstack([eye(m), -eye(m)])
    sums = csr_matrix(np.concatenate([np.ones(m), np.zeros(m)])[None, :])
    matrix = vstack([hstack([csr_matrix(rows), csr_matrix((len(rows), m))]), links, sums], format="csr")
    start = costs * mu / total
    answer = solve_mip(
        np.repeat([0.0, 1.0], m),
        matrix,
        np.concatenate([target - tol, np.full(m, -np.inf), [0.0]]),
        np.concatenate([target + tol, np.zeros(m), [1.0]]),
        1.0,
        np.repeat([False, True], m),
        start=np.concatenate([start, start > 0.0]),
        time_limit=time_limit,
        max_nodes=max_nodes,
    )
    bound = max(int(np.ceil(answer.bound - _ROUNDING)), 1) if np.isfinite(answer.bound) else 1
    bound = min(bound, known.width)
    if answer.x is None:
        return SmallestSupport(mu, bound)
    found = _confirmed(columns, costs, columns @ mu, answer.x[m:] > 0.5, total, tol)
    if found is None or np.count_nonzero(found) >= known.width:
        return SmallestSupport(mu, bound)
    return SmallestSupport(found, bound)


def _independent_rows(columns: Array, target: Array) -> tuple[Array, Array]:
    """Rotate the system ``columns x = target`` into rows without redundancy, the longest column of unit length."""
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    left = left[:, values > 1e-12 * values[0]]
    scale = float(np.linalg.norm(columns, axis=0).max())
    return left.T @ columns / scale, left.T @ target / scale


def _confirmed(
    columns: Array, costs: Array, target: Array, support: NDArray[np.bool_], total: float, tol: float
) -> Array | None:
    """Solve for the multipliers of a support; None unless they are non-negative, exact and cheap enough."""
    used = columns[:, support]
    scale = np.linalg.norm(used, axis=0)
    values = lstsq(used / scale, target, check_finite=False)[0]
    residual = np.linalg.norm(used / scale @ values - target)
    if values.min(initial=0.0) < -tol * np.abs(values).max(initial=0.0):
        return None
    mu = np.zeros(columns.shape[1])
    mu[support] = np.maximum(values, 0.0) / scale
    if residual > tol * np.abs(values).max(initial=0.0) or costs @ mu > total * (1.0 + _COST_SLACK):
        return None
    return mu

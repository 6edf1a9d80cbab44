"""From a non-negative combination of columns to a vertex of all that give the same sum, at the same cost or lower."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular
from scipy.linalg.blas import dger

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_PIVOT = 1e-9
_COST = 1e-10
_PIVOTS_PER_COLUMN = 20


class VertexTableau:
    """``{x >= 0 : M x = M x0}`` as ``x_B = b - T x_N`` with independent columns B and ``M_N = M_B T``.

    Parameters
    ----------
    matrix : ndarray, shape (p, m)
        Columns of unit length.
    costs : ndarray, shape (m,)
        Non-negative.
    x : ndarray, shape (m,)
        The non-negative point x0.
    rank_tol : float
        Columns whose distance from the span of those before them is below this are dependent.

    Notes
    -----
    Pivoted QR once, ``O(p m min(p, m))``; then a rank-one update of T, ``O(r k)`` for rank r and k = m - r dependent
    columns, for a column removed (`push`) or exchanged (`descend`).
    """

    def __init__(self, matrix: Array, costs: Array, x: Array, rank_tol: float) -> None:
        triangle, order = qr(matrix, mode="r", pivoting=True, check_finite=False)
        diagonal = np.abs(np.diag(triangle))
        rank = int(np.count_nonzero(diagonal > rank_tol))
        head = triangle[:rank]
        self.costs = costs
        self.basis, self.others = order[:rank].astype(np.intp), order[rank:].astype(np.intp)
        self.table = np.asfortranarray(solve_triangular(head[:, :rank], head[:, rank:], check_finite=False))
        self.x = x[self.basis].copy()
        self.rest = x[self.others].copy()
        self.reduced = costs[self.others] - costs[self.basis] @ self.table
        self.diagonal = diagonal

    @property
    def cost(self) -> float:
        """Cost of the present point."""
        return float(self.costs[self.basis] @ self.x + self.costs[self.others] @ self.rest)

    def point(self) -> Array:
        """Return the present point, shape (m,)."""
        full = np.zeros(len(self.costs))
        full[self.basis], full[self.others] = np.maximum(self.x, 0.0), self.rest
        return full

    def push(self) -> list[tuple[int, float]]:
        """Move to a vertex, one column a step, never at a higher cost.

        Returns
        -------
        list of (int, float)
            The column that left and the cost afterwards, per step.
        """
        removed = []
        for j in range(len(self.others)):
            if self.rest[j] > 0.0:
                removed.append((self._push(j), self.cost))
        return removed

    def _push(self, j: int) -> int:
        """Bring x_N[j] or, if that needs a lower cost, a basic column to zero; return which."""
        column = self.table[:, j]
        falling = bool(self.reduced[j] >= 0.0)  # x_N[j] may fall at no cost
        i, step = _ratio(self.x, -column if falling else column)
        if i < 0 and not falling:  # by rounding: costs are non-negative, so no ray lowers them
            falling = True
            i, step = _ratio(self.x, -column)
        if falling and self.rest[j] <= step:
            self.x += column * self.rest[j]
            self.rest[j] = 0.0
            return int(self.others[j])
        leaving = int(self.basis[i])
        self.x += column * (step if falling else -step)
        self.x[i] = self.rest[j] + (-step if falling else step)
        self.rest[j] = 0.0
        self._exchange(i, j)
        return leaving

    def descend(self) -> int:
        """Go from vertex to vertex to the least cost by the steepest edge; return the number of exchanges."""
        limit = _PIVOTS_PER_COLUMN * len(self.costs)
        scale = _COST * float(np.abs(self.costs).max(initial=0.0))
        for count in range(limit):
            if len(self.reduced) == 0:
                return count
            steepness = self.reduced / np.sqrt(1.0 + np.einsum("ij,ij->j", self.table, self.table))
            j = int(steepness.argmin())
            if steepness[j] >= -scale:
                return count
            column = self.table[:, j]
            i, step = _ratio(self.x, column)
            if i < 0:
                return count
            self.x -= column * step
            self.x[i] = step
            self._exchange(i, j)
        return limit

    def _exchange(self, i: int, j: int) -> None:
        row, column = self.table[i].copy(), self.table[:, j].copy()
        pivot = row[j]
        row /= pivot
        column[i] -= 1.0
        self.table = dger(-1.0, column, row, a=self.table, overwrite_a=1)
        column /= -pivot
        column[i] = 1.0 / pivot
        self.table[:, j] = column
        entering = self.reduced[j]
        self.reduced -= entering * row
        self.reduced[j] = -entering / pivot
        self.basis[i], self.others[j] = self.others[j], self.basis[i]


def _ratio(x: Array, column: Array) -> tuple[int, float]:
    """Return the row that bounds the step t >= 0 in ``x - t column >= 0`` and that step; -1 and infinity if none."""
    rows = np.flatnonzero(column > _PIVOT)
    if len(rows) == 0:
        return -1, np.inf
    ratios = np.maximum(x[rows], 0.0) / column[rows]
    step = float(ratios.min())
    ties = rows[ratios <= step * (1.0 + 1e-12) + 1e-300]
    return int(ties[column[ties].argmax()]), step


@dataclass(frozen=True, eq=False)
class Vertex:
    """A combination of independent columns with the sum of all, at their cost or lower.

    Attributes
    ----------
    mu : ndarray, shape (m,)
        Non-negative; all ones would be the columns as given.
    unused : ndarray of int
        Columns that are zero.
    removed : list of (int, float)
        Columns in the order they left and the cost afterwards.
    exchanges : int
        Pivots from that vertex to the one of least cost; columns removed before may be back.
    residual : float
        Of the sum, relative to the norms of the contributions.
    """

    mu: Array
    unused: Index
    removed: list[tuple[int, float]]
    exchanges: int
    residual: float


def cheapest_vertex(columns: Array, sizes: Array, costs: Array, tol: float) -> Vertex:
    """Minimise ``costs'mu`` over ``mu >= 0, columns mu = sum of the columns``, at a vertex.

    Parameters
    ----------
    columns : ndarray, shape (p, m)
    sizes : ndarray, shape (m,)
        Lengths to measure against, not below those of the columns; they are larger where constants were taken out.
    costs : ndarray, shape (m,)
        Non-negative.
    tol : float
        A column is zero below ``1e-3 tol`` of the largest, and dependent within ``tol`` of the span of others.

    Returns
    -------
    Vertex
    """
    lengths = np.linalg.norm(columns, axis=0)
    zero = lengths <= 1e-3 * tol * np.maximum(sizes, lengths.max(initial=0.0))
    used = np.flatnonzero(~zero)
    mu = np.zeros(len(lengths))
    if len(used) == 0:
        return Vertex(mu, np.flatnonzero(zero), [], 0, 0.0)
    unit = columns[:, used] / lengths[used]
    tableau = VertexTableau(unit, costs[used] / lengths[used], lengths[used], tol)
    removed = [(int(used[j]), cost) for j, cost in tableau.push()]
    exchanges = tableau.descend()
    point, residual = _polished(unit, tableau.point(), unit @ lengths[used], tol)
    mu[used] = point / lengths[used]
    return Vertex(mu, np.flatnonzero(zero), removed, exchanges, residual / float(lengths.sum()))


def _polished(unit: Array, x: Array, target: Array, tol: float) -> tuple[Array, float]:
    """Solve again on the support, free of the rounding of the pivots; return the better point and its residual."""
    support = np.flatnonzero(x > 1e-3 * tol * x.max())
    kept = np.zeros_like(x)
    kept[support] = x[support]
    residual = float(np.linalg.norm(unit @ kept - target))
    basis, triangle = qr(unit[:, support], mode="economic", check_finite=False)
    values = solve_triangular(triangle, basis.T @ target, check_finite=False)
    solved = np.zeros_like(x)
    solved[support] = values
    error = float(np.linalg.norm(unit @ solved - target))
    return (solved, error) if values.min() > 0.0 and error <= residual else (kept, residual)

"""Past the minimal width: neurons removed one by one, the others corrected by non-negative least squares."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular
from scipy.linalg.blas import dger

Array = NDArray[np.float64]


def least_squares_removal(columns: Array, target: Array) -> Iterator[tuple[list[int], Array]]:
    """Remove columns one after the other, each time the one whose loss costs the least.

    Parameters
    ----------
    columns : ndarray, shape (p, m)
        Independent; ``columns @ mu = target`` for some mu > 0.
    target : ndarray, shape (p,)

    Yields
    ------
    removed : list of int
        The column chosen, and those that the corrected combination no longer uses.
    mu : ndarray, shape (m,)
        Non-negative multipliers of the columns left, zero elsewhere.

    Notes
    -----
    With the dual basis D of the columns left (``D columns = I`` on their span) the least-squares error of doing
    without column j is ``mu_j^2 / ||d_j||^2``, Mishkin and Pilanci's score, and the removal projects D on the
    complement of d_j: ``O(m^2)`` each. At an optimum of the squared loss the penalised objective above the multipliers
    is exactly that error, since its gradient vanishes there; so this is the best correction, not a heuristic one.
    """
    system = _DualBasis(columns, target)
    while len(system.left) > 1:
        current = system.solution.copy()
        j = int(system.scores().argmin())
        removed: list[int] = []
        while True:
            removed.append(int(system.left[j]))
            system.remove(j)
            current[j] = current[-1]
            current = current[:-1]
            falling = np.flatnonzero(system.solution <= 0.0)
            if len(falling) == 0 or len(system.left) == 1:
                break
            steps = current[falling] / (current[falling] - system.solution[falling])  # Lawson-Hanson's inner loop
            blocking = int(steps.argmin())
            current = np.maximum(current + steps[blocking] * (system.solution - current), 0.0)
            j = int(falling[blocking])
        mu = np.zeros(columns.shape[1])
        mu[system.left] = np.maximum(system.solution, 0.0)
        yield removed, mu


class _DualBasis:
    """Dual basis and least-squares solution of the columns left; the last takes the place of one removed."""

    def __init__(self, columns: Array, target: Array) -> None:
        size = columns.shape[1]
        basis, triangle = qr(columns, mode="economic", check_finite=False)
        inverse = solve_triangular(triangle, np.eye(size), check_finite=False)
        self._duals = np.asfortranarray(inverse.T)  # one vector a column
        self.solution = inverse @ (basis.T @ target)
        self.left = np.arange(size)

    def scores(self) -> Array:
        """Return the least-squares error of doing without each column."""
        return np.asarray(self.solution**2 / np.einsum("ij,ij->j", self._duals, self._duals))

    def remove(self, j: int) -> None:
        """Drop a column and correct the others."""
        gone = self._duals[:, j].copy()
        share = gone @ self._duals / (gone @ gone)
        self._duals = dger(-1.0, gone, share, a=self._duals, overwrite_a=1)
        solution = self.solution - share * self.solution[j]
        solution[j], self.left[j], self._duals[:, j] = solution[-1], self.left[-1], self._duals[:, -1].copy()
        self.solution, self.left, self._duals = solution[:-1], self.left[:-1], self._duals[:, :-1]

"""The directional derivative of one output of a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.programs.degenerate import DirectionalProgram
from rectifold.programs.objective import Objective

__all__ = ["NetworkDirections"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class NetworkDirections(DirectionalProgram):
    """The directional derivative of an objective at a point of its domain.

    Parameters
    ----------
    objective : Objective
    x : ndarray, shape (n_inputs,)
    critical : ndarray of int64
        Constraints at zero, numbered as in the walk: hidden units, then rows of the domain.
    size : float
        The size of gradients to compare slopes with.
    held : ndarray, shape (p, n_inputs)
        Equality rows, and directions along which nothing changes.
    """

    def __init__(self, objective: Objective, x: Array, critical: NDArray[np.int64], size: float, held: Array) -> None:
        n_units = len(objective.lo)
        active = objective.domain.rows()[0][critical[critical >= n_units] - n_units]
        super().__init__(size, active / np.linalg.norm(active, axis=1, keepdims=True), held)
        self._objective = objective
        self._critical = np.zeros(n_units, bool)
        self._critical[critical[critical < n_units]] = True
        self._slopes = _slopes_at(objective, x, self._critical)

    def derivatives(self, U: Array) -> Array:
        """``f'(x; u)`` for the rows u of U, shape (m,)."""
        hidden = U
        for weight, part in zip(self._objective.network.weights, self._objective.layers, strict=False):
            beta = hidden @ weight.T
            free = np.where(beta > 0.0, self._objective.hi[part], self._objective.lo[part])
            hidden = np.where(self._critical[part], free, self._slopes[part]) * beta
        return np.asarray(hidden @ self._objective.output_weights)

    def linear_parts(self) -> tuple[Array, Array, Array, Array]:
        """See `DirectionalProgram.linear_parts`."""
        objective, index = self._objective, np.flatnonzero(self._critical)
        slopes = np.where(self._critical, objective.lo, self._slopes)
        place = {int(u): i for i, u in enumerate(index)}
        rows, response = np.zeros((len(index), objective.n_inputs)), np.zeros((len(index), len(index)))
        hidden = np.eye(objective.n_inputs)  # derivatives of h by the inputs, then by the outputs of critical units
        columns = np.zeros((objective.n_inputs, len(index)))
        for weight, part in zip(objective.network.weights, objective.layers, strict=False):
            by_input, by_unit = weight @ hidden, weight @ columns
            for u in range(part.start, part.stop):
                if u in place:
                    rows[place[u]], response[place[u]] = by_input[u - part.start], by_unit[u - part.start]
            hidden, columns = slopes[part, None] * by_input, slopes[part, None] * by_unit
            for u in range(part.start, part.stop):
                if u in place:
                    columns[u - part.start, place[u]] += 1.0
        return rows, response, objective.output_weights @ columns, objective.output_weights @ hidden

    @property
    def jumps(self) -> Array:
        """``hi - lo`` of the critical units."""
        return np.asarray((self._objective.hi - self._objective.lo)[self._critical])


def _slopes_at(objective: Objective, x: Array, critical: Mask) -> Array:
    """The slopes of all units at x; of critical ones, whose outputs are taken to be zero, below zero."""
    slopes, hidden = np.empty(len(objective.lo)), x
    for weight, bias, part in zip(objective.network.weights, objective.network.biases, objective.layers, strict=False):
        z = weight @ hidden + bias
        slopes[part] = np.where((z > 0.0) & ~critical[part], objective.hi[part], objective.lo[part])
        hidden = np.where(critical[part], 0.0, slopes[part] * z)
    return slopes

"""A dense network as a program of two-slope units: the numpy twin of ``dense_program.hpp``.

A *program* is what the vertex walk needs to know of a piecewise-affine function: units numbered layer after layer, each
with two slopes, and linear passes in which every unit keeps the slope it is given (nothing here asks for a sign).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["DenseProgram"]

Array = NDArray[np.float64]


class DenseProgram:
    """``f(x) = output . h_L + offset`` over layers ``z_l = W_l h_{l-1} + b_l``, ``h_l = slope * z_l``.

    Parameters
    ----------
    weights : sequence of (n_l, n_{l-1}) float64 arrays
    biases : sequence of (n_l,) float64 arrays
    lo, hi : (n_units,) float64 arrays
        Slopes below and above zero; equal slopes are no kink.
    output : (n_L,) float64 array
    offset : float
    """

    least_gradient = 0.0
    """A gradient below it is rounding, where the program knows."""

    def __init__(
        self, weights: Sequence[Array], biases: Sequence[Array], lo: Array, hi: Array, output: Array, offset: float
    ) -> None:
        self._weights, self._biases = list(weights), list(biases)
        self._output, self._offset = output, float(offset)
        self.lo, self.hi = lo, hi
        self.n = int(weights[0].shape[1]) if len(weights) else len(output)
        self._starts = np.concatenate([[0], np.cumsum([len(b) for b in biases])]).astype(int)
        self.n_units = int(self._starts[-1])
        self.scale = np.concatenate([np.linalg.norm(W, axis=1) for W in weights] or [np.zeros(0)])

    def _layer(self, i: int) -> slice:
        return slice(self._starts[i], self._starts[i + 1])

    def signs(self, x: Array) -> NDArray[np.bool_]:
        """Which units are on at x: those with z > 0."""
        on, h = np.zeros(self.n_units, bool), x
        for i, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            part, z = self._layer(i), weight @ h + bias
            on[part] = z > 0.0
            h = np.where(on[part], self.hi[part], self.lo[part]) * z
        return on

    def typical_sizes(self, reach: float) -> Array:
        """The sizes that z have by and large where the inputs are as large as ``reach``."""
        sizes, below = np.empty(self.n_units), reach
        steepest = np.maximum(np.abs(self.lo), np.abs(self.hi))
        for i, bias in enumerate(self._biases):
            part = self._layer(i)
            sizes[part] = self.scale[part] * below + np.abs(bias)
            below = float(np.sqrt(np.sum((steepest[part] * sizes[part]) ** 2) / max(len(bias), 1)))
        return sizes

    def preactivations(self, slope: Array, x: Array) -> tuple[Array, float]:
        """All z, and the value."""
        z, h = np.empty(self.n_units), x
        for i, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            part = self._layer(i)
            z[part] = weight @ h + bias
            h = slope[part] * z[part]
        return z, float(self._output @ h) + self._offset

    def value(self, slope: Array, z: Array, x: Array) -> float:
        """The value where all z are known."""
        last = self._layer(len(self._weights) - 1) if self._weights else slice(0)
        h = slope[last] * z[last] if self._weights else x
        return float(self._output @ h) + self._offset

    def directions(self, slope: Array, v: Array) -> tuple[Array, float]:
        """Derivatives along v of all z, and of the value."""
        beta, h = np.empty(self.n_units), v
        for i, weight in enumerate(self._weights):
            part = self._layer(i)
            beta[part] = weight @ h
            h = slope[part] * beta[part]
        return beta, float(self._output @ h)

    def bump(self, slope: Array, unit: int, change: float) -> tuple[NDArray[np.intp], Array, float]:
        """What a change of one unit's output adds: the deeper units that move, by how much, and that of the value."""
        layer = int(np.searchsorted(self._starts, unit, side="right")) - 1
        last = len(self._weights) - 1
        if layer == last:
            return np.zeros(0, np.intp), np.zeros(0), float(self._output[unit - self._starts[layer]] * change)
        step = np.zeros(self.n_units)
        step[self._layer(layer + 1)] = self._weights[layer + 1][:, unit - self._starts[layer]] * change
        for i in range(layer + 2, last + 1):
            below = self._layer(i - 1)
            step[self._layer(i)] = self._weights[i] @ (slope[below] * step[below])
        part = self._layer(last)
        moved = np.flatnonzero(step)
        return moved, step[moved], float(self._output @ (slope[part] * step[part]))

    def normal(self, slope: Array, unit: int) -> Array:
        """The gradient of z_unit."""
        layer = int(np.searchsorted(self._starts, unit, side="right")) - 1
        row = self._weights[layer][unit - self._starts[layer]]
        for i in range(layer - 1, -1, -1):
            row = (slope[self._layer(i)] * row) @ self._weights[i]
        return np.array(row)

    def adjoint(self, slope: Array, injected: Array | None = None) -> tuple[Array, Array]:
        """Derivatives of the value by the outputs of all units and by x.

        With ``injected`` (n_units,) the value is replaced by ``value + injected . z``.
        """
        outputs, row = np.empty(self.n_units), self._output
        for i in range(len(self._weights) - 1, -1, -1):
            part = self._layer(i)
            outputs[part] = row
            inner = slope[part] * row
            if injected is not None:
                inner = inner + injected[part]
            row = inner @ self._weights[i]
        return outputs, np.array(row)

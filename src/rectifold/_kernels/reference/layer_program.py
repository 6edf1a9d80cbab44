"""One layer of a network as the variable of its L1 loss: the numpy twin of ``layer_program.hpp``.

Samples that agree below the layer form a *block* ``u_b = (h_b, 1)``. Units are numbered level by level, within a level
unit by unit and within a unit block by block: the layer, the frozen layers above it, one absolute value per sample.
(Hinz and van de Geer 2021.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["LayerProgram"]

Array = NDArray[np.float64]

_NOISE = 1e-6  # slopes below the walk's tolerance times this part of all terms of the gradient are rounding


class LayerProgram:
    """``f(theta) = sum_i weight_i |output . h_L + offset - target_i|``.

    Parameters
    ----------
    inputs : (n_blocks, m) float64 array
        Rows u_b, the constant 1 last; ``z = theta_k . u_b + bias_kb`` in the layer.
    bias : (width, n_blocks) float64 array
    weights, biases : sequences of float64 arrays
        The frozen hidden layers above.
    lo, hi : float64 arrays
        Slopes of the layer's units and of those above, once for all blocks.
    output : float64 array
    offset : float
    starts : (n_blocks + 1,) int64 array
        The samples of each block, which stand together.
    targets, sample_weights : (n_samples,) float64 arrays
    """

    def __init__(
        self,
        inputs: Array,
        bias: Array,
        weights: Sequence[Array],
        biases: Sequence[Array],
        lo: Array,
        hi: Array,
        output: Array,
        offset: float,
        starts: NDArray[np.int64],
        targets: Array,
        sample_weights: Array,
    ) -> None:
        self._inputs, self._bias = inputs, bias
        self._weights, self._biases = list(weights), list(biases)
        self._output, self._offset, self._targets = output, float(offset), targets
        blocks, self._width = len(inputs), len(bias)
        widths = [self._width, *(len(b) for b in biases)]
        self.n = self._width * inputs.shape[1]
        self._block_of = np.repeat(np.arange(blocks), np.diff(starts))
        self._starts = np.concatenate([[0], np.cumsum(np.array(widths) * blocks)]).astype(int)
        self._residual = int(self._starts[-1])
        self.n_units = self._residual + len(targets)
        self._shapes = [(width, blocks) for width in widths]
        self.lo = np.concatenate([np.repeat(lo, blocks), -sample_weights])
        self.hi = np.concatenate([np.repeat(hi, blocks), sample_weights])
        sizes = [np.tile(np.linalg.norm(inputs, axis=1), self._width)]
        sizes += [np.repeat(np.linalg.norm(weight, axis=1), blocks) for weight in weights]
        self.scale = np.concatenate([*sizes, np.full(len(targets), np.linalg.norm(output))])

        self.least_gradient = _NOISE * self._gradient_terms(sample_weights)

    def _gradient_terms(self, sample_weights: Array) -> float:
        """A bound of the terms that make up any gradient."""
        steepest = np.maximum(np.abs(self.lo), np.abs(self.hi))
        rows = np.abs(self._output)
        for i in range(len(self._shapes) - 1, -1, -1):
            rows = self._level(i, steepest)[:, 0] * rows
            if i > 0:
                rows = np.abs(self._weights[i - 1]).T @ rows
        size = np.linalg.norm(self._inputs, axis=1)[self._block_of]
        return float(sample_weights @ size * np.linalg.norm(rows))

    def _level(self, i: int, values: Array) -> Array:
        """The entries of a level, shape (width, n_blocks)."""
        return values[self._starts[i] : self._starts[i + 1]].reshape(self._shapes[i])

    def _first(self, x: Array) -> Array:
        return x.reshape(self._width, -1) @ self._inputs.T

    def signs(self, x: Array) -> NDArray[np.bool_]:
        """Which units are on at x: those with z > 0."""
        parts, z = [], self._first(x) + self._bias
        for i in range(len(self._shapes)):
            parts.append((z > 0.0).ravel())
            hidden = np.where(z > 0.0, self._level(i, self.hi), self._level(i, self.lo)) * z
            if i < len(self._weights):
                z = self._weights[i] @ hidden + self._biases[i][:, None]
            else:
                fits = self._output @ hidden + self._offset
        return np.concatenate([*parts, fits[self._block_of] > self._targets])

    def typical_sizes(self, reach: float) -> Array:
        """The sizes that z have by and large where the parameters are as large as ``reach``."""
        sizes, below = np.empty(self.n_units), reach
        steepest = np.maximum(np.abs(self.lo), np.abs(self.hi))
        for i in range(len(self._shapes)):
            part = slice(self._starts[i], self._starts[i + 1])
            bias = self._bias if i == 0 else np.broadcast_to(self._biases[i - 1][:, None], self._shapes[i])
            sizes[part] = self.scale[part] * below + np.abs(bias).ravel()
            below = float(np.sqrt(np.mean((steepest[part] * sizes[part]) ** 2)))
        sizes[self._residual :] = self.scale[self._residual :] * below + np.abs(self._offset - self._targets)
        return sizes

    def _pass(self, slope: Array, x: Array, affine: float) -> Array:
        z = np.empty(self.n_units)
        self._level(0, z)[:] = self._first(x) + affine * self._bias
        for i, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            hidden = self._level(i, slope) * self._level(i, z)
            self._level(i + 1, z)[:] = weight @ hidden + affine * bias[:, None]
        last = len(self._weights)
        fits = self._output @ (self._level(last, slope) * self._level(last, z)) + affine * self._offset
        z[self._residual :] = fits[self._block_of] - affine * self._targets
        return z

    def preactivations(self, slope: Array, x: Array) -> tuple[Array, float]:
        """All z, and the value."""
        z = self._pass(slope, x, 1.0)
        return z, self.value(slope, z, x)

    def value(self, slope: Array, z: Array, x: Array) -> float:
        """The value where all z are known."""
        return float(slope[self._residual :] @ z[self._residual :])

    def directions(self, slope: Array, v: Array) -> tuple[Array, float]:
        """Derivatives along v of all z, and of the value."""
        beta = self._pass(slope, v, 0.0)
        return beta, self.value(slope, beta, v)

    def bump(self, slope: Array, unit: int, change: float) -> tuple[NDArray[np.intp], Array, float]:
        """What a change of one unit's output adds: the deeper units that move, by how much, and that of the value."""
        if unit >= self._residual:
            return np.zeros(0, np.intp), np.zeros(0), change
        level, k, b = self._place(unit)
        step = np.zeros(self.n_units)
        moved = np.zeros(self._shapes[level][0])
        moved[k] = change
        for i in range(level + 1, len(self._shapes)):
            z = self._weights[i - 1] @ moved
            self._level(i, step)[:, b] = z
            moved = self._level(i, slope)[:, b] * z
        step[self._residual :][self._block_of == b] = self._output @ moved
        index = np.flatnonzero(step)
        return index, step[index], self.value(slope, step, step)

    def _place(self, unit: int) -> tuple[int, int, int]:
        """Level, unit within it, and block."""
        if unit >= self._residual:
            return len(self._shapes), 0, int(self._block_of[unit - self._residual])
        level = int(np.searchsorted(self._starts, unit, side="right")) - 1
        k, b = divmod(unit - int(self._starts[level]), len(self._inputs))
        return level, k, b

    def normal(self, slope: Array, unit: int) -> Array:
        """The gradient of z_unit."""
        level, k, b = self._place(unit)
        if level == 0:
            row = np.eye(self._width)[k]
        else:
            row = self._output if level == len(self._shapes) else self._weights[level - 1][k]
            for i in range(level - 1, 0, -1):
                row = (self._level(i, slope)[:, b] * row) @ self._weights[i - 1]
            row = self._level(0, slope)[:, b] * row
        return np.outer(row, self._inputs[b]).ravel()

    def adjoint(self, slope: Array, injected: Array | None = None) -> tuple[Array, Array]:
        """Derivatives of the value by the outputs of all units and by x.

        With ``injected`` (n_units,) the value is replaced by ``value + injected . z``.
        """
        extra = np.zeros(self.n_units) if injected is None else injected
        outputs = np.ones(self.n_units)
        by_sample = (slope + extra)[self._residual :]
        fits = np.bincount(self._block_of, weights=by_sample, minlength=len(self._inputs))
        rows = np.outer(self._output, fits)
        for i in range(len(self._shapes) - 1, -1, -1):
            self._level(i, outputs)[:] = rows
            inner = self._level(i, slope) * rows + self._level(i, extra)
            rows = self._weights[i - 1].T @ inner if i > 0 else inner
        return outputs, np.asarray((rows @ self._inputs).ravel())

"""The directional derivative of the L1 loss in the weights of one layer, at a degenerate vertex."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from rectifold.core.layer_l1 import LayerData
from rectifold.programs.degenerate import Decision, DirectionalProgram, Outcome

__all__ = ["LayerDirections"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_BINARIES = 200
_NUMBERS = 1 << 22  # held at once while directions are tried
_ALL = slice(None)
_STARTS, _STEPS, _DECAY = (8, 64), 20, 0.8


class LayerDirections(DirectionalProgram):
    """``f'(theta; .)`` for the loss of a `LayerData`, in which only the kinks at zero are not linear.

    Parameters
    ----------
    data : LayerData
    theta : ndarray, shape (p,)
    critical : ndarray of int64
        Kinks at zero, numbered as in the walk: level by level, unit by unit, block by block, then residuals.
    size : float
        The size of gradients to compare slopes with.
    held : ndarray, shape (q, p)
        Directions along which nothing changes.
    """

    def __init__(self, data: LayerData, theta: Array, critical: Ints, size: float, held: Array) -> None:
        super().__init__(size, np.zeros((0, data.n_parameters)), held, _MAX_BINARIES)
        self._data, self._indices = data, np.sort(critical)
        blocks = len(data.inputs)
        stops = np.cumsum([0, *(width * blocks for width in data.widths)])
        flags = np.zeros(stops[-1] + len(data.targets), bool)
        flags[critical] = True
        self._critical = [flags[a:b].reshape(-1, blocks) for a, b in itertools.pairwise(stops)]
        self._critical.append(flags[stops[-1] :])
        self._stops = stops
        levels = data.preactivations(theta)
        self._slopes = [
            np.where((z > 0.0) & ~at_zero, hi[:, None], lo[:, None])
            for z, at_zero, (lo, hi) in zip(levels, self._critical, data.slopes, strict=False)
        ]
        on = (data.residuals(levels) > 0.0) & ~self._critical[-1]
        self._slopes.append(np.where(on, data.weights, -data.weights))

    def derivatives(self, U: Array) -> Array:
        """``f'(theta; u)`` for the rows u of U, shape (m,)."""
        step = max(1, _NUMBERS // (max(self._data.widths) * len(self._data.inputs)))
        parts = [self._passes(U[i : i + step])[0] for i in range(0, len(U), step)]
        return np.concatenate([*parts, np.zeros(0)])

    def _matrix(self, level: int, units: slice) -> Array:
        """Weights of a level by the level below, of the layer's own units some only; the output's last."""
        matrix = self._data.output[0][None] if level == len(self._data.widths) else self._data.above[level - 1][0]
        return matrix[:, units] if level == 1 else matrix

    def _passes(self, U: Array, units: slice = _ALL) -> tuple[Array, list[Array]]:
        """Derivatives along rows of U, which hold some units' weights only, and the slopes in force, level by level."""
        data, part = self._data, units
        slopes: list[Array] = []
        beta = U.reshape(len(U), -1, data.inputs.shape[1]) @ data.inputs.T
        for level, (lo, hi) in enumerate(data.slopes):
            if level > 0:
                beta, part = self._matrix(level, units) @ (slopes[-1] * beta), _ALL
            free = np.where(beta > 0.0, hi[part, None], lo[part, None])
            slopes.append(np.where(self._critical[level][part], free, self._slopes[level][part]))
        rates = (self._matrix(len(data.widths), units) @ (slopes[-1] * beta))[:, 0, data.block_of]
        slopes.append(np.where(self._critical[-1] & (rates > 0.0), data.weights, self._slopes[-1]))
        return np.asarray((slopes[-1] * rates).sum(axis=1)), slopes

    def _pulled_back(self, slopes: list[Array], units: slice = _ALL) -> Array:
        """The gradient of the loss by some units' weights, or rows of gradients, where these slopes are in force."""
        data = self._data
        rows = np.add.reduceat(slopes[-1], data.starts[:-1], axis=-1)[..., None, :]
        for level in range(len(data.widths), 0, -1):
            rows = slopes[level - 1] * (self._matrix(level, units).T @ rows)
        gradients = rows @ data.inputs
        return np.asarray(gradients.reshape(*gradients.shape[:-2], -1))

    def decide(self, candidates: Array, rng: np.random.Generator, max_nodes: int, time_limit: float | None) -> Decision:
        """Try candidates and changes of crowded units alone before everything that `DirectionalProgram.decide` does."""
        direction = self.steepest(np.concatenate([candidates, -candidates]))
        if direction is None:
            direction = self._along_one_unit(rng)
        if direction is not None:
            return Decision(Outcome.FALLS, direction, -np.inf, 0)
        return super().decide(np.zeros((0, self.n_inputs)), rng, max_nodes, time_limit)

    def _along_one_unit(self, rng: np.random.Generator) -> Array | None:
        """A direction that falls and changes one unit with more kinks at zero than it has weights, if one is found.

        From random starts it goes down the directional derivative by steps that shrink, a few starts first.
        """
        m = self._data.inputs.shape[1]
        for count in _STARTS:
            for unit in np.flatnonzero(self._critical[0].sum(axis=1) > m):
                V = rng.standard_normal((count, m))
                own = slice(unit, unit + 1)
                for step in _DECAY ** np.arange(_STEPS):
                    V = _normalised(V)
                    slopes, in_force = self._passes(V, own)
                    direction = np.zeros((self._data.width, m))
                    direction[unit] = V[np.argmin(slopes)]
                    found = self.steepest(direction.reshape(1, -1)) if slopes.min() < 0.0 else None
                    if found is not None:
                        return found
                    V = V - step * _normalised(self._pulled_back(in_force, own))
        return None

    def linear_parts(self) -> tuple[Array, Array, Array, Array]:
        """See `DirectionalProgram.linear_parts`."""
        data, index, blocks = self._data, self._indices, len(self._data.inputs)
        level_of = np.searchsorted(self._stops, index, side="right") - 1
        block_of = np.where(level_of < len(data.widths), (index - self._stops[level_of]) % blocks, 0)
        last = level_of == len(data.widths)
        block_of[last] = data.block_of[index[last] - self._stops[-1]]
        rows = np.zeros((len(index), data.n_parameters))
        response = np.zeros((len(index), len(index)))
        weights = np.zeros(len(index))
        for b in np.unique(block_of):
            members = np.flatnonzero(block_of == b)
            units = [(int(level_of[i]), int(index[i] - self._stops[level_of[i]])) for i in members]
            coefficients, within, weights[members] = self._block_parts(int(b), units)
            rows[members] = (coefficients[:, :, None] * data.inputs[b]).reshape(len(members), -1)
            response[np.ix_(members, members)] = within
        return rows, response, weights, self._pulled_back(self._slopes)

    def _block_parts(self, b: int, units: list[tuple[int, int]]) -> tuple[Array, Array, Array]:
        """Of critical units of one block: derivatives of z by the layer's z and by each other's h, and of f by h."""
        data, count = self._data, len(units)
        by_layer, by_unit = np.eye(data.width), np.zeros((data.width, count))
        coefficients, response = np.zeros((count, data.width)), np.zeros((count, count))
        for level in range(len(data.widths)):
            if level > 0:
                matrix = data.above[level - 1][0]
                by_layer, by_unit = matrix @ by_layer, matrix @ by_unit
            slope = self._slopes[level][:, b, None]
            here = [(j, unit // len(data.inputs)) for j, (at, unit) in enumerate(units) if at == level]
            for j, unit in here:
                coefficients[j], response[j] = by_layer[unit], by_unit[unit]
            by_layer, by_unit = slope * by_layer, slope * by_unit
            for j, unit in here:
                by_unit[unit, j] += 1.0
        residuals = [j for j, (at, _) in enumerate(units) if at == len(data.widths)]
        fit = data.output[0] @ by_unit
        coefficients[residuals], response[residuals] = data.output[0] @ by_layer, fit
        weights = self._slopes[-1][data.starts[b] : data.starts[b + 1]].sum() * fit
        weights[residuals] = 1.0
        return coefficients, response, weights

    @property
    def jumps(self) -> Array:
        """``hi - lo`` of the critical units."""
        data, blocks = self._data, len(self._data.inputs)
        parts = [np.repeat(hi - lo, blocks) for lo, hi in data.slopes]
        return np.concatenate([*parts, 2.0 * data.weights])[self._indices]


def _normalised(V: Array) -> Array:
    length = np.linalg.norm(V, axis=1, keepdims=True)
    return np.asarray(V / np.where(length > 0.0, length, 1.0))

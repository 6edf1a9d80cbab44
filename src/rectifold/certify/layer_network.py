"""The L1 loss near the weights of one layer: what certificates of layer training are checked against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.core.layer_l1 import LayerData

__all__ = ["LayerNeighbourhood", "kinks_of"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_NUMBERS = 1 << 22


class LayerNeighbourhood:
    """Kinks of the loss near weights of a layer, with the named ones off.

    Kinks are numbered level by level (the layer, the hidden layers above, the residuals), unit by unit, block by block.

    Parameters
    ----------
    data : LayerData
        Of the network at the point.
    named : ndarray of int64
        Numbers of kinks.
    """

    def __init__(self, data: LayerData, named: Ints) -> None:
        self._data = data
        self._blocks = len(data.inputs)
        sizes = [width * self._blocks for width in data.widths]
        self._stops = np.cumsum([0, *sizes, len(data.targets)])
        critical = np.zeros(self._stops[-1], bool)
        critical[named] = True
        self._slopes: list[Array] = []
        self._z: list[Array] = []
        self.lo = np.concatenate([*(np.repeat(lo, self._blocks) for lo, _ in data.slopes), -data.weights])
        self.hi = np.concatenate([*(np.repeat(hi, self._blocks) for _, hi in data.slopes), data.weights])
        hidden = data.inputs.T
        for level in range(len(data.widths)):
            z = self._weight(level) @ hidden
            if level > 0:
                z = z + data.above[level - 1][1][:, None]
            self._append(level, z, critical)
            hidden = self._slopes[-1] * z
        residuals = (data.output[0] @ hidden + data.output[1])[data.block_of] - data.targets
        self._append(len(data.widths), residuals, critical)
        self.loss = float(data.weights @ np.abs(residuals))
        self.loss_terms = self._loss_terms(hidden)

    def _append(self, level: int, z: Array, critical: Mask) -> None:
        part = slice(self._stops[level], self._stops[level + 1])
        lo, hi, off = self.lo[part], self.hi[part], critical[part]
        self._slopes.append(np.where((z.ravel() > 0.0) & ~off, hi, lo).reshape(z.shape))
        self._z.append(z)

    def _weight(self, level: int) -> Array:
        """The weights of a level by units of the one below, the output's last; of the layer itself its parameters."""
        if level == 0:
            return self._data.parameters().reshape(self._data.width, -1)
        return self._data.output[0][None] if level == len(self._data.widths) else self._data.above[level - 1][0]

    def _loss_terms(self, hidden: Array) -> float:
        """The sum of all terms that make up the residuals: rounding errors are a small part of it."""
        weight, bias = self._data.output
        fits = np.abs(weight) @ np.abs(hidden) + abs(bias)
        return float(self._data.weights @ (fits[self._data.block_of] + np.abs(self._data.targets)))

    def distances(self) -> Array:
        """Distance of each kink's hyperplane in the weights, by the region's own gradients; infinite without a kink."""
        data, found = self._data, []
        size = np.linalg.norm(data.inputs, axis=1)
        step = max(1, _NUMBERS // (max(data.widths) * data.width))
        for level, z in enumerate(self._z):
            lengths = np.concatenate(
                [self._rows(level, slice(b, b + step)) for b in range(0, self._blocks, step)], axis=1
            )
            lengths = lengths * size
            if level == len(data.widths):
                lengths = lengths[0, data.block_of]
            flat = np.abs(z).ravel()
            distance = np.divide(flat, lengths.ravel(), out=np.full(len(flat), np.inf), where=lengths.ravel() > 0.0)
            distance[(lengths.ravel() == 0.0) & (flat == 0.0)] = 0.0
            found.append(distance)
        distances = np.concatenate(found)
        distances[self.lo == self.hi] = np.inf
        return np.asarray(distances)

    def _rows(self, level: int, blocks: slice) -> Array:
        """Lengths of the gradients of a level's units by the layer's z, shape (width, blocks)."""
        width = self._data.width
        rows = np.broadcast_to(np.eye(width)[:, :, None], (width, width, len(range(self._blocks)[blocks])))
        for below in range(level):
            rows = np.tensordot(self._weight(below + 1), self._slopes[below][:, None, blocks] * rows, axes=1)
        return np.asarray(np.linalg.norm(rows, axis=1))

    def changes(self, v: Array) -> float:
        """The largest change along v of a kinked unit or a residual, as a part of the terms it is made of.

        Where it is zero, everything above is linear in v, so that it is zero for steps of any length.
        """
        data, worst = self._data, 0.0
        hidden = sizes = np.zeros(0)
        z = v.reshape(data.width, -1) @ data.inputs.T
        terms = np.linalg.norm(v) * np.broadcast_to(np.linalg.norm(data.inputs, axis=1), z.shape)
        for level in range(len(data.widths) + 1):
            if level > 0:
                z, terms = self._weight(level) @ hidden, np.abs(self._weight(level)) @ sizes
            kinked = np.ones(1, bool)
            if level < len(data.widths):
                lo, hi = data.slopes[level]
                kinked, hidden, sizes = lo != hi, lo[:, None] * z, np.abs(lo)[:, None] * terms
                hidden[kinked] = 0.0
            share = np.divide(np.abs(z), terms, out=np.zeros_like(z), where=terms > 0.0)
            worst = max(worst, float(share[kinked].max(initial=0.0)))
        return worst

    def gradient(self) -> Array:
        """Of the loss, shape (p,)."""
        data = self._data
        rows = np.outer(data.output[0], np.bincount(data.block_of, weights=self._slopes[-1], minlength=self._blocks))
        for level in range(len(data.widths) - 1, -1, -1):
            rows = self._slopes[level] * rows
            if level > 0:
                rows = self._weight(level).T @ rows
        return np.asarray((rows @ data.inputs).ravel())

    def gradient_terms(self) -> float:
        """The size of the terms that cancel in the gradient."""
        data = self._data
        rows = np.outer(np.abs(data.output[0]), np.bincount(data.block_of, weights=data.weights))
        for level in range(len(data.widths) - 1, -1, -1):
            rows = np.abs(self._slopes[level]) * rows
            if level > 0:
                rows = np.abs(self._weight(level)).T @ rows
        return float(np.linalg.norm(rows @ np.linalg.norm(data.inputs, axis=1)))

    def normals(self, kinks: Ints) -> Array:
        """Gradients of z, shape (c, p)."""
        rows = np.empty((len(kinks), self._data.width, self._data.inputs.shape[1]))
        for i, kink in enumerate(kinks):
            level, unit, b = self._place(int(kink))
            row = np.eye(self._data.width)[unit] if level == 0 else self._weight(level)[unit]
            for below in range(level - 1, -1, -1):
                row = self._slopes[below][:, b] * row
                if below > 0:
                    row = row @ self._weight(below)
            rows[i] = np.outer(row, self._data.inputs[b])
        return rows.reshape(len(kinks), -1)

    def responses(self, kinks: Ints) -> tuple[Array, Array]:
        """Entry (i, j): how z of kink i answers to the output of kink j; and how the loss does, shape (c,)."""
        places = [self._place(int(kink)) for kink in kinks]
        answer, loss = np.zeros((len(kinks), len(kinks))), np.empty(len(kinks))
        members: dict[int, list[int]] = {}
        for i, (_, _, b) in enumerate(places):
            members.setdefault(b, []).append(i)
        for j, (level, unit, b) in enumerate(places):
            if level == len(self._data.widths):
                loss[j] = 1.0
                continue
            moved = np.zeros(self._data.widths[level])
            moved[unit] = 1.0
            for deeper in range(level + 1, len(self._data.widths) + 1):
                step = self._weight(deeper) @ moved
                for i in members[b]:
                    if places[i][0] == deeper:
                        answer[i, j] = step[places[i][1]]
                if deeper < len(self._data.widths):
                    moved = self._slopes[deeper][:, b] * step
            loss[j] = step[0] * self._slopes[-1][self._data.starts[b] : self._data.starts[b + 1]].sum()
        return answer, loss

    def _place(self, kink: int) -> tuple[int, int, int]:
        """Level, unit within it (0 for a residual), and block."""
        level = int(np.searchsorted(self._stops, kink, side="right")) - 1
        local = kink - int(self._stops[level])
        if level == len(self._data.widths):
            return level, 0, int(self._data.block_of[local])
        return level, *divmod(local, self._blocks)


def kinks_of(data: LayerData, units: Ints, samples: Ints) -> Ints:
    """Numbers of kinks given as (unit, sample), where a unit too many is the residual; -1 for samples left out."""
    merged, blocks, n_units = data.merged(samples), len(data.inputs), sum(data.widths)
    kinks = np.where(units < n_units, units * blocks + data.block_of[merged], n_units * blocks + merged)
    return np.where(merged >= 0, kinks, -1)

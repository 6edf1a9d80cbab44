"""Folding a graph of affine maps and activations, branches and residual links included, into one `ReLUNetwork`.

Every value inside a foreign model is an affine function of blocks of hidden units (block 0 is the input). Importers do
arithmetic on such `Signal` s; `Circuit.network` then puts each block on the level its dependences force and carries
values that skip levels through linear pass-through units (lo == hi == 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.errors import UnsupportedNetworkError
from rectifold.core.network import ReLUNetwork

__all__ = ["Circuit", "Signal", "affine", "concatenate"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

MAX_ENTRIES = 2**28
"""Largest dense matrix (2 GiB) that folding may create."""


@dataclass(frozen=True, eq=False)
class Signal:
    """An array of affine functions of blocks of units.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array in the foreign model; rows below follow its C order.
    terms : mapping of block number to matrix (size, block size), or to None for the identity
    offset : ndarray of float64, shape (size,)
    """

    shape: tuple[int, ...]
    terms: Mapping[int, Array | None]
    offset: Array

    @classmethod
    def constant(cls, value: ArrayLike) -> Signal:
        """Return a signal that depends on nothing."""
        array = np.asarray(value, dtype=np.float64)
        return cls(array.shape, {}, array.ravel())

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(self.offset.shape[0])

    def linear(self, matrix: Array, shape: tuple[int, ...]) -> Signal:
        """Return ``matrix @ self`` (self flattened), arranged in ``shape``."""
        terms = {block: matrix if term is None else matrix @ term for block, term in self.terms.items()}
        return Signal(shape, terms, matrix @ self.offset)

    def pick(self, index: Index) -> Signal:
        """Return the entries at flat positions ``index``, arranged in its shape; they may repeat."""
        flat = index.ravel()
        if np.array_equal(flat, np.arange(self.size)):
            return Signal(index.shape, self.terms, self.offset)
        size = self.size
        terms = {block: (_identity(size) if term is None else term)[flat] for block, term in self.terms.items()}
        return Signal(index.shape, terms, self.offset[flat])

    def broadcast(self, shape: tuple[int, ...]) -> Signal:
        """Return the signal repeated to ``shape`` by numpy's rules."""
        return self.pick(np.broadcast_to(np.arange(self.size).reshape(self.shape), shape))

    def scale(self, factor: ArrayLike) -> Signal:
        """Return the entrywise product with a constant array, broadcast."""
        array = np.asarray(factor, dtype=np.float64)
        shape = np.broadcast_shapes(self.shape, array.shape)
        wide, flat = self.broadcast(shape), np.broadcast_to(array, shape).ravel()
        terms = {block: np.diag(flat) if term is None else flat[:, None] * term for block, term in wide.terms.items()}
        return Signal(shape, terms, flat * wide.offset)

    def __add__(self, other: Signal) -> Signal:
        """Return the entrywise sum, broadcast."""
        shape = np.broadcast_shapes(self.shape, other.shape)
        left, right = self.broadcast(shape), other.broadcast(shape)
        terms = dict(left.terms)
        for block, term in right.terms.items():
            terms[block] = _dense(terms[block], left.size) + _dense(term, left.size) if block in terms else term
        return Signal(shape, terms, left.offset + right.offset)


def concatenate(signals: Sequence[Signal]) -> Signal:
    """Return one flat signal with the entries of all, in order."""
    if len(signals) == 1:
        return Signal((signals[0].size,), signals[0].terms, signals[0].offset)
    widths: dict[int, int] = {}
    for signal in signals:
        for block, term in signal.terms.items():
            widths[block] = signal.size if term is None else term.shape[1]
    terms: dict[int, Array | None] = {}
    for block, width in widths.items():
        parts = [
            _dense(signal.terms[block], signal.size) if block in signal.terms else np.zeros((signal.size, width))
            for signal in signals
        ]
        terms[block] = np.concatenate(parts)
    offset = np.concatenate([signal.offset for signal in signals])
    return Signal(offset.shape, terms, offset)


@dataclass(frozen=True, eq=False)
class _Block:
    """Hidden units: what they read, and their slopes, shape (size,)."""

    reads: Signal
    lo: Array
    hi: Array


class Circuit:
    """The blocks of units met so far while a foreign model is walked through.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one input point in the foreign model.
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self._n_inputs = math.prod(input_shape)
        self._blocks: dict[int, _Block] = {}
        self.input = Signal(input_shape, {0: None}, np.zeros(self._n_inputs))

    def activate(self, signal: Signal, lo: ArrayLike, hi: ArrayLike) -> Signal:
        """Return the output of new units with slopes ``lo``, ``hi`` (broadcast to the signal's shape)."""
        block = len(self._blocks) + 1
        sides = (np.broadcast_to(np.asarray(side, dtype=np.float64), signal.shape).ravel() for side in (lo, hi))
        self._blocks[block] = _Block(signal, *sides)
        return Signal(signal.shape, {block: None}, np.zeros(signal.size))

    def apply(self, network: ReLUNetwork, signal: Signal) -> Signal:
        """Return the output of a whole network at a signal of ``network.n_inputs`` entries."""
        for weight, bias, (lo, hi) in zip(network.weights, network.biases, network.slopes, strict=False):
            signal = self.activate(affine(signal, weight, bias), lo, hi)
        return affine(signal, network.weights[-1], network.biases[-1])

    def network(self, output: Signal) -> ReLUNetwork:
        """Return the layered network that computes ``output`` (flattened) from the input."""
        levels = self._levels(output)
        layout = self._layout(output, levels)
        weights, biases, slopes = [], [], []
        for level in range(1, len(layout)):
            columns, width = self._columns(layout[level - 1])
            blocks = [self._block_at(block, levels[block] == level) for block in layout[level]]
            weight, bias = _assemble(concatenate([block.reads for block in blocks]), columns, width)
            weights.append(weight)
            biases.append(bias)
            slopes.append((np.concatenate([b.lo for b in blocks]), np.concatenate([b.hi for b in blocks])))
        weight, bias = _assemble(output, *self._columns(layout[-1]))
        return ReLUNetwork([*weights, weight], [*biases, bias], slopes)

    def _size(self, block: int) -> int:
        return self._blocks[block].reads.size if block else self._n_inputs

    def _levels(self, output: Signal) -> dict[int, int]:
        """Return the layer of every block that the output depends on; the input is at 0."""
        needed = {0, *output.terms}
        for block in sorted(self._blocks, reverse=True):
            if block in needed:
                needed.update(self._blocks[block].reads.terms)
        levels = {0: 0}
        for block in sorted(needed - {0}):
            levels[block] = 1 + max((levels[read] for read in self._blocks[block].reads.terms), default=0)
        return levels

    def _layout(self, output: Signal, levels: dict[int, int]) -> list[list[int]]:
        """Return the blocks present on each level: those computed there, then those carried on for later readers."""
        top = max(levels.values())
        last_read = dict(levels)
        for block in levels:
            for read in self._blocks[block].reads.terms if block else ():
                last_read[read] = max(last_read[read], levels[block] - 1)
        for read in output.terms:
            last_read[read] = top
        layout = []
        for level in range(top + 1):
            own = [block for block in levels if levels[block] == level]
            carried = [block for block in levels if levels[block] < level <= last_read[block]]
            layout.append(own + carried)
        return layout

    def _columns(self, blocks: list[int]) -> tuple[dict[int, int], int]:
        """Return where each block starts within its layer, and the layer's width."""
        starts, width = {}, 0
        for block in blocks:
            starts[block] = width
            width += self._size(block)
        return starts, width

    def _block_at(self, block: int, own: bool) -> _Block:
        """Return the block itself on its own level, and linear pass-through units for it on later ones."""
        if own:
            return self._blocks[block]
        size = self._size(block)
        ones = np.ones(size)
        return _Block(Signal((size,), {block: None}, np.zeros(size)), ones, ones)


def affine(signal: Signal, matrix: Array, offset: Array) -> Signal:
    """Return ``matrix @ signal + offset`` as a flat signal."""
    if matrix.shape[1] != signal.size:
        raise UnsupportedNetworkError(f"a layer expects {matrix.shape[1]} values, but is given {signal.size}")
    return signal.linear(matrix, (matrix.shape[0],)) + Signal.constant(offset)


def _assemble(signal: Signal, columns: dict[int, int], width: int) -> tuple[Array, Array]:
    """Return the weight matrix and bias with which a layer reads ``signal`` from the layer below."""
    _check_entries(signal.size * width)
    weight = np.zeros((signal.size, width))
    for block, term in signal.terms.items():
        matrix = _dense(term, signal.size)
        weight[:, columns[block] : columns[block] + matrix.shape[1]] = matrix
    return weight, signal.offset


def _identity(size: int) -> Array:
    """Return an identity matrix, unless it is too large to hold."""
    _check_entries(size * size)
    return np.eye(size)


def _dense(term: Array | None, size: int) -> Array:
    return _identity(size) if term is None else term


def _check_entries(entries: int) -> None:
    if entries > MAX_ENTRIES:
        raise UnsupportedNetworkError(f"this needs a dense matrix of {entries} entries; the limit is {MAX_ENTRIES}")

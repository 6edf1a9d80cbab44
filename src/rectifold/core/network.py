"""The network type: fully connected layers with two-slope units and an affine last layer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_float_array, as_points, read_only
from rectifold.core.errors import ProblemError

__all__ = ["AffineMap", "ReLUNetwork"]

Array = NDArray[np.float64]
Slopes = tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class AffineMap:
    """The map ``x -> matrix @ x + offset``.

    Attributes
    ----------
    matrix : ndarray of float64, shape (n_outputs, n_inputs), read-only
    offset : ndarray of float64, shape (n_outputs,), read-only
    """

    matrix: Array
    offset: Array

    def __post_init__(self) -> None:
        matrix = as_float_array(self.matrix, "matrix", ndim=2)
        offset = as_float_array(self.offset, "offset", ndim=1)
        if offset.shape[0] != matrix.shape[0]:
            raise ProblemError(f"offset has shape {offset.shape}, but matrix has {matrix.shape[0]} rows")
        object.__setattr__(self, "matrix", read_only(matrix))
        object.__setattr__(self, "offset", read_only(offset))

    def __call__(self, X: ArrayLike) -> Array:
        """Evaluate at points (n_samples, n_inputs), giving (n_samples, n_outputs), or at one point (n_inputs,)."""
        points, single = as_points(X, self.matrix.shape[1])
        values: Array = points @ self.matrix.T + self.offset
        return values[0] if single else values

    def __reduce__(self) -> tuple[Any, ...]:
        return AffineMap, (self.matrix, self.offset)


class ReLUNetwork:
    """A feed-forward piecewise-affine network in float64, immutable.

    Layer ``l`` computes ``z_l = W_l h_{l-1} + b_l`` and, except for the last, ``h_l = hi * z_l`` where ``z_l > 0`` and
    ``lo * z_l`` elsewhere. A unit with ``lo == hi`` is a linear pass-through: it has no kink, so it has no bit in
    patterns and does not count as a neuron.

    Parameters
    ----------
    weights : sequence of array_like, ``weights[l]`` of shape (n_l, n_{l-1})
        One matrix gives an affine map; a hidden width of 0 gives a constant.
    biases : sequence of array_like, ``biases[l]`` of shape (n_l,)
    slopes : sequence of (lo, hi), optional
        One pair per hidden layer, each a scalar or an array of shape (n_l,); ReLU, ``(0, 1)``, if left out.

    Raises
    ------
    ProblemError
        If shapes do not chain or a number is not finite.

    Notes
    -----
    Two networks are ``==`` only if they are the same object, and hash accordingly: equality of contents is equality of
    `digest`, equality of functions is a question for a solver. Copies of a network are the network itself.
    """

    __slots__ = ("__weakref__", "_biases", "_kinked", "_slopes", "_weights")

    def __init__(
        self,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        slopes: Sequence[tuple[ArrayLike, ArrayLike]] | None = None,
    ) -> None:
        self._weights, self._biases = _check_layers(_as_list(weights, "weights"), _as_list(biases, "biases"))
        hidden = [bias.shape[0] for bias in self._biases[:-1]]
        pairs: list[Any] = [(0.0, 1.0)] * len(hidden) if slopes is None else _as_list(slopes, "slopes")
        self._slopes = _check_slopes(pairs, hidden)
        self._kinked = tuple(read_only(lo != hi) for lo, hi in self._slopes)

    @property
    def weights(self) -> tuple[Array, ...]:
        """Read-only weight matrices, the last layer's included; ``weights[l]`` has shape (n_l, n_{l-1})."""
        return self._weights

    @property
    def biases(self) -> tuple[Array, ...]:
        """Read-only bias vectors, the last layer's included; ``biases[l]`` has shape (n_l,)."""
        return self._biases

    @property
    def slopes(self) -> tuple[Slopes, ...]:
        """Read-only pairs (lo, hi) of arrays of shape (n_l,), one pair per hidden layer."""
        return self._slopes

    @property
    def kinked(self) -> tuple[NDArray[np.bool_], ...]:
        """Per hidden layer a mask of shape (n_l,): True where the unit has a kink, and so a bit in patterns."""
        return self._kinked

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return int(self._weights[0].shape[1])

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return int(self._weights[-1].shape[0])

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of units in each hidden layer, linear pass-through units included."""
        return tuple(int(bias.shape[0]) for bias in self._biases[:-1])

    @property
    def n_neurons(self) -> int:
        """Number of hidden units with a kink: the length of an activation pattern."""
        return int(sum(np.count_nonzero(mask) for mask in self._kinked))

    def __call__(self, X: ArrayLike) -> Array:
        """Evaluate the network.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_inputs) or (n_inputs,)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_outputs) or (n_outputs,)
        """
        points, single = as_points(X, self.n_inputs)
        hidden = points
        for _, activations in self._walk(points):
            hidden = activations
        values: Array = hidden @ self._weights[-1].T + self._biases[-1]
        return values[0] if single else values

    def preactivations(self, X: ArrayLike) -> list[Array]:
        """Return the inputs of all hidden units, one array (n_samples, n_l), or (n_l,) for one point, per layer."""
        points, single = as_points(X, self.n_inputs)
        return [z[0] if single else z for z, _ in self._walk(points)]

    def activation_pattern(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Return which kinked units are on, that is, have a pre-activation above zero.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_inputs) or (n_inputs,)

        Returns
        -------
        ndarray of bool, shape (n_samples, n_neurons) or (n_neurons,)
            Layer after layer, units in order, linear pass-through units left out.
        """
        points, single = as_points(X, self.n_inputs)
        bits = np.empty((points.shape[0], self.n_neurons), dtype=bool)
        start = 0
        for (z, _), kinked in zip(self._walk(points), self._kinked, strict=True):
            layer = z[:, kinked] > 0.0
            bits[:, start : start + layer.shape[1]] = layer
            start += layer.shape[1]
        return bits[0] if single else bits

    def affine_map(self, x: ArrayLike) -> AffineMap:
        """Return the affine map that the network equals on the region holding the point ``x``, shape (n_inputs,).

        On a boundary the region is that of `activation_pattern`: units at zero are off.
        """
        pattern = self.activation_pattern(as_float_array(x, "x", ndim=1))
        return self.affine_map_of_pattern(pattern)

    def affine_map_of_pattern(self, pattern: ArrayLike) -> AffineMap:
        """Return the affine map that belongs to an activation pattern, realised by a point or not.

        Parameters
        ----------
        pattern : array_like of bool, shape (n_neurons,)

        Returns
        -------
        AffineMap
        """
        bits = np.asarray(pattern)
        if bits.dtype != np.bool_ or bits.shape != (self.n_neurons,):
            raise ProblemError(f"pattern must be bool of shape ({self.n_neurons},), got {bits.dtype} {bits.shape}")
        matrix, offset = np.eye(self.n_inputs), np.zeros(self.n_inputs)
        start = 0
        for i, (lo, hi) in enumerate(self._slopes):
            kinked = self._kinked[i]
            on = np.ones(kinked.shape[0], dtype=bool)
            stop = start + int(np.count_nonzero(kinked))
            on[kinked] = bits[start:stop]
            start = stop
            slope = np.where(on, hi, lo)
            matrix = slope[:, None] * (self._weights[i] @ matrix)
            offset = slope * (self._weights[i] @ offset + self._biases[i])
        return AffineMap(self._weights[-1] @ matrix, self._weights[-1] @ offset + self._biases[-1])

    def digest(self) -> str:
        """Return the SHA-256 (hex) of shapes and exact values of weights, biases and slopes; -0.0 counts as 0.0."""
        sha = hashlib.sha256(b"rectifold.ReLUNetwork/1")
        arrays = [*self._weights, *self._biases, *(part for pair in self._slopes for part in pair)]
        for array in arrays:
            sha.update(repr(array.shape).encode())
            sha.update((array + 0.0).astype("<f8", copy=False).tobytes())
        return sha.hexdigest()

    def _walk(self, points: Array) -> Iterator[tuple[Array, Array]]:
        """Yield (pre-activations, activations) of each hidden layer in turn."""
        hidden = points
        for weight, bias, slopes in zip(self._weights, self._biases, self._slopes, strict=False):
            z = hidden @ weight.T + bias
            hidden = _activate(z, slopes)
            yield z, hidden

    def __copy__(self) -> ReLUNetwork:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ReLUNetwork:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return ReLUNetwork, (self._weights, self._biases, self._slopes)

    def __repr__(self) -> str:
        shape = "-".join(str(n) for n in (self.n_inputs, *self.widths, self.n_outputs))
        return f"ReLUNetwork({shape}, {self.n_neurons} neurons)"


def _activate(z: Array, slopes: Slopes) -> Array:
    """Apply the two-slope activation to rows of pre-activations."""
    lo, hi = slopes
    if not lo.any() and (hi == 1.0).all():
        return np.maximum(z, 0.0)
    return np.where(z > 0.0, hi, lo) * z


def _as_list(value: Any, name: str) -> list[Any]:
    """Return the items of a sequence; refuse what cannot be one."""
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise ProblemError(f"{name} must be a sequence with one entry per layer, got {type(value).__name__}")
    return list(value)


def _check_layers(weights: list[Any], biases: list[Any]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Validate that the layers chain and return read-only copies."""
    if not weights or len(weights) != len(biases):
        raise ProblemError(f"need one bias per weight matrix and at least one layer, got {len(weights)}, {len(biases)}")
    matrices = [as_float_array(weight, f"weights[{i}]", ndim=2) for i, weight in enumerate(weights)]
    vectors = [as_float_array(bias, f"biases[{i}]", ndim=1) for i, bias in enumerate(biases)]
    for i, (matrix, vector) in enumerate(zip(matrices, vectors, strict=True)):
        if vector.shape[0] != matrix.shape[0]:
            raise ProblemError(f"biases[{i}] has shape {vector.shape}, but weights[{i}] has shape {matrix.shape}")
        below = matrices[i - 1].shape[0]
        if i > 0 and matrix.shape[1] != below:
            raise ProblemError(f"weights[{i}] has shape {matrix.shape}, but layer {i - 1} has {below} units")
    if matrices[0].shape[1] == 0 or matrices[-1].shape[0] == 0:
        raise ProblemError("a network needs at least one input and one output")
    return tuple(map(read_only, matrices)), tuple(map(read_only, vectors))


def _check_slopes(pairs: list[Any], widths: list[int]) -> tuple[Slopes, ...]:
    """Validate one (lo, hi) pair per hidden layer and spread scalars over its units."""
    if len(pairs) != len(widths):
        raise ProblemError(f"slopes must have one (lo, hi) pair per hidden layer: {len(widths)}, got {len(pairs)}")
    checked = []
    for i, (pair, width) in enumerate(zip(pairs, widths, strict=True)):
        sides = _as_list(pair, f"slopes[{i}]")
        if len(sides) != 2:
            raise ProblemError(f"slopes[{i}] must be a pair (lo, hi), got {len(sides)} entries")
        lo, hi = (_spread(side, width, f"slopes[{i}]") for side in sides)
        checked.append((lo, hi))
    return tuple(checked)


def _spread(side: Any, width: int, name: str) -> Array:
    """Return one slope per unit, read-only."""
    array = as_float_array(side, name)
    if array.shape not in ((), (width,)):
        raise ProblemError(f"{name} must hold scalars or arrays of shape ({width},), got {array.shape}")
    return read_only(np.broadcast_to(array, (width,)))

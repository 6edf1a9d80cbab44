"""L1 training of one layer of a network: the problem, its merged form, and the certificates of its ends."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_float_array, read_only
from rectifold.core.errors import ProblemError
from rectifold.core.lad import as_weights
from rectifold.core.network import ReLUNetwork
from rectifold.core.result import ReadOnlyArrays

__all__ = ["L1Problem", "LayerData", "LayerMinimumCertificate", "OutputLayerCertificate"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


class L1Problem:
    """The loss ``sum_i w_i |net(x_i) - y_i|`` of networks with one output.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_inputs)
    y : array_like, shape (n_samples,)
    sample_weight : array_like, shape (n_samples,), optional
        Non-negative, not all zero; 1 if left out.

    Raises
    ------
    ProblemError
        For NaN, infinities, shapes that do not fit, or negative weights.
    """

    def __init__(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        self.X: Array = read_only(as_float_array(X, "X", ndim=2))
        self.y: Array = read_only(as_float_array(y, "y", ndim=1))
        if not len(self.X):
            raise ProblemError("X needs at least one sample")
        if len(self.y) != len(self.X):
            raise ProblemError(f"y must have {len(self.X)} entries like X, got {len(self.y)}")
        weights = np.ones(len(self.y)) if sample_weight is None else as_weights(sample_weight, len(self.y))
        self.weights: Array = read_only(weights)

    def __repr__(self) -> str:
        n, d = self.X.shape
        return f"L1Problem({n} samples, {d} inputs, weighted={bool(np.any(self.weights != 1.0))})"

    def loss(self, network: ReLUNetwork) -> float:
        """Return ``sum_i w_i |network(x_i) - y_i|``."""
        return float(self.weights @ np.abs(network(self.X)[:, 0] - self.y))

    def check_network(self, network: Any, layer: Any) -> None:
        """Raise `ProblemError` unless the network has one output, these inputs, and such a layer with units."""
        if not isinstance(network, ReLUNetwork):
            raise ProblemError(f"net must be a ReLUNetwork, got {type(network).__name__}; see from_torch, from_sklearn")
        if network.n_outputs != 1:
            raise ProblemError(f"L1 training needs a network with one output, got {network.n_outputs}")
        if network.n_inputs != self.X.shape[1]:
            raise ProblemError(f"X has {self.X.shape[1]} columns, but the network has {network.n_inputs} inputs")
        if isinstance(layer, bool) or not isinstance(layer, int | np.integer):
            raise ProblemError(f"layer must be an integer, got {layer!r}")
        if not 0 <= layer < len(network.weights):
            raise ProblemError(f"layer must lie in 0..{len(network.weights) - 1} (the output layer), got {layer}")
        if not network.weights[layer].shape[0]:
            raise ProblemError(f"layer {layer} has no units")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the data."""
        h = hashlib.sha256(repr(("L1Problem", self.X.shape)).encode())
        for array in (self.X, self.y, self.weights):
            h.update(np.ascontiguousarray(array + 0.0, dtype="<f8").tobytes())
        return h.hexdigest()


class LayerData:
    """What the loss is as a function of one hidden layer's weights, with equal samples merged.

    Samples that agree below the layer form a *block*; of a block those with the same target are one, with the sum of
    their weights. Samples without weight are left out.

    Attributes
    ----------
    network : ReLUNetwork
    layer : int
    inputs : ndarray, shape (n_blocks, m)
        Outputs of the layer below, with a column of ones: ``z = inputs @ theta_k`` for unit k.
    starts : ndarray of int64, shape (n_blocks + 1,)
        Where the merged samples of each block begin.
    targets, weights : ndarray, shape (n_merged,)
    samples : ndarray of int64, shape (n_merged,)
        The first sample behind each merged one.
    """

    def __init__(self, problem: L1Problem, network: ReLUNetwork, layer: int) -> None:
        self.network, self.layer = network, int(layer)
        kept = np.flatnonzero(problem.weights > 0.0)
        distinct, point_of = _distinct(problem.X[kept])
        hidden = _below(network, self.layer, problem.X[kept[distinct]])
        first, block_of_point = _distinct(hidden) if self.layer > 0 else (np.arange(len(hidden)),) * 2
        block_of = block_of_point[point_of]
        y = problem.y[kept]
        order = np.lexsort((y, block_of))
        blocks, y = block_of[order], y[order]
        new = np.ones(len(order), bool)
        new[1:] = (blocks[1:] != blocks[:-1]) | (y[1:] != y[:-1])
        at = np.flatnonzero(new)
        self.inputs: Array = np.column_stack([hidden[first], np.ones(len(first))])
        self.targets: Array = y[at]
        self.weights: Array = np.add.reduceat(problem.weights[kept][order], at)
        self.samples: Ints = kept[order[at]]
        self.starts: Ints = np.searchsorted(blocks[at], np.arange(len(first) + 1)).astype(np.int64)
        self._of_sample = np.full(len(problem.y), -1)
        self._of_sample[kept[order]] = np.cumsum(new) - 1

    @property
    def width(self) -> int:
        """Number of units of the layer."""
        return len(self.network.weights[self.layer])

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases of the layer."""
        return self.width * self.inputs.shape[1]

    @cached_property
    def block_of(self) -> Ints:
        """The block of each merged sample."""
        return np.repeat(np.arange(len(self.inputs)), np.diff(self.starts))

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Units of this layer and of the hidden layers above."""
        return self.network.widths[self.layer :]

    @property
    def slopes(self) -> tuple[tuple[Array, Array], ...]:
        """Pairs (lo, hi) of this layer and of the hidden layers above."""
        return self.network.slopes[self.layer :]

    @property
    def above(self) -> list[tuple[Array, Array]]:
        """Weights and biases of the hidden layers above."""
        net = self.network
        return list(zip(net.weights[self.layer + 1 : -1], net.biases[self.layer + 1 : -1], strict=True))

    @property
    def output(self) -> tuple[Array, float]:
        """Weights and bias of the output."""
        return self.network.weights[-1][0], float(self.network.biases[-1][0])

    def merged(self, samples: Ints) -> Ints:
        """Return the merged samples that stand for samples; -1 for those left out."""
        return np.asarray(self._of_sample[samples])

    def parameters(self) -> Array:
        """Return weights and biases of the layer in the network, unit after unit."""
        net = self.network
        return np.column_stack([net.weights[self.layer], net.biases[self.layer]]).ravel()

    def network_with(self, theta: Array) -> ReLUNetwork:
        """Return the network whose layer has these weights and biases."""
        rows, net, at = theta.reshape(self.width, -1), self.network, self.layer
        weights, biases = list(net.weights), list(net.biases)
        weights[at], biases[at] = rows[:, :-1], rows[:, -1]
        return ReLUNetwork(weights, biases, net.slopes)

    def loss(self, theta: Array) -> float:
        """Return the loss at weights and biases of the layer."""
        return float(self.weights @ np.abs(self.residuals(self.preactivations(theta))))

    def preactivations(self, theta: Array) -> list[Array]:
        """Return z of this layer and of those above, each of shape (width, n_blocks)."""
        levels = [theta.reshape(self.width, -1) @ self.inputs.T]
        for (weight, bias), (lo, hi) in zip(self.above, self.slopes, strict=False):
            levels.append(weight @ _activated(levels[-1], lo, hi) + bias[:, None])
        return levels

    def residuals(self, levels: list[Array]) -> Array:
        """Return ``net(x) - y`` of the merged samples for pre-activations."""
        weight, bias = self.output
        return np.asarray((weight @ _activated(levels[-1], *self.slopes[-1]) + bias)[self.block_of] - self.targets)


def _activated(z: Array, lo: Array, hi: Array) -> Array:
    return np.asarray(np.where(z > 0.0, hi[:, None], lo[:, None]) * z)


def _below(network: ReLUNetwork, layer: int, X: Array) -> Array:
    """The outputs of the layer below."""
    if layer == 0:
        return X
    z = network.preactivations(X)[layer - 1]
    lo, hi = network.slopes[layer - 1]
    return np.asarray(np.where(z > 0.0, hi, lo) * z)


def _distinct(rows: Array) -> tuple[Ints, Ints]:
    """The first of each set of equal rows, in order, and for every row which of these it equals."""
    rows = np.ascontiguousarray(rows + 0.0)  # -0.0 is 0.0
    if not rows.shape[1]:
        return np.zeros(1, np.int64), np.zeros(len(rows), np.int64)
    keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel().tolist()
    seen = dict.fromkeys(keys)
    if len(seen) == len(rows):
        return np.arange(len(rows)), np.arange(len(rows))
    numbers = dict(zip(seen, range(len(seen)), strict=True))
    which = np.fromiter((numbers[key] for key in keys), np.int64, len(keys))
    first = np.empty(len(seen), np.int64)
    first[which[::-1]] = np.arange(len(rows))[::-1]
    return first, which


class _OfL1Problem(ReadOnlyArrays):
    """Certificates that refer to an `L1Problem`, or hold its digest once stored."""

    problem: L1Problem | None
    problem_digest: str | None

    @property
    def digest(self) -> str | None:
        """The digest of the problem, computed if need be."""
        return self.problem.digest if isinstance(self.problem, L1Problem) else self.problem_digest

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "problem": None, "problem_digest": self.digest}


@dataclass(frozen=True, eq=False)
class LayerMinimumCertificate(_OfL1Problem):
    """Claims that a network is a local minimum of the L1 loss over the weights and biases of one hidden layer.

    At its weights exactly as many kinks meet as there are weights, less the directions that change nothing, with
    independent normals: the loss is a local minimum iff it falls along none of the 2 p edges.
    (Hinz and van de Geer 2021.)

    Attributes
    ----------
    problem : L1Problem or None
        None once pickled; `verify` then needs ``problem=`` and compares the digest.
    problem_digest : str or None
        SHA-256; None while the problem is at hand.
    network : ReLUNetwork
    layer : int
    value : float
        ``sum_i w_i |network(x_i) - y_i|``.
    constraints : ndarray of int64, shape (p - q, 2)
        Kinks at zero as pairs (unit, sample): hidden units are counted from the first of the layer on, through those
        above; their number stands for the residual of the sample.
    invariant : ndarray of float64, shape (q, p)
        Changes of the layer's weights and biases, unit after unit, that change no output on the data.
    scale : float
        A length to compare distances in the weights with, as in `LocalMinimumCertificate`.
    """

    problem: L1Problem | None
    problem_digest: str | None
    network: ReLUNetwork
    layer: int
    value: float
    constraints: Ints
    invariant: Array
    scale: float

    def without_data(self) -> LayerMinimumCertificate:
        """Return the certificate with the problem's digest in place of its data."""
        return replace(self, problem=None, problem_digest=self.digest)


@dataclass(frozen=True, eq=False)
class OutputLayerCertificate(_OfL1Problem):
    """Claims that no output weights give a network a smaller L1 loss: least absolute deviations on hidden features.

    Attributes
    ----------
    problem, problem_digest, network
        As in `LayerMinimumCertificate`.
    value, lower_bound : float
        ``loss(network) <= value`` and ``lower_bound <= min loss`` over the output layer.
    dual : ndarray, shape (n_samples,)
    basis : ndarray of int64
        As in `LADCertificate`.
    """

    problem: L1Problem | None
    problem_digest: str | None
    network: ReLUNetwork
    value: float
    lower_bound: float
    dual: Array
    basis: Ints

    def without_data(self) -> OutputLayerCertificate:
        """Return the certificate with the problem's digest in place of its data."""
        return replace(self, problem=None, problem_digest=self.digest)

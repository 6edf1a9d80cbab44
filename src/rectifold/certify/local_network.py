"""One output of a network near a point: what certificates of local minima are checked against."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.multipliers import require, require_array, require_number
from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import ConvexMinimumCertificate, LocalMinimumCertificate
from rectifold.core.domain import Box, Domain
from rectifold.core.network import ReLUNetwork

__all__ = ["LocalNetwork", "domain_around", "require_claim", "require_value", "span"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Local = LocalMinimumCertificate | ConvexMinimumCertificate

_SLACK = 1e-9


class LocalNetwork:
    """One output near a point: pre-activations and their gradients, with the named units off."""

    def __init__(self, network: ReLUNetwork, output: int, maximum: bool, x: Array, units: NDArray[np.int64]) -> None:
        sign = -1.0 if maximum else 1.0
        self._weights = network.weights[:-1]
        self._output = sign * network.weights[-1][output]
        self.lo = np.concatenate([*(lo for lo, _ in network.slopes), np.zeros(0)])
        self.hi = np.concatenate([*(hi for _, hi in network.slopes), np.zeros(0)])
        self.kinked = self.lo != self.hi
        stops = np.concatenate([[0], np.cumsum(network.widths)]).astype(int)
        self._parts = [slice(a, b) for a, b in itertools.pairwise(stops)]
        critical = np.zeros(len(self.lo), bool)
        critical[units] = True
        self.z, self.jacobian = np.empty(len(self.lo)), np.empty((len(self.lo), network.n_inputs))
        self._slope = np.empty(len(self.lo))
        hidden, derivative = x, np.eye(network.n_inputs)
        for weight, bias, part in zip(self._weights, network.biases, self._parts, strict=False):
            self.z[part], self.jacobian[part] = weight @ hidden + bias, weight @ derivative
            self._slope[part] = np.where((self.z[part] > 0.0) & ~critical[part], self.hi[part], self.lo[part])
            hidden = self._slope[part] * self.z[part]
            derivative = self._slope[part, None] * self.jacobian[part]
        self.gradient = self._output @ derivative
        exact = network(x)[output]
        self.value = float(exact)
        self.value_terms = float(np.abs(self._output) @ np.abs(hidden) + abs(network.biases[-1][output])) + abs(
            self.value
        )

    def distances(self) -> Array:
        """Distance of each kink's hyperplane, by the region's own gradients; infinite without a kink."""
        size = np.linalg.norm(self.jacobian, axis=1)
        distance = np.divide(np.abs(self.z), size, out=np.full(len(size), np.inf), where=size > 0.0)
        distance[(size == 0.0) & (self.z == 0.0)] = 0.0
        distance[~self.kinked] = np.inf
        return np.asarray(distance)

    def slopes(self, edges: Array, units: NDArray[np.int64]) -> tuple[Array, Array, Array]:
        """Along the region's own edges; and along the opposite ones, with their lengths.

        Behind unit j its slope is the other one, and the edge is what keeps the deeper units of the vertex at zero.
        """
        V = -edges[: len(units)]
        beta, _ = self._pass(V, units)
        moved = -beta[:, units]  # the rates of their slacks: they are off, and j itself is not held
        moved[np.arange(len(units)), np.arange(len(units))] = 0.0
        V = V - moved @ edges[: len(units)]
        beta, slope = self._pass(V, units)
        kept = np.abs(beta[:, units])
        kept[np.arange(len(units)), np.arange(len(units))] = 0.0
        scale = np.linalg.norm(self.jacobian[units], axis=1) * np.linalg.norm(V, axis=1, keepdims=True)
        if np.any(kept > 1e-7 * (scale + 1.0)):
            raise Refusal("An opposite edge could not be followed.")
        return edges @ self.gradient, slope, np.linalg.norm(V, axis=1)

    def _pass(self, V: Array, units: NDArray[np.int64]) -> tuple[Array, Array]:
        """Derivatives of all z and of the output along row i of V, with units[i] on."""
        slopes = np.tile(self._slope, (len(V), 1))
        slopes[np.arange(len(V)), units] = self.hi[units]
        beta, hidden = np.empty((len(V), len(self.z))), V
        for weight, part in zip(self._weights, self._parts, strict=True):
            beta[:, part] = hidden @ weight.T
            hidden = slopes[:, part] * beta[:, part]
        return beta, np.asarray(hidden @ self._output)

    def gradient_size(self, units: NDArray[np.int64]) -> float:
        """The largest gradient at the vertex: the region's own and those one kink away."""
        jumps = self.gains(units)[:, None] * self.jacobian[units]
        return float(max(np.linalg.norm(self.gradient), np.linalg.norm(self.gradient + jumps, axis=1).max(initial=0.0)))

    def gains(self, units: NDArray[np.int64]) -> Array:
        """By how much a unit's switching from off to on raises the derivative of the output by its z."""
        row, outputs = self._output, np.empty(len(self.z))
        for weight, part in zip(self._weights[::-1], self._parts[::-1], strict=True):
            outputs[part] = row
            row = (self._slope[part] * row) @ weight
        return np.asarray((outputs * (self.hi - self.lo))[units])

    def influenced(self, units: NDArray[np.int64]) -> Mask:
        """Which units' z depend on the outputs of the given ones (other than through x)."""
        moved, hidden = np.zeros((len(units), len(self.z)), bool), np.zeros((len(units), 0))
        named = np.zeros((len(units), len(self.z)))
        named[np.arange(len(units)), units] = 1.0
        for i, (weight, part) in enumerate(zip(self._weights, self._parts, strict=True)):
            beta = hidden @ np.abs(weight).T if i else np.zeros((len(units), len(self._slope[part])))
            moved[:, part] = beta > 0.0
            hidden = np.abs(self._slope[part]) * beta + named[:, part]
        return np.asarray(moved.any(axis=0))


def span(rows: Array) -> Array:
    """Orthonormal rows with the same span."""
    if not len(rows):
        return rows
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    return np.asarray(directions[sizes > 1e-11 * sizes[0]])


def require_claim(c: Local) -> None:
    """Refuse a malformed claim: the network, the domain, the output, the value and the point."""
    require(isinstance(c.network, ReLUNetwork), "its network is not a ReLUNetwork")
    n = c.network.n_inputs
    require(c.domain is None or isinstance(c.domain, Domain), "its domain is not a Box or Polytope")
    require(c.domain is None or c.domain.n_inputs == n, "its domain does not fit its network")
    require_number(c.output, "output", int)
    require(0 <= c.output < c.network.n_outputs, "its output is not one of the network's")
    require(isinstance(c.maximum, bool), "maximum must be a bool")
    for name, value in (("value", c.value), ("scale", c.scale)):
        require_number(value, name, float)
        require(bool(np.isfinite(value)), f"{name} must be finite")
    require_array(c.x, "x", "f", (n,))


def domain_around(c: Local) -> Domain:
    """Return the domain, which must hold the point."""
    domain = Box(np.full(c.network.n_inputs, -np.inf), np.inf) if c.domain is None else c.domain
    if not domain.contains(c.x, _SLACK):
        raise Refusal("The point is outside of the domain.")
    return domain


def require_value(c: Local, net: LocalNetwork, residuals: dict[str, float]) -> None:
    """Refuse a value that the network does not have at the point."""
    residuals["value_excess"] = abs(net.value - c.value) - _SLACK * net.value_terms
    if not residuals["value_excess"] <= 0.0:
        raise Refusal("The network's value at the point is not the claimed one.")

"""One output of a network over a domain, as the thing to be made small."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rectifold.core.domain import Box, Domain
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork

__all__ = ["Objective"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Objective:
    """``sign * net(x)[output]`` over a domain.

    Attributes
    ----------
    network : ReLUNetwork
    domain : Domain
        All of R^n as a box without finite bounds.
    output : int
    sign : float
        +1 to minimise the output, -1 to maximise it.
    """

    network: ReLUNetwork
    domain: Domain
    output: int
    sign: float

    @staticmethod
    def checked(network: ReLUNetwork, domain: Domain | None, output: int, sign: float) -> Objective:
        """Validate what a user gave.

        Raises
        ------
        ProblemError
            If the network, the domain or the output number does not fit.
        """
        if not isinstance(network, ReLUNetwork):
            raise ProblemError(f"net must be a ReLUNetwork, got {type(network).__name__}; see from_torch, from_sklearn")
        if domain is None:
            domain = Box(np.full(network.n_inputs, -np.inf), np.inf)
        if not isinstance(domain, Domain):
            raise ProblemError(f"domain must be a Box or a Polytope, got {type(domain).__name__}")
        if domain.n_inputs != network.n_inputs:
            raise ProblemError(f"the domain has {domain.n_inputs} inputs, but the network has {network.n_inputs}")
        if isinstance(output, bool) or not isinstance(output, int | np.integer):
            raise ProblemError(f"output must be an integer, got {output!r}")
        if not 0 <= output < network.n_outputs:
            raise ProblemError(f"output must lie in 0..{network.n_outputs - 1}, got {output}")
        return Objective(network, domain, int(output), sign)

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return self.network.n_inputs

    @cached_property
    def output_weights(self) -> Array:
        """Weights of the last hidden layer (of the inputs without one), sign included."""
        return np.ascontiguousarray(self.sign * self.network.weights[-1][self.output])

    @cached_property
    def offset(self) -> float:
        """Bias of the output, sign included."""
        return float(self.sign * self.network.biases[-1][self.output])

    @cached_property
    def lo(self) -> Array:
        """Slopes below zero of all hidden units, pass-through units included."""
        return np.concatenate([*(lo for lo, _ in self.network.slopes), np.zeros(0)])

    @cached_property
    def hi(self) -> Array:
        """Slopes above zero of all hidden units."""
        return np.concatenate([*(hi for _, hi in self.network.slopes), np.zeros(0)])

    @cached_property
    def kinked(self) -> NDArray[np.bool_]:
        """Which hidden units have a kink."""
        return self.lo != self.hi

    @cached_property
    def layers(self) -> tuple[slice, ...]:
        """Where each hidden layer's units stand among all of them."""
        stops = np.concatenate([[0], np.cumsum(self.network.widths)]).astype(int)
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(stops))

    def __call__(self, X: Array) -> Array:
        """Evaluate at points (m, n_inputs), shape (m,)."""
        hidden = X
        for weight, bias, part in zip(self.network.weights, self.network.biases, self.layers, strict=False):
            z = hidden @ weight.T + bias
            hidden = np.where(z > 0.0, self.hi[part], self.lo[part]) * z
        return np.asarray(hidden @ self.output_weights + self.offset)

    def at(self, x: Array) -> float:
        """Evaluate at one point."""
        return float(self(x[None])[0])

    def with_gradients(self, X: Array) -> tuple[Array, Array]:
        """Values (m,) and gradients (m, n_inputs) at points; at kinks those of units that are off."""
        hidden, slopes = X, []
        for weight, bias, part in zip(self.network.weights, self.network.biases, self.layers, strict=False):
            z = hidden @ weight.T + bias
            slopes.append(np.where(z > 0.0, self.hi[part], self.lo[part]))
            hidden = slopes[-1] * z
        values = hidden @ self.output_weights + self.offset
        rows = np.broadcast_to(self.output_weights, (len(X), len(self.output_weights)))
        for weight, slope in zip(self.network.weights[-2::-1], slopes[::-1], strict=True):
            rows = (rows * slope) @ weight
        return np.asarray(values), np.array(rows)

"""What L1 training of one layer returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core.layer_l1 import L1Problem, LayerData, LayerMinimumCertificate
from rectifold.core.network import ReLUNetwork
from rectifold.core.result import ReadOnlyArrays, Result
from rectifold.training.layerwise.layer_simplex import LayerDescent

__all__ = ["LayerResult", "NetworkResult", "dead_units", "describe_descent", "pairs_of"]

Array = NDArray[np.float64]

_NONE = np.zeros(0)


class NetworkResult(Result[ReLUNetwork], ReadOnlyArrays):
    """A result whose arrays are read-only as well."""

    def __post_init__(self) -> None:
        Result.__post_init__(self)
        ReadOnlyArrays.__post_init__(self)


@dataclass(frozen=True, eq=False)
class LayerResult(NetworkResult):
    """A network one of whose layers was trained.

    Attributes
    ----------
    solution : ReLUNetwork
    value : float
        The loss ``sum_i w_i |net(x_i) - y_i|``.
    bound : float
        0, as no loss is negative; of the output layer the proven minimum over its weights.
    status : Status
        ``local_optimum`` (see ``decided_by``); ``optimal`` for the output layer, where local is global;
        ``degenerate``: it was not decided; or a limit.
    layer : int
    losses : ndarray
        The lowest loss after every move of the walk, the start's first.
    decided_by : str
        "vertex": all edges rise, which the certificate proves; "directional program": more kinks meet than there are
        weights, and no direction of descent was left; "global" for the output layer; "": not decided.
    slopes, opposite_slopes : ndarray, shape (p,)
        Of the loss along the edges of the vertex, per unit length of the weights (own edges' length). Empty before the
        first vertex and for the output layer; infinite for directions that change nothing.
    dead_units : ndarray of int64
        Units of the layer that are on for no sample.
    """

    layer: int = 0
    losses: Array = field(default_factory=lambda: _NONE)
    decided_by: str = ""
    slopes: Array = field(default_factory=lambda: _NONE)
    opposite_slopes: Array = field(default_factory=lambda: _NONE)
    dead_units: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def describe_descent(
    problem: L1Problem, data: LayerData, descent: LayerDescent, stats: dict[str, Any]
) -> dict[str, Any]:
    """Translate the end of a walk into the fields of a `LayerResult`."""
    state = descent.state
    network = data.network_with(descent.theta)
    value = problem.loss(network)
    certificate = None
    if descent.decided_by == "vertex":
        pairs = pairs_of(data, state["basis"])
        scale = float(state["reach"])
        certificate = LayerMinimumCertificate(problem, None, network, data.layer, value, pairs, state["fixed"], scale)
    slopes, opposite = _slopes(data, state)
    return {
        "solution": network,
        "value": value,
        "bound": 0.0,
        "status": descent.status,
        "certificate": certificate,
        "stats": {
            "decided_by": descent.decided_by,
            "moves": len(descent.losses) - 1,
            "pivots": descent.pivots,
            "crossings": descent.crossings,
            "weights": data.n_parameters,
            **stats,
        },
        "layer": data.layer,
        "losses": np.append(descent.losses[:-1], value) if len(descent.losses) > 1 else np.array([value]),
        "decided_by": descent.decided_by,
        "slopes": slopes,
        "opposite_slopes": opposite,
        "dead_units": dead_units(network, data.layer, problem.X[problem.weights > 0.0]),
    }


def dead_units(network: ReLUNetwork, layer: int, X: Array) -> NDArray[np.int64]:
    """Return the units of a hidden layer that are on for no sample."""
    return np.flatnonzero(~(network.preactivations(X)[layer] > 0.0).any(axis=0))


def pairs_of(data: LayerData, basis: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return constraints of a walk as pairs (unit, sample), see `LayerMinimumCertificate`."""
    blocks, n_units = len(data.inputs), sum(data.widths)
    residual = n_units * blocks
    basis = np.sort(basis[basis < residual + len(data.targets)])
    units, rest = np.divmod(basis, blocks)
    inside = basis < residual
    units[~inside] = n_units
    samples = data.samples[np.where(inside, data.starts[rest], np.maximum(basis - residual, 0))]
    return np.column_stack([units, samples])


def _slopes(data: LayerData, state: dict[str, Any]) -> tuple[Array, Array]:
    if not len(state["edges"]):
        return _NONE, _NONE
    n_kinks = sum(data.widths) * len(data.inputs) + len(data.targets)
    length = np.linalg.norm(state["edges"], axis=1)
    moving = state["basis"] < n_kinks
    return np.where(moving, state["slopes"] / length, np.inf), state["opposite"] / length

"""L1 training of a whole network, one layer after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold._engine.budget import Budget
from rectifold.core.errors import ProblemError
from rectifold.core.layer_l1 import L1Problem
from rectifold.core.monitor import Monitor
from rectifold.core.network import ReLUNetwork
from rectifold.core.result import Proof, Status
from rectifold.training.layerwise.layer_result import LayerResult, NetworkResult
from rectifold.training.layerwise.train_layer import require_count, train_layer

__all__ = ["L1TrainingResult", "train_l1"]

_DECIDED = (Status.LOCAL_OPTIMUM, Status.OPTIMAL)


@dataclass(frozen=True, eq=False)
class L1TrainingResult(NetworkResult):
    """A network trained layer by layer.

    Attributes
    ----------
    solution : ReLUNetwork
    value : float
        The loss ``sum_i w_i |net(x_i) - y_i|``.
    certificate : LayerMinimumCertificate, OutputLayerCertificate or None
        Of the layer trained last, whose network is the solution.
    status : Status
        ``local_optimum``: in the last sweep every layer ended in a decided minimum, and none gained more than ``tol``.
    ends : tuple of LayerResult
        The last end of each layer, by layer; each speaks of the network as it was when the layer was trained.
    losses : ndarray
        After every layer's training, the start's first; it never rises.
    """

    ends: tuple[LayerResult, ...] = ()
    losses: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def train_l1(
    net: ReLUNetwork,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    layers: Sequence[int] | None = None,
    tol: float = 1e-4,
    max_sweeps: int = 100,
    n_walks: int = 1,
    time_limit: float | None = None,
    callback: Monitor | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> L1TrainingResult:
    """Train a network with the L1 loss, one layer at a time, each down to an exact local minimum.

    It ends where no layer alone lowers the loss, which need not be a minimum over all layers together. The outcome
    depends on where it starts and on the order: a hidden layer at its minimum leaves nothing to gain for the weights of
    the layer above, which could only scale its units.

    Parameters
    ----------
    net : ReLUNetwork
        With one output; where it starts.
    X : array_like, shape (n_samples, n_inputs)
    y : array_like, shape (n_samples,)
    sample_weight : array_like, shape (n_samples,), optional
    layers : sequence of int, optional
        Which layers to train, in this order; all of them, the output layer first, if left out.
    tol : float
        Sweeps go on until no layer lowers the loss by more than this part of it.
    max_sweeps : int
    n_walks : int
        For each hidden layer, see `FirstLayerL1`.
    time_limit : float, optional
        Seconds.
    callback : Monitor, optional
    random_state : int, Generator or None

    Returns
    -------
    L1TrainingResult

    Raises
    ------
    ProblemError
        For NaN, shapes that do not fit, a network with several outputs, or options out of range.
    """
    problem = L1Problem(X, y, sample_weight)
    order = _order(problem, net, layers)
    _require_share(tol)
    require_count(max_sweeps, "max_sweeps", 1)
    require_count(n_walks, "n_walks", 1)
    budget, rng = Budget(callback, time_limit), np.random.default_rng(random_state)
    losses, ends, status, sweeps = [problem.loss(net)], dict[int, LayerResult](), Status.ITERATION_LIMIT, 0
    while sweeps < max_sweeps and status is Status.ITERATION_LIMIT:
        before, sweeps = len(losses), sweeps + 1
        for layer in order:
            end = ends[layer] = train_layer(problem, net, layer, budget, rng, n_walks)
            if end.value <= losses[-1]:
                net = end.solution
            losses.append(min(end.value, losses[-1]))
            if budget.should_stop():
                break
        gains = -np.diff(losses[before - 1 :])
        if budget.should_stop():
            status = budget.status(status)
        elif np.all(gains <= tol * np.array(losses[before - 1 : -1])):
            decided = all(end.status in _DECIDED for end in ends.values())
            status = Status.LOCAL_OPTIMUM if decided else Status.DEGENERATE
    return _result(net, losses, ends, status, sweeps, budget)


def _result(
    net: ReLUNetwork,
    losses: list[float],
    ends: dict[int, LayerResult],
    status: Status,
    sweeps: int,
    budget: Budget,
) -> L1TrainingResult:
    certificate = next((end.certificate for end in ends.values() if end.solution is net), None)
    return L1TrainingResult(
        solution=net,
        value=losses[-1],
        bound=0.0,
        status=status,
        proof=Proof.NONE,
        certificate=certificate,
        stats={"sweeps": sweeps, "layers_trained": len(losses) - 1, "seconds": budget.elapsed},
        trace=budget.trace(),
        ends=tuple(ends[layer] for layer in sorted(ends)),
        losses=np.array(losses),
    )


def _order(problem: L1Problem, net: ReLUNetwork, layers: Sequence[int] | None) -> list[int]:
    problem.check_network(net, 0)
    order = list(range(len(net.weights) - 1, -1, -1)) if layers is None else list(layers)
    for layer in order:
        problem.check_network(net, layer)
    if not order or len(set(order)) != len(order):
        raise ProblemError(f"layers must be distinct and at least one, got {layers!r}")
    return [int(layer) for layer in order]


def _require_share(tol: Any) -> None:
    if isinstance(tol, bool) or not isinstance(tol, int | float | np.number) or not 0.0 <= tol < 1.0:
        raise ProblemError(f"tol must lie in [0, 1), got {tol!r}")

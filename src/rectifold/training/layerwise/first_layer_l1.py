"""L1 training of one layer in the manner of an estimator."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold._engine.budget import Budget
from rectifold.core.layer_l1 import L1Problem, LayerMinimumCertificate, OutputLayerCertificate
from rectifold.core.monitor import Monitor
from rectifold.core.network import ReLUNetwork
from rectifold.training.layerwise.layer_result import LayerResult
from rectifold.training.layerwise.train_layer import require_count, train_layer

__all__ = ["FirstLayerL1"]


class FirstLayerL1:
    """Train one layer of a network with the L1 loss, all others frozen, down to a proven local minimum.

    Minimises ``sum_i w_i |net(x_i) - y_i|`` over weights and biases of the layer, from those it has, by an exact walk
    over vertices. The loss falls at every move; nothing is claimed about the global minimum, except for the output
    layer, where it is found.

    Parameters
    ----------
    net : ReLUNetwork
        With one output.
    layer : int
        0 is the first; ``len(net.weights) - 1`` the output layer.
    n_walks : int
        The first from the weights there are, each other one from near the lowest end so far, every unit kicked by a
        tenth of its length; the lowest end counts. Ends of single walks differ by some per cent, and a walk from a kick
        takes a third to two thirds of the moves.
    max_moves : int or None
        Stop early, without a certificate; the last per cent of the loss takes up to half of the moves.
    time_limit : float or None
        Seconds.
    random_state : int, Generator or None

    Attributes
    ----------
    network_ : ReLUNetwork
        The network with the trained layer.
    loss_ : float
    losses_ : ndarray
        The lowest loss after every move, the start's first. Most moves go down a loss with kinks shifted by 1e-7 of
        their size, and it is that one's values that are listed for them.
    certificate_ : LayerMinimumCertificate, OutputLayerCertificate or None
        Re-checked by :func:`rectifold.verify`; None where the end is degenerate or a limit was met.
    result_ : LayerResult

    References
    ----------
    Hinz and van de Geer (2021), Deep ReLU programming, arXiv 2011.14895.
    """

    def __init__(
        self,
        net: ReLUNetwork,
        layer: int = 0,
        *,
        n_walks: int = 3,
        max_moves: int | None = None,
        time_limit: float | None = None,
        random_state: int | np.random.Generator | None = 0,
    ) -> None:
        self.net = net
        self.layer = layer
        self.n_walks = n_walks
        self.max_moves = max_moves
        self.time_limit = time_limit
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, callback: Monitor | None = None
    ) -> Self:
        """Train on X (n_samples, n_inputs) and y (n_samples,).

        Raises
        ------
        ProblemError
            For NaN, shapes that do not fit, a network with several outputs, or a layer that is not there.

        Notes
        -----
        A move costs one or two passes through the network and O(p^2) for p weights of the layer.
        """
        problem = L1Problem(X, y, sample_weight)
        problem.check_network(self.net, self.layer)
        n_walks = require_count(self.n_walks, "n_walks", 1)
        max_moves = None if self.max_moves is None else require_count(self.max_moves, "max_moves", 1)
        budget = Budget(callback, self.time_limit)
        rng = np.random.default_rng(self.random_state)
        self.result_: LayerResult = train_layer(problem, self.net, int(self.layer), budget, rng, n_walks, max_moves)
        self.network_: ReLUNetwork = self.result_.solution
        self.loss_: float = self.result_.value
        self.losses_: NDArray[np.float64] = self.result_.losses
        self.certificate_: LayerMinimumCertificate | OutputLayerCertificate | None = self.result_.certificate
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the trained network's outputs, shape (n_samples,)."""
        return np.asarray(self.network_(X)[..., 0])

"""What pruning costs, width by width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.plotting.axes import ACCENT, MUTED, SECOND, new_axes

__all__ = ["PruningDisplay"]

Array = NDArray[np.float64]
Loss = Callable[[Array, Array], float]


class PruningDisplay:
    """Loss against width below the minimal width, with magnitude pruning beside it.

    Parameters
    ----------
    widths : array_like of int, shape (k,)
    losses : array_like, shape (k,)
        Of the corrected networks.
    magnitude_losses : array_like, shape (k,), optional
        Of those that keep the largest neurons as they are.
    given_loss : float, optional
        Loss of the network before pruning, a line.
    loss_name : str

    Attributes
    ----------
    figure_, ax_ : matplotlib Figure and Axes
    line_, magnitude_line_ : the curves; None where there is none
    """

    def __init__(
        self,
        widths: ArrayLike,
        losses: ArrayLike,
        magnitude_losses: ArrayLike | None = None,
        *,
        given_loss: float | None = None,
        loss_name: str = "loss",
    ) -> None:
        columns = [widths, losses, *([] if magnitude_losses is None else [magnitude_losses])]
        arrays = [np.asarray(column, dtype=np.float64) for column in columns]
        if any(array.ndim != 1 or array.shape != arrays[0].shape for array in arrays) or len(arrays[0]) == 0:
            raise ProblemError("a pruning curve needs vectors of one length, which is not zero")
        order = np.argsort(arrays[0], kind="stable")
        self.widths, self.losses = arrays[0][order], arrays[1][order]
        self.magnitude_losses = arrays[2][order] if magnitude_losses is not None else None
        self.given_loss, self.loss_name = given_loss, loss_name
        self.line_: Any = None
        self.magnitude_line_: Any = None

    @classmethod
    def from_result(
        cls,
        pruned: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        loss: Loss | None = None,
        loss_name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw what :func:`rectifold.prune` returned, at the samples (X, y), those of the training or others.

        Parameters
        ----------
        pruned : PruningResult
            Pruned with ``continue_to``, without which the curve is one point.
        X : array_like, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        loss : callable, optional
            Of y and outputs, both (n_samples, n_outputs), or classes (n_samples, 1); default: the mean squared error.
        loss_name : str, optional
        ax : matplotlib Axes, optional

        Notes
        -----
        Magnitude pruning keeps the neurons of the minimal network with the largest ``||w_j|| ||a_j||``.
        """
        inputs, targets = np.asarray(X, dtype=np.float64), np.asarray(y)
        minimal: ReLUNetwork = pruned.network
        if inputs.ndim != 2 or inputs.shape[1] != minimal.n_inputs or len(targets) != len(inputs):
            raise ProblemError(f"X must be (n_samples, {minimal.n_inputs}) with one y a sample, got {inputs.shape}")
        targets = targets.reshape(len(inputs), -1)
        measure = _mean_squared_error if loss is None else loss
        networks = [minimal, *pruned.narrower]
        widths = [network.widths[0] for network in networks]
        losses = [measure(targets, network(inputs)) for network in networks]
        magnitude = [measure(targets, _largest(minimal, width)(inputs)) for width in widths]
        name = loss_name or ("mean squared error" if loss is None else "loss")
        given = measure(targets, pruned.given(inputs))
        return cls(widths, losses, magnitude, given_loss=given, loss_name=name).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw into `ax` or a new figure."""
        self.figure_, self.ax_ = new_axes(ax)
        style: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.6}
        if self.magnitude_losses is not None:
            (self.magnitude_line_,) = self.ax_.plot(
                self.widths, self.magnitude_losses, color=SECOND, label="by magnitude", **style
            )
        (self.line_,) = self.ax_.plot(self.widths, self.losses, color=ACCENT, label="least-squares correction", **style)
        if self.given_loss is not None:
            self.ax_.axhline(self.given_loss, color=MUTED, linestyle="--", linewidth=1, label="before pruning")
        drawn = [self.losses] if self.magnitude_losses is None else [self.losses, self.magnitude_losses]
        positive = min(float(values.min()) for values in drawn) > 0
        self.ax_.set(xlabel="neurons", ylabel=self.loss_name, xscale="log", yscale="log" if positive else "linear")
        self.ax_.legend(frameon=False)
        return self


def _mean_squared_error(targets: Array, outputs: Array) -> float:
    if targets.shape != outputs.shape:
        raise ProblemError(f"y must hold {outputs.shape[1]} numbers a sample, got {targets.shape[1]}")
    return float(np.mean((outputs - targets) ** 2))


def _largest(network: ReLUNetwork, width: int) -> ReLUNetwork:
    """Keep the neurons of largest ``||w_j|| ||a_j||``."""
    (hidden, output), (bias, offset) = network.weights, network.biases
    sizes = np.linalg.norm(np.column_stack([hidden, bias]), axis=1) * np.linalg.norm(output, axis=0)
    kept = np.argsort(-sizes, kind="stable")[:width]
    return ReLUNetwork([hidden[kept], output[:, kept]], [bias[kept], offset])

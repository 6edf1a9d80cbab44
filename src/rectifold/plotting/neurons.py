"""What the neurons of a two-layer network look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import UnsupportedNetworkError
from rectifold.core.network import ReLUNetwork
from rectifold.plotting.axes import ACCENT, DIVERGING, MUTED, label, new_axes

__all__ = ["NeuronDisplay"]


class NeuronDisplay:
    """The neurons of a two-layer network, the strongest first.

    Parameters
    ----------
    slopes : ndarray of shape (n_neurons, n_features)
        What each neuron adds to the gradient where it is on: ``a_j w_j`` with one output, ``||a_j|| w_j`` with more.
    strength : ndarray of shape (n_neurons,)
        ``||[w_j, b_j]|| * ||a_j||``, the neuron's share of the penalty.
    feature_names : sequence of str

    Attributes
    ----------
    figure_, ax_ : matplotlib Figure and Axes
    image_ : matplotlib AxesImage of the heat map, or None
    bars_ : matplotlib BarContainer of the norms, or None
    """

    def __init__(
        self, slopes: NDArray[np.float64], strength: NDArray[np.float64], feature_names: Sequence[str]
    ) -> None:
        order = np.argsort(-strength, kind="stable")
        self.slopes = slopes[order]
        self.strength = strength[order]
        self.feature_names = tuple(feature_names)
        self.image_: Any = None
        self.bars_: Any = None

    @classmethod
    def from_network(
        cls, network: ReLUNetwork, *, feature_names: Sequence[str] | None = None, ax: Any = None, **options: Any
    ) -> Self:
        """Draw the neurons of a network with one hidden layer; `options` go to `plot`."""
        if len(network.widths) != 1:
            raise UnsupportedNetworkError(
                f"neurons are drawn for one hidden layer, this network has {len(network.widths)}"
            )
        (hidden, output), bias = network.weights, network.biases[0]
        norms = np.linalg.norm(output, axis=0)
        factor = output[0] if network.n_outputs == 1 else norms
        names = feature_names if feature_names is not None else [f"x{i}" for i in range(network.n_inputs)]
        strength = np.sqrt((hidden**2).sum(axis=1) + bias**2) * norms
        return cls(factor[:, None] * hidden, strength, names).plot(ax=ax, **options)

    @classmethod
    def from_estimator(cls, estimator: Any, *, feature_names: Sequence[str] | None = None, ax: Any = None) -> Self:
        """Draw the neurons of a fitted estimator's ``network_``."""
        names = feature_names if feature_names is not None else getattr(estimator, "feature_names_in_", None)
        return cls.from_network(estimator.network_, feature_names=names, ax=ax)

    def plot(self, ax: Any = None, *, kind: str = "heatmap", max_neurons: int = 40, max_features: int = 40) -> Self:
        """Draw the slopes (``kind="heatmap"``) or the strengths (``kind="norms"``) of the strongest neurons."""
        shown = min(max_neurons, self.strength.shape[0])
        self.figure_, self.ax_ = new_axes(ax, figsize=(7.0, 1.6 + 0.2 * max(shown, 4)))
        if shown == 0:
            self.ax_.text(0.5, 0.5, "no neuron: the network is a constant", ha="center", transform=self.ax_.transAxes)
            self.ax_.set_axis_off()
        elif kind == "norms":
            self._plot_norms(shown)
        else:
            self._plot_heatmap(shown, max_features)
        return self

    def _plot_norms(self, shown: int) -> None:
        """Draw one bar a neuron."""
        self.bars_ = self.ax_.bar(np.arange(1, shown + 1), self.strength[:shown], color=ACCENT)
        self.ax_.set(xlabel=f"neuron ({shown} of {self.strength.shape[0]})", ylabel="share of the penalty")

    def _plot_heatmap(self, shown: int, max_features: int) -> None:
        """Draw neuron by feature; with many features, those that carry most."""
        carried = np.abs(self.slopes).sum(axis=0)
        keep = np.sort(np.argsort(-carried, kind="stable")[:max_features])
        part = self.slopes[:shown, keep]
        limit = float(np.abs(part).max()) or 1.0
        self.image_ = self.ax_.imshow(
            part, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto", interpolation="none"
        )
        self.ax_.set_xticks(
            np.arange(keep.shape[0]), [label(self.feature_names[k]) for k in keep], rotation=60, ha="right"
        )
        self.ax_.tick_params(axis="x", labelsize=8)
        rows = np.arange(0, shown, 1 if shown <= 12 else 5)
        self.ax_.set_yticks(rows, [str(row + 1) for row in rows])
        self.ax_.set_ylabel(f"neuron ({shown} of {self.strength.shape[0]}), strongest on top")
        bar = self.figure_.colorbar(self.image_, ax=self.ax_, label="slope added where the neuron is on")
        bar.outline.set_edgecolor(MUTED)

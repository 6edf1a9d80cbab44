"""Where a two-layer network bends, and what it predicts between its folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.errors import ProblemError, UnsupportedNetworkError
from rectifold.core.network import ReLUNetwork
from rectifold.plotting.axes import ACCENT, AVERAGE, MUTED, SECOND, SEQUENTIAL, import_pyplot, label

__all__ = ["FoldDisplay"]

Array = NDArray[np.float64]
_GRID_1D, _GRID_2D = 101, 80
_AVERAGED_ROWS = 500


class FoldDisplay:
    """Partial dependence with the folds of the network marked.

    Along one feature: the exact polyline through the median sample, its folds (where a neuron switches), and the
    average over samples. For a pair of features: the prediction in the plane through the median sample, and the lines
    along which neurons switch.

    Parameters
    ----------
    network : ReLUNetwork
        With one hidden layer.
    X : array_like, shape (n_samples, n_features)
        Gives the ranges, the median sample and the samples to average over (500, evenly spaced, of more).
    features : sequence of int or (int, int)
    output : int, default 0
    feature_names : sequence of str, optional
    output_label : str

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of Axes, one per entry of `features`
    """

    def __init__(
        self,
        network: ReLUNetwork,
        X: ArrayLike,
        features: Sequence[int | tuple[int, int]],
        *,
        output: int = 0,
        feature_names: Sequence[str] | None = None,
        output_label: str = "prediction",
    ) -> None:
        if len(network.widths) != 1:
            raise UnsupportedNetworkError(
                f"folds are drawn for one hidden layer, this network has {len(network.widths)}"
            )
        self.network, self.X = network, np.asarray(X, dtype=np.float64)
        if self.X.ndim != 2 or self.X.shape[1] != network.n_inputs or self.X.shape[0] == 0:
            raise ProblemError(f"X must be (n_samples, {network.n_inputs}), got {self.X.shape}")
        if not 0 <= output < network.n_outputs:
            raise ProblemError(f"output must be in 0..{network.n_outputs - 1}, got {output}")
        if not len(features):
            raise ProblemError("no feature to draw")
        if any(not 0 <= k < network.n_inputs for feature in features for k in np.atleast_1d(feature)):
            raise ProblemError(f"features must be in 0..{network.n_inputs - 1}, got {list(features)}")
        self.features, self.output, self.output_label = list(features), output, output_label
        self.feature_names = (
            tuple(feature_names) if feature_names is not None else tuple(f"x{i}" for i in range(network.n_inputs))
        )
        self.center: Array = np.median(self.X, axis=0)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, features: Sequence[int | tuple[int, int]] | None = None, **options: Any
    ) -> Self:
        """Draw for a fitted estimator's ``network_``; by default its four most influential features."""
        options.setdefault("feature_names", getattr(estimator, "feature_names_in_", None))
        chosen = features if features is not None else cls.influential(estimator.network_, X, 4)
        return cls(estimator.network_, X, chosen, **options).plot()

    @classmethod
    def influential(cls, network: ReLUNetwork, X: ArrayLike, count: int, output: int = 0) -> list[int]:
        """Return the features along which the prediction through the median sample varies most, strongest first."""
        display = cls(network, X, list(range(network.n_inputs)), output=output)
        spread = np.array([np.ptp(display.slice_1d(k)[1]) for k in range(network.n_inputs)])
        return [int(k) for k in np.argsort(-spread, kind="stable")[:count]]

    def folds(self, feature: int) -> Array:
        """Return where a neuron switches along a feature through the median sample; sorted, inside the range of X."""
        hidden, bias = self.network.weights[0], self.network.biases[0]
        slope = hidden[:, feature]
        rest = hidden @ self.center + bias - slope * self.center[feature]
        used = (slope != 0.0) & (self.network.weights[1][self.output] != 0.0) & self.network.kinked[0]
        low, high = self._range(feature)
        positions = -rest[used] / slope[used]
        return np.sort(positions[(positions > low) & (positions < high)])

    def slice_1d(self, feature: int) -> tuple[Array, Array]:
        """Return (t, prediction): the corners of the polyline along a feature through the median sample."""
        low, high = self._range(feature)
        t = np.concatenate([[low], self.folds(feature), [high]])
        points = np.repeat(self.center[None, :], t.shape[0], axis=0)
        points[:, feature] = t
        return t, self.network(points)[:, self.output]

    def average_1d(self, feature: int) -> tuple[Array, Array]:
        """Return (t, prediction averaged over samples): the partial dependence, on an even grid."""
        t = np.linspace(*self._range(feature), _GRID_1D)
        chosen = np.linspace(0, self.X.shape[0] - 1, min(self.X.shape[0], _AVERAGED_ROWS)).astype(np.intp)
        rows = self.X[chosen]
        means = np.empty_like(t)
        for i, value in enumerate(t):
            rows[:, feature] = value
            means[i] = self.network(rows)[:, self.output].mean()
        return t, means

    def plot(self) -> Self:
        """Draw one panel per entry of `features`."""
        pyplot = import_pyplot()
        count = len(self.features)
        columns = min(count, 3)
        rows = -(-count // columns)
        self.figure_, grid = pyplot.subplots(
            rows, columns, figsize=(3.4 * columns, 2.9 * rows), squeeze=False, layout="constrained"
        )
        self.axes_ = grid.ravel()[:count]
        for ax in grid.ravel()[count:]:
            ax.set_axis_off()
        for ax, feature in zip(self.axes_, self.features, strict=True):
            if isinstance(feature, tuple):
                self._plot_pair(ax, *feature)
            else:
                self._plot_single(ax, int(feature))
        return self

    def _range(self, feature: int) -> tuple[float, float]:
        """Return the range of a feature, widened when it is a single value."""
        low, high = float(self.X[:, feature].min()), float(self.X[:, feature].max())
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def _plot_single(self, ax: Any, feature: int) -> None:
        """Draw polyline, folds and average along one feature."""
        t, values = self.slice_1d(feature)
        ax.plot(t, values, color=ACCENT, linewidth=1.8, label="median sample")
        ax.plot(t[1:-1], values[1:-1], "o", color=SECOND, markersize=4, label="fold")
        ax.plot(*self.average_1d(feature), color=AVERAGE, linewidth=1.4, linestyle="--", label="average")
        ax.set(xlabel=label(self.feature_names[feature]), ylabel=label(self.output_label))
        if ax is self.axes_[0]:
            ax.legend(frameon=False, fontsize=8)

    def _plot_pair(self, ax: Any, first: int, second: int) -> None:
        """Draw the prediction in a plane, and the lines along which neurons switch."""
        u, v = (np.linspace(*self._range(k), _GRID_2D) for k in (first, second))
        points = np.repeat(self.center[None, :], u.shape[0] * v.shape[0], axis=0)
        points[:, first], points[:, second] = np.tile(u, v.shape[0]), np.repeat(v, u.shape[0])
        values = self.network(points)[:, self.output].reshape(v.shape[0], u.shape[0])
        mesh = ax.pcolormesh(u, v, values, cmap=SEQUENTIAL, shading="nearest", rasterized=True)
        planes = self.network.preactivations(points)[0].reshape(v.shape[0], u.shape[0], -1)
        for z in np.moveaxis(planes, -1, 0):
            if z.min() < 0.0 < z.max():
                ax.contour(u, v, z, levels=[0.0], colors="#ffffff", linewidths=0.9, alpha=0.9)
        ax.set(xlabel=label(self.feature_names[first]), ylabel=label(self.feature_names[second]))
        bar = self.figure_.colorbar(mesh, ax=ax, label=label(self.output_label))
        bar.outline.set_edgecolor(MUTED)

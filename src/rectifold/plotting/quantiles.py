"""Quantile regressions side by side: a fan over one feature, or coefficients against the quantile."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from rectifold.core.errors import ProblemError
from rectifold.plotting.axes import ACCENT, MUTED, SEQUENTIAL, import_pyplot, new_axes
from rectifold.plotting.axes import label as safe_label

__all__ = ["QuantileFanDisplay"]

_GRID = 200
_MOST_BANDS_LABELLED = 9


class QuantileFanDisplay:
    """The lines of several quantiles over one feature, the pairs (q, 1 - q) joined to bands.

    Parameters
    ----------
    grid : array_like, shape (m,)
        Values of the feature.
    predictions : array_like, shape (m, k)
        One column a quantile.
    quantiles : array_like, shape (k,)
    points : tuple of two array_like of shape (n,), optional
        Feature and target of the samples.
    feature_name : str

    Attributes
    ----------
    figure_, ax_ : matplotlib Figure and Axes
    lines_ : list of matplotlib Line2D
        In ascending order of the quantile.
    bands_ : list of matplotlib collections
    points_ : matplotlib PathCollection or None
    """

    def __init__(
        self,
        grid: ArrayLike,
        predictions: ArrayLike,
        quantiles: ArrayLike,
        points: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        feature_name: str = "x",
    ) -> None:
        self.grid, self.quantiles = np.asarray(grid, dtype=np.float64), np.asarray(quantiles, dtype=np.float64)
        self.predictions = np.asarray(predictions, dtype=np.float64)
        if self.grid.ndim != 1 or self.predictions.shape != (len(self.grid), self.quantiles.size):
            raise ProblemError("predictions must have one row a grid value and one column a quantile")
        order = np.argsort(self.quantiles, kind="stable")
        self.quantiles, self.predictions = self.quantiles[order], self.predictions[:, order]
        self.points = None if points is None else tuple(np.asarray(v, dtype=np.float64) for v in points)
        self.feature_name = feature_name

    @classmethod
    def from_path(
        cls, path: Any, X: ArrayLike, y: ArrayLike, *, feature: int = 0, feature_name: str = "x", ax: Any = None
    ) -> Self:
        """Draw a `QuantilePath` over one feature, the others at their medians.

        Parameters
        ----------
        path : QuantilePath
        X, y : array_like
            The samples to show.
        feature : int
            Column of X.
        feature_name : str
        ax : matplotlib Axes, optional

        Raises
        ------
        ProblemError
            If there is no such feature.
        """
        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != path.coef.shape[1] or not -rows.shape[1] <= feature < rows.shape[1]:
            raise ProblemError(f"X must have {path.coef.shape[1]} columns, and feature must be one of them")
        column = rows[:, feature]
        grid = np.linspace(column.min(), column.max(), _GRID)
        inputs = np.tile(np.median(rows, axis=0), (_GRID, 1))
        inputs[:, feature] = grid
        display = cls(grid, path(inputs), path.quantiles, (column, y), feature_name=feature_name)
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw into `ax` or a new figure."""
        self.figure_, self.ax_ = new_axes(ax)
        k = self.quantiles.size
        self.points_ = None
        if self.points is not None:
            self.points_ = self.ax_.scatter(*self.points, s=6, color=MUTED, alpha=0.5, linewidths=0)
        self.bands_ = [
            self.ax_.fill_between(
                self.grid, self.predictions[:, i], self.predictions[:, k - 1 - i], color=ACCENT, alpha=0.12, linewidth=0
            )
            for i in range(k // 2)
        ]
        colours = import_pyplot().get_cmap(SEQUENTIAL)(np.linspace(0.1, 0.9, k))
        self.lines_ = [
            self.ax_.plot(self.grid, self.predictions[:, i], color=colours[i], linewidth=1.6, label=f"{q:.3g}")[0]
            for i, q in enumerate(self.quantiles)
        ]
        self.ax_.set(xlabel=safe_label(self.feature_name), ylabel="target")
        if k <= _MOST_BANDS_LABELLED:
            self.ax_.legend(title="quantile", frameon=False, fontsize="small", reverse=True)
        return self

"""Predictions beside the truth."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from rectifold.core.errors import ProblemError
from rectifold.plotting.axes import ACCENT, MUTED, label, new_axes

__all__ = ["PredictionDisplay"]

_RASTERIZE_ABOVE = 2000


class PredictionDisplay:
    """Predicted against true values (regression), or the confusion matrix (classification).

    Parameters
    ----------
    y_true, y_pred : array_like of shape (n_samples,)
    task : {"regression", "classification"}

    Attributes
    ----------
    figure_, ax_ : matplotlib Figure and Axes
    labels_ : ndarray of classes, classification only
    confusion_ : ndarray of int, ``confusion_[i, j]`` samples of class i predicted as class j; classification only
    points_, image_ : the artist drawn; the other one is None
    """

    def __init__(self, y_true: ArrayLike, y_pred: ArrayLike, task: str = "regression") -> None:
        self.y_true, self.y_pred, self.task = np.asarray(y_true), np.asarray(y_pred), task
        if self.y_true.ndim != 1 or self.y_true.shape != self.y_pred.shape:
            raise ProblemError(
                f"y_true {self.y_true.shape} and y_pred {self.y_pred.shape} must be vectors of one length"
            )
        self.points_: Any = None
        self.image_: Any = None

    @classmethod
    def from_predictions(cls, y_true: ArrayLike, y_pred: ArrayLike, *, task: str, ax: Any = None) -> Self:
        """Draw given predictions."""
        return cls(y_true, y_pred, task).plot(ax=ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: ArrayLike, *, ax: Any = None) -> Self:
        """Draw the predictions of a fitted estimator."""
        task = "classification" if hasattr(estimator, "classes_") else "regression"
        return cls.from_predictions(y, estimator.predict(X), task=task, ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw into `ax` or a new figure."""
        self.figure_, self.ax_ = new_axes(ax, figsize=(4.8, 4.4))
        if self.task == "classification":
            self._plot_confusion()
        else:
            self._plot_scatter()
        return self

    def _plot_scatter(self) -> None:
        """Draw points and the line on which they should lie."""
        low = float(min(self.y_true.min(), self.y_pred.min()))
        high = float(max(self.y_true.max(), self.y_pred.max()))
        self.ax_.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle="--")
        many = self.y_true.shape[0] > _RASTERIZE_ABOVE
        self.points_ = self.ax_.scatter(
            self.y_true, self.y_pred, s=12, alpha=0.65, color=ACCENT, linewidths=0, rasterized=many
        )
        self.ax_.set(xlabel="true value", ylabel="predicted value")

    def _plot_confusion(self) -> None:
        """Draw counts, true classes down and predicted classes across."""
        self.labels_ = np.unique(np.concatenate([self.y_true, self.y_pred]))
        rows, columns = np.searchsorted(self.labels_, self.y_true), np.searchsorted(self.labels_, self.y_pred)
        size = self.labels_.shape[0]
        self.confusion_ = np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
        share = self.confusion_ / np.maximum(self.confusion_.sum(axis=1, keepdims=True), 1)
        self.image_ = self.ax_.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
        for (i, j), count in np.ndenumerate(self.confusion_):
            colour = "#ffffff" if share[i, j] > 0.5 else "#1b2733"
            self.ax_.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=9)
        names = [label(value) for value in self.labels_]
        self.ax_.set_xticks(np.arange(size), names, rotation=45 if max(map(len, names)) > 3 else 0)
        self.ax_.set_yticks(np.arange(size), names)
        self.ax_.set(xlabel="predicted class", ylabel="true class")

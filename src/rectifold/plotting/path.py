"""A regularisation path."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from rectifold.core.errors import ProblemError
from rectifold.plotting.axes import ACCENT, MUTED, SECOND, import_pyplot

__all__ = ["PathDisplay"]


class PathDisplay:
    """Objective, number of neurons and scores against alpha.

    Parameters
    ----------
    alphas, objective, n_neurons, train_score : array_like of shape (k,)
    test_score : array_like of shape (k,), optional
    chosen : float, optional
        Alpha to mark.
    score_name : str

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of three Axes: objective, neurons, scores
    """

    def __init__(
        self,
        alphas: ArrayLike,
        objective: ArrayLike,
        n_neurons: ArrayLike,
        train_score: ArrayLike,
        test_score: ArrayLike | None = None,
        *,
        chosen: float | None = None,
        score_name: str = "score",
    ) -> None:
        columns = [alphas, objective, n_neurons, train_score, *([] if test_score is None else [test_score])]
        arrays = [np.asarray(column, dtype=np.float64) for column in columns]
        if any(array.ndim != 1 or array.shape != arrays[0].shape for array in arrays):
            raise ProblemError("a path needs vectors of one length")
        order = np.argsort(arrays[0])
        self.alphas, self.objective, self.n_neurons, self.train_score = (array[order] for array in arrays[:4])
        self.test_score = arrays[4][order] if test_score is not None else None
        self.chosen, self.score_name = chosen, score_name

    def plot(self) -> Self:
        """Draw three panels that share the alpha axis."""
        pyplot = import_pyplot()
        self.figure_, self.axes_ = pyplot.subplots(1, 3, figsize=(10.0, 3.2), sharex=True, layout="constrained")
        style: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.6}
        objective, neurons, scores = self.axes_
        objective.plot(self.alphas, self.objective, color=ACCENT, **style)
        neurons.plot(self.alphas, self.n_neurons, color=ACCENT, **style)
        scores.plot(self.alphas, self.train_score, color=ACCENT, label="training", **style)
        if self.test_score is not None:
            scores.plot(self.alphas, self.test_score, color=SECOND, label="test", **style)
            scores.legend(frameon=False)
        for ax, label in zip(self.axes_, ("objective", "neurons", self.score_name), strict=True):
            ax.set(xlabel="alpha", ylabel=label, xscale="log")
            if self.chosen is not None:
                ax.axvline(self.chosen, color=MUTED, linestyle="--", linewidth=1)
        return self

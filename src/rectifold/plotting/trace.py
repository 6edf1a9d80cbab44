"""Objective and bound against time."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from rectifold.core.errors import ProblemError
from rectifold.core.result import Result
from rectifold.plotting.axes import ACCENT, SECOND, new_axes

__all__ = ["TraceDisplay"]


class TraceDisplay:
    """How the objective fell and the proven bound rose.

    Parameters
    ----------
    elapsed, value, bound : array_like of shape (k,)
        Seconds, incumbent objective, proven lower bound; non-finite entries are not drawn.

    Attributes
    ----------
    figure_, ax_ : matplotlib Figure and Axes
    value_line_, bound_line_ : matplotlib Line2D
    """

    def __init__(self, elapsed: ArrayLike, value: ArrayLike, bound: ArrayLike) -> None:
        self.elapsed = np.asarray(elapsed, dtype=np.float64)
        self.value = np.asarray(value, dtype=np.float64)
        self.bound = np.asarray(bound, dtype=np.float64)
        if self.elapsed.ndim != 1 or not self.elapsed.shape == self.value.shape == self.bound.shape:
            raise ProblemError("elapsed, value and bound must be vectors of one length")

    @classmethod
    def from_result(cls, result: Result[Any], *, ax: Any = None) -> Self:
        """Draw the trace of a result, its final value and bound included."""
        trace = result.trace
        end = float(trace.elapsed[-1]) if len(trace) else 0.0
        display = cls(
            np.append(trace.elapsed, end),
            np.append(trace.value, result.value),
            np.append(trace.bound, result.bound),
        )
        return display.plot(ax=ax)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the trace of a fitted estimator's ``result_``."""
        return cls.from_result(estimator.result_, ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw into `ax` or a new figure."""
        self.figure_, self.ax_ = new_axes(ax)
        value = np.fmin.accumulate(np.where(np.isfinite(self.value), self.value, np.nan))
        bound = np.fmax.accumulate(np.where(np.isfinite(self.bound), self.bound, np.nan))
        style: dict[str, Any] = {"drawstyle": "steps-post", "marker": ".", "linewidth": 1.8}
        (self.value_line_,) = self.ax_.plot(self.elapsed, value, color=ACCENT, label="objective", **style)
        (self.bound_line_,) = self.ax_.plot(self.elapsed, bound, color=SECOND, label="proven lower bound", **style)
        both = np.isfinite(value) & np.isfinite(bound)
        self.ax_.fill_between(
            self.elapsed, bound, value, where=both, step="post", color=ACCENT, alpha=0.12, linewidth=0
        )
        self._focus(value, bound)
        self.ax_.set(xlabel="seconds", ylabel="objective")
        self.ax_.legend(frameon=False)
        return self

    def _focus(self, value: np.ndarray, bound: np.ndarray) -> None:
        """Keep early, far-off values from squeezing the part of the plot that tells something."""
        finite = np.concatenate([value[np.isfinite(value)], bound[np.isfinite(bound)]])
        if finite.size == 0:
            return
        last = float(value[np.isfinite(value)][-1]) if np.isfinite(value).any() else float(finite[-1])
        low, top = max(float(finite.min()), last - 3.0 * abs(last)), min(float(finite.max()), last + 2.0 * abs(last))
        if top > low:
            self.ax_.set_ylim(low - 0.05 * (top - low), top + 0.05 * (top - low))

"""What one trained network hides: the predictions of all optimal ones, along one feature."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.errors import ProblemError
from rectifold.plotting.axes import ACCENT, MUTED, SECOND, new_axes
from rectifold.plotting.axes import label as safe_label

__all__ = ["OptimalSetDisplay"]

Array = NDArray[np.float64]

_GRID = 200


class OptimalSetDisplay:
    """The range of predictions over an optimal set on a line through the inputs, with some of its networks.

    Parameters
    ----------
    grid : array_like, shape (m,)
        Values of the feature.
    lower, upper : array_like, shape (m,)
        The least and the largest prediction of all members.
    members : array_like, shape (k, m)
        Predictions of random members.
    minimum_norm : array_like, shape (m,), optional
        Those of the member of minimum norm.
    points : tuple of two array_like of shape (n,), optional
        Feature and target of the samples.
    feature_name, target_name : str

    Attributes
    ----------
    figure_, ax_ : matplotlib Figure and Axes
    range_ : the band
    member_lines_ : list of matplotlib Line2D
    minimum_norm_line_, points_ : artists; None where there is nothing to draw
    """

    def __init__(
        self,
        grid: ArrayLike,
        lower: ArrayLike,
        upper: ArrayLike,
        members: ArrayLike = (),
        minimum_norm: ArrayLike | None = None,
        points: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        feature_name: str = "x",
        target_name: str = "prediction",
    ) -> None:
        self.grid = np.asarray(grid, dtype=np.float64)
        self.lower, self.upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
        self.members = np.asarray(members, dtype=np.float64).reshape(-1, self.grid.size)
        self.minimum_norm = None if minimum_norm is None else np.asarray(minimum_norm, dtype=np.float64)
        curves = [self.lower, self.upper] + ([] if self.minimum_norm is None else [self.minimum_norm])
        if self.grid.ndim != 1 or self.grid.size == 0 or any(curve.shape != self.grid.shape for curve in curves):
            raise ProblemError("the range needs a vector of grid values and curves of the same length")
        self.points = None if points is None else tuple(np.asarray(v, dtype=np.float64) for v in points)
        self.feature_name, self.target_name = feature_name, target_name

    @classmethod
    def from_optimal_set(
        cls,
        optimal: Any,
        *,
        feature: int = 0,
        at: ArrayLike | None = None,
        limits: tuple[float, float] | None = None,
        n_members: int = 10,
        output: int = 0,
        feature_name: str | None = None,
        random_state: int | np.random.Generator | None = 0,
        ax: Any = None,
    ) -> Self:
        """Draw an `OptimalSet` over one feature.

        Parameters
        ----------
        optimal : OptimalSet
        feature : int
        at : array_like, shape (n_features,), optional
            Values of the other features; default: their medians over the training samples.
        limits : tuple of float, optional
            Of the feature; default: its range over the training samples, a tenth wider at both ends.
        n_members : int
            Random members to draw.
        output : int
        feature_name : str, optional
        random_state : int, Generator or None
        ax : matplotlib Axes, optional

        Raises
        ------
        ProblemError
            If there is no such feature or output, or ``at`` does not fit.

        Notes
        -----
        Two linear programs a grid point where members differ.
        """
        problem = optimal.problem
        d = problem.n_features
        if not 0 <= feature < d or not 0 <= output < problem.n_outputs:
            raise ProblemError(f"there are {d} features and {problem.n_outputs} outputs, counted from 0")
        X = problem.design[:, :d]
        centre = np.median(X, axis=0) if at is None else np.asarray(at, dtype=np.float64)
        if centre.shape != (d,) or not np.isfinite(centre).all():
            raise ProblemError(f"at must hold {d} finite numbers, got shape {centre.shape}")
        column = X[:, feature]
        margin = 0.1 * float(np.ptp(column))
        low, high = (column.min() - margin, column.max() + margin) if limits is None else limits
        line = np.tile(centre, (_GRID, 1))
        line[:, feature] = np.linspace(low, high, _GRID)
        lower, upper = (bound[:, output] for bound in optimal.prediction_range(line))
        members = [m.network(line)[:, output] for m in optimal.sample(n_members, random_state)] if n_members else []
        display = cls(
            line[:, feature],
            lower,
            upper,
            members,
            optimal.minimum_norm().network(line)[:, output],
            (column, problem.targets[:, output]) if problem.loss.name == "squared" else None,
            feature_name=f"feature {feature}" if feature_name is None else feature_name,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw into `ax` or a new figure."""
        self.figure_, self.ax_ = new_axes(ax)
        self.points_ = None
        if self.points is not None:
            self.points_ = self.ax_.scatter(*self.points, s=8, color=MUTED, alpha=0.6, linewidths=0, label="samples")
        self.range_ = self.ax_.fill_between(
            self.grid, self.lower, self.upper, color=ACCENT, alpha=0.2, linewidth=0, label="all optimal networks"
        )
        self.member_lines_ = [
            self.ax_.plot(self.grid, curve, color=ACCENT, linewidth=0.7, alpha=0.6)[0] for curve in self.members
        ]
        self.minimum_norm_line_: Any = None
        if self.minimum_norm is not None:
            (self.minimum_norm_line_,) = self.ax_.plot(
                self.grid, self.minimum_norm, color=SECOND, linewidth=1.6, label="minimum norm"
            )
        self.ax_.set(xlabel=safe_label(self.feature_name), ylabel=safe_label(self.target_name))
        self.ax_.legend(frameon=False, fontsize="small")
        return self

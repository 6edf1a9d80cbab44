"""A walk to a local minimum over the pieces of a network with two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.domain import Domain
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.plotting.axes import SECOND, SEQUENTIAL, label, new_axes
from rectifold.plotting.plane_regions import PlanePiece, plane_pieces, window

if TYPE_CHECKING:
    from rectifold.programs.minimum import LocalMinimum

__all__ = ["WalkDisplay"]

Array = NDArray[np.float64]

_MANY = 1000
_ARROW = 0.18  # of the window's width


class WalkDisplay:
    """The regions of a network with two inputs, and a walk over their vertices.

    Every polygon is a piece on which the network is affine; the colours between its corners are the network's values,
    exactly. A walk runs along edges of the pieces once it has reached its first vertex.

    Parameters
    ----------
    network : ReLUNetwork
        With two inputs.
    points : array_like, shape (m, 2)
        The points of the walk, first to last.
    domain : Box or Polytope, optional
    output : int
    n_before : int
        How many points come before the first vertex.
    minimum : LocalMinimum, optional
        Where the walk ended.
    feature_names : sequence of two str
    max_regions : int

    Attributes
    ----------
    pieces : list of PlanePiece
        The polygons with their corners and values.
    figure_, ax_ : matplotlib Figure and Axes
    surface_ : matplotlib TriMesh
        The values; None where the domain has no area.
    regions_ : matplotlib LineCollection
        The sides of the pieces; None likewise.
    path_, start_, vertices_ : matplotlib Line2D
    minimum_ : matplotlib Line2D or None
        The decided local optimum.
    ray_ : matplotlib Annotation or None
        The direction in which the output goes on for ever.

    Raises
    ------
    ProblemError
        If the network or the points are not two-dimensional, or there are more pieces than ``max_regions``.
    """

    def __init__(
        self,
        network: ReLUNetwork,
        points: ArrayLike,
        domain: Domain | None = None,
        *,
        output: int = 0,
        n_before: int = 0,
        minimum: LocalMinimum | None = None,
        feature_names: Sequence[str] = ("x0", "x1"),
        max_regions: int = 20_000,
    ) -> None:
        if network.n_inputs != 2:
            raise ProblemError(f"a walk is drawn for two inputs, this network has {network.n_inputs}")
        self.points = np.asarray(points, dtype=np.float64)
        if self.points.ndim != 2 or self.points.shape[1] != 2 or not len(self.points):
            raise ProblemError(f"points must have shape (m, 2) with at least one of them, got {self.points.shape}")
        if not 0 <= output < network.n_outputs:
            raise ProblemError(f"output must be in 0..{network.n_outputs - 1}, got {output}")
        self.network, self.domain, self.output, self.minimum = network, domain, output, minimum
        self.n_before, self.feature_names = n_before, tuple(feature_names)
        outline = window(domain, self.points)
        self.pieces: list[PlanePiece] = plane_pieces(network, outline, max_regions) if len(outline) > 2 else []
        self.surface_: Any = None
        self.regions_: Any = None
        self.minimum_: Any = None
        self.ray_: Any = None

    @classmethod
    def from_network(
        cls,
        network: ReLUNetwork,
        domain: Domain | None = None,
        x0: ArrayLike | None = None,
        *,
        output: int = 0,
        maximum: bool = False,
        random_state: int | np.random.Generator | None = 0,
        feature_names: Sequence[str] = ("x0", "x1"),
        ax: Any = None,
    ) -> Self:
        """Walk from a point to a local minimum (or maximum), as `rectifold.polish` does, and draw it.

        Parameters
        ----------
        network : ReLUNetwork
        domain : Box or Polytope, optional
        x0 : array_like, shape (2,), optional
            A point of the domain; by default the one nearest to zero.
        output : int
        maximum : bool
        random_state : int, Generator or None
        feature_names : sequence of two str
        ax : matplotlib Axes, optional

        Raises
        ------
        ProblemError
            If the network has not two inputs, or the point is not one of the domain.
        """
        from rectifold.programs.minimize import polish
        from rectifold.programs.objective import Objective
        from rectifold.programs.region_simplex import RegionSimplex
        from rectifold.programs.starts import nearest_point

        objective = Objective.checked(network, domain, output, -1.0 if maximum else 1.0)
        if network.n_inputs != 2:
            raise ProblemError(f"a walk is drawn for two inputs, this network has {network.n_inputs}")
        start = nearest_point(objective.domain) if x0 is None else np.asarray(x0, dtype=np.float64)
        end = polish(network, start, domain, output=output, maximum=maximum, random_state=random_state).minimum
        steps = list(RegionSimplex(objective, np.random.default_rng(random_state)).steps(start))
        points = [step.x for step in steps]
        if not np.array_equal(points[-1], end.x):
            points.append(end.x)  # a degenerate vertex was left by the direction that a program found
        display = cls(
            network,
            np.array(points),
            domain,
            output=output,
            n_before=sum(step.phase == 1 for step in steps),
            minimum=end,
            feature_names=feature_names,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw into `ax` or a new figure."""
        self.figure_, self.ax_ = new_axes(ax, figsize=(6.4, 5.0))
        if self.pieces:
            self._plot_pieces()
        style: dict[str, Any] = {"color": SECOND, "markeredgecolor": "#ffffff", "markeredgewidth": 0.8}
        (self.path_,) = self.ax_.plot(*self.points.T, color=SECOND, linewidth=2.0, label="walk")
        vertices = self.points[self.n_before :]
        (self.vertices_,) = self.ax_.plot(*vertices.T, "o", markersize=5, label="vertex", **style)
        (self.start_,) = self.ax_.plot(*self.points[0], "s", markersize=7, label="start", **style)
        self._plot_end(style)
        self.ax_.set(xlabel=label(self.feature_names[0]), ylabel=label(self.feature_names[1]))
        self.ax_.legend(loc="best", fontsize="small", framealpha=0.85)
        return self

    def _plot_pieces(self) -> None:
        """Fill the pieces by their values, and draw their sides."""
        from matplotlib.collections import LineCollection

        corners = np.concatenate([piece.corners for piece in self.pieces])
        values = np.concatenate([piece.values[:, self.output] for piece in self.pieces])
        first = np.cumsum([0, *(len(piece.corners) for piece in self.pieces)])
        triangles = [
            (start, start + i, start + i + 1)
            for start, piece in zip(first, self.pieces, strict=False)
            for i in range(1, len(piece.corners) - 1)
        ]
        self.surface_ = self.ax_.tripcolor(
            *corners.T, values, triangles=triangles, shading="gouraud", cmap=SEQUENTIAL, rasterized=True
        )
        outlines = [np.vstack([piece.corners, piece.corners[:1]]) for piece in self.pieces]
        width = 0.7 if len(outlines) < _MANY else 0.3
        self.regions_ = LineCollection(outlines, colors="#ffffff", linewidths=width, alpha=0.6)
        self.ax_.add_collection(self.regions_)
        self.figure_.colorbar(self.surface_, ax=self.ax_, label="output")

    def _plot_end(self, style: dict[str, Any]) -> None:
        """Mark a decided optimum, or draw the ray."""
        end = self.minimum
        if end is None:
            return
        if end.decided_by:
            self.minimum_ = self.ax_.plot(*end.x, "*", markersize=16, label=f"value {end.value:.6g}", **style)[0]
        if end.ray is not None:
            low, high = np.array(self.ax_.get_xlim()), np.array(self.ax_.get_ylim())
            tip = end.x + _ARROW * max(np.ptp(low), np.ptp(high)) * end.ray
            arrow = {"arrowstyle": "-|>", "color": SECOND, "linewidth": 2.0}
            self.ray_ = self.ax_.annotate("", tip, end.x, arrowprops=arrow, annotation_clip=False)

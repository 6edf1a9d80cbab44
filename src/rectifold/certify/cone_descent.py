"""Two ways to move the activities of a `Saddle` towards its minimum: cheap averages, then accelerated gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.cone_saddle import Saddle

__all__ = ["Averages", "Gradients"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(eq=False)
class Averages:
    """q as an average of the zonotope's vertices that the maximisers show; most leaves need one or two.

    Attributes
    ----------
    saddle : Saddle
    smoothing : float
        As `Saddle.directions` takes it; it falls with the steps.
    count : int
        Steps so far.
    """

    saddle: Saddle
    smoothing: float = 0.0
    count: int = 0

    def take(self, mask: Mask) -> Averages:
        """Keep some of the cones."""
        return Averages(self.saddle.take(mask), self.smoothing, self.count)

    def advance(self) -> Array:
        """Move q by ``1 / (1 + 0.7 step)`` of the way, or a little less; return `Saddle.reached`."""
        s = self.saddle
        directions = s.directions(self.smoothing / (1.0 + 0.03 * self.count))
        vertices = (directions @ s.rows.negative.T > 0.0).astype(np.float64) @ s.rows.negative
        reached = s.reached(directions, (vertices * directions).sum(axis=1))
        slowed = 1.5 + 0.5 * self.count if self.smoothing else 1.0 + 0.7 * self.count
        s.pulls = s.pulls + (vertices - s.pulls) / slowed
        self.count += 1
        return reached


@dataclass(eq=False)
class Gradients:
    """Accelerated projected gradients on alpha in [0, 1]^n.

    Half the squared relaxation is a squared distance to a convex set as a function of q, hence has a Lipschitz gradient
    (Beck and Teboulle 2009, with the restart of O'Donoghue and Candes 2015); the constant K of the residual term
    is not covered by that, and nothing depends on it.

    Attributes
    ----------
    saddle : Saddle
    activities, ahead : ndarrays, shape (m, n_negative)
        The iterate and the extrapolated point, in the box, at which the saddle's q stands.
    momentum : ndarray, shape (m,)
    curvature : float
        Largest eigenvalue of ``sum_{r_i < 0} r_i^2 z_i z_i'``.
    """

    saddle: Saddle
    activities: Array
    ahead: Array
    momentum: Array
    curvature: float

    @classmethod
    def start(cls, saddle: Saddle) -> Gradients:
        """Begin with the activities at the maximisers."""
        sides = saddle.rows.negative
        activities = (saddle.directions() @ sides.T > 0.0).astype(np.float64)
        saddle.pulls = activities @ sides
        curvature = max(float(np.linalg.eigvalsh(sides.T @ sides)[-1]), 1e-300)
        return cls(saddle, activities, activities, np.ones(len(saddle)), curvature)

    def take(self, mask: Mask) -> Gradients:
        """Keep some of the cones."""
        return Gradients(
            self.saddle.take(mask), self.activities[mask], self.ahead[mask], self.momentum[mask], self.curvature
        )

    def advance(self) -> Array:
        """Take a step; return `Saddle.reached`."""
        s = self.saddle
        directions = s.directions()
        images = directions @ s.rows.negative.T
        reached = s.reached(directions, np.maximum(images, 0.0).sum(axis=1))
        new = np.clip(self.ahead + images / self.curvature, 0.0, 1.0)
        restart = ((self.ahead - new) * (new - self.activities)).sum(axis=1) > 0.0
        momentum = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * self.momentum**2))
        weight = np.where(restart, 0.0, (self.momentum - 1.0) / momentum)
        self.ahead = np.clip(new + weight[:, None] * (new - self.activities), 0.0, 1.0)
        self.activities, self.momentum = new, np.where(restart, 1.0, momentum)
        s.pulls = self.ahead @ s.rows.negative
        return reached

"""Rows whose residual is far from zero, taken as linear, and the check that they stay on their side."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rectifold.programs.lad_rows import Frame, Rows
from rectifold.programs.lad_walk import Vertex

__all__ = ["FarRows", "pinball"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_WHOLE = 0.5
_UNEVEN = 3.0
_ZERO = 1e-11


class FarRows:
    """The rows whose residual at a vertex is above a threshold, taken as linear with the slope of that side.

    The threshold leaves about `share` of the rows, as a sample says; it grows with the size of a row where these
    differ much, because so does what a change of coefficients does to the residual.
    """

    def __init__(self, frame: Frame, vertex: Vertex, quantile: float, guide: Rows, share: float) -> None:
        self._frame, self._quantile, self._basis = frame, quantile, vertex.basis
        self._coef, self._intercept = frame.coefficients(vertex.theta)
        self.moment = np.zeros(frame.size)
        self._by_size = False
        if share >= _WHOLE:
            self._threshold = np.inf
            return
        sizes = frame.row_sizes(guide.X)
        self._by_size = bool(np.quantile(sizes, 0.99) > _UNEVEN * np.median(sizes))
        self._threshold = float(np.quantile(np.abs(self._residual(guide)) / (sizes if self._by_size else 1.0), share))

    def split(self, blocks: Iterable[Rows], dual: Array | None) -> tuple[Rows, Bools]:
        """Sum up the far rows; return the others and the sides they are on. Slopes of far rows go into `dual`."""
        near, sides = [], []
        moment, total = np.zeros(self._frame.n_features), 0.0
        for rows in blocks:
            residual = self._residual(rows)
            band = self._near(rows, residual)
            d = self._slopes(residual, rows.weights)
            d[band] = 0.0
            moment += d @ rows.X
            total += float(d.sum())
            near.append(rows.take(np.flatnonzero(band)))
            sides.append(residual[band] > 0.0)
            if dual is not None:
                dual[rows.ids] = d
        self.moment = self._frame.moment(moment, total)
        return Rows.stack(near), np.concatenate(sides)

    def check(
        self, blocks: Iterable[Rows], coef: Array, intercept: float, size: float, inside: Ints
    ) -> tuple[float, tuple[Rows, Bools] | None]:
        """Return the loss at other coefficients, and the far rows (and their old sides) on the wrong side of them."""
        value, found, sides = 0.0, [], []
        inside = np.sort(inside)
        for rows in blocks:
            before = self._residual(rows)
            residual = rows.y - rows.X @ coef - intercept
            value += pinball(residual, rows.weights, self._quantile)
            wrong = np.flatnonzero((before > 0.0) != (residual > 0.0))
            clear = np.abs(residual[wrong]) > _ZERO * (np.abs(rows.y[wrong]) + size)
            wrong = wrong[clear]
            wrong = wrong[~np.isin(rows.ids[wrong], inside, assume_unique=True)]
            if len(wrong):
                found.append(rows.take(wrong))
                sides.append(before[wrong] > 0.0)
        return value, (Rows.stack(found), np.concatenate(sides)) if found else None

    def moment_of(self, rows: Rows, positive: Bools) -> Array:
        """Return what these far rows contributed to `moment`."""
        d = self._slopes(np.where(positive, 1.0, -1.0), rows.weights)
        return self._frame.moment(d @ rows.X, float(d.sum()))

    def _near(self, rows: Rows, residual: Array) -> Bools:
        limit = self._threshold * self._frame.row_sizes(rows.X) if self._by_size else self._threshold
        band = np.abs(residual) <= limit
        band[rows.positions(self._basis)] = True  # rounding may have put them beyond a very small threshold
        return band

    def _residual(self, rows: Rows) -> Array:
        return rows.y - rows.X @ self._coef - self._intercept

    def _slopes(self, residual: Array, weights: Array) -> Array:
        return np.where(residual > 0.0, self._quantile, self._quantile - 1.0) * weights


def pinball(residual: Array, weights: Array, quantile: float) -> float:
    """Sum of ``w max(q r, (q - 1) r)``."""
    return float(weights @ (np.abs(residual) * 0.5 + (quantile - 0.5) * residual))

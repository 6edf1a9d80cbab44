"""The pieces of a network with two inputs inside a window, as polygons: exact, by cutting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.domain import Domain
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork

__all__ = ["PlanePiece", "plane_pieces", "window"]

Array = NDArray[np.float64]

_FAR = 1e6
_FLAT = 1e-9
_TOUCH = 1e-10  # of the largest value on a polygon: below, a kink passes along its side


@dataclass(frozen=True, eq=False)
class PlanePiece:
    """A convex polygon on which a network is affine.

    Attributes
    ----------
    corners : ndarray, shape (k, 2)
        In order around it.
    values : ndarray, shape (k, n_outputs)
        The network's outputs there; linear in between.
    """

    corners: Array
    values: Array


def plane_pieces(network: ReLUNetwork, corners: Array, max_pieces: int) -> list[PlanePiece]:
    """Cut a convex polygon along every kink of a network with two inputs.

    Parameters
    ----------
    network : ReLUNetwork
    corners : ndarray, shape (k, 2)
    max_pieces : int

    Raises
    ------
    ProblemError
        If there are more pieces than that.

    Notes
    -----
    What each unit computes is linear on a piece, so it is known from its values at the corners; they are interpolated
    where a side is cut. The cost is O(corners * widths) a piece.
    """
    pieces = [(corners, corners)]  # with the values of the layer below at the corners
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        pieces = [(where, hidden @ weight.T + bias) for where, hidden in pieces]
        if layer == len(network.slopes):
            break
        lo, hi = network.slopes[layer]
        cut: list[tuple[Array, Array]] = []
        for where, z in pieces:
            for part, inside in _cut_by_units(where, z, lo != hi):
                on = inside.max(axis=0) > -inside.min(axis=0)
                cut.append((part, np.where(on, hi, lo) * inside))
            if len(cut) > max_pieces:
                raise ProblemError(f"there are more than {max_pieces} pieces to draw; take a smaller domain")
        pieces = cut
    return [PlanePiece(where, values) for where, values in pieces]


def window(domain: Domain | None, points: Array) -> Array:
    """Return the polygon to draw: the domain, cut off around some points where it has no bound.

    Parameters
    ----------
    domain : Domain or None
        Its equalities are left aside.
    points : ndarray, shape (m, 2)

    Returns
    -------
    ndarray, shape (k, 2)
        Without corners if nothing of the domain is there, or it has no area.
    """
    far = _FAR * (1.0 + float(np.abs(points).max()))
    polygon = _clip(_rectangle(np.full(2, -far), np.full(2, far)), domain)
    if not len(polygon):
        return polygon
    margin = float(np.ptp(points, axis=0).max()) or 1.0
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    low = np.where(low <= -0.01 * far, points.min(axis=0) - margin, low)
    high = np.where(high >= 0.01 * far, points.max(axis=0) + margin, high)
    polygon = _clip(_rectangle(low, high), domain)
    x, y = polygon.T
    area = 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
    return polygon if area > _FLAT * margin**2 else np.zeros((0, 2))


def _rectangle(low: Array, high: Array) -> Array:
    return np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])


def _clip(polygon: Array, domain: Domain | None) -> Array:
    if domain is None:
        return polygon
    for row, limit in zip(*domain.rows(), strict=True):
        excess = polygon @ row - limit
        if len(polygon) and excess.max() > 0.0:
            polygon = _side(polygon, polygon, excess)[0]
    return polygon


def _cut_by_units(corners: Array, z: Array, kinked: NDArray[np.bool_]) -> Iterator[tuple[Array, Array]]:
    """Cut a polygon along the zero lines of the units that change sign on it."""
    waiting = [(corners, z)]
    while waiting:
        where, inside = waiting.pop()
        tol = _TOUCH * np.abs(inside).max(axis=0)
        crossing = np.flatnonzero(kinked & (inside.min(axis=0) < -tol) & (inside.max(axis=0) > tol))
        if not len(crossing):
            yield where, inside
            continue
        levels = inside[:, crossing[0]]
        for level in (levels, -levels):
            part, values = _side(where, inside, level)
            if len(part) > 2:
                waiting.append((part, values))


def _side(corners: Array, values: Array, level: Array) -> tuple[Array, Array]:
    """The part of a polygon where a linear function with given corner values is at most 0, with other such values."""
    following = np.roll(np.arange(len(corners)), -1)
    keep = level <= 0.0
    crosses = keep != keep[following]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(crosses, level / (level - level[following]), 0.0)[:, None]
    place = np.arange(len(corners)).astype(float)
    order = np.argsort(np.concatenate([place[keep], place[crosses] + 0.5]), kind="stable")
    parts = []
    for array in (corners, values):
        between = array + share * (array[following] - array)
        parts.append(np.concatenate([array[keep], between[crosses]])[order])
    return parts[0], parts[1]

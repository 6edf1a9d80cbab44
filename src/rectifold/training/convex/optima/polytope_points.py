"""Points of the polytope of optimal multipliers: the nearest to a given one, random ones, and all vertices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.spatial import HalfspaceIntersection, QhullError

from rectifold.core.errors import ProblemError, SolverError
from rectifold.training.convex.optima.optimal_polytope import OptimalPolytope

__all__ = ["hit_and_run", "nearest", "vertices"]

Array = NDArray[np.float64]

_ACTIVE = 1e-9
_STEPS, _STEPS_PER_DIMENSION = 30, 8
_SAME_VERTEX = 1e-7
_QHULL_DIMENSION = 9


def _constraints(polytope: OptimalPolytope) -> tuple[Array, Array]:
    """Return (C, d) of the inequalities ``C z >= d`` in null-space coordinates around the centre."""
    basis, center = polytope.null_basis, polytope.center
    slack = polytope.G @ center - polytope.h
    moving = slack > _ACTIVE * (1.0 + np.abs(polytope.h))
    rows = np.vstack([basis[polytope.live], polytope.G[moving] @ basis])
    return rows, -np.concatenate([center[polytope.live], slack[moving]])


def nearest(polytope: OptimalPolytope, point: Array) -> Array:
    """Return the multipliers of the polytope nearest to ``point``, shape (m,), in the Euclidean norm.

    Notes
    -----
    Least-distance programming in the null space (Lawson and Hanson, 1974, chapter 23), by one non-negative least
    squares with ``dimension + 1`` rows, then a solve on the active constraints that removes its rounding.
    """
    if polytope.dimension == 0:
        return polytope.clean(polytope.center)
    rows, limits = _constraints(polytope)
    shift = polytope.null_basis.T @ (point - polytope.center)
    size = max(float(np.linalg.norm(shift)), float(np.linalg.norm(polytope.center)), 1e-300)
    z = shift + size * _least_distance(rows, (limits - rows @ shift) / size)
    return _refined(polytope, polytope.center + polytope.null_basis @ z, point)


def _least_distance(C: Array, d: Array) -> Array:
    """Return the shortest z with ``C z >= d``."""
    lengths = np.maximum(np.linalg.norm(C, axis=1), 1e-300)
    matrix = np.vstack([C.T / lengths, d / lengths])
    target = np.zeros(len(matrix))
    target[-1] = 1.0
    weights, _ = nnls(matrix, target, maxiter=30 * matrix.shape[1] + 100)
    rest = matrix @ weights - target
    if abs(rest[-1]) < 1e-14:
        raise SolverError("The nearest optimum could not be found: its constraints look contradictory in rounding.")
    return np.asarray(-rest[:-1] / rest[-1])


def _refined(polytope: OptimalPolytope, mu: Array, point: Array) -> Array:
    """Solve again on the active constraints; the unrefined point if that leaves the polytope."""
    support = mu > _ACTIVE * max(float(mu.max(initial=0.0)), 1e-300)
    slack = polytope.G @ mu - polytope.h
    tight = slack <= _ACTIVE * (1.0 + np.abs(polytope.h))
    rows = np.vstack([polytope.A, polytope.G[tight]])[:, support]
    rhs = np.concatenate([polytope.b, polytope.h[tight]])
    out = np.zeros_like(mu)
    out[support] = point[support] + np.linalg.lstsq(rows, rhs - rows @ point[support], rcond=1e-12)[0]
    inside = out.min(initial=0.0) >= 0 and polytope.violation(out) <= 1e-12
    return out if inside else polytope.clean(mu)


def hit_and_run(polytope: OptimalPolytope, k: int, rng: np.random.Generator) -> Array:
    """Draw k points from the relative interior, shape (k, m): as many chains from the centre, each run on its own.

    Directions follow the covariance of the vertices that bound each multiplier, so that thin polytopes mix; the
    uniform distribution is the chains' limit, not what a finite number of steps reaches.

    References
    ----------
    Smith (1984).
    """
    dimension = polytope.dimension
    if dimension == 0:
        return np.tile(polytope.clean(polytope.center), (k, 1))
    rows, limits = _constraints(polytope)
    spread = (polytope.extremes - polytope.center) @ polytope.null_basis
    _, scales, axes = np.linalg.svd(spread, full_matrices=False)
    factor = np.maximum(scales, 1e-6 * scales[0])[:, None] * axes
    z = np.zeros((k, dimension))
    for _ in range(_STEPS + _STEPS_PER_DIMENSION * dimension):
        step = rng.standard_normal((k, len(factor))) @ factor
        slack, change = z @ rows.T - limits, step @ rows.T
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = -slack / change
        high = np.where(change < 0, ratio, np.inf).min(axis=1)
        low = np.where(change > 0, ratio, -np.inf).max(axis=1)
        z += (low + rng.uniform(0.0, 1.0, k) * (high - low))[:, None] * step
    return np.asarray(polytope.center + z @ polytope.null_basis.T)


def vertices(polytope: OptimalPolytope, max_vertices: int) -> Array:
    """Return all vertices, shape (n_vertices, m).

    Raises
    ------
    ProblemError
        If the dimension is above 9, or there are more than ``max_vertices``.
    SolverError
        If Qhull fails.

    Notes
    -----
    The dual convex hull of Barber, Dobkin and Huhdanpaa (1996) in the null space, each vertex then solved again on its
    own support; ``O(q^(dimension / 2))`` for q inequalities.
    """
    dimension = polytope.dimension
    if dimension == 0:
        return polytope.clean(polytope.center)[None]
    if dimension > _QHULL_DIMENSION:
        raise ProblemError(
            f"Vertices are enumerated up to dimension {_QHULL_DIMENSION}; this set of optima has {dimension}: use "
            "extreme() for the vertex in a direction."
        )
    rows, limits = _constraints(polytope)
    points = _line_ends(rows, limits) if dimension == 1 else _halfspace_vertices(rows, limits)
    found: list[Array] = []
    scale = max(float(polytope.center.max(initial=0.0)), 1e-300)
    for mu in polytope.center + points @ polytope.null_basis.T:
        vertex = polytope.clean(np.maximum(mu, 0.0))
        if not any(np.abs(vertex - other).max() <= _SAME_VERTEX * scale for other in found):
            found.append(vertex)
        if len(found) > max_vertices:
            raise ProblemError(f"The set of optima has more than max_vertices={max_vertices} vertices.")
    return np.array(found)


def _line_ends(rows: Array, limits: Array) -> Array:
    slopes = rows[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = limits / slopes
    return np.array([[ends[slopes > 0].max()], [ends[slopes < 0].min()]])


def _halfspace_vertices(rows: Array, limits: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=1)
    used = lengths > 1e-14 * lengths.max()
    rows, limits = rows[used] / lengths[used, None], limits[used] / lengths[used]
    size = max(float(np.abs(limits).max()), 1e-300)
    try:
        hull = HalfspaceIntersection(np.column_stack([-rows, limits / size]), np.zeros(rows.shape[1]))
    except QhullError as error:
        raise SolverError(f"Qhull could not enumerate the vertices: {str(error).splitlines()[0]}") from error
    return np.asarray(size * hull.intersections)

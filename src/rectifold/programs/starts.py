"""Points of a domain to start from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.lp import LinearProgram, LPStatus
from rectifold.core.domain import Box, Domain
from rectifold.core.errors import ProblemError, SolverError

__all__ = ["box_starts", "nearest_point", "polytope_starts", "require_nonempty", "starts"]

Array = NDArray[np.float64]

_FAR = 10.0  # where a domain has no bound, starts stay this close to its nearest point


def starts(domain: Domain, count: int, rng: np.random.Generator) -> Array:
    """Return points of a domain, shape (count, n_inputs).

    Raises
    ------
    ProblemError
        If the domain is empty.
    """
    return box_starts(domain, count, rng) if isinstance(domain, Box) else polytope_starts(domain, count, rng)


def box_starts(box: Box, count: int, rng: np.random.Generator) -> Array:
    """Return points spread evenly over a box; infinite sides are cut 10 away from the other side or zero."""
    lower = np.where(np.isfinite(box.lower), box.lower, np.minimum(-_FAR, box.upper - _FAR))
    upper = np.where(np.isfinite(box.upper), box.upper, np.maximum(_FAR, box.lower + _FAR))
    lower = np.maximum(lower, box.lower)
    return np.asarray(np.clip(lower + rng.random((count, box.n_inputs)) * (upper - lower), box.lower, box.upper))


def polytope_starts(domain: Domain, count: int, rng: np.random.Generator) -> Array:
    """Return random mixtures of vertices that are optimal for random objectives, near the point closest to zero."""
    center = nearest_point(domain)
    reach = _FAR + np.abs(center).max()
    program = _program(domain, np.zeros(domain.n_inputs), reach)
    n_vertices = min(2 * domain.n_inputs + 2, 64)
    vertices = [center]
    for _ in range(n_vertices):
        program = _program(domain, rng.standard_normal(domain.n_inputs), reach)
        found = program.solve()
        if found.status is LPStatus.OPTIMAL and found.x is not None:
            vertices.append(found.x)
    weights = rng.dirichlet(np.full(len(vertices), 0.3), size=count)
    return np.array([_inside(domain, x, center) for x in weights @ np.array(vertices)])


def require_nonempty(domain: Domain) -> None:
    """Raise ProblemError if a domain has no point."""
    if not isinstance(domain, Box):
        nearest_point(domain)


def nearest_point(domain: Domain, target: Array | None = None) -> Array:
    """Return the point of a domain nearest to another (zero) in the largest coordinate.

    Raises
    ------
    ProblemError
        If the domain is empty.
    """
    n = domain.n_inputs
    goal = np.zeros(n) if target is None else target
    if domain.contains(goal, tol=0.0):
        return np.array(goal)
    G, h = domain.rows()
    E, e = domain.equalities()
    A = np.vstack(
        [
            np.hstack([G, np.zeros((len(G), 1))]),
            np.hstack([E, np.zeros((len(E), 1))]),
            np.hstack([np.eye(n), -np.ones((n, 1))]),
            np.hstack([-np.eye(n), -np.ones((n, 1))]),
        ]
    )
    lower = np.concatenate([np.full(len(h), -np.inf), e, np.full(2 * n, -np.inf)])
    upper = np.concatenate([h, e, goal, -goal])
    found = LinearProgram(np.append(np.zeros(n), 1.0), A, lower, upper).solve()
    if found.status is LPStatus.INFEASIBLE:
        raise ProblemError("the domain is empty: no point satisfies all its constraints")
    if found.x is None:
        raise SolverError(f"no point of the domain was found ({found.status})")
    return np.asarray(found.x[:n])


def _program(domain: Domain, cost: Array, reach: float) -> LinearProgram:
    G, h = domain.rows()
    E, e = domain.equalities()
    lower, upper = np.concatenate([np.full(len(h), -np.inf), e]), np.concatenate([h, e])
    return LinearProgram(cost, np.vstack([G, E]), lower, upper, -reach, reach)


def _inside(domain: Domain, x: Array, center: Array) -> Array:
    """Pull a point towards the centre until it satisfies the inequalities, which rounding may have broken."""
    rows = domain.inequality_rows()
    step = x - center
    rate, room = rows.product(step), rows.limits - rows.product(center)
    hits = rate > room + 1e-12 * (1.0 + np.abs(rows.limits))
    share = float(np.min(np.maximum(room[hits], 0.0) / rate[hits], initial=1.0))
    return np.asarray(center + min(share, 1.0) * step)

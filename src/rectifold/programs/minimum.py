"""What is known of a local minimum: the constraints that hold there, their multipliers, and where it is flat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core.certificate import ConvexMinimumCertificate, LocalMinimumCertificate
from rectifold.core.result import ReadOnlyArrays, Result, Status
from rectifold.programs.objective import Objective
from rectifold.programs.region_simplex import Descent
from rectifold.programs.subgradient import zero_subgradient

__all__ = ["ActiveConstraint", "LocalMinimum", "MinimizationResult", "describe"]

Array = NDArray[np.float64]

_FLAT_TOL = 1e-9


@dataclass(frozen=True)
class ActiveConstraint:
    """A constraint that holds with equality at a vertex.

    Attributes
    ----------
    kind : str
        "unit" (a kink of the network), "row" (an inequality of the domain), "equality" or "invariant" (a direction
        along which nothing changes).
    layer : int
        Of a unit, from 0; else -1.
    index : int
        Of the unit in its layer, or of the row in ``domain.rows()``.
    slope : float
        Along the edge that leaves this constraint alone, towards the region's side, per unit of its slack: the
        constraint's multiplier. The slack is ``|z|`` of a unit and ``h - G x`` of a row.
    opposite_slope : float
        The same for the other side of a kink; infinite for a row.
    """

    kind: str
    layer: int
    index: int
    slope: float
    opposite_slope: float


@dataclass(frozen=True, eq=False)
class LocalMinimum(ReadOnlyArrays):
    """The end of one walk; for a maximum all slopes are those of the negated output.

    Attributes
    ----------
    x : ndarray of float64, shape (n_inputs,)
    value : float
        The network's output at x; minus (for a maximum plus) infinity along a ray.
    status : Status
    decided_by : str
        "vertex": all edges rise, which proves it; "directional program": the point is a degenerate vertex, and a linear
        or mixed-integer program found no direction of descent; "": not decided.
    active : tuple of ActiveConstraint
        The constraints of the vertex; empty before the first one.
    degenerate : ndarray of int64
        Further constraints at zero: hidden units, then rows (numbered on).
    flat_edges : ndarray, shape (m, n_inputs)
        Edges along which the function does not change: with any, the minimum is not strict.
    invariant : ndarray, shape (q, n_inputs)
        Directions along which nothing changes at all.
    ray : ndarray, shape (n_inputs,), or None
        Unit direction along which the function falls for ever.
    values : ndarray
        The network's output after every move of the walk.
    pivots, crossings : int
        Changes of the vertex, and breakpoints passed on the way.
    certificate : LocalMinimumCertificate, ConvexMinimumCertificate or None
        The second at degenerate vertices where the function is convex nearby; elsewhere at those there is none.
    """

    x: Array
    value: float
    status: Status
    decided_by: str
    active: tuple[ActiveConstraint, ...]
    degenerate: NDArray[np.int64]
    flat_edges: Array
    invariant: Array
    ray: Array | None
    values: Array
    pivots: int
    crossings: int
    certificate: LocalMinimumCertificate | ConvexMinimumCertificate | None

    @property
    def is_strict(self) -> bool:
        """Whether it is a decided minimum with every edge at its vertex rising."""
        return self.decided_by == "vertex" and not len(self.flat_edges) and not len(self.invariant)


@dataclass(frozen=True, eq=False)
class MinimizationResult(Result[Array]):
    """The best local minimum that was found.

    Attributes
    ----------
    solution : ndarray, shape (n_inputs,)
    minimum : LocalMinimum
        All about it.
    minima : tuple of LocalMinimum
        The best distinct ones, best first, as many as were asked for.
    """

    minimum: LocalMinimum = field(default=None)  # type: ignore[assignment]
    minima: tuple[LocalMinimum, ...] = ()

    @property
    def gap(self) -> float:
        """Distance of ``value`` from ``bound``, below a minimum and above a maximum; 0 along a ray."""
        return 0.0 if self.value == self.bound else abs(self.value - self.bound)

    @property
    def ray(self) -> Array | None:
        """Direction along which the objective falls without limit, if the status says so."""
        return self.minimum.ray

    @property
    def invariant(self) -> Array:
        """Directions along which nothing changes, shape (q, n_inputs)."""
        return self.minimum.invariant


def describe(objective: Objective, descent: Descent) -> LocalMinimum:
    """Translate the end of a walk into the network's terms."""
    state, n_units = descent.state, len(objective.lo)
    n_rows = len(objective.domain.inequality_rows().limits)
    n_equalities = descent.n_equalities
    invariant = state["fixed"][n_equalities:]
    vertex = len(state["edges"]) == objective.n_inputs
    unbounded = descent.status is Status.UNBOUNDED
    certificate: LocalMinimumCertificate | ConvexMinimumCertificate | None = None
    if descent.decided_by == "directional program" and not len(invariant):
        certificate = zero_subgradient(objective, descent.x, state["critical"], float(state["reach"]))
    elif descent.decided_by == "vertex":
        certificate = LocalMinimumCertificate(
            objective.network,
            None if not n_rows and not n_equalities else objective.domain,
            objective.output,
            objective.sign < 0.0,
            descent.x,
            float(objective.sign * objective.at(descent.x)),
            np.sort(state["basis"][state["basis"] < n_units + n_rows]),
            invariant,
            float(state["reach"]),
        )
    return LocalMinimum(
        x=descent.x,
        value=float(objective.sign * (-np.inf if unbounded else objective.at(descent.x))),
        status=descent.status,
        decided_by=descent.decided_by,
        active=_active(objective, state, n_rows, n_equalities) if vertex else (),
        degenerate=np.setdiff1d(state["critical"], state["basis"]) if vertex else np.zeros(0, np.int64),
        flat_edges=_flat_edges(objective, state) if vertex else np.zeros((0, objective.n_inputs)),
        invariant=invariant,
        ray=state["ray"] if unbounded else None,
        values=objective.sign * descent.values,
        pivots=int(state["pivots"]),
        crossings=int(state["crossings"]),
        certificate=certificate,
    )


def _active(
    objective: Objective, state: Mapping[str, Any], n_rows: int, n_equalities: int
) -> tuple[ActiveConstraint, ...]:
    n_units, found = len(objective.lo), []
    G = objective.domain.rows()[0]
    for c, slope, opposite in zip(state["basis"].tolist(), state["slopes"], state["opposite"], strict=True):
        if c < n_units:
            layer = next(i for i, part in enumerate(objective.layers) if part.start <= c < part.stop)
            found.append(
                ActiveConstraint("unit", layer, c - objective.layers[layer].start, float(slope), float(opposite))
            )
        elif c < n_units + n_rows:
            size = float(np.linalg.norm(G[c - n_units]))  # the walk scales rows to length one
            found.append(ActiveConstraint("row", -1, c - n_units, float(slope) / size, np.inf))
        else:
            index = c - n_units - n_rows
            equality = index < n_equalities
            index = index if equality else index - n_equalities
            found.append(ActiveConstraint("equality" if equality else "invariant", -1, index, float(slope), np.inf))
    return tuple(found)


def _flat_edges(objective: Objective, state: Mapping[str, Any]) -> Array:
    """Unit directions of the edges along which the function does not change."""
    n_units, edges = len(objective.lo), state["edges"]
    movable = state["basis"] < n_units + _n_rows(objective)
    length = np.linalg.norm(edges, axis=1)
    tol = _FLAT_TOL * state["gradient_size"]
    flat = [edges[k] for k in np.flatnonzero(movable & (np.abs(state["slopes"]) <= tol * length))]
    for k in np.flatnonzero((state["basis"] < n_units) & (np.abs(state["opposite"]) <= tol * length)):
        flat.append(_opposite_edge(objective, state, int(k)))
    directions = np.array(flat).reshape(-1, objective.n_inputs)
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def _n_rows(objective: Objective) -> int:
    return len(objective.domain.inequality_rows().limits)


def _opposite_edge(objective: Objective, state: Mapping[str, Any], k: int) -> Array:
    """The edge behind unit k of the basis: minus its axis, bent so that the deeper units of the basis stay at zero."""
    on = np.array(state["on"])
    unit = int(state["basis"][k])
    on[unit] = not on[unit]
    slopes = np.where(on, objective.hi, objective.lo)
    hidden = -state["edges"][k]
    beta = np.empty(len(on))
    for weight, part in zip(objective.network.weights, objective.layers, strict=False):
        beta[part] = weight @ hidden
        hidden = slopes[part] * beta[part]
    edge = -state["edges"][k]
    for i, c in enumerate(state["basis"]):
        if unit < c < len(on):
            edge = edge - (beta[c] if on[c] else -beta[c]) * state["edges"][i]
    return np.asarray(edge)

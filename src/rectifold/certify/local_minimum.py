"""Checks `LocalMinimumCertificate`: the vertex, its edges and their slopes are derived anew from the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.local_network import LocalNetwork, domain_around, require_claim, require_value, span
from rectifold.certify.multipliers import require, require_array
from rectifold.certify.verdict import Refusal, Verdict, judged
from rectifold.core.certificate import Grade, LocalMinimumCertificate
from rectifold.core.domain import Domain
from rectifold.core.errors import CertificateError

__all__ = ["check_local_minimum", "edges_of"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SLACK = 1e-9
_SEPARATION = 1e-11
_SLOPE = 1e-8


def check_local_minimum(certificate: LocalMinimumCertificate, grade: Grade) -> Verdict:
    """Re-derive the claim of a local minimum in float64.

    Raises
    ------
    CertificateError
        If it is malformed, or asked for at another grade than FLOAT.

    Notes
    -----
    2 n passes through the network and one inverse of order n.
    """
    if grade is not Grade.FLOAT:
        raise CertificateError(f"Local minima are checked at grade FLOAT, not {grade}.")
    return judged(lambda residuals: _check(certificate, residuals), grade)


def _check(c: LocalMinimumCertificate, residuals: dict[str, float]) -> str:
    _require_form(c)
    domain = domain_around(c)
    n_units = sum(c.network.widths)
    named = c.constraints[(c.constraints >= 0) & (c.constraints < n_units)]
    net = LocalNetwork(c.network, c.output, c.maximum, c.x, named)
    require_value(c, net, residuals)
    normals, movable, units = _vertex(c, domain, net, residuals)
    edges = edges_of(normals)
    own, opposite, opposite_length = net.slopes(edges, units)
    size = net.gradient_size(units)
    length = np.linalg.norm(edges, axis=1)
    least = np.concatenate([(own / length)[movable], opposite / opposite_length]).min(initial=np.inf)
    residuals["least_slope"], residuals["slope_excess"] = float(least), float(-least - _SLOPE * size)
    if not residuals["slope_excess"] <= 0.0:
        raise Refusal("The function falls along an edge of the vertex.")
    kind = "maximum" if c.maximum else "minimum"
    return f"Local {kind} with value {c.value:.10g}: none of its {int(movable.sum()) + len(units)} edges leads on."


def _require_form(c: LocalMinimumCertificate) -> None:
    require_claim(c)
    n = c.network.n_inputs
    require_array(c.constraints, "constraints", "i")
    require(c.constraints.ndim == 1, "constraints must be one-dimensional")
    require(len(np.unique(c.constraints)) == len(c.constraints), "a constraint is named twice")
    require_array(c.invariant, "invariant", "f")
    require(c.invariant.ndim == 2 and c.invariant.shape[1] == n, "invariant must have one column per input")
    require(bool(np.isfinite(c.x).all() and np.isfinite(c.invariant).all()), "a number is not finite")


def _vertex(
    c: LocalMinimumCertificate, domain: Domain, net: LocalNetwork, residuals: dict[str, float]
) -> tuple[Array, Mask, NDArray[np.int64]]:
    """Normals of all constraints, which of their edges may be taken, and the units among them."""
    n_units, (G, h) = len(net.z), domain.rows()
    inside = (c.constraints >= 0) & (c.constraints < n_units + len(h))
    require(bool(inside.all()), "a constraint is neither a unit nor a row")
    units = np.sort(c.constraints[c.constraints < n_units])
    require(bool(net.kinked[units].all()), "a unit has no kink")
    rows = np.sort(c.constraints[c.constraints >= n_units]) - n_units
    G_size = np.linalg.norm(G, axis=1)
    distances = np.concatenate([net.distances(), (h - G @ c.x) / G_size])
    named = np.zeros(len(distances), bool)
    named[c.constraints] = True
    scale = max(c.scale, float(np.abs(c.x).max()))
    residuals["basis_excess"] = float(np.max(np.abs(distances[named]), initial=0.0)) - _SLACK * scale
    residuals["separation_excess"] = _SEPARATION * scale - float(np.min(distances[~named], initial=np.inf))
    if not residuals["basis_excess"] <= 0.0:
        raise Refusal("A constraint of the vertex is not at zero.")
    if np.any(distances[~named] <= _SEPARATION * scale):
        raise Refusal("A further constraint is at zero: at a degenerate vertex its edges prove nothing.")
    equalities = span(domain.equalities()[0])
    _require_invariant(c, domain)
    normals = np.concatenate([-net.jacobian[units], -G[rows] / G_size[rows, None], equalities, c.invariant])
    if len(normals) != c.network.n_inputs:
        raise Refusal("The constraints are not as many as the inputs: the point is no vertex.")
    movable = np.arange(len(normals)) < len(units) + len(rows)
    return normals, movable, units


def _require_invariant(c: LocalMinimumCertificate, domain: Domain) -> None:
    first = c.network.weights[0] if len(c.network.weights) > 1 else c.network.weights[0][c.output : c.output + 1]
    for rows in (first, domain.rows()[0], domain.equalities()[0]):
        for v in c.invariant:
            if np.any(np.abs(rows @ v) > _SLACK * np.linalg.norm(rows, axis=1) * np.linalg.norm(v)):
                raise Refusal("A direction said to change nothing does.")


def edges_of(normals: Array) -> Array:
    """Return the rows A with ``normals @ A.T = I``; refuse dependent normals."""
    size = np.linalg.norm(normals, axis=1, keepdims=True)
    if not np.all(size > 0.0):
        raise Refusal("A constraint has no normal.")
    try:
        edges = np.linalg.inv(normals / size).T / size
    except np.linalg.LinAlgError:
        raise Refusal("The normals of the constraints are dependent.") from None
    if not np.abs(normals @ edges.T - np.eye(len(normals))).max(initial=0.0) <= 1e-7:
        raise Refusal("The normals of the constraints are dependent within rounding.")
    return np.asarray(edges)

"""Checks `ConvexMinimumCertificate`: a zero subgradient of a function that is convex near a point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.local_network import LocalNetwork
from rectifold.certify.multipliers import require, require_array, require_number
from rectifold.certify.verdict import Refusal, Verdict
from rectifold.core.certificate import ConvexMinimumCertificate, Grade
from rectifold.core.domain import Box, Domain
from rectifold.core.errors import CertificateError
from rectifold.core.network import ReLUNetwork

__all__ = ["check_convex_minimum"]

Array = NDArray[np.float64]

_SLACK = 1e-9
_SEPARATION = 1e-11
_RESIDUAL = 1e-8


def check_convex_minimum(certificate: ConvexMinimumCertificate, grade: Grade) -> Verdict:
    """Re-derive the claim in float64.

    Raises
    ------
    CertificateError
        If it is malformed, or asked for at another grade than FLOAT.
    """
    if grade is not Grade.FLOAT:
        raise CertificateError(f"Local minima are checked at grade FLOAT, not {grade}.")
    residuals: dict[str, float] = {}
    try:
        message = _check(certificate, residuals)
    except Refusal as refusal:
        return Verdict(False, grade, residuals, str(refusal))
    return Verdict(True, grade, residuals, message)


def _check(c: ConvexMinimumCertificate, residuals: dict[str, float]) -> str:
    _require_form(c)
    domain = Box(np.full(c.network.n_inputs, -np.inf), np.inf) if c.domain is None else c.domain
    G, h = domain.rows()
    E = domain.equalities()[0]
    require_array(c.equality_multipliers, "equality_multipliers", "f", (len(E),))
    require(bool(np.all((c.rows >= 0) & (c.rows < len(h)))), "a row is not one of the domain's")
    if not domain.contains(c.x, _SLACK):
        raise Refusal("The point is outside of the domain.")
    net = LocalNetwork(c.network, c.output, c.maximum, c.x, c.units)
    require(bool(net.kinked[c.units].all()), "a unit has no kink")
    residuals["value_excess"] = abs(net.value - c.value) - _SLACK * net.value_terms
    if not residuals["value_excess"] <= 0.0:
        raise Refusal("The network's value at the point is not the claimed one.")
    _require_kinks(c, net, G, h)
    gains = net.gains(c.units)
    if np.any(net.influenced(c.units)[c.units]) or np.any(gains < 0.0):
        raise Refusal("The function is not convex near the point: a subgradient proves nothing.")
    if np.any(c.shares < 0.0) or np.any(c.shares > 1.0) or np.any(c.row_multipliers < 0.0):
        raise Refusal("A share is outside of [0, 1], or a row's multiplier is negative.")
    parts = [
        net.gradient[None],
        (c.shares * gains)[:, None] * net.jacobian[c.units],
        c.row_multipliers[:, None] * G[c.rows],
        c.equality_multipliers[:, None] * E,
    ]
    terms = np.concatenate(parts)
    size = net.gradient_size(c.units)
    residuals["subgradient_excess"] = float(np.linalg.norm(terms.sum(axis=0))) - _RESIDUAL * size
    if not residuals["subgradient_excess"] <= 0.0:
        raise Refusal("The shares and multipliers do not balance the gradient.")
    kind = "maximum" if c.maximum else "minimum"
    return f"Local {kind} with value {c.value:.10g}: zero is a subgradient of a function that is convex nearby."


def _require_form(c: ConvexMinimumCertificate) -> None:
    require(isinstance(c.network, ReLUNetwork), "its network is not a ReLUNetwork")
    n = c.network.n_inputs
    require(c.domain is None or isinstance(c.domain, Domain), "its domain is not a Box or Polytope")
    require(c.domain is None or c.domain.n_inputs == n, "its domain does not fit its network")
    require_number(c.output, "output", int)
    require(0 <= c.output < c.network.n_outputs, "its output is not one of the network's")
    require(isinstance(c.maximum, bool), "maximum must be a bool")
    for name, value in (("value", c.value), ("scale", c.scale)):
        require_number(value, name, float)
        require(bool(np.isfinite(value)), f"{name} must be finite")
    require_array(c.x, "x", "f", (n,))
    for name, index, weights in (("units", c.units, c.shares), ("rows", c.rows, c.row_multipliers)):
        require_array(index, name, "i")
        require(index.ndim == 1 and len(np.unique(index)) == len(index), f"{name} must be distinct numbers")
        require_array(weights, f"the weights of {name}", "f", index.shape)
    require(bool(np.all((c.units >= 0) & (c.units < sum(c.network.widths)))), "a unit is not one of the network's")


def _require_kinks(c: ConvexMinimumCertificate, net: LocalNetwork, G: Array, h: Array) -> None:
    """All kinks near the point are named, and what is named is at zero."""
    distances = net.distances()
    named = np.zeros(len(distances), bool)
    named[c.units] = True
    scale = max(c.scale, float(np.abs(c.x).max()))
    near = distances[named & np.isfinite(distances)]
    room = (h - G @ c.x)[c.rows] / np.linalg.norm(G[c.rows], axis=1)
    if np.any(np.abs(near) > _SLACK * scale) or np.any(np.abs(room) > _SLACK * scale):
        raise Refusal("A kink or row that is named is not at zero.")
    if np.any(distances[~named] <= _SEPARATION * scale):
        raise Refusal("A further kink is at zero.")

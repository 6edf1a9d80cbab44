"""Checks `ConvexMinimumCertificate`: a zero subgradient of a function that is convex near a point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.local_network import LocalNetwork, domain_around, require_claim, require_value
from rectifold.certify.multipliers import require, require_array
from rectifold.certify.verdict import Refusal, Verdict, judged
from rectifold.core.certificate import ConvexMinimumCertificate, Grade
from rectifold.core.errors import CertificateError

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
    return judged(lambda residuals: _check(certificate, residuals), grade)


def _check(c: ConvexMinimumCertificate, residuals: dict[str, float]) -> str:
    _require_form(c)
    domain = domain_around(c)
    G, h = domain.rows()
    E = domain.equalities()[0]
    require_array(c.equality_multipliers, "equality_multipliers", "f", (len(E),))
    require(bool(np.all((c.rows >= 0) & (c.rows < len(h)))), "a row is not one of the domain's")
    net = LocalNetwork(c.network, c.output, c.maximum, c.x, c.units)
    require(bool(net.kinked[c.units].all()), "a unit has no kink")
    require_value(c, net, residuals)
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
    require_claim(c)
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

"""Checks certificates of layer training: vertex, edges and slopes are derived anew from the network and the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.lad import check_lad
from rectifold.certify.layer_network import LayerNeighbourhood, kinks_of
from rectifold.certify.local_minimum import edges_of
from rectifold.certify.multipliers import require, require_array, require_number
from rectifold.certify.subject import problem_of
from rectifold.certify.verdict import Refusal, Verdict, judged
from rectifold.core.certificate import Grade
from rectifold.core.errors import CertificateError, ProblemError
from rectifold.core.lad import LADCertificate, LADProblem
from rectifold.core.layer_l1 import L1Problem, LayerData, LayerMinimumCertificate, OutputLayerCertificate
from rectifold.core.network import ReLUNetwork

__all__ = ["check_layer_minimum", "check_output_layer"]

Array = NDArray[np.float64]
Layerwise = LayerMinimumCertificate | OutputLayerCertificate

_SLACK = 1e-9
_SEPARATION = 1e-11
_SLOPE = 1e-8
_NOISE = 1e-6


def check_layer_minimum(certificate: LayerMinimumCertificate, problem: L1Problem | None, grade: Grade) -> Verdict:
    """Re-derive the claim of a local minimum over one layer in float64.

    Raises
    ------
    CertificateError
        If it is malformed, asked for at another grade than FLOAT, or carries no problem and none is given.

    Notes
    -----
    A few passes through the network over all samples, and one inverse of order p.
    """
    _require_float(grade)

    def check(residuals: dict[str, float]) -> str:
        return _check_hidden(certificate, _subject(certificate, problem, certificate.layer), residuals)

    return judged(check, grade)


def check_output_layer(certificate: OutputLayerCertificate, problem: L1Problem | None, grade: Grade) -> Verdict:
    """Re-derive the claim of a global minimum over the output layer in float64.

    Raises
    ------
    CertificateError
        As `check_layer_minimum`.
    """
    _require_float(grade)

    def check(residuals: dict[str, float]) -> str:
        network = certificate.network
        require(isinstance(network, ReLUNetwork), "its network is not a ReLUNetwork")
        subject = _subject(certificate, problem, len(network.weights) - 1)
        return _check_output(certificate, subject, residuals)

    return judged(check, grade)


def _require_float(grade: Grade) -> None:
    if grade is not Grade.FLOAT:
        raise CertificateError(f"Certificates of layer training are checked at grade FLOAT, not {grade}.")


def _subject(c: Layerwise, problem: L1Problem | None, layer: int) -> L1Problem:
    subject = problem_of(c.problem, c.digest, problem, L1Problem, "weights")
    try:
        subject.check_network(c.network, layer)
    except ProblemError as error:
        raise CertificateError(f"Malformed certificate: {error}.") from None
    require_number(c.value, "value", float)
    require(bool(np.isfinite(c.value)), "value must be finite")
    return subject


def _check_hidden(c: LayerMinimumCertificate, problem: L1Problem, residuals: dict[str, float]) -> str:
    _require_form(c, problem)
    data = LayerData(problem, c.network, c.layer)
    kinks = np.sort(kinks_of(data, c.constraints[:, 0], c.constraints[:, 1]))
    require(bool(np.all(kinks >= 0)), "a sample of a constraint has no weight")
    require(len(np.unique(kinks)) == len(kinks), "a constraint is named twice")
    near = LayerNeighbourhood(data, kinks)
    require(bool(np.all(near.lo[kinks] != near.hi[kinks])), "a unit has no kink")
    _require_value(c.value, problem.loss(c.network), near.loss_terms, residuals)
    normals = _vertex(c, data, near, kinks, residuals)
    own, opposite = _slopes(near, normals, kinks)
    size = _gradient_size(near, normals, kinks)
    least = np.concatenate([own, opposite]).min(initial=np.inf)
    residuals["least_slope"], residuals["slope_excess"] = float(least), float(-least - _SLOPE * size)
    if not residuals["slope_excess"] <= 0.0:
        raise Refusal("The loss falls along an edge of the vertex.")
    return f"Local minimum over layer {c.layer} with loss {c.value:.10g}: none of its {2 * len(kinks)} edges leads on."


def _require_form(c: LayerMinimumCertificate, problem: L1Problem) -> None:
    require(c.layer < len(c.network.weights) - 1, "layer is the output layer")
    p = c.network.weights[c.layer].size + len(c.network.biases[c.layer])
    require_array(c.constraints, "constraints", "i")
    require(c.constraints.ndim == 2 and c.constraints.shape[1] == 2, "constraints must be pairs")
    units, samples = c.constraints.T
    require(bool(np.all((units >= 0) & (units <= sum(c.network.widths[c.layer :])))), "a constraint names no unit")
    require(bool(np.all((samples >= 0) & (samples < len(problem.y)))), "a constraint names no sample")
    require_array(c.invariant, "invariant", "f")
    require(c.invariant.ndim == 2 and c.invariant.shape[1] == p, "invariant must have one column per weight")
    require_number(c.scale, "scale", float)
    require(bool(np.isfinite(c.invariant).all() and np.isfinite(c.scale)), "a number is not finite")


def _require_value(claimed: float, value: float, terms: float, residuals: dict[str, float]) -> None:
    residuals["value_excess"] = abs(value - claimed) - _SLACK * max(abs(claimed), 1e-6 * terms)
    if not residuals["value_excess"] <= 0.0:
        raise Refusal("The network's loss is not the claimed one.")


def _vertex(
    c: LayerMinimumCertificate,
    data: LayerData,
    near: LayerNeighbourhood,
    kinks: NDArray[np.int64],
    residuals: dict[str, float],
) -> Array:
    """Normals of all constraints: of the kinks, then the directions that change nothing."""
    distances, scale = near.distances(), max(c.scale, float(np.abs(data.parameters()).max()))
    named = np.zeros(len(distances), bool)
    named[kinks] = True
    residuals["basis_excess"] = float(np.max(distances[named], initial=0.0)) - _SLACK * scale
    residuals["separation_excess"] = _SEPARATION * scale - float(np.min(distances[~named], initial=np.inf))
    if not residuals["basis_excess"] <= 0.0:
        raise Refusal("A kink of the vertex is not at zero.")
    if not residuals["separation_excess"] <= 0.0:
        raise Refusal("A further kink is at zero: at a degenerate vertex its edges prove nothing.")
    if any(near.changes(v) > _SLACK for v in c.invariant):
        raise Refusal("A direction said to change nothing does.")
    normals = np.concatenate([-near.normals(kinks), c.invariant])
    if len(normals) != data.n_parameters:
        raise Refusal("The constraints are not as many as the weights: the point is no vertex.")
    return normals


def _slopes(near: LayerNeighbourhood, normals: Array, kinks: NDArray[np.int64]) -> tuple[Array, Array]:
    """By unit length: along the region's own edges, and along those behind each kink.

    Along edge j of the normals ``-grad z`` all other kinks stay at zero and z_j falls. Behind kink j, z_j grows, its
    output by ``jump_j``, and each deeper kink i by ``response_ij jump_j``, which the edges of the others take back.
    """
    edges = edges_of(normals)[: len(kinks)]
    own = edges @ near.gradient()
    response, by_output = near.responses(kinks)
    jumps = (near.hi - near.lo)[kinks]
    back = (response * jumps).T
    behind = -edges + back @ edges
    opposite = -own + back @ own + by_output * jumps
    return own / np.linalg.norm(edges, axis=1), opposite / np.linalg.norm(behind, axis=1)


def _gradient_size(near: LayerNeighbourhood, normals: Array, kinks: NDArray[np.int64]) -> float:
    """The largest gradient at the vertex, the region's own and those one kink away; at least what rounding makes up."""
    gradient = near.gradient()
    gains = near.responses(kinks)[1] * (near.hi - near.lo)[kinks]
    beyond = np.linalg.norm(gradient - gains[:, None] * normals[: len(kinks)], axis=1)
    return float(max(np.linalg.norm(gradient), beyond.max(initial=0.0), _NOISE * near.gradient_terms()))


def _check_output(c: OutputLayerCertificate, problem: L1Problem, residuals: dict[str, float]) -> str:
    network, total = c.network, 2.0 * float(problem.weights.sum())  # the pinball loss at 1/2 is half the deviation
    require_number(c.lower_bound, "lower_bound", float)
    features = problem.X
    if len(network.weights) > 1:
        z, (lo, hi) = network.preactivations(problem.X)[-1], network.slopes[-1]
        features = np.where(z > 0.0, hi, lo) * z
    lad_problem = LADProblem(features, problem.y, sample_weight=problem.weights)
    coef, intercept = network.weights[-1][0], float(network.biases[-1][0])
    claim = (c.value / total, c.lower_bound / total)
    certificate = LADCertificate(lad_problem, None, coef, intercept, c.dual, c.basis, *claim)
    verdict = check_lad(certificate, None, Grade.FLOAT)
    residuals |= verdict.residuals
    if not verdict.holds:
        raise Refusal(verdict.message)
    return f"Loss {c.value:.10g}, and at least {c.lower_bound:.10g} for all weights of the output layer."

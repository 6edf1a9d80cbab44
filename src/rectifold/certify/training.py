"""Checks `TrainingCertificate`: nothing is taken from it but its claim, its dual point and its evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.cone_tree import cone_tree_pricing
from rectifold.certify.multipliers import require, require_array, require_number
from rectifold.certify.objective import dual_value, primal_value, require_dual_domain
from rectifold.certify.pattern_bounds import pattern_pricing
from rectifold.certify.spectral_bound import spectral_pricing
from rectifold.certify.subject import problem_of
from rectifold.certify.verdict import Refusal, Verdict, judged
from rectifold.core.certificate import ConeTrees, Grade, PatternBounds, SpectralBound, TrainingCertificate
from rectifold.core.errors import CertificateError, ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import UNIT_ROUNDOFF, DyadicArray, gamma

__all__ = ["OBJECTIVE_SLACK", "check_training"]

Array = NDArray[np.float64]

OBJECTIVE_SLACK = 1e-9
"""An objective is a float64 evaluation: what is claimed, at every grade, is ``F <= objective (1 + 1e-9)``, give or take
1e-20 of the loss of the zero function where the fit is perfect."""
_ZERO_SLACK, _UNDERFLOW = 1e-20, 1e-250
_FLOAT_SLACK = 1e-9
_LARGEST_INTEGER = 2**53


def check_training(certificate: TrainingCertificate, problem: ConvexReLUProblem | None, grade: Grade) -> Verdict:
    """Re-derive the claim of a training certificate.

    Raises
    ------
    CertificateError
        If it is malformed, or carries no problem and none is given.
    """

    def check(residuals: dict[str, float]) -> str:
        subject = problem_of(certificate.problem, certificate.problem_digest, problem, ConvexReLUProblem, "alpha")
        return _check(certificate, subject, grade, residuals)

    return judged(check, grade)


def _check(c: TrainingCertificate, problem: ConvexReLUProblem, grade: Grade, residuals: dict[str, float]) -> str:
    for name, value in (("objective", c.objective), ("lower_bound", c.lower_bound), ("scale", c.scale)):
        require_number(value, name, float)
        require(bool(np.isfinite(value)), f"{name} must be finite")
    require(c.scale >= 0.0, "scale is negative")
    _require_design(problem)
    _check_objective(c, problem, grade, residuals)
    theta = _dual_point(c, problem)
    require_dual_domain(problem, theta, c.scale, grade)
    slack = _FLOAT_SLACK if grade < Grade.INTERVAL else 0.0

    pricing = _pricing_bound(c, problem, theta, grade)
    residuals["pricing_bound"] = pricing
    residuals["pricing_excess"] = c.scale * pricing * (1.0 + gamma(2)) - problem.alpha * (1.0 + slack)
    if not residuals["pricing_excess"] <= 0.0:
        raise Refusal("scale * theta is not dual feasible: the evidence leaves a neuron above alpha.")

    dual, radius = dual_value(problem, theta, c.scale)
    proven = max(dual - radius, 0.0) if grade >= Grade.INTERVAL else max(dual, 0.0) * (1.0 + slack)  # every F is >= 0
    residuals["dual_value"], residuals["bound_excess"] = dual, c.lower_bound - proven
    if not residuals["bound_excess"] <= 0.0:
        raise Refusal("The lower bound is above the dual value that was re-derived.")
    residuals["relative_gap"] = (c.objective - c.lower_bound) / abs(c.objective) if c.objective else 0.0
    if c.lower_bound > c.objective + OBJECTIVE_SLACK * abs(c.objective):
        raise Refusal("The lower bound is above the objective.")
    restricted = isinstance(c.evidence, PatternBounds)
    scope = "for the given patterns only" if restricted else "over all widths and all weights"
    return f"F(network) <= {c.objective:.10g}, and F >= {c.lower_bound:.10g} {scope}."


def _require_design(problem: ConvexReLUProblem) -> None:
    bias = problem.bias_column
    width = problem.n_features + (bias != 0.0)
    require(problem.design.shape[1] == width, "the problem's design has the wrong number of columns")
    require(bias == 0.0 or bool(np.all(problem.design[:, -1] == bias)), "the problem's bias column is not constant")
    if problem.hidden_bias is True:
        require(bias == 1.0, "the problem's bias column is not one")


def _check_objective(
    c: TrainingCertificate, problem: ConvexReLUProblem, grade: Grade, residuals: dict[str, float]
) -> None:
    require(isinstance(c.network, ReLUNetwork), "its network is not a ReLUNetwork")
    try:
        problem.neurons(c.network)
    except ProblemError as error:
        raise CertificateError(f"The certificate's network does not fit its problem: {error}") from error
    value, radius = primal_value(problem, c.network)
    upper = value + radius if grade >= Grade.INTERVAL else value
    residuals["objective"] = value
    slack = OBJECTIVE_SLACK * abs(c.objective) + _ZERO_SLACK * problem.loss_value(np.zeros_like(problem.targets))
    residuals["objective_excess"] = upper - (c.objective + slack + _UNDERFLOW)
    if not residuals["objective_excess"] <= 0.0:
        raise Refusal("The network's objective is above the claimed one.")


def _dual_point(c: TrainingCertificate, problem: ConvexReLUProblem) -> Array:
    """Check theta's integers, and that they sum to zero where they must; return theta, exact in float64."""
    require(isinstance(c.theta, DyadicArray), "theta must be a DyadicArray")
    require_array(c.theta.integers, "theta", "i", problem.targets.shape)
    require(bool(np.all(np.abs(c.theta.integers) <= _LARGEST_INTEGER)), "theta has more than 53 bits")
    require_number(c.theta.exponent, "theta's exponent", int)
    require(-1000 <= c.theta.exponent <= 900, "theta's exponent is out of range")
    if problem.fit_intercept and any(c.theta.column_sums()):
        raise Refusal("theta does not sum to zero: with an intercept it proves nothing.")
    if problem.loss.name == "multinomial" and any(sum(row) for row in c.theta.integers.tolist()):
        raise Refusal("A row of theta does not sum to zero: it is outside the domain of the dual.")
    return c.theta.to_float()


def _pricing_bound(c: TrainingCertificate, problem: ConvexReLUProblem, theta: Array, grade: Grade) -> float:
    """Bound what a neuron of unit penalty can gain at theta, over the evidence's scope."""
    X, factor = problem.design, 1.0
    moved = np.zeros(problem.n_outputs)
    if problem.hidden_bias == "free":
        X, factor = _free_bias_rows(c, problem)
        moved = 4.0 * UNIT_ROUNDOFF * (np.abs(theta).T @ np.linalg.norm(X, axis=1))  # x_i - center was rounded
    else:
        require(c.bias_center is None and c.bias_scale is None, "a bias column is named, but the bias is not free")
    bounds = _evidence_bounds(X, theta, c.evidence, grade).max(axis=2) + moved
    if problem.output_penalty == "l1" or problem.n_outputs == 1:
        bound = float(bounds.max())
    else:
        bound = float(np.sqrt((bounds**2).sum(axis=1)).max()) * (1.0 + 2.0 * gamma(problem.n_outputs + 4))
    return bound * factor


def _free_bias_rows(c: TrainingCertificate, problem: ConvexReLUProblem) -> tuple[Array, float]:
    """Return the rows that the evidence speaks of and the factor of the pricing bound.

    A free bias absorbs any center, and |b| <= R ||v|| loses nothing where theta sums to zero, which was checked.
    """
    center = np.zeros(problem.n_features) if c.bias_center is None else c.bias_center
    scale = problem.bias_column if c.bias_scale is None else c.bias_scale
    require_array(center, "bias_center", "f", (problem.n_features,))
    require_number(scale, "bias_scale", float)
    require(1e-140 < scale < 1e140, "bias_scale is not a positive number of usable size")
    inputs = problem.design[:, : problem.n_features] - center
    ratio = float((inputs**2).sum(axis=1).max()) * (1.0 + gamma(problem.n_features + 8)) / scale**2
    rows = np.hstack([inputs, np.full((len(inputs), 1), scale)])
    return rows, float(np.sqrt(1.0 + ratio)) * (1.0 + gamma(16))


def _evidence_bounds(X: Array, theta: Array, evidence: Any, grade: Grade) -> Array:
    if isinstance(evidence, SpectralBound):
        return spectral_pricing(X, theta, evidence, grade)
    if isinstance(evidence, ConeTrees):
        return cone_tree_pricing(X, theta, evidence, grade)
    if isinstance(evidence, PatternBounds):
        return pattern_pricing(X, theta, evidence, grade)
    raise CertificateError(f"Unknown evidence: {type(evidence).__name__}.")

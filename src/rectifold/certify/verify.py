"""`verify`: re-derives what a certificate claims, from the problem's data."""

from __future__ import annotations

from typing import Any

import numpy as np

from rectifold.certify.convex_minimum import check_convex_minimum
from rectifold.certify.lad import check_lad
from rectifold.certify.layer_minimum import check_layer_minimum, check_output_layer
from rectifold.certify.local_minimum import check_local_minimum
from rectifold.certify.training import check_training
from rectifold.certify.verdict import Verdict
from rectifold.core.certificate import ConvexMinimumCertificate, Grade, LocalMinimumCertificate, TrainingCertificate
from rectifold.core.errors import CertificateError
from rectifold.core.lad import LADCertificate, LADProblem
from rectifold.core.layer_l1 import L1Problem, LayerMinimumCertificate, OutputLayerCertificate
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Result

__all__ = ["verify"]

Problem = ConvexReLUProblem | LADProblem | L1Problem


def verify(result_or_certificate: Any, problem: Problem | None = None, grade: Grade | str | None = None) -> Verdict:
    """Re-derive the claim of a certificate, or of a result and its certificate, from the problem's data alone.

    Parameters
    ----------
    result_or_certificate : Result, TrainingCertificate, LocalMinimumCertificate, LADCertificate, ...
        A result must claim no more than its certificate.
    problem : ConvexReLUProblem, LADProblem or L1Problem, optional
        What the claim is about; needed where the certificate was stored without its data, and compared by digest.
    grade : Grade or {"float", "interval"}, optional
        FLOAT (default): float64 with a relative tolerance of 1e-9. INTERVAL: the lower bound and dual feasibility hold
        whatever was rounded. At every grade the objective is claimed to a relative 1e-9, being a float64 evaluation.

    Returns
    -------
    Verdict

    Raises
    ------
    CertificateError
        If there is no certificate, it is malformed, or it cannot be checked at this grade.

    Notes
    -----
    The cost is O(n d) per leaf of the evidence; leaves of cone trees that were not stored are closed anew, which takes
    some five times as long.
    """
    level = _grade(grade)
    if isinstance(result_or_certificate, Result):
        return _verify_result(result_or_certificate, problem, level)
    if isinstance(result_or_certificate, LADCertificate):
        if problem is not None and not isinstance(problem, LADProblem):
            raise CertificateError("A certificate of quantile regression is checked against a LADProblem.")
        return check_lad(result_or_certificate, problem, level)
    if isinstance(result_or_certificate, TrainingCertificate):
        if problem is not None and not isinstance(problem, ConvexReLUProblem):
            raise CertificateError("A training certificate is checked against a ConvexReLUProblem.")
        return check_training(result_or_certificate, problem, level)
    if isinstance(result_or_certificate, LayerMinimumCertificate | OutputLayerCertificate):
        if problem is not None and not isinstance(problem, L1Problem):
            raise CertificateError("A certificate of L1 training is checked against an L1Problem.")
        if isinstance(result_or_certificate, OutputLayerCertificate):
            return check_output_layer(result_or_certificate, problem, level)
        return check_layer_minimum(result_or_certificate, problem, level)
    if isinstance(result_or_certificate, LocalMinimumCertificate):
        return check_local_minimum(result_or_certificate, level)
    if isinstance(result_or_certificate, ConvexMinimumCertificate):
        return check_convex_minimum(result_or_certificate, level)
    raise CertificateError(f"Expected a Result or a certificate, got {type(result_or_certificate).__name__}.")


def _verify_result(result: Result[Any], problem: Problem | None, grade: Grade) -> Verdict:
    certificate = result.certificate
    if certificate is None:
        raise CertificateError("The result carries no certificate.")
    verdict = verify(certificate, problem, grade)
    if not verdict.holds:
        return verdict
    if isinstance(certificate, LADCertificate) and not _same_fit(result.solution, certificate):
        return Verdict(False, grade, verdict.residuals, "The result's coefficients are not the certificate's.")
    if isinstance(certificate, LocalMinimumCertificate | ConvexMinimumCertificate):
        return _compare_minimum(result, certificate, verdict)
    if isinstance(certificate, LayerMinimumCertificate | OutputLayerCertificate):
        return _compare_training(result, certificate, verdict)
    if result.value < certificate.objective or result.bound > certificate.lower_bound:
        return Verdict(False, grade, verdict.residuals, "The result claims more than its certificate.")
    if isinstance(result.solution, ReLUNetwork) and result.solution.digest() != certificate.network.digest():
        return Verdict(False, grade, verdict.residuals, "The result's network is not the certificate's.")
    return verdict


def _same_fit(solution: Any, certificate: LADCertificate) -> bool:
    return np.array_equal(solution.coef, certificate.coef) and solution.intercept == certificate.intercept


def _compare_minimum(
    result: Result[Any], certificate: LocalMinimumCertificate | ConvexMinimumCertificate, verdict: Verdict
) -> Verdict:
    same = np.array_equal(np.asarray(result.solution), certificate.x) and result.value == certificate.value
    if same and not np.isfinite(result.bound):
        return verdict
    return Verdict(False, verdict.grade, verdict.residuals, "The result claims something else than its certificate.")


def _compare_training(
    result: Result[Any], certificate: LayerMinimumCertificate | OutputLayerCertificate, verdict: Verdict
) -> Verdict:
    proven = certificate.lower_bound if isinstance(certificate, OutputLayerCertificate) else 0.0  # no loss is negative
    same = isinstance(result.solution, ReLUNetwork) and result.solution.digest() == certificate.network.digest()
    if same and result.value == certificate.value and result.bound <= max(proven, 0.0):
        return verdict
    return Verdict(False, verdict.grade, verdict.residuals, "The result claims something else than its certificate.")


def _grade(grade: Grade | str | None) -> Grade:
    if grade is None:
        return Grade.FLOAT
    if isinstance(grade, str):
        if grade.upper() not in Grade.__members__:
            raise CertificateError(f"Unknown grade {grade!r}; expected one of {[g.name.lower() for g in Grade]}.")
        grade = Grade[grade.upper()]
    if grade not in (Grade.FLOAT, Grade.INTERVAL):
        raise CertificateError(f"Training certificates are checked at grade FLOAT or INTERVAL, not {grade}.")
    return Grade(grade)

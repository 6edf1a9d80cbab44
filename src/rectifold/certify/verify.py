"""`verify`: re-derives what a certificate claims, from the problem's data."""

from __future__ import annotations

from typing import Any

from rectifold.certify.training import check_training
from rectifold.certify.verdict import Verdict
from rectifold.core.certificate import Grade, TrainingCertificate
from rectifold.core.errors import CertificateError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Result

__all__ = ["verify"]


def verify(
    result_or_certificate: Any, problem: ConvexReLUProblem | None = None, grade: Grade | str | None = None
) -> Verdict:
    """Re-derive the claim of a certificate, or of a result and its certificate, from the problem's data alone.

    Parameters
    ----------
    result_or_certificate : Result or TrainingCertificate
        A result must claim no more than its certificate.
    problem : ConvexReLUProblem, optional
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
    if isinstance(result_or_certificate, TrainingCertificate):
        return check_training(result_or_certificate, problem, level)
    raise CertificateError(f"Expected a Result or a certificate, got {type(result_or_certificate).__name__}.")


def _verify_result(result: Result[Any], problem: ConvexReLUProblem | None, grade: Grade) -> Verdict:
    certificate = result.certificate
    if certificate is None:
        raise CertificateError("The result carries no certificate.")
    verdict = verify(certificate, problem, grade)
    if not verdict.holds:
        return verdict
    if result.value < certificate.objective or result.bound > certificate.lower_bound:
        return Verdict(False, grade, verdict.residuals, "The result claims more than its certificate.")
    if isinstance(result.solution, ReLUNetwork) and result.solution.digest() != certificate.network.digest():
        return Verdict(False, grade, verdict.residuals, "The result's network is not the certificate's.")
    return verdict


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

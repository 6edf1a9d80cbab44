"""``rectifold verify``: repeat the preparation of a saved model and check its claim anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from rectifold.certify import Verdict, verify
from rectifold.cli.model_data import read_again
from rectifold.cli.model_file import SavedModel, load_model
from rectifold.core.certificate import Grade, TrainingCertificate
from rectifold.core.errors import CertificateError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.report.words import number

__all__ = ["run_verify"]

_FOLDING_TOLERANCE = 1e-8


def run_verify(model_path: Path, data: str, console: Console) -> int:
    """Check a model file against the data it was trained on.

    Returns
    -------
    int
        0 if the claim holds, 1 if it does not.

    Raises
    ------
    ProblemError
        If the model or the data cannot be read, or do not belong together in shape.
    CertificateError
        If the file holds no certificate, or a malformed one.
    """
    model = load_model(model_path)
    if model.certificate is None:
        raise CertificateError(f"{model_path} holds no certificate: the run was stopped before there was one")
    read = read_again(model, data)
    problem = ConvexReLUProblem(read.X, read.targets, model.alpha, **model.problem)
    verdict = _strictest(model.certificate, problem)
    same = _same_network(model, read.inputs)
    console.print(f"model      {model_path}: {model.target} from {model.data_name}, alpha {number(model.alpha)}")
    console.print(
        f"claim      objective at most {number(model.certificate.objective, 10)}, "
        f"no network below {number(model.certificate.lower_bound, 10)}"
    )
    console.print(f"checked    {verdict.message} (grade {verdict.grade})")
    if not same:
        console.print("network    the saved network differs from the one that the claim is about")
    console.print("verdict    holds" if verdict.holds and same else "verdict    DOES NOT HOLD")
    return 0 if verdict.holds and same else 1


def _strictest(certificate: TrainingCertificate, problem: ConvexReLUProblem) -> Verdict:
    """Verify at the rigorous grade, or in float64 where there is no rigorous check."""
    try:
        return verify(certificate, problem=problem, grade=Grade.INTERVAL)
    except CertificateError:
        return verify(certificate, problem=problem)


def _same_network(model: SavedModel, inputs: np.ndarray) -> bool:
    """Return whether the saved network, the unfolded one and the certificate's are one function on the data."""
    certificate = model.certificate
    if certificate is None or certificate.network.digest() != model.unfolded.digest():
        return False
    folded, unfolded = model.network(inputs), model.unfolded(model.preparation.standardize(inputs))
    return bool(
        np.allclose(folded, unfolded, rtol=_FOLDING_TOLERANCE, atol=_FOLDING_TOLERANCE * np.abs(unfolded).max())
    )

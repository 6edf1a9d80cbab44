"""``rectifold verify`` of a file that says by itself what its claim is about."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from rectifold.certify import verify
from rectifold.certify.storage import read_archive, read_certificate
from rectifold.cli.minimum_file import same_claim
from rectifold.core.errors import CertificateError, ProblemError

__all__ = ["run_verify_certificate"]


def run_verify_certificate(path: Path, console: Console) -> int:
    """Check a certificate that was stored with all that it speaks of.

    Returns
    -------
    int
        0 if the claim holds, 1 if it does not.

    Raises
    ------
    ProblemError
        If it is a fitted network, which is checked against its data.
    CertificateError
        If the file holds no certificate, a malformed one, or one that was stored without its data.
    """
    arrays = read_archive(path)
    if "n_layers" in arrays:
        raise ProblemError(f"say what {path} was trained on: rectifold verify {path} data.csv")
    if "json" not in arrays:
        raise CertificateError(f"{path} holds no certificate")
    certificate = read_certificate(arrays)
    verdict, same = verify(certificate), same_claim(arrays, certificate)
    console.print(f"certificate  {path}: {type(certificate).__name__}")
    console.print(f"checked      {verdict.message} (grade {verdict.grade})")
    if not same:
        console.print("result       the point or value beside it differs from the certificate's")
    console.print("verdict      holds" if verdict.holds and same else "verdict      DOES NOT HOLD")
    return 0 if verdict.holds and same else 1

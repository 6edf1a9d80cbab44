"""Which problem a certificate speaks of."""

from __future__ import annotations

from typing import Protocol, TypeVar

from rectifold.certify.multipliers import require
from rectifold.certify.verdict import Refusal
from rectifold.core.errors import CertificateError

__all__ = ["problem_of"]


class Digested(Protocol):
    """A problem that is told from others by a hash of its data and switches."""

    @property
    def digest(self) -> str:
        """SHA-256."""


P = TypeVar("P", bound=Digested)


def problem_of(held: P | None, digest: str | None, given: P | None, kind: type[P], parts: str) -> P:
    """Return the problem given, or the one held, if it is the one with this digest.

    Raises
    ------
    CertificateError
        If there is none, or one of another kind.
    Refusal
        If it is another problem; ``parts`` names what may differ.
    """
    problem = held if given is None else given
    if problem is None:
        raise CertificateError(f"The certificate holds no data: pass problem={kind.__name__}(...).")
    require(isinstance(problem, kind), f"its problem is not a {kind.__name__}")
    if problem.digest != digest:
        raise Refusal(f"The certificate is for another problem: data, {parts} or switches differ (SHA-256).")
    return problem

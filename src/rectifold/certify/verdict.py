"""What a verification answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rectifold.core.certificate import Grade

__all__ = ["Verdict"]


@dataclass(frozen=True)
class Verdict:
    """The answer of `rectifold.verify`; true in a condition iff the claim holds.

    Attributes
    ----------
    holds : bool
        Whether every claim was re-derived.
    grade : Grade
        How much that can be trusted.
    residuals : mapping of str to float
        What was recomputed, by name; in each ``*_excess`` a number above zero is a violation.
    message : str
        The claim in a sentence, or the first thing that is wrong.
    """

    holds: bool
    grade: Grade
    residuals: Mapping[str, float]
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "residuals", MappingProxyType(dict(self.residuals)))

    def __bool__(self) -> bool:
        return self.holds

    def __reduce__(self) -> tuple[object, ...]:
        return Verdict, (self.holds, self.grade, dict(self.residuals), self.message)

    def __str__(self) -> str:
        lines = [f"{'holds' if self.holds else 'REFUSED'} [{self.grade}] {self.message}"]
        return "\n".join([*lines, *(f"  {name} = {value:.10g}" for name, value in self.residuals.items())])


class Refusal(Exception):
    """Ends a verification: the certificate is well formed, but its claim does not follow."""


def judged(check: Callable[[dict[str, float]], str], grade: Grade) -> Verdict:
    """Return the verdict of a check, which fills in the residuals and returns its message, or raises a `Refusal`."""
    residuals: dict[str, float] = {}
    try:
        message = check(residuals)
    except Refusal as refusal:
        return Verdict(False, grade, residuals, str(refusal))
    return Verdict(True, grade, residuals, message)

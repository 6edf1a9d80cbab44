"""Numbers and claims in words, the same on the terminal and in the report."""

from __future__ import annotations

import math

from rectifold.core.result import Proof, Status
from rectifold.report.summary import FitSummary

__all__ = ["claim", "limits_of_the_claim", "number", "percent", "score", "seconds"]


def number(value: float | None, digits: int = 6) -> str:
    """Format a number; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}g}"


def percent(value: float | None) -> str:
    """Format a share with two significant digits, never rounding a positive share to zero."""
    if value is None or math.isnan(value):
        return "–"
    if value == 0.0:
        return "0 %"
    return f"{100.0 * value:.2g} %" if abs(value) < 0.1 else f"{100.0 * value:.1f} %"


def score(value: float | None) -> str:
    """Format an R² or an accuracy."""
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def seconds(value: float) -> str:
    """Format a duration."""
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def claim(summary: FitSummary) -> str:
    """Say what is known about global optimality, in the words certified, priced and restricted."""
    proven = _proven(summary)
    if summary.proof is Proof.CERTIFIED:
        return f"Certified. {proven}"
    if summary.proof is Proof.PRICED:
        violation = f" (priced gap {percent(summary.priced_gap)})" if not math.isnan(summary.priced_gap) else ""
        return (
            f"Priced. A search from many starts found no neuron that would lower the objective{violation}; "
            f"that is a search, not a proof that none exists. {proven}"
        )
    if summary.proof is Proof.RESTRICTED:
        return f"Restricted. The network is optimal for the given activation patterns only. {proven}"
    return f"Stopped early, so nothing is claimed about optimality beyond the bound. {proven}"


def _proven(summary: FitSummary) -> str:
    """Say what the bound proves."""
    if not math.isfinite(summary.lower_bound):
        return "No bound was proven."
    if summary.n_neurons == 0 and summary.proof is Proof.CERTIFIED:
        return (
            "At this alpha the constant is the answer: no neuron, of any weights, gains as much loss as it costs "
            f"penalty (to within {percent(summary.gap)} of the objective)."
        )
    return (
        "Proven: no two-layer ReLU network of any width, with any weights, has an objective below "
        f"{number(summary.lower_bound)}, so at most {percent(summary.gap)} of this one could be gained."
    )


def limits_of_the_claim(summary: FitSummary) -> tuple[str, ...]:
    """Say what is not proven."""
    lines = [
        f"The objective is the mean loss on the {summary.n_train} training rows plus alpha times the size "
        "of the weights; the claim is about this number. Nothing is proven about rows not seen in training: "
        "the test score is a measurement."
    ]
    if summary.proof is not Proof.CERTIFIED and math.isfinite(summary.gap) and summary.gap > summary.gap_tol:
        lines.append(
            f"The proven gap is above the {percent(summary.gap_tol)} asked for before the word certified is used. "
            "It bounds what is unknown; the true distance to the best network may be far smaller."
        )
    if summary.status is not Status.OPTIMAL:
        lines.append(summary.status.message)
    return tuple(lines)

"""What a fitted estimator, a result or a network says about the program it solves, checked against the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rectifold.core.certificate import PatternBounds, TrainingCertificate
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.pattern import unpack_patterns
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Result
from rectifold.training.convex.restricted.patterns import PatternSet
from rectifold.training.convex.restricted.training import pattern_set

__all__ = ["SolvedProgram", "solved_program"]

_VALUE_TOL = 1e-9


@dataclass(frozen=True, eq=False)
class SolvedProgram:
    """A network with the program that it was trained on.

    Attributes
    ----------
    problem : ConvexReLUProblem
    network : ReLUNetwork
    chosen : PatternSet or None
        The patterns of a restricted program, None for all.
    """

    problem: ConvexReLUProblem
    network: ReLUNetwork
    chosen: PatternSet | None


def solved_program(
    solved: Any,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    problem: ConvexReLUProblem | None = None,
    patterns: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> SolvedProgram:
    """Return network, problem and patterns of a fitted estimator, a `Result` or, with ``problem``, a network.

    Parameters
    ----------
    solved : estimator, Result or ReLUNetwork
    X, y, sample_weight : array_like, optional
        The data of the fit; needed where the certificate has lost them (after pickling), checked where it has not.
    problem : ConvexReLUProblem, optional
        The problem itself, for results without a certificate and for networks.
    patterns : array_like of bool, shape (n_samples, P), optional
        Of the restricted program, if the certificate does not hold them.

    Raises
    ------
    ProblemError
        If nothing was fitted, the data are missing, or they are not those of the fit.
    """
    result = _result_of(solved)
    network = solved if isinstance(solved, ReLUNetwork) else result.solution
    if not isinstance(network, ReLUNetwork):
        raise ProblemError(
            f"Expected a solution that is a ReLUNetwork, got {type(network).__name__}: sets of optima are described "
            "for ReLU networks, not for gated models."
        )
    known = result.certificate.problem if isinstance(result.certificate, TrainingCertificate) else None
    known = known if problem is None else problem
    if known is None:
        known = _rebuilt(solved, X, y, sample_weight)
    elif X is not None or y is not None:
        _require_same_data(known, network, solved, X, y)
    _require_same_problem(known, network, result)
    return SolvedProgram(known, network, _patterns_of(known, result, patterns))


def _result_of(solved: Any) -> Result[Any]:
    if isinstance(solved, Result):
        return solved
    if isinstance(solved, ReLUNetwork):
        return Result(solved, np.nan)
    result = getattr(solved, "result_", None)
    if not isinstance(result, Result):
        raise ProblemError(
            f"Expected a fitted convex estimator, a Result or a ReLUNetwork with problem=, got {type(solved).__name__}"
            + (" that is not fitted: call fit first." if hasattr(solved, "fit") else ".")
        )
    return result


def _rebuilt(
    solved: Any, X: ArrayLike | None, y: ArrayLike | None, sample_weight: ArrayLike | None
) -> ConvexReLUProblem:
    if X is None or y is None or not hasattr(solved, "get_params"):
        raise ProblemError(
            "The result no longer holds the data it was fitted on: pass "
            + ("X and y." if hasattr(solved, "get_params") else "problem=ConvexReLUProblem(...).")
        )
    params = solved.get_params()
    targets, loss = _targets(solved, y), str(params.get("loss", "squared"))
    if loss == "logistic" and len(solved.classes_) > 2:
        loss = "multinomial"
    switches = {name: params[name] for name in ("hidden_bias", "fit_intercept", "output_penalty")}
    alpha = getattr(solved, "alpha_", params.get("alpha"))  # alpha_: chosen by cross-validation
    return ConvexReLUProblem(X, targets, alpha, loss, sample_weight=sample_weight, **switches)


def _targets(solved: Any, y: ArrayLike) -> Any:
    classes = getattr(solved, "classes_", None)
    if classes is None:
        return y
    labels = np.asarray(y)
    if not np.isin(labels, classes).all():
        raise ProblemError("y has labels that are not among the classes of the fit.")
    codes = np.searchsorted(classes, labels)
    return 2.0 * codes - 1.0 if len(classes) == 2 else codes


def _require_same_data(
    known: ConvexReLUProblem, network: ReLUNetwork, solved: Any, X: ArrayLike | None, y: ArrayLike | None
) -> None:
    if X is None or y is None:
        raise ProblemError("Pass both X and y, or neither.")
    given = ConvexReLUProblem(
        X, _targets(solved, y), known.alpha, known.loss.name, known.hidden_bias, known.fit_intercept,
        known.output_penalty,
    )  # fmt: skip
    if given.design.shape[1] != known.design.shape[1] or given.n_outputs != known.n_outputs:
        raise ProblemError(
            f"These are not the data of the fit: they have {given.n_features} features and {given.n_outputs} outputs, "
            f"the fit had {known.n_features} and {known.n_outputs}."
        )
    mine, theirs = _samples(given), _samples(known)
    if theirs - mine or len(np.asarray(X)) != known.n_samples_given:
        raise ProblemError(
            f"These are not the data of the fit: {len(theirs - mine)} of its {len(theirs)} distinct samples are not "
            f"among their {len(mine)}, and the network's objective on them is "
            f"{given.objective(network):.10g} instead of {known.objective(network):.10g}."
        )


def _samples(problem: ConvexReLUProblem) -> set[tuple[bytes, bytes]]:
    return {(x.tobytes(), y.tobytes()) for x, y in zip(problem.design, problem.targets, strict=True)}


def _require_same_problem(problem: ConvexReLUProblem, network: ReLUNetwork, result: Result[Any]) -> None:
    value, claimed = problem.objective(network), result.value
    certificate = result.certificate
    differs = isinstance(certificate, TrainingCertificate) and certificate.problem_digest != problem.digest
    if differs or (not np.isnan(claimed) and abs(value - claimed) > _VALUE_TOL * max(abs(claimed), 1e-300)):
        raise ProblemError(
            f"The data, alpha, weights or switches are not those of the fit: the objective of its network is "
            f"{value:.10g} on them, and was {claimed:.10g} when it was fitted."
        )


def _patterns_of(problem: ConvexReLUProblem, result: Result[Any], patterns: ArrayLike | None) -> PatternSet | None:
    if patterns is not None:
        return pattern_set(problem, patterns)
    evidence = result.certificate.evidence if isinstance(result.certificate, TrainingCertificate) else None
    if isinstance(evidence, PatternBounds):
        rows = unpack_patterns(evidence.patterns, len(problem.design))
        return PatternSet.from_columns(problem.design, np.ascontiguousarray(rows.T))
    if "patterns" in result.stats:
        raise ProblemError("The result belongs to given patterns, which it does not hold: pass them as patterns=.")
    return None

"""What a finished fit has to tell: the one source of the table, the report and their words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rectifold.core.result import Proof, Status

__all__ = ["FitSummary", "ModelRow", "PathRow"]


@dataclass(frozen=True)
class ModelRow:
    """One model's scores; ``test`` is None without a test part, ``note`` says how it was set up."""

    name: str
    train: float
    test: float | None
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class PathRow:
    """One alpha of a path on the training part; ``gap`` is the proven relative gap at that alpha, or NaN."""

    alpha: float
    objective: float
    gap: float
    n_neurons: int
    train: float
    test: float | None


@dataclass(frozen=True)
class FitSummary:
    """Everything that the table at the end and the report say about a fit.

    Attributes
    ----------
    data_name, target : str
    task : {"regression", "classification"}
    score_name : str
        ``"R²"`` or ``"accuracy"``.
    n_train, n_test, n_features : int
    preparation : tuple of str
        Sentences that say what was done to the data.
    alpha : float
    alpha_sentence : str
        How alpha was chosen.
    objective, lower_bound, gap, priced_gap, gap_tol : float
        As on the estimator; NaN where not computed.
    proof : Proof
    status : Status
    n_neurons : int
    seconds : float
        Of the final fit.
    models : tuple of ModelRow
        The trained network first.
    path : tuple of PathRow
    command : str
        The command line that repeats the run.
    details : mapping of str to str
        Counters, options and versions.
    """

    data_name: str
    target: str
    task: str
    score_name: str
    n_train: int
    n_test: int
    n_features: int
    preparation: tuple[str, ...]
    alpha: float
    alpha_sentence: str
    objective: float
    lower_bound: float
    gap: float
    priced_gap: float
    gap_tol: float
    proof: Proof
    status: Status
    n_neurons: int
    seconds: float
    models: tuple[ModelRow, ...]
    path: tuple[PathRow, ...] = ()
    command: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

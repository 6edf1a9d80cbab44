"""Results: a solution together with the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from rectifold.core.arrays import read_only

T = TypeVar("T")

_MESSAGES = {
    "optimal": "Solved to the requested tolerance.",
    "local_optimum": "A local optimum was reached; nothing is claimed about other regions.",
    "infeasible": "No point satisfies the constraints.",
    "degenerate": "A degenerate vertex was reached; whether it is a local optimum was not decided.",
    "unbounded": "The objective falls without limit.",
    "time_limit": "The time limit ended the run; the best solution so far is returned.",
    "node_limit": "The limit on the search effort ended the run; the best solution so far is returned.",
    "iteration_limit": "The iteration limit ended the run before the tolerance was met.",
    "interrupted": "Stopped on request; the best solution so far is returned.",
    "numerical": "Numerical difficulties ended the run before the tolerance was met.",
}


class Status(StrEnum):
    """Why a computation ended; ``message`` says it in a sentence."""

    OPTIMAL = "optimal"
    LOCAL_OPTIMUM = "local_optimum"
    DEGENERATE = "degenerate"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    TIME_LIMIT = "time_limit"
    NODE_LIMIT = "node_limit"
    ITERATION_LIMIT = "iteration_limit"
    INTERRUPTED = "interrupted"
    NUMERICAL = "numerical"

    @property
    def message(self) -> str:
        """The status as a sentence."""
        return _MESSAGES[self.value]


class Proof(StrEnum):
    """How far the claim of global optimality of a trained network goes."""

    CERTIFIED = "certified"
    """The proven gap is within ``gap_tol``, by enumeration or by a bound on pricing."""
    PRICED = "priced"
    """A multi-start search found no neuron that enters; a search, not a proof."""
    RESTRICTED = "restricted"
    """Optimal for the given activation patterns only."""
    NONE = "none"
    """Stopped before any of the above could be said."""


class ReadOnlyArrays:
    """Mixin for frozen dataclasses whose array fields stay read-only, also after unpickling."""

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, f.name, read_only(value))

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                object.__setattr__(self, name, read_only(value))


@dataclass(frozen=True, eq=False)
class Trace(ReadOnlyArrays):
    """Value and bound against time.

    Attributes
    ----------
    elapsed : ndarray of float64, shape (k,)
        Seconds since the start.
    value, bound : ndarray of float64, shape (k,)
        Incumbent objective and proven bound at that time.
    stage : tuple of str, length k
    """

    elapsed: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    value: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    bound: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    stage: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stage)


class ReadOnlyStats:
    """Base of frozen dataclasses whose ``stats`` mapping is read-only, also after pickling."""

    stats: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stats", MappingProxyType(dict(self.stats)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "stats": dict(self.stats)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


@dataclass(frozen=True, eq=False)
class Result(ReadOnlyStats, Generic[T]):
    """A solution with its evidence.

    Attributes
    ----------
    solution : object
        A point, a network or a model.
    value : float
        Objective at ``solution``.
    bound : float
        Proven bound on the optimal value; minus infinity when nothing is proven.
    status : Status
        Why the computation ended.
    proof : Proof
        What is claimed about global optimality.
    certificate : object or None
        Data from which :func:`rectifold.verify` re-derives ``bound``.
    stats : mapping
        Counters and secondary gaps; NaN where not computed.
    trace : Trace
        Value and bound against time.
    """

    solution: T
    value: float
    bound: float = -np.inf
    status: Status = Status.OPTIMAL
    proof: Proof = Proof.NONE
    certificate: Any = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    trace: Trace = field(default_factory=Trace)

    @property
    def gap(self) -> float:
        """``value - bound``, at least 0."""
        return max(self.value - self.bound, 0.0)

    @property
    def relative_gap(self) -> float:
        """``gap / |value|``, 0 when both are 0."""
        if self.gap == 0.0:
            return 0.0
        return self.gap / abs(self.value) if self.value != 0.0 else float("inf")

    def __str__(self) -> str:
        rows = [
            ("status", f"{self.status}: {self.status.message}"),
            ("value", f"{self.value:.10g}"),
            ("bound", f"{self.bound:.10g}"),
            ("relative gap", f"{self.relative_gap:.3g}"),
            ("proof", str(self.proof)),
            *((k, f"{v:.6g}" if isinstance(v, float) else str(v)) for k, v in self.stats.items()),
        ]
        width = max(len(k) for k, _ in rows)
        return "\n".join([type(self).__name__, *(f"  {k:<{width}}  {v}" for k, v in rows)])

"""What pruning returns: the minimal network, how it came about, and the narrower ones that approximate it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.result import ReadOnlyArrays, ReadOnlyStats
from rectifold.training.convex.pruning.neuron_columns import NeuronColumns

__all__ = ["NarrowerNetworks", "PruningResult", "PruningTrace"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PruningTrace(ReadOnlyArrays):
    """One entry a removed neuron, after a first entry for the network as given.

    Attributes
    ----------
    width : ndarray of int, shape (k,)
        Neurons left.
    removed : ndarray of int, shape (k,)
        Index of the removed neuron in the given network; -1 where none was.
    stage : tuple of str, length k
        "given"; "merged" with a neuron of its direction; "unused" on the samples; "exact": removed by moving along a
        null vector; "exchanged": neurons replaced at the same width for a lower penalty (neurons removed before may
        be back); "smallest": the narrower network that the search found; "approximate": below the minimal width.
    penalty : ndarray, shape (k,)
        ``sum_j ||w_j|| ||a_j||``.
    loss, objective : ndarray, shape (k,)
        NaN where there are no targets, or no alpha.
    fit_error : ndarray, shape (k,)
        Root mean square of the change of the training predictions over their spread around the mean.
    """

    width: NDArray[np.intp]
    removed: NDArray[np.intp]
    stage: tuple[str, ...]
    penalty: Array
    loss: Array
    objective: Array
    fit_error: Array

    def __len__(self) -> int:
        return len(self.stage)


class NarrowerNetworks(Sequence[ReLUNetwork]):
    """Networks of falling width, built when they are asked for."""

    def __init__(self, columns: NeuronColumns) -> None:
        self._columns = columns
        self._members: list[tuple[NDArray[np.intp], Array, Array]] = []

    def add(self, mu: Array, intercept: Array) -> None:
        """Append the network of the neurons with mu > 0."""
        used = np.flatnonzero(mu)
        self._members.append((used, mu[used], intercept))

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each."""
        return tuple(len(used) for used, _, _ in self._members)

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, index: int) -> ReLUNetwork: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ReLUNetwork]: ...

    def __getitem__(self, index: int | slice) -> ReLUNetwork | Sequence[ReLUNetwork]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        used, mu, intercept = self._members[index]
        return self._columns.take(used).network(mu, intercept)


@dataclass(frozen=True, eq=False)
class PruningResult(ReadOnlyStats):
    """A network of which no neuron can be removed by rescaling the others, and how it came about.

    Attributes
    ----------
    network : ReLUNetwork
        Balanced, with the training predictions of the given one. Inclusion-minimal: the columns of its neurons are
        independent, so every other non-negative combination of them changes a prediction. It need not be the smallest.
    given : ReLUNetwork
    penalty, given_penalty : float
        ``sum_j ||w_j|| ||a_j||`` afterwards and before.
    objective, given_objective : float
        NaN without targets and alpha.
    fit_change : float
        Largest absolute change of a training prediction.
    width_bound : int
        Proven least width among the networks that rescale neurons of the given one, keep the predictions and do not
        raise the penalty; 0 where it was not searched for (``smallest=False``) and nothing is known.
    trace : PruningTrace
    narrower : sequence of ReLUNetwork
        Those of the approximate continuation, of falling width (``narrower.widths``); empty without ``continue_to``.
    stats : mapping
        ``neurons``, ``merged`` (width after merging), ``exchanges``, ``residual``, ``own_gap`` (see `prune`; NaN for a
        plain network), ``seconds``.
    """

    network: ReLUNetwork
    given: ReLUNetwork
    penalty: float
    given_penalty: float
    objective: float
    given_objective: float
    fit_change: float
    width_bound: int
    trace: PruningTrace
    narrower: NarrowerNetworks
    stats: Mapping[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Neurons of ``network``."""
        return self.network.widths[0]

    @property
    def is_smallest(self) -> bool | None:
        """Whether no narrower network of that kind exists: True if proven; None if not known."""
        return True if self.width <= max(self.width_bound, 1) else None

    def at_width(self, width: int) -> ReLUNetwork:
        """Return the best network found with at most ``width`` neurons.

        Raises
        ------
        ProblemError
            If the continuation (``continue_to``) did not go that far.
        """
        if self.width <= width:
            return self.network
        for i, narrower in enumerate(self.narrower.widths):
            if narrower <= width:
                return self.narrower[i]
        least = min(self.width, *self.narrower.widths, self.width)
        raise ProblemError(f"the narrowest network has {least} neurons: prune with continue_to={width}")

    def __str__(self) -> str:
        rows = [
            ("neurons", f"{self.given.widths[0]} -> {self.width}"),
            ("least width proven", str(self.width_bound) if self.width_bound else "not searched"),
            ("penalty", f"{self.given_penalty:.10g} -> {self.penalty:.10g}"),
            ("objective", f"{self.given_objective:.10g} -> {self.objective:.10g}"),
            ("largest change of a fit", f"{self.fit_change:.3g}"),
        ]
        return "\n".join([type(self).__name__, *(f"  {name:<24} {value}" for name, value in rows)])

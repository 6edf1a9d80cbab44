"""The entries of a pruning trace, in the order in which neurons go."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.training.convex.pruning.neuron_columns import NeuronColumns, output_norm, penalised_norm
from rectifold.training.convex.pruning.result import PruningTrace
from rectifold.training.convex.pruning.subject import Subject
from rectifold.training.convex.pruning.vertex import Vertex

Array = NDArray[np.float64]


class TraceBuilder:
    """Collects entries; stages before "exchanged" leave the fit alone, so that only width and penalty change."""

    def __init__(self, subject: Subject, fit: Array) -> None:
        self._subject, self._fit = subject, fit
        self._loss = subject.loss_of(fit)
        self._width, self._penalty = subject.network.widths[0], subject.penalty(subject.network)
        self._rows: list[tuple[int, int, str, float, float, float]] = []
        self._add("given", -1, self._width)

    def merging(self, columns: NeuronColumns, groups: list[NDArray[np.intp]]) -> None:
        """Record neurons merged into another of their direction, then those that do nothing at all."""
        given = self._subject.network
        hidden = np.column_stack([given.weights[0], given.biases[0]])
        sizes = penalised_norm(hidden, self._subject.hidden_bias)
        sizes = sizes * output_norm(given.weights[1].T, self._subject.output_penalty)
        grouped = np.zeros(self._width, dtype=bool)
        for group, merged in zip(groups, columns.penalties, strict=True):
            grouped[group] = True
            if len(group) > 1:  # what merging saves is booked with the last of the group
                saved = float(sizes[group].sum() - merged)
                for j in group[1:-1]:
                    self._remove("merged", int(j), self._penalty)
                self._remove("merged", int(group[-1]), self._penalty - saved)
        for j in np.flatnonzero(~grouped):
            self._remove("unused", int(j), self._penalty - float(sizes[j]))

    def exact(self, columns: NeuronColumns, vertex: Vertex) -> None:
        """Record the neurons that are zero on the samples, and those that left on the way to a vertex."""
        for j in vertex.unused:
            self._remove("unused", int(columns.sources[j]), self._penalty - float(columns.penalties[j]))
        for j, cost in vertex.removed:
            self._remove("exact", int(columns.sources[j]), cost)

    def network(self, stage: str, width: int, penalty: float, fit: Array) -> None:
        """Record a network reached without a single neuron to name."""
        self._penalty = penalty
        self._add(stage, -1, width, fit)

    def approximate(self, removed: list[int], penalty: float, fit: Array) -> None:
        """Record neurons that leave together, with the network that is left."""
        for j in removed:
            self._penalty = penalty
            self._add("approximate", j, self._width - 1, fit)

    def build(self) -> PruningTrace:
        """Return the entries so far."""
        width, removed, stage, penalty, loss, error = zip(*self._rows, strict=True)
        losses, penalties = np.array(loss), np.array(penalty)
        objective = losses + self._subject.alpha * penalties
        return PruningTrace(
            np.array(width), np.array(removed), tuple(stage), penalties, losses, objective, np.array(error)
        )

    @property
    def width(self) -> int:
        """Neurons left."""
        return self._width

    def _remove(self, stage: str, neuron: int, penalty: float) -> None:
        self._penalty = penalty
        self._add(stage, neuron, self._width - 1)

    def _add(self, stage: str, neuron: int, width: int, fit: Array | None = None) -> None:
        self._width = width
        loss, error = (self._loss, 0.0) if fit is None else (self._subject.loss_of(fit), self._error(fit))
        self._rows.append((width, neuron, stage, self._penalty, loss, error))

    def _error(self, fit: Array) -> float:
        weights = self._subject.weights
        size = _root_mean_square(self._fit - weights @ self._fit, weights)
        change = _root_mean_square(fit - self._fit, weights)
        return change / size if size > 0.0 else change


def _root_mean_square(values: Array, weights: Array) -> float:
    return float(np.sqrt(weights @ (values**2).sum(axis=1)))

"""The walk over vertices of the L1 loss in the weights of one hidden layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.budget import Budget
from rectifold._kernels.vertex_walk import LayerVertexWalk, WalkStatus
from rectifold.core.layer_l1 import LayerData
from rectifold.core.result import Status
from rectifold.programs.degenerate import Decision, seconds_left
from rectifold.programs.walk_driver import NEVER, drive, run_slices
from rectifold.training.layerwise.layer_directions import LayerDirections

__all__ = ["LayerDescent", "LayerSimplex"]

Array = NDArray[np.float64]

_SHIFT = 1e-7
_KICK = 0.1
_MAX_NODES = 1_000
_MAX_SECONDS = 10.0  # for one mixed-integer program


@dataclass(frozen=True, eq=False)
class LayerDescent:
    """Where the walks ended.

    Attributes
    ----------
    status : Status
    decided_by : str
        As in `WalkEnd`.
    theta : ndarray, shape (p,)
    state : dict
        The kernel's answer.
    losses : ndarray
        The lowest so far after every move, the loss at the start first.
    pivots, crossings : int
        Of all walks.
    """

    status: Status
    decided_by: str
    theta: Array
    state: dict[str, Any]
    losses: Array
    pivots: int
    crossings: int


class LayerSimplex:
    """Walks down the loss of a `LayerData`.

    The layer has no bias of its own beside its variables, so that all kinks of a unit meet where its weights are zero,
    and walks would get stuck there. They go down a loss whose kinks are shifted by 1e-7 of their size first, each by a
    random amount; from where that ends, the loss itself is walked down to its own vertex.

    Parameters
    ----------
    data : LayerData
    random_state : Generator
        For the shifts, and for the directions tried at degenerate vertices.
    budget : Budget
    """

    def __init__(self, data: LayerData, random_state: np.random.Generator, budget: Budget) -> None:
        self._data, self._rng, self._budget = data, random_state, budget

    def descend(self, theta: Array, n_walks: int, max_moves: int = NEVER) -> LayerDescent:
        """Walk down from weights, and again from near the lowest end so far, some times; go on from the lowest."""
        start = self._data.loss(theta)
        best, low, path = theta, start, np.array([start])
        pivots = crossings = 0
        for i in range(n_walks):
            left = max(max_moves + 1 - len(path), 0)
            if left == 0 or self._budget.should_stop():
                break
            end, trace, counts = self._shifted(best if i == 0 else self._kicked(best), left)
            pivots, crossings = pivots + counts[0], crossings + counts[1]
            loss = self._data.loss(end)
            # the shifted loss differs in the ninth digit or so: what is reported lies between start and end
            path = np.append(path, np.clip(trace[1:], min(loss, low), low))
            best, low = (end, loss) if loss < low else (best, low)
        walk = self._walk(np.zeros((self._data.width, len(self._data.inputs))))
        walk.start(best)
        finish = drive(walk, self._decide, self._budget, max(max_moves + 1 - len(path), 0), self._note)
        state = walk.state()
        losses = np.minimum.accumulate(np.append(path, walk.trace[1:]))
        pivots, crossings = pivots + state["pivots"], crossings + state["crossings"]
        status = finish.status if finish.status is not Status.UNBOUNDED else Status.NUMERICAL  # no loss is unbounded
        return LayerDescent(status, finish.decided_by, state["x"], state, losses, pivots, crossings)

    def _kicked(self, theta: Array) -> Array:
        """Weights near these: each unit's are moved by about a tenth of their length."""
        rows = theta.reshape(self._data.width, -1)
        size = _KICK / np.sqrt(rows.shape[1]) * np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray((rows + size * self._rng.standard_normal(rows.shape)).ravel())

    def _shifted(self, theta: Array, max_moves: int) -> tuple[Array, Array, tuple[int, int]]:
        """The end of a walk down the shifted loss, its values and its numbers of pivots and crossings."""
        data = self._data
        rows = np.linalg.norm(theta.reshape(data.width, -1), axis=1).max() or 1.0
        size = _SHIFT * rows * np.linalg.norm(data.inputs, axis=1)
        walk = self._walk(size * self._rng.uniform(-1.0, 1.0, (data.width, len(size))))
        walk.start(theta)
        code = run_slices(walk, self._budget, max_moves, self._note)
        state = walk.state()
        if code is WalkStatus.UNBOUNDED:  # no loss is: an edge was lost to rounding
            return theta, walk.trace, (0, 0)
        return state["x"], walk.trace, (state["pivots"], state["crossings"])

    def _walk(self, shifts: Array) -> Any:
        data = self._data
        output, offset = data.output
        return LayerVertexWalk(
            data.inputs,
            shifts,
            [np.ascontiguousarray(weight) for weight, _ in data.above],
            [np.ascontiguousarray(bias) for _, bias in data.above],
            np.concatenate([lo for lo, _ in data.slopes]),
            np.concatenate([hi for _, hi in data.slopes]),
            np.ascontiguousarray(output),
            offset,
            data.starts,
            data.targets,
            data.weights,
        )

    def _decide(self, state: dict[str, Any]) -> Decision:
        parts = (state["critical"], state["gradient_size"], state["fixed"])
        program = LayerDirections(self._data, state["x"], *parts)
        return program.decide(state["edges"], self._rng, _MAX_NODES, seconds_left(self._budget, _MAX_SECONDS))

    def _note(self, walk: Any) -> None:
        trace = walk.trace
        self._budget.report("walk", float(trace[-1]), 0.0, moves=len(trace) - 1)

"""Many starts at once: batched projected gradient steps, in numpy, before each end is polished exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.budget import Budget
from rectifold.core.domain import Box, Domain
from rectifold.programs.objective import Objective

__all__ = ["projected_gradient"]

Array = NDArray[np.float64]


def projected_gradient(objective: Objective, X: Array, n_steps: int, budget: Budget) -> tuple[Array, Array]:
    """Take normalised gradient steps of falling length from points of the domain; keep the best point of each path.

    Parameters
    ----------
    objective : Objective
    X : ndarray, shape (m, n_inputs)
    n_steps : int
    budget : Budget

    Returns
    -------
    points : ndarray, shape (m, n_inputs)
        In the domain.
    values : ndarray, shape (m,)

    Notes
    -----
    A box is projected on exactly. Elsewhere a step is cut at the first row it meets, and gradients have the rows that
    are met removed one after the other: no step leaves the domain, which is all that is needed here.
    """
    stay = _BoxSteps(objective.domain) if isinstance(objective.domain, Box) else _PolytopeSteps(objective.domain)
    points, best, values = X.copy(), X.copy(), objective(X)
    length = 0.25 * np.maximum(np.ptp(X, axis=0).mean(), 1e-3) * np.sqrt(X.shape[1])
    decay = (1e-5) ** (1.0 / max(n_steps - 1, 1))
    for step in range(n_steps):
        if budget.should_stop():
            break
        value, gradient = objective.with_gradients(points)
        better = value < values
        best[better], values[better] = points[better], value[better]
        size = np.linalg.norm(gradient, axis=1, keepdims=True)
        points = stay.move(points, -length * decay**step * gradient / np.where(size > 0.0, size, 1.0))
    value = objective(points)
    better = value < values
    best[better], values[better] = points[better], value[better]
    return best, values


class _BoxSteps:
    def __init__(self, box: Box) -> None:
        self._box = box

    def move(self, X: Array, V: Array) -> Array:
        return np.asarray(np.clip(X + V, self._box.lower, self._box.upper))


class _PolytopeSteps:
    _ROUNDS = 3

    def __init__(self, domain: Domain) -> None:
        G, h = domain.rows()
        size = np.linalg.norm(G, axis=1)
        self._G, self._h = G / size[:, None], h / size
        E = domain.equalities()[0]
        self._complement = np.eye(domain.n_inputs) - np.linalg.pinv(E) @ E if len(E) else None

    def move(self, X: Array, V: Array) -> Array:
        if self._complement is not None:
            V = V @ self._complement
        if not len(self._h):
            return np.asarray(X + V)
        for _ in range(self._ROUNDS):  # slide along the rows that are in the way
            room = self._h - X @ self._G.T
            rate = V @ self._G.T
            excess = np.where((room <= 1e-9) & (rate > 0.0), rate, 0.0)
            worst = np.argmax(excess, axis=1)
            amount = excess[np.arange(len(X)), worst]
            if not amount.any():
                break
            V = V - amount[:, None] * self._G[worst]
            if self._complement is not None:
                V = V @ self._complement
        room, rate = self._h - X @ self._G.T, V @ self._G.T
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(rate > 0.0, np.maximum(room, 0.0) / rate, np.inf)
        return np.asarray(X + np.minimum(shares.min(axis=1, initial=1.0), 1.0)[:, None] * V)

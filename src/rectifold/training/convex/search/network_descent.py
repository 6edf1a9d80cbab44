"""Training by local descent and pricing: joint outputs, non-separable losses, and data too large for second order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.restricted.fixed_directions import corrected
from rectifold.training.convex.search.column_generation import scaled_gap
from rectifold.training.convex.search.descent import Neurons, descend, extended
from rectifold.training.convex.search.pricing import Priced, price, starting_directions

Array = NDArray[np.float64]

_NEW_PER_ROUND = 30
_STALLED = 4
_STARTS_WHEN_LATE = 32
_MERGE_ANGLES = (0.05, 0.01, 0.002)
_CORRECTION_SIZE = 1e5
_STEPS = 150
_LARGE = 1e6
_FINE = 1e-4


@dataclass
class DescentResult:
    """A network with what pricing found at it.

    Attributes
    ----------
    neurons : Neurons
    theta : ndarray, shape (n, K)
    objective : float
    priced_gap : float
    starts, rounds : int
    """

    neurons: Neurons
    theta: Array
    objective: float
    priced_gap: float
    starts: int
    rounds: int


def descend_and_price(
    problem: ConvexReLUProblem,
    start: Neurons,
    *,
    tol: float,
    n_starts: int,
    max_rounds: int,
    rng: np.random.Generator,
    known: Array,
    should_stop: Callable[[], bool] = lambda: False,
    on_round: Callable[[DescentResult], None] = lambda result: None,
) -> DescentResult:
    """Alternate L-BFGS on the network with pricing of new neurons until pricing finds none that enters.

    Parameters
    ----------
    problem : ConvexReLUProblem
    start : Neurons
    tol : float
        Stop once the priced gap is at most this.
    n_starts, max_rounds : int
    known : ndarray, shape (m, d)
        Directions that every pricing judges: those that a proof was refuted by.

    Notes
    -----
    First order: it ends 1e-5 to 1e-2 above the optimum, where kinks stop L-BFGS; the priced gap says how far.
    """
    best: DescentResult | None = None
    neurons, stalled, single = start, 0, problem.design.size > _LARGE
    for rounds in range(1, max_rounds + 1):
        neurons = prune(descend(problem, neurons, max_iter=_STEPS, single=single, should_stop=should_stop))
        neurons = _simplified(problem, neurons)
        current, priced = _priced(problem, neurons, n_starts, should_stop, rng, known, rounds)
        gain = np.inf if best is None else best.objective - current.objective
        stalled = 0 if gain > 1e-4 * current.objective else stalled + 1
        best = current if best is None or gain > 0 else best
        if single and gain <= _FINE * best.objective:
            single, stalled = False, 0
        on_round(best)
        if best.priced_gap <= tol or stalled >= _STALLED or should_stop():
            break
        neurons = _proposed(problem, best.neurons, priced)
    assert best is not None
    return best


def _proposed(problem: ConvexReLUProblem, neurons: Neurons, priced: Priced) -> Neurons:
    """Let the directions that price out enter, by a convex solve over all directions where that is cheap."""
    if problem.design.size > _CORRECTION_SIZE or len(neurons) == 0:
        return extended(problem, neurons, priced, _NEW_PER_ROUND)
    candidate = corrected(problem, neurons, priced.directions[priced.values > problem.alpha][:_NEW_PER_ROUND])
    better = _objective(problem, candidate) < _objective(problem, neurons)
    return candidate if better else extended(problem, neurons, priced, _NEW_PER_ROUND)


def _simplified(problem: ConvexReLUProblem, neurons: Neurons) -> Neurons:
    """Merge nearly collinear neurons as far as that costs next to nothing."""
    value = _objective(problem, neurons)
    for angle in _MERGE_ANGLES:
        candidate = merged(neurons, angle)
        if _objective(problem, candidate) <= value * (1 + 1e-7):
            return candidate
    return neurons


def _objective(problem: ConvexReLUProblem, neurons: Neurons) -> float:
    return problem.objective(problem.network(neurons.directions, neurons.outputs, neurons.intercept))


def _priced(
    problem: ConvexReLUProblem,
    neurons: Neurons,
    n_starts: int,
    should_stop: Callable[[], bool],
    rng: np.random.Generator,
    known: Array,
    rounds: int,
) -> tuple[DescentResult, Priced]:
    fit = neurons.fit(problem.design)
    if problem.fit_intercept:
        shift = problem.loss.intercept(fit, problem.targets, problem.weights)
        fit, neurons = fit + shift, Neurons(neurons.directions, neurons.outputs, neurons.intercept + shift)
    theta = problem.theta(fit)
    if problem.fit_intercept:
        theta = problem.loss.to_domain(theta, problem.targets, problem.weights)
    own = neurons.directions / np.maximum(np.linalg.norm(neurons.directions, axis=1, keepdims=True), 1e-300)
    if should_stop():
        n_starts = min(n_starts, _STARTS_WHEN_LATE)
        own = rng.permutation(own)[:_STARTS_WHEN_LATE]
    starts = np.vstack([own, starting_directions(problem, n_starts, rng)])
    priced = price(problem, theta, starts, known=known, should_stop=should_stop)
    objective = _objective(problem, neurons)
    gap = scaled_gap(problem, objective, theta, priced.largest)
    return DescentResult(neurons, theta, objective, gap, priced.starts, rounds), priced


def prune(neurons: Neurons, threshold: float = 1e-5) -> Neurons:
    """Leave out neurons whose ``||w|| ||a||`` is negligible beside the largest."""
    size = np.linalg.norm(neurons.directions, axis=1) * np.linalg.norm(neurons.outputs, axis=1)
    kept = size > threshold * size.max(initial=0.0)
    return Neurons(neurons.directions[kept], neurons.outputs[kept], neurons.intercept).balanced()


def merged(neurons: Neurons, angle: float) -> Neurons:
    """Add up neurons whose directions lie within an angle (radians) of that of a larger one."""
    length = np.linalg.norm(neurons.directions, axis=1)
    unit, outputs = neurons.directions / length[:, None], neurons.outputs * length[:, None]
    size = np.linalg.norm(outputs, axis=1)
    free, directions, sums = np.ones(len(unit), dtype=bool), [], []
    for j in np.argsort(-size, kind="stable"):
        if not free[j]:
            continue
        group = free & (np.linalg.norm(unit - unit[j], axis=1) < angle) & (outputs @ outputs[j] > 0)
        free &= ~group
        mean = size[group] @ unit[group]
        directions.append(mean / np.linalg.norm(mean))
        sums.append(outputs[group].sum(axis=0))
    k = neurons.outputs.shape[1]
    return Neurons(
        np.array(directions).reshape(-1, unit.shape[1]), np.array(sums).reshape(-1, k), neurons.intercept
    ).balanced()

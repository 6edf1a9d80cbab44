"""Stochastic descent on the network itself, for data so many that a full gradient is dear: Adam on random batches."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.search.descent import Neurons

Array = NDArray[np.float64]
Single = NDArray[np.float32]

_STEPS, _MOST_STEPS = 12_000, 40_000
_BATCH, _LEAST_BATCH = 1024, 512
_WIDTH, _MOST_WIDTH = 200, 300
_USUAL_SHARE = 0.01
"""Of the largest alpha, for which the first figures above are meant: a smaller alpha pays for more neurons, takes more
steps to tell which are needed, and can bear more noise."""
_RATE = 0.01
"""Over the size that a weight has at the start: larger ones kill neurons, smaller ones need more steps."""
_START = 0.3
_MARGIN = 6.0
"""What fits are measured in where targets are classes: about the largest of a good fit."""
_DECAY_1, _DECAY_2, _EPSILON = 0.9, 0.999, 1e-8
_LOOK = 16


def stochastic_descend(
    problem: ConvexReLUProblem,
    rng: np.random.Generator,
    *,
    width: int | None = None,
    n_steps: int | None = None,
    seconds: float = np.inf,
    should_stop: Callable[[], bool] = lambda: False,
) -> Neurons:
    """Run Adam from a random network on ``loss + alpha/2 sum_j (||w_j||^2 + ||a_j||^2)``, in single precision.

    It runs in units in which inputs and targets have size one, so that their scale does not matter. The rate falls as
    a cosine over the steps, each on B = 512 to 1024 random rows at a cost of ``O(B m (d + K))``. It ends 1e-4 to 1e-3
    above where L-BFGS gets from there, in basins that L-BFGS alone does not find.

    Parameters
    ----------
    problem : ConvexReLUProblem
    rng : numpy.random.Generator
    width : int, optional
        Neurons m; under the l1 penalty each feeds one output. Left out: 200 to 300 an output, the more the smaller
        alpha is, but no more than allow for all steps in time.
    n_steps : int, optional
        Left out: 12 000 to 40 000, the more the smaller alpha is.
    seconds : float
        Fewer steps are made if these would take longer, the rate falling with time then.
    should_stop : callable

    References
    ----------
    Kingma and Ba (2015).
    """
    used = np.flatnonzero(problem.design.any(axis=0))  # images have pixels that are never set
    inputs, spread = _scales(problem, used[used < problem.n_features])
    X = np.ascontiguousarray(problem.design[:, used] / inputs, dtype=np.float32)  # rows are taken from it
    alpha = np.float32(problem.alpha / (inputs * spread))
    n, d = X.shape
    width, n_steps, batch = _sizes(problem, d, width, n_steps, seconds)
    units = _bias_units(problem, inputs)[used]
    w, a, c = _start(problem, width, units, spread, rng)
    support = (a != 0).astype(np.float32)
    directions = _Parameter(w, _RATE * units / np.float32(np.sqrt(d)), float(alpha))
    outputs = _Parameter(a, np.float32(_RATE / np.sqrt(width)), float(alpha))
    constant = _Parameter(c, np.float32(_RATE if problem.fit_intercept else 0.0))
    x, hidden, back = (np.empty((batch, size), dtype=np.float32) for size in (d, width, width))
    active = np.empty((batch, width), dtype=bool)
    start, step, progress = time.perf_counter(), 0, 0.0
    while progress < 1.0 and not (step % _LOOK == 0 and should_stop()):
        rows = rng.integers(0, n, batch)
        np.take(X, rows, axis=0, out=x, mode="clip")
        np.matmul(x, w.T, out=hidden)
        np.greater(hidden, 0, out=active)
        hidden *= active
        fit = spread * (hidden @ a + c).astype(np.float64)
        theta = problem.loss.theta(fit, problem.targets[rows], (n / batch) * problem.weights[rows])
        theta = (theta / spread).astype(np.float32)
        np.matmul(theta, a.T, out=back)
        back *= active
        np.matmul(back.T, x, out=directions.slope)
        np.matmul(hidden.T, theta, out=outputs.slope)
        theta.sum(axis=0, out=constant.slope)
        for parameter in (directions, outputs, constant):
            parameter.move(0.5 + 0.5 * np.cos(np.pi * progress), step)
        a *= support
        step += 1
        progress = max(step / n_steps, (time.perf_counter() - start) / seconds)
    whole = np.zeros((width, problem.design.shape[1]))
    whole[:, used] = w / np.float64(inputs)
    return Neurons(whole, a.astype(np.float64) * spread, c.astype(np.float64) * spread)


def _sizes(
    problem: ConvexReLUProblem, d: int, width: int | None, n_steps: int | None, seconds: float
) -> tuple[int, int, int]:
    """Return width, steps and rows of a batch for d features that are used."""
    share = _share(problem)
    if n_steps is None:
        n_steps = int(np.clip(_STEPS * (_USUAL_SHARE / share) ** 0.6, _STEPS, _MOST_STEPS))
    batch = int(np.clip(_BATCH * (share / _USUAL_SHARE) ** 0.36, _LEAST_BATCH, _BATCH))
    batch = min(batch, len(problem.design))
    if width is None:
        width = problem.n_outputs * int(np.clip(_WIDTH * (_USUAL_SHARE / share) ** 0.2, _WIDTH, _MOST_WIDTH))
        if np.isfinite(seconds):
            affordable = width * seconds / (n_steps * _seconds_a_step(batch, d, width))
            width = int(np.clip(affordable, problem.n_outputs * _WIDTH, width))
    return width, n_steps, batch


def _scales(problem: ConvexReLUProblem, features: NDArray[np.intp]) -> tuple[float, float]:
    """Return the size of the values of these features and of the targets' spread."""
    inputs = float(np.sqrt(np.mean(problem.weights @ problem.design[:, features] ** 2)))
    spread = _MARGIN
    if problem.loss.name == "squared":
        spread = float(np.sqrt(problem.weights @ (problem.targets - problem.null_intercept) ** 2).mean())
    return max(inputs, 1e-30), max(spread, 1e-30)


def _share(problem: ConvexReLUProblem) -> float:
    """Return alpha over a gain at the constant, which is about the largest alpha."""
    steepest = problem.null_theta.T @ problem.design
    steepest /= np.maximum(np.linalg.norm(steepest, axis=1, keepdims=True), 1e-300)
    along = problem.design @ steepest.T
    gains = [
        np.abs(np.einsum("nk,nk->k", side, problem.null_theta)).max() for side in (along.clip(0), along.clip(None, 0))
    ]
    return float(problem.alpha / max(*gains, 1e-300))


def _seconds_a_step(batch: int, d: int, width: int) -> float:
    """Return about what a step takes, nearly all of it in two products."""
    rows, directions, begun = np.ones((batch, d), np.float32), np.ones((width, d), np.float32), 0.0
    for i in range(4):
        begun = time.perf_counter() if i == 1 else begun  # the first one warms up
        rows @ directions.T
    return 2.5 * (time.perf_counter() - begun) / 3


def _start(
    problem: ConvexReLUProblem, width: int, units: Single, spread: float, rng: np.random.Generator
) -> tuple[Single, Single, Single]:
    """Draw a network in the units of the descent."""
    d, k = len(units), problem.n_outputs
    w = (rng.standard_normal((width, d)) * (_START / np.sqrt(d))).astype(np.float32) * units
    a = (rng.standard_normal((width, k)) / np.sqrt(width)).astype(np.float32)
    if problem.output_penalty == "l1":  # an optimum has neurons that feed one output each
        a *= np.arange(k) == (np.arange(width) % k)[:, None]
    return w, a, (problem.null_intercept / spread).astype(np.float32)


def _bias_units(problem: ConvexReLUProblem, inputs: float) -> Single:
    """Return 1 a feature, and less for the hidden bias where its column is larger than the features."""
    units = np.ones(problem.design.shape[1], dtype=np.float32)
    if problem.bias_column:
        units[-1] = min(1.0, inputs / problem.bias_column)
    return units


class _Parameter:
    """An array that Adam moves in place, by the negative gradient that is put into ``slope`` and by its own decay."""

    def __init__(self, values: Single, rate: Single | np.float32, decay: float = 0.0) -> None:
        self.values, self.rate, self.decay = values, rate, np.float32(decay)
        self.slope, self.mean, self.square, self._work = (np.zeros_like(values) for _ in range(4))

    def move(self, share: float, step: int) -> None:
        """Make a step that is ``share`` of the rate."""
        slope, work = self.slope, self._work
        slope -= np.multiply(self.values, self.decay, out=work)
        self.mean *= np.float32(_DECAY_1)
        self.mean += np.multiply(slope, np.float32(1.0 - _DECAY_1), out=work)
        self.square *= np.float32(_DECAY_2)
        slope *= slope
        self.square += np.multiply(slope, np.float32(1.0 - _DECAY_2), out=slope)
        np.sqrt(self.square, out=work)
        work += np.float32(_EPSILON)
        np.divide(self.mean, work, out=work)
        bias = np.sqrt(1.0 - _DECAY_2 ** (step + 1)) / (1.0 - _DECAY_1 ** (step + 1))
        work *= self.rate * np.float32(share * bias)
        self.values += work

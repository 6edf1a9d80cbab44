"""The convex program on fixed neuron directions: a group lasso in the output weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.search.descent import Neurons

Array = NDArray[np.float64]

_KINKS = 3


def corrected(problem: ConvexReLUProblem, neurons: Neurons, extra: Array, max_iter: int = 400) -> Neurons:
    """Re-optimise the output weights over the neurons' directions, their nearest kinks and ``extra`` directions.

    L-BFGS moves directions but cannot settle on a kink ``x_i'u = 0``; here a neuron may choose among its own direction
    and those with one of its nearest kinks exactly tight.

    Parameters
    ----------
    problem : ConvexReLUProblem
    neurons : Neurons
    extra : ndarray, shape (k, d)
    max_iter : int
        FISTA steps; each costs ``4 n m K`` for m directions.

    Returns
    -------
    Neurons
        The lower of the start and the end.
    """
    own = neurons.directions / np.linalg.norm(neurons.directions, axis=1, keepdims=True)
    directions = np.vstack([own, kinked(problem.design, own), extra])
    start = np.zeros((len(directions), problem.n_outputs))
    start[: len(own)] = neurons.outputs * np.linalg.norm(neurons.directions, axis=1)[:, None]
    hidden = np.maximum(problem.design @ directions.T, 0.0)
    if problem.fit_intercept:
        hidden = np.hstack([hidden, np.ones((len(hidden), 1))])
        start = np.vstack([start, neurons.intercept])
    outputs = _group_lasso(problem, hidden, start, max_iter)
    intercept = outputs[len(directions)] if problem.fit_intercept else neurons.intercept
    weights = outputs[: len(directions)]
    used = weights.any(axis=1)
    return Neurons(directions[used], weights[used], intercept).balanced()


def kinked(X: Array, units: Array) -> Array:
    """Project each unit direction on the hyperplanes of its nearest rows of X, one at a time."""
    lengths = np.linalg.norm(X, axis=1)
    normals = X[lengths > 0] / lengths[lengths > 0, None]
    if len(normals) == 0:
        return units[:0]
    heights = units @ normals.T
    nearest = np.argsort(np.abs(heights), axis=1)[:, :_KINKS]
    moved = units[:, None, :] - np.take_along_axis(heights, nearest, axis=1)[:, :, None] * normals[nearest]
    moved = moved.reshape(-1, units.shape[1])
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray((moved / np.maximum(norms, 1e-300))[norms[:, 0] > 1e-9])


def _group_lasso(problem: ConvexReLUProblem, hidden: Array, start: Array, max_iter: int) -> Array:
    """FISTA with restarts on ``L(H A) + alpha sum_j ||A_j||``; the last row is free where there is an intercept."""
    penalised = len(start) - int(problem.fit_intercept)
    weighted = hidden * np.sqrt(problem.weights)[:, None]
    step = 1.0 / max(problem.loss.smoothness * float(np.linalg.norm(weighted, 2)) ** 2, 1e-300)
    norm = problem.output_penalty

    def shrink(A: Array) -> Array:
        head = A[:penalised]
        if norm == "l1":
            head = np.sign(head) * np.maximum(np.abs(head) - step * problem.alpha, 0.0)
        else:
            norms = np.linalg.norm(head, axis=1, keepdims=True)
            head = head * np.maximum(1.0 - step * problem.alpha / np.maximum(norms, 1e-300), 0.0)
        return np.vstack([head, A[penalised:]])

    A, ahead, momentum = start, start, 1.0
    for _ in range(max_iter):
        new = shrink(ahead + step * hidden.T @ problem.theta(hidden @ ahead))
        if ((ahead - new) * (new - A)).sum() > 0:
            momentum = 1.0
        following = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        ahead, A, momentum = new + (momentum - 1) / following * (new - A), new, following
    return A

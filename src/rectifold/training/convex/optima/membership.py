"""Whether a network belongs to a set of optima: by its fit, its cells and its objective."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.optima.equicorrelation import Equicorrelation
from rectifold.training.convex.optima.optimal_polytope import equality_rows

__all__ = ["Discrepancies", "discrepancies", "matched_multipliers", "program_objective", "projected_multipliers"]

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

_NEGLIGIBLE = 1e-9
_SAME_DIRECTION = 1e-4
_CHUNK_BYTES = 64 * 2**20

Discrepancies = tuple[float, float, float]
"""Fit error, cell violation and objective excess, as in `Membership`."""


def program_objective(problem: ConvexReLUProblem, network: ReLUNetwork) -> float:
    """Return the objective of the convex program, which penalises a free bias a little (`ConvexReLUProblem`)."""
    directions, outputs, _ = problem.neurons(network)
    size = np.linalg.norm(directions, axis=1) @ np.abs(outputs).sum(axis=1)
    return problem.loss_value(problem.fit(network)) + problem.alpha * float(size)


def discrepancies(blocks: Equicorrelation, network: ReLUNetwork) -> Discrepancies:
    """Return how far a network is from what all optima share.

    Raises
    ------
    ProblemError
        If the network is none of this problem's.
    """
    problem = blocks.problem
    fit, used = problem.fit(network), equality_rows(blocks)
    missing = np.where(used, np.abs(fit - blocks.fit), np.maximum(1.0 - problem.targets * fit, 0.0))
    scale = max(float(np.abs(blocks.fit).max(initial=0.0)), 1e-300)
    excess = program_objective(problem, network) - blocks.objective
    cell = _cell_violation(blocks, network)
    return float(missing.max(initial=0.0)) / scale, cell, excess / max(blocks.objective, 1e-300)


def _cell_violation(blocks: Equicorrelation, network: ReLUNetwork) -> float:
    """Return the largest distance of a neuron from the cones of the patterns that its sign may have."""
    if blocks.patterns is None:
        return 0.0
    design = blocks.problem.design
    units, outputs, sizes = _parts(blocks.problem, network)
    lengths = np.linalg.norm(design, axis=1)
    heights = units @ design.T / np.where(lengths > 0, lengths, 1.0)
    allowed = np.ones((2, len(blocks.patterns)), dtype=bool) if blocks.allowed is None else blocks.allowed
    worst = 0.0
    for side, sign in enumerate((1.0, -1.0)):
        mine = heights[((sizes > 0) & (np.sign(outputs) == sign)).any(axis=1)]
        worst = max(worst, _distance(mine, blocks.patterns[allowed[side]]))
    return worst


def _distance(heights: Array, patterns: Bits) -> float:
    """Return the largest of the least violations ``max_i -(2 p_i - 1) h_i`` that each row of heights has."""
    chunk = max(1, _CHUNK_BYTES // max(8 * heights.size, 1))
    least = np.full(len(heights), np.inf)
    for i in range(0, len(patterns), chunk):
        side = np.where(patterns[i : i + chunk], -1.0, 1.0)
        violations = (side[:, None, :] * heights).max(axis=2, initial=0.0)
        least = np.minimum(least, violations.min(axis=0, initial=np.inf))
    return float(least.max(initial=0.0))


def _parts(problem: ConvexReLUProblem, network: ReLUNetwork) -> tuple[Array, Array, Array]:
    """Return unit directions (k, d), output weights and sizes ``||w_j|| |a_jk|`` (k, K), negligible ones zero."""
    directions, outputs, _ = problem.neurons(network)
    lengths = np.linalg.norm(directions, axis=1)
    sizes = lengths[:, None] * np.abs(outputs)
    sizes = np.where(sizes > _NEGLIGIBLE * sizes.max(initial=0.0), sizes, 0.0)
    return directions / np.maximum(lengths, 1e-300)[:, None], outputs, sizes


def matched_multipliers(blocks: Equicorrelation, network: ReLUNetwork) -> Array | None:
    """Return the sizes of a network's neurons added up by their directions in E; None if one is not there."""
    units, outputs, sizes = _parts(blocks.problem, network)
    mu = np.zeros(len(blocks))
    for j, k in zip(*np.nonzero(sizes), strict=True):
        candidates = np.flatnonzero(blocks.outputs[:, k] == np.sign(outputs[j, k]))
        distance = np.linalg.norm(blocks.directions[candidates] - units[j], axis=1)
        if distance.min(initial=np.inf) > _SAME_DIRECTION:
            return None
        mu[candidates[distance.argmin()]] += sizes[j, k]
    return mu


def projected_multipliers(blocks: Equicorrelation, network: ReLUNetwork) -> Array:
    """Return ``u_b'W_b``, W_b the convex weights of the network's neurons whose nearest direction of E is u_b."""
    units, outputs, sizes = _parts(blocks.problem, network)
    mu = np.zeros(len(blocks))
    for j, k in zip(*np.nonzero(sizes), strict=True):
        candidates = np.flatnonzero(blocks.outputs[:, k] == np.sign(outputs[j, k]))
        cosines = blocks.directions[candidates] @ units[j]
        if cosines.max(initial=0.0) > 0:
            mu[candidates[cosines.argmax()]] += sizes[j, k] * cosines.max()
    return mu

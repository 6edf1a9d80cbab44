"""Where a regularisation path is continuous, and where it jumps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError, SolverError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.optima.equicorrelation import GAP_TOL, identify
from rectifold.training.convex.optima.exact_solution import ExactSolution, exact_solution
from rectifold.training.convex.optima.optimal_polytope import OptimalPolytope
from rectifold.training.convex.optima.polytope_points import nearest
from rectifold.training.convex.restricted.patterns import PatternSet
from rectifold.training.convex.restricted.working_set import BlockSolution

__all__ = ["Discontinuity", "PointConditions", "conditions_at", "find_jumps", "moment"]

Array = NDArray[np.float64]

_SUSPICIOUS, _SMALLEST = 4.0, 1e-3
_BISECTIONS, _PERSISTS = 7, 0.5


@dataclass(frozen=True, eq=False)
class PointConditions:
    """What decides at one alpha whether the optimum is unique, and so the path continuous there.

    Attributes
    ----------
    n_equicorrelated : int
        Distinct neurons that an optimum may use: the merged blocks with ``||v_b|| = alpha``; -1 where not known.
    margin : float
        ``1 - ||v_b|| / alpha`` of the next block: zero where that set is about to change.
    dimension : int
        Of the optimal set; -1 where not known.
    is_unique : bool or None
        Whether the activations of these neurons (with the constant where there is an intercept) are linearly
        independent, which makes the optimum unique up to splits and permutations; None where not known.
    reason : str
        The condition that decided it.
    """

    n_equicorrelated: int
    margin: float
    dimension: int
    is_unique: bool | None
    reason: str
    _least: ReLUNetwork | None = field(default=None, repr=False)

    def minimum_norm(self, otherwise: ReLUNetwork) -> ReLUNetwork:
        """Return the optimum of least norm; the other one where the optimal set is not known."""
        return otherwise if self._least is None else self._least


@dataclass(frozen=True)
class Discontinuity:
    """An interval of alphas, narrowed by bisection, across which the path moves no less than across a wider one.

    Attributes
    ----------
    upper, lower : float
        Its ends.
    jump : float
        Change of `moment` across it, over the moment's size.
    """

    upper: float
    lower: float
    jump: float


def conditions_at(problem: ConvexReLUProblem, chosen: PatternSet, solution: BlockSolution | None) -> PointConditions:
    """Return the conditions at the optimum of a one-output program on given patterns, solved further if need be."""
    if solution is None:
        return _unknown("Several outputs: ask for the conditions of each output's own path.")
    try:
        exact = ExactSolution(solution, chosen, True)
        if solution.relative_gap > GAP_TOL:
            exact = exact_solution(problem, chosen)
        blocks = identify(problem, exact)
        if len(blocks) == 0:
            return PointConditions(0, blocks.margin, 0, True, "No neuron attains alpha: the constant is optimal.")
        polytope = OptimalPolytope.of(blocks)
        mu = nearest(polytope, np.zeros(len(blocks)))
        dimension = polytope.dimension
    except (ProblemError, SolverError) as error:
        return _unknown(str(error))
    root = np.sqrt(mu)[:, None]
    used = mu > 0
    least = problem.network(root[used] * blocks.directions[used], root[used] * blocks.outputs[used],
                            polytope.intercept(mu))  # fmt: skip
    return PointConditions(len(blocks), blocks.margin, dimension, *_uniqueness(polytope, dimension), least)


def _unknown(reason: str) -> PointConditions:
    return PointConditions(-1, np.nan, -1, None, reason)


def _uniqueness(polytope: OptimalPolytope, dimension: int) -> tuple[bool, str]:
    m, rank = polytope.n_columns, polytope.rank
    if m == rank:
        return True, f"The activations of all {m} neurons that attain alpha are linearly independent."
    if dimension == 0:
        return True, f"The {m} activations have rank {rank}, but only one combination with weights >= 0 gives the fit."
    return False, f"The activations of the {m} neurons that attain alpha have rank {rank} only."


def moment(problem: ConvexReLUProblem, network: ReLUNetwork) -> Array:
    """Return ``sum_b w_b w_b' / ||w_b||`` of the neurons of either output sign: blind to order, splits and merges.

    Parameters
    ----------
    problem : ConvexReLUProblem
    network : ReLUNetwork

    Returns
    -------
    ndarray, shape (2 K, d, d)
        Continuous in the network's convex weights.
    """
    directions, outputs, _ = problem.neurons(network)
    lengths = np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
    units = directions / lengths
    parts = []
    for k in range(problem.n_outputs):
        for sign in (1.0, -1.0):
            size = np.maximum(sign * outputs[:, k], 0.0) * lengths[:, 0]
            parts.append((units.T * size) @ units)
    return np.array(parts)


def find_jumps(
    problem: ConvexReLUProblem,
    alphas: Sequence[float],
    networks: Sequence[ReLUNetwork],
    network_at: Callable[[float], ReLUNetwork],
) -> tuple[Discontinuity, ...]:
    """Bisect the suspiciously long steps of a path; those that do not shrink are its discontinuities.

    Parameters
    ----------
    problem : ConvexReLUProblem
    alphas : sequence of float, length k
        Falling.
    networks : sequence of ReLUNetwork, length k
    network_at : callable
        Returns the path's network at an alpha between.

    Returns
    -------
    tuple of Discontinuity
        A finding at the resolution of the bisection, ``2^-7`` of a step of the grid: steps that were not suspicious,
        less than four times the median of their neighbours, are not looked into.
    """
    moments = [moment(problem, network) for network in networks]
    steps = np.array([_distance(a, b) for a, b in pairwise(moments)])
    found = []
    for k, step in enumerate(steps):
        around = np.delete(steps[max(k - 3, 0) : k + 4], min(k, 3))
        if step <= _SMALLEST or step <= _SUSPICIOUS * float(np.median(around) if len(around) else 0.0):
            continue
        ends = (float(alphas[k]), float(alphas[k + 1]))
        narrowed = _bisected(problem, ends, (moments[k], moments[k + 1]), network_at)
        if narrowed.jump >= _PERSISTS * step:
            found.append(narrowed)
    return tuple(found)


def _bisected(
    problem: ConvexReLUProblem,
    ends: tuple[float, float],
    moments: tuple[Array, Array],
    network_at: Callable[[float], ReLUNetwork],
) -> Discontinuity:
    (upper, lower), (first, last) = ends, moments
    for _ in range(_BISECTIONS):
        middle = float(np.sqrt(upper * lower))
        between = moment(problem, network_at(middle))
        if _distance(first, between) >= _distance(between, last):
            lower, last = middle, between
        else:
            upper, first = middle, between
    return Discontinuity(upper, lower, _distance(first, last))


def _distance(first: Array, second: Array) -> float:
    size = max(float(np.linalg.norm(first)), float(np.linalg.norm(second)), 1e-300)
    return float(np.linalg.norm(first - second)) / size

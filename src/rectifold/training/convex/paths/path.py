"""Regularisation paths: optima on a falling grid of alphas, each from its neighbour, with a gap a point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold._engine.budget import Budget
from rectifold.core.arrays import as_float_array
from rectifold.core.errors import ProblemError
from rectifold.core.monitor import Monitor
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem, HiddenBias
from rectifold.core.result import Proof, ReadOnlyArrays, Status
from rectifold.training.convex.alpha_max import alpha_max
from rectifold.training.convex.options import TrainingOptions
from rectifold.training.convex.paths.continuity import Discontinuity, PointConditions, conditions_at, find_jumps
from rectifold.training.convex.paths.following import Follower, OnAllPatterns, OnPatterns, PathPoint, Separately
from rectifold.training.convex.restricted.patterns import PatternSet
from rectifold.training.convex.restricted.training import pattern_set

__all__ = ["PathResult", "convex_relu_path", "default_alphas"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PathResult(ReadOnlyArrays):
    """Optimal networks on a falling grid of alphas.

    Attributes
    ----------
    alphas : ndarray, shape (k,)
        Falling.
    networks : tuple of ReLUNetwork, length k
    objectives : ndarray, shape (k,)
        F of each network.
    bounds : ndarray, shape (k,)
        Proven lower bounds on F: over the given patterns, or (the cheap bound) over all networks.
    gaps : ndarray, shape (k,)
        Relative gaps: true for given patterns; over all patterns those of pricing by search, no proof.
    penalties : ndarray, shape (k,)
        ``sum_j ||w_j|| ||a_j||``, the derivative of the optimal value with respect to alpha.
    n_neurons : ndarray of int, shape (k,)
    seconds : ndarray, shape (k,)
    how : tuple of str, length k
        "constant", "followed" (from the neighbour, by tangent and Newton steps) or "solved".
    alpha_max : float
        The alpha at which the first neuron enters: exact for given patterns, else the largest found.
    proof : Proof
        "restricted" for given patterns, "priced" for all.
    status : Status
        Whether every point met the tolerance, and the grid its end.
    conditions : tuple of PointConditions, length k or 0
        Where asked for: what decides whether the optimum is unique and the path continuous.
    discontinuities : tuple of Discontinuity
        Where asked for: steps between neighbouring alphas that do not shrink with the distance between them.
    """

    alphas: Array
    networks: tuple[ReLUNetwork, ...]
    objectives: Array
    bounds: Array
    gaps: Array
    penalties: Array
    n_neurons: NDArray[np.intp]
    seconds: Array
    how: tuple[str, ...]
    alpha_max: float
    proof: Proof
    status: Status
    conditions: tuple[PointConditions, ...] = ()
    discontinuities: tuple[Discontinuity, ...] = ()

    def __len__(self) -> int:
        return len(self.alphas)

    def predict(self, X: ArrayLike) -> Array:
        """Return the outputs of every network at X, shape (k, n_samples, n_outputs)."""
        inputs = as_float_array(X, "X", ndim=2)
        return np.stack([network(inputs) for network in self.networks])

    def nearest(self, alpha: float) -> ReLUNetwork:
        """Return the network of the grid's alpha nearest to ``alpha`` in ratio."""
        return self.networks[int(np.abs(np.log(self.alphas / alpha)).argmin())]

    @property
    def is_continuous(self) -> bool | None:
        """True where every optimum of the grid is unique and no jump was found, False at a jump, None if unknown."""
        if self.discontinuities:
            return False
        unique = bool(self.conditions) and all(point.is_unique for point in self.conditions)
        return True if unique else None


def convex_relu_path(
    X: ArrayLike,
    y: ArrayLike,
    alphas: ArrayLike | None = None,
    patterns: ArrayLike | None = None,
    loss: str = "squared",
    hidden_bias: HiddenBias = True,
    fit_intercept: bool = True,
    *,
    output_penalty: str = "l2",
    sample_weight: ArrayLike | None = None,
    n_alphas: int = 100,
    eps: float = 1e-3,
    minimum_norm: bool = False,
    continuity: bool = False,
    tol: float = 1e-6,
    max_iter: int = 50,
    n_starts: int = 300,
    random_state: int | np.random.Generator | None = 0,
    callback: Monitor | None = None,
    time_limit: float | None = None,
) -> PathResult:
    """Train along a grid of alphas, from the largest down, each optimum from the one before.

    Parameters
    ----------
    X, y, loss, hidden_bias, fit_intercept, output_penalty, sample_weight
        The problem, see :class:`rectifold.ConvexReLUProblem`.
    alphas : array_like, shape (k,), optional
        Positive and distinct, in any order; ``n_alphas`` from `alpha_max` to ``eps * alpha_max``, evenly spaced in the
        logarithm, if left out.
    patterns : array_like of bool, shape (n_samples, P), optional
        Only neurons of these activation patterns; all patterns if left out.
    minimum_norm : bool
        Return at each alpha the optimum whose convex weights have the least Euclidean norm, which is defined also
        where optima are many. Given patterns only; it needs every point solved to rounding.
    continuity : bool
        Report uniqueness at every alpha and look for discontinuities. Given patterns only.
    tol : float
        Relative duality gap of each point.
    max_iter, n_starts, random_state
        As in `solve_convex_relu`.
    callback : Monitor, optional
        Told of every point.
    time_limit : float, optional
        Seconds; the path ends early, after at least one point.

    Returns
    -------
    PathResult

    Raises
    ------
    ProblemError
        For data or options that do not fit, a grid that is not positive and distinct, data on which no neuron ever
        enters (without ``alphas``), or ``minimum_norm`` and ``continuity`` without patterns.

    Notes
    -----
    On given patterns a point that is followed costs a few Newton steps on the active blocks and one projection of all
    2 P blocks. The optimal value is concave in alpha, its derivative the penalty.

    References
    ----------
    Mishkin and Pilanci (2023), section 4.
    """
    if patterns is None and (minimum_norm or continuity):
        raise ProblemError("minimum_norm and continuity speak of a finite program: they need patterns=.")
    options = TrainingOptions(tol, max_iter, n_starts, certify=False, random_state=random_state)
    problem = ConvexReLUProblem(X, y, 1.0, loss, hidden_bias, fit_intercept, output_penalty, sample_weight)
    grid = _grid(alphas) if alphas is not None else np.empty(0)
    budget = Budget(callback, time_limit)
    chosen = None if patterns is None else pattern_set(problem, patterns)
    follower = _follower(problem, chosen, options, budget)
    seed = 0 if not isinstance(random_state, int | np.integer) else int(random_state)
    top = alpha_max(
        X, y, patterns, loss=loss, hidden_bias=hidden_bias, fit_intercept=fit_intercept,
        output_penalty=output_penalty, sample_weight=sample_weight, random_state=seed,
    )  # fmt: skip
    if alphas is None:
        grid = default_alphas(top, n_alphas, eps)
    walk = _Walk(problem, chosen, follower, minimum_norm, minimum_norm or continuity)
    for alpha in grid:
        if walk.points and budget.should_stop():
            break
        point = walk.to(float(alpha), budget)
        budget.report("path", point.objective, point.bound, neurons=float(point.network.widths[0]), alpha=float(alpha))
    jumps = find_jumps(problem, walk.alphas, walk.networks, walk.aside) if continuity else ()
    reached = len(walk.points) == len(grid) and all(point.gap <= tol for point in walk.points)
    status = Status.OPTIMAL if reached else Status.ITERATION_LIMIT
    return walk.result(top, status if len(walk.points) == len(grid) else budget.status(status), jumps)


def default_alphas(alpha_max: float, n_alphas: int = 100, eps: float = 1e-3) -> Array:
    """Return ``n_alphas`` from alpha_max down to ``eps`` of it, evenly spaced in the logarithm.

    Raises
    ------
    ProblemError
        If alpha_max is zero, n_alphas is not a positive integer or eps not between 0 and 1.
    """
    if not _is_count(n_alphas):
        raise ProblemError(f"n_alphas must be a positive integer, got {n_alphas!r}.")
    if not (isinstance(eps, float | np.floating) and 0.0 < eps < 1.0):  # type: ignore[redundant-expr]
        raise ProblemError(f"eps must be between 0 and 1, got {eps!r}.")
    if not alpha_max > 0:
        raise ProblemError("No neuron lowers the loss at any alpha, so that there is no default grid: pass alphas.")
    return np.asarray(np.geomspace(alpha_max, eps * alpha_max, n_alphas))


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)


def _grid(alphas: ArrayLike) -> Array:
    values = as_float_array(alphas, "alphas", ndim=1)
    if len(values) == 0 or np.any(values <= 0):
        raise ProblemError("alphas must hold at least one value, and only positive ones.")
    ordered = np.sort(values)[::-1]
    if np.any(ordered[1:] == ordered[:-1]):
        raise ProblemError("alphas must be distinct.")
    return ordered


def _follower(
    problem: ConvexReLUProblem, chosen: PatternSet | None, options: TrainingOptions, budget: Budget
) -> Follower:
    if chosen is None:
        return OnAllPatterns(problem, options, budget)
    if problem.n_outputs == 1:
        return OnPatterns(problem, chosen, options, budget.should_stop)
    if not (problem.output_penalty == "l1" and problem.loss.separable):
        raise ProblemError(
            "With given patterns and several outputs a path is convex under output_penalty='l1' with a squared or "
            "squared-hinge loss only: use that, or leave patterns out."
        )
    outputs = [problem.output(k) for k in range(problem.n_outputs)]
    return Separately(problem, [OnPatterns(output, chosen, options, budget.should_stop) for output in outputs])


class _Walk:
    """The points so far, with what is known about the optima beside them."""

    def __init__(
        self,
        problem: ConvexReLUProblem,
        chosen: PatternSet | None,
        follower: Follower,
        minimum_norm: bool,
        examined: bool,
    ) -> None:
        self.problem, self.chosen, self.follower = problem, chosen, follower
        self.minimum_norm, self.examined = minimum_norm, examined
        self.alphas: list[float] = []
        self.points: list[PathPoint] = []
        self.networks: list[ReLUNetwork] = []
        self.conditions: list[PointConditions] = []
        self.seconds: list[float] = []

    def to(self, alpha: float, budget: Budget) -> PathPoint:
        """Take the next point of the grid."""
        start = budget.elapsed
        point, network, conditions = self._at(alpha)
        self.alphas.append(alpha)
        self.points.append(point)
        self.networks.append(network)
        self.conditions.extend(conditions)
        self.seconds.append(budget.elapsed - start)
        return point

    def aside(self, alpha: float) -> ReLUNetwork:
        """Return the network at an alpha beside the grid."""
        return self._at(alpha)[1]

    def _at(self, alpha: float) -> tuple[PathPoint, ReLUNetwork, list[PointConditions]]:
        point = self.follower.advance(alpha)
        if not self.examined or self.chosen is None:
            return point, point.network, []
        conditions = conditions_at(self.problem.with_alpha(alpha), self.chosen, point.solution)
        network = conditions.minimum_norm(point.network) if self.minimum_norm else point.network
        return point, network, [conditions]

    def result(self, top: float, status: Status, jumps: tuple[Discontinuity, ...]) -> PathResult:
        """Return what was found."""
        problems = [self.problem.with_alpha(alpha) for alpha in self.alphas]
        return PathResult(
            alphas=np.array(self.alphas),
            networks=tuple(self.networks),
            objectives=np.array([p.objective(net) for p, net in zip(problems, self.networks, strict=True)]),
            bounds=np.array([point.bound for point in self.points]),
            gaps=np.array([point.gap for point in self.points]),
            penalties=np.array([self.problem.penalty(network) for network in self.networks]),
            n_neurons=np.array([network.widths[0] for network in self.networks]),
            seconds=np.array(self.seconds),
            how=tuple(point.how for point in self.points),
            alpha_max=top,
            proof=Proof.PRICED if self.chosen is None else Proof.RESTRICTED,
            status=status,
            conditions=tuple(self.conditions),
            discontinuities=jumps,
        )

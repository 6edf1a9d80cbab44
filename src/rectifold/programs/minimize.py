"""Make an output of a network small, or large, over a domain: the public functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold._engine.budget import Budget
from rectifold.core.arrays import as_points
from rectifold.core.domain import Domain
from rectifold.core.errors import ProblemError
from rectifold.core.monitor import Monitor
from rectifold.core.network import ReLUNetwork
from rectifold.core.result import Proof, Status
from rectifold.programs.minimum import LocalMinimum, MinimizationResult, describe
from rectifold.programs.multistart import projected_gradient
from rectifold.programs.objective import Objective
from rectifold.programs.region_simplex import RegionSimplex
from rectifold.programs.starts import require_nonempty, starts
from rectifold.programs.walk_driver import SLICE

__all__ = ["maximize", "minimize", "polish"]

Array = NDArray[np.float64]

_METHODS = ("local",)
_N_STARTS = 20
_SAME = 1e-7


def minimize(
    net: ReLUNetwork,
    domain: Domain | None = None,
    *,
    output: int = 0,
    method: str = "local",
    x0: ArrayLike | None = None,
    n_starts: int | None = None,
    n_gradient_steps: int = 50,
    k: int = 1,
    time_limit: float | None = None,
    callback: Monitor | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> MinimizationResult:
    """Find local minima of one output of a network over a domain, each at a vertex and with its proof.

    From every start projected gradient steps go down first, all starts at once; then an exact walk over vertices goes
    on until no edge falls. Nothing is claimed about the global minimum.

    Parameters
    ----------
    net : ReLUNetwork
    domain : Box or Polytope, optional
        All of R^n if left out, where most networks are unbounded.
    output : int
    method : {"local"}
    x0 : array_like, shape (n_inputs,) or (m, n_inputs), optional
        Points of the domain to walk down from, exactly as they are.
    n_starts : int, optional
        Number of starts in all: 20, but those of ``x0`` only if they are given. Others are drawn at random.
    n_gradient_steps : int
        For the random starts.
    k : int
        How many distinct local minima to return at most.
    time_limit : float, optional
        Seconds.
    callback : Monitor, optional
    random_state : int, Generator or None

    Returns
    -------
    MinimizationResult
        Status ``local_optimum``: the best minimum is decided, see ``minimum.decided_by`` and `rectifold.verify`;
        ``degenerate``: it was not decided; ``unbounded``: see ``ray``; or a limit.

    Raises
    ------
    ProblemError
        If arguments do not fit, the domain is empty, or a point of ``x0`` is outside.

    Notes
    -----
    A step costs three passes through the network and O(n_inputs^2).

    References
    ----------
    Hinz and van de Geer (2021), Deep ReLU programming, arXiv 2011.14895.
    """
    objective = Objective.checked(net, domain, output, 1.0)
    return _minimize(objective, method, x0, n_starts, n_gradient_steps, k, Budget(callback, time_limit), random_state)


def maximize(
    net: ReLUNetwork,
    domain: Domain | None = None,
    *,
    output: int = 0,
    method: str = "local",
    x0: ArrayLike | None = None,
    n_starts: int | None = None,
    n_gradient_steps: int = 50,
    k: int = 1,
    time_limit: float | None = None,
    callback: Monitor | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> MinimizationResult:
    """Find local maxima of one output of a network over a domain; see `minimize`.

    The result's ``value`` is the network's output; ``bound`` is an upper one, plus infinity.
    """
    objective = Objective.checked(net, domain, output, -1.0)
    return _minimize(objective, method, x0, n_starts, n_gradient_steps, k, Budget(callback, time_limit), random_state)


def polish(
    net: ReLUNetwork,
    x: ArrayLike,
    domain: Domain | None = None,
    *,
    output: int = 0,
    maximum: bool = False,
    time_limit: float | None = None,
    callback: Monitor | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> MinimizationResult:
    """Walk from one point, such as the end of a gradient method, to a local minimum that is no higher.

    Parameters
    ----------
    net : ReLUNetwork
    x : array_like, shape (n_inputs,)
        A point of the domain.
    domain : Box or Polytope, optional
    output : int
    maximum : bool
        Go up instead.
    time_limit, callback, random_state
        As in `minimize`.

    Returns
    -------
    MinimizationResult

    Raises
    ------
    ProblemError
        If the point is not one of the domain.
    """
    objective = Objective.checked(net, domain, output, -1.0 if maximum else 1.0)
    points, single = as_points(x, net.n_inputs, "x")
    if not single:
        raise ProblemError(f"x must be one point of shape ({net.n_inputs},), got {points.shape}")
    return _minimize(objective, "local", points, None, 0, 1, Budget(callback, time_limit), random_state)


def _minimize(
    objective: Objective,
    method: str,
    x0: ArrayLike | None,
    n_starts: int | None,
    n_gradient_steps: int,
    k: int,
    budget: Budget,
    random_state: int | np.random.Generator | None,
) -> MinimizationResult:
    if method not in _METHODS:
        raise ProblemError(f"method must be one of {_METHODS}, got {method!r}")
    _require_count(k, "k", 1)
    _require_count(n_gradient_steps, "n_gradient_steps", 0)
    rng = np.random.default_rng(random_state)
    points = _starting_points(objective, x0, n_starts, n_gradient_steps, rng, budget)
    found: list[LocalMinimum] = []
    simplex, best = RegionSimplex(objective, rng), objective.sign * np.inf
    for x in points:
        minimum = describe(objective, simplex.descend(x, budget, _Reporter(objective, best, len(found), budget)))
        found.append(minimum)
        best = min(best, minimum.value, key=lambda value: objective.sign * value)
        budget.report("walk", best, objective.sign * -np.inf, pivots=minimum.pivots, starts=len(found))
        if minimum.status is Status.UNBOUNDED or budget.should_stop():
            break
    return _result(objective, found, k, len(points), budget)


class _Reporter:
    """Reports how far a walk has come, if it takes longer than a slice."""

    def __init__(self, objective: Objective, best: float, finished: int, budget: Budget) -> None:
        self._sign, self._best, self._finished, self._budget = objective.sign, best, finished, budget
        self._last = budget.elapsed

    def __call__(self, value: float) -> None:
        if self._budget.elapsed - self._last < SLICE:
            return
        self._last = self._budget.elapsed
        lowest = min(self._best, value, key=lambda v: self._sign * v)
        self._budget.report("walk", lowest, self._sign * -np.inf, starts=self._finished)


def _starting_points(
    objective: Objective,
    x0: ArrayLike | None,
    n_starts: int | None,
    n_gradient_steps: int,
    rng: np.random.Generator,
    budget: Budget,
) -> Array:
    """Given points as they are, then random ones after gradient steps, the lowest first."""
    if n_starts is not None:
        _require_count(n_starts, "n_starts", 1)
    given = np.zeros((0, objective.n_inputs))
    if x0 is not None:
        given, _ = as_points(x0, objective.n_inputs, "x0")
        for i, x in enumerate(given):
            if not objective.domain.contains(x):
                raise ProblemError(f"start {i} is not a point of the domain")
    else:
        require_nonempty(objective.domain)
    count = n_starts if n_starts is not None else (_N_STARTS if not len(given) else len(given))
    if count <= len(given):
        return given
    random = starts(objective.domain, count - len(given), rng)
    if n_gradient_steps:
        random, values = projected_gradient(objective, random, n_gradient_steps, budget)
        random = random[np.argsort(values, kind="stable")]
    return np.concatenate([given, random])


def _result(
    objective: Objective, found: list[LocalMinimum], k: int, n_starts: int, budget: Budget
) -> MinimizationResult:
    order = sorted(found, key=lambda m: objective.sign * m.value)
    distinct: list[LocalMinimum] = []
    for minimum in order:
        same = [np.abs(minimum.x - m.x).max() <= _SAME * (1.0 + np.abs(m.x).max()) for m in distinct]
        if not any(same) and len(distinct) < k:
            distinct.append(minimum)
    best = distinct[0]
    finished = len(found) == n_starts or best.status is Status.UNBOUNDED
    return MinimizationResult(
        solution=best.x,
        value=best.value,
        bound=-objective.sign * np.inf,
        status=best.status if finished else budget.status(best.status),
        proof=Proof.NONE,
        certificate=best.certificate,
        stats={
            "decided_by": best.decided_by,
            "starts": len(found),
            "pivots": sum(m.pivots for m in found),
            "crossings": sum(m.crossings for m in found),
            "share_at_best": _share(found, best),
            "seconds": budget.elapsed,
        },
        trace=budget.trace(),
        minimum=best,
        minima=tuple(distinct),
    )


def _share(found: list[LocalMinimum], best: LocalMinimum) -> float:
    """The part of the walks that ended as low as the best one."""
    if not np.isfinite(best.value):
        return float("nan")
    return float(np.mean([abs(m.value - best.value) <= 1e-9 * max(1.0, abs(best.value)) for m in found]))


def _require_count(value: object, name: str, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ProblemError(f"{name} must be an integer of at least {least}, got {value!r}")

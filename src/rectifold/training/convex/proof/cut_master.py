"""The dual point that some cuts allow: a small convex program, solved in the multipliers of the cuts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.proof.leaf_cuts import Cuts

__all__ = ["CutMaster"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ROUNDS, _JOINING = 12, 40
_TOLERANCE = 5e-4
_OPTIONS = {"maxiter": 400, "maxfun": 800, "maxcor": 20, "ftol": 1e-11, "gtol": 1e-9}


class CutMaster:
    """Maximises ``D(theta)`` for one output subject to cuts, and to ``sum theta = 0`` where there is an intercept.

    By duality it trains on fat neurons: with multipliers mu >= 0 and the intercept nu every fit may be chosen in
    ``[below'mu, above'mu] + nu``, and ``min_mu,nu L(fit) + level sum mu`` is the maximum; theta is ``-dL/dfit``.

    Parameters
    ----------
    problem : ConvexReLUProblem
        Of one output, with a separable loss.
    level : float
        The right-hand side of the cuts.

    Attributes
    ----------
    cuts : Cuts
    theta : ndarray, shape (n,)
        The last solution.
    bound : float
        An upper bound on D under the cuts.
    work : int
        Entries of cuts visited so far.
    """

    def __init__(self, problem: ConvexReLUProblem, level: float) -> None:
        self._problem, self._level = problem, level
        self.cuts = Cuts.none(len(problem.targets))
        self.theta, self.bound, self.work = problem.null_theta[:, 0].copy(), np.inf, 0
        self._multipliers, self._intercept = np.zeros(0), 0.0

    def add(self, cuts: Cuts) -> None:
        """Add cuts."""
        self.cuts = self.cuts + cuts
        self._multipliers = np.append(self._multipliers, np.zeros(len(cuts.above)))

    def drop_idle(self, spare: int) -> None:
        """Drop cuts without a multiplier, but none of the last ``spare``."""
        keep = self._multipliers > 0.0
        keep[max(len(keep) - spare, 0) :] = True
        self.cuts, self._multipliers = self.cuts.take(keep), self._multipliers[keep]

    def solve(self, max_work: int = 2**62) -> None:
        """Solve with the multipliers of some cuts, those with one and the most violated, until no other is violated.

        Parameters
        ----------
        max_work : int
            Entries after which to leave it at that.
        """
        limit = self.work + max_work
        working = self._multipliers > 0.0
        for _ in range(_ROUNDS):
            self._solve(working)
            self.work += self.cuts.above.size
            values = np.where(working, 0.0, self.cuts.values(self.theta))
            violated = np.flatnonzero(values > (1.0 + _TOLERANCE) * self._level)
            if len(violated) == 0 or self.work > limit:
                break
            working = self._multipliers > 0.0
            working[violated[np.argsort(-values[violated], kind="stable")[:_JOINING]]] = True

    def _solve(self, working: Mask) -> None:
        """Minimise over the multipliers of the working cuts, the others being 0, and over the intercept."""
        cuts, problem = self.cuts.take(working), self._problem
        m = len(cuts.above)
        size = np.sqrt(np.maximum(cuts.above**2, cuts.below**2) @ problem.weights)
        scale = np.append(1.0 / np.maximum(size, 1e-300), 1.0)
        unit = max(problem.null_value, 1e-300)

        def value(x: Array) -> tuple[float, Array]:
            mu, nu = x[:-1] * scale[:-1], x[-1]
            fit = self._fit(cuts, mu, nu)
            theta = problem.loss.theta(fit, problem.targets, problem.weights)[:, 0]
            slope = np.append(self._level - cuts.values(theta), -theta.sum() if problem.fit_intercept else 0.0)
            loss = problem.loss.value(fit, problem.targets, problem.weights)
            return (loss + self._level * float(mu.sum())) / unit, scale * slope / unit

        start = np.append(self._multipliers[working], self._intercept) / scale
        bounds = [(0.0, None)] * m + [(None, None)]
        found = minimize(value, start, jac=True, method="L-BFGS-B", bounds=bounds, options=_OPTIONS)
        self.work += int(found.nfev) * 2 * cuts.above.size
        self._multipliers = np.zeros(len(working))
        self._multipliers[working], self._intercept = found.x[:-1] * scale[:-1], float(found.x[-1])
        fit = self._fit(cuts, self._multipliers[working], self._intercept)
        self.theta = problem.loss.theta(fit, problem.targets, problem.weights)[:, 0]
        self.bound = float(found.fun) * unit

    def _fit(self, cuts: Cuts, mu: Array, nu: float) -> Array:
        """Return the fit of least loss that the fat neurons allow, shape (n, 1)."""
        y = self._problem.targets[:, 0]
        goal = y if self._problem.loss.name == "squared" else np.where(y > 0, np.inf, -np.inf)
        return np.clip(goal, mu @ cuts.below + nu, mu @ cuts.above + nu)[:, None]

"""The group lasso over gates, one output: exact block steps and Newton's method on a working set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.restricted.blocks import BlockProgram
from rectifold.training.convex.restricted.face_newton import Face, FaceSystem

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

_FEWEST_ENTERING = 10
_ALTERNATIONS = 50
_NEWTON_STEPS, _SHORTEST_STEP = 5, 0.02
_DAMPING_FACTOR, _LEAST_DAMPING = 8.0, 1e-3
_NEWTON_SIZE = 3000
_SECULAR_STEPS = 30
_INNER_SHARE = 1e-2


@dataclass(frozen=True, eq=False)
class GroupLassoSolution:
    """A point of the program with its dual bound.

    Attributes
    ----------
    w : ndarray, shape (P, d)
    intercept : float
    objective, bound : float
    rounds : int
    """

    w: Array
    intercept: float
    objective: float
    bound: float
    rounds: int


def solve_group_lasso(
    problem: ConvexReLUProblem,
    patterns: Bits,
    *,
    tol: float,
    max_rounds: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> GroupLassoSolution:
    """Minimise ``L(sum_i D_i X w_i + c) + alpha sum_i ||w_i||``, one output.

    A round correlates the residual with all P gates, which gives the true duality gap and the gates that enter
    (``O(P n d)``), and solves on the working set of those and the active ones: sweeps of exact block minimisation of
    a quadratic majoriser, whose eigendecompositions are computed once a block, alternate with Newton steps on the
    blocks that are not zero.

    Parameters
    ----------
    problem : ConvexReLUProblem
        With one output.
    patterns : ndarray of bool, shape (P, n)
    tol : float
        Relative duality gap.
    max_rounds : int

    References
    ----------
    Yuan and Lin (2006); Qin, Scheinberg and Goldfarb (2013) and Yang and Hastie (2024) for the block step.
    """
    state = _GroupLasso(problem, patterns)
    w, intercept, bound = np.zeros((len(patterns), problem.design.shape[1])), float(problem.null_intercept[0]), -np.inf
    for rounds in range(max_rounds + 1):
        intercept = state.centred(w, intercept)
        objective = state.program.objective(w, intercept)
        norms, dual = state.scores(w, intercept)
        bound = max(bound, dual)
        if objective - bound <= tol * objective or rounds == max_rounds or should_stop():
            break
        working = state.working_set(w, norms)
        w[working], intercept = state.solve_on(working, w[working], intercept, _INNER_SHARE * (objective - bound))
    return GroupLassoSolution(w, intercept, objective, bound, rounds)


class _GroupLasso:
    """The program with the spectra of the blocks that have been in use."""

    def __init__(self, problem: ConvexReLUProblem, patterns: Bits) -> None:
        self.problem = problem
        self.program = BlockProgram(problem, patterns, np.ones(len(patterns)))
        self.spectra: dict[int, tuple[Array, Array]] = {}

    def centred(self, w: Array, intercept: float) -> float:
        """Return the intercept that is best for the weights."""
        if not self.problem.fit_intercept:
            return intercept
        fit = self.program.fit(w, 0.0)[:, None]
        return float(self.problem.loss.intercept(fit, self.problem.targets, self.problem.weights)[0])

    def scores(self, w: Array, intercept: float) -> tuple[Array, float]:
        """Return ``||X' D_i theta||`` of all gates and the dual bound that they prove."""
        problem, loss = self.problem, self.problem.loss
        theta = self.program.theta(self.program.fit(w, intercept))[:, None]
        if problem.fit_intercept:
            theta = loss.to_domain(theta, problem.targets, problem.weights)
        norms = np.linalg.norm(self.program.correlations(theta[:, 0]), axis=1)
        largest = max(float(norms.max(initial=0.0)), 1e-300)
        t = loss.best_scale(theta, problem.targets, problem.weights, min(problem.alpha / largest, 1e6))
        return norms, float(loss.dual_value(t * theta, problem.targets, problem.weights))

    def working_set(self, w: Array, norms: Array) -> NDArray[np.intp]:
        """Return the active gates and the worst of those that violate dual feasibility."""
        active = w.any(axis=1)
        entering = np.flatnonzero(~active & (norms > self.problem.alpha))
        most = max(_FEWEST_ENTERING, int(active.sum()))
        worst = entering[np.argsort(-norms[entering], kind="stable")][:most]
        return np.concatenate([np.flatnonzero(active), worst])

    def solve_on(self, working: NDArray[np.intp], w: Array, intercept: float, accuracy: float) -> tuple[Array, float]:
        """Minimise over some of the gates until neither a sweep nor Newton's method gains more than ``accuracy``."""
        program, w = self.program.subset(working), w.copy()
        value, newton = program.objective(w, intercept), _Newton()
        for _ in range(_ALTERNATIONS):
            before = value
            intercept = self._sweep(program, working, w, intercept)
            w, intercept = newton.descend(program, w, intercept)
            value = program.objective(w, intercept)
            if before - value <= accuracy:
                break
        return w, intercept

    def _sweep(self, program: BlockProgram, working: NDArray[np.intp], w: Array, intercept: float) -> float:
        """Minimise over one block after the other, in place, and then over the intercept."""
        fit = program.fit(w, intercept)
        for b, gate in enumerate(working):
            vectors, values = self._spectrum(int(gate))
            gradient = (program.mask[b] * program.theta(fit)) @ program.X
            old = w[b].copy()
            w[b] = vectors @ block_minimum(values, values * (old @ vectors) + gradient @ vectors, program.alpha)
            fit += program.mask[b] * (program.X @ (w[b] - old))
        if not self.problem.fit_intercept:
            return intercept
        shift = self.problem.loss.intercept(fit[:, None], self.problem.targets, self.problem.weights)
        return intercept + float(shift[0])

    def _spectrum(self, gate: int) -> tuple[Array, Array]:
        """Return eigenvectors and eigenvalues of the block's Hessian at the largest curvature of the loss."""
        if gate not in self.spectra:
            weights = self.program.patterns[gate] * self.problem.weights
            gram = self.problem.loss.smoothness * (self.program.X.T * weights) @ self.program.X
            values, vectors = np.linalg.eigh(gram)
            self.spectra[gate] = vectors, np.maximum(values, 0.0)
        return self.spectra[gate]


def block_minimum(eigenvalues: Array, linear: Array, alpha: float) -> Array:
    """Return the minimiser of ``1/2 sum_i h_i w_i^2 - v'w + alpha ||w||``.

    Zero where ``||v|| <= alpha``; else ``w = v / (h + alpha / r)`` with ``r = ||w||``, found by Newton's method on the
    concave function ``1 - 1 / sum_i (v_i / (h_i r + alpha))^2`` taken to the power -1/2, monotone from r = 0.

    Parameters
    ----------
    eigenvalues : ndarray, shape (d,)
        Non-negative h.
    linear : ndarray, shape (d,)
        v.
    alpha : float
    """
    norm = float(np.sqrt(linear @ linear))
    if norm <= alpha:
        return np.zeros_like(linear)
    squares, r = linear**2, 0.0
    for _ in range(_SECULAR_STEPS):
        scale = eigenvalues * r + alpha
        terms = squares / scale**2
        total = float(terms.sum())
        slope = float((terms * eigenvalues / scale).sum())
        if slope <= 0.0:
            break
        step = total * (np.sqrt(total) - 1.0) / slope
        r += step
        if abs(step) <= 1e-14 * r:
            break
    return np.asarray(linear * r / (eigenvalues * r + alpha))


class _DampedSystem(FaceSystem):
    """Newton's system with a multiple of the identity added: Levenberg's damping."""

    damping = 0.0

    def _hessian(self, columns: Array, norms: Array) -> Array:
        hessian = super()._hessian(columns, norms)
        penalised = np.arange(self.face.w.size)
        hessian[penalised, penalised] += self.damping
        return hessian


@dataclass
class _Newton:
    """Damped Newton steps in the blocks that are not zero; the damping is kept from one call to the next."""

    damping: float = 0.0

    def descend(self, program: BlockProgram, w: Array, intercept: float) -> tuple[Array, float]:
        """Take some steps that lower the objective."""
        active = np.flatnonzero(w.any(axis=1))
        if len(active) == 0 or len(active) * w.shape[1] > _NEWTON_SIZE:
            return w, intercept
        inside, none = program.subset(active), np.zeros((len(active), len(program.X)), dtype=bool)
        v, w = w[active], w.copy()
        value = inside.objective(v, intercept)
        for _ in range(_NEWTON_STEPS):
            system = _DampedSystem(Face(inside, v, intercept, none))
            system.damping = self.damping
            dv, dc, decrement = system.direction()
            t, moved = 1.0, inside.objective(v + dv, intercept + dc)
            while moved > value and t > _SHORTEST_STEP:
                t *= 0.5
                moved = inside.objective(v + t * dv, intercept + t * dc)
            if moved <= value:
                v, intercept, value = v + t * dv, intercept + t * dc, moved
                if t < 1.0:
                    break
                self.damping = self.damping / _DAMPING_FACTOR if self.damping > _LEAST_DAMPING * program.alpha else 0.0
                if decrement <= 1e-15 * value:
                    break
            else:
                largest = program.alpha / float(np.linalg.norm(v, axis=1).mean())
                self.damping = max(_DAMPING_FACTOR * self.damping, 0.1 * largest)
        w[active] = v
        return w, intercept

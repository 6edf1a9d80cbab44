"""Training over all activation patterns, one output: convex solves on the neurons' own cells, new cells by pricing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.blocks import BlockProgram
from rectifold.training.convex.descent import Neurons, descend, extended
from rectifold.training.convex.face_newton import Face, newton_on_face
from rectifold.training.convex.interior_point import InteriorPoint, solve_interior_point, starting_point
from rectifold.training.convex.patterns import move_off_kinks
from rectifold.training.convex.pricing import Priced, price, starting_directions

Array = NDArray[np.float64]

_NEW_PER_ROUND = 30
_NEGLIGIBLE = 1e-4
_MERGE_ANGLES = (0.05, 0.015, 0.004)
_NEWTON_STEPS = 8
_NEWTON_SIZE = 2000
_NEAR = 3e-4
_STALLED = 8
_FAR = 3e-3
_DESCENT_STEPS = 100


@dataclass
class Incumbent:
    """A network of signed neurons, ``f = sum_b s_b (X w_b)_+ + c``, with its dual variable and what pricing found.

    Attributes
    ----------
    w : ndarray, shape (B, d)
    signs : ndarray, shape (B,)
    intercept : float
    theta : ndarray, shape (n,)
    objective : float
        F of the network.
    restricted_gap : float
        Relative duality gap of the program on its own cells, as far as it was solved.
    priced_gap : float
        Relative gap to the dual point scaled by the largest value that pricing found: a search, not a proof.
    starts : int
        Ascents of the last pricing.
    """

    w: Array
    signs: Array
    intercept: float
    theta: Array
    objective: float
    restricted_gap: float = np.nan
    priced_gap: float = np.nan
    starts: int = 0

    def neurons(self) -> Neurons:
        """Return the balanced network."""
        size = np.sqrt(np.linalg.norm(self.w, axis=1))[:, None]
        return Neurons(self.w / size, self.signs[:, None] * size, np.array([self.intercept]))


@dataclass
class ColumnGeneration:
    """The method's settings and counters.

    Attributes
    ----------
    problem : ConvexReLUProblem
        With one output.
    tol : float
        Stop once the priced gap is at most this.
    n_starts : int
        Random starts of pricing a round; the last pricing uses four times as many.
    rng : numpy.random.Generator
    should_stop : callable
    on_round : callable
        Called with the incumbent after every round.
    rounds, iterations : int
        Rounds made and interior-point iterations in them.
    """

    problem: ConvexReLUProblem
    tol: float
    n_starts: int
    rng: np.random.Generator
    should_stop: Callable[[], bool] = lambda: False
    on_round: Callable[[Incumbent, int], None] = lambda incumbent, rounds: None
    rounds: int = field(default=0, init=False)
    iterations: int = field(default=0, init=False)

    def run(self, start: Neurons, max_rounds: int) -> Incumbent:
        """Improve on the network ``start`` until pricing finds no neuron that enters.

        A round solves the convex program on the cells of the current neurons and of those that pricing or a flip of
        violated kinks proposes, then prices. Within `_NEAR` of the optimum collinear neurons are merged and the
        network is brought to a stationary point by `newton_on_face`, which keeps the number of cells small.
        """
        best = self._incumbent(*signed(start), float(start.intercept[0]))
        priced = self._price(best, self.n_starts)
        candidates, stalled = best, 0
        while not self._finished(best, priced, max_rounds, stalled):
            w, signs = self._cells(self._descended(candidates, priced), priced)
            accuracy = min(1e-4, 0.01 * best.priced_gap) if stalled == 0 else 0.0
            current = self._solve(w, signs, accuracy, near=best.priced_gap <= _NEAR or stalled > 0)
            self.rounds += 1
            if current is None:
                stalled += 1
                continue
            priced = self._price(current, self.n_starts * (1 + min(stalled, 3)))
            if _gap(current) <= self.tol:
                priced = self._price(current, 4 * self.n_starts)
            gain = best.objective - current.objective
            stalled = 0 if gain > self.tol * best.objective else stalled + 1
            if current.objective <= best.objective:
                best = current
            elif _gap(current) <= self.tol:
                best.priced_gap, best.restricted_gap = current.priced_gap, current.restricted_gap
                best.starts = current.starts
            candidates = current if gain > -1e-3 * best.objective else best
            self.on_round(best, self.rounds)
        return best if best.restricted_gap <= self.tol or self.should_stop() else self._settled(best)

    def _settled(self, best: Incumbent) -> Incumbent:
        """Solve once more on the cells of the incumbent alone, to the full tolerance."""
        nothing = Priced(best.w[:0], np.empty((0, 1)), np.empty(0), 0)
        current = self._solve(*self._cells(best, nothing), 0.0, near=True)
        if current is None or current.objective > best.objective:
            return best
        self._price(current, self.n_starts)
        return current

    def _finished(self, best: Incumbent, priced: Priced, max_rounds: int, stalled: int) -> bool:
        done = _gap(best) <= self.tol or (len(priced.values) == 0 and len(best.w) == 0)
        return done or self.rounds >= max_rounds or stalled >= _STALLED or self.should_stop()

    def _descended(self, incumbent: Incumbent, priced: Priced) -> Incumbent:
        """Far from the optimum, let L-BFGS move the neurons towards their cells first: it is cheap beside a round."""
        if not incumbent.priced_gap > _FAR or len(incumbent.w) == 0:
            return incumbent
        neurons = extended(self.problem, incumbent.neurons(), priced, _NEW_PER_ROUND)
        moved = descend(self.problem, neurons, max_iter=_DESCENT_STEPS, should_stop=self.should_stop)
        candidate = self._incumbent(*signed(moved), float(moved.intercept[0]))
        candidate.priced_gap = incumbent.priced_gap
        return candidate if candidate.objective < incumbent.objective else incumbent

    # -- one round ----------------------------------------------------------------------------------------------

    def _cells(self, incumbent: Incumbent, priced: Priced) -> tuple[Array, Array]:
        """Return interior points and signs of the cells of the neurons and of the directions that price out."""
        entering = priced.values > self.problem.alpha * (1 + 1e-7)
        new = priced.directions[entering][:_NEW_PER_ROUND]
        new_signs = np.sign(priced.outputs[entering, 0][:_NEW_PER_ROUND])
        w = np.vstack([incumbent.w, new])
        signs = np.concatenate([incumbent.signs, new_signs])
        w, kept = move_off_kinks(self.problem.design, w)
        signs = signs[kept]
        patterns = w @ self.problem.design.T > 0
        _, first = np.unique(np.column_stack([patterns, signs > 0]), axis=0, return_index=True)
        first = first[patterns[first].any(axis=1)]
        return w[first], signs[first]

    def _solve(self, w: Array, signs: Array, accuracy: float, *, near: bool) -> Incumbent | None:
        if len(w) == 0:
            return None
        program = BlockProgram(self.problem, w @ self.problem.design.T > 0, signs)
        gap_tol = max(0.1 * self.tol, accuracy, 1e-9)
        point, kept, iterations = solve_interior_point(
            program, starting_point(program, w), gap_tol=gap_tol, should_stop=self.should_stop
        )
        self.iterations += iterations
        merged = self._merged(self._from_point(program.subset(kept), point))
        return self._stationary(merged) if near and merged.w.size <= _NEWTON_SIZE else merged

    def _from_point(self, program: BlockProgram, point: InteriorPoint) -> Incumbent:
        norms = np.linalg.norm(point.w, axis=1)
        kept = norms > _NEGLIGIBLE * norms.max()
        incumbent = self._incumbent(point.w[kept], program.signs[kept], point.intercept)
        complementarity = float((point.complementarity(program.alpha) * (2 + point.slack.shape[1])).sum())
        incumbent.restricted_gap = complementarity / incumbent.objective
        return incumbent

    def _merged(self, raw: Incumbent) -> Incumbent:
        """Merge nearly collinear neurons as far as that does not cost more than the tolerance."""
        for angle in _MERGE_ANGLES:
            w, signs = merge_collinear(raw.w, raw.signs, angle)
            merged = self._incumbent(w, signs, raw.intercept)
            if merged.objective <= raw.objective * (1 + 0.1 * self.tol):
                merged.restricted_gap = raw.restricted_gap
                return merged
        return raw

    def _stationary(self, incumbent: Incumbent) -> Incumbent:
        """Descend to a stationary point of the network."""
        program = BlockProgram(self.problem, incumbent.w @ self.problem.design.T > 0, incumbent.signs)
        face = Face(program, incumbent.w, incumbent.intercept, np.zeros_like(program.patterns))
        face, _ = newton_on_face(face, crossing=True, max_iter=_NEWTON_STEPS, should_stop=self.should_stop)
        moved = self._incumbent(face.w, face.program.signs, face.intercept)
        moved.restricted_gap = incumbent.restricted_gap
        return moved if moved.objective < incumbent.objective else incumbent

    def _incumbent(self, w: Array, signs: Array, intercept: float) -> Incumbent:
        program = BlockProgram(self.problem, w @ self.problem.design.T > 0, signs)
        if self.problem.fit_intercept:
            fit = program.fit(w, 0.0)[:, None]
            intercept = float(self.problem.loss.intercept(fit, self.problem.targets, self.problem.weights)[0])
        theta = program.theta(program.fit(w, intercept))
        return Incumbent(w, signs, intercept, theta, program.objective(w, intercept))

    # -- pricing ------------------------------------------------------------------------------------------------

    def _price(self, incumbent: Incumbent, n_starts: int) -> Priced:
        problem = self.problem
        theta = incumbent.theta[:, None]
        if problem.fit_intercept:
            theta = problem.loss.to_domain(theta, problem.targets, problem.weights)
        own = incumbent.w / np.maximum(np.linalg.norm(incumbent.w, axis=1, keepdims=True), 1e-300)
        priced = price(problem, theta, np.vstack([own, starting_directions(problem, n_starts, self.rng)]))
        incumbent.priced_gap = scaled_gap(problem, incumbent.objective, theta, priced.largest)
        incumbent.starts = priced.starts
        return priced


def _gap(incumbent: Incumbent) -> float:
    return float(np.nanmax([incumbent.restricted_gap, incumbent.priced_gap]))


def scaled_gap(problem: ConvexReLUProblem, objective: float, theta: Array, largest: float) -> float:
    """Return the relative gap to the best dual point on the ray of theta, were ``largest`` the maximum of pricing."""
    if objective <= 0:
        return 0.0
    t_max = problem.alpha / max(largest, 1e-300)
    t = problem.loss.best_scale(theta, problem.targets, problem.weights, min(t_max, 1e6))
    bound = problem.loss.dual_value(t * theta, problem.targets, problem.weights)
    return float(max(objective - bound, 0.0) / objective)


def signed(neurons: Neurons) -> tuple[Array, Array]:
    """Return neurons of one output as ``w_j |a_j|`` and the sign of a_j, negligible ones left out."""
    a = neurons.outputs[:, 0]
    w = neurons.directions * np.abs(a)[:, None]
    norms = np.linalg.norm(w, axis=1)
    kept = norms > 1e-3 * norms.max(initial=0.0)
    return merge_collinear(w[kept], np.sign(a[kept]), 0.02)


def merge_collinear(w: Array, signs: Array, angle: float) -> tuple[Array, Array]:
    """Add up neurons of equal sign within an angle (radians) of a larger one."""
    order = np.argsort(-np.linalg.norm(w, axis=1), kind="stable")
    w, signs = w[order], signs[order]
    unit = w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-300)
    free = np.ones(len(w), dtype=bool)
    merged, kept = [], []
    for j in range(len(w)):
        if not free[j]:
            continue
        group = free & (signs == signs[j]) & (np.linalg.norm(unit - unit[j], axis=1) < angle)
        free &= ~group
        merged.append(w[group].sum(axis=0))
        kept.append(j)
    return np.array(merged).reshape(-1, w.shape[1]), signs[kept]

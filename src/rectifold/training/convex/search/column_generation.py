"""Training over all activation patterns, one output: convex solves on the neurons' own cells, new cells by pricing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rectifold.core.pattern import unique_patterns
from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.restricted.blocks import BlockProgram
from rectifold.training.convex.restricted.coordinates import Coordinates
from rectifold.training.convex.restricted.face_newton import Face, newton_on_face
from rectifold.training.convex.restricted.interior_point import InteriorPoint, solve_interior_point, starting_point
from rectifold.training.convex.restricted.patterns import move_off_kinks
from rectifold.training.convex.search.descent import Neurons, descend, extended
from rectifold.training.convex.search.pricing import Priced, price, starting_directions

Array = NDArray[np.float64]

_NEW_PER_ROUND = 30
_NEGLIGIBLE = 1e-4
_ACTIVE_SLACK = 0.02
_MERGE_ANGLES = (0.05, 0.015, 0.004)
_NEWTON_STEPS = 30
_NEWTON_SIZE, _CHEAP_SIZE = 2000, 200
_NEAR, _COARSE_GAP = 3e-4, 1e-3
_STALLED = 8
_PROGRESS = 0.9
_REACHED = 3.0
_COARSEST, _ACCURACY = 1e-4, 0.02
_SLOW, _SLOW_GAP = 1e-4, 0.5
_SPARE = 1.0
_FAR = 3e-3
_DESCENT_STEPS = 100
_SOLVE_STEPS, _ASCENT_STEPS, _PRICING_SHARE = 30, 960, 0.3


@dataclass
class Incumbent:
    """A network of signed neurons, ``f = sum_b s_b (X w_b)_+ + c``, with a dual point and what pricing found at it.

    Attributes
    ----------
    w : ndarray, shape (B, d)
    signs : ndarray, shape (B,)
    intercept : float
    theta : ndarray, shape (n,)
        The network's own dual variable, or that of another network where its bound is higher.
    objective : float
        F of the network.
    complementarity : float
        Relative duality gap of the program on the network's own cells, as far as it was solved.
    bound : float
        Value of theta scaled by the largest value that pricing found: a search, not a proof.
    starts : int
        Ascents of that pricing.
    """

    w: Array
    signs: Array
    intercept: float
    theta: Array
    objective: float
    complementarity: float = np.nan
    bound: float = -np.inf
    starts: int = 0

    @property
    def priced_gap(self) -> float:
        """Relative gap between the objective and the bound."""
        return max(self.objective - self.bound, 0.0) / self.objective if self.objective > 0 else 0.0

    @property
    def restricted_gap(self) -> float:
        """Relative gap of the program on the network's own cells, where the priced bound holds as well."""
        return float(np.nanmin([self.complementarity, self.priced_gap]))

    def improve(self, other: Incumbent) -> None:
        """Take over the network of another incumbent, or its dual point, where that is better."""
        if other.objective <= self.objective:
            self.w, self.signs, self.intercept = other.w, other.signs, other.intercept
            self.objective, self.complementarity = other.objective, other.complementarity
        if other.bound > self.bound:
            self.theta, self.bound, self.starts = other.theta, other.bound, other.starts

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
    known : ndarray, shape (m, d)
        Directions that every pricing judges: those that a proof was refuted by.
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
    known: Array
    should_stop: Callable[[], bool] = lambda: False
    on_round: Callable[[Incumbent, int], None] = lambda incumbent, rounds: None
    rounds: int = field(default=0, init=False)
    iterations: int = field(default=0, init=False)
    _entered: Array = field(init=False, repr=False)
    _coordinates: Coordinates = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._entered = np.empty((0, self.problem.design.shape[1]))
        self._coordinates = Coordinates.of(self.problem.design)

    def run(self, start: Neurons, max_rounds: int) -> Incumbent:
        """Improve on the network ``start`` until pricing finds no neuron that enters.

        A round solves the convex program on the cells in use and on those that pricing proposes, no further than the
        gap asks for: dual points near the central path price far better than the extreme ones, which swing from round
        to round. The lowest network and the highest bound may come from different rounds. The cells in use are those
        of the network's neurons and, where the last round was slow, those that were nearly active. Within `_NEAR` of
        the optimum collinear neurons are merged and the network is brought to a stationary point by `newton_on_face`,
        whose dual point is exact.
        """
        best = self._incumbent(*signed(start, self._coordinates), float(start.intercept[0]))
        priced = self._price(best, self.n_starts, coarse=True)
        cells, stalled = (best.w, best.signs), 0
        while True:
            stopped = self.should_stop()
            last = stopped or self.rounds >= max_rounds or stalled >= _STALLED
            if (last or best.priced_gap <= self.tol) and not stopped:  # the highest of many bounds may be an oversight
                claimed, priced = best.priced_gap, self._price(best, 4 * self.n_starts)
                if best.priced_gap > 2 * claimed and self.rounds < max_rounds:
                    last, stalled = False, 0
            if last or best.priced_gap <= self.tol or (len(priced.values) == 0 and len(best.w) == 0):
                break
            before = replace(best)
            self.rounds += 1
            accuracy = self._accuracy(best)
            solved = self._solve(*self._cells(*self._descended(cells, best, priced), priced), accuracy)
            if solved is None:
                stalled += 1
                continue
            raw, spare = solved
            near = before.priced_gap <= _NEAR or stalled > 0
            current, priced = self._improve(best, raw, self._starts(best, len(raw.w), stalled), near=near)
            gain = (before.objective - best.objective) / best.objective
            stalled = 0 if gain > self.tol or best.priced_gap < _PROGRESS * before.priced_gap else stalled + 1
            if raw.complementarity > _REACHED * accuracy:  # thin cells that crowd each other kept it from there
                cells = (best.w, best.signs)
            elif gain < _SLOW and best.priced_gap > _SLOW_GAP * before.priced_gap:
                cells = (np.vstack([current.w, spare[0]]), np.concatenate([current.signs, spare[1]]))
            else:
                cells = (current.w, current.signs)
            self.on_round(best, self.rounds)
        return best if self.should_stop() else self._simplified(best)

    def _accuracy(self, best: Incumbent) -> float:
        return max(min(_COARSEST, _ACCURACY * best.priced_gap), 0.1 * self.tol, 1e-9)

    def _starts(self, best: Incumbent, n_blocks: int, stalled: int) -> int:
        """Return how many starts the round's pricing has: where a round is dear, what is overlooked is dearer."""
        if stalled or best.priced_gap > _COARSE_GAP:
            return self.n_starts * (1 + min(stalled, 3))
        n, d = self.problem.design.shape
        size = n_blocks * d
        solve = _SOLVE_STEPS * min(size * n**2 + n**3 / 3, n * size**2 + size**3 / 3)
        affordable = _PRICING_SHARE * solve / (_ASCENT_STEPS * n * d)
        return int(np.clip(affordable, self.n_starts, 2 * self.n_starts))

    def _improve(self, best: Incumbent, raw: Incumbent, n_starts: int, *, near: bool) -> tuple[Incumbent, Priced]:
        """Price the end of a round, take over into the incumbent what is better, and return the merged network."""
        current, before, priced = self._merged(raw), best.priced_gap, None
        if current.w.size <= (_NEWTON_SIZE if near else _CHEAP_SIZE):
            current = self._stationary(current)
            if self._may_raise(best, current):
                priced = self._price_beside(best, current, n_starts)
        best.improve(current)
        if priced is None or not best.priced_gap < _PROGRESS * before:
            priced = self._price_beside(best, raw, n_starts)
            best.improve(raw)
        return current, priced

    def _simplified(self, best: Incumbent) -> Incumbent:
        """Settle on the cells of the incumbent where it is not optimal there, and merge what Newton's method allows."""
        if best.restricted_gap > self.tol:
            solved = self._solve(*self._cells(best.w, best.signs, None), max(0.1 * self.tol, 1e-9))
            if solved is not None:
                best.improve(self._merged(solved[0]))
        if best.w.size > _NEWTON_SIZE:
            return best
        limit = best.objective * (1 + 0.1 * self.tol)
        for angle in _MERGE_ANGLES:
            merged = self._stationary(
                self._incumbent(*merge_collinear(best.w, best.signs, angle, self._coordinates), best.intercept)
            )
            if len(merged.w) < len(best.w) and merged.objective <= limit:
                merged.complementarity = best.complementarity
                best.objective = merged.objective
                best.improve(merged)
                break
        return best

    def _descended(self, cells: tuple[Array, Array], best: Incumbent, priced: Priced) -> tuple[Array, Array]:
        """Far from the optimum, let L-BFGS move the neurons towards their cells first: it is cheap beside a round."""
        if not best.priced_gap > _FAR or len(best.w) == 0:
            return cells
        neurons = extended(self.problem, best.neurons(), priced, _NEW_PER_ROUND)
        moved = descend(self.problem, neurons, max_iter=_DESCENT_STEPS, should_stop=self.should_stop)
        candidate = self._incumbent(*signed(moved, self._coordinates), float(moved.intercept[0]))
        if candidate.objective >= best.objective:
            return cells
        best.improve(candidate)
        return candidate.w, candidate.signs

    # -- one round ----------------------------------------------------------------------------------------------

    def _cells(self, w: Array, signs: Array, priced: Priced | None) -> tuple[Array, Array]:
        """Return interior points and signs of the cells of the points w and of the directions that price out."""
        if priced is None:
            priced = Priced(w[:0], np.empty((0, 1)), np.empty(0), 0)
        entering = priced.values > self.problem.alpha * (1 + 1e-7)
        new = priced.directions[entering][:_NEW_PER_ROUND]
        new_signs = np.sign(priced.outputs[entering, 0][:_NEW_PER_ROUND])
        w, kept = move_off_kinks(self.problem.design, np.vstack([w, new]))
        signs = np.concatenate([signs, new_signs])[kept]
        patterns = w @ self.problem.design.T > 0
        first, _ = unique_patterns(np.column_stack([patterns, signs > 0]))
        first = first[patterns[first].any(axis=1)]
        return w[first], signs[first]

    def _solve(self, w: Array, signs: Array, accuracy: float) -> tuple[Incumbent, tuple[Array, Array]] | None:
        """Return the optimum on the cells of w, and points and signs of further cells that it is worth to keep."""
        if len(w) == 0:
            return None
        program = BlockProgram(self.problem, w @ self.problem.design.T > 0, signs)
        start = starting_point(program, w)
        point, kept, iterations = solve_interior_point(program, start, gap_tol=accuracy, should_stop=self.should_stop)
        self.iterations += iterations
        norms, products = np.linalg.norm(point.w, axis=1), point.complementarity(self.problem.alpha)
        alive = norms > _NEGLIGIBLE * norms.max()
        raw = self._incumbent(point.w[alive], signs[kept][alive], point.intercept)
        raw.complementarity = float(products.sum()) * (2 + point.slack.shape[1]) / raw.objective
        program = program.subset(kept)  # theta feels the blocks that the network leaves out
        raw.theta, _ = program.smoothed(program.fit(point.w, point.intercept), float(products.mean()))
        return raw, self._spare(point, signs[kept], alive)

    def _spare(self, point: InteriorPoint, signs: Array, alive: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Return points and signs of the cells that are nearly active, at most as many as are active."""
        ratios = np.where(alive, 0.0, np.linalg.norm(point.q, axis=1) / self.problem.alpha)
        best = np.argsort(-ratios, kind="stable")[: int(_SPARE * alive.sum())]
        best = best[ratios[best] > 1 - _ACTIVE_SLACK]
        return point.w[best], signs[best]

    def _merged(self, raw: Incumbent) -> Incumbent:
        """Merge nearly collinear neurons as far as that does not cost more than the tolerance."""
        for angle in _MERGE_ANGLES:
            w, signs = merge_collinear(raw.w, raw.signs, angle, self._coordinates)
            merged = self._incumbent(w, signs, raw.intercept)
            if merged.objective <= raw.objective * (1 + 0.1 * self.tol):
                merged.complementarity = raw.complementarity
                return merged
        return raw

    def _stationary(self, incumbent: Incumbent) -> Incumbent:
        """Descend to a stationary point of the network."""
        program = BlockProgram(self.problem, incumbent.w @ self.problem.design.T > 0, incumbent.signs)
        face = Face(program, incumbent.w, incumbent.intercept, np.zeros_like(program.patterns))
        face, _ = newton_on_face(face, crossing=True, max_iter=_NEWTON_STEPS, should_stop=self.should_stop)
        moved = self._incumbent(face.w, face.program.signs, face.intercept)
        moved.complementarity = incumbent.complementarity
        return moved if moved.objective < incumbent.objective else incumbent

    def _incumbent(self, w: Array, signs: Array, intercept: float) -> Incumbent:
        program = BlockProgram(self.problem, w @ self.problem.design.T > 0, signs)
        if self.problem.fit_intercept:
            fit = program.fit(w, 0.0)[:, None]
            intercept = float(self.problem.loss.intercept(fit, self.problem.targets, self.problem.weights)[0])
        theta = program.theta(program.fit(w, intercept))
        return Incumbent(w, signs, intercept, theta, program.objective(w, intercept))

    # -- pricing ------------------------------------------------------------------------------------------------

    def _theta(self, incumbent: Incumbent) -> Array:
        problem, theta = self.problem, incumbent.theta[:, None]
        return problem.loss.to_domain(theta, problem.targets, problem.weights) if problem.fit_intercept else theta

    def _may_raise(self, best: Incumbent, other: Incumbent) -> bool:
        """Return whether the directions that entered last leave room for a higher bound."""
        theta, hidden = self._theta(other), np.maximum(self._entered @ self.problem.design.T, 0.0)
        return scaled_bound(self.problem, theta, float(np.abs(hidden @ theta).max(initial=0.0))) > best.bound

    def _price_beside(self, best: Incumbent, incumbent: Incumbent, n_starts: int) -> Priced:
        """Price, and lower the bound of ``best`` where a direction found shows an oversight of its own pricing."""
        priced = self._price(incumbent, n_starts, coarse=best.priced_gap > _COARSE_GAP)
        theta = self._theta(best)
        values = np.abs(np.maximum(priced.directions @ self.problem.design.T, 0.0) @ theta)
        best.bound = min(best.bound, scaled_bound(self.problem, theta, float(values.max(initial=0.0))))
        return priced

    def _price(self, incumbent: Incumbent, n_starts: int, *, coarse: bool = False) -> Priced:
        problem, theta = self.problem, self._theta(incumbent)
        own = incumbent.w / np.maximum(np.linalg.norm(incumbent.w, axis=1, keepdims=True), 1e-300)
        starts = starting_directions(problem, n_starts, self.rng)
        priced = price(problem, theta, np.vstack([own, self._entered, starts]), known=self.known, coarse=coarse)
        self._entered = np.vstack([priced.directions[priced.values > problem.alpha], self._entered])[: len(starts) // 2]
        incumbent.bound = scaled_bound(problem, theta, priced.largest)
        incumbent.starts = priced.starts
        return priced


def _gap(incumbent: Incumbent) -> float:
    return max(incumbent.restricted_gap, incumbent.priced_gap)


def scaled_bound(problem: ConvexReLUProblem, theta: Array, largest: float) -> float:
    """Return the value of the best dual point on the ray of theta, were ``largest`` the maximum of pricing."""
    t_max = problem.alpha / max(largest, 1e-300)
    t = problem.loss.best_scale(theta, problem.targets, problem.weights, min(t_max, 1e6))
    return float(problem.loss.dual_value(t * theta, problem.targets, problem.weights))


def scaled_gap(problem: ConvexReLUProblem, objective: float, theta: Array, largest: float) -> float:
    """Return the relative gap between an objective and `scaled_bound`."""
    if objective <= 0:
        return 0.0
    return float(max(objective - scaled_bound(problem, theta, largest), 0.0) / objective)


def signed(neurons: Neurons, coordinates: Coordinates) -> tuple[Array, Array]:
    """Return neurons of one output as ``w_j |a_j|`` and the sign of a_j, negligible ones left out."""
    a = neurons.outputs[:, 0]
    w = neurons.directions * np.abs(a)[:, None]
    norms = np.linalg.norm(w, axis=1)
    kept = norms > 1e-3 * norms.max(initial=0.0)
    return merge_collinear(w[kept], np.sign(a[kept]), 0.02, coordinates)


def merge_collinear(w: Array, signs: Array, angle: float, coordinates: Coordinates) -> tuple[Array, Array]:
    """Add up neurons of equal sign within an angle (radians) of a larger one, whatever the coordinates."""
    order = np.argsort(-np.linalg.norm(w, axis=1), kind="stable")
    w, signs = w[order], signs[order]
    units = coordinates.units(w)
    free = np.ones(len(w), dtype=bool)
    merged, kept = [], []
    for j in range(len(w)):
        if not free[j]:
            continue
        near = [np.linalg.norm(unit - unit[j], axis=1) < angle for unit in units]
        group = free & (signs == signs[j]) & np.logical_and.reduce(near)
        free &= ~group
        merged.append(w[group].sum(axis=0))
        kept.append(j)
    return np.array(merged).reshape(-1, w.shape[1]), signs[kept]

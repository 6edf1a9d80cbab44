"""Moving an optimum from one alpha to the next: tangent and Newton steps on its face, checked, else solved anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.budget import Budget
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import FREE_BIAS_SCALE, ConvexReLUProblem
from rectifold.training.convex.options import TrainingOptions
from rectifold.training.convex.proof.global_bound import lower_bound
from rectifold.training.convex.restricted.blocks import BlockProgram
from rectifold.training.convex.restricted.face_newton import Face, newton_on_face
from rectifold.training.convex.restricted.patterns import PatternSet
from rectifold.training.convex.restricted.working_set import BlockSolution, WorkingSetSearch, solve_on_patterns
from rectifold.training.convex.search.column_generation import scaled_bound
from rectifold.training.convex.search.pricing import Priced, price, starting_directions
from rectifold.training.convex.train import train

__all__ = ["Follower", "OnAllPatterns", "OnPatterns", "PathPoint", "Separately", "network_of"]

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

_CROSSOVERS = 25
_ROUNDS, _STEPS = 4, 40
_STARTS = 100
_PROGRESS = 0.7
_LARGEST = 400
_LONGEST_PAUSE = 8
_ENTERS = 1e-7
_NEARLY = 0.95
_APART = 0.5
_KINK = 1e-9
_MERGE_ANGLES = (0.1, 0.03, 0.01, 0.003, 1e-4)


@dataclass(frozen=True, eq=False)
class PathPoint:
    """An optimum at one alpha.

    Attributes
    ----------
    network : ReLUNetwork
    objective, bound : float
        F of the network, and what is proven about its minimum: over the given patterns, or over all networks.
    gap : float
        Relative gap: true for given patterns, that of pricing by search over all.
    how : {"constant", "followed", "solved"}
    solution : BlockSolution or None
        For given patterns and one output.
    """

    network: ReLUNetwork
    objective: float
    bound: float
    gap: float
    how: str
    solution: BlockSolution | None = None


class Follower(Protocol):
    """What moves an optimum along the path."""

    def advance(self, alpha: float) -> PathPoint:
        """Return the optimum at alpha, near the one before."""


class OnPatterns:
    """The optimum on given patterns, one output, from alpha to alpha.

    The first Newton step of a face at the new alpha is the step along the tangent of its KKT system; rows that are met
    are held and rows whose multiplier turns negative are released on the way. Then ``Z_b' theta`` is projected on all
    2 P cones: blocks with ``||v_b|| > alpha`` enter on the face of their projection, until the true gap is reached. If
    that fails the program is solved anew.

    Parameters
    ----------
    problem : ConvexReLUProblem
        At any alpha.
    chosen : PatternSet
    options : TrainingOptions
    should_stop : callable

    References
    ----------
    Mishkin and Pilanci (2023), section 3.5 of the analysis of their sensitivity; Allgower and Georg (1990).
    """

    def __init__(
        self,
        problem: ConvexReLUProblem,
        chosen: PatternSet,
        options: TrainingOptions,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.problem, self.chosen, self.options, self.should_stop = problem, chosen, options, should_stop
        self._search = WorkingSetSearch(problem, chosen.patterns, chosen.points, options.tol)
        self._last: BlockSolution | None = None

    def advance(self, alpha: float) -> PathPoint:
        """Return the optimum at alpha."""
        problem = self.problem.with_alpha(alpha)
        self._search.problem = problem
        how, solution = "followed", self._followed()
        if solution.relative_gap > self.options.tol and not self.should_stop():
            how, solution = "solved", self._solved(problem)
        self._last = solution
        if len(solution.w) == 0:
            how = "constant"
        network = network_of(problem, solution.w, solution.program.signs, solution.intercept)
        bound = solution.bound
        if problem.hidden_bias == "free":  # the blocks penalise the bias a little: see ConvexReLUProblem
            bound /= (1.0 + FREE_BIAS_SCALE**-2) ** 0.5
        return PathPoint(network, problem.objective(network), bound, solution.relative_gap, how, solution)

    def _followed(self) -> BlockSolution:
        current = self._moved()
        best = current
        for _ in range(_CROSSOVERS):
            if best.relative_gap <= self.options.tol or self.should_stop():
                break
            following = self._search.cross_over(current, current.scores)
            if following is None:
                break
            following.scores = self._search.evaluate(following)
            current, bound = following, max(best.bound, following.bound)
            best = following if following.objective <= best.objective else best
            best.bound = bound
        return best

    def _moved(self) -> BlockSolution:
        """Return the last optimum moved to the new alpha on its own blocks, or the constant."""
        last, search = self._last, self._search
        if last is None or len(last.w) == 0:
            solution = search.null_solution()
        else:
            program = BlockProgram(search.problem, last.program.patterns, last.program.signs)
            face, _ = newton_on_face(Face(program, last.w, last.intercept, last.tight), crossing=False)
            if len(face.w) == 0:
                solution = search.null_solution()
            else:
                solution = search._solution(face)
        solution.scores = search.evaluate(solution)
        return solution

    def _solved(self, problem: ConvexReLUProblem) -> BlockSolution:
        chosen, options = self.chosen, self.options
        return solve_on_patterns(
            problem,
            chosen.patterns,
            chosen.points,
            tol=options.tol,
            max_rounds=options.max_iter,
            should_stop=self.should_stop,
        )


class Separately:
    """Several outputs that are independent programs, each followed on its own."""

    def __init__(self, problem: ConvexReLUProblem, parts: list[Follower]) -> None:
        self.problem, self._parts = problem, parts

    def advance(self, alpha: float) -> PathPoint:
        """Return the optimum at alpha; the parts' objectives and bounds add up."""
        problem = self.problem.with_alpha(alpha)
        points = [part.advance(alpha) for part in self._parts]
        neurons = [problem.output(k).neurons(point.network) for k, point in enumerate(points)]
        w = np.vstack([n[0] for n in neurons])
        a = np.vstack([n[1] * (np.arange(problem.n_outputs) == k) for k, n in enumerate(neurons)])
        network = problem.network(w, a, np.concatenate([n[2] for n in neurons]))
        value = problem.objective(network)
        bound = sum(point.bound for point in points)
        gap = sum(point.gap * point.objective for point in points) / value if value > 0 else 0.0
        hows = {point.how for point in points}
        how = "solved" if "solved" in hows else "followed" if "followed" in hows else "constant"
        return PathPoint(network, value, bound, gap, how)


class OnAllPatterns:
    """The optimum over all patterns, from alpha to alpha.

    While the network is small it is followed: Newton steps that may cross kinks bring it to the stationary point near
    by, pricing looks for neurons that enter, and the directions that price out are added a few at a time, far apart.
    Where that does not reach the tolerance, `train` starts from what was reached; after a failure following pauses.

    Parameters
    ----------
    problem : ConvexReLUProblem
        At any alpha.
    options : TrainingOptions
        Without ``certify``: a path proves the cheap bound only.
    budget : Budget
    """

    def __init__(self, problem: ConvexReLUProblem, options: TrainingOptions, budget: Budget) -> None:
        self.problem, self.options, self.budget = problem, replace(options, certify=False), budget
        self._rng = np.random.default_rng(options.random_state)
        self._entered = np.empty((0, problem.design.shape[1]))
        self._network: ReLUNetwork | None = None
        self._pause, self._failures = 0, 0

    def advance(self, alpha: float) -> PathPoint:
        """Return the optimum at alpha, as far as a search tells."""
        problem = self.problem.with_alpha(alpha)
        point = None
        if problem.n_outputs == 1 and self._pause == 0:
            point = self._followed(problem)
            self._failures = 0 if point is not None else self._failures + 1
            self._pause = 0 if point is not None else min(2**self._failures - 1, _LONGEST_PAUSE)
        else:
            self._pause = max(self._pause - 1, 0)
        if point is None:
            point = self._trained(problem)
        self._network = point.network
        return point

    def _trained(self, problem: ConvexReLUProblem) -> PathPoint:
        left = None if np.isinf(self.budget.remaining) else max(self.budget.remaining, 1e-3)
        result = train(problem, self.options, Budget(None, left), self._network)
        gap = max(float(result.stats["priced_gap"]), 0.0)
        how = "solved" if result.solution.widths[0] else "constant"
        return PathPoint(result.solution, result.value, result.bound, min(gap, result.relative_gap), how)

    # -- following --------------------------------------------------------------------------------------------------

    def _followed(self, problem: ConvexReLUProblem) -> PathPoint | None:
        """Return the optimum near the last network, None where Newton's method and pricing do not find it."""
        face, gap = self._start(problem), np.inf
        for _ in range(_ROUNDS):
            if face.w.size > _LARGEST or self.budget.should_stop():
                break
            face = self._stationary(face)
            before, (gap, priced) = gap, self._priced(face, min(self.options.n_starts, _STARTS), coarse=True)
            if gap <= self.options.tol:
                gap, priced = self._priced(face, self.options.n_starts, coarse=False)
            if gap <= self.options.tol:
                return self._point(problem, face, gap)
            if gap > _PROGRESS * before:
                break
            face = self._extended(face, priced)
        if len(face.w):
            self._network = network_of(problem, face.w, face.program.signs, face.intercept)
        return None

    def _start(self, problem: ConvexReLUProblem) -> Face:
        if self._network is None:
            empty = np.empty((0, problem.design.shape[1]))
            return _face(problem, empty, np.empty(0), float(problem.null_intercept[0]))
        directions, outputs, intercept = problem.neurons(self._network)
        return _face(problem, directions * np.abs(outputs), np.sign(outputs[:, 0]), float(intercept[0]))

    def _stationary(self, face: Face) -> Face:
        """Descend; a network with neurons that should be one is merged where that costs nothing."""
        if len(face.w) == 0:
            return face
        stop = self.budget.should_stop
        face, converged = newton_on_face(face, crossing=True, max_iter=_STEPS, should_stop=stop)
        limit = face.objective() * (1 + 0.1 * self.options.tol)
        for angle in () if converged else _MERGE_ANGLES:
            w, signs = _merged(face.w, face.program.signs, angle)
            if len(w) < len(face.w):
                trial = _face(face.program.problem, w, signs, face.intercept)
                trial, _ = newton_on_face(trial, crossing=True, max_iter=_STEPS, should_stop=stop)
                if trial.objective() <= limit:
                    return trial
        return face

    def _priced(self, face: Face, n_starts: int, *, coarse: bool) -> tuple[float, Priced]:
        problem, program = face.program.problem, face.program
        theta = program.theta(program.fit(face.w, face.intercept))[:, None]
        if problem.fit_intercept:
            theta = problem.loss.to_domain(theta, problem.targets, problem.weights)
        own = face.w / np.maximum(np.linalg.norm(face.w, axis=1, keepdims=True), 1e-300)
        starts = starting_directions(problem, n_starts, self._rng)
        priced = price(problem, theta, np.vstack([own, self._entered, starts]), coarse=coarse)
        near = priced.directions[priced.values > _NEARLY * problem.alpha]
        self._entered = np.vstack([near, self._entered])[:_STARTS]
        value = face.objective()
        bound = scaled_bound(problem, theta, priced.largest)
        return (max(value - bound, 0.0) / value if value > 0 else 0.0), priced

    def _extended(self, face: Face, priced: Priced) -> Face:
        """Add directions that price out, far from each other, each with the step that is best for it alone, shared."""
        problem, program = face.program.problem, face.program
        signs, chosen = np.sign(priced.outputs[:, 0]), list[int]()
        for j in np.flatnonzero(priced.values > problem.alpha * (1 + _ENTERS)):
            rivals = priced.directions[[k for k in chosen if signs[k] == signs[j]]]
            if (np.linalg.norm(rivals - priced.directions[j], axis=1) > _APART).all():
                chosen.append(int(j))
        units = priced.directions[chosen]
        hidden = np.maximum(units @ problem.design.T, 0.0)
        curvature = hidden**2 @ program.curvature(program.fit(face.w, face.intercept))
        steps = (priced.values[chosen] - problem.alpha) / np.maximum(curvature, 1e-300) / max(len(chosen), 1)
        new = _face(problem, steps[:, None] * units, signs[chosen], face.intercept)
        patterns = np.vstack([program.patterns, new.program.patterns])
        blocks = BlockProgram(problem, patterns, np.concatenate([program.signs, new.program.signs]))
        return Face(blocks, np.vstack([face.w, new.w]), face.intercept, np.vstack([face.tight, new.tight]))

    def _point(self, problem: ConvexReLUProblem, face: Face, gap: float) -> PathPoint:
        network = network_of(problem, face.w, face.program.signs, face.intercept)
        bound, certificate, _ = lower_bound(problem, network)
        return PathPoint(network, certificate.objective, bound, gap, "followed" if len(face.w) else "constant")


def network_of(problem: ConvexReLUProblem, w: Array, signs: Array, intercept: float) -> ReLUNetwork:
    """Return the balanced one-output network of convex weights, shape (m, d), and the signs of its outputs."""
    size = np.sqrt(np.linalg.norm(w, axis=1))[:, None]
    return problem.network(w / np.maximum(size, 1e-300), signs[:, None] * size, np.array([intercept]))


def _face(problem: ConvexReLUProblem, w: Array, signs: Array, intercept: float) -> Face:
    """Return neurons as a face, held on the rows that they lie on."""
    pre = w @ problem.design.T
    scale = np.linalg.norm(w, axis=1, keepdims=True) * np.linalg.norm(problem.design, axis=1)
    return Face(BlockProgram(problem, pre > 0, signs), w, intercept, np.abs(pre) <= _KINK * scale)


def _merged(w: Array, signs: Array, angle: float) -> tuple[Array, Array]:
    """Add up neurons of equal sign within an angle (radians) of a larger one."""
    order = np.argsort(-np.linalg.norm(w, axis=1), kind="stable")
    w, signs = w[order], signs[order]
    units = w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-300)
    free, sums, kept = np.ones(len(w), dtype=bool), [], []
    for j in range(len(w)):
        if free[j]:
            group = free & (signs == signs[j]) & (np.linalg.norm(units - units[j], axis=1) < angle)
            free &= ~group
            sums.append(w[group].sum(axis=0))
            kept.append(j)
    return np.array(sums).reshape(-1, w.shape[1]), signs[kept]

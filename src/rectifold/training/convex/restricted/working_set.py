"""The program on given patterns: interior-point solves on a working set of blocks, polished and priced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rectifold.core.problem import ConvexReLUProblem
from rectifold.geometry.cones import ConeProjector
from rectifold.training.convex.restricted.blocks import BlockProgram
from rectifold.training.convex.restricted.face_newton import Face, newton_on_face
from rectifold.training.convex.restricted.interior_point import InteriorPoint, solve_interior_point, starting_point

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

_CROSSOVER_GAP = 1e-3
_CROSSOVER_ROUNDS = 8
_ENTERING = 20


@dataclass
class BlockSolution:
    """A feasible point of the program on given patterns with the dual bound that belongs to it.

    Attributes
    ----------
    program : BlockProgram
        The active blocks.
    w : ndarray, shape (B, d)
    intercept : float
    theta : ndarray, shape (n,)
    tight : ndarray of bool, shape (B, n)
        Rows with ``x_i'w_b = 0``.
    objective, bound : float
        Of the program on all the given patterns.
    largest : float
        ``max_b ||Proj_{K_b}(Z_b' theta)||``, or alpha where that is not exceeded.
    iterations, rounds : int
    """

    program: BlockProgram
    w: Array
    intercept: float
    theta: Array
    tight: Bits
    objective: float
    bound: float
    largest: float
    iterations: int
    rounds: int
    scores: Array = field(default_factory=lambda: np.empty(0), repr=False)

    @property
    def relative_gap(self) -> float:
        """``(objective - bound) / objective``."""
        return max(self.objective - self.bound, 0.0) / self.objective if self.objective > 0 else 0.0


def solve_on_patterns(
    problem: ConvexReLUProblem,
    patterns: Bits,
    interior: Array,
    *,
    tol: float = 1e-6,
    max_rounds: int = 30,
    max_iter: int = 100,
    should_stop: Callable[[], bool] = lambda: False,
    on_round: Callable[[BlockSolution], None] = lambda solution: None,
) -> BlockSolution:
    """Minimise over networks whose neurons have the given activation patterns, one output.

    Parameters
    ----------
    problem : ConvexReLUProblem
    patterns : ndarray of bool, shape (P, n)
        Over the rows of ``problem.design``.
    interior : ndarray, shape (P, d)
        Strictly interior points of the patterns' cones.
    tol : float
        Relative duality gap, true for this set of patterns.

    Notes
    -----
    A round solves on a working set of ``O(sqrt(n) + active)`` blocks by `solve_interior_point`, moves to the face that
    it identifies, and projects ``Z_b' theta`` on the cones of all 2 P blocks to find the gap and the blocks to add.
    """
    search = WorkingSetSearch(problem, patterns, interior, tol)
    best = search.null_solution()
    scores = search.scores(best.theta, -np.inf)
    if scores.max(initial=0.0) <= problem.alpha * (1 + 1e-12):
        best.bound = best.objective
        return best
    working = np.argsort(-scores, kind="stable")[: search.initial_size]
    accuracy = max(tol, 1e-3)
    for rounds in range(1, max_rounds + 1):
        point, kept, iterations = search.interior_point(working, 0.2 * accuracy, max_iter, should_stop)
        working = working[kept]
        iterations += best.iterations
        raw, face = search.finish(working, point)
        for solution in (raw, face):
            if solution is not None:
                solution.iterations, solution.rounds = iterations, rounds
                solution.scores = search.evaluate(solution)
                best = _better(best, solution)
        on_round(best)
        scores = best.scores
        for _ in range(_CROSSOVER_ROUNDS):
            if face is None or not tol < best.relative_gap <= _CROSSOVER_GAP or should_stop():
                break
            face = search.cross_over(face, face.scores)
            if face is not None:
                face.scores = search.evaluate(face)
                best = _better(best, face)
                on_round(best)
        if best.relative_gap <= tol or should_stop() or accuracy < 1e-11:
            break
        before = working, accuracy
        working, accuracy = search.next_working_set(working, point, scores, accuracy)
        if working is before[0] and accuracy == before[1]:  # the same program to the same accuracy
            break
    return best


def _better(best: BlockSolution, other: BlockSolution) -> BlockSolution:
    """Return the lower of the two with the better bound of both and the counters of the later."""
    chosen = other if other.objective <= best.objective else best
    chosen.bound = max(best.bound, other.bound)
    chosen.iterations, chosen.rounds = max(best.iterations, other.iterations), max(best.rounds, other.rounds)
    return chosen


class WorkingSetSearch:
    """What the rounds share: the blocks, their projections and the sizes of working sets."""

    def __init__(self, problem: ConvexReLUProblem, patterns: Bits, interior: Array, tol: float) -> None:
        self.problem, self.patterns, self.interior, self.tol = problem, patterns, interior, tol
        self.n_patterns = len(patterns)
        self.projector = ConeProjector(problem.design, patterns)
        n, d = problem.design.shape
        self.initial_size = min(int(2 * np.sqrt(n)) + 20, max(2 * n // d, 30))

    def null_solution(self) -> BlockSolution:
        """Return the constant network's point."""
        problem = self.problem
        program = self.blocks(np.empty(0, dtype=np.intp))
        theta = problem.null_theta[:, 0]
        bound = -np.inf
        empty = np.empty((0, problem.design.shape[1]))
        tight = np.empty((0, len(problem.design)), dtype=bool)
        value = problem.null_value
        solution = BlockSolution(
            program, empty, float(problem.null_intercept[0]), theta, tight, value, bound, np.inf, 0, 0
        )
        self.evaluate(solution)
        return solution

    def blocks(self, index: NDArray[np.intp]) -> BlockProgram:
        """Return the program of some of the 2 P blocks; those from P on have negative output weights."""
        signs = np.where(index < self.n_patterns, 1.0, -1.0)
        return BlockProgram(self.problem, self.patterns[index % self.n_patterns], signs)

    def scores(self, theta: Array, threshold: float) -> Array:
        """Return ``||Proj_{K_b}(Z_b' theta)||`` of all 2 P blocks; values up to the threshold may be upper bounds."""
        self.projections = self.projector.project(theta, threshold)
        return self.projections.norms.ravel()

    def interior_point(
        self, working: NDArray[np.intp], gap_tol: float, max_iter: int, should_stop: Callable[[], bool]
    ) -> tuple[InteriorPoint, NDArray[np.intp], int]:
        """Solve on a working set; return the point, which of its blocks are left, and the iterations."""
        program = self.blocks(working)
        start = starting_point(program, self.interior[working % self.n_patterns])
        return solve_interior_point(program, start, gap_tol=gap_tol, max_iter=max_iter, should_stop=should_stop)

    def finish(
        self, working: NDArray[np.intp], point: InteriorPoint
    ) -> tuple[BlockSolution | None, BlockSolution | None]:
        """Return the iterate, None if it is not needed, and the optimum of the face it points to, None without one."""
        program = self.blocks(working)
        raw = Face(program, point.w, point.intercept, np.zeros_like(program.patterns))
        face = identify_face(program, point)
        if face is None:
            return self._solution(raw), None
        polished, _ = newton_on_face(face, crossing=False)
        if polished.objective() <= raw.objective():
            return None, self._solution(polished)
        return self._solution(raw), self._solution(polished)

    def _solution(self, face: Face) -> BlockSolution:
        theta = face.program.theta(face.program.fit(face.w, face.intercept))
        return BlockSolution(
            face.program, face.w, face.intercept, theta, face.tight, face.objective(), -np.inf, np.inf, 0, 0
        )

    def cross_over(self, solution: BlockSolution, scores: Array) -> BlockSolution | None:
        """Let blocks that violate dual feasibility enter on the face of their projection; None if there is none.

        A violating block that is present already is held on rows that its projection does not lie on: these are
        released.
        """
        program = solution.program
        place = {(p.tobytes(), s): b for b, (p, s) in enumerate(zip(program.patterns, program.signs, strict=True))}
        tight, entering, released = solution.tight.copy(), [], False
        violating = np.argsort(-scores, kind="stable")[: (scores > self.problem.alpha * (1 + 1e-12)).sum()]
        for b in violating:
            sign = 1.0 if b < self.n_patterns else -1.0
            present = place.get((self.patterns[b % self.n_patterns].tobytes(), sign))
            if present is None:
                entering.append(b)
                continue
            free = tight[present] & ~self._projection_rows(b)
            tight[present] &= ~free
            released |= bool(free.any())
        if not entering and not released:
            return None
        face = self._extended(solution, tight, np.array(entering[:_ENTERING], dtype=np.intp), scores)
        face, _ = newton_on_face(face, crossing=False)
        extended = self._solution(face)
        extended.iterations, extended.rounds = solution.iterations, solution.rounds
        return extended

    def _projection_rows(self, block: int) -> Bits:
        rows = self.projections.rows.reshape(2 * self.n_patterns, -1)[block]
        held = np.zeros(len(self.problem.design), dtype=bool)
        held[rows[rows >= 0]] = True
        return held

    def _extended(self, solution: BlockSolution, tight: Bits, index: NDArray[np.intp], scores: Array) -> Face:
        """Add blocks along their projections, each with the step that is best for it alone, shared among them."""
        program, new = solution.program, self.blocks(index)
        units = self.projections.points.reshape(2 * self.n_patterns, -1)[index] / scores[index, None]
        hidden = np.where(new.patterns, units @ self.problem.design.T, 0.0)
        curvature = (hidden**2) @ program.curvature(program.fit(solution.w, solution.intercept))
        steps = (scores[index] - self.problem.alpha) / np.maximum(curvature, 1e-300) / max(len(index), 1)
        held = np.array([self._projection_rows(b) for b in index], dtype=bool).reshape(new.patterns.shape)
        patterns, signs = np.vstack([program.patterns, new.patterns]), np.concatenate([program.signs, new.signs])
        return Face(
            BlockProgram(self.problem, patterns, signs),
            np.vstack([solution.w, steps[:, None] * units]),
            solution.intercept,
            np.vstack([tight, held]),
        )

    def evaluate(self, solution: BlockSolution) -> Array:
        """Fill in the dual bound of the solution's residual and return the scores of all blocks."""
        problem, loss = self.problem, self.problem.loss
        theta = solution.theta[:, None]
        if problem.fit_intercept:
            theta = loss.to_domain(theta, problem.targets, problem.weights)
        scores = self.scores(theta[:, 0], problem.alpha)
        solution.largest = max(float(scores.max(initial=0.0)), problem.alpha)
        t = loss.best_scale(theta, problem.targets, problem.weights, problem.alpha / solution.largest)
        solution.bound = loss.dual_value(t * theta, problem.targets, problem.weights)
        return scores

    def next_working_set(
        self, working: NDArray[np.intp], point: InteriorPoint, scores: Array, accuracy: float
    ) -> tuple[NDArray[np.intp], float]:
        """Return the blocks to keep and to add, and the accuracy to solve them to."""
        norms = np.linalg.norm(point.w, axis=1)
        kept = working[norms > 1e-4 * norms.max(initial=0.0)]
        limit = self.problem.alpha * (1 + 0.1 * self.tol)
        violators = np.setdiff1d(np.flatnonzero(scores > limit), working)
        most = self.initial_size + 2 * len(kept)
        violators = violators[np.argsort(-scores[violators], kind="stable")][:most]
        if len(violators) == 0:
            return working, max(accuracy * 1e-2, 1e-10)
        return np.concatenate([kept, violators]), max(accuracy * 1e-1, min(self.tol, 1e-6))


def identify_face(program: BlockProgram, point: InteriorPoint) -> Face | None:
    """Read the active blocks and tight rows off an interior point: of each complementary pair the larger one."""
    norms = np.linalg.norm(point.w, axis=1)
    total = norms.sum()
    if total == 0:
        return None
    active = norms / total > 1.0 - np.linalg.norm(point.q, axis=1) / program.alpha
    if not active.any():
        return None
    lengths = np.linalg.norm(program.cone_rows, axis=1)
    relative_slack = point.slack[active] / (norms[active][:, None] * lengths)
    tight = np.zeros((int(active.sum()), len(program.X)), dtype=bool)
    tight[:, program.rows] = relative_slack < point.rho[active] * lengths / program.alpha
    sub = program.subset(np.flatnonzero(active))
    w = _onto_rows(sub.X, point.w[active], tight)
    nonzero = np.linalg.norm(w, axis=1) > 1e-12 * norms[active]
    face = Face(sub, w, point.intercept, tight).keep(nonzero)
    return _strictly_inside(face)


def _onto_rows(X: Array, w: Array, tight: Bits) -> Array:
    out = w.copy()
    for b, rows in enumerate(tight):
        if rows.any():
            normals = X[rows]
            out[b] -= np.linalg.lstsq(normals, normals @ w[b], rcond=1e-10)[0]
    return out


def _strictly_inside(face: Face) -> Face | None:
    """Drop blocks that the projection on their tight rows has pushed out of their cones."""
    slack = np.where(face.program.patterns, 1.0, -1.0) * (face.w @ face.program.X.T)
    scale = np.linalg.norm(face.w, axis=1)[:, None] * np.linalg.norm(face.program.X, axis=1)
    inside = ~np.any((slack < -1e-9 * scale) & ~face.tight, axis=1)
    return face.keep(inside) if inside.any() else None

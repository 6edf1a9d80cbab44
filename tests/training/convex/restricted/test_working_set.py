"""The working set of the program on given patterns: rows that hold a block wrongly are let go."""

from __future__ import annotations

import numpy as np
import pytest
from problems import PLAIN, small

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.restricted.face_newton import Face, newton_on_face
from rectifold.training.convex.restricted.patterns import PatternSet
from rectifold.training.convex.restricted.working_set import WorkingSetSearch, solve_on_patterns

X, Y = small(0, n=14, d=3)
PROBLEM = ConvexReLUProblem(X, Y, 0.02, **PLAIN)
DESIGN = PROBLEM.design
CHOSEN = PatternSet.all(PROBLEM.design)


def held_on_a_row(solution):
    """Blocks without tight rows, each moved onto a row of its own cone."""
    for block in np.flatnonzero(~solution.tight.any(axis=1)):
        side = np.where(solution.program.patterns[block], 1.0, -1.0)
        for row in range(len(DESIGN)):
            w = solution.w[block] - DESIGN[row] * (DESIGN[row] @ solution.w[block]) / (DESIGN[row] @ DESIGN[row])
            if np.all(side * (DESIGN @ w) > -1e-12):
                yield block, row, w


def test_a_present_block_is_released_from_a_wrong_row_though_no_block_enters():
    optimum = solve_on_patterns(PROBLEM, CHOSEN.patterns, CHOSEN.points, tol=1e-10)
    block, row, moved_w = next(held_on_a_row(optimum))
    tight, w = optimum.tight.copy(), optimum.w.copy()
    tight[block, row], w[block] = True, moved_w
    search = WorkingSetSearch(PROBLEM, CHOSEN.patterns, CHOSEN.points, 1e-10)
    held = search._solution(Face(optimum.program, w, optimum.intercept, tight))
    scores = search.evaluate(held)
    violating = np.flatnonzero(scores > PROBLEM.alpha * (1 + 1e-12))
    # only blocks that are present may violate for this test to say anything
    present = {(p.tobytes(), s) for p, s in zip(held.program.patterns, held.program.signs, strict=True)}
    scores[[b for b in violating if key(b) not in present]] = 0.0
    moved = search.cross_over(held, scores)
    assert moved is not None
    assert moved.objective < held.objective
    assert moved.objective == pytest.approx(optimum.objective, rel=1e-9)


def key(block):
    n_patterns = len(CHOSEN.patterns)
    return CHOSEN.patterns[block % n_patterns].tobytes(), 1.0 if block < n_patterns else -1.0


def test_nothing_is_released_at_the_optimum():
    optimum = solve_on_patterns(PROBLEM, CHOSEN.patterns, CHOSEN.points, tol=1e-10)
    search = WorkingSetSearch(PROBLEM, CHOSEN.patterns, CHOSEN.points, 1e-10)
    assert search.cross_over(optimum, search.evaluate(optimum)) is None
    face, converged = newton_on_face(Face(optimum.program, optimum.w, optimum.intercept, optimum.tight), crossing=False)
    assert converged
    assert face.objective() == pytest.approx(optimum.objective, rel=1e-12)

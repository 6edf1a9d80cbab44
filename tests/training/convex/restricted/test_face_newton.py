"""Stationary points: a kink is met exactly, however close to it the descent starts."""

from __future__ import annotations

import numpy as np
import pytest

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.restricted.blocks import BlockProgram
from rectifold.training.convex.restricted.face_newton import Face, newton_on_face

X = np.array([[3.0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 1]])
Y = np.array([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0])


def descended(problem, w, signs, intercept):
    program = BlockProgram(problem, w @ problem.design.T > 0, signs)
    face = Face(program, w, intercept, np.zeros_like(program.patterns))
    return newton_on_face(face, crossing=True, max_iter=100)


def theta_of(face):
    return face.program.theta(face.program.fit(face.w, face.intercept))


@pytest.mark.parametrize("distance", [1e-6, 1e-8, 1e-9, -1e-6, -1e-8, -1e-9])
@pytest.mark.parametrize("loss", ["logistic", "squared_hinge"])
def test_a_kink_is_met_from_any_distance(loss, distance):
    problem = ConvexReLUProblem(X, Y, 1e-3, loss)
    start = np.array([[1.0, 1.0, -1.2], [1.0, -1.0, -0.5], [-1.0, 1.0, -0.5]])
    optimum, converged = descended(problem, start, np.array([1.0, -1.0, -1.0]), 0.0)
    assert converged
    kinked = np.flatnonzero(optimum.tight.any(axis=1))
    assert len(kinked) > 0
    w = optimum.w.copy()
    normal = problem.design[np.flatnonzero(optimum.tight[kinked[0]])[0]]
    w[kinked[0]] += distance * normal / np.linalg.norm(normal) * np.linalg.norm(w[kinked[0]])
    again, _ = descended(problem, w, optimum.program.signs, optimum.intercept)
    largest = np.abs(theta_of(optimum)).max()
    np.testing.assert_allclose(theta_of(again), theta_of(optimum), atol=1e-9 * largest)


def test_rows_that_hold_every_direction_leave_nothing_to_solve():
    problem = ConvexReLUProblem(X, Y, 1e-3, hidden_bias=False, fit_intercept=False)
    w = np.array([[1.0, 1e-9]])
    program = BlockProgram(problem, w @ problem.design.T > 0, np.array([1.0]))
    held = np.zeros_like(program.patterns)
    crossing = [int(np.flatnonzero((problem.design == row).all(axis=1))[0]) for row in ([3.0, 0.0], [0.0, 1.0])]
    held[0, crossing] = True
    face = Face(program, w, 0.0, held)
    end, _ = newton_on_face(face, crossing=False)
    assert end.objective() <= face.objective()

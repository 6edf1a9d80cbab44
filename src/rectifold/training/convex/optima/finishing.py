"""Bringing a trained network to a stationary point, to rounding: convex solves on its own cells, from cell to cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.optima.kinks import clarke_test
from rectifold.training.convex.restricted.blocks import BlockProgram
from rectifold.training.convex.restricted.coordinates import Coordinates
from rectifold.training.convex.restricted.face_newton import Face, newton_on_face
from rectifold.training.convex.restricted.interior_point import solve_interior_point, starting_point
from rectifold.training.convex.restricted.patterns import PatternSet, move_off_kinks
from rectifold.training.convex.restricted.working_set import identify_face
from rectifold.training.convex.search.column_generation import merge_collinear

__all__ = ["finished"]

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

_NEGLIGIBLE = 1e-6
_GAP = 1e-9
_RISE = 1e-12
_SAME_NEURON = 1e-7
_VANISHED = 1e-12


def finished(problem: ConvexReLUProblem, network: ReLUNetwork, max_rounds: int = 200) -> ReLUNetwork:
    """Bring a trained one-output network to a stationary point, to rounding; its objective does not rise.

    A round solves the convex program on the neurons' own cells, each with its neuron's output sign (neurons that share
    both become one), and then moves neurons that fail the Clarke test on a wall of their cell into the cell beyond.

    Parameters
    ----------
    problem : ConvexReLUProblem
    network : ReLUNetwork
        For example trained in torch and taken over by `from_torch`.
    max_rounds : int
        Each costs an interior-point solve with one block a neuron.

    Returns
    -------
    ReLUNetwork
        Balanced; a member of its own `critical_set`.

    Raises
    ------
    ProblemError
        For several outputs, a network without an active neuron, or if no stationary point is reached.
    """
    if problem.n_outputs != 1:
        raise ProblemError(f"Finishing is for one output, this problem has {problem.n_outputs}.")
    patterns, signs = _blocks(problem, network)
    value = problem.objective(network)
    for _ in range(max_rounds):
        face = _solved(problem, patterns, signs)
        beyond = _beyond(problem, face)
        if beyond is None:
            return _network(problem, face)
        if face.objective() > value * (1 + _RISE):
            break
        value, (patterns, signs) = face.objective(), (beyond, face.program.signs)
    raise ProblemError(
        f"No stationary point was reached: the Clarke test still fails after {max_rounds} rounds, or where the "
        f"objective no longer falls ({value:.10g})."
    )


def _blocks(problem: ConvexReLUProblem, network: ReLUNetwork) -> tuple[Bits, Array]:
    directions, outputs, _ = problem.neurons(network)
    sizes = np.linalg.norm(directions, axis=1) * np.abs(outputs[:, 0])
    large = sizes > _NEGLIGIBLE * sizes.max(initial=0.0)
    points, kept = move_off_kinks(problem.design, directions[large])
    patterns, signs = points @ problem.design.T > 0, np.sign(outputs[large, 0])[kept]
    alive = patterns.any(axis=1)
    if not alive.any():
        raise ProblemError("The network has no neuron that is active on the data.")
    return patterns[alive], signs[alive]


def _solved(problem: ConvexReLUProblem, patterns: Bits, signs: Array) -> Face:
    """Return the optimum on some blocks, duplicates left out."""
    _, first = np.unique(np.column_stack([patterns, signs > 0]), axis=0, return_index=True)
    patterns, signs = patterns[first], signs[first]
    cells, which = np.unique(patterns, axis=0, return_inverse=True)
    points = PatternSet.from_columns(problem.design, cells.T).points[which.ravel()]
    program = BlockProgram(problem, patterns, signs)
    point, kept, _ = solve_interior_point(program, starting_point(program, points), gap_tol=_GAP)
    program = program.subset(kept)
    raw = Face(program, point.w, point.intercept, np.zeros_like(program.patterns))
    face = identify_face(program, point)
    if face is None or program.alpha * np.linalg.norm(face.w, axis=1).sum() <= _VANISHED * raw.objective():
        return raw.keep(np.zeros(len(raw.w), dtype=bool))
    polished, _ = newton_on_face(face, crossing=False)
    return polished if polished.objective() <= raw.objective() * (1 + _RISE) else raw


def _beyond(problem: ConvexReLUProblem, face: Face) -> Bits | None:
    """Return the patterns with those kinks crossed at which the Clarke test fails; None if it fails at none."""
    program = face.program
    theta = program.theta(program.fit(face.w, face.intercept))
    patterns, crossed = program.patterns.copy(), False
    for b, w in enumerate(face.w):
        test = clarke_test(problem.design, theta, problem.alpha, w / np.linalg.norm(w), program.signs[b], patterns[b])
        if not test.holds:
            over = test.multipliers > test.limits + 1e-9 * problem.alpha
            patterns[b, test.rows[over]] ^= True
            crossed |= bool(over.any())
    return patterns if crossed else None


def _network(problem: ConvexReLUProblem, face: Face) -> ReLUNetwork:
    """Return the balanced network, a neuron that sits on the wall between two of the cells listed once."""
    w, signs = merge_collinear(face.w, face.program.signs, _SAME_NEURON, Coordinates.of(problem.design))
    size = np.sqrt(np.linalg.norm(w, axis=1))[:, None]
    return problem.network(w / size, signs[:, None] * size, np.array([face.intercept]))

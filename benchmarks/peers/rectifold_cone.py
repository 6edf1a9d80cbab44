"""rectifold on the same program: data, patterns and tolerance in, network out; everything is timed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import rectifold as rf
from benchmarks.instances import FixedProgram
from benchmarks.true_gap import blocks_of_network


def prepare(program: FixedProgram, setting: dict[str, Any]) -> None:
    """Load the lazy modules by a solve of a tiny program."""
    X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    rf.solve_convex_relu(X, X[:, 0], alpha=0.1, patterns=X > 0.5, hidden_bias=False, fit_intercept=False, certify=False)


def solve(state: None, program: FixedProgram, setting: dict[str, Any]) -> tuple[Any, float | None]:
    """The result; ``finish`` (not timed) turns its network into blocks."""
    return rf.solve_convex_relu(
        program.X, program.y, alpha=program.alpha, patterns=program.patterns, hidden_bias=False, fit_intercept=False,
        certify=False,
        tol=setting["tol"],
    ), None  # fmt: skip


def finish(result: Any, program: FixedProgram) -> NDArray[np.float64]:
    """Block weights (2P, d): each neuron in the given cone that it violates least."""
    network = result.solution
    hidden, output = network.weights[0], network.weights[-1][0]
    return blocks_of_network(program.X, program.patterns, hidden, output)

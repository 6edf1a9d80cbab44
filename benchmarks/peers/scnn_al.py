"""pyscnn's augmented Lagrangian for the cone-constrained program.

scnn minimises ``1/(2 n C) ||.||^2 + lam' sum ||.||``: ``lam' = lam / n`` for one output. Its traps, avoided here:
``unitize_data=True`` (the default) rescales the columns and so changes the problem; float32 is the default; the
solver's ``delta`` argument is ignored (always 1000); ``max_primal_iters`` caps the total and is lifted, so that the
tolerance decides; its patterns may come back in another order and are matched by their gates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scnn.metrics import Metrics
from scnn.models import ConvexReLU
from scnn.optimize import optimize_model
from scnn.regularizers import NeuronGL1
from scnn.solvers import AL

from benchmarks.instances import FixedProgram


def prepare(program: FixedProgram, setting: dict[str, Any]) -> NDArray[np.float64]:
    """One gate vector for each pattern, and a short solve to warm the einsum paths."""
    gates = gates_of(program.X, program.patterns)
    _run(program, gates, 1e-1, 20)
    return gates


def solve(
    gates: NDArray[np.float64], program: FixedProgram, setting: dict[str, Any]
) -> tuple[NDArray[np.float64], float | None]:
    """Block weights (2P, d); scnn reports no time that could be read from a single number."""
    return _run(program, gates, setting["tol"], 10**7), None


def _run(program: FixedProgram, gates: NDArray[np.float64], tol: float, max_iters: int) -> NDArray[np.float64]:
    model = ConvexReLU(gates.copy(), c=1, bias=False)
    solver = AL(model, max_primal_iters=max_iters, max_dual_iters=10**6, tol=tol, constraint_tol=tol)
    model, _ = optimize_model(
        model, solver, Metrics(metric_freq=10**9), program.X, program.y, regularizer=NeuronGL1(program.alpha),
        return_convex=True, unitize_data=False, device="cpu", dtype="float64", seed=0,
    )  # fmt: skip
    return _in_our_order(program, model)


def _in_our_order(program: FixedProgram, model: ConvexReLU) -> NDArray[np.float64]:
    theirs = {(program.X @ g > 0).tobytes(): k for k, g in enumerate(np.asarray(model.G, dtype=float).T)}
    order = [theirs[column.tobytes()] for column in program.patterns.T]
    positive, negative = (np.asarray(p, dtype=float)[0] for p in model.parameters)
    return np.concatenate([positive[order], negative[order]])


def gates_of(X: NDArray[np.float64], patterns: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The sampled gate vectors behind the patterns, in the order of the patterns (scnn takes gates, not patterns)."""
    wanted = {column.tobytes(): i for i, column in enumerate(patterns.T)}
    gates = np.zeros((X.shape[1], patterns.shape[1]))
    drawn = np.random.default_rng(0).standard_normal((X.shape[1], 500 if patterns.shape[1] > 100 else 100))
    for g in drawn.T:
        position = wanted.get((X @ g > 0).tobytes())
        if position is not None:
            gates[:, position] = g
    return gates

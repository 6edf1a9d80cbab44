"""pyscnn's regularisation path on given patterns, in its own interpreter.

    python -m benchmarks.peers.scnn_path DATA.npz TOL OUT.npz

DATA holds X (a ones column where a bias is wanted: its path fails with its own), y, gates, patterns and the falling
alphas. OUT gets the CPU and wall seconds of the whole path and the block weights (k, 2P, d) in the order of the
patterns.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from scnn.metrics import Metrics
from scnn.models import ConvexReLU
from scnn.optimize import optimize_path
from scnn.regularizers import NeuronGL1
from scnn.solvers import AL


def run(data: str, tol: float, out: str) -> None:
    """Solve the path, warm-started as the library does it."""
    given = np.load(data)
    X, y, gates, patterns = given["X"], given["y"], given["gates"], given["patterns"]
    model = ConvexReLU(gates.copy(), c=1, bias=False)
    solver = AL(model, max_primal_iters=10**7, max_dual_iters=10**6, tol=tol, constraint_tol=tol)
    path = [NeuronGL1(float(alpha)) for alpha in given["alphas"]]
    cpu, wall = time.process_time(), time.perf_counter()
    models, _ = optimize_path(
        model, solver, path, Metrics(metric_freq=10**9), X, y, return_convex=True, unitize_data=False, device="cpu",
        dtype="float64", seed=0,
    )  # fmt: skip
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    np.savez(out, cpu=cpu, wall=wall, W=np.stack([in_our_order(X, patterns, m) for m in models]))


def in_our_order(X: np.ndarray, patterns: np.ndarray, model: ConvexReLU) -> np.ndarray:
    """Block weights (2P, d): its gates may come back in another order."""
    theirs = {(X @ g > 0).tobytes(): k for k, g in enumerate(np.asarray(model.G, dtype=float).T)}
    order = [theirs[column.tobytes()] for column in patterns.T]
    positive, negative = (np.asarray(p, dtype=float)[0] for p in model.parameters)
    return np.concatenate([positive[order], negative[order]])


if __name__ == "__main__":
    run(sys.argv[1], float(sys.argv[2]), sys.argv[3])

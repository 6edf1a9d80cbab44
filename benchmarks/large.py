"""Large data: n = 50 000, d = 20 (the synth recipe) and MNIST 3 against 8, 0.01 and 0.001 of alpha_max, 10 minutes.

    RECTIFOLD_DATA=... OMP_NUM_THREADS=2 python -m benchmarks.large [--data synth mnist] [--solvers rectifold adam scnn]

Each solver runs in its own process, so that the peak resident set is its own. Objective: the library's defaults
(squared loss, penalised hidden bias, free output intercept), F = 1/(2n) ||f - y||^2 + alpha sum ||w_j|| |a_j|,
evaluated on the network returned. Adam: width 200, rates 1e-2 and 1e-3, 1024 rows a step, which beat full gradients,
each run given all the wall time rectifold took. pyscnn: 100 gates, its network after that wall time, the targets
centred (it has no intercept), the offset refitted. rectifold: set RECTIFOLD_JOBS to pass ``n_jobs``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.instances import RESULTS, synth
from benchmarks.true_gap import network_objective

Array = NDArray[np.float64]
ROOT = Path(__file__).parents[1]


def load(name: str) -> tuple[Array, Array]:
    """Features without the ones column and targets."""
    if name == "synth":
        return synth(n=50_000)
    folder = os.environ.get("RECTIFOLD_DATA")
    if not folder:
        raise SystemExit("MNIST is read from $RECTIFOLD_DATA/mnist/mnist.npz; the variable is not set")
    with np.load(Path(folder) / "mnist" / "mnist.npz") as file:
        images, digits = file["x_train"], file["y_train"]
    kept = np.isin(digits, (3, 8))
    return images[kept].reshape(int(kept.sum()), -1) / 255.0, np.where(digits[kept] == 3, 1.0, -1.0)


def objective(X: Array, y: Array, alpha: float, hidden: Array, output: Array) -> float:
    """F of a network on [X, 1] at its best output offset."""
    Z = np.c_[X, np.ones(len(X))]
    offset = float((y - np.maximum(Z @ hidden.T, 0) @ output).mean())
    return network_objective(Z, y, alpha * len(y), hidden, output, offset) / len(y)


def solve_rectifold(X: Array, y: Array, alpha: float, seconds: float) -> dict[str, Any]:
    """The regressor at its defaults with a time limit."""
    import rectifold as rf

    jobs = int(os.environ.get("RECTIFOLD_JOBS", "0")) or None
    est = rf.ConvexReLURegressor(alpha=alpha, time_limit=seconds, n_jobs=jobs).fit(X, y)
    net = est.network_
    value = objective(X, y, alpha, np.c_[net.weights[0], net.biases[0]], net.weights[-1][0])
    return {"objective": value, "reported": est.objective_, "gap": est.gap_, "priced_gap": est.priced_gap_,
            "proof": str(est.proof_), "neurons": est.n_neurons_}  # fmt: skip


def solve_adam(X: Array, y: Array, alpha: float, seconds: float) -> dict[str, Any]:
    """Width 200; two rates."""
    import torch

    from benchmarks.peers.torch_adam import train

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    Z = np.c_[X, np.ones(len(X))]
    values = {}
    for lr in (1e-2, 1e-3):
        run = train(Z, y, alpha * len(y), width=200, lr=lr, seconds=seconds, intercept=True, batch=1024,
                    wall_clock=True, dtype="float32")  # fmt: skip
        values[f"lr {lr:g}"] = objective(X, y, alpha, run.hidden, run.output)
    return {"objective": min(values.values()), "runs": values}


def solve_scnn(X: Array, y: Array, alpha: float, seconds: float) -> dict[str, Any]:
    """pyscnn's augmented Lagrangian on 100 gates, mapped to its network; iterations set from the measured rate."""
    from scnn.metrics import Metrics
    from scnn.models import ConvexReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import AL

    Z = np.c_[X, np.ones(len(X))]
    gates = np.random.default_rng(0).standard_normal((Z.shape[1], 100))

    def run(iterations: int) -> tuple[float, float]:
        model = ConvexReLU(gates.copy(), c=1, bias=False)
        start = time.perf_counter()
        network, _ = optimize_model(
            model, AL(model, max_primal_iters=iterations, max_dual_iters=10**6, tol=1e-12, constraint_tol=1e-12),
            Metrics(metric_freq=10**9), Z, y - y.mean(), regularizer=NeuronGL1(alpha), return_convex=False,
            unitize_data=False, dtype="float32",
        )  # fmt: skip
        wall = time.perf_counter() - start
        hidden, output = (np.asarray(p, dtype=float) for p in network.parameters)
        return objective(X, y, alpha, hidden, output[0]), wall

    first, second = run(3)[1], run(13)[1]
    per_iteration = max((second - first) / 10, 1e-4)
    iterations = max(10, int((seconds - first) / per_iteration))
    value, wall = run(iterations)
    return {"objective": value, "iterations": iterations, "solve_wall": wall}


SOLVERS = {"rectifold": solve_rectifold, "adam": solve_adam, "scnn": solve_scnn}


def child(solver: str, name: str, alpha: float, seconds: float, out: Path) -> None:
    """One solver in this process: objective, wall, CPU, peak resident set in GB (data included)."""
    X, y = load(name)
    wall, cpu = time.perf_counter(), time.process_time()
    record = SOLVERS[solver](X, y, alpha, seconds)
    record |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu,
               "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}  # fmt: skip
    out.write_text(json.dumps(record))


def spawn(solver: str, name: str, alpha: float, seconds: float) -> dict[str, Any]:
    """Run ``child`` under the interpreter that has the solver."""
    python = os.environ.get("RECTIFOLD_PEERS_PYTHON", sys.executable) if solver == "scnn" else sys.executable
    out = RESULTS / f"large_{solver}.tmp"
    out.unlink(missing_ok=True)
    command = [python, "-m", "benchmarks.large", "--child", solver, name, repr(alpha), repr(seconds), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not out.exists():
        return {"failed": (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]}
    record: dict[str, Any] = json.loads(out.read_text())
    out.unlink()
    return record


def main() -> None:
    """Measure and print one JSON line a run."""
    if sys.argv[1:2] == ["--child"]:
        solver, name, alpha, seconds, out = sys.argv[2:7]
        child(solver, name, float(alpha), float(seconds), Path(out))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=["synth", "mnist"], choices=["synth", "mnist"])
    parser.add_argument("--fractions", nargs="*", type=float, default=[0.01, 0.001])
    parser.add_argument("--solvers", nargs="*", default=list(SOLVERS), choices=list(SOLVERS))
    parser.add_argument("--time-limit", type=float, default=600.0)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    import rectifold as rf

    path = RESULTS / "large.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in arguments.data:
        X, y = load(name)
        largest = float(rf.alpha_max(X, y))
        for fraction in arguments.fractions:
            entry = results.setdefault(f"{name} {fraction:g}", {})
            for solver in arguments.solvers:
                seconds = (
                    arguments.time_limit
                    if solver == "rectifold"
                    else entry.get("rectifold", {}).get("wall", arguments.time_limit)
                )
                entry[solver] = spawn(solver, name, fraction * largest, seconds)
                print(name, fraction, solver, json.dumps(entry[solver]), flush=True)
                path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

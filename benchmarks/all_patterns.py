"""The real problem: train over all patterns. Value at time, beside local methods at equal time on the same objective.

    OMP_NUM_THREADS=1 python -m benchmarks.all_patterns [--instances wine-0.1 ...] [--seed 0] [--no-peers] [--complete]

``P = n F`` with ``fit_intercept=False, hidden_bias=False`` on the matrix as given, lambda as printed. The process is
warm: a tiny problem is solved first. A run stops once target and aim are met, or (``--complete``) at its own end.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rectifold as rf
from benchmarks.instances import PUBLISHED, RESULTS, data
from benchmarks.true_gap import network_objective

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """Bars of the real problem: objective to reach, CPU seconds, and a lower value to aim for."""

    value: float
    seconds: float
    aim: float | None = None


TARGETS = {
    "wine-0.1": Target(22.79277, 0.3),
    "diabetes-0.1": Target(120.0030, 3.0),
    "diabetes-0.01": Target(67.44, 20.0, aim=67.43),
    "wine-0.01": Target(5.8983, 10.0),
    "breast-0.1": Target(79.85910, 1.0),
    "breast-0.01": Target(29.145, 10.0),
    "synth-0.1": Target(111.235, 30.0),
    "digits-0.1": Target(211.5211, 30.0),
}


@dataclass
class ValueAtTime:
    """A monitor that keeps (CPU seconds, objective) and may stop at a value."""

    n: int
    stop_at: float
    start: float = field(default_factory=time.process_time)
    points: list[tuple[float, float]] = field(default_factory=list)

    def event(self, stage: str, value: float, bound: float, elapsed: float, **counts: float) -> None:
        """Keep the improvement."""
        if math.isfinite(value) and (not self.points or value * self.n < self.points[-1][1]):
            self.points.append((time.process_time() - self.start, value * self.n))

    def should_stop(self) -> bool:
        """True once the value is reached."""
        return bool(self.points) and self.points[-1][1] <= self.stop_at

    def seconds_to(self, value: float) -> float | None:
        """CPU seconds to the first incumbent at or below the value."""
        return next((t for t, v in self.points if v <= value), None)


def problem(name: str) -> tuple[Array, Array, float]:
    """Matrix, targets, lambda."""
    kind, fraction = name.rsplit("-", 1)
    return *data(kind), PUBLISHED[kind].optima[fraction][0]


def warm_up() -> None:
    """Load every lazy module."""
    X = np.random.default_rng(0).standard_normal((20, 3))
    rf.solve_convex_relu(X, np.abs(X[:, 0]), alpha=0.01, hidden_bias=False, fit_intercept=False, random_state=0)


def ours(name: str, seed: int, time_limit: float, complete: bool) -> dict[str, Any]:
    """One run: objective evaluated on the returned network, CPU and wall seconds, seconds to target and aim."""
    X, y, lam = problem(name)
    target = TARGETS[name]
    monitor = ValueAtTime(len(y), -math.inf if complete else (target.aim or target.value))
    cpu, wall = time.process_time(), time.perf_counter()
    result = rf.solve_convex_relu(X, y, alpha=lam / len(y), hidden_bias=False, fit_intercept=False, certify=False,
                                  random_state=seed, callback=monitor, time_limit=time_limit)  # fmt: skip
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    network = result.solution
    value = network_objective(X, y, lam, network.weights[0], network.weights[-1][0])
    reached = monitor.seconds_to(target.value)
    return {
        "objective": value, "cpu": cpu, "wall": wall, "neurons": int(network.n_neurons), "status": str(result.status),
        "proof": str(result.proof), "bound": result.bound * len(y), "target": target.value, "bar": target.seconds,
        "met": value <= target.value, "cpu_to_target": cpu if reached is None and value <= target.value else reached,
        "cpu_to_aim": monitor.seconds_to(target.aim) if target.aim else None, "trace": monitor.points,
    }  # fmt: skip


def peers(name: str, seconds: float) -> dict[str, Any]:
    """Adam (two rates, full budget each) and L-BFGS (best of three, full budget each) at our CPU time; width 100."""
    from benchmarks.peers import lbfgs, torch_adam

    X, y, lam = problem(name)
    adam = {lr: torch_adam.train(X, y, lam, width=100, lr=lr, seconds=seconds).objective for lr in (1e-2, 1e-3)}
    value, cpu = lbfgs.best_of(X, y, lam, width=100, seconds=seconds)
    return {"adam": min(adam.values()), "adam_by_rate": adam, "lbfgs": value, "lbfgs_cpu": cpu}


def predictions(name: str, seed: int, time_limit: float) -> dict[str, Any]:
    """Held-out score on a fifth of the rows, ours and scikit-learn's MLP with the same per-sample penalty."""
    from benchmarks.peers import sklearn_mlp

    X, y, lam = problem(name)
    order = np.random.default_rng(seed).permutation(len(y))
    test, train = order[: len(y) // 5], order[len(y) // 5 :]
    alpha = lam / len(y)
    start = time.process_time()
    result = rf.solve_convex_relu(X[train], y[train], alpha=alpha, hidden_bias=False, fit_intercept=False,
                                  certify=False, random_state=seed, time_limit=time_limit)  # fmt: skip
    seconds = time.process_time() - start
    out = {"rectifold": sklearn_mlp.score(result.solution(X[test])[:, 0], y[test]), "rectifold_cpu": seconds}
    for solver in ("adam", "lbfgs"):
        model, seconds = sklearn_mlp.fit(X[train], y[train], alpha * len(train), solver=solver)
        out |= {f"mlp_{solver}": sklearn_mlp.score(model.predict(X[test]), y[test]), f"mlp_{solver}_cpu": seconds}
    return out


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| problem | target | ours | met | CPU s to target (bar) | CPU s in all | neurons | Adam, equal time "
             "| L-BFGS best of 3 | held-out ours / MLP adam / MLP lbfgs |", "|---" * 10 + "|"]  # fmt: skip
    for name, r in results.items():
        to_target = "-" if r["cpu_to_target"] is None else f"{r['cpu_to_target']:.2f}"
        adam, lbfgs = (f"{r['peers'][k]:.7g}" if "peers" in r else "-" for k in ("adam", "lbfgs"))
        held = r.get("prediction")
        scores = f"{held['rectifold']:.3f} / {held['mlp_adam']:.3f} / {held['mlp_lbfgs']:.3f}" if held else "-"
        met = "yes" if r["met"] else "NO"
        lines.append(f"| {name} | {r['target']} | {r['objective']:.8g} | {met} | {to_target} ({r['bar']}) "
                     f"| {r['cpu']:.2f} | {r['neurons']} | {adam} | {lbfgs} | {scores} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-limit", type=float, default=120.0)
    parser.add_argument("--complete", action="store_true", help="do not stop at the target")
    parser.add_argument("--no-peers", action="store_true")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    warm_up()
    results: dict[str, dict[str, Any]] = {}
    for name in arguments.instances:
        results[name] = ours(name, arguments.seed, arguments.time_limit, arguments.complete)
        if not arguments.no_peers:
            results[name]["peers"] = peers(name, results[name]["cpu"])
            results[name]["prediction"] = predictions(name, arguments.seed, arguments.time_limit)
        shown = {k: v for k, v in results[name].items() if k != "trace"}
        print(name, json.dumps(shown), flush=True)
        (RESULTS / "all_patterns.json").write_text(json.dumps(results, indent=1))
    (RESULTS / "all_patterns.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()

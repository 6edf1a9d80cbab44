"""Local minimisation of random He networks over [-1, 1]^d: pivots a second, and time to a certified local minimum.

    OMP_NUM_THREADS=1 python -m benchmarks.minimize [--sections speed polish] [--runs 20] [--no-peers]

``speed``: walks from uniform starts; then `minimize` at its defaults (20 starts, each after 50 gradient steps), as the
excess of its value over the best of these walks, and its time. Beside them a walk with one linear program a region from
the first of the same starts, and, where PyTorch is installed, Adam and projected gradients on all starts at once with
the same CPU time as all walks together (at least 0.5 s). ``polish``: whether a walk from the best point of projected
gradients (256 starts, 300 steps) ends as low as the best of 200 walks, in 18 networks. CPU seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from importlib.util import find_spec
from typing import Any

import numpy as np

import rectifold as rf
from benchmarks.instances import RESULTS
from benchmarks.peers import region_lps
from rectifold._engine.budget import Budget
from rectifold.programs.multistart import projected_gradient
from rectifold.programs.objective import Objective

SHAPES = [
    (5, 50), (20, 50), (100, 50), (5, 50, 50), (20, 50, 50), (100, 50, 50), (5, 200, 200), (20, 200, 200),
    (100, 200, 200), (5, 500, 500, 500), (20, 500, 500, 500), (100, 500, 500, 500),
]  # fmt: skip
POLISHED = [(5, 50), (10, 50), (20, 50), (5, 50, 50), (10, 50, 50), (20, 50, 50)]


def he_network(dims: tuple[int, ...], seed: int) -> rf.ReLUNetwork:
    """Random He weights, biases of size 0.5."""
    rng = np.random.default_rng(seed)
    weights, biases = [], []
    for inputs, width in itertools.pairwise(dims):
        weights.append(rng.standard_normal((width, inputs)) * np.sqrt(2.0 / inputs))
        biases.append(0.5 * rng.standard_normal(width))
    output = rng.standard_normal(dims[-1]) / np.sqrt(dims[-1])
    return rf.ReLUNetwork([*weights, output[None]], [*biases, np.zeros(1)])


def speed(dims: tuple[int, ...], runs: int, peer_seconds: float, peers: bool) -> dict[str, Any]:
    """Print one row of the table, and return it."""
    net, box = he_network(dims, 0), rf.Box(np.full(dims[0], -1.0), 1.0)
    starts = np.random.default_rng(0).uniform(-1.0, 1.0, (runs, dims[0]))
    seconds, pivots, results = [], [], []
    for x in starts:
        begin = time.process_time()
        result = rf.minimize(net, box, x0=x)
        seconds.append(time.process_time() - begin)
        pivots.append(result.stats["pivots"])
        results.append(result)
    confirmed = sum(bool(rf.verify(r)) for r in results if r.certificate is not None)
    best = min(r.value for r in results)
    record: dict[str, Any] = {
        "network": "-".join(map(str, dims)),
        "pivots": float(np.median(pivots)),
        "pivots_per_second": sum(pivots) / sum(seconds),
        "ms_per_walk": 1e3 * float(np.median(seconds)),
        "verified": confirmed,
        "runs": runs,
        "best": best,
    }
    row = [
        f"{record['network']:<17}",
        f"{record['pivots']:7.0f}",
        f"{record['pivots_per_second']:10.0f}",
        f"{record['ms_per_walk']:9.2f}",
        f"{confirmed:4d}/{runs}",
        f"{best:13.8f}",
    ]
    begin = time.process_time()
    record["default_excess"] = rf.minimize(net, box).value - best
    record["default_ms"] = 1e3 * (time.process_time() - begin)
    row.append(f"{record['default_excess']:+9.1e} {record['default_ms']:6.0f} ms")
    if peers:
        begin = time.process_time()
        value, count, done = region_lps.walk(net, starts[0], peer_seconds)
        spent = time.process_time() - begin
        row.append(
            f"{value - results[0].value:+10.1e} {1e3 * spent:8.0f} ms {count:5d} LPs{'' if done else ' (stopped)'}"
        )
        record["lp_walk"] = {"excess": value - results[0].value, "ms": 1e3 * spent, "programs": count, "done": done}
        if find_spec("torch") is not None:
            from benchmarks.peers import torch_inputs

            for method in ("adam", "pgd"):
                lowest, _ = torch_inputs.descend(net, starts, method, max(sum(seconds), 0.5))
                row.append(f"{method} {lowest - best:+.1e}")
                record[method] = lowest - best
    print("  ".join(row), flush=True)
    return record


def polished(dims: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Print, and return, where projected gradients end and where a walk from there does."""
    net, box = he_network(dims, seed), rf.Box(np.full(dims[0], -1.0), 1.0)
    best = rf.minimize(net, box, n_starts=200, n_gradient_steps=0).value
    begin = time.process_time()
    starts = np.random.default_rng(1000 + seed).uniform(-1.0, 1.0, (256, dims[0]))
    points, values = projected_gradient(Objective.checked(net, box, 0, 1.0), starts, 300, Budget())
    gradients = time.process_time() - begin
    begin = time.process_time()
    end = rf.polish(net, points[values.argmin()], box)
    record = {
        "network": "-".join(map(str, dims)),
        "seed": seed,
        "best_of_200_walks": best,
        "gradients_excess": float(values.min()) - best,
        "polished_excess": end.value - best,
        "moves": len(end.minimum.values) - 1,
        "verified": bool(rf.verify(end)),
        "ms_gradients": 1e3 * gradients,
        "ms_polish": 1e3 * (time.process_time() - begin),
    }
    print("  ".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in record.values()), flush=True)
    return record


def main() -> None:
    """Run the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=["speed", "polish"], default=["speed", "polish"])
    parser.add_argument("--networks", nargs="+", help="such as 5-50-50; default: all of the section")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--peer-seconds", type=float, default=2.0)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    rf.minimize(he_network((2, 3), 0), rf.Box([-1.0, -1.0], 1.0))  # warm
    asked = None if options.networks is None else {tuple(map(int, n.split("-"))) for n in options.networks}
    RESULTS.mkdir(exist_ok=True)
    for section, shapes in (("speed", SHAPES), ("polish", POLISHED)):
        if section not in options.sections:
            continue
        chosen = shapes if asked is None else [dims for dims in shapes if dims in asked]
        if section == "speed":
            print("network  pivots  pivots/s  ms/walk  verified  best  default - best  LP walk - ours  torch - best")
            rows = [speed(dims, options.runs, options.peer_seconds, not options.no_peers) for dims in chosen]
        else:
            print("network  seed  best of 200 walks  gradients above it  polished above it  moves  verified  ms, ms")
            rows = [polished(dims, seed) for dims in chosen for seed in range(3)]
        (RESULTS / f"minimize_{section}.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

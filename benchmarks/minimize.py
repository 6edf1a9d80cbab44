"""Local minimisation of random He networks over [-1, 1]^d: pivots a second, and time to a certified local minimum.

    OMP_NUM_THREADS=1 python -m benchmarks.minimize [--runs 20] [--peer-seconds 2] [--no-peers]

Beside it a walk with one linear program a region from the first of the same starts, and, where PyTorch is installed,
Adam and projected gradients on all starts at once with the same CPU time as all walks together (at least 0.5 s).
"""

from __future__ import annotations

import argparse
import itertools
import time
from importlib.util import find_spec

import numpy as np

import rectifold as rf
from benchmarks.peers import region_lps

SHAPES = [
    (5, 50), (20, 50), (100, 50), (5, 50, 50), (20, 50, 50), (20, 200, 200), (100, 200, 200), (5, 500, 500, 500),
    (20, 500, 500, 500), (100, 500, 500, 500),
]  # fmt: skip


def he_network(dims: tuple[int, ...], seed: int) -> rf.ReLUNetwork:
    """Random He weights, biases of size 0.5."""
    rng = np.random.default_rng(seed)
    weights, biases = [], []
    for inputs, width in itertools.pairwise(dims):
        weights.append(rng.standard_normal((width, inputs)) * np.sqrt(2.0 / inputs))
        biases.append(0.5 * rng.standard_normal(width))
    output = rng.standard_normal(dims[-1]) / np.sqrt(dims[-1])
    return rf.ReLUNetwork([*weights, output[None]], [*biases, np.zeros(1)])


def measure(dims: tuple[int, ...], runs: int, peer_seconds: float, peers: bool) -> None:
    """Print one row of the table."""
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
    row = [
        f"{'-'.join(map(str, dims)):<17}",
        f"{np.median(pivots):7.0f}",
        f"{sum(pivots) / sum(seconds):10.0f}",
        f"{1e3 * np.median(seconds):9.2f}",
        f"{confirmed:4d}/{runs}",
        f"{best:13.8f}",
    ]
    if peers:
        begin = time.process_time()
        value, count, done = region_lps.walk(net, starts[0], peer_seconds)
        spent = time.process_time() - begin
        row.append(
            f"{value - results[0].value:+10.1e} {1e3 * spent:8.0f} ms {count:5d} LPs{'' if done else ' (stopped)'}"
        )
        if find_spec("torch") is not None:
            from benchmarks.peers import torch_inputs

            for method in ("adam", "pgd"):
                lowest, _ = torch_inputs.descend(net, starts, method, max(sum(seconds), 0.5))
                row.append(f"{method} {lowest - best:+.1e}")
    print("  ".join(row), flush=True)


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--peer-seconds", type=float, default=2.0)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    rf.minimize(he_network((2, 3), 0), rf.Box([-1.0, -1.0], 1.0))  # warm
    print("network            pivots   pivots/s   ms/walk   verified     best     LP walk - ours, torch - best")
    for dims in SHAPES:
        measure(dims, options.runs, options.peer_seconds, not options.no_peers)


if __name__ == "__main__":
    main()

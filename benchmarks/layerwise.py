"""L1 training of the first layer: certified local minima beside Adam with the same and five times the CPU time.

    OMP_NUM_THREADS=1 python -m benchmarks.layerwise [--repeats 5] [--seeds 8] [--lr 1e-2] [--no-adam]

CPU seconds of one thread, median of the repeats and random states: of `FirstLayerL1.fit` from arrays to certificate,
and of the shifted walk alone. The walk is what an earlier implementation's figures speak of (numba, compilation
excluded, one shift, no certificate; measured elsewhere), and what the ratio is taken of. The ends for several random
states show how far local minima differ. Adam, where PyTorch is installed, is full-batch with a decayed rate, from the
same start.
"""

from __future__ import annotations

import argparse
import statistics
import time
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

import rectifold as rf
from rectifold._kernels.vertex_walk import LayerVertexWalk

Array = NDArray[np.float64]

# samples, inputs, units, whether a teacher made the targets; the earlier implementation's loss and CPU seconds
TABLE = [
    (200, 4, 5, False, 258.832, 0.003),
    (200, 4, 5, True, 93.342, 0.005),
    (500, 2, 5, True, 293.462, 0.01),
    (1000, 5, 10, False, 1389.667, 0.15),
    (1000, 5, 10, True, 458.776, 0.29),
    (2000, 10, 10, True, 811.454, 2.0),
]


def recipe(n: int, d: int, h: int, teacher: bool) -> tuple[rf.ReLUNetwork, Array, Array]:
    """A random network, and data of five neurons with t(2) noise or of none."""
    rng = np.random.default_rng(1)
    W, b = rng.standard_normal((h, d)) / np.sqrt(d), 0.5 * rng.standard_normal(h)
    w = rng.standard_normal(h) / np.sqrt(h)
    X = rng.standard_normal((n, d))
    net = rf.ReLUNetwork([W, w[None]], [b, np.zeros(1)])
    if not teacher:
        return net, X, rng.uniform(-3.0, 3.0, n)
    V = rng.standard_normal((5, d))
    return net, X, np.maximum(X @ V.T, 0.0).sum(axis=1) - 2.0 + 0.3 * rng.standard_t(2, n)


def timed(net: rf.ReLUNetwork, X: Array, y: Array, seed: int, repeats: int) -> tuple[rf.FirstLayerL1, float]:
    """The fit, and the median of its CPU seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        fit = rf.FirstLayerL1(net, random_state=seed).fit(X, y)
        seconds.append(time.process_time() - start)
    return fit, statistics.median(seconds)


def walk_alone(net: rf.ReLUNetwork, X: Array, y: Array, seed: int) -> float:
    """CPU seconds from the start to the vertex of the shifted loss, once its arrays are there."""
    U = np.column_stack([X, np.ones(len(X))])
    theta = np.column_stack([net.weights[0], net.biases[0]])
    size = 1e-7 * np.linalg.norm(theta, axis=1).max() * np.linalg.norm(U, axis=1)
    shifts = size * np.random.default_rng(seed).uniform(-1.0, 1.0, (len(theta), len(X)))
    parts = (np.zeros(len(theta)), np.ones(len(theta)), net.weights[1][0].copy(), 0.0, np.arange(len(X) + 1))
    walk = LayerVertexWalk(U, shifts, [], [], *parts, y, np.ones(len(y)))
    start = time.process_time()
    walk.start(theta.ravel())
    walk.run(1 << 62, 60.0)
    return time.process_time() - start


def measure(row: tuple[int, int, int, bool, float, float], repeats: int, seeds: int, lr: float, adam: bool) -> str:
    """One row of the table."""
    n, d, h, teacher, other, other_seconds = row
    net, X, y = recipe(n, d, h, teacher)
    fits, seconds = zip(*(timed(net, X, y, seed, repeats) for seed in range(seeds)), strict=True)
    losses = [fit.loss_ for fit in fits]
    verified = sum(bool(fit.certificate_ is not None and rf.verify(fit.result_)) for fit in fits)
    cpu, first = statistics.median(seconds), fits[0]
    walk = statistics.median(walk_alone(net, X, y, seed) for seed in range(seeds) for _ in range(repeats))
    cells = [
        f"{n},{d},{h} {'teacher' if teacher else 'random y'}",
        f"{fits[0].result_.stats['weights']}",
        f"{first.losses_[0]:.2f}",
        f"{first.loss_:.3f}",
        f"{min(losses):.3f} / {statistics.median(losses):.3f} / {max(losses):.3f}",
        f"{verified}/{seeds}",
        f"{first.result_.stats['pivots']} / {first.result_.stats['crossings']}",
        f"{cpu:.4f}",
        f"{walk:.4f}",
        f"{other:.3f}",
        f"{other_seconds:g} ({walk / other_seconds:.2f})",
    ]
    if adam:
        from benchmarks.peers.torch_layer import train

        for factor in (1.0, 5.0):
            loss, steps = train(net, X, y, factor * cpu, lr)
            cells.append(f"{loss:.2f} ({steps})")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--no-adam", action="store_true")
    options = parser.parse_args()
    adam = not options.no_adam and find_spec("torch") is not None
    titles = ["samples, inputs, units", "weights", "start", "end, seed 0", f"least / median / most of {options.seeds}"]
    titles += ["verified", "pivots / crossings", "fit, CPU s", "walk, CPU s", "earlier end", "earlier CPU s (ratio)"]
    if adam:
        titles += ["Adam, same CPU (steps)", "Adam, 5 times"]
        net, X, y = recipe(20, 2, 2, True)
        from benchmarks.peers.torch_layer import train

        train(net, X, y, 0.05)  # warm
    timed(*recipe(20, 2, 2, True), 0, 2)
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    for row in TABLE:
        print(measure(row, options.repeats, options.seeds, options.lr, adam), flush=True)


if __name__ == "__main__":
    main()

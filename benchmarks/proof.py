"""How small a gap is proven, and what it costs: the instances of the proof's prototype, beside its figures.

    RECTIFOLD_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.proof [--instances bc] [--fractions 0.1]
        [--seconds 1 10 30] [--threads 2] [--grades interval]

P = n F with ``fit_intercept=False`` and lambda a fraction of lambda_max over all patterns (printed figures below). The
network is trained once; then it is proven with one budget after the other, each worth so many seconds of CPU time a
thread, until 1 % is proven. Training is excluded. Budgets are samples, at the rate of the budget before; one that turns
out to be worth too little or too much is tried again at its own rate, up to four times. The last certificate is stored
as its stream, and verified at the grades asked for.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

import rectifold as rf
from benchmarks.instances import RESULTS, uci_table

Array = NDArray[np.float64]

LAMBDA_MAX = {
    "diab2": 237.29399, "diab3": 265.02244, "diab4": 268.49177, "diab5": 269.21959, "diab6": 282.30510,
    "diab7": 297.95988, "diab8": 315.23829, "diab9": 318.51301, "diab10": 318.77146, "wine4": 119.98882,
    "wine6": 122.76321, "wine8": 122.97356, "wine13": 158.20394, "airfoil": 698.04569, "concrete": 583.11863,
    "energy": 715.85383, "plant4": 256.33391, "plant6": 300.93879, "plant8": 265.71158, "bc": 1069.35318,
}  # fmt: skip
NAN = float("nan")
PROTOTYPE = {  # per cent after 1, 10 and 30 CPU s; nan: nothing
    ("diab2", 0.3): (0.13, 0.13, 0.13), ("diab2", 0.1): (0.19, 0.19, 0.19), ("diab2", 0.03): (0.31, 0.31, 0.31),
    ("diab3", 0.3): (0.14, 0.14, 0.14), ("diab3", 0.1): (0.23, 0.23, 0.23), ("diab3", 0.03): (0.22, 0.22, 0.22),
    ("diab4", 0.3): (0.15, 0.15, 0.15), ("diab4", 0.1): (0.15, 0.15, 0.15), ("diab4", 0.03): (0.35, 0.35, 0.35),
    ("diab5", 0.3): (0.13, 0.13, 0.13), ("diab5", 0.1): (0.17, 0.17, 0.17), ("diab5", 0.03): (6.86, 0.30, 0.19),
    ("diab6", 0.3): (0.14, 0.14, 0.14), ("diab6", 0.1): (0.54, 0.14, 0.14), ("diab6", 0.03): (13.03, 2.76, 0.74),
    ("diab7", 0.3): (0.14, 0.14, 0.14), ("diab7", 0.1): (1.55, 0.30, 0.30), ("diab7", 0.03): (46.42, 13.15, 7.00),
    ("diab8", 0.3): (0.15, 0.15, 0.15), ("diab8", 0.1): (8.78, 1.70, 0.85), ("diab8", 0.03): (46.68, 46.68, 27.55),
    ("diab9", 0.3): (1.06, 0.16, 0.16), ("diab9", 0.1): (29.93, 8.86, 4.00), ("diab9", 0.03): (NAN, NAN, 47.05),
    ("diab10", 0.3): (3.24, 1.06, 0.44), ("diab10", 0.1): (30.18, 30.18, 15.76), ("diab10", 0.03): (NAN, NAN, NAN),
    ("wine4", 0.3): (0.22, 0.22, 0.22), ("wine4", 0.1): (0.23, 0.23, 0.23), ("wine4", 0.03): (0.41, 0.41, 0.41),
    ("wine6", 0.3): (0.22, 0.22, 0.22), ("wine6", 0.1): (1.79, 1.79, 1.79), ("wine6", 0.03): (18.60, 4.21, 2.50),
    ("wine8", 0.3): (0.76, 0.26, 0.26), ("wine8", 0.1): (9.47, 3.49, 1.37), ("wine8", 0.03): (55.66, 37.77, 37.77),
    ("wine13", 0.3): (1.15, 0.53, 0.53), ("wine13", 0.1): (8.26, 3.84, 3.84), ("wine13", 0.03): (55.54, 37.59, 37.59),
    ("airfoil", 0.3): (0.22, 0.22, 0.22), ("airfoil", 0.1): (1.18, 0.34, 0.34),
    ("airfoil", 0.03): (17.63, 2.31, 1.17), ("concrete", 0.3): (2.06, 0.20, 0.20),
    ("concrete", 0.1): (20.77, 8.84, 6.66), ("concrete", 0.03): (54.72, 54.72, 36.63),
    ("energy", 0.3): (0.32, 0.32, 0.32), ("energy", 0.1): (0.32, 0.32, 0.32), ("energy", 0.03): (2.69, 1.91, 1.91),
    ("plant4", 0.3): (0.24, 0.24, 0.24), ("plant4", 0.1): (0.45, 0.45, 0.45), ("plant4", 0.03): (0.90, 0.90, 0.90),
    ("plant6", 0.3): (0.37, 0.37, 0.37), ("plant6", 0.1): (0.82, 0.82, 0.82), ("plant6", 0.03): (5.82, 0.55, 0.55),
    ("plant8", 0.3): (9.75, 2.58, 1.35), ("plant8", 0.1): (41.27, 16.91, 9.14),
    ("plant8", 0.03): (61.63, 44.35, 28.35), ("bc", 0.3): (1.18, 0.71, 0.47), ("bc", 0.1): (3.30, 2.36, 2.36),
}  # fmt: skip


def load(name: str) -> tuple[Array, Array]:
    """Standardised features (population deviation) and the targets of an instance."""
    standard_targets = True
    if name.startswith("diab"):
        X, y = datasets.load_diabetes(return_X_y=True)
        X = X[:, [2, 8, 3, 4, 5, 6, 7, 9, 0, 1][: int(name[4:])]]
    elif name.startswith("wine"):
        X, codes = datasets.load_wine(return_X_y=True)
        X, y, standard_targets = X[:, : int(name[4:])], np.where(codes == 1, 1.0, -1.0), False
    elif name == "bc":
        X, codes = datasets.load_breast_cancer(return_X_y=True)
        y = codes.astype(np.float64)
    elif name.startswith("plant"):
        rng, d = np.random.default_rng(0), int(name[5:])
        X = rng.standard_normal((500, d))
        W, a = rng.standard_normal((5, d + 1)), rng.standard_normal(5)
        y = np.maximum(np.c_[X, np.ones(500)] @ W.T, 0.0) @ a + 0.2 * rng.standard_normal(500)
    else:
        X, y = uci_table(name)
    X = X[:, X.std(axis=0) > 0]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return X, (y - y.mean()) / y.std() if standard_targets else y


FIRST_RATE = 5e8
LEAST_SECONDS = 0.05
LEAST_USE, MOST_USE, TRIES = 0.9, 1.05, 4
"""Of the seconds of a budget: outside, one below LONG is tried again."""
LONG = 100.0


class Clock:
    """A monitor that notes when the first proof began."""

    def __init__(self) -> None:
        self.start = self.wall = 0.0

    def event(self, stage: str, value: float, bound: float, elapsed: float, **counts: float) -> None:
        """Note an event."""
        if stage == "proof" and not self.start:
            self.start, self.wall = time.process_time(), time.perf_counter()

    def should_stop(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True)
class Proof:
    """One budget: the result and the CPU and wall seconds that its proof took."""

    result: Any
    cpu: float
    wall: float


def prove(X: Array, y: Array, alpha: float, network: Any, work: float, threads: int) -> Proof:
    """Prove a trained network within a budget; what refutes it becomes a neuron."""
    clock = Clock()
    options = {"fit_intercept": False, "max_work": int(work), "warm_start": network, "callback": clock}
    if threads == 1:
        result = rf.solve_convex_relu(X, y, alpha, **options)
    else:
        with ThreadPoolExecutor(threads) as pool:
            result = rf.solve_convex_relu(X, y, alpha, executor=pool, **options)
    return Proof(result, time.process_time() - clock.start, time.perf_counter() - clock.wall)


def prove_in(seconds: float, rate: float, *case: Any, threads: int) -> Proof:
    """Prove with a budget that is worth so many seconds a thread."""
    tries: list[Proof] = []
    work, allowed = rate * seconds * threads, seconds * threads
    for _ in range(1 if seconds >= LONG else TRIES):
        tries.append(prove(*case, work, threads))
        use = tries[-1].cpu / allowed
        if LEAST_USE <= use <= MOST_USE or (tries[-1].result.relative_gap <= 0.01 and use < 1.0):
            break
        work *= min(0.97 / use, 4.0)
    fitting = [p for p in tries if p.cpu <= MOST_USE * allowed]
    return min(fitting or tries, key=lambda p: p.result.relative_gap if fitting else p.cpu)


def run(name: str, fraction: float, budgets: list[float], threads: int, grades: list[str]) -> dict[str, Any]:
    """Train, prove with growing budgets, verify."""
    X, y = load(name)
    alpha = fraction * LAMBDA_MAX[name] / len(y)
    network = rf.solve_convex_relu(X, y, alpha, fit_intercept=False, certify=False).solution
    rate, steps = FIRST_RATE, []
    for seconds in budgets:
        steps.append(prove_in(seconds, rate, X, y, alpha, network, threads=threads))
        stats = steps[-1].result.stats
        if steps[-1].cpu > LEAST_SECONDS:
            rate = stats["proof_work"] / steps[-1].cpu
        if steps[-1].result.relative_gap <= 0.01:
            break
    last = steps[-1].result
    times = {}
    for grade in grades:
        start = time.process_time()
        holds = rf.verify(last, grade=grade).holds
        times[grade] = time.process_time() - start
        if not holds:
            raise SystemExit(f"{name} {fraction}: the certificate is refused at grade {grade}")
    streams = [tree.nodes.tobytes() for tree in getattr(last.certificate.evidence, "trees", ())]
    return {
        "instance": name, "n": len(y), "d": X.shape[1] + 1, "fraction": fraction, "P": last.value * len(y),
        "threads": threads, "budgets": budgets[: len(steps)],
        "gaps": [float(s.result.relative_gap) for s in steps], "cpu": [s.cpu for s in steps],
        "wall": [s.wall for s in steps], "work": [int(s.result.stats["proof_work"]) for s in steps],
        "nodes": [int(s.result.stats["proof_nodes"]) for s in steps], "proof": str(last.proof),
        "stream_bytes": sum(len(zlib.compress(s)) for s in streams), "verify_cpu": times,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = "| instance (n, d) | fraction | P | gap % (CPU s of the proof) by budget | prototype at 1, 10, 30 s | proof "
    head += "| Mnodes (per CPU s) | threads, wall s | stream MB | verify, s |"
    lines = [head, "|---" * 10 + "|"]
    for r in rows:
        old = PROTOTYPE.get((r["instance"], r["fraction"]))
        steps = zip(r["budgets"], r["gaps"], r["cpu"], strict=True)
        at = "; ".join(f"{b:g} s: {100 * g:.2f} ({c:.1f})" for b, g, c in steps)
        nodes = r["nodes"][-1] / 1e6
        lines.append(
            f"| {r['instance']} ({r['n']}, {r['d']}) | {r['fraction']} | {r['P']:.4f} | {at} | "
            f"{', '.join(map(str, old)) if old else '-'} | {r['proof']} | "
            f"{nodes:.3g} ({nodes / max(r['cpu'][-1], 1e-9):.2f}) | {r['threads']}, {r['wall'][-1]:.1f} | "
            f"{r['stream_bytes'] / 1e6:.2f} | {', '.join(f'{g} {t:.1f}' for g, t in r['verify_cpu'].items())} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the instances asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", nargs="*", default=list(LAMBDA_MAX))
    parser.add_argument("--fractions", nargs="*", type=float, default=[0.3, 0.1, 0.03])
    parser.add_argument("--seconds", nargs="*", type=float, default=[1.0, 10.0, 30.0], help="CPU seconds a thread")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--grades", nargs="*", default=["float", "interval"], help="of the verification, none: skipped")
    parser.add_argument("--out", default="proof", help="name of the files in the results' folder")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    rows = []
    for fraction in arguments.fractions:
        for name in arguments.instances:
            rows.append(run(name, fraction, arguments.seconds, arguments.threads, arguments.grades))
            print(json.dumps(rows[-1]), flush=True)
            (RESULTS / f"{arguments.out}.json").write_text(json.dumps(rows, indent=1))
            (RESULTS / f"{arguments.out}.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()

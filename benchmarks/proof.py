"""How small a gap is proven, and what it costs: the instances of the proof's prototype, beside its figures.

    RECTIFOLD_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.proof [--instances bc] [--fractions 0.1] [--work 4e9]

P = n F with ``fit_intercept=False`` and lambda a fraction of lambda_max over all patterns (printed figures below). The
gap is read off the proof's own progress after 1, 10 and 30 CPU seconds, training excluded; the certificate is stored as
its stream, and verified at both grades.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

import rectifold as rf
from benchmarks.instances import RESULTS

Array = NDArray[np.float64]

LAMBDA_MAX = {
    "diab2": 237.29399, "diab3": 265.02244, "diab4": 268.49177, "diab5": 269.21959, "diab6": 282.30510,
    "diab7": 297.95988, "diab8": 315.23829, "diab9": 318.51301, "diab10": 318.77146, "wine4": 119.98882,
    "wine6": 122.76321, "wine8": 122.97356, "wine13": 158.20394, "airfoil": 698.04569, "concrete": 583.11863,
    "energy": 715.85383, "plant4": 256.33391, "plant6": 300.93879, "plant8": 265.71158, "bc": 1069.35318,
}  # fmt: skip
PROTOTYPE = {  # per cent after 1, 10 and 30 CPU s
    ("diab4", 0.1): (0.15, 0.15, 0.15), ("diab6", 0.1): (0.54, 0.14, 0.14), ("diab6", 0.03): (13.03, 2.76, 0.74),
    ("diab8", 0.3): (0.15, 0.15, 0.15), ("diab8", 0.1): (8.78, 1.70, 0.85), ("diab8", 0.03): (46.68, 46.68, 27.55),
    ("wine8", 0.1): (9.47, 3.49, 1.37), ("wine13", 0.3): (1.15, 0.53, 0.53), ("wine13", 0.1): (8.26, 3.84, 3.84),
    ("wine13", 0.03): (55.54, 37.59, 37.59), ("airfoil", 0.1): (1.18, 0.34, 0.34),
    ("airfoil", 0.03): (17.63, 2.31, 1.17),
    ("concrete", 0.3): (2.06, 0.20, 0.20), ("concrete", 0.1): (20.77, 8.84, 6.66), ("energy", 0.1): (0.32, 0.32, 0.32),
    ("energy", 0.03): (2.69, 1.91, 1.91), ("plant6", 0.03): (5.82, 0.55, 0.55), ("plant8", 0.3): (9.75, 2.58, 1.35),
    ("plant8", 0.1): (41.27, 16.91, 9.14), ("bc", 0.3): (1.18, 0.71, 0.47), ("bc", 0.1): (3.30, 2.36, 2.36),
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
        folder = os.environ.get("RECTIFOLD_DATA")
        if not folder:
            raise SystemExit(f"{name} is read from $RECTIFOLD_DATA/uci/{name}.csv.gz; the variable is not set")
        values = np.loadtxt(Path(folder) / "uci" / f"{name}.csv.gz", delimiter=",")
        X, y = values[:, :-1], values[:, -1]
    X = X[:, X.std(axis=0) > 0]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return X, (y - y.mean()) / y.std() if standard_targets else y


class Clock:
    """A monitor that notes the proven gap by CPU time since training ended."""

    def __init__(self) -> None:
        self.start = time.process_time()
        self.steps: list[tuple[float, float]] = []

    def event(self, stage: str, value: float, bound: float, elapsed: float, **counts: float) -> None:
        """Note an event."""
        if stage == "proof":
            self.steps.append((time.process_time() - self.start, 1.0 - max(bound, 0.0) / value))
        elif stage != "bound" and stage != "done":
            self.start = time.process_time()

    def should_stop(self) -> bool:
        """Never."""
        return False


def run(name: str, fraction: float, work: int) -> dict[str, Any]:
    """Train, prove, verify."""
    X, y = load(name)
    clock = Clock()
    alpha = fraction * LAMBDA_MAX[name] / len(y)
    result = rf.solve_convex_relu(X, y, alpha, fit_intercept=False, max_work=work, callback=clock)
    seconds = time.process_time() - clock.start
    gap = float(result.relative_gap)
    steps = [*clock.steps, (seconds, gap)]
    times = {}
    for grade in ("float", "interval"):
        start = time.process_time()
        holds = rf.verify(result, grade=grade).holds
        times[grade] = time.process_time() - start
        if not holds:
            raise SystemExit(f"{name} {fraction}: the certificate is refused at grade {grade}")
    streams = [tree.nodes.tobytes() for tree in getattr(result.certificate.evidence, "trees", ())]
    return {
        "instance": name, "n": len(y), "d": X.shape[1] + 1, "fraction": fraction, "P": result.value * len(y),
        "gap_at": {s: min((g for t, g in steps if t <= s), default=float("nan")) for s in (1, 10, 30)},
        "gap": gap, "proof": str(result.proof), "cpu": seconds, "nodes": int(result.stats["proof_nodes"]),
        "stream_bytes": sum(len(zlib.compress(s)) for s in streams), "verify_cpu": times,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| instance (n, d) | fraction | P | gap % at 1, 10, 30 s | prototype | at the end (CPU s) | proof "
             "| Mnodes (per s) | stream MB | verify float, interval s |", "|---" * 10 + "|"]  # fmt: skip
    for r in rows:
        old = PROTOTYPE.get((r["instance"], r["fraction"]))
        at = ", ".join(f"{100 * r['gap_at'][s]:.2f}" for s in (1, 10, 30))
        lines.append(
            f"| {r['instance']} ({r['n']}, {r['d']}) | {r['fraction']} | {r['P']:.4f} | {at} | "
            f"{', '.join(map(str, old)) if old else '-'} | {100 * r['gap']:.2f} ({r['cpu']:.1f}) | {r['proof']} | "
            f"{r['nodes'] / 1e6:.3g} ({r['nodes'] / 1e6 / max(r['cpu'], 1e-9):.2f}) | {r['stream_bytes'] / 1e6:.2f} | "
            f"{r['verify_cpu']['float']:.1f}, {r['verify_cpu']['interval']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the instances asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", nargs="*", default=list(LAMBDA_MAX))
    parser.add_argument("--fractions", nargs="*", type=float, default=[0.3, 0.1, 0.03])
    parser.add_argument("--work", type=float, default=4e9, help="samples that the trees may visit")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    rows = []
    for fraction in arguments.fractions:
        for name in arguments.instances:
            rows.append(run(name, fraction, int(arguments.work)))
            print(json.dumps(rows[-1]), flush=True)
            (RESULTS / "proof.json").write_text(json.dumps(rows, indent=1))
            (RESULTS / "proof.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()

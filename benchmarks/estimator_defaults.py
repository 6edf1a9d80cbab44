"""What a user gets: the estimators at their defaults on seven tables, alpha in {0.3, 0.1, 0.03, 0.01} of alpha_max.

    RECTIFOLD_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.estimator_defaults [--tables airfoil ...] [--starts 3000]
        [--minutes 10 --out ten_minutes]

Features are standardised (population deviation), regression targets too, classes are two (logistic loss). Printed
beside the estimator's own figures: a second pricing by independent code with another seed and ``--starts`` starts (ten
times the library's where its statistics say how many it used).
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rectifold as rf
from benchmarks.instances import RESULTS, uci_table
from benchmarks.pricing_check import price
from benchmarks.proof import Clock

Array = NDArray[np.float64]
REGRESSION = ("airfoil", "concrete", "energy", "diabetes")
CLASSIFICATION = ("banknote", "pima", "breast_cancer")
FRACTIONS = (0.3, 0.1, 0.03, 0.01)
LEAST_USE = 0.6
"""Of the minutes: a proof that ends earlier was given too little work, at the rate of a short one."""


def load(name: str) -> tuple[Array, Array]:
    """Standardised features; standardised targets or labels +-1."""
    from sklearn import datasets

    if name == "diabetes":
        X, y = datasets.load_diabetes(return_X_y=True)
    elif name == "breast_cancer":
        X, y = datasets.load_breast_cancer(return_X_y=True)
    else:
        X, y = uci_table(name)
    X = X[:, X.std(axis=0) > 0]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return X, np.where(y > 0, 1.0, -1.0) if name in CLASSIFICATION else (y - y.mean()) / y.std()


def number_of_starts(statistics: Any, default: int) -> int:
    """Ten times the starts the library says it used."""
    used = [v for k, v in dict(statistics).items() if "start" in k and isinstance(v, int | np.integer) and v > 0]
    return 10 * int(max(used)) if used else default


def prove_on(est: Any, X: Array, y: Array, clock: Clock, minutes: float) -> dict[str, Any]:
    """Fit again from where the estimator is, with work worth so many CPU minutes for the proof, at most twice."""
    cpu = time.process_time() - clock.start
    for _ in range(2):
        again, rate = Clock(), est.result_.stats["proof_work"] / cpu
        est.set_params(warm_start=True, max_work=int(60.0 * minutes * rate)).fit(X, y, callback=again)
        cpu = time.process_time() - again.start
        if est.gap_ <= est.gap_tol or cpu >= LEAST_USE * 60.0 * minutes:
            break
    return {"gap_later": est.gap_, "cpu_later": cpu, "work_later": int(est.result_.stats["proof_work"])}


def run(name: str, fraction: float, starts: int, seed: int, minutes: float) -> dict[str, Any]:
    """Fit at the defaults, prove on if asked for, and price again."""
    X, y = load(name)
    loss = "logistic" if name in CLASSIFICATION else "squared"
    alpha = fraction * float(rf.alpha_max(X, y, loss=loss))
    kind = rf.ConvexReLUClassifier if loss == "logistic" else rf.ConvexReLURegressor
    wall, cpu = time.perf_counter(), time.process_time()
    clock = Clock()
    est = kind(alpha=alpha).fit(X, y, callback=clock)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    proof, gap, work = str(est.proof_), est.gap_, int(est.result_.stats.get("proof_work", 0))
    later = prove_on(est, X, y, clock, minutes) if minutes and gap > est.gap_tol else {}
    network = est.network_
    hidden = np.c_[network.weights[0], network.biases[0]]
    n_starts = number_of_starts(est.result_.stats, starts)
    output, offset = network.weights[-1][0], float(network.biases[-1][0])
    Z = np.c_[X, np.ones(len(X))]
    again = price(Z, y, alpha, hidden, output, offset, loss, n_starts=n_starts, seed=seed)
    return {
        "table": name, "n": len(y), "d": X.shape[1], "fraction": fraction, "alpha": alpha, "objective": est.objective_,
        "objective_again": again.objective, "priced_gap": est.priced_gap_, "priced_again": again.priced_gap,
        "starts": n_starts,
        "proven_gap": gap, "proof": proof, "neurons": est.n_neurons_, "wall": wall, "cpu": cpu,
        "train_score": est.score(X, y), "proof_work": work,
    } | later  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| table (n, d) | alpha / alpha_max | objective | priced gap | priced again (starts) | proven gap | proof "
             "| neurons | wall s (CPU) | train score | gap later (CPU s) |", "|---" * 11 + "|"]  # fmt: skip
    lines += [
        f"| {r['table']} ({r['n']}, {r['d']}) | {r['fraction']} | {r['objective']:.8g} | {r['priced_gap']:.1e} | "
        f"{r['priced_again']:.1e} ({r['starts']}) | {r['proven_gap']:.3g} | {r['proof']} | {r['neurons']} | "
        f"{r['wall']:.2f} ({r['cpu']:.2f}) | {r['train_score']:.4f} | "
        + (f"{r['gap_later']:.3g} ({r['cpu_later']:.0f}) |" if "gap_later" in r else "- |")
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="*", default=list(REGRESSION + CLASSIFICATION))
    parser.add_argument("--fractions", nargs="*", type=float, default=list(FRACTIONS))
    parser.add_argument("--starts", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=12345)
    parser.add_argument("--minutes", type=float, default=0.0, help="CPU time of a second, longer proof")
    parser.add_argument("--out", default="estimator_defaults", help="name of the files in the results' folder")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    rows = []
    for name in arguments.tables:
        for fraction in arguments.fractions:
            rows.append(run(name, fraction, arguments.starts, arguments.seed, arguments.minutes))
            print(json.dumps(rows[-1]), flush=True)
            (RESULTS / f"{arguments.out}.json").write_text(json.dumps(rows, indent=1))
            (RESULTS / f"{arguments.out}.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()

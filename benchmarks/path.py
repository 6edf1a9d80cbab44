"""Regularisation paths: 100 alphas beside 100 cold solves, and ten beside pyscnn's path.

    OMP_NUM_THREADS=1 python -m benchmarks.path [--sections patterns all scnn sets] [--tables ...] [--n-alphas 100]

- `patterns`: on the patterns of 100 random gates, to a true relative gap of 1e-6 a point.
- `all`: over all patterns, to a priced gap of 1e-3 a point; both sides' networks are priced again by independent code.
- `scnn`: ten alphas on the same given patterns (ones in the matrix), each of our points to the smallest true gap that
  pyscnn reaches on any, at its own tolerance `--scnn-tol`. It runs under `RECTIFOLD_PEERS_PYTHON`.
- `sets`: how the whole optimal set moves: two columns of a UCI table, all patterns enumerated, the minimum-norm path
  with its search for jumps, and the width of the optimal set (the sum of the ranges of its multipliers over their
  sum). Where it opens, bisection tells growth from a point, which shrinks with the interval, from a discontinuity.

Grids are even in the logarithm, from alpha_max down to `--eps` of it. CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rectifold as rf
from benchmarks.instances import RESULTS, data, sampled_gates, uci_table, with_ones
from benchmarks.pricing_check import price
from benchmarks.true_gap import blocks_of_network, score_blocks
from rectifold.core.errors import ProblemError

Array = NDArray[np.float64]
Record = dict[str, Any]
ROOT = Path(__file__).parents[1]
TABLES = ("diabetes", "concrete", "breast")
PLAIN: dict[str, Any] = {"hidden_bias": False, "fit_intercept": False}
PLANES = {"yacht": (0, 1), "energy": (2, 6), "seeds": (2, 3), "autompg": (0, 1)}
BISECTIONS = 20
PATTERN_TOL, PRICED_TOL = 1e-6, 1e-3


def load(name: str) -> tuple[Array, Array]:
    """Matrix with a ones column, and targets: standardised, or +-1."""
    if name != "concrete":
        return data(name)
    table = rf.datasets.load_uci("concrete")
    y = np.asarray(table.target, dtype=float)
    return with_ones(np.asarray(table.data)), (y - y.mean()) / y.std()


def timed(run: Any) -> tuple[Any, float]:
    """The answer and its CPU seconds."""
    start = time.process_time()
    answer = run()
    return answer, time.process_time() - start


def on_patterns(name: str, n_alphas: int, eps: float) -> Record:
    """The path on given patterns beside cold solves of every alpha."""
    X, y = load(name)
    patterns = sampled_gates(X, 100)
    options: Record = {"patterns": patterns, "tol": PATTERN_TOL, **PLAIN}
    path, cpu = timed(lambda: rf.convex_relu_path(X, y, n_alphas=n_alphas, eps=eps, **options))
    cold, cold_cpu = [], 0.0
    for alpha in path.alphas:
        result, seconds = timed(lambda a=alpha: rf.solve_convex_relu(X, y, float(a), certify=False, **options))
        cold.append(result)
        cold_cpu += seconds
    worst = max(abs(a / r.value - 1) for a, r in zip(path.objectives, cold, strict=True))
    return {
        "section": "patterns", "table": name, "n_alphas": len(path), "eps": eps, "tol": PATTERN_TOL, "cpu": cpu,
        "cold_cpu": cold_cpu, "worst_gap": float(path.gaps.max()),
        "cold_worst_gap": max(float(r.stats["restricted_gap"]) for r in cold), "difference": worst,
        "followed": path.how.count("followed"), "neurons": int(path.n_neurons[-1]),
    }  # fmt: skip


def over_all(name: str, n_alphas: int, eps: float) -> Record:
    """The path over all patterns beside cold solves; gaps by an independent pricing of every tenth point."""
    X, y = load(name)
    X = X[:, :-1]
    path, cpu = timed(lambda: rf.convex_relu_path(X, y, n_alphas=n_alphas, eps=eps, tol=PRICED_TOL))
    cold_cpu, cold_gaps, gaps, differences = 0.0, [0.0], [0.0], [0.0]
    for k, alpha in enumerate(path.alphas):
        result, seconds = timed(lambda a=alpha: rf.solve_convex_relu(X, y, float(a), certify=False, tol=PRICED_TOL))
        cold_cpu += seconds
        differences.append(path.objectives[k] / result.value - 1)
        if k % 10 == 9:
            gaps.append(priced_again(X, y, float(alpha), path.networks[k]))
            cold_gaps.append(priced_again(X, y, float(alpha), result.solution))
    return {
        "section": "all", "table": name, "n_alphas": len(path), "eps": eps, "tol": PRICED_TOL, "cpu": cpu,
        "cold_cpu": cold_cpu, "worst_gap": max(gaps), "cold_worst_gap": max(cold_gaps),
        "difference": max(map(abs, differences)), "followed": path.how.count("followed"),
        "neurons": int(path.n_neurons[-1]),
    }  # fmt: skip


def priced_again(X: Array, y: Array, alpha: float, network: rf.ReLUNetwork) -> float:
    """Relative gap by a second pricing, of independent code."""
    hidden = np.hstack([network.weights[0], network.biases[0][:, None]])
    output, offset = network.weights[1][0], float(network.biases[1][0])
    return price(np.c_[X, np.ones(len(X))], y, alpha, hidden, output, offset, "squared", n_starts=1000,
                 seed=12345).priced_gap  # fmt: skip


def beside_scnn(name: str, n_alphas: int = 10, eps: float = 1e-2, scnn_tol: float = 1e-6) -> Record:
    """Ten alphas: pyscnn's path, then ours to the smallest gap that it reached."""
    X, y = load(name)
    n = len(X)
    gates = np.random.default_rng(0).standard_normal((X.shape[1], 100))
    patterns = sampled_gates(X, 100)
    ordered = {(X @ g > 0).tobytes(): g for g in gates.T}
    chosen = np.stack([ordered[column.tobytes()] for column in patterns.T], axis=1)
    alphas = rf.alpha_max(X, y, patterns, **PLAIN) * np.geomspace(0.9, eps, n_alphas)
    theirs = scnn_path(X, y, chosen, patterns, alphas, scnn_tol)
    scores = [score_blocks(X, y, patterns, n * a, W) for a, W in zip(alphas, theirs["W"], strict=True)]
    tol = max(min(score.relative_gap for score in scores), 1e-12)
    path, cpu = timed(lambda: rf.convex_relu_path(X, y, alphas, patterns, tol=tol, **PLAIN))
    ours = [score_blocks(X, y, patterns, n * a, blocks_of_network(X, patterns, net.weights[0], net.weights[-1][0]))
            for a, net in zip(path.alphas, path.networks, strict=True)]  # fmt: skip
    return {
        "section": "scnn", "table": name, "n_alphas": n_alphas, "eps": eps, "tol": tol, "cpu": cpu,
        "scnn_tol": scnn_tol, "scnn_cpu": float(theirs["cpu"]), "scnn_wall": float(theirs["wall"]),
        "ratio": float(theirs["cpu"]) / cpu,
        "gaps": [score.relative_gap for score in ours], "scnn_gaps": [score.relative_gap for score in scores],
        "better_everywhere": all(a.relative_gap <= b.relative_gap for a, b in zip(ours, scores, strict=True)),
    }  # fmt: skip


def sets(name: str, n_alphas: int, eps: float) -> Record:
    """Dimension and width of the optimal set along a path over all patterns of two columns."""
    features, target = uci_table(name)
    X = features[:, PLANES[name]]
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), (target - target.mean()) / target.std()
    patterns = rf.all_patterns(X)
    path, cpu = timed(lambda: rf.convex_relu_path(
        X, y, patterns=patterns, n_alphas=n_alphas, eps=eps, minimum_norm=True, continuity=True, **PLAIN
    ))  # fmt: skip
    dimensions = [point.dimension for point in path.conditions]
    jumps = [(jump.upper / path.alpha_max, jump.lower / path.alpha_max, jump.jump) for jump in path.discontinuities]
    opens = [k for k in range(len(path) - 1) if dimensions[k] == 0 and dimensions[k + 1] > 0]
    return {
        "section": "sets", "table": name, "columns": PLANES[name], "n": len(X), "patterns": patterns.shape[1],
        "n_alphas": len(path), "eps": eps, "cpu": cpu, "dimensions": dimensions,
        "unknown": sum(point.is_unique is None for point in path.conditions),
        "jumps": jumps,
        "openings": [opening(X, y, patterns, path.alpha_max, *path.alphas[k : k + 2]) for k in opens],
    }  # fmt: skip


def opening(X: Array, y: Array, patterns: NDArray[np.bool_], top: float, upper: float, lower: float) -> Record:
    """Bisect to where the optimum stops being unique; the width just below that alpha."""
    widths = [width_of_set(X, y, patterns, lower)]
    for _ in range(BISECTIONS):
        middle = float(np.sqrt(upper * lower))
        width = width_of_set(X, y, patterns, middle)
        upper, lower = (upper, middle) if width > 0 else (middle, lower)
        widths += [width] if width > 0 else []
    return {"alpha": lower / top, "interval": upper / lower - 1, "widths": widths}


def width_of_set(X: Array, y: Array, patterns: NDArray[np.bool_], alpha: float) -> float:
    """Sum of the ranges of the multipliers over their sum; 0 where the optimum is unique or not identified."""
    result = rf.solve_convex_relu(X, y, alpha, patterns, tol=1e-10, certify=False, **PLAIN)
    try:
        optima = rf.optimal_set(result, problem=rf.ConvexReLUProblem(X, y, alpha, **PLAIN), patterns=patterns)
    except ProblemError:
        return 0.0
    if optima.dimension == 0:
        return 0.0
    low, high = optima.multiplier_range()
    return float((high - low).sum() / optima.minimum_norm().multipliers.sum())


def scnn_path(X: Array, y: Array, gates: Array, patterns: NDArray[np.bool_], alphas: Array, tol: float) -> Any:
    """Run pyscnn in the peers' interpreter."""
    python = os.environ.get("RECTIFOLD_PEERS_PYTHON", sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "data.npz", Path(folder) / "out.npz"
        np.savez(given, X=X, y=y, gates=gates, patterns=patterns, alphas=alphas)
        command = [python, "-m", "benchmarks.peers.scnn_path", str(given), str(tol), str(out)]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
        with np.load(out) as stored:
            return {key: stored[key] for key in stored.files}


def table(records: list[Record]) -> str:
    """Markdown."""
    lines = ["| section | table | alphas (down to) | target gap | ours CPU s | other CPU s | ratio | worst gap ours / "
             "other |", "|---" * 8 + "|"]  # fmt: skip
    for r in records:
        if r["section"] == "sets":
            continue
        other = r.get("cold_cpu", r.get("scnn_cpu"))
        gaps = (r["worst_gap"], r["cold_worst_gap"]) if "worst_gap" in r else (max(r["gaps"]), max(r["scnn_gaps"]))
        lines.append(
            f"| {r['section']} | {r['table']} | {r['n_alphas']} ({r['eps']:g}) | {r['tol']:.1e} | {r['cpu']:.2f} | "
            f"{other:.1f} | {other / r['cpu']:.1f} | {gaps[0]:.1e} / {gaps[1]:.1e} |"
        )
    return "\n".join(lines) + "\n" + sets_table([r for r in records if r["section"] == "sets"])


def sets_table(records: list[Record]) -> str:
    """Markdown of the section `sets`."""
    lines = ["", "| table | columns, n, patterns | alphas (down to) | unique / not / unknown | largest dimension | "
             "jumps of the minimum-norm path | opens at (of alpha_max): width before -> after bisection (interval) |",
             "|---" * 7 + "|"]  # fmt: skip
    for r in records:
        dimensions = np.array(r["dimensions"])
        opens = "; ".join(f"{o['alpha']:.4g}: {o['widths'][0]:.2g} -> {o['widths'][-1]:.2g} ({o['interval']:.0e})"
                          for o in r["openings"])  # fmt: skip
        jumps = ", ".join(f"{jump[0]:.4g} ({jump[2]:.2g})" for jump in r["jumps"]) or "none"
        lines.append(
            f"| {r['table']} | {r['columns']}, {r['n']}, {r['patterns']} | {r['n_alphas']} ({r['eps']:g}) | "
            f"{(dimensions == 0).sum()} / {(dimensions > 0).sum()} / {r['unknown']} | {dimensions.max()} | {jumps} | "
            f"{opens} |"
        )
    return "\n".join(lines) + "\n" if records else ""


def main() -> None:
    """Run the sections asked for; the others keep their stored results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = {"patterns": on_patterns, "all": over_all, "scnn": beside_scnn, "sets": sets}
    parser.add_argument("--sections", nargs="*", default=list(sections), choices=list(sections))
    parser.add_argument("--tables", nargs="*", default=None, help=f"default {TABLES}, for sets {tuple(PLANES)}")
    parser.add_argument("--n-alphas", type=int, default=100)
    parser.add_argument("--eps", type=float, default=None, help="default 1e-3; 3e-2 over all, 1e-2 scnn")
    parser.add_argument("--scnn-tol", type=float, default=1e-6)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    store = RESULTS / "path.json"
    stored: dict[str, Record] = json.loads(store.read_text()) if store.exists() else {}
    default = {"patterns": 1e-3, "all": 3e-2, "scnn": 1e-2, "sets": 1e-3}
    for section in arguments.sections:
        for name in arguments.tables or (PLANES if section == "sets" else TABLES):
            n_alphas = min(arguments.n_alphas, 10) if section == "scnn" else arguments.n_alphas
            eps = default[section] if arguments.eps is None else arguments.eps
            options = {"scnn_tol": arguments.scnn_tol} if section == "scnn" else {}
            stored[f"{section} {name}"] = sections[section](name, n_alphas, eps, **options)
            store.write_text(json.dumps(stored, indent=1))
            print(json.dumps(stored[f"{section} {name}"]), flush=True)
    (RESULTS / "path.md").write_text(table(list(stored.values())))
    print(table(list(stored.values())))


if __name__ == "__main__":
    main()

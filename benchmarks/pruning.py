"""Optimal pruning: below the minimal width, its speed at 1000 neurons, and on UCI tables beside other rules.

    OMP_NUM_THREADS=1 python -m benchmarks.pruning [--sections below speed uci] [--tables sonar ...] [--seeds 5]

- below: P/P* below the minimal width of sampled optima, least-squares correction beside magnitude pruning.
- speed: CPU seconds for 1000 neurons on n = 400, and 1000 on n = 2000 with 500 planted dependences.
- uci: test accuracy (classification, targets +-1) or RMSE over the target's deviation (regression) against width:
  25 sampled gates, alpha = 0.01, half of the rows for the test, after Mishkin and Pilanci (2023), beside the removal of
  the neuron of least ``||w_j|| |a_j|``, of least gradient norm of the loss, and of a random one. $RECTIFOLD_DATA.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rectifold as rf
from benchmarks.instances import RESULTS, fixed_program

Array = NDArray[np.float64]
Score = Callable[[rf.ReLUNetwork], Array]

PRINTED = {  # width -> P/P* printed for the least-squares correction and for magnitude pruning
    "wine-0.1": {8: (1.0014, 1.0049), 5: (1.011, 1.169), 3: (1.039, 1.275)},
    "wine-0.01": {18: (1.030, 1.394), 9: (1.18, 2.05)},
    "diabetes-0.01": {21: (1.005, 1.130), 10: (1.035, 1.505)},
    "breast-0.01": {18: (1.008, 1.048), 9: (1.092, 1.245)},
}
TABLES = ("breast_cancer_w", "ionosphere", "pima", "sonar", "banknote", "phoneme", "seeds",
          "yacht", "autompg", "energy", "concrete", "airfoil", "wine_red")  # fmt: skip
RULES = ("optimal", "magnitude", "gradient norm", "random")
WIDTHS = (1, 2, 3, 4, 5, 8, 12, 16)
GATES, ALPHA = 25, 0.01


def sizes(network: rf.ReLUNetwork) -> Array:
    """``||[w_j, b_j]|| |a_j|``."""
    hidden = np.column_stack([network.weights[0], network.biases[0]])
    return np.asarray(np.linalg.norm(hidden, axis=1) * np.abs(network.weights[1][0]))


def gradient_norms(network: rf.ReLUNetwork, X: Array, y: Array) -> Array:
    """Norm of the squared loss's gradient in each neuron's own weights."""
    Z, a = np.c_[X, np.ones(len(X))], network.weights[1][0]
    pre = X @ network.weights[0].T + network.biases[0]
    residual = (network(X)[:, 0] - y) / len(y)
    hidden = ((pre > 0) * residual[:, None] * a).T @ Z
    return np.sqrt((hidden**2).sum(axis=1) + (np.maximum(pre, 0.0).T @ residual) ** 2)


def without(network: rf.ReLUNetwork, j: int) -> rf.ReLUNetwork:
    """The network without neuron j, the others as they are."""
    kept = np.arange(network.widths[0]) != j
    hidden, output = network.weights
    return rf.ReLUNetwork([hidden[kept], output[:, kept]], [network.biases[0][kept], network.biases[1]])


def removed_by(network: rf.ReLUNetwork, score: Score) -> Iterator[rf.ReLUNetwork]:
    """Remove the neuron of least score until one is left."""
    while network.widths[0] > 1:
        network = without(network, int(score(network).argmin()))
        yield network


def at_most(sequence: list[rf.ReLUNetwork], width: int) -> rf.ReLUNetwork:
    """The first network of at most that width."""
    return next(network for network in sequence if network.widths[0] <= width)


# -- below the minimal width ------------------------------------------------------------------------------------------


def below() -> dict[str, Any]:
    """P/P* by width, by both rules."""
    records: dict[str, Any] = {}
    for name, printed in PRINTED.items():
        program = fixed_program(name)
        X, y, n = program.X, program.y, len(program.y)
        solved = rf.solve_convex_relu(X, y, program.alpha, program.patterns, hidden_bias=False, fit_intercept=False,
                                      tol=1e-10)  # fmt: skip
        problem = rf.ConvexReLUProblem(X, y, program.alpha, hidden_bias=False, fit_intercept=False)
        start = time.process_time()
        pruned = rf.prune(solved, continue_to=1)
        cpu = time.process_time() - start
        by_size = [solved.solution, *removed_by(solved.solution, sizes)]
        relative = {
            width: tuple(n * problem.objective(net) / program.optimum
                         for net in (pruned.at_width(width), at_most(by_size, width)))
            for width in range(1, pruned.width + 1)
        }  # fmt: skip
        records[name] = {"minimal": pruned.width, "cpu": cpu, "relative": relative}
        for width, figures in printed.items():
            print(name, width, [round(v, 4) for v in relative[width]], "printed", figures, flush=True)
    return records


def below_table(records: dict[str, Any]) -> str:
    lines = [
        "| program | width | least squares (printed) | magnitude (printed) | CPU s, whole curve |",
        "|---" * 5 + "|",
    ]
    for name, printed in PRINTED.items():
        record = records[name]
        for width, (ls, magnitude) in printed.items():
            ours, theirs = record["relative"][width]
            lines.append(f"| {name} ({record['minimal']} neurons) | {width} | {ours:.4f} ({ls}) "
                         f"| {theirs:.4f} ({magnitude}) | {record['cpu']:.3f} |")  # fmt: skip
    return "\n".join(lines) + "\n"


# -- speed ------------------------------------------------------------------------------------------------------------


def random_network(n: int, width: int, d: int, seed: int = 0) -> tuple[rf.ReLUNetwork, Array, int]:
    """A random network on random samples; its columns have rank n - 1 with the offset taken out."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    network = rf.ReLUNetwork([rng.standard_normal((width, d)), rng.standard_normal((1, width))],
                             [rng.standard_normal(width), np.ones(1)])  # fmt: skip
    return network, X, min(width, n - 1)


def planted_network(n: int, seed: int = 0) -> tuple[rf.ReLUNetwork, Array, int]:
    """1000 neurons with 500 dependences: 200 splits, and 300 from 320 antipodal pairs in 19 inputs and a bias.

    Every pair ``(z)_+, (-z)_+`` adds the linear function z to the span; beyond the first 20 these are dependent.
    """
    rng = np.random.default_rng(seed)
    d, pairs, splits = 19, 320, 200
    X = rng.standard_normal((n, d))
    base = rng.standard_normal((pairs, d + 1))
    hidden = np.vstack([base, -base * rng.uniform(0.5, 2.0, (pairs, 1)), rng.standard_normal((160, d + 1))])
    output = rng.standard_normal(len(hidden))
    chosen = rng.choice(len(hidden), splits, replace=False)
    hidden = np.vstack([hidden, hidden[chosen] * rng.uniform(0.5, 2.0, (splits, 1))])
    output = np.concatenate([output, np.sign(output[chosen]) * rng.uniform(0.1, 1.0, splits)])
    order = rng.permutation(len(hidden))
    hidden, output = hidden[order], output[order]
    return rf.ReLUNetwork([hidden[:, :d], output[None]], [hidden[:, d], np.zeros(1)]), X, len(hidden) - 500


def speed(repeats: int = 3) -> dict[str, Any]:
    """Median CPU and wall seconds, widths, and what changed."""
    cases = {
        "1000 neurons, n=400, d=10": random_network(400, 1000, 10),
        "1000 neurons, n=400, d=2": random_network(400, 1000, 2),
        "1000 neurons, n=2000, 500 planted": planted_network(2000),
    }
    records: dict[str, Any] = {}
    for name, (network, X, expected) in cases.items():
        times = []
        for _ in range(repeats):
            cpu, wall = time.process_time(), time.perf_counter()
            pruned = rf.prune(network, X)
            times.append((time.process_time() - cpu, time.perf_counter() - wall))
        cpu, wall = np.median(times, axis=0)
        start = time.perf_counter()
        rf.prune(network, X, continue_to=1)
        records[name] = {
            "cpu": cpu, "wall": wall, "width": pruned.width, "expected": expected, "fit_change": pruned.fit_change,
            "penalty": (pruned.given_penalty, pruned.penalty), "exchanges": pruned.stats["exchanges"],
            "wall_with_continuation": time.perf_counter() - start, "independent": independent(pruned.network, X),
        }  # fmt: skip
        print(name, records[name], flush=True)
    return records


def independent(network: rf.ReLUNetwork, X: Array) -> float:
    """Least singular value of the activations at unit length, with a constant column where there is an offset."""
    hidden = np.maximum(X @ network.weights[0].T + network.biases[0], 0.0)
    if network.biases[1].any():
        hidden = np.c_[hidden, np.ones(len(X))]
    return float(np.linalg.svd(hidden / np.linalg.norm(hidden, axis=0), compute_uv=False)[-1])


def speed_table(records: dict[str, Any]) -> str:
    lines = ["| network | CPU s (wall) | with continuation to 1 | width (expected) | penalty | largest change of a fit "
             "| least singular value |", "|---" * 7 + "|"]  # fmt: skip
    for name, r in records.items():
        before, after = r["penalty"]
        lines.append(f"| {name} | {r['cpu']:.2f} ({r['wall']:.2f}) | {r['wall_with_continuation']:.2f} | {r['width']} "
                     f"({r['expected']}) | {before:.6g} -> {after:.6g} | {r['fit_change']:.1e} "
                     f"| {r['independent']:.1e} |")  # fmt: skip
    return "\n".join(lines) + "\n"


# -- UCI --------------------------------------------------------------------------------------------------------------


def split(name: str, seed: int) -> tuple[Array, Array, Array, Array, bool]:
    """Half for training, standardised by it; labels become +-1 (class 1 against the rest)."""
    from sklearn.model_selection import train_test_split

    from rectifold.datasets.uci import load_uci

    table = load_uci(name)
    classify = table.task == "classification"
    y = np.where(table.target == 1, 1.0, -1.0) if classify else table.target.astype(float)
    parts = train_test_split(table.data, y, test_size=0.5, random_state=seed, stratify=y if classify else None)
    train, test, y_train, y_test = parts
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    train, test = ((part[:, deviation > 0] - mean[deviation > 0]) / deviation[deviation > 0] for part in (train, test))
    if not classify:
        centre, size = y_train.mean(), y_train.std()
        y_train, y_test = (y_train - centre) / size, (y_test - centre) / size
    return train, y_train, test, y_test, classify


def score(network: rf.ReLUNetwork, X: Array, y: Array, classify: bool) -> float:
    """Accuracy, or root mean square error in units of the training target's deviation."""
    values = network(X)[:, 0]
    return float(np.mean((values > 0) == (y > 0))) if classify else float(np.sqrt(np.mean((values - y) ** 2)))


def curves(name: str, seed: int) -> dict[str, Any]:
    """Test scores by width for every rule, of one split."""
    X, y, X_test, y_test, classify = split(name, seed)
    patterns = rf.sample_patterns(np.c_[X, np.ones(len(X))], GATES, seed)
    solved = rf.solve_convex_relu(X, y, ALPHA, patterns, fit_intercept=False, tol=1e-9, certify=False)
    start = time.process_time()
    pruned = rf.prune(solved.solution, X, y, alpha=ALPHA, fit_intercept=False, continue_to=1)
    cpu = time.process_time() - start
    rng = np.random.default_rng(seed)
    scores: dict[str, Score] = {
        "magnitude": sizes,
        "gradient norm": lambda net: gradient_norms(net, X, y),
        "random": lambda net: rng.random(net.widths[0]),
    }
    networks = {rule: [pruned.network, *removed_by(pruned.network, s)] for rule, s in scores.items()}
    networks["optimal"] = [pruned.network, *pruned.narrower]
    by_rule = {
        rule: [score(at_most(networks[rule], width), X_test, y_test, classify) for width in range(1, pruned.width + 1)]
        for rule in RULES
    }
    return {"given": solved.solution.widths[0], "minimal": pruned.width, "cpu": cpu, "classify": classify,
            "gap": solved.stats["restricted_gap"], "scores": by_rule}  # fmt: skip


def uci(tables: list[str], seeds: int) -> dict[str, list[dict[str, Any]]]:
    """All tables, all splits."""
    records = {}
    for name in tables:
        start = time.perf_counter()
        records[name] = [curves(name, seed) for seed in range(seeds)]
        widths = [(r["given"], r["minimal"]) for r in records[name]]
        print(f"{name}: {time.perf_counter() - start:.1f} s, widths {widths}", flush=True)
    return records


def padded(runs: list[dict[str, Any]], rule: str) -> Array:
    """Scores (seeds, widths); beyond a run's minimal width its network does not change."""
    most = max(run["minimal"] for run in runs)
    return np.array([run["scores"][rule] + [run["scores"][rule][-1]] * (most - run["minimal"]) for run in runs])


def uci_table(records: dict[str, list[dict[str, Any]]]) -> str:
    head = "| table (minimal width) | rule | " + " | ".join(map(str, WIDTHS)) + " | all |"
    lines = ["Mean over the splits: test accuracy, or test RMSE / deviation of the target (tables marked *); in bold "
             "the best of the rules.", "", head, "|---" * (len(WIDTHS) + 3) + "|"]  # fmt: skip
    for name, runs in records.items():
        classify = runs[0]["classify"]
        means = {rule: padded(runs, rule).mean(axis=0) for rule in RULES}
        shown = [w for w in WIDTHS if w < len(means["optimal"])] + [len(means["optimal"])]
        minimal = "-".join(str(f(run["minimal"] for run in runs)) for f in (min, max))
        best = {w: (max if classify else min)(round(means[rule][w - 1], 3) for rule in RULES) for w in shown}
        for rule in RULES:
            cells = [f"**{v:.3f}**" if (v := round(means[rule][w - 1], 3)) == best[w] else f"{v:.3f}" for w in shown]
            cells[-1:-1] = ["-"] * (len(WIDTHS) + 1 - len(shown))
            lines.append(f"| {name}{'' if classify else '*'} ({minimal}) | {rule} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def uci_figure(records: dict[str, list[dict[str, Any]]]) -> None:
    """One panel a table: mean and range over the splits."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(4, len(records))
    rows = -(-len(records) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.4 * columns, 2.7 * rows), squeeze=False, layout="constrained")
    for axis, (name, runs) in zip(axes.flat, records.items(), strict=False):
        for rule in RULES:
            values = padded(runs, rule)
            widths = np.arange(1, values.shape[1] + 1)
            (line,) = axis.plot(widths, values.mean(axis=0), label=rule, lw=2 if rule == "optimal" else 1.2)
            axis.fill_between(widths, values.min(axis=0), values.max(axis=0), alpha=0.12, color=line.get_color(), lw=0)
        axis.set(title=name, xlabel="neurons", ylabel="test accuracy" if runs[0]["classify"] else "test RMSE / std")
        if not runs[0]["classify"]:
            axis.set_ylim(top=min(1.6, axis.get_ylim()[1]))
    for axis in axes.flat[len(records) :]:
        axis.axis("off")
    axes.flat[0].legend(frameon=False, fontsize=8)
    figure.savefig(RESULTS / "pruning_uci.png", dpi=150)
    plt.close(figure)


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="*", default=["below", "speed", "uci"], choices=["below", "speed", "uci"])
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for section in arguments.sections:
        records: dict[str, Any]
        if section == "below":
            records, table = (found := below()), below_table(found)
        elif section == "speed":
            records, table = (found := speed()), speed_table(found)
        else:
            records = uci(arguments.tables, arguments.seeds)
            table = uci_table(records)
            uci_figure(records)
        (RESULTS / f"pruning_{section}.json").write_text(json.dumps(records, indent=1, default=float))
        (RESULTS / f"pruning_{section}.md").write_text(table)
        print(table)


if __name__ == "__main__":
    main()

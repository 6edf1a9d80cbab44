"""What a user gets: the CV estimators beside scikit-learn's MLP, gradient boosting and a linear model on 15 tables.

    RECTIFOLD_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.users_table [--tables yacht ...] [--methods ...] [--fresh]

Splits are those given with a table, else ten 10 % splits (stratified for classes) with seeds 0 to 9; three of them
where n > 10 000. Features are standardised on the training part, regression targets too. Scores: R^2, or accuracy.
The MLP's alpha and width are searched by three-fold cross-validation, on one held-out fifth where n > 5000; ours and
the linear model search as they do by default. Every split of every method is stored as soon as it is done (one JSON a
table), and what is stored is not run again.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rectifold as rf
from benchmarks.instances import RESULTS
from rectifold.datasets.uci import UCI

Array = NDArray[np.float64]
Record = dict[str, Any]
FOLDER = RESULTS / "users_table"
MANY, FEW_SPLITS = 10_000, 3
HOLD_OUT = 5_000
METHODS = ("rectifold", "mlp", "boosting", "linear")


def splits(table: Any) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Training and test rows of every split."""
    from sklearn.model_selection import train_test_split

    few = FEW_SPLITS if len(table.data) > MANY else None
    if table.splits:
        return list(table.splits)[:few]
    labels = table.target if table.task == "classification" else None
    rows = np.arange(len(table.data))
    seeds = range(10 if few is None else few)
    return [tuple(train_test_split(rows, test_size=0.1, random_state=seed, stratify=labels)) for seed in seeds]


def estimator(method: str, task: str, n: int) -> Any:
    """The method with its search for hyper-parameters on n samples."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV
    from sklearn.model_selection import GridSearchCV, ShuffleSplit
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    regression = task == "regression"
    if method == "rectifold":
        return rf.ConvexReLURegressorCV() if regression else rf.ConvexReLUClassifierCV()
    if method == "mlp":
        network = (MLPRegressor if regression else MLPClassifier)(max_iter=500, early_stopping=False, random_state=0)
        grid = {"alpha": np.geomspace(1e-4, 10, 6), "hidden_layer_sizes": [(20,), (100,)]}
        return GridSearchCV(network, grid, cv=3 if n <= HOLD_OUT else ShuffleSplit(1, test_size=0.2, random_state=0))
    if method == "boosting":
        return (HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier)(random_state=0)
    return RidgeCV(np.geomspace(1e-3, 1e3, 13)) if regression else LogisticRegressionCV(Cs=10, max_iter=2000)


def neurons(method: str, fitted: Any) -> float:
    """Width of the network, NaN for the others."""
    if method == "rectifold":
        return float(fitted.n_neurons_)
    return float(fitted.best_params_["hidden_layer_sizes"][0]) if method == "mlp" else float("nan")


def run(method: str, table: Any, rows: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Record:
    """Fit and score one split."""
    train, test = rows
    X, y = np.asarray(table.data, dtype=float), np.asarray(table.target)
    mean, deviation = X[train].mean(axis=0), X[train].std(axis=0)
    X = (X - mean) / np.where(deviation > 0, deviation, 1.0)
    if table.task == "regression":
        y = (y - y[train].mean()) / y[train].std()
    fitted = estimator(method, table.task, len(train))
    wall, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted.fit(X[train], y[train])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"score": float(fitted.score(X[test], y[test])), "cpu": cpu, "wall": wall,
            "neurons": neurons(method, fitted)}  # fmt: skip


def measure(name: str, methods: list[str], fresh: bool, note: Callable[[str], None]) -> None:
    """Run what is not stored yet."""
    path = FOLDER / f"{name}.json"
    stored: dict[str, dict[str, Record]] = json.loads(path.read_text()) if path.exists() and not fresh else {}
    table = rf.datasets.load_uci(name)
    for number, rows in enumerate(splits(table)):
        for method in methods:
            done = stored.setdefault(method, {})
            if str(number) in done:
                continue
            done[str(number)] = run(method, table, rows)
            temporary = path.with_suffix(".part")
            temporary.write_text(json.dumps(stored, indent=1))
            temporary.replace(path)
            note(f"{name} split {number} {method} {done[str(number)]}")


def summary() -> str:
    """Markdown: mean and standard deviation of the test score, median fit time and neurons."""
    lines = ["| table (n, d) | " + " | ".join(f"{m}: score (CPU s, neurons)" for m in METHODS) + " |",
             "|---" * (len(METHODS) + 1) + "|"]  # fmt: skip
    for name in UCI:
        path = FOLDER / f"{name}.json"
        if not path.exists():
            continue
        stored = json.loads(path.read_text())
        lines.append(
            f"| {name} ({size(name)}) | " + " | ".join(cell(stored.get(method, {})) for method in METHODS) + " |"
        )
    return "\n".join(lines) + "\n"


def size(name: str) -> str:
    """Samples and features."""
    n, d = rf.datasets.load_uci(name).data.shape
    return f"{n}, {d}"


def cell(records: dict[str, Record]) -> str:
    """One entry of the table."""
    if not records:
        return "-"
    column = {key: np.array([r[key] for r in records.values()]) for key in ("score", "cpu", "neurons")}
    width = "" if np.isnan(column["neurons"]).any() else f", {np.median(column['neurons']):.0f}"
    return (f"{column['score'].mean():.4f} +- {column['score'].std():.4f} ({np.median(column['cpu']):.2g}{width})"
            + ("" if len(records) in (FEW_SPLITS, 10) else f" [{len(records)} splits]"))  # fmt: skip


def main() -> None:
    """Run the tables asked for and print what is stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="*", default=list(UCI), choices=list(UCI))
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    parser.add_argument("--write", type=Path, default=None, help="also write the table here, as the docs include it")
    parser.add_argument("--fresh", action="store_true", help="run again what is stored")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in arguments.tables:
        measure(name, arguments.methods, arguments.fresh, lambda line: print(line, flush=True))
    for target in (RESULTS / "users_table.md", arguments.write):
        if target is not None:
            target.write_text(summary())
    print(summary())


if __name__ == "__main__":
    main()

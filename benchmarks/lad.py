"""Least absolute deviations beside HiGHS, scikit-learn, statsmodels and R's quantreg.

    OMP_NUM_THREADS=1 python -m benchmarks.lad [--cases 1000x5 10000x10 100000x10 100000x50] [--repeats 5] [--cap 60]
    OMP_NUM_THREADS=1 python -m benchmarks.lad --memory-map 10000000x10

CPU seconds of one thread, median of the repeats; one run where it took over 10 s, none where the method took over the
cap on a smaller case. Every method's objective is evaluated by the same code at its coefficients and compared with the
value that the certificate of the exact solution proves. HiGHS gets the dual program (max y'd, E'd = 0, -1 <= d <= 1),
built beforehand. statsmodels and R's quantreg (through Rscript) are left out with a word where they are absent.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rectifold as rf
from benchmarks.instances import RESULTS

Array = NDArray[np.float64]
Timed = tuple[float, Array, float]  # CPU seconds, coefficients, intercept
Method = Callable[[Array, Array], Timed]
LONG_RUN = 10.0
EXACT = 1e-9


def recipe(n: int, d: int, seed: int = 0) -> tuple[Array, Array]:
    """Gaussian X, t(2) noise."""
    rng = np.random.default_rng(1000 + seed)
    X = rng.standard_normal((n, d))
    beta = rng.standard_normal(d)
    return X, X @ beta + 0.5 + rng.standard_t(2, n)


def ours(X: Array, y: Array) -> Timed:
    start = time.process_time()
    fit = rf.LADRegressor().fit(X, y)
    return time.process_time() - start, fit.coef_, fit.intercept_


def highs_dual(solver: str) -> Method:
    def run(X: Array, y: Array) -> Timed:
        import highspy

        E = np.hstack([X, np.ones((len(y), 1))])
        n, p = E.shape
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = n, p
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = -y, np.full(n, -1.0), np.ones(n)
        lp.row_lower_ = lp.row_upper_ = np.zeros(p)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = np.arange(0, n * p + 1, p)
        lp.a_matrix_.index_, lp.a_matrix_.value_ = np.tile(np.arange(p), n), E.ravel()
        highs: Any = highspy.Highs()
        for name, value in {"output_flag": False, "threads": 1, "solver": solver}.items():
            highs.setOptionValue(name, value)
        start = time.process_time()
        highs.passModel(lp)
        highs.run()
        seconds = time.process_time() - start
        theta = -np.array(highs.getSolution().row_dual)
        return seconds, theta[:-1], float(theta[-1])

    return run


def scikit_learn(solver: str) -> Method:
    def run(X: Array, y: Array) -> Timed:
        from sklearn.linear_model import QuantileRegressor

        start = time.process_time()
        fit = QuantileRegressor(quantile=0.5, alpha=0.0, solver=solver).fit(X, y)
        return time.process_time() - start, fit.coef_, float(fit.intercept_)

    return run


def statsmodels(X: Array, y: Array) -> Timed:
    from statsmodels.regression.quantile_regression import QuantReg

    E = np.hstack([X, np.ones((len(y), 1))])
    start = time.process_time()
    theta = np.asarray(QuantReg(y, E).fit(q=0.5).params)
    return time.process_time() - start, theta[:-1], float(theta[-1])


R_SCRIPT = """
suppressMessages(library(quantreg)); a <- commandArgs(TRUE); n <- as.integer(a[2]); p <- as.integer(a[3])
X <- matrix(readBin(paste0(a[1], "/X"), "double", n * p), n, p); y <- readBin(paste0(a[1], "/y"), "double", n)
t <- system.time(f <- suppressWarnings(rq.fit(X, y, tau = 0.5, method = a[4])))
writeBin(c(unname(t[1] + t[2]), unname(f$coefficients)), paste0(a[1], "/out"))
"""


def quantreg(method: str) -> Method:
    def run(X: Array, y: Array) -> Timed:
        E = np.hstack([X, np.ones((len(y), 1))])
        with tempfile.TemporaryDirectory() as folder:
            np.asfortranarray(E).ravel(order="F").tofile(Path(folder) / "X")
            y.tofile(Path(folder) / "y")
            arguments = [folder, str(E.shape[0]), str(E.shape[1]), method]
            subprocess.run(["Rscript", "-e", R_SCRIPT, *arguments], check=True, capture_output=True)
            out = np.fromfile(Path(folder) / "out")
        return float(out[0]), out[1:-1], float(out[-1])

    return run


def methods() -> dict[str, Method]:
    """All that can run here; says what cannot."""
    found: dict[str, Method] = {
        "rectifold": ours,
        "highs dual ipm": highs_dual("ipm"),
        "highs dual simplex": highs_dual("simplex"),
        "scikit-learn highs": scikit_learn("highs"),
        "scikit-learn highs-ipm": scikit_learn("highs-ipm"),
    }
    if find_spec("statsmodels"):
        found["statsmodels"] = statsmodels
    else:
        print("statsmodels is not installed: left out")
    check = ["Rscript", "-e", "library(quantreg)"]
    if shutil.which("Rscript") and subprocess.run(check, capture_output=True, check=False).returncode == 0:
        found |= {f"R quantreg {name}": quantreg(name) for name in ("br", "fn", "pfn")}
    else:
        print("R with the package quantreg is not installed: left out")
    return found


def absolute_deviations(X: Array, y: Array, coef: Array, intercept: float) -> float:
    """The sum of absolute residuals."""
    return float(np.abs(y - X @ coef - intercept).sum())


def measure(run: Method, X: Array, y: Array, repeats: int) -> tuple[float, float]:
    """Median CPU seconds and the objective."""
    seconds: list[float] = []
    for _ in range(repeats):
        spent, coef, intercept = run(X, y)
        seconds.append(spent)
        if spent > LONG_RUN:
            break
    return statistics.median(seconds), absolute_deviations(X, y, coef, intercept)


def compare(cases: list[tuple[int, int]], repeats: int, cap: float) -> list[dict[str, Any]]:
    """One row a case and method."""
    rows, slow, available = [], set(), methods()
    for n, d in cases:
        X, y = recipe(n, d)
        fit = rf.LADRegressor().fit(X, y)  # also loads what the first call loads
        proven = 2.0 * n * fit.lower_bound_
        assert rf.verify(fit.certificate_, grade="interval"), "the certificate does not hold"
        print(
            f"\n{n} x {d}: at least {proven:.10f}, at most {2.0 * n * fit.objective_:.10f}; {dict(fit.result_.stats)}"
        )
        base = np.nan
        for name, run in available.items():
            if name in slow:
                print(f"  {name:24s} left out: over {cap:g} s on a smaller case")
                continue
            seconds, value = measure(run, X, y, repeats)
            base = seconds if name == "rectifold" else base
            if seconds > cap:
                slow.add(name)
            off = (value - 2.0 * n * fit.objective_) / (2.0 * n * fit.objective_)
            word = "exact" if abs(off) <= EXACT else "not exact"
            print(f"  {name:24s} {seconds:10.4f} s  {seconds / base:8.1f} x  relative excess {off:+.1e} ({word})")
            rows.append({"n": n, "d": d, "method": name, "seconds": seconds, "ratio": seconds / base, "excess": off})
    return rows


def memory_map(n: int, d: int) -> dict[str, Any]:
    """A fit from files; the peak of resident memory counts the pages of the map."""
    with tempfile.TemporaryDirectory() as folder:
        path, rng = Path(folder) / "X", np.random.default_rng(1000)
        beta, y, step = rng.standard_normal(d), np.empty(n), 1_000_000
        with path.open("wb") as file:
            for start in range(0, n, step):
                part = rng.standard_normal((min(step, n - start), d))
                y[start : start + step] = part @ beta + 0.5 + rng.standard_t(2, len(part))
                part.tofile(file)
        X = np.memmap(path, mode="r", shape=(n, d), dtype=np.float64)
        wall, cpu = time.perf_counter(), time.process_time()
        fit = rf.LADRegressor().fit(X, y)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    row = {"n": n, "d": d, "wall": wall, "cpu": cpu, "peak_gb": peak, "objective": fit.objective_, "gap": fit.gap_}
    print(", ".join(f"{k} {v:.6g}" for k, v in row.items()))
    return row


def size(text: str) -> tuple[int, int]:
    n, d = text.split("x")
    return int(n), int(d)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", type=size, default=["1000x5", "10000x10", "100000x10", "100000x50"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cap", type=float, default=60.0)
    parser.add_argument("--memory-map", type=size, metavar="NxD")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if options.memory_map:
        rows: Any = memory_map(*options.memory_map)
        (RESULTS / "lad_memory_map.json").write_text(json.dumps(rows, indent=1))
        return
    cases = [case if isinstance(case, tuple) else size(case) for case in options.cases]
    rows = compare(cases, options.repeats, options.cap)
    (RESULTS / "lad.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

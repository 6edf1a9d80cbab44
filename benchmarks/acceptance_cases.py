"""Seconds and values of the acceptance cases with printed answers (1, 2, 6, 7, 8, 12, 16).

OMP_NUM_THREADS=1 python -m benchmarks.acceptance_cases
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import rectifold as rf
from benchmarks.instances import SMALL, closed_forms, fixed_program, t1, wine_one_vs_all, xor


def timed(label: str, expected: float, compute: Callable[[], float]) -> bool:
    """Print value, printed value, relative difference and CPU seconds; True when they agree to 1e-6."""
    start = time.process_time()
    value = compute()
    seconds = time.process_time() - start
    difference = abs(value - expected) / abs(expected)
    print(f"{label:32s} {value:.12g} (printed {expected:.12g}, {difference:.1e})  {seconds:.4f} s")
    return difference <= 1e-6


def main() -> None:
    """Run them all; the exit status says whether every one agreed."""
    switches = {"hidden_bias": False, "fit_intercept": False}
    X, y = t1()
    good = [
        timed("1 patterns of T1", 20, lambda: rf.all_patterns(X).shape[1]),
        timed(
            "1 lambda_max of T1",
            4.503967139672,
            lambda: 10 * rf.alpha_max(X, y, patterns=rf.all_patterns(X), **switches),
        ),
        timed("7 patterns of XOR", 13, lambda: rf.all_patterns(xor()[0]).shape[1]),
    ]
    for case in closed_forms():
        n = len(case.y)

        def optimum(case=case, n=n) -> float:
            result = rf.solve_convex_relu(case.X, case.y, alpha=case.lam / n, patterns=rf.all_patterns(case.X),
                                          hidden_bias=False, fit_intercept=case.fit_intercept, tol=1e-10)  # fmt: skip
            return n * result.value

        good.append(timed(f"2/6/7/16 {case.name}", case.optimum, optimum))
    for name in SMALL:
        program = fixed_program(name)
        good.append(timed(f"8 {name}", program.optimum, lambda p=program: len(p.y) * rf.solve_convex_relu(
            p.X, p.y, alpha=p.alpha, patterns=p.patterns, tol=1e-9, **switches).value))  # fmt: skip
    X, Y, patterns, lam, optima = wine_one_vs_all()
    for k, expected in enumerate(optima):
        target = np.ascontiguousarray(Y[:, k])
        good.append(timed(f"12 wine class {k}", expected, lambda y=target: len(X) * rf.solve_convex_relu(
            X, y, alpha=lam / len(X), patterns=patterns, tol=1e-9, **switches).value))  # fmt: skip
    raise SystemExit(0 if all(good) else "a case disagrees with its printed value")


if __name__ == "__main__":
    main()

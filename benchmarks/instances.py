"""The fixed instances every timing here speaks of, checked once against the figures printed for them.

Convention: ``P = 1/2 ||Z w - y||^2 + lam * sum_b ||w_b||`` without an output intercept on the matrix as given
(``hidden_bias=False``; a ones column is part of ``X``); rectifold's ``alpha`` is ``lam / n``, its objective ``P / n``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.true_gap import lambda_max

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, eq=False)
class FixedProgram:
    """A cone-constrained group lasso over sampled patterns, with its published optimum."""

    name: str
    X: NDArray[np.float64]
    y: NDArray[np.float64]
    patterns: NDArray[np.bool_]
    lam: float
    optimum: float
    n_active: int

    @property
    def alpha(self) -> float:
        """The regularisation in rectifold's units."""
        return self.lam / self.X.shape[0]


@dataclass(frozen=True)
class _Published:
    gates: int
    lambda_max: float
    lambda_max_gated: float | None
    optima: dict[str, tuple[float, float, int]]  # fraction -> lambda, optimum, active blocks


PUBLISHED = {
    "wine": _Published(100, 118.865277653, 195.0281, {
        "0.1": (11.886527765, 30.0897870925, 11), "0.01": (1.1886527765, 10.0801623242, 37)}),
    "diabetes": _Published(100, 209.758410685, 476.2073, {
        "0.1": (20.975841068, 134.4552351173, 13), "0.01": (2.0975841068, 101.5647363340, 42)}),
    "breast": _Published(100, 494.676467614, 1499.7407, {
        "0.1": (49.467646761, 123.070567603, 11), "0.01": (4.9467646761, 56.3459275608, 36)}),
    "synth": _Published(500, 294.178093165, 504.3556, {
        "0.1": (29.417809316, 221.416305740, 49), "0.01": (2.9417809316, 66.202631645, 203)}),
    "digits": _Published(100, 1122.861257869, None, {"0.1": (112.286125787, 381.618862435, 21)}),
}  # fmt: skip
SMALL = ("wine-0.1", "wine-0.01", "diabetes-0.1", "diabetes-0.01", "breast-0.1", "breast-0.01")
LARGE = ("synth-0.1", "synth-0.01", "digits-0.1")
NAMES = SMALL + LARGE


def with_ones(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standardise the columns (population deviation, constant ones dropped) and append the ones column."""
    deviation = X.std(axis=0)
    kept = deviation > 0
    return np.c_[(X[:, kept] - X[:, kept].mean(axis=0)) / deviation[kept], np.ones(len(X))]


def sampled_gates(X: NDArray[np.float64], n_gates: int, seed: int = 0) -> NDArray[np.bool_]:
    """The patterns scnn samples: unique non-zero columns of ``1(X G > 0)``, G standard normal."""
    gates = np.random.default_rng(seed).standard_normal((X.shape[1], n_gates))
    patterns = np.unique(X @ gates > 0, axis=1)
    return np.ascontiguousarray(patterns[:, patterns.any(axis=0)])


def synth(n: int = 1000, d: int = 20, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ten planted neurons plus noise 0.1: columns as drawn, no ones column."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    hidden, output = rng.standard_normal((d, 10)), rng.standard_normal(10)
    signal = np.maximum(X @ hidden, 0) @ output
    return X, signal / signal.std() + 0.1 * rng.standard_normal(n)


@cache
def data(problem: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and targets of 'wine', 'diabetes', 'breast', 'synth' or 'digits' (ones column included)."""
    from sklearn import datasets

    if problem == "synth":
        return synth()
    loader = {"wine": datasets.load_wine, "diabetes": datasets.load_diabetes,
              "breast": datasets.load_breast_cancer, "digits": datasets.load_digits}[problem]  # fmt: skip
    X, target = loader(return_X_y=True)
    if problem == "diabetes":
        return with_ones(X), (target - target.mean()) / target.std()
    positive = {"wine": 1, "breast": 1, "digits": 8}[problem]
    return with_ones(X), np.where(target == positive, 1.0, -1.0)


@cache
def fixed_program(name: str) -> FixedProgram:
    """The instance called e.g. ``"wine-0.1"``; checked against its printed lambda_max on first use."""
    problem, fraction = name.rsplit("-", 1)
    published = PUBLISHED[problem]
    lam, optimum, n_active = published.optima[fraction]
    X, y = data(problem)
    program = FixedProgram(name, X, y, sampled_gates(X, published.gates), lam, optimum, n_active)
    _check_once(problem, program, published)
    return program


def fixed_programs(names: tuple[str, ...] = NAMES) -> Iterator[FixedProgram]:
    """The named instances, built one after the other."""
    return (fixed_program(name) for name in names)


def _check_once(problem: str, program: FixedProgram, published: _Published) -> None:
    """Compare lambda_max over the cones and over the plain gates with the printed values, remember success."""
    digest = hashlib.sha256(program.X.tobytes() + program.y.tobytes() + program.patterns.tobytes()).hexdigest()
    marker = RESULTS / f"checked_{problem}.json"
    if marker.exists() and json.loads(marker.read_text())["sha256"] == digest:
        return
    cone = lambda_max(program.X, program.y, program.patterns, projector="nnls")
    gated = float(np.linalg.norm(program.X.T @ (program.patterns * program.y[:, None]), axis=0).max())
    wrong = not np.isclose(cone, published.lambda_max, rtol=1e-9)
    if published.lambda_max_gated is not None:
        wrong |= not np.isclose(gated, published.lambda_max_gated, rtol=1e-6)
    if wrong:
        raise AssertionError(f"{problem}: lambda_max {cone!r} / {gated!r}, printed {published}")
    RESULTS.mkdir(exist_ok=True)
    marker.write_text(json.dumps({"sha256": digest, "lambda_max": cone, "lambda_max_gated": gated}))


def t1() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ten-point plane instance T1 (20 patterns, lambda_max 4.503967139672)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10, 2))
    return X, np.sign(X[:, 0] * X[:, 1]) + 0.1 * rng.standard_normal(10)


def xor() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """XOR with a ones column (13 non-zero patterns, lambda_max sqrt 2)."""
    points = np.array([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
    return np.c_[points, np.ones(4)], points[:, 0] * points[:, 1]


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """An instance over all patterns whose optimum is known; ``lam`` in the units of this module."""

    name: str
    X: NDArray[np.float64]
    y: NDArray[np.float64]
    lam: float
    optimum: float
    n_neurons: int | None = None
    fit_intercept: bool = False


def closed_forms() -> list[ClosedForm]:
    """Acceptance cases 2, 6, 7 and 16."""
    X, y = t1()
    largest, with_c = 4.503967139672, 2.257667407
    printed = {0.9999: 5.1665167865, 0.5: 4.6893842264, 0.1: 2.8854439902, 0.01: 1.4250397753, 1.0001: 5.1665167992}
    cases = [ClosedForm(f"T1 {f}", X, y, f * largest, value, 0 if f > 1 else None) for f, value in printed.items()]
    cases.append(ClosedForm("T1 0.1 with intercept", X, y, 0.1 * with_c, 2.097075856, fit_intercept=True))
    cases.append(ClosedForm("identity", np.eye(4), np.array([3.0, 4.0, -5.0, -12.0]), 2.0, 32.0, 2))
    cases.append(ClosedForm("one sample", np.array([[3.0, 4.0]]), np.array([2.0]), 1.5, 0.555, 1))
    X, y = xor()
    root = 2.0 * np.sqrt(2.0)
    cases += [ClosedForm(f"XOR {lam}", X, y, lam, root * lam - lam**2) for lam in (0.1, 0.5, 1.0)]
    return cases


def wine_one_vs_all() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], float, tuple[float, ...]]:
    """Case 12: matrix, (n, 3) targets +-1, patterns (seed 1, 50 gates), lambda and the three optima."""
    from sklearn.datasets import load_wine

    X, _ = data("wine")
    target = load_wine(return_X_y=True)[1]
    Y = np.where(target[:, None] == np.arange(3), 1.0, -1.0)
    return X, Y, sampled_gates(X, 50, seed=1), 10.0, (29.618505, 37.442428, 23.391329)


def uci_table(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features and the last column of a table in ``$RECTIFOLD_DATA/uci``."""
    folder = os.environ.get("RECTIFOLD_DATA")
    if not folder:
        raise SystemExit(f"{name} is read from $RECTIFOLD_DATA/uci/{name}.csv.gz; the variable is not set")
    values = np.loadtxt(Path(folder) / "uci" / f"{name}.csv.gz", delimiter=",")
    return values[:, :-1], values[:, -1]

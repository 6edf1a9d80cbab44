"""SciPy's L-BFGS-B on the network itself, the same smooth-penalty objective as ``torch_adam``."""

from __future__ import annotations

import contextlib
import time

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.true_gap import network_objective

Array = NDArray[np.float64]
OPTIONS = {"maxiter": 10**6, "maxfun": 10**7, "maxcor": 20, "ftol": 0.0, "gtol": 1e-9}


class _TimeUp(Exception):
    """Raised from the callback when the budget is spent."""


def train(X: Array, y: Array, lam: float, *, width: int, seconds: float, seed: int = 0) -> tuple[float, float]:
    """Objective reached and CPU seconds of one start (ends at convergence or when the budget is spent)."""
    rng = np.random.default_rng(seed)
    d = X.shape[1]
    start = np.r_[(rng.standard_normal((width, d)) / np.sqrt(d)).ravel(), rng.standard_normal(width) / np.sqrt(width)]
    last = {"z": start}
    begin = time.process_time()

    def value(z: Array) -> tuple[float, Array]:
        W, a = z[:-width].reshape(width, d), z[-width:]
        H = np.maximum(X @ W.T, 0)
        r = H @ a - y
        dW = ((H > 0) * r[:, None]).T @ X * a[:, None] + lam * W
        return 0.5 * (r @ r) + 0.5 * lam * (z @ z), np.r_[dW.ravel(), H.T @ r + lam * a]

    def check(z: Array) -> None:
        last["z"] = z.copy()
        if time.process_time() - begin > seconds:
            raise _TimeUp

    with contextlib.suppress(_TimeUp):
        last["z"] = minimize(value, start, jac=True, method="L-BFGS-B", callback=check,
                             options=OPTIONS).x  # fmt: skip
    z = last["z"]
    hidden, output = z[:-width].reshape(width, d), z[-width:]
    return network_objective(X, y, lam, hidden, output), time.process_time() - begin


def best_of(X: Array, y: Array, lam: float, *, width: int, seconds: float, starts: int = 3) -> tuple[float, float]:
    """The lowest objective of several starts with the full budget each, and the CPU seconds of all of them."""
    runs = [train(X, y, lam, width=width, seconds=seconds, seed=seed) for seed in range(starts)]
    return min(value for value, _ in runs), sum(cpu for _, cpu in runs)

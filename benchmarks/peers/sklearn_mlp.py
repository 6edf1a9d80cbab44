"""scikit-learn's MLP, by held-out prediction and time only: its biases are free, so its objective is another one."""

from __future__ import annotations

import time
import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

Array = NDArray[np.float64]


def fit(
    X: Array, y: Array, lam: float, *, width: int = 100, solver: str = "adam", seed: int = 0
) -> tuple[MLPRegressor, float]:
    """Fitted regressor (alpha = lam: its penalty is ``alpha / (2 n) ||W||^2``) and CPU seconds."""
    model = MLPRegressor(hidden_layer_sizes=(width,), alpha=lam, solver=solver, max_iter=2000, random_state=seed)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    return model, time.process_time() - start


def score(prediction: Array, y: Array) -> float:
    """Accuracy of the sign for +-1 targets, R^2 otherwise."""
    if set(np.unique(y)) == {-1.0, 1.0}:
        return float((np.sign(prediction) == y).mean())
    return float(1 - ((prediction - y) ** 2).sum() / ((y - y.mean()) ** 2).sum())

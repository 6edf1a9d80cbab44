"""scikit-learn's models on the same split, for comparison of predictions and time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from rectifold.cli.data import RunData
from rectifold.report import ModelRow

__all__ = ["peer_rows"]


def peer_rows(data: RunData, seed: int) -> Iterator[ModelRow]:
    """Fit each peer to the training part, one at a time.

    The peers get the same standardised inputs; MLPRegressor also gets a standardised target, without which its
    defaults do not converge on most tables.
    """
    X, X_test = data.X(data.train), data.X(data.test)
    y, y_test = data.y[data.train], data.y[data.test]
    for name, model, note in _peers(data, seed):
        start = time.perf_counter()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            model.fit(X, y)
        elapsed = time.perf_counter() - start
        test = float(model.score(X_test, y_test)) if data.test.size > 1 else None
        yield ModelRow(name, float(model.score(X, y)), test, elapsed, note)


def _peers(data: RunData, seed: int) -> list[tuple[str, Any, str]]:
    """Return (name, model, note) of each peer."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import StandardScaler

    note = "100 neurons, Adam, defaults"
    options: dict[str, Any] = {"random_state": seed}
    if data.task == "classification":
        linear: tuple[str, Any, str] = ("LogisticRegression", LogisticRegression(max_iter=1000), "linear, defaults")
        return [("MLPClassifier", MLPClassifier(**options), note), linear]
    network = TransformedTargetRegressor(MLPRegressor(**options), transformer=StandardScaler())
    ridge = RidgeCV(alphas=np.geomspace(1e-3, 1e4, 15))
    return [("MLPRegressor", network, f"{note}, target standardised"), ("RidgeCV", ridge, "linear, penalty chosen")]

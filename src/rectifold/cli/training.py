"""The estimators as the command uses them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.cli.data import encode_targets
from rectifold.core.network import ReLUNetwork
from rectifold.estimators.convex_relu import ConvexReLUClassifier, ConvexReLURegressor
from rectifold.training.convex.alpha_max import alpha_max

__all__ = ["FOLD_TOLERANCE", "fit_estimator", "largest_alpha"]

Array = NDArray[np.float64]
FOLD_TOLERANCE = 1e-4


def fit_estimator(
    task: str,
    X: Array,
    y: NDArray[Any],
    alpha: float,
    monitor: Any,
    *,
    seed: int,
    time_limit: float | None = None,
    proof: bool = True,
    start: ReLUNetwork | None = None,
) -> tuple[Any, tuple[str, ...]]:
    """Fit one network.

    Parameters
    ----------
    proof : bool
        Whether to search for a proof and solve to full accuracy; folds and paths do neither.
    start : ReLUNetwork, optional
        Network to start from.

    Returns
    -------
    (estimator, warnings)
        The fitted estimator and what it warned of.
    """
    kind = ConvexReLUClassifier if task == "classification" else ConvexReLURegressor
    options: dict[str, Any] = {} if proof else {"certify": False, "tol": FOLD_TOLERANCE}
    estimator = kind(alpha=alpha, time_limit=time_limit, random_state=seed, warm_start=start, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, y, callback=monitor)
    return estimator, tuple(dict.fromkeys(str(warning.message) for warning in caught))


def largest_alpha(task: str, X: Array, y: NDArray[Any]) -> float:
    """Return the largest alpha at which a neuron was found to enter."""
    classes = np.unique(y) if task == "classification" else None
    loss = "squared" if classes is None else "logistic" if classes.shape[0] == 2 else "multinomial"
    return float(alpha_max(X, encode_targets(y, classes), loss=loss))

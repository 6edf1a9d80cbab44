"""The estimators as the command uses them."""

from __future__ import annotations

import warnings
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.cli.data import encode_targets
from rectifold.core.network import ReLUNetwork
from rectifold.estimators.convex_relu import ConvexReLUClassifier, ConvexReLURegressor
from rectifold.training.convex.alpha_max import alpha_max

__all__ = ["Effort", "fit_estimator", "largest_alpha"]

Array = NDArray[np.float64]


class Effort(Enum):
    """How hard a fit tries.

    A fold is there to rank alphas: on diabetes, three rounds give its score to three digits in a tenth of the time
    that an optimum takes. A point of the path is shown, so it may take longer; only the final fit is solved to
    the library's tolerance and gets a search for a proof.
    """

    FOLD = "fold"
    PATH = "path"
    FULL = "full"


_EFFORT: dict[Effort, dict[str, Any]] = {
    Effort.FOLD: {"certify": False, "tol": 1e-3, "n_starts": 30, "max_iter": 3},
    Effort.PATH: {"certify": False, "tol": 1e-3, "n_starts": 100, "max_iter": 6},
    Effort.FULL: {},
}


def fit_estimator(
    task: str,
    X: Array,
    y: NDArray[Any],
    alpha: float,
    monitor: Any,
    *,
    seed: int,
    time_limit: float | None = None,
    max_work: float | None = None,
    effort: Effort = Effort.FULL,
    start: ReLUNetwork | None = None,
) -> tuple[Any, tuple[str, ...]]:
    """Fit one network.

    Parameters
    ----------
    max_work : float, optional
        Effort of the proof, in samples visited; the estimator's default if left out.
    effort : Effort
    start : ReLUNetwork, optional
        Network to start from.

    Returns
    -------
    (estimator, warnings)
        The fitted estimator and what it warned of.
    """
    kind = ConvexReLUClassifier if task == "classification" else ConvexReLURegressor
    chosen = _EFFORT[effort] | ({} if max_work is None else {"max_work": int(max_work)})
    estimator = kind(alpha=alpha, time_limit=time_limit, random_state=seed, warm_start=start, **chosen)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, y, callback=monitor)
    return estimator, tuple(dict.fromkeys(str(warning.message) for warning in caught))


def largest_alpha(task: str, X: Array, y: NDArray[Any]) -> float:
    """Return the largest alpha at which a neuron was found to enter."""
    classes = np.unique(y) if task == "classification" else None
    loss = "squared" if classes is None else "logistic" if classes.shape[0] == 2 else "multinomial"
    return float(alpha_max(X, encode_targets(y, classes), loss=loss))

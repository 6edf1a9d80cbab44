"""The scikit-learn estimator of quantile regression and least absolute deviations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from rectifold.core.monitor import Monitor
from rectifold.core.result import Result
from rectifold.estimators.convex_relu import seed_of, weights_of
from rectifold.programs.lad import LADModel, solve_lad, solve_lad_stream

__all__ = ["LADRegressor"]

Array = NDArray[np.float64]


class LADRegressor(RegressorMixin, BaseEstimator):
    """Quantile regression, by default least absolute deviations, solved exactly at a vertex.

    Minimises the mean pinball loss ``sum_i w_i max(q r_i, (q - 1) r_i) / sum_i w_i`` of the residuals r plus
    ``alpha ||coef||_1``, as scikit-learn's ``QuantileRegressor`` does.

    Parameters
    ----------
    quantile : float
        Strictly between 0 and 1; 0.5 is least absolute deviations.
    alpha : float
        L1 penalty of the coefficients.
    fit_intercept : bool
    time_limit : float or None
        Seconds.
    random_state : int, RandomState or None
        Picks the samples that are solved first; matters only where the optimum is not unique.

    Attributes
    ----------
    coef_ : ndarray, shape (n_features,)
    intercept_ : float
    objective_ : float
    lower_bound_ : float
        Proven by ``certificate_``.
    gap_ : float
        ``(objective_ - lower_bound_) / objective_``.
    basis_ : ndarray of int64
        Samples that are interpolated; -1 - j stands for the coefficient j being zero.
    dual_ : ndarray, shape (n_samples,), or None
        Slopes of the losses of the residuals, with ``X'dual_ = 0`` at the optimum if there is no penalty. None after
        `fit_stream`.
    edge_slopes_ : ndarray, shape (k, 2)
        Growth of the sum of losses along the edges that leave the vertex; at the optimum none is negative.
    is_unique_ : bool
        Whether this is proven to be the only optimum.
    certificate_ : LADCertificate or None
        Re-checked by :func:`rectifold.verify`.
    result_ : Result
    n_iter_ : int
        Vertices visited.

    References
    ----------
    Barrodale and Roberts (1973); Koenker and d'Orey (1987); Portnoy and Koenker (1997).
    """

    def __init__(
        self,
        quantile: float = 0.5,
        alpha: float = 0.0,
        fit_intercept: bool = True,
        *,
        time_limit: float | None = None,
        random_state: Any = 0,
    ) -> None:
        self.quantile = quantile
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.time_limit = time_limit
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, callback: Monitor | None = None
    ) -> Self:
        """Fit on X (n_samples, n_features), which may be a memory map, and y (n_samples,)."""
        inputs, targets = validate_data(self, X, y, y_numeric=True, dtype=[np.float64, np.float32])
        result = solve_lad(
            inputs,
            np.asarray(targets, dtype=np.float64),
            self.quantile,
            self.alpha,
            self.fit_intercept,
            weights_of(sample_weight, inputs),
            time_limit=self.time_limit,
            callback=callback,
            random_state=seed_of(self.random_state),
        )
        return self._unwrap(result)

    def fit_stream(
        self,
        batches: Callable[[], Iterable[Any]],
        *,
        max_rows: int = 500_000,
        callback: Monitor | None = None,
    ) -> Self:
        """Fit on data larger than memory.

        Parameters
        ----------
        batches : callable
            Returns an iterable of batches (X, y) or (X, y, sample_weight), the same ones at each call; for Parquet
            files `rectifold.io.parquet_batches`.
        max_rows : int
            Rows to hold as a sample.
        callback : Monitor, optional
        """
        result = solve_lad_stream(
            batches,
            self.quantile,
            self.alpha,
            self.fit_intercept,
            max_rows=max_rows,
            time_limit=self.time_limit,
            callback=callback,
            random_state=seed_of(self.random_state),
        )
        self.n_features_in_ = len(result.solution.coef)
        return self._unwrap(result)

    def _unwrap(self, result: Result[LADModel]) -> Self:
        model = result.solution
        self.result_ = result
        self.coef_ = np.array(model.coef)
        self.intercept_ = model.intercept
        self.objective_ = result.value
        self.lower_bound_ = result.bound
        self.gap_ = result.relative_gap
        self.basis_ = model.basis
        self.dual_ = model.dual
        self.edge_slopes_ = model.edge_slopes
        self.is_unique_ = model.is_unique
        self.certificate_ = result.certificate
        self.n_iter_ = max(int(result.stats.get("pivots", 0)), 1)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return predictions of shape (n_samples,)."""
        check_is_fitted(self, "coef_")
        points = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(points @ self.coef_ + self.intercept_)

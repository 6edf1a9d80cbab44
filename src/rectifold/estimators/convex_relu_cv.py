"""Convex two-layer networks that choose alpha by cross-validation along a warm-started path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from rectifold.core.monitor import Monitor
from rectifold.core.problem import HiddenBias
from rectifold.estimators.convex_relu import ConvexReLUClassifier, ConvexReLURegressor, weights_of
from rectifold.estimators.path_cv import PathCV

__all__ = ["ConvexReLUClassifierCV", "ConvexReLURegressorCV"]

Array = NDArray[np.float64]

_PLAIN = ("hidden_bias", "fit_intercept", "output_penalty", "certify", "gap_tol", "max_work", "tol", "max_iter",
          "n_starts", "time_limit", "n_jobs")  # fmt: skip


class ConvexReLURegressorCV(PathCV, ConvexReLURegressor):
    """`ConvexReLURegressor` with alpha chosen by cross-validation along a path.

    The folds go down a grid of alphas together, each warm-started and solved roughly (a few rounds of pricing and short
    descent at each alpha), until the mean score has turned. At the best alpha the fold's network that is best on all
    data is then trained on them; beyond ``n d = 1e5`` entries that training is first-order (unless ``certify`` is set).
    At small alphas it ends far from a proven optimum, and ``priced_gap_`` says so. Features are never
    rescaled: standardise first.

    Parameters
    ----------
    alphas : int or array_like
        Number of alphas, evenly spaced in the logarithm from just below `alpha_max`, or the alphas.
    eps : float
        Smallest alpha of the default grid over alpha_max.
    cv : int, splitter, iterable or None
        As in scikit-learn; None: five shuffled folds, three of more than 3000 samples, and beyond 10 000 samples one
        fifth held out.
    scoring : str, callable or None
        What to maximise; None: minus the loss on the held-out samples.
    one_standard_error : bool
        Take the largest alpha whose mean score is within one standard error of the best.
    patience : int or None
        Stop once the best mean score lies this many alphas back; None: never.
    fold_steps : int
        Descent steps at each alpha.
    hidden_bias, fit_intercept, output_penalty, certify, gap_tol, max_work, tol, max_iter, n_starts, time_limit
        Of the final training, as in `ConvexReLURegressor`, at looser defaults; its gap is reported, and there is no
        warning where ``max_iter`` ends it. ``certify`` concerns it alone: nothing is proven inside folds.
    n_jobs : int or None
        Folds trained at a time, by joblib: ``parallel_config(backend="dask")`` works.
    random_state : int, RandomState or None

    Attributes
    ----------
    alpha_ : float
    alphas_ : ndarray, shape (k,)
        The alphas that were tried, falling.
    cv_scores_ : ndarray, shape (k, n_folds)
    best_score_ : float
        Mean score at ``alpha_``.
    network_, objective_, lower_bound_, gap_, priced_gap_, restricted_gap_, proof_, certificate_, result_, \
n_neurons_, n_iter_
        As in :class:`ConvexReLURegressor`.
    """

    def __init__(
        self,
        *,
        alphas: int | Sequence[float] | Array = 16,
        eps: float = 1e-6,
        cv: Any = None,
        scoring: Any = None,
        one_standard_error: bool = False,
        patience: int | None = 3,
        fold_steps: int = 160,
        hidden_bias: HiddenBias = True,
        fit_intercept: bool = True,
        output_penalty: str = "l2",
        certify: bool = False,
        gap_tol: float = 1e-2,
        max_work: int = 5_000_000_000,
        tol: float = 1e-3,
        max_iter: int = 5,
        n_starts: int = 100,
        time_limit: float | None = None,
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.scoring = scoring
        self.one_standard_error = one_standard_error
        self.patience = patience
        self.fold_steps = fold_steps
        self.hidden_bias = hidden_bias
        self.fit_intercept = fit_intercept
        self.output_penalty = output_penalty
        self.certify = certify
        self.gap_tol = gap_tol
        self.max_work = max_work
        self.tol = tol
        self.max_iter = max_iter
        self.n_starts = n_starts
        self.time_limit = time_limit
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, callback: Monitor | None = None
    ) -> Self:
        """Choose alpha and train on X (n_samples, n_features) and y (n_samples,) or (n_samples, n_outputs)."""
        inputs, targets = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=np.float64)
        plain = ConvexReLURegressor(**{name: getattr(self, name) for name in _PLAIN})
        plain._single_output, plain.n_features_in_ = np.ndim(targets) == 1, inputs.shape[1]
        targets = np.asarray(targets, dtype=np.float64)
        weight = weights_of(sample_weight, inputs)
        problem, start = self._select(plain, inputs, targets, targets, "squared", weight)
        self._finish(plain, (inputs, targets, weight), problem, start, callback)
        return self


class ConvexReLUClassifierCV(PathCV, ConvexReLUClassifier):
    """`ConvexReLUClassifier` with alpha chosen by cross-validation along a path.

    Parameters
    ----------
    loss : {"logistic", "squared_hinge"}
    class_weight : dict, "balanced" or None
    alphas, eps, cv, scoring, one_standard_error, patience, fold_steps, hidden_bias, fit_intercept, output_penalty, \
certify, gap_tol, max_work, tol, max_iter, n_starts, time_limit, n_jobs, random_state
        As in :class:`ConvexReLURegressorCV`; default folds are stratified.

    Attributes
    ----------
    classes_ : ndarray
    alpha_, alphas_, cv_scores_, best_score_
        As in :class:`ConvexReLURegressorCV`.
    network_, objective_, lower_bound_, gap_, priced_gap_, restricted_gap_, proof_, certificate_, result_, \
n_neurons_, n_iter_
        As in :class:`ConvexReLURegressor`.
    """

    def __init__(
        self,
        *,
        loss: str = "logistic",
        class_weight: Any = None,
        alphas: int | Sequence[float] | Array = 16,
        eps: float = 1e-6,
        cv: Any = None,
        scoring: Any = None,
        one_standard_error: bool = False,
        patience: int | None = 3,
        fold_steps: int = 160,
        hidden_bias: HiddenBias = True,
        fit_intercept: bool = True,
        output_penalty: str = "l2",
        certify: bool = False,
        gap_tol: float = 1e-2,
        max_work: int = 5_000_000_000,
        tol: float = 1e-3,
        max_iter: int = 5,
        n_starts: int = 100,
        time_limit: float | None = None,
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.loss = loss
        self.class_weight = class_weight
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.scoring = scoring
        self.one_standard_error = one_standard_error
        self.patience = patience
        self.fold_steps = fold_steps
        self.hidden_bias = hidden_bias
        self.fit_intercept = fit_intercept
        self.output_penalty = output_penalty
        self.certify = certify
        self.gap_tol = gap_tol
        self.max_work = max_work
        self.tol = tol
        self.max_iter = max_iter
        self.n_starts = n_starts
        self.time_limit = time_limit
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, callback: Monitor | None = None
    ) -> Self:
        """Choose alpha and train on X (n_samples, n_features) and class labels y (n_samples,)."""
        inputs, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        plain = ConvexReLUClassifier(
            loss=self.loss, class_weight=self.class_weight, **{name: getattr(self, name) for name in _PLAIN}
        )
        weight = weights_of(sample_weight, inputs)
        used = np.ones(len(labels), dtype=bool) if weight is None else weight > 0
        classes = np.unique(labels[used])
        if len(classes) < 2 or self.loss not in ("logistic", "squared_hinge"):
            plain.set_params(alpha=1.0)
            plain.fit(inputs, labels, sample_weight=weight)  # says what is wrong
        plain.classes_, plain.n_features_in_ = classes, inputs.shape[1]
        codes = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        total = None if weight is None else weight
        if self.class_weight is not None:
            total = np.ones(len(codes)) if weight is None else weight.copy()
            total[used] *= plain._per_class(labels[used], codes[used], total[used])[codes[used]]
        binary = len(classes) == 2
        loss = "multinomial" if self.loss == "logistic" and not binary else self.loss
        targets = 2.0 * codes - 1.0 if binary else codes
        problem, start = self._select(plain, inputs, targets, labels, loss, total)
        self._finish(plain, (inputs, labels, weight), problem, start, callback)
        return self

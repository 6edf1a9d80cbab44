"""scikit-learn estimators of two-layer networks trained as a convex program."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from rectifold._engine.budget import Budget
from rectifold.core.errors import ProblemError
from rectifold.core.monitor import Monitor
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem, HiddenBias
from rectifold.core.result import Result
from rectifold.training.convex.options import TrainingOptions
from rectifold.training.convex.train import train

Array = NDArray[np.float64]


class _ConvexReLU(BaseEstimator):
    """What the regressor and the classifier share: parameters, training and the unwrapped result."""

    def __init__(
        self,
        alpha: float = 1e-3,
        *,
        hidden_bias: HiddenBias = True,
        fit_intercept: bool = True,
        output_penalty: str = "l2",
        certify: bool = True,
        gap_tol: float = 1e-2,
        max_work: int = 5_000_000_000,
        tol: float = 1e-6,
        max_iter: int = 50,
        n_starts: int = 300,
        time_limit: float | None = None,
        n_jobs: int | None = None,
        random_state: Any = 0,
        warm_start: ReLUNetwork | bool | None = None,
    ) -> None:
        self.alpha = alpha
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
        self.warm_start = warm_start

    def _train(self, X: Array, y: NDArray[Any], loss: str, weight: Array | None, callback: Monitor | None) -> None:
        options = TrainingOptions(
            self.tol,
            self.max_iter,
            self.n_starts,
            self.certify,
            self.gap_tol,
            self.max_work,
            seed_of(self.random_state),
        )
        problem = ConvexReLUProblem(
            X, y, self.alpha, loss, self.hidden_bias, self.fit_intercept, self.output_penalty, weight
        )
        budget = Budget(callback, self.time_limit)
        self._unwrap(train(problem, options, budget, self._start(), n_jobs=self.n_jobs))

    def _start(self) -> ReLUNetwork | None:
        if isinstance(self.warm_start, bool | np.bool_):
            return getattr(self, "network_", None) if self.warm_start else None
        if self.warm_start is None or isinstance(self.warm_start, ReLUNetwork):
            return self.warm_start
        raise ProblemError(f"warm_start must be a ReLUNetwork, a bool or None, got {self.warm_start!r}.")

    def _unwrap(self, result: Result[ReLUNetwork]) -> None:
        self.result_ = result
        self.network_ = result.solution
        self.objective_ = result.value
        self.lower_bound_ = result.bound
        self.gap_ = result.relative_gap
        self.priced_gap_ = result.stats["priced_gap"]
        self.restricted_gap_ = result.stats["restricted_gap"]
        self.proof_ = result.proof
        self.certificate_ = result.certificate
        self.n_neurons_ = result.solution.widths[0]
        self.n_iter_ = max(int(result.stats["rounds"]), 1)
        if self.restricted_gap_ > self.tol and result.status == "iteration_limit":
            warnings.warn(
                f"The restricted relative duality gap is {self.restricted_gap_:.2g}, above tol={self.tol:.2g}, after "
                f"{self.n_iter_} rounds (max_iter={self.max_iter}).",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _outputs(self, X: ArrayLike) -> Array:
        check_is_fitted(self, "network_")
        return self.network_(validate_data(self, X, dtype=np.float64, reset=False))


class ConvexReLURegressor(RegressorMixin, _ConvexReLU):
    """Two-layer ReLU network trained on squared loss to the best optimum that can be found, with an honest gap.

    Minimises ``1/2 sum_i s_i ||f(x_i) - y_i||^2 + alpha sum_j ||w_j||_2 ||a_j||`` over all widths and weights, s_i
    being sample weights normalised to sum 1. Features are never rescaled: standardise first.

    Parameters
    ----------
    alpha : float
        Penalty; ``rectifold.alpha_max`` gives the scale on which the first neuron enters.
    hidden_bias : bool or "free"
        Bias inside the neurons: penalised, absent, or unpenalised.
    fit_intercept : bool
        Unpenalised output intercept.
    output_penalty : {"l2", "l1"}
        Norm of the output weights of a neuron, for several outputs.
    certify : bool
        Search for a proof of the lower bound; otherwise only the cheap one is computed.
    gap_tol : float
        Relative gap at which the network counts as certified.
    max_work : int
        Effort of the proof in samples visited.
    tol : float
        Relative duality gap of the program on the neurons' own cells.
    max_iter : int
        Rounds of column generation.
    n_starts : int
        Starts of heuristic pricing a round.
    time_limit : float or None
        Seconds; predictions depend on the clock only if this is set.
    n_jobs : int or None
        Outputs trained at a time where they are independent (``output_penalty="l1"``).
    random_state : int, RandomState or None
    warm_start : ReLUNetwork, bool or None
        A two-layer network to start from; True starts from ``network_`` of the previous fit.

    Attributes
    ----------
    network_ : ReLUNetwork
    objective_ : float
        The objective at ``network_``.
    lower_bound_ : float
        Proven lower bound of the objective over all widths and weights.
    gap_ : float
        ``(objective_ - lower_bound_) / objective_``.
    priced_gap_ : float
        The same with the bound that pricing by search suggests; no proof. NaN where not computed.
    restricted_gap_ : float
        Relative duality gap on the neurons' own cells. NaN where not computed.
    proof_ : Proof
        "certified", "priced" or "restricted".
    certificate_ : TrainingCertificate
        Re-checked by :func:`rectifold.verify`.
    result_ : Result
    n_neurons_, n_iter_ : int

    References
    ----------
    Mishkin and Pilanci (2023), Optimal Sets and Solution Paths of ReLU Networks.
    """

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, callback: Monitor | None = None
    ) -> Self:
        """Train on X (n_samples, n_features) and y (n_samples,) or (n_samples, n_outputs)."""
        inputs, targets = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=np.float64)
        self._single_output = np.ndim(targets) == 1
        self._train(
            inputs, np.asarray(targets, dtype=np.float64), "squared", weights_of(sample_weight, inputs), callback
        )
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return predictions of shape (n_samples,) or (n_samples, n_outputs)."""
        values = self._outputs(X)
        return values[:, 0] if self._single_output else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class ConvexReLUClassifier(ClassifierMixin, _ConvexReLU):
    """Two-layer ReLU network trained on a convex classification loss, with an honest gap.

    Parameters
    ----------
    alpha : float
    loss : {"logistic", "squared_hinge"}
        "logistic" means multinomial cross-entropy for three classes and more, where squared hinge is one-vs-rest.
    class_weight : dict, "balanced" or None
    hidden_bias, fit_intercept, output_penalty, certify, gap_tol, max_work, tol, max_iter, n_starts, time_limit, \
n_jobs, random_state, warm_start
        As in :class:`ConvexReLURegressor`.

    Attributes
    ----------
    classes_ : ndarray
    network_, objective_, lower_bound_, gap_, priced_gap_, restricted_gap_, proof_, certificate_, result_, \
n_neurons_, n_iter_
        As in :class:`ConvexReLURegressor`.
    """

    def __init__(
        self,
        alpha: float = 1e-3,
        *,
        loss: str = "logistic",
        class_weight: Any = None,
        hidden_bias: HiddenBias = True,
        fit_intercept: bool = True,
        output_penalty: str = "l2",
        certify: bool = True,
        gap_tol: float = 1e-2,
        max_work: int = 5_000_000_000,
        tol: float = 1e-6,
        max_iter: int = 50,
        n_starts: int = 300,
        time_limit: float | None = None,
        n_jobs: int | None = None,
        random_state: Any = 0,
        warm_start: ReLUNetwork | bool | None = None,
    ) -> None:
        super().__init__(
            alpha,
            hidden_bias=hidden_bias,
            fit_intercept=fit_intercept,
            output_penalty=output_penalty,
            certify=certify,
            gap_tol=gap_tol,
            max_work=max_work,
            tol=tol,
            max_iter=max_iter,
            n_starts=n_starts,
            time_limit=time_limit,
            n_jobs=n_jobs,
            random_state=random_state,
            warm_start=warm_start,
        )
        self.loss = loss
        self.class_weight = class_weight

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, callback: Monitor | None = None
    ) -> Self:
        """Train on X (n_samples, n_features) and class labels y (n_samples,)."""
        if self.loss not in ("logistic", "squared_hinge"):
            raise ProblemError(f"loss must be 'logistic' or 'squared_hinge', got {self.loss!r}.")
        inputs, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        weight = weights_of(sample_weight, inputs)
        if weight is not None:
            used = weight > 0
            inputs, labels, weight = inputs[used], labels[used], weight[used]
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ProblemError(
                "Classification needs at least two classes, but the data with positive weight has only "
                + (f"one class: {self.classes_[0]!r}." if len(self.classes_) else "rows of weight zero.")
            )
        if self.class_weight is not None:
            weight = np.ones(len(codes)) if weight is None else weight
            weight = weight * self._per_class(labels, codes, weight)[codes]
        binary = len(self.classes_) == 2
        loss = "multinomial" if self.loss == "logistic" and not binary else self.loss
        self._train(inputs, 2.0 * codes - 1.0 if binary else codes, loss, weight, callback)
        return self

    def _per_class(self, labels: NDArray[Any], codes: NDArray[np.intp], weight: Array) -> Array:
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            return 1.0 / np.bincount(codes, weights=weight)  # scikit-learn 1.6 counts rows, whatever they weigh
        return np.asarray(compute_class_weight(self.class_weight, classes=self.classes_, y=labels))

    def decision_function(self, X: ArrayLike) -> Array:
        """Return scores, (n_samples,) for two classes and (n_samples, n_classes) for more."""
        values = self._outputs(X)
        return values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return class labels of shape (n_samples,)."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]

    def _has_probabilities(self) -> bool:
        if self.loss != "logistic":
            raise AttributeError(f"predict_proba needs loss='logistic', this classifier has loss={self.loss!r}.")
        return True

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> Array:
        """Return class probabilities (n_samples, n_classes); for the logistic loss only."""
        return np.asarray(softmax(self._class_scores(X), axis=1))

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithms of `predict_proba`."""
        return np.asarray(log_softmax(self._class_scores(X), axis=1))

    def _class_scores(self, X: ArrayLike) -> Array:
        scores = self.decision_function(X)
        return np.column_stack([np.zeros_like(scores), scores]) if scores.ndim == 1 else scores


def weights_of(sample_weight: ArrayLike | None, X: Array) -> Array | None:
    """Return checked sample weights, None for none."""
    if sample_weight is None:
        return None
    return np.asarray(_check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True))


def seed_of(random_state: Any) -> int | np.random.Generator | None:
    """Return what numpy's generators take for scikit-learn's ``random_state``."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(random_state) if isinstance(random_state, Integral) else random_state

"""Networks from fitted scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rectifold.core.errors import ProblemError, UnsupportedNetworkError
from rectifold.core.network import ReLUNetwork
from rectifold.io._signals import Circuit, Signal, affine

__all__ = ["from_sklearn"]


def from_sklearn(est: Any) -> ReLUNetwork:
    """Fold a fitted scikit-learn estimator into a `ReLUNetwork`.

    Parameters
    ----------
    est : estimator
        ``MLPRegressor`` or ``MLPClassifier`` with activation ``relu`` or ``identity``; a linear model (least squares,
        ridge, lasso, elastic net, Huber, quantile, logistic regression, linear SVM); an estimator of rectifold; or a
        ``Pipeline`` that ends in one of them after ``StandardScaler``, ``MinMaxScaler``, ``MaxAbsScaler``,
        ``RobustScaler`` or ``"passthrough"`` steps, which are folded into the first layer.

    Returns
    -------
    ReLUNetwork
        For a classifier its outputs are the decision values: the final logistic or softmax is dropped, so take the
        sign of one output, or the arg max over several.

    Raises
    ------
    UnsupportedNetworkError
        If the estimator, a step or an activation is not piecewise affine; the message names it.
    ProblemError
        If it is not fitted.
    """
    steps = [step for _, step in est.steps] if _is(est, "pipeline", "Pipeline") else [est]
    steps = [step for step in steps if step is not None and not (isinstance(step, str) and step == "passthrough")]
    if not steps:
        raise UnsupportedNetworkError("the pipeline has no estimator")
    for step in steps:
        _check_fitted(step)
    circuit = Circuit((_n_inputs(steps[0]),))
    signal = circuit.input
    for step in steps[:-1]:
        signal = _apply_scaler(signal, step)
    return circuit.network(_apply_model(circuit, signal, steps[-1]))


def _is(est: Any, module: str, *names: str) -> bool:
    """Tell whether ``est`` is an instance of a scikit-learn class, without loading the modules of the others."""
    return any(kind.__name__ in names and kind.__module__.startswith(f"sklearn.{module}") for kind in type(est).__mro__)


def _check_fitted(est: Any) -> None:
    """Refuse what has no fitted state."""
    if not any(name.endswith("_") and not name.startswith("_") for name in vars(est)):
        raise ProblemError(f"{type(est).__name__} is not fitted: call fit first")


def _n_inputs(est: Any) -> int:
    network = getattr(est, "network_", None)
    return network.n_inputs if isinstance(network, ReLUNetwork) else int(est.n_features_in_)


def _apply_scaler(signal: Signal, step: Any) -> Signal:
    """Return the signal after a preprocessing step."""
    if _is(step, "preprocessing", "StandardScaler", "RobustScaler"):
        center = getattr(step, "mean_", None) if hasattr(step, "with_mean") else step.center_
        shift = 0.0 if center is None or not getattr(step, "with_mean", True) else -center
        factor = 1.0 if step.scale_ is None else 1.0 / step.scale_
        return (signal + Signal.constant(shift)).scale(factor)
    if _is(step, "preprocessing", "MinMaxScaler") and not step.clip:
        return signal.scale(step.scale_) + Signal.constant(step.min_)
    if _is(step, "preprocessing", "MaxAbsScaler") and not getattr(step, "clip", False):
        return signal.scale(1.0 / step.scale_)
    raise UnsupportedNetworkError(f"pipeline step {step!r} cannot be folded into an affine map")


_LINEAR = (
    "LinearRegression",
    "Ridge",
    "RidgeCV",
    "Lasso",
    "LassoCV",
    "ElasticNet",
    "ElasticNetCV",
    "HuberRegressor",
    "QuantileRegressor",
    "LogisticRegression",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "LinearSVR",
    "LinearSVC",
)


def _apply_model(circuit: Circuit, signal: Signal, est: Any) -> Signal:
    """Return the decision values of the final estimator."""
    network = getattr(est, "network_", None)
    if isinstance(network, ReLUNetwork):
        return circuit.apply(network, signal)
    if _is(est, "neural_network", "MLPRegressor", "MLPClassifier"):
        return _apply_mlp(circuit, signal, est)
    if _is(est, "linear_model", *_LINEAR) or _is(est, "svm", "LinearSVR", "LinearSVC"):
        coefficients = est.coef_.toarray() if hasattr(est.coef_, "toarray") else est.coef_
        matrix = np.atleast_2d(np.asarray(coefficients, dtype=np.float64))
        return affine(signal, matrix, np.broadcast_to(np.asarray(est.intercept_, dtype=np.float64), matrix.shape[:1]))
    raise UnsupportedNetworkError(f"{type(est).__name__} is not an estimator that rectifold can read")


def _apply_mlp(circuit: Circuit, signal: Signal, est: Any) -> Signal:
    """Return the values of a multi-layer perceptron before its output activation."""
    activations: dict[str, Callable[[Signal], Signal]] = {
        "relu": lambda z: circuit.activate(z, 0.0, 1.0),
        "identity": lambda z: z,
    }
    if est.activation not in activations:
        raise UnsupportedNetworkError(f"the activation {est.activation!r} is not piecewise affine")
    if type(est).__name__ == "MLPRegressor" and est.out_activation_ != "identity":
        raise UnsupportedNetworkError(f"the output activation {est.out_activation_!r} is not piecewise affine")
    last = len(est.coefs_) - 1
    for i, (weight, bias) in enumerate(zip(est.coefs_, est.intercepts_, strict=True)):
        signal = affine(signal, np.asarray(weight, dtype=np.float64).T, np.asarray(bias, dtype=np.float64))
        if i < last:
            signal = activations[est.activation](signal)
    return signal

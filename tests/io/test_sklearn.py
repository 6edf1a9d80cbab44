"""Fitted scikit-learn estimators, against their own predictions."""

import types

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler

from rectifold.core import ProblemError, ReLUNetwork, UnsupportedNetworkError
from rectifold.io import from_sklearn

X, y = load_diabetes(return_X_y=True)
F, labels = load_iris(return_X_y=True)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def mlp(cls=MLPRegressor, **options):
    return cls(**{"hidden_layer_sizes": (7, 5), "max_iter": 15, "random_state": 0} | options)


def outputs(est, points):
    predicted = est.predict(points)
    return predicted[:, None] if predicted.ndim == 1 else predicted


@pytest.mark.parametrize("targets", [y, np.stack([y, -2 * y], axis=1)])
@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_mlp_regressor(targets, activation):
    est = mlp(activation=activation).fit(X, targets)
    net = from_sklearn(est)
    np.testing.assert_allclose(net(X), outputs(est, X), rtol=1e-9)
    assert net.widths == ((7, 5) if activation == "relu" else ())


@pytest.mark.parametrize("n_classes", [2, 3])
def test_mlp_classifier_gives_the_logits(n_classes):
    keep = labels < n_classes
    est = mlp(MLPClassifier).fit(F[keep], labels[keep])
    logits, probabilities = from_sklearn(est)(F), est.predict_proba(F)
    if n_classes == 2:
        np.testing.assert_allclose(1 / (1 + np.exp(-logits[:, 0])), probabilities[:, 1], rtol=1e-9)
    else:
        np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), probabilities, rtol=1e-9)


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        MinMaxScaler((-1, 2)),
        MaxAbsScaler(),
        RobustScaler(),
        RobustScaler(with_centering=False, with_scaling=False),
        "passthrough",
    ],
)
def test_scalers_are_folded(scaler):
    est = make_pipeline(scaler, mlp()).fit(100 * X + 3, y)
    net = from_sklearn(est)
    np.testing.assert_allclose(net(100 * X + 3), outputs(est, 100 * X + 3), rtol=1e-8)
    assert net.widths == (7, 5)


def test_scalers_compose():
    est = make_pipeline(MinMaxScaler(), StandardScaler(), Ridge()).fit(X, y)
    np.testing.assert_allclose(from_sklearn(est)(X), outputs(est, X), rtol=1e-9)


@pytest.mark.parametrize(
    "est",
    [
        LinearRegression(),
        LinearRegression(fit_intercept=False),
        Ridge(),
        ElasticNet(),
        QuantileRegressor(solver="highs"),
    ],
)
def test_linear_models_are_affine_networks(est):
    est.fit(X, y)
    net = from_sklearn(est)
    np.testing.assert_allclose(net(X), outputs(est, X), rtol=1e-9)
    assert net.n_neurons == 0


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_regression_gives_the_decision_values(n_classes):
    keep = labels < n_classes
    est = LogisticRegression(max_iter=50).fit(F[keep], labels[keep])
    expected = est.decision_function(F).reshape(len(F), -1)
    np.testing.assert_allclose(from_sklearn(est)(F), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(from_sklearn(est.sparsify())(F), expected, rtol=1e-9, atol=1e-12)


def test_an_estimator_that_holds_a_network():
    net = ReLUNetwork([np.ones((2, 10)), [[1.0, -1.0]]], [np.zeros(2), [3.0]], [([-1, 0], 1)])
    est = types.SimpleNamespace(network_=net)
    assert from_sklearn(est).digest() == net.digest()
    scaler = StandardScaler().fit(X)
    pipeline = make_pipeline(scaler, "passthrough")
    pipeline.steps[-1] = ("model", est)
    np.testing.assert_allclose(from_sklearn(pipeline)(X), net(scaler.transform(X)), rtol=1e-9)


@pytest.mark.parametrize(
    ("est", "message"),
    [
        (mlp(activation="tanh"), "'tanh'"),
        (RandomForestRegressor(n_estimators=1), "RandomForestRegressor"),
        (PoissonRegressor(), "PoissonRegressor"),
        (make_pipeline(PolynomialFeatures(), Ridge()), "PolynomialFeatures"),
        (make_pipeline(MinMaxScaler(clip=True), Ridge()), "MinMaxScaler"),
        (make_pipeline(StandardScaler()), "StandardScaler"),
    ],
)
def test_other_estimators_are_refused_by_name(est, message):
    with pytest.raises(UnsupportedNetworkError, match=message):
        from_sklearn(est.fit(X, y))


def test_unfitted_estimators():
    for est in (mlp(), Ridge(), make_pipeline(StandardScaler(), mlp())):
        with pytest.raises(ProblemError, match="not fitted"):
            from_sklearn(est)
    with pytest.raises(UnsupportedNetworkError, match="no estimator"):
        from_sklearn(make_pipeline("passthrough"))

"""The estimators in company: pipelines, searches, frames, weights, pickles, warm starts."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from problems import small
from quick import MAX_WORK, solve_convex_relu
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rectifold.certify import verify
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof, Status
from rectifold.estimators.convex_relu import ConvexReLUClassifier, ConvexReLURegressor

QUICK = {"certify": False, "tol": 1e-4, "n_starts": 50, "max_iter": 20}


def regression(outputs=None, n=30):
    return small(0, n=n, outputs=outputs)


def classes(k=2, n=40):
    X, y = small(1, n=n)
    return X, np.argsort(np.argsort(y)) * k // n


# -- what a fit leaves behind -----------------------------------------------------------------------------------------


def test_attributes_are_those_of_the_result():
    X, y = regression()
    est = ConvexReLURegressor(alpha=0.01, max_work=MAX_WORK).fit(X, y)
    result = solve_convex_relu(X, y, 0.01)
    assert est.objective_ == result.value == est.result_.value
    assert est.lower_bound_ == result.bound
    assert est.gap_ == pytest.approx((est.objective_ - est.lower_bound_) / est.objective_)
    assert est.gap_ <= 1e-2
    assert est.proof_ == "certified"
    assert est.proof_ is Proof.CERTIFIED
    assert est.restricted_gap_ <= 1e-6
    assert est.n_neurons_ == est.network_.widths[0]
    assert est.n_iter_ >= 1
    problem = ConvexReLUProblem(X, y, 0.01)
    assert problem.objective(est.network_) == est.objective_
    assert verify(est.certificate_, problem=problem).holds
    np.testing.assert_allclose(est.predict(X), est.network_(X)[:, 0])
    assert est.score(X, y) > 0.7


def test_switches_reach_the_problem():
    X, y = regression(outputs=2)
    est = ConvexReLURegressor(alpha=0.05, hidden_bias=False, fit_intercept=False, output_penalty="l1", **QUICK).fit(
        X, y
    )
    problem = ConvexReLUProblem(X, y, 0.05, hidden_bias=False, fit_intercept=False, output_penalty="l1")
    assert problem.objective(est.network_) == est.objective_


@pytest.mark.parametrize("output_penalty", ["l1", "l2"])
def test_several_outputs(output_penalty):
    X, y = regression(outputs=3)
    est = ConvexReLURegressor(alpha=0.01, output_penalty=output_penalty, **QUICK).fit(X, y)
    assert est.predict(X).shape == y.shape
    assert est.predict(X[:1]).shape == (1, 3)
    assert est.score(X, y) > 0.5


def test_the_shape_of_targets_is_kept():
    X, y = regression()
    assert ConvexReLURegressor(0.05, **QUICK).fit(X, y).predict(X).shape == (30,)
    assert ConvexReLURegressor(0.05, **QUICK).fit(X, y[:, None]).predict(X).shape == (30, 1)


def test_jobs_do_not_change_the_answer():
    X, y = regression(outputs=2)
    one, two = (ConvexReLURegressor(0.02, output_penalty="l1", n_jobs=j, **QUICK).fit(X, y) for j in (None, 2))
    assert one.objective_ == two.objective_
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


def test_a_callback_hears_and_stops():
    class Stop:
        stages = ()

        def event(self, stage, value, bound, elapsed, **counts):
            self.stages += (stage,)

        def should_stop(self):
            return True

    monitor = Stop()
    est = ConvexReLURegressor(0.01, max_work=MAX_WORK).fit(*regression(), callback=monitor)
    assert est.result_.status is Status.INTERRUPTED
    assert monitor.stages[-1] == "done"
    assert np.isfinite(est.predict(regression()[0])).all()


def test_time_limit_returns_a_fitted_estimator():
    est = ConvexReLURegressor(1e-5, time_limit=1e-9).fit(*regression())
    assert est.result_.status is Status.TIME_LIMIT
    assert est.lower_bound_ <= est.objective_


# -- classification ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["logistic", "squared_hinge"])
@pytest.mark.parametrize("k", [2, 3])
def test_string_labels_and_codes_agree(loss, k):
    X, codes = classes(k)
    names = np.array(["ant", "bee", "cow"])[codes]
    by_code = ConvexReLUClassifier(0.01, loss=loss, **QUICK).fit(X, codes)
    by_name = ConvexReLUClassifier(0.01, loss=loss, **QUICK).fit(X, names)
    assert list(by_name.classes_) == ["ant", "bee", "cow"][:k]
    np.testing.assert_array_equal(by_name.predict(X), by_name.classes_[by_code.predict(X)])
    np.testing.assert_array_equal(by_name.decision_function(X), by_code.decision_function(X))
    assert by_name.decision_function(X).shape == ((40,) if k == 2 else (40, 3))
    assert by_name.score(X, names) > 0.7


@pytest.mark.parametrize("k", [2, 3])
def test_probabilities(k):
    X, codes = classes(k)
    est = ConvexReLUClassifier(0.01, **QUICK).fit(X, codes)
    p = est.predict_proba(X)
    assert p.shape == (40, k)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(p.argmax(axis=1), est.predict(X))
    np.testing.assert_allclose(np.exp(est.predict_log_proba(X)), p)
    if k == 2:
        np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-est.decision_function(X))))
    # the unpenalised intercept makes mean probabilities the class frequencies
    np.testing.assert_allclose(p.mean(axis=0), np.bincount(codes) / 40, atol=1e-4)


def test_log_probabilities_stay_finite_far_out():
    X, codes = classes(2)
    est = ConvexReLUClassifier(1e-3, **QUICK).fit(X, codes)
    assert np.isfinite(est.predict_log_proba(1e6 * X)).all()


def test_no_probabilities_for_squared_hinge():
    X, codes = classes(2)
    est = ConvexReLUClassifier(0.01, loss="squared_hinge", **QUICK).fit(X, codes)
    assert not hasattr(est, "predict_proba")
    assert not hasattr(est, "predict_log_proba")
    with pytest.raises(AttributeError) as refused:
        est.predict_proba(X)
    assert "logistic" in str(refused.value.__cause__)


# -- weights ----------------------------------------------------------------------------------------------------------


def test_sample_weights_are_repeats():
    X, y = regression()
    weight = np.random.default_rng(0).integers(0, 3, 30).astype(float)
    rows = np.repeat(np.arange(30), weight.astype(int))
    weighted = ConvexReLURegressor(0.02, **QUICK).fit(X, y, sample_weight=weight)
    repeated = ConvexReLURegressor(0.02, **QUICK).fit(X[rows], y[rows])
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))


@pytest.mark.parametrize("k", [2, 3])
def test_class_weights_are_sample_weights(k):
    X, codes = classes(k)
    per_class = {c: 1.0 + c for c in range(k)}
    by_class = ConvexReLUClassifier(0.02, class_weight=per_class, **QUICK).fit(X, codes)
    by_sample = ConvexReLUClassifier(0.02, **QUICK).fit(X, codes, sample_weight=1.0 + codes)
    np.testing.assert_array_equal(by_class.decision_function(X), by_sample.decision_function(X))


def test_balanced_classes_weigh_the_same_in_total_also_with_sample_weights():
    X, y = small(1, n=40)
    codes = (y > np.quantile(y, 0.8)).astype(int)
    weight = np.random.default_rng(0).integers(1, 4, 40).astype(float)
    est = ConvexReLUClassifier(0.02, class_weight="balanced", **QUICK).fit(X, codes, sample_weight=weight)
    mass = np.bincount(codes, weights=weight)
    by_hand = ConvexReLUClassifier(0.02, **QUICK).fit(X, codes, sample_weight=weight / mass[codes])
    np.testing.assert_allclose(est.decision_function(X), by_hand.decision_function(X), atol=1e-6)
    p = est.predict_proba(X)[:, 1]
    assert p @ (weight / mass[codes]) / 2 == pytest.approx(0.5, abs=1e-4)


def test_a_class_of_weight_zero_is_gone():
    X, codes = classes(3)
    est = ConvexReLUClassifier(0.02, **QUICK).fit(X, codes, sample_weight=(codes != 1).astype(float))
    assert list(est.classes_) == [0, 2]
    assert est.network_.n_outputs == 1


# -- in company -------------------------------------------------------------------------------------------------------


def test_pipeline_and_grid_search():
    X, y = regression()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), ConvexReLURegressor(**QUICK)),
        {"convexreluregressor__alpha": [0.01, 1.0]},
        cv=3,
        error_score="raise",
    ).fit(X, y)
    assert search.best_params_ == {"convexreluregressor__alpha": 0.01}
    assert np.isfinite(search.predict(X)).all()


def test_cross_validation_of_a_classifier():
    X, codes = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), ConvexReLUClassifier(0.01, **{**QUICK, "max_iter": 3}))
    assert cross_val_score(model, X, codes, cv=3, error_score="raise").mean() > 0.9


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_and_their_names(frame):
    X, y = regression()
    table = frame({"length": X[:, 0], "width": X[:, 1]})
    column = table["length"] * 0 + (pd.Series(y) if frame is pd.DataFrame else pl.Series(y))
    est = ConvexReLURegressor(0.02, **QUICK).fit(table, column)
    assert list(est.feature_names_in_) == ["length", "width"]
    np.testing.assert_array_equal(est.predict(table), ConvexReLURegressor(0.02, **QUICK).fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        est.predict(frame({"width": X[:, 1], "length": X[:, 0]}))


def test_array_predictions_are_unaffected_by_pandas_output():
    X, y = regression()
    model = make_pipeline(StandardScaler(), ConvexReLURegressor(0.02, **QUICK)).set_output(transform="pandas")
    assert isinstance(model.fit(X, y).predict(X), np.ndarray)


def test_clone_and_pickle():
    X, y = regression()
    est = ConvexReLURegressor(0.02, hidden_bias="free", **QUICK).fit(X, y)
    copy = clone(est)
    assert copy.get_params() == est.get_params()
    assert not hasattr(copy, "network_")
    again = pickle.loads(pickle.dumps(est))
    np.testing.assert_array_equal(again.predict(X), est.predict(X))
    for array in (*again.network_.weights, *again.network_.biases, again.result_.trace.value):
        assert not array.flags.writeable
    assert again.result_.bound == est.result_.bound


def test_a_clone_keeps_its_warm_start():
    X, y = regression()
    network = ConvexReLURegressor(0.02, **QUICK).fit(X, y).network_
    copy = clone(ConvexReLURegressor(0.02, warm_start=network, **QUICK))
    problem = ConvexReLUProblem(X, y, 0.02)
    assert copy.fit(X, y).objective_ <= problem.objective(network) * (1 + 1e-12)


# -- warm starts and seeds --------------------------------------------------------------------------------------------


def test_warm_start_from_the_previous_fit():
    X, y = regression()
    cold = ConvexReLURegressor(0.02, warm_start=True, **QUICK).fit(X, y)
    first = cold.objective_
    assert cold.fit(X, y).objective_ <= first * (1 + 1e-12)
    cold.set_params(alpha=0.01).fit(X, y)
    assert cold.objective_ == pytest.approx(ConvexReLURegressor(0.01, **QUICK).fit(X, y).objective_, rel=1e-3)


def test_a_warm_start_must_fit():
    X, y = regression()
    wrong = ReLUNetwork([np.ones((2, 5)), np.ones((1, 2))], [np.zeros(2), np.zeros(1)])
    for start, message in ((wrong, "Expected a network"), ("cold", "warm_start")):
        with pytest.raises(ProblemError, match=message):
            ConvexReLURegressor(0.02, warm_start=start, **QUICK).fit(X, y)


def test_seeds():
    X, y = regression()

    def fitted(seed):
        return ConvexReLURegressor(0.02, random_state=seed, **QUICK).fit(X, y).predict(X)

    np.testing.assert_array_equal(fitted(3), fitted(3))
    np.testing.assert_array_equal(fitted(3), fitted(np.int64(3)))
    np.testing.assert_array_equal(fitted(np.random.RandomState(3)), fitted(np.random.RandomState(3)))
    np.testing.assert_array_equal(fitted(np.random.default_rng(3)), fitted(np.random.default_rng(3)))
    assert np.isfinite(fitted(None)).all()


def test_fitting_does_not_change_parameters():
    est = ConvexReLURegressor(0.02, random_state=None, **QUICK)
    before = est.get_params()
    assert est.fit(*regression()).get_params() == before


# -- warnings and errors ----------------------------------------------------------------------------------------------


def test_convergence_warning_only_when_the_tolerance_was_missed():
    X, y = small(2, n=60, d=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ConvexReLURegressor(0.05, max_work=MAX_WORK).fit(X, y)
    est = ConvexReLURegressor(1e-4, tol=1e-9, max_iter=1, certify=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        est.fit(X, y)
    missed = est.result_.status is Status.ITERATION_LIMIT and est.restricted_gap_ > est.tol
    assert missed == any(issubclass(w.category, ConvergenceWarning) for w in caught)
    assert missed


def test_unfitted_estimators_say_so():
    with pytest.raises(NotFittedError):
        ConvexReLURegressor().predict([[0.0]])
    with pytest.raises(NotFittedError):
        ConvexReLUClassifier().predict_proba([[0.0]])


@pytest.mark.parametrize(
    ("params", "data", "message"),
    [
        ({"alpha": 0}, {}, "alpha"),
        ({"alpha": -1.0}, {}, "alpha"),
        ({"tol": 2.0}, {}, "tol"),
        ({"hidden_bias": "maybe"}, {}, "hidden_bias"),
        ({"hidden_bias": "free", "fit_intercept": False}, {}, "well-posed"),
        ({"output_penalty": "l0"}, {}, "output_penalty"),
        ({"time_limit": -1}, {}, "time_limit"),
        ({"random_state": "a"}, {}, "random_state"),
        ({}, {"X": [[np.nan, 0.0]] * 30}, "NaN"),
        ({}, {"X": [[np.inf, 0.0]] * 30}, "infinity"),
        ({}, {"y": ["a"] * 30}, "could not convert|numeric|number"),
        ({}, {"y": [1.0] * 29}, "inconsistent"),
        ({}, {"y": [np.nan] * 30}, "NaN"),
        ({}, {"sample_weight": -np.ones(30)}, "[Nn]egative"),
        ({}, {"sample_weight": np.zeros(30)}, "positive weight|zero"),
        ({}, {"sample_weight": np.ones(3)}, "sample_weight"),
    ],
)
def test_bad_regressions(params, data, message):
    X, y = regression()
    with pytest.raises(ValueError, match=message):
        ConvexReLURegressor(**params).fit(**{"X": X, "y": y, **data})


@pytest.mark.parametrize(
    ("params", "data", "message"),
    [
        ({"loss": "hinge"}, {}, "loss"),
        ({}, {"y": np.zeros(40)}, "one class"),
        ({}, {"y": ["same"] * 40}, "one class"),
        ({}, {"y": np.linspace(0, 1, 40)}, "continuous"),
        ({}, {"sample_weight": np.zeros(40)}, "two classes|zero"),
        ({}, {"sample_weight": np.r_[1.0, np.zeros(39)]}, "one class"),
        ({"class_weight": "heavy"}, {}, "class_weight"),
        ({"class_weight": {0: 1.0, 1: 0.0}}, {}, "two classes"),
        ({"class_weight": {0: 1.0, 1: -1.0}}, {}, "non-negative"),
    ],
)
def test_bad_classifications(params, data, message):
    X, codes = classes(2)
    with pytest.raises(ValueError, match=message):
        ConvexReLUClassifier(**params).fit(**{"X": X, "y": codes, **data})

"""The estimators that choose alpha by cross-validation."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from joblib import parallel_config
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

import rectifold as rf
from rectifold.core.errors import ProblemError
from rectifold.estimators.convex_relu_cv import ConvexReLUClassifierCV, ConvexReLURegressorCV

QUICK = {"cv": 2, "fold_steps": 15, "max_iter": 1, "n_starts": 10, "tol": 1e-2}


@parametrize_with_checks(
    [ConvexReLURegressorCV(alphas=[0.05, 5.0], **QUICK), ConvexReLUClassifierCV(alphas=[0.02, 0.1], **QUICK)]
)
def test_estimator_checks(estimator, check):
    check(estimator)


def folded(n=120, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    return X, np.abs(X[:, 0]) - np.maximum(X[:, 1], 0) + 0.3 * rng.standard_normal(n)


GRID = {"alphas": 10, "eps": 1e-3, "cv": 3, "fold_steps": 40}


@pytest.fixture(scope="module")
def full():
    """The whole grid, without an early end."""
    return ConvexReLURegressorCV(patience=None, **GRID).fit(*folded())


def test_the_choice_beats_both_ends_of_the_grid(full):
    means = full.cv_scores_.mean(axis=1)
    assert full.cv_scores_.shape == (10, 3)
    assert full.alpha_ == full.alphas_[means.argmax()]
    assert full.best_score_ == means.max()
    assert means.max() > means[0] + 0.1
    assert means.max() > means[-1] + 0.01
    assert full.score(*folded(1000, 1)) > 0.75


def test_fold_scores_are_those_of_networks_near_the_optimum():
    X, y = folded()
    alphas = [0.2, 0.05]
    cv = KFold(2)
    est = ConvexReLURegressorCV(alphas=alphas, cv=cv, fold_steps=200).fit(X, y)
    for row, alpha in zip(est.cv_scores_, alphas, strict=True):
        for score, (inner, outer) in zip(row, cv.split(X), strict=True):
            plain = rf.ConvexReLURegressor(alpha=alpha, certify=False).fit(X[inner], y[inner])
            assert score == pytest.approx(-0.5 * np.mean((plain.predict(X[outer]) - y[outer]) ** 2), rel=0.05)


def test_final_fit_is_the_plain_one_at_the_chosen_alpha():
    X, y = folded()
    est = ConvexReLURegressorCV(alphas=[0.05, 0.03], cv=2, tol=1e-5, max_iter=50).fit(X, y)
    plain = rf.ConvexReLURegressor(alpha=est.alpha_, certify=False).fit(X, y)
    assert est.objective_ == pytest.approx(plain.objective_, rel=2e-5)
    assert est.priced_gap_ <= 1e-5
    assert est.result_.solution is est.network_


def test_it_stops_once_the_score_has_turned(full):
    early = ConvexReLURegressorCV(patience=2, **GRID).fit(*folded())
    assert len(early.alphas_) < len(full.alphas_)
    assert early.alpha_ == full.alpha_
    assert np.array_equal(early.cv_scores_, full.cv_scores_[: len(early.alphas_)])


@pytest.mark.parametrize("estimator", [ConvexReLURegressorCV, ConvexReLUClassifierCV])
def test_of_very_many_samples_a_fifth_is_held_out(estimator, monkeypatch):
    import rectifold.estimators.path_cv as module

    X, y = folded()
    y = y if estimator is ConvexReLURegressorCV else np.where(y > np.quantile(y, 0.9), "b", "a")
    for very_many, folds in ((119, 1), (120, 3)):
        monkeypatch.setattr(module, "_VERY_MANY_SAMPLES", very_many)
        monkeypatch.setattr(module, "_MANY_SAMPLES", 100)
        est = estimator(alphas=3, eps=0.1, fold_steps=10, one_standard_error=True).fit(X, y)
        assert est.cv_scores_.shape == (3, folds)


def test_the_last_training_starts_from_the_fold_that_is_best_on_all_data():
    X, y = folded()
    est = ConvexReLURegressorCV(alphas=[0.05, 0.03], cv=2, max_iter=1)
    problem, start = est._select(est, X, y, y, "squared", None)
    assert problem.alpha == est.alpha_
    plain = rf.ConvexReLURegressor(alpha=est.alpha_, certify=False).fit(X, y)
    assert plain.objective_ <= problem.objective(start) <= 1.2 * plain.objective_


def test_one_standard_error_takes_the_largest_alpha_within_it(full):
    simple = ConvexReLURegressorCV(patience=None, one_standard_error=True, **GRID).fit(*folded())
    means = full.cv_scores_.mean(axis=1)
    limit = means.max() - full.cv_scores_[means.argmax()].std(ddof=1) / np.sqrt(3)
    assert simple.alpha_ == full.alphas_[np.flatnonzero(means >= limit)[0]] >= full.alpha_


@pytest.mark.parametrize("loss", ["logistic", "squared_hinge"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes(loss, n_classes):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((150, 2))
    y = np.array(["a", "b", "c"])[np.digitize(np.abs(X[:, 0]), [0.6, 1.2][: n_classes - 1])]
    est = ConvexReLUClassifierCV(loss=loss, alphas=5, eps=3e-3, cv=2).fit(X, y)
    assert list(est.classes_) == ["a", "b", "c"][:n_classes]
    assert est.score(X, y) > 0.9
    by_accuracy = ConvexReLUClassifierCV(loss=loss, alphas=5, eps=3e-3, cv=2, scoring="accuracy").fit(X, y)
    assert by_accuracy.best_score_ > 0.8


def test_jobs_and_backends_do_not_change_the_answer():
    X, y = folded(40)
    alone = ConvexReLURegressorCV(alphas=4, eps=0.02, cv=2).fit(X, y)
    get_reusable_executor().shutdown()  # joblib fails on one that another test has made
    for backend in ("threading", "loky"):
        with parallel_config(backend=backend, n_jobs=2):
            other = ConvexReLURegressorCV(alphas=4, eps=0.02, cv=2).fit(X, y)
        assert np.array_equal(other.cv_scores_, alone.cv_scores_)
        assert other.objective_ == alone.objective_


def test_folds_get_no_proof(monkeypatch):
    import rectifold.training.convex.proof.global_bound as global_bound
    import rectifold.training.convex.train as train

    seen = []
    original = global_bound.lower_bound

    def counted(problem, network, theta=None, effort=None):
        seen.append((len(problem.design), 0 if effort is None else effort.max_work))
        return original(problem, network, theta, effort)

    monkeypatch.setattr(train, "lower_bound", counted)
    X, y = folded(60)
    ConvexReLURegressorCV(alphas=2, eps=0.1, certify=True, max_work=1000).fit(X, y)
    assert {n for n, _ in seen} == {60}
    assert max(work for _, work in seen) == 1000


def test_multi_output_and_pickling():
    X, y = folded()
    est = ConvexReLURegressorCV(alphas=3, eps=0.1, cv=2).fit(X, np.column_stack([y, -2 * y]))
    assert est.predict(X).shape == (120, 2)
    assert np.array_equal(pickle.loads(pickle.dumps(est)).predict(X), est.predict(X))


def test_constant_target():
    X, _ = folded(30)
    est = ConvexReLURegressorCV().fit(X, np.full(30, 2.0))
    assert est.n_neurons_ == 0
    assert est.predict(X) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alphas": [0.1, -1.0]}, "positive"),
        ({"alphas": 0}, "positive integer"),
        ({"eps": 2.0}, "eps"),
        ({"fold_steps": 0}, "fold_steps"),
        ({"hidden_bias": "no"}, "hidden_bias"),
    ],
)
def test_refusals(wrong, message):
    X, y = folded(30)
    with pytest.raises(ProblemError, match=message):
        ConvexReLURegressorCV(**wrong).fit(X, y)


def test_single_class_is_refused():
    X, _ = folded(30)
    with pytest.raises(ProblemError, match="one class"):
        ConvexReLUClassifierCV().fit(X, np.zeros(30))


def test_large_data_are_trained_by_descent(monkeypatch):
    import rectifold.estimators.path_cv as module

    X, y = folded()
    exact = ConvexReLURegressorCV(alphas=[0.05], cv=2, tol=1e-6, max_iter=50).fit(X, y)
    monkeypatch.setattr(module, "_DEAR", 0)
    est = ConvexReLURegressorCV(alphas=[0.05], cv=2, tol=1e-4, max_iter=20).fit(X, y)
    assert np.isnan(est.restricted_gap_)
    assert exact.objective_ * (1 - 1e-6) <= est.objective_ <= exact.objective_ * 1.02
    assert est.lower_bound_ <= exact.objective_ * (1 + 1e-9)

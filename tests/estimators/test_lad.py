"""The LAD estimator: what it exposes, weights, streams."""

import numpy as np
import pytest
from lad_instances import recipe
from sklearn.base import clone
from sklearn.linear_model import QuantileRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

import rectifold as rf
from rectifold.io import parquet_batches


@parametrize_with_checks([rf.LADRegressor(), rf.LADRegressor(quantile=0.3, alpha=0.1)])
def test_estimator_checks(estimator, check):
    check(estimator)


def test_attributes_come_with_evidence():
    X, y = recipe(2000, 3, 0)
    est = rf.LADRegressor().fit(X, y)
    np.testing.assert_allclose(est.predict(X)[est.basis_], y[est.basis_], rtol=1e-12)
    assert est.objective_ == pytest.approx(0.5 * np.abs(y - est.predict(X)).mean(), rel=1e-12)
    assert 0.0 <= est.gap_ < 1e-8
    assert est.is_unique_
    assert est.edge_slopes_.min() > 0.0
    np.testing.assert_allclose(X.T @ est.dual_, 0.0, atol=1e-9)
    assert abs(est.dual_.sum()) < 1e-9
    assert rf.verify(est.certificate_, grade="interval")


@pytest.mark.parametrize("intercept", [True, False])
def test_same_objective_as_quantile_regressor(intercept):
    X, y = recipe(300, 4, 1)
    w = np.random.default_rng(0).uniform(0.0, 2.0, 300)
    args = {"quantile": 0.35, "alpha": 0.05, "fit_intercept": intercept}
    est, peer = rf.LADRegressor(**args).fit(X, y, w), QuantileRegressor(solver="highs", **args).fit(X, y, w)
    np.testing.assert_allclose(est.coef_, peer.coef_, atol=1e-8)
    np.testing.assert_allclose(est.intercept_, peer.intercept_, atol=1e-8)


def test_clone_and_single_precision():
    X, y = recipe(100, 2, 0)
    est = clone(rf.LADRegressor(quantile=0.9, alpha=0.01, time_limit=10.0)).fit(X.astype(np.float32), y)
    assert est.coef_.dtype == np.float64
    assert est.quantile == 0.9


@pytest.mark.parametrize("bad", [{"quantile": 1.5}, {"alpha": -1.0}, {"time_limit": 0}])
def test_bad_parameters(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        rf.LADRegressor(**bad).fit([[1.0], [2.0]], [1.0, 2.0])


@pytest.mark.parametrize("weighted", [False, True])
def test_parquet_in_batches(tmp_path, weighted):
    pa = pytest.importorskip("pyarrow", reason="reads Parquet")
    from pyarrow import parquet

    X, y = recipe(12_000, 3, 2)
    w = np.random.default_rng(0).integers(1, 4, len(y)).astype(float)
    table = pa.table({"w": w, "y": y, **{f"x{j}": X[:, j] for j in range(3)}})
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    parquet.write_table(table.slice(0, 7000), files[0])
    parquet.write_table(table.slice(7000), files[1])
    features = None if weighted else ["x0", "x1", "x2"]
    batches = parquet_batches(files, "y", features, sample_weight="w" if weighted else None, batch_rows=1000)
    est = rf.LADRegressor(0.4).fit_stream(batches, max_rows=2000)
    whole = rf.LADRegressor(0.4).fit(X, y, w if weighted else None)
    np.testing.assert_allclose(est.coef_, whole.coef_, rtol=1e-9)
    assert est.objective_ == pytest.approx(whole.objective_, rel=1e-13)
    assert est.dual_ is None
    np.testing.assert_allclose(est.predict(X[:5]), whole.predict(X[:5]), rtol=1e-9)

"""Quantile regression against known values, HiGHS and scikit-learn; cases of Hinz & van de Geer's sheet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lad_instances import objective, optimum, recipe, tied
from sklearn.linear_model import QuantileRegressor

import rectifold as rf
from rectifold._kernels.reference import lad as reference
from rectifold.core.result import Status
from rectifold.programs import lad_levels, lad_walk
from rectifold.programs.lad import solve_lad, solve_lad_stream
from rectifold.programs.quantile_path import quantile_path


def test_five_points_have_a_unique_median():
    result = solve_lad(np.ones((5, 1)), [1.0, 2.0, 4.0, 7.0, 100.0], fit_intercept=False)
    assert 10.0 * result.value == pytest.approx(104.0)
    np.testing.assert_allclose(result.solution.coef, [4.0])
    assert result.solution.basis.tolist() == [2]
    assert result.solution.is_unique


def test_four_points_do_not():
    result = solve_lad(np.ones((4, 1)), [1.0, 2.0, 4.0, 7.0], fit_intercept=False)
    assert 8.0 * result.value == pytest.approx(8.0)
    assert result.solution.coef[0] in (2.0, 4.0)
    assert not result.solution.is_unique
    assert result.solution.edge_slopes.min() == 0.0


@pytest.mark.parametrize(
    ("n", "d", "total"),
    [
        (1000, 5, 1497.3352080796),
        (10_000, 10, 14139.6276320492),
        (100_000, 10, 140403.5963793896),
        pytest.param(100_000, 50, 143018.9267864765, marks=pytest.mark.slow),
    ],
)
def test_recipe_optima_interpolate_as_many_rows_as_coefficients(n, d, total):
    X, y = recipe(n, d, 0)
    result = solve_lad(X, y)
    model = result.solution
    assert 2 * n * result.value == pytest.approx(total, rel=1e-12)
    zero = np.flatnonzero(np.abs(y - model(X)) <= 1e-9)
    assert sorted(model.basis) == zero.tolist()
    assert len(zero) == d + 1
    assert model.edge_slopes.shape == (d + 1, 2)
    assert model.edge_slopes.min() >= 0.0
    assert model.is_unique
    assert result.status == Status.OPTIMAL


@pytest.mark.parametrize(
    ("quantile", "total"),
    [(0.05, 407.7581640724), (0.25, 683.1885355833), (0.5, 748.6676040398), (0.9, 409.7401259360)],
)
def test_quantiles(quantile, total):
    X, y = recipe(1000, 5, 0)
    assert 1000 * solve_lad(X, y, quantile).value == pytest.approx(total, rel=1e-12)


def test_sample_weights():
    X, y = recipe(3000, 6, 3)
    w = np.random.default_rng(9).integers(1, 6, 3000)
    result = solve_lad(X, y, sample_weight=w)
    assert 2 * w.sum() * result.value == pytest.approx(13320.33422790, rel=1e-11)
    repeated = solve_lad(np.repeat(X, w, axis=0), np.repeat(y, w))
    assert repeated.value == pytest.approx(result.value, rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_tied_data(seed):
    E, y = tied(seed)
    assert solve_lad(E, y, fit_intercept=False).value == pytest.approx(optimum(E, y, intercept=False), abs=1e-12)


def test_the_edge_slopes_are_those_of_the_objective():
    X, y = recipe(500, 3, 1)
    model = solve_lad(X, y, 0.3).solution
    E = np.hstack([X, np.ones((500, 1))])
    theta = np.append(model.coef, model.intercept)
    start = 500 * objective(X, y, model.coef, model.intercept, 0.3)
    inverse = np.linalg.inv(E[model.basis])
    for k in range(4):
        for side, sign in enumerate((1.0, -1.0)):  # along +edge the residual falls
            moved = theta + sign * 1e-7 * inverse[:, k]
            growth = 500 * objective(X, y, moved[:-1], moved[-1], 0.3) - start
            assert growth / 1e-7 == pytest.approx(model.edge_slopes[k, side], abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.01, 0.3, 10.0]),
    st.sampled_from([0.5, 0.1, 0.8]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["gauss", "ties", "dependent"]),
)
def test_equals_highs(seed, alpha, quantile, intercept, weighted, kind):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 120)), int(rng.integers(1, 6))
    X = rng.standard_normal((n, d)) if kind == "gauss" else rng.integers(0, 3, (n, d)).astype(float)
    if kind == "dependent":
        X = np.hstack([X, X[:, :1], np.full((n, 1), 2.0)])
    y = np.rint(X @ rng.standard_normal(X.shape[1]) + rng.standard_t(2, n)) + (0.0 if kind != "gauss" else X[:, 0])
    w = rng.integers(0, 4, n).astype(float) if weighted else None
    if w is not None and not w.any():
        w[0] = 1.0
    result = solve_lad(X, y, quantile, alpha, intercept, w)
    expected = optimum(X, y, quantile, alpha, intercept, w)
    slack = 1e-9 * expected + 1e-12 * np.abs(y).max()
    model = result.solution
    assert result.value == pytest.approx(expected, abs=slack)
    assert objective(X, y, model.coef, model.intercept, quantile, alpha, w) == pytest.approx(expected, abs=slack)
    assert rf.verify(result)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "kind", ["heavy", "dummies", "rare", "ties", "offset", "scales", "skewed", "perfect", "copies"]
)
def test_many_rows_by_samples_and_bands(kind, seed):
    rng = np.random.default_rng(seed)
    n, d = 5000, 5
    X = rng.standard_normal((n, d))
    noise = rng.standard_t(2, n)
    if kind == "heavy":
        X = rng.standard_t(1.5, (n, d))
    elif kind == "dummies":  # they sum to one: dependent with the intercept
        X = np.eye(d)[rng.integers(0, d, n)]
    elif kind == "rare":
        X[:, 0] = np.arange(n) == rng.integers(0, n)
    elif kind == "ties":
        X, noise = rng.integers(0, 2, (n, d)).astype(float), rng.integers(0, 3, n).astype(float)
    elif kind == "offset":
        X = 2000.0 + X
    elif kind == "scales":
        X *= 10.0 ** rng.integers(-4, 5, d)
    elif kind == "skewed":
        noise = noise * np.exp(2.0 * X[:, 0])
    elif kind == "perfect":
        noise = np.zeros(n)
    elif kind == "copies":
        X[:, 1] = X[:, 0]
    y = noise if kind == "ties" else X @ rng.standard_normal(d) + noise
    quantile = float(rng.choice([0.5, 0.1, 0.95]))
    result = solve_lad(X, y, quantile, random_state=seed)
    assert result.stats["band_rows"] < n or kind in ("heavy", "skewed", "ties", "perfect")
    assert result.value == pytest.approx(optimum(X, y, quantile), rel=1e-9, abs=1e-10 if kind == "perfect" else 0.0)
    assert rf.verify(result)


@pytest.mark.parametrize("kind", ["gauss", "ties"])
def test_numpy_twin_in_place_of_the_kernel(monkeypatch, kind):
    X, y = recipe(6000, 4, 9)
    if kind == "ties":
        X, y = np.rint(X), np.rint(y)
    compiled = solve_lad(X, y, 0.3, alpha=0.01)
    monkeypatch.setattr(lad_walk, "LADWalk", reference.LADWalk)
    assert solve_lad(X, y, 0.3, alpha=0.01).value == pytest.approx(compiled.value, rel=1e-13)


def test_time_limit_returns_what_there_is():
    X, y = recipe(100_000, 8, 0)
    result = solve_lad(X, y, time_limit=1e-9)
    assert result.status == Status.TIME_LIMIT
    assert np.isfinite(result.value)


def test_wrong_signs_join_the_band(monkeypatch):
    monkeypatch.setattr(lad_levels, "BAND_WIDTH", 0.2)
    X, y = recipe(20_000, 4, 5)
    result = solve_lad(X, y)
    assert result.stats["passes"] > 3
    monkeypatch.undo()
    assert result.value == pytest.approx(solve_lad(X, y).value, rel=1e-13)


@pytest.mark.parametrize(("quantile", "alpha"), [(0.5, 0.05), (0.2, 0.3), (0.7, 2.0)])
def test_agrees_with_scikit_learn(quantile, alpha):
    X, y = recipe(300, 6, 4)
    peer = QuantileRegressor(quantile=quantile, alpha=alpha, solver="highs").fit(X, y)
    result = solve_lad(X, y, quantile, alpha)
    assert result.value == pytest.approx(objective(X, y, peer.coef_, peer.intercept_, quantile, alpha), rel=1e-10)
    np.testing.assert_allclose(result.solution.coef, peer.coef_, atol=1e-8)


def test_a_large_penalty_leaves_the_weighted_quantile():
    X, y = recipe(101, 3, 0)
    result = solve_lad(X, y, 0.5, alpha=100.0)
    np.testing.assert_array_equal(result.solution.coef, 0.0)
    assert result.solution.intercept == pytest.approx(np.median(y))
    assert set(result.solution.basis[result.solution.basis < 0]) == {-1, -2, -3}


def test_path_equals_single_solves_in_the_order_given():
    X, y = recipe(6000, 4, 6)
    quantiles = [0.5, 0.05, 0.9, 0.25, 0.5]
    path = quantile_path(X, y, quantiles)
    singles = [solve_lad(X, y, q) for q in quantiles]
    np.testing.assert_allclose(path.objective, [r.value for r in singles], rtol=1e-12)
    np.testing.assert_allclose(path.coef, [r.solution.coef for r in singles], rtol=1e-8)
    assert path(X[:7]).shape == (7, 5)
    assert all(rf.verify(r, grade="interval") for r in path.results)
    np.testing.assert_array_equal(path.quantiles, quantiles)


def test_path_starts_from_the_vertex_before():
    X, y = recipe(800, 4, 6)
    path = quantile_path(X, y, np.linspace(0.1, 0.9, 41))
    cold = sum(solve_lad(X, y, q).stats["pivots"] for q in path.quantiles)
    assert sum(r.stats["pivots"] for r in path.results) < 0.8 * cold


@pytest.mark.parametrize("quantiles", [[], [0.5, 1.0], [np.nan], ["a"]])
def test_bad_quantiles(quantiles):
    with pytest.raises(rf.ProblemError, match="quantile"):
        quantile_path([[1.0], [2.0]], [1.0, 2.0], quantiles)


def test_memory_map_and_single_precision(tmp_path):
    X, y = recipe(30_000, 4, 7)
    mapped = np.memmap(tmp_path / "X.dat", dtype=np.float32, mode="w+", shape=X.shape)
    mapped[:] = X
    result = solve_lad(np.memmap(tmp_path / "X.dat", dtype=np.float32, mode="r", shape=X.shape), y)
    assert result.value == pytest.approx(solve_lad(X.astype(np.float32).astype(float), y).value, rel=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_stream_equals_arrays(alpha, weighted):
    X, y = recipe(40_000, 5, 8)
    w = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    opened = []

    def batches():
        opened.append(0)
        for k in range(0, len(y), 3001):
            part = slice(k, k + 3001)
            opened[-1] += 1
            yield (X[part], y[part], w[part]) if weighted else (X[part], y[part])

    result = solve_lad_stream(batches, 0.3, alpha, max_rows=4000)
    expected = solve_lad(X, y, 0.3, alpha, sample_weight=w if weighted else None)
    assert result.value == pytest.approx(expected.value, rel=1e-13)
    np.testing.assert_allclose(result.solution.coef, expected.solution.coef, rtol=1e-9)
    assert result.bound <= result.value
    assert result.relative_gap < 1e-9
    assert result.solution.dual is None
    assert len(opened) <= 8
    assert result.stats["band_rows"] < 20_000


def test_stream_that_changes_is_refused():
    X, y = recipe(6000, 2, 0)
    sizes = iter([6000, 5000, 5000, 5000])

    def batches():
        n = next(sizes)
        return [(X[:n], y[:n])]

    with pytest.raises(rf.ProblemError, match="read again"):
        solve_lad_stream(batches, max_rows=1000)


class Recorder:
    def __init__(self, stop_after=None):
        self.events, self.asked, self.stop_after = [], 0, stop_after

    def event(self, stage, value, bound, elapsed, **counts):
        self.events.append((stage, value, bound))

    def should_stop(self):
        self.asked += 1
        return self.stop_after is not None and self.asked > self.stop_after


def test_stops_on_request_with_the_loss_of_what_it_has():
    X, y = recipe(30_000, 5, 0)
    result = solve_lad(X, y, callback=Recorder(stop_after=1))
    assert result.status == Status.INTERRUPTED
    assert result.certificate is None
    assert result.value == pytest.approx(objective(X, y, result.solution.coef, result.solution.intercept, 0.5))
    best = optimum(X[:3000], y[:3000])
    assert best < 2.0 * result.value
    assert result.bound == 0.0


def test_reports_progress():
    X, y = recipe(30_000, 5, 0)
    recorder = Recorder()
    result = solve_lad(X, y, callback=recorder)
    assert [stage for stage, *_ in recorder.events].count("optimal") == 1
    assert len(recorder.events) >= 2
    assert recorder.events[-1][1:] == (result.value, result.bound)


def test_the_optimum_does_not_depend_on_the_seed():
    X, y = recipe(30_000, 5, 2)
    results = [solve_lad(X, y, random_state=s) for s in range(4)]
    for result in results[1:]:
        np.testing.assert_allclose(result.solution.coef, results[0].solution.coef, rtol=1e-12)
        assert sorted(result.solution.basis) == sorted(results[0].solution.basis)


def test_output_layer_is_lad_on_hidden_features():
    rng = np.random.default_rng(1)
    W, b = rng.standard_normal((5, 4)) / 2.0, 0.5 * rng.standard_normal(5)
    X = rng.standard_normal((200, 4))
    y = rng.uniform(-3.0, 3.0, 200)
    hidden = np.maximum(X @ W.T + b, 0.0)
    assert solve_lad(hidden, y).value == pytest.approx(optimum(hidden, y), rel=1e-10)


def test_duplicate_rows_with_other_targets():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((200, 4))
    y = rng.uniform(-3.0, 3.0, 200)
    E, t = np.vstack([X, X, X]), np.concatenate([y, y + 0.3, y + 0.3])
    merged = solve_lad(np.vstack([X, X]), np.concatenate([y, y + 0.3]), sample_weight=np.repeat([1.0, 2.0], 200))
    assert solve_lad(E, t).value == pytest.approx(merged.value, rel=1e-12)
    assert merged.value == pytest.approx(optimum(E, t), rel=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_fewer_rows_than_coefficients_are_interpolated(n):
    rng = np.random.default_rng(n)
    X, y = rng.standard_normal((n, 7)), rng.standard_normal(n)
    result = solve_lad(X, y)
    np.testing.assert_allclose(result.solution(X), y, atol=1e-10)
    assert result.value <= 1e-12
    assert not result.solution.is_unique
    assert result.stats["rank"] == n


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantile": 0.0}, "quantile"),
        ({"quantile": 1.0}, "quantile"),
        ({"quantile": np.nan}, "quantile"),
        ({"quantile": "half"}, "quantile"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": np.inf}, "alpha"),
        ({"y": [1.0, np.nan, 2.0]}, "y contains"),
        ({"y": [1.0, 2.0]}, "3 entries"),
        ({"X": [[1.0], [np.inf], [2.0]]}, "X contains"),
        ({"X": np.array([[1.0], [np.nan], [2.0]])}, "X contains"),
        ({"X": [1.0, 2.0, 3.0]}, "dimension"),
        ({"X": np.zeros((0, 1)), "y": []}, "at least one sample"),
        ({"sample_weight": [1.0, np.nan, 1.0]}, "sample_weight"),
        ({"sample_weight": [1.0, -1.0, 1.0]}, "non-negative"),
        ({"sample_weight": [0.0, 0.0, 0.0]}, "not zero"),
        ({"sample_weight": [1.0, 1.0]}, "shape"),
        ({"time_limit": -1.0}, "time_limit"),
        ({"callback": 3}, "callback"),
    ],
)
def test_bad_input(change, message):
    given = {"X": [[1.0], [2.0], [3.0]], "y": [1.0, 2.0, 4.0]} | change
    with pytest.raises(rf.ProblemError, match=message):
        solve_lad(**given)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (lambda: [], "no row"),
        (lambda: [np.zeros((3, 2))], "a batch must be"),
        (lambda: [(np.zeros((3, 2)), np.zeros(2))], "a batch has"),
        (lambda: [(np.zeros((3, 2)), np.zeros(3)), (np.zeros((3, 1)), np.zeros(3))], "a batch has"),
        (lambda: [(np.zeros((3, 2)), np.array([0.0, np.nan, 1.0]))], "NaN"),
        (lambda: [(np.zeros((3, 2)), np.zeros(3), -np.ones(3))], "non-negative"),
        (7, "function"),
    ],
)
def test_bad_batches(batches, message):
    with pytest.raises(rf.ProblemError, match=message):
        solve_lad_stream(batches)

"""The cone projection: compiled kernel and numpy twin against each other, the KKT conditions and other solvers."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import nnls

from rectifold import _kernels
from rectifold._kernels.reference import cone_projection as reference

COLD = np.zeros((0, 0), dtype=np.int32)
NEVER = -np.inf
TOL = 1e-12
HOMES = [pytest.param(reference, id="twin")]
if _kernels.COMPILED:
    HOMES.append(pytest.param(_kernels, id="compiled"))


def gated(rng, n, d, n_patterns):
    """Rows with a ones column, patterns of random gates, a residual."""
    X = np.hstack([rng.standard_normal((n, d - 1)), np.ones((n, 1))])
    patterns = np.ascontiguousarray((X @ rng.standard_normal((d, n_patterns)) > 0).T)
    return X, patterns, rng.standard_normal(n)


def signed_moments(X, patterns, theta):
    C = (patterns * theta) @ X
    return np.stack([C, -C], axis=1).reshape(-1, X.shape[1]), np.repeat(np.arange(len(patterns), dtype=np.int32), 2)


def signed_rows(X, pattern):
    return np.where(pattern, 1.0, -1.0)[:, None] * X


def multipliers(n, active, rho):
    dense = np.zeros(n)
    dense[active[active >= 0]] = rho[active >= 0]
    return dense


def assert_optimal(X, patterns, index, C, answer, tol=1e-11):
    """Primal and dual feasibility, stationarity and complementarity of every block."""
    V, norms, active, rho, status = answer
    norm_rows = np.maximum(np.linalg.norm(X, axis=1), 1e-300)
    assert np.all(status == 0)
    for b, p in enumerate(index):
        size, A = np.linalg.norm(C[b]), signed_rows(X, patterns[p])
        assert np.all(A @ V[b] >= -tol * size * norm_rows)
        assert np.all(rho[b][active[b] >= 0] > 0)
        assert np.all(rho[b][active[b] < 0] == 0)
        dense = multipliers(len(X), active[b], rho[b])
        rounding = np.abs(A.T) @ dense + size
        assert np.all(np.abs(C[b] + A.T @ dense - V[b]) <= tol * rounding)
        assert abs(V[b] @ (V[b] - C[b])) <= tol * size * max(size, 1e-300)
        assert norms[b] == pytest.approx(np.linalg.norm(V[b]), abs=1e-13 * size)


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize(("n", "d"), [(40, 3), (60, 14), (5, 9), (90, 31), (1, 1), (30, 8)])
def test_projections_satisfy_the_kkt_conditions(home, n, d):
    X, patterns, theta = gated(np.random.default_rng(n), n, d, 6)
    C, index = signed_moments(X, patterns, theta)
    assert_optimal(X, patterns, index, C, home.project_cones(X, patterns, index, C, NEVER, TOL, COLD, 1))


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("seed", range(5))
def test_norms_agree_with_nnls(home, seed):
    X, patterns, theta = gated(np.random.default_rng(seed), 50, 7, 5)
    C, index = signed_moments(X, patterns, theta)
    norms = home.project_cones(X, patterns, index, C, NEVER, TOL, COLD, 1)[1]
    for b, p in enumerate(index):
        residual = nnls(signed_rows(X, patterns[p]).T, -C[b])[1]
        assert norms[b] == pytest.approx(residual, rel=1e-10, abs=1e-12 * np.linalg.norm(C[b]))


def test_projection_agrees_with_a_conic_solver():
    X, patterns, theta = gated(np.random.default_rng(3), 30, 5, 2)
    C, index = signed_moments(X, patterns, theta)
    V, norms, *_ = _kernels.project_cones(X, patterns, index, C, NEVER, TOL, COLD, 1)
    for b, p in enumerate(index):
        w = cp.Variable(X.shape[1])
        gain = cp.Problem(cp.Maximize(C[b] @ w), [signed_rows(X, patterns[p]) @ w >= 0, cp.norm(w) <= 1])
        gain.solve(solver=cp.CLARABEL)
        assert norms[b] == pytest.approx(gain.value, abs=1e-6)
        if norms[b] > 1e-3:
            np.testing.assert_allclose(V[b] / norms[b], w.value, atol=1e-4)


@pytest.mark.skipif(not _kernels.COMPILED, reason="the pure wheel has no kernel to compare the twin with")
@pytest.mark.parametrize(("n", "d"), [(178, 14), (700, 31), (3000, 12)])
def test_kernel_and_twin_agree(n, d):
    X, patterns, theta = gated(np.random.default_rng(d), n, d, 4)
    ours = _kernels.price_cones(X, patterns, theta, NEVER, TOL, COLD, 1)
    twin = reference.price_cones(X, patterns, theta, NEVER, TOL, COLD, 1)
    scale = np.abs(twin.V).max()
    np.testing.assert_allclose(ours[0], twin.V, atol=1e-11 * scale)
    np.testing.assert_allclose(ours[1], twin.norms, rtol=1e-10, atol=1e-12 * scale)
    np.testing.assert_array_equal(ours[4], twin.status)


@pytest.mark.parametrize("home", HOMES)
def test_pricing_is_the_projection_of_both_signs(home):
    X, patterns, theta = gated(np.random.default_rng(8), 80, 10, 7)
    C, index = signed_moments(X, patterns, theta)
    priced = home.price_cones(X, patterns.view(np.uint8), theta, NEVER, TOL, COLD, 1)
    projected = home.ConeProjector(X).project(patterns, index, C, NEVER, TOL, COLD, 1)
    np.testing.assert_allclose(priced[0], projected[0], atol=1e-11 * np.abs(C).max())
    np.testing.assert_allclose(priced[1], projected[1], atol=1e-11 * np.abs(C).max())


@pytest.mark.parametrize("home", HOMES)
def test_a_vector_inside_its_cone_is_returned_unchanged(home):
    X, _patterns, _ = gated(np.random.default_rng(1), 30, 4, 1)
    C = np.array([[0.3, -1.0, 2.0, 0.5]])
    inside = np.ascontiguousarray((X @ C.T > 0).T)
    V, norms, active, _, status = home.project_cones(X, inside, np.zeros(1, np.int32), C, NEVER, TOL, COLD, 1)
    np.testing.assert_array_equal(V, C)
    assert status[0] == 0
    assert np.all(active == -1)
    assert norms[0] == pytest.approx(np.linalg.norm(C))


@pytest.mark.parametrize("home", HOMES)
def test_the_cone_of_opposite_rows_is_the_origin(home):
    X = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2], [0, 0]])
    answer = home.project_cones(
        X, np.ones((1, 5), bool), np.zeros(1, np.int32), np.array([[3.0, -4.0]]), NEVER, TOL, COLD, 1
    )
    assert answer[1][0] <= 1e-12
    assert answer[4][0] == 0


@pytest.mark.parametrize("home", HOMES)
def test_zero_vectors_and_empty_batches(home):
    X = np.eye(3)
    none = home.project_cones(X, np.ones((1, 3), bool), np.zeros(0, np.int32), np.zeros((0, 3)), NEVER, TOL, COLD, 2)
    assert none[0].shape == (0, 3)
    assert none[1].shape == (0,)
    zero = home.project_cones(X, np.ones((1, 3), bool), np.zeros(1, np.int32), np.zeros((1, 3)), 1.0, TOL, COLD, 1)
    assert zero[1][0] == 0
    assert zero[4][0] == 0
    assert np.all(zero[2] == -1)
    free = home.project_cones(
        np.zeros((0, 2)), np.ones((1, 0), bool), np.zeros(1, np.int32), np.array([[1.0, 2.0]]), NEVER, TOL, COLD, 1
    )
    np.testing.assert_array_equal(free[0], [[1.0, 2.0]])


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("scale", [1e-120, 1.0, 1e120])
def test_scales_cancel(home, scale):
    X, patterns, theta = gated(np.random.default_rng(4), 40, 6, 3)
    C, index = signed_moments(X, patterns, theta)
    plain = home.project_cones(X, patterns, index, C, NEVER, TOL, COLD, 1)
    scaled = home.project_cones(scale * X, patterns, index, scale * C, NEVER, TOL, COLD, 1)
    np.testing.assert_allclose(scaled[0] / scale, plain[0], atol=1e-12 * np.abs(C).max())


@pytest.mark.parametrize("home", HOMES)
def test_stopping_early_gives_a_bound_that_holds(home):
    X, patterns, theta = gated(np.random.default_rng(11), 120, 9, 12)
    C, index = signed_moments(X, patterns, theta)
    exact = home.project_cones(X, patterns, index, C, NEVER, TOL, COLD, 1)
    threshold = float(np.median(exact[1]))
    V, norms, active, rho, status = home.project_cones(X, patterns, index, C, threshold, TOL, COLD, 1)
    assert np.all(status[exact[1] < threshold * (1 - 1e-9)] == 1)
    assert np.all(status[exact[1] > threshold] == 0)
    for b in np.flatnonzero(status == 1):
        dual_point = C[b] + signed_rows(X, patterns[index[b]]).T @ multipliers(len(X), active[b], rho[b])
        np.testing.assert_allclose(dual_point, V[b], atol=1e-12 * np.linalg.norm(C[b]))
        assert exact[1][b] * (1 - 1e-12) <= norms[b] <= threshold
    outside = status == 0
    np.testing.assert_allclose(norms[outside], exact[1][outside], rtol=1e-12)


@pytest.mark.parametrize("home", HOMES)
def test_a_threshold_above_the_vector_needs_no_work(home):
    X, patterns, theta = gated(np.random.default_rng(2), 20, 4, 3)
    C, index = signed_moments(X, patterns, theta)
    V, norms, active, _, status = home.project_cones(X, patterns, index, C, 1e9, TOL, COLD, 1)
    np.testing.assert_array_equal(V, C)
    assert np.all(status == 1)
    assert np.all(active == -1)
    np.testing.assert_allclose(norms, np.linalg.norm(C, axis=1), rtol=1e-14)


@pytest.mark.parametrize("home", HOMES)
def test_warm_starts_change_nothing_but_the_way(home):
    rng = np.random.default_rng(6)
    X, patterns, theta = gated(rng, 150, 12, 6)
    before = home.price_cones(X, patterns, theta, NEVER, TOL, COLD, 1)
    moved = theta + 0.05 * rng.standard_normal(len(theta))
    cold = home.price_cones(X, patterns, moved, NEVER, TOL, COLD, 1)
    useless = rng.integers(-1, len(X), size=(2 * len(patterns), 20), dtype=np.int32)
    for warm_index in (before[2], useless, np.repeat(useless, 3, axis=1)):
        warm = home.price_cones(X, patterns, moved, NEVER, TOL, warm_index, 1)
        np.testing.assert_allclose(warm[0], cold[0], atol=1e-11 * np.abs(cold[0]).max())
        assert np.all(warm[4] == 0)


@st.composite
def degenerate_problems(draw):
    """Small integers: zero rows, repeated and opposite rows, collinear rows, cones without interior."""
    n, d = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    X = draw(arrays(np.float64, (n, d), elements=st.integers(-2, 2).map(float)))
    pattern = draw(arrays(np.bool_, (1, n)))
    C = draw(arrays(np.float64, (2, d), elements=st.integers(-3, 3).map(float)))
    return X, pattern, C


@pytest.mark.parametrize("home", HOMES)
@given(degenerate_problems())
@settings(max_examples=300, deadline=None)
def test_degenerate_cones(home, problem):
    X, pattern, C = problem
    index = np.zeros(len(C), np.int32)
    assert_optimal(X, pattern, index, C, home.project_cones(X, pattern, index, C, NEVER, TOL, COLD, 1))


@pytest.mark.parametrize("home", HOMES)
@given(degenerate_problems(), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_degenerate_warm_starts(home, problem, seed):
    X, pattern, C = problem
    index = np.zeros(len(C), np.int32)
    warm = np.random.default_rng(seed).integers(-1, len(X), size=(len(C), 6), dtype=np.int32)
    assert_optimal(X, pattern, index, C, home.project_cones(X, pattern, index, C, NEVER, TOL, warm, 1))


@pytest.mark.parametrize("spread", [1e-3, 1e-6, 1e-9])
def test_thin_cones_keep_primal_and_dual_in_step(spread):
    rng = np.random.default_rng(17)
    base = rng.standard_normal((10, 6))
    X = np.vstack([base, -base + spread * rng.standard_normal(base.shape)])
    inside = rng.standard_normal(6)
    patterns = np.vstack([X @ inside > 0, np.ones(20, bool)])
    index, C = np.array([0, 1], np.int32), rng.standard_normal((2, 6))
    V, norms, active, rho, status = _kernels.project_cones(X, patterns, index, C, NEVER, TOL, COLD, 1)
    assert np.all(status == 0)
    for b in range(2):
        A = signed_rows(X, patterns[b])
        bound = np.linalg.norm(C[b] + A.T @ multipliers(20, active[b], rho[b]))
        assert (A @ V[b]).min() >= -1e-11 * np.linalg.norm(C[b]) * np.linalg.norm(X, axis=1).max()
        assert bound == pytest.approx(norms[b], abs=1e-8 * np.linalg.norm(C[b]))


def test_many_rows_and_few_dimensions_go_through_the_short_list():
    X, patterns, theta = gated(np.random.default_rng(9), 6000, 8, 3)
    C, index = signed_moments(X, patterns, theta)
    assert_optimal(X, patterns, index, C, _kernels.project_cones(X, patterns, index, C, NEVER, TOL, COLD, 1))


def test_duplicated_rows_beyond_the_short_list():
    rng = np.random.default_rng(10)
    X = np.repeat(rng.integers(-2, 3, size=(400, 6)).astype(float), 20, axis=0)
    patterns = np.ascontiguousarray((X @ rng.standard_normal((6, 3)) > 0).T)
    C, index = signed_moments(X, patterns, rng.standard_normal(len(X)))
    assert_optimal(X, patterns, index, C, _kernels.project_cones(X, patterns, index, C, NEVER, TOL, COLD, 1))


@pytest.mark.parametrize("method", ["project", "price"])
def test_answers_do_not_depend_on_the_number_of_threads(method):
    X, patterns, theta = gated(np.random.default_rng(5), 300, 13, 23)
    C, index = signed_moments(X, patterns, theta)
    subject = (index, C) if method == "project" else (theta,)
    run = getattr(_kernels.ConeProjector(X), method)
    serial = run(patterns, *subject, NEVER, TOL, COLD, 1)
    for n_threads in (2, 3, 64):
        for one, many in zip(serial, run(patterns, *subject, NEVER, TOL, COLD, n_threads), strict=True):
            np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("home", HOMES)
def test_read_only_input_is_accepted_and_left_alone(home):
    X, patterns, theta = gated(np.random.default_rng(5), 20, 4, 3)
    expected = home.price_cones(X, patterns, theta, NEVER, TOL, COLD, 1)
    for array in (X, patterns, theta):
        array.flags.writeable = False
    np.testing.assert_array_equal(home.price_cones(X, patterns, theta, NEVER, TOL, COLD, 1)[0], expected[0])


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("X", lambda a: a.astype(np.float32)),
        ("X", np.asfortranarray),
        ("patterns", lambda a: a.astype(np.int64)),
        ("index", lambda a: a.astype(np.int64)),
        ("C", lambda a: a.astype(np.float32)),
        ("C", lambda a: a[:, ::-1]),
        ("warm_index", lambda a: np.zeros((0, 0))),
    ],
)
def test_wrong_types_are_refused(home, name, change):
    arguments = valid_arguments()
    arguments[name] = change(arguments[name])
    with pytest.raises(TypeError):
        home.project_cones(**arguments)


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", np.full((6, 3), np.nan)),
        ("patterns", np.ones((2, 5), bool)),
        ("index", np.array([0, 2], np.int32)),
        ("index", np.array([0, -1], np.int32)),
        ("index", np.zeros(3, np.int32)),
        ("C", np.zeros((2, 4))),
        ("C", np.array([[0, 0, np.inf], [0, 0, 0]])),
        ("threshold", np.nan),
        ("tol", -1.0),
        ("tol", np.nan),
        ("warm_index", np.zeros((3, 2), np.int32)),
        ("warm_index", np.full((2, 2), 6, np.int32)),
        ("n_threads", 0),
    ],
)
def test_bad_values_are_refused(home, name, value):
    arguments = valid_arguments()
    arguments[name] = value
    with pytest.raises(ValueError):
        home.project_cones(**arguments)


def valid_arguments():
    X, patterns, theta = gated(np.random.default_rng(0), 6, 3, 1)
    C, index = signed_moments(X, patterns, theta)
    return {
        "X": X,
        "patterns": np.vstack([patterns, ~patterns]),
        "index": index,
        "C": C,
        "threshold": NEVER,
        "tol": TOL,
        "warm_index": COLD,
        "n_threads": 1,
    }

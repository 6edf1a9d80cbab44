"""Cells of central arrangements against Cover's counts, threshold functions, LPs over all sign vectors, each other."""

import itertools
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rectifold._engine.lp import LinearProgram
from rectifold._kernels.reference import arrangement as twin
from rectifold.core.errors import ProblemError
from rectifold.geometry import arrangement as geometry
from rectifold.geometry.arrangement import MARGIN_TOL, Arrangement, CellSet, count_cells_bound, enumerate_cells

kernels = {"twin": twin}
if find_spec("rectifold._kernels._compiled") is not None:
    from rectifold._kernels import _compiled

    kernels["compiled"] = _compiled


@pytest.fixture(params=sorted(kernels))
def kernel(request, monkeypatch):
    monkeypatch.setattr(geometry, "CellWalk", kernels[request.param].CellWalk)
    monkeypatch.setattr(geometry, "max_margins", kernels[request.param].max_margins)
    return request.param


@pytest.fixture(params=["rays", "margins"])
def method(request, monkeypatch):
    monkeypatch.setattr(geometry, "_MAX_RAY_RANK", 99 if request.param == "rays" else 0)
    return request.param


def gaussian(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def cube(d):
    return np.array([(*x, 1) for x in itertools.product((0, 1), repeat=d)], float)


def pattern_set(cells):
    return {p.tobytes() for p in cells.patterns}


def brute_force(X):
    """All patterns of open cells: one LP for every sign vector of the non-zero rows."""
    X = np.asarray(X, float)
    n, d = X.shape
    nonzero = np.flatnonzero(X.any(axis=1))
    lp = LinearProgram(  # s_i x_i'u >= t is x_i'u - t >= 0 or x_i'u + t <= 0: two rows a sample, one of them free
        np.append(np.zeros(d), -1.0),
        np.vstack([np.c_[X, -np.ones(n)], np.c_[X, np.ones(n)]]),
        col_lower=-1.0,
        col_upper=1.0,
    )
    found = set()
    for signs in itertools.product((False, True), repeat=len(nonzero)):
        pattern = np.zeros(n, bool)
        pattern[nonzero] = signs
        off = np.setdiff1d(nonzero, pattern.nonzero()[0])
        lower, upper = np.full(2 * n, -np.inf), np.full(2 * n, np.inf)
        lower[pattern.nonzero()[0]], upper[n + off] = 0.0, 0.0
        lp.set_row_bounds(np.arange(2 * n), lower, upper)
        if -lp.solve().value > 1e-7:
            found.add(pattern.tobytes())
    return found


def check(X, cells):
    """What every answer must satisfy, whatever X."""
    X = np.asarray(X, float)
    assert cells.patterns.shape == (len(cells), len(X))
    assert len(pattern_set(cells)) == len(cells)
    values = cells.witnesses @ X.T
    np.testing.assert_array_equal(values > 0, cells.patterns)
    assert (values[:, X.any(axis=1)] != 0).all()
    np.testing.assert_allclose(np.linalg.norm(cells.witnesses, axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("n", "d", "count"),
    [(10, 2, 20), (20, 3, 382), (30, 3, 872), (50, 3, 2452), (20, 4, 2320), (12, 5, 1124), (3, 5, 8), (7, 1, 2)],
)
def test_general_position_counts(n, d, count):
    X = gaussian(n, d)
    cells = enumerate_cells(X)
    check(X, cells)
    assert cells.complete
    assert len(cells) == count == count_cells_bound(n, min(n, d))


@pytest.mark.parametrize(("n", "d"), [(9, 2), (14, 3), (10, 4), (9, 6), (9, 8), (5, 7)])
def test_general_position_counts_by_every_kernel_and_method(n, d, kernel, method):
    X = gaussian(n, d, seed=n)
    cells = enumerate_cells(X)
    check(X, cells)
    assert cells.complete
    assert len(cells) == count_cells_bound(n, min(n, d))


@pytest.mark.parametrize(("d", "count"), [(1, 4), (2, 14), (3, 104), (4, 1882)])
def test_threshold_functions_of_the_cube(d, count, method):
    """Highly degenerate: many hyperplanes meet in each ray."""
    X = cube(d)
    cells = enumerate_cells(X)
    check(X, cells)
    assert len(cells) == count


@pytest.mark.slow
def test_threshold_functions_of_five_variables():
    assert len(enumerate_cells(cube(5))) == 94572


def test_threshold_functions_by_every_kernel(kernel, method):
    assert len(enumerate_cells(cube(3))) == 104


def test_xor():
    X = np.array([(a, b, 1) for a in (-1, 1) for b in (-1, 1)], float)
    cells = enumerate_cells(X)
    assert len(cells) == 14
    assert (cells.patterns.any(axis=1)).sum() == 13


@pytest.mark.parametrize("by_rays", [True, False])
@pytest.mark.skipif("compiled" not in kernels, reason="a pure build has only the twins")
def test_walks_of_compiled_kernel_and_twin_agree_step_by_step(by_rays):
    rows = Arrangement(gaussian(11, 4)).rows
    rays = np.linalg.inv(rows[:4]).T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    walks = [kernels[k].CellWalk(rows, np.ascontiguousarray(rays), MARGIN_TOL, by_rays) for k in ("compiled", "twin")]
    done = False
    while not done:
        (signs, points, done), (twin_signs, twin_points, twin_done) = (walk.next(7, 10.0) for walk in walks)
        np.testing.assert_array_equal(signs, twin_signs)
        np.testing.assert_allclose(points, twin_points, atol=1e-9)
        assert done == twin_done


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.integers(-2, 2)))
def test_degenerate_integer_matrices_against_brute_force(X):
    cells = enumerate_cells(X)
    check(X, cells)
    assert cells.complete
    assert pattern_set(cells) == brute_force(X)


@settings(max_examples=20, deadline=None)
@given(arrays(np.int64, (6, 4), elements=st.integers(-1, 1)))
def test_both_methods_and_kernels_agree_on_degenerate_matrices(X):
    answers = []
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in itertools.product(kernels, (0, 99)):
            patch.setattr(geometry, "CellWalk", kernels[name].CellWalk)
            patch.setattr(geometry, "_MAX_RAY_RANK", limit)
            answers.append(pattern_set(enumerate_cells(X)))
    assert all(answer == answers[0] for answer in answers)


def test_plane_against_a_grid_of_angles():
    X = gaussian(25, 2, seed=3)
    angles = np.linspace(0, 2 * np.pi, 200_001)
    grid = np.unique(np.c_[np.cos(angles), np.sin(angles)] @ X.T > 0, axis=0)
    cells = enumerate_cells(X)
    assert pattern_set(cells) >= {p.tobytes() for p in grid}
    assert len(cells) == 50


def test_cells_are_closed_under_crossing_facets():
    """The graph of cells is connected, so a set that contains all neighbours of its members is complete."""
    X = np.array([(a, b, c, 1) for a in range(3) for b in range(2) for c in range(2)], float)
    cells = enumerate_cells(X)
    known = pattern_set(cells)
    arrangement = Arrangement(X)
    flips = cells.patterns[:, None, :] ^ np.eye(len(X), dtype=bool)
    flips = flips.reshape(-1, len(X))
    _, margins, bounds = arrangement.interior_points(flips)
    neighbour = margins > MARGIN_TOL
    assert (neighbour == (bounds > MARGIN_TOL)).all()
    assert neighbour.sum() > len(cells)
    assert {p.tobytes() for p in flips[neighbour]} <= known


def test_zero_duplicate_and_collinear_rows_add_nothing():
    X = gaussian(8, 3)
    more = np.vstack([X, np.zeros(3), X[2], -3 * X[4], 1e-8 * X[1]])
    plain, cells = enumerate_cells(X), enumerate_cells(more)
    check(more, cells)
    assert pattern_set(CellSet(cells.patterns[:, :8].copy(), cells.witnesses, True)) == pattern_set(plain)
    assert len(cells) == len(plain)
    assert not cells.patterns[:, 8].any()
    np.testing.assert_array_equal(cells.patterns[:, 10], ~cells.patterns[:, 4])


def test_rank_deficient_and_invariant_under_column_maps():
    X = gaussian(12, 3)
    expected = pattern_set(enumerate_cells(X))
    for columns in (gaussian(3, 5, 1), np.diag([1e6, 1.0, 1e-6]), np.array([[1.0, 1e5, 0], [0, 1, 0], [0, 0, 1]])):
        mapped = X @ columns
        cells = enumerate_cells(mapped)
        check(mapped, cells)
        assert pattern_set(cells) == expected


def test_rounding_noise_makes_no_cells():
    """A standardised grid is degenerate up to rounding only."""
    grid = np.array(list(itertools.product(range(3), repeat=3)), float)
    standardised = np.c_[(grid - grid.mean(0)) / grid.std(0) * np.sqrt([2, 3, 5]), np.ones(len(grid))]
    exact, noisy = enumerate_cells(np.c_[grid, np.ones(len(grid))]), enumerate_cells(standardised)
    assert pattern_set(noisy) == pattern_set(exact)
    assert noisy.complete


def test_large_offsets_do_not_hide_cells():
    X = np.c_[1e6 + np.arange(6.0), np.ones(6)]
    assert len(enumerate_cells(X)) == 12


def test_all_rows_zero_is_one_cell():
    cells = enumerate_cells(np.zeros((3, 2)))
    assert len(cells) == 1
    assert not cells.patterns.any()
    assert cells.complete


@pytest.mark.parametrize(("n", "d"), [(9, 2), (9, 3), (5, 1)])
def test_max_cells_is_anytime_and_honest(n, d):
    X = gaussian(n, d)
    total = len(enumerate_cells(X))
    for limit in (0, 1, total - 1, total, total + 1):
        cells = enumerate_cells(X, max_cells=limit)
        check(X, cells)
        assert len(cells) == min(limit, total)
        assert cells.complete == (limit >= total)


def test_should_stop_returns_what_was_found(monkeypatch):
    monkeypatch.setattr(geometry, "_SLICE_SECONDS", 0.0)
    X, calls = gaussian(20, 4), itertools.count()
    cells = enumerate_cells(X, should_stop=lambda: next(calls) >= 3)
    check(X, cells)
    assert 0 < len(cells) < 2320
    assert not cells.complete


def test_high_rank_gives_cells_at_once():
    X = gaussian(300, 40)
    cells = enumerate_cells(X, max_cells=50)
    check(X, cells)
    assert len(cells) == 50
    assert not cells.complete


@pytest.mark.parametrize("name", sorted(kernels))
def test_margins_against_the_minimum_norm_quadratic_program(name):
    """The largest margin is the distance of the signed rows' convex hull from the origin."""
    cp = pytest.importorskip("cvxpy", reason="an independent solver, in the extra of the tests")
    rows = Arrangement(gaussian(15, 4, seed=2)).rows
    cells = enumerate_cells(rows, max_cells=6)
    patterns = np.vstack([cells.patterns, ~cells.patterns ^ (np.arange(15) == 3)])
    points, margins, bounds = kernels[name].max_margins(rows, np.ascontiguousarray(patterns), 1.0 - 1e-9, MARGIN_TOL)
    signs = np.where(patterns, 1.0, -1.0)
    for p in range(len(patterns)):
        weight = cp.Variable(15, nonneg=True)
        hull = cp.Problem(cp.Minimize(cp.norm((signs[p][:, None] * rows).T @ weight)), [cp.sum(weight) == 1])
        distance = hull.solve(solver=cp.CLARABEL)
        assert bounds[p] == pytest.approx(distance, abs=1e-6)
        if distance > 1e-6:
            assert margins[p] == pytest.approx(distance, abs=1e-6)
            assert margins[p] == pytest.approx((signs[p] * (rows @ points[p])).min(), abs=1e-12)
        else:
            assert bounds[p] <= MARGIN_TOL


@pytest.mark.parametrize("name", sorted(kernels))
@pytest.mark.parametrize("width", [1e-3, 1e-6, 1e-8])
def test_margins_of_thin_cones(name, width):
    """Between two nearly equal hyperplanes the margin is sin(angle / 2), or 0.8 of it where the third row tilts u."""
    rows = np.array([[0.0, 1.0, 0.0], [np.sin(width), np.cos(width), 0.0], [0.6, 0.0, 0.8]])
    patterns = np.array([[True, False, True], [True, False, False]])
    points, margins, bounds = kernels[name].max_margins(rows, patterns, 0.999, MARGIN_TOL)
    np.testing.assert_allclose(margins, np.sin(width / 2) * np.array([0.8, 1.0]), rtol=2e-3)
    assert (margins <= bounds * (1 + 1e-6)).all()
    values = np.where(patterns, 1, -1) * (points @ rows.T)
    np.testing.assert_allclose(values.min(axis=1), margins, rtol=1e-6)


def test_interior_points_say_which_patterns_are_cells(kernel):
    X = np.vstack([gaussian(6, 3, seed=4), np.zeros(3)])
    X = np.vstack([X, -2 * X[0]])
    patterns = np.array(list(itertools.product((False, True), repeat=8)))
    points, margins, bounds = Arrangement(X).interior_points(patterns)
    cell = margins > MARGIN_TOL
    assert {p.tobytes() for p in patterns[cell]} == brute_force(X)
    assert (bounds[~cell] <= MARGIN_TOL).all()
    np.testing.assert_array_equal(points[cell] @ X.T > 0, patterns[cell])


@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_cover_bound(n):
    assert count_cells_bound(n, n) == count_cells_bound(n, n + 3) == 2**n
    assert count_cells_bound(n, 1) == 2
    assert count_cells_bound(n, 2) == 2 * n
    assert count_cells_bound(0, 3) == count_cells_bound(n, 0) == 1


def test_cells_are_read_only():
    cells = enumerate_cells(gaussian(4, 2))
    with pytest.raises(ValueError, match="read-only"):
        cells.patterns[0, 0] = True


@pytest.mark.parametrize(
    "X", [np.zeros((0, 2)), np.zeros((2, 0)), [1.0, 2.0], [[np.nan, 1.0]], [[np.inf, 1.0]], [["a"]]]
)
def test_bad_matrices_are_refused(X):
    with pytest.raises(ProblemError):
        enumerate_cells(X)


def test_negative_limit_is_refused():
    with pytest.raises(ProblemError, match="max_cells"):
        enumerate_cells(gaussian(4, 2), max_cells=-1)


@pytest.mark.parametrize("name", sorted(kernels))
def test_kernels_refuse_shapes_that_do_not_fit(name):
    with pytest.raises(ValueError, match="rows must be"):
        kernels[name].max_margins(np.ones((2, 2)), np.ones((1, 3), bool), 0.5, 1e-9)
    with pytest.raises(ValueError, match="rows must be"):
        kernels[name].CellWalk(np.ones((2, 3)), np.eye(3), 1e-9, True)

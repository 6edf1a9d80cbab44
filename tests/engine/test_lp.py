"""The door to HiGHS, against scipy, weak duality and Farkas."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from rectifold._engine.lp import LinearProgram, LPStatus
from rectifold.core.errors import ProblemError, SolverError


def random_program(seed, n_rows=12, n_cols=5):
    rng = np.random.default_rng(seed)
    A, c = rng.standard_normal((n_rows, n_cols)), rng.standard_normal(n_cols)
    upper = A @ rng.standard_normal(n_cols) + rng.random(n_rows)
    return c, A, upper


@pytest.mark.parametrize("seed", range(5))
def test_optimum_agrees_with_scipy_and_duals_prove_it(seed):
    c, A, upper = random_program(seed)
    answer = LinearProgram(c, A, row_upper=upper, col_lower=-2.0, col_upper=3.0).solve()
    expected = linprog(c, A_ub=A, b_ub=upper, bounds=(-2.0, 3.0))
    assert answer.status is LPStatus.OPTIMAL
    assert answer.value == pytest.approx(expected.fun, rel=1e-9)
    assert answer.value == pytest.approx(c @ answer.x)
    np.testing.assert_allclose(A.T @ answer.row_duals + answer.reduced_costs, c, atol=1e-9)
    assert (answer.row_duals <= 1e-9).all()  # only upper row bounds
    proven = answer.row_duals @ upper + np.minimum(-2.0 * answer.reduced_costs, 3.0 * answer.reduced_costs).sum()
    assert proven == pytest.approx(answer.value, abs=1e-8)


def test_sparse_and_dense_are_the_same_program():
    c, A, upper = random_program(7)
    A[np.abs(A) < 0.7] = 0.0
    rows, cols = A.nonzero()
    twice = coo_matrix(  # every entry in two halves
        (np.tile(A[rows, cols] / 2, 2), (np.tile(rows, 2), np.tile(cols, 2))), shape=A.shape
    )
    dense, sparse = (LinearProgram(c, M, row_upper=upper, col_lower=-2, col_upper=2).solve() for M in (A, twice))
    assert sparse.value == pytest.approx(dense.value, rel=1e-12)


def test_row_changes_equal_a_fresh_solve():
    c, A, upper = random_program(3, n_rows=30)
    lp = LinearProgram(c, A, row_upper=upper, col_lower=-5, col_upper=5)
    lp.solve()
    rng = np.random.default_rng(1)
    for _ in range(10):
        rows = rng.permutation(30)[:3]
        low, high = np.full(3, -np.inf), upper[rows] + rng.random(3)
        upper[rows] = high
        lp.set_row_bounds(rows, low, high)
        fresh = LinearProgram(c, A, row_upper=upper, col_lower=-5, col_upper=5).solve()
        assert lp.solve().value == pytest.approx(fresh.value, rel=1e-9)


def test_infeasible_has_a_farkas_ray_and_recovers():
    A = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0]])
    lp = LinearProgram([0.0, 0.0], A, row_lower=[-np.inf, -np.inf, 2.0], row_upper=[1.0, 1.0, np.inf])
    answer = lp.solve()
    assert answer.status is LPStatus.INFEASIBLE
    assert answer.x is None
    assert answer.value == np.inf
    y = answer.ray
    np.testing.assert_allclose(A.T @ y, 0.0, atol=1e-12)
    assert y[0] <= 0
    assert y[1] <= 0
    assert y[2] >= 0
    assert y @ [1.0, 1.0, 2.0] > 0  # 0 = y'Ax >= y'bounds > 0
    lp.set_row_bounds(2, -np.inf, np.inf)
    assert lp.solve().status is LPStatus.OPTIMAL


def test_unbounded_has_a_recession_ray():
    A, c = np.array([[1.0, -1.0]]), np.array([-1.0, -1.0])
    answer = LinearProgram(c, A, row_lower=-1.0, row_upper=1.0).solve()
    assert answer.status is LPStatus.UNBOUNDED
    assert answer.value == -np.inf
    assert c @ answer.ray < 0
    np.testing.assert_allclose(A @ answer.ray, 0.0, atol=1e-12)


def test_limits_are_a_status():
    c, A, upper = random_program(5, n_rows=200, n_cols=40)
    lp = LinearProgram(c, A, row_upper=upper, col_lower=-9, col_upper=9)
    limited = lp.solve(iteration_limit=1)
    assert limited.status is LPStatus.ITERATION_LIMIT
    assert np.isnan(limited.value)
    assert limited.x is None
    assert lp.solve(time_limit=60).status is LPStatus.OPTIMAL


def test_time_limit_counts_from_the_call():
    c, A, upper = random_program(5, n_rows=200, n_cols=40)
    lp = LinearProgram(c, A, row_upper=upper, col_lower=-9, col_upper=9)
    assert lp.solve(time_limit=0.0).status is LPStatus.TIME_LIMIT
    assert lp.solve(time_limit=60.0).status is LPStatus.OPTIMAL


def test_no_rows():
    answer = LinearProgram([1.0, -1.0], np.zeros((0, 2)), col_lower=0, col_upper=2).solve()
    np.testing.assert_allclose(answer.x, [0.0, 2.0])


@pytest.mark.parametrize(
    ("c", "A", "bounds"),
    [
        ([1.0], [[1.0, 2.0]], {}),
        ([1.0, np.nan], [[1.0, 2.0]], {}),
        ([1.0, np.inf], [[1.0, 2.0]], {}),
        ([1.0, 1.0], [[1.0, np.nan]], {}),
        ([1.0, 1.0], [1.0, 2.0], {}),
        ([], np.zeros((1, 0)), {}),
        ([1.0, 1.0], [[1.0, 2.0]], {"row_lower": [0.0, 0.0]}),
        ([1.0, 1.0], [[1.0, 2.0]], {"col_upper": np.nan}),
    ],
)
def test_bad_input_is_refused(c, A, bounds):
    with pytest.raises(ProblemError):
        LinearProgram(c, A, **bounds)


@pytest.mark.parametrize("rows", [[0, 0], [5], [-1]])
def test_bad_rows_are_refused(rows):
    lp = LinearProgram([1.0], np.ones((3, 1)))
    with pytest.raises(ProblemError):
        lp.set_row_bounds(rows, 0.0, 1.0)


def test_a_backend_that_raises_becomes_a_solver_error(monkeypatch):
    lp = LinearProgram([1.0], np.ones((1, 1)), row_lower=0.0)

    class Broken:
        def __getattr__(self, name):
            return getattr(lp_highs, name)

        def run(self):
            raise RuntimeError("boom")

    lp_highs = lp._highs
    monkeypatch.setattr(lp, "_highs", Broken())
    with pytest.raises(SolverError, match="boom"):
        lp.solve()

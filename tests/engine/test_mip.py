"""Mixed-integer programs against enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from rectifold._engine.lp import LPStatus
from rectifold._engine.mip import solve_mip
from rectifold.core.errors import ProblemError


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_knapsacks_against_enumeration(seed):
    rng = np.random.default_rng(seed)
    weight, gain = rng.integers(1, 20, 6).astype(float), rng.integers(1, 20, 6).astype(float)
    capacity = float(weight.sum() // 2)
    choices = np.array(list(itertools.product((0.0, 1.0), repeat=6)))
    best = (choices @ gain)[choices @ weight <= capacity].max()
    answer = solve_mip(-gain, csr_matrix(weight[None]), -np.inf, capacity, 1.0, np.ones(6, bool))
    assert answer.status is LPStatus.OPTIMAL
    assert -answer.value == pytest.approx(best)
    assert -answer.bound == pytest.approx(best)
    assert gain @ answer.x == pytest.approx(best)
    assert weight @ answer.x <= capacity + 1e-6


def test_only_the_columns_asked_for_are_integer():
    answer = solve_mip([-1.0, -1.0], csr_matrix([[2.0, 2.0]]), -np.inf, 3.0, 1.0, np.array([True, False]))
    assert answer.value == pytest.approx(-1.5)
    assert solve_mip([-1.0, -1.0], csr_matrix([[2.0, 2.0]]), -np.inf, 3.0, 1.0, np.ones(2, bool)).value == -1.0


def test_infeasible():
    answer = solve_mip([1.0], csr_matrix([[2.0]]), 1.0, 1.0, 1.0, np.array([True]))
    assert answer.status is LPStatus.INFEASIBLE
    assert answer.x is None
    assert answer.bound == np.inf


def test_a_limit_returns_the_start_and_a_bound():
    rng = np.random.default_rng(0)
    A = np.abs(rng.standard_normal((20, 40)))
    start = np.ones(40)
    answer = solve_mip(
        np.ones(40), csr_matrix(A), 0.3 * A.sum(axis=1), np.inf, 1.0, np.ones(40, bool), start=start, time_limit=1e-9
    )
    assert answer.status is LPStatus.TIME_LIMIT
    assert answer.bound <= answer.value


def test_vectors_of_another_length_are_refused():
    with pytest.raises(ProblemError, match="2 numbers"):
        solve_mip([1.0], csr_matrix([[2.0, 1.0]]), 0.0, 1.0, 1.0, np.ones(2, bool))

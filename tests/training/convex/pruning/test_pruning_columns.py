"""Vertices, smallest supports and removal by least squares, on columns: against HiGHS, enumeration and SciPy."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, nnls

from rectifold.core.errors import ProblemError
from rectifold.training.convex.pruning.continuation import least_squares_removal
from rectifold.training.convex.pruning.smallest_support import smallest_support
from rectifold.training.convex.pruning.vertex import cheapest_vertex

CIRCUIT = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])  # (1, 1, 0) and (0, 0, 2) give the same sum


def columns_of(seed, p, m, rank):
    """Columns of both signs of a given rank, with positive costs."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((p, rank)) @ rng.standard_normal((rank, m)), rng.uniform(0.1, 3.0, m)


def rank_of(columns):
    lengths = np.linalg.norm(columns, axis=0)
    return int(np.linalg.matrix_rank(columns / lengths, tol=1e-9)) if columns.size else 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), p=st.integers(1, 12), m=st.integers(1, 25), rank=st.integers(1, 12))
def test_the_vertex_is_the_cheapest_by_another_solver(seed, p, m, rank):
    columns, costs = columns_of(seed, p, m, min(rank, p, m))
    vertex = cheapest_vertex(columns, np.linalg.norm(columns, axis=0), costs, 1e-9)
    assert (vertex.mu >= 0.0).all()
    np.testing.assert_allclose(columns @ vertex.mu, columns.sum(axis=1), atol=1e-9 * np.abs(columns).sum())
    used = vertex.mu > 0.0
    assert rank_of(columns[:, used]) == used.sum()
    other = linprog(costs, A_eq=columns, b_eq=columns.sum(axis=1), method="highs")
    assert costs @ vertex.mu == pytest.approx(other.fun, rel=1e-6, abs=1e-9)


def test_every_step_names_another_column_and_never_costs_more():
    columns, costs = columns_of(3, 6, 30, 6)
    vertex = cheapest_vertex(columns, np.linalg.norm(columns, axis=0), costs, 1e-9)
    removed, steps = zip(*vertex.removed, strict=True)
    assert len(set(removed)) == len(removed) == 24
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise((costs.sum(), *steps)))
    assert vertex.exchanges > 0
    assert costs @ vertex.mu < steps[-1]


def test_zero_columns_are_told_apart_and_duplicates_removed():
    columns = np.array([[1.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]])
    vertex = cheapest_vertex(columns, np.linalg.norm(columns, axis=0), np.ones(4), 1e-9)
    assert list(vertex.unused) == [1]
    assert [j for j, _ in vertex.removed] in ([0], [2])
    np.testing.assert_allclose(columns @ vertex.mu, [4.0, 0.0, 3.0])


def test_no_columns_at_all():
    vertex = cheapest_vertex(np.zeros((3, 0)), np.zeros(0), np.zeros(0), 1e-9)
    assert vertex.mu.shape == (0,)


@pytest.mark.parametrize("start", [(1.0, 1.0, 0.0), (0.0, 0.0, 2.0)])
def test_the_smallest_support_of_two_vertices(start):
    found = smallest_support(CIRCUIT, np.ones(3), np.array(start))
    np.testing.assert_allclose(found.mu, [0.0, 0.0, 2.0], atol=1e-12)
    assert (found.width, found.bound) == (1, 1)


def test_the_smallest_support_keeps_within_the_cost():
    costs = np.array([1.0, 1.0, 1.5])
    assert smallest_support(CIRCUIT, costs, np.array([1.0, 1.0, 0.0])).width == 2  # (0, 0, 2) would cost 3
    assert smallest_support(CIRCUIT, costs, np.array([1.0, 1.0, 0.0]), budget=3.0).width == 1


def test_the_smallest_support_refuses_free_columns():
    with pytest.raises(ProblemError, match="positive"):
        smallest_support(CIRCUIT, np.zeros(3), np.array([1.0, 1.0, 0.0]))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_smallest_support_by_enumeration(seed):
    rng = np.random.default_rng(seed)
    columns = np.maximum(rng.standard_normal((5, 3)), 0.0) + 0.05
    columns = np.hstack([columns, columns @ rng.dirichlet(np.ones(3), 3).T])  # mixtures: few may do for many
    costs = np.full(6, 10.0) + rng.uniform(0.0, 1.0, 6)
    mu = cheapest_vertex(columns, np.linalg.norm(columns, axis=0), costs, 1e-9).mu
    budget = 1.5 * float(costs @ mu)
    least = min(
        size
        for size in range(1, 7)
        for support in itertools.combinations(range(6), size)
        if _can(columns, costs, columns @ mu, list(support), budget)
    )
    found = smallest_support(columns, costs, mu, budget)
    assert found.bound == found.width == least
    np.testing.assert_allclose(columns @ found.mu, columns @ mu, atol=1e-8)
    assert costs @ found.mu <= budget * (1 + 1e-8)


def _can(columns, costs, target, support, budget):
    program = linprog(costs[support], A_eq=columns[:, support], b_eq=target, method="highs")
    return program.status == 0 and program.fun <= budget * (1 + 1e-9)


def test_a_limit_leaves_the_start_and_a_valid_bound():
    columns, costs = columns_of(1, 12, 30, 12)
    mu = cheapest_vertex(columns, np.linalg.norm(columns, axis=0), costs, 1e-9).mu
    stopped = smallest_support(columns, costs, mu, float(costs.sum()), time_limit=1e-9)
    assert 1 <= stopped.bound <= stopped.width <= np.count_nonzero(mu)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), m=st.integers(2, 10))
def test_each_removal_leaves_a_non_negative_least_squares_fit(seed, m):
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((15, m)) * rng.uniform(0.1, 10.0, m)
    target = columns.sum(axis=1)
    left = np.ones(m, dtype=bool)
    errors = [0.0]
    for removed, mu in least_squares_removal(columns, target):
        assert left[removed].all()
        left[removed] = False
        assert (mu[~left] == 0.0).all()
        assert (mu >= 0.0).all()
        error = float(np.linalg.norm(columns @ mu - target))
        support = np.flatnonzero(mu)
        if (mu[left] > 0.0).all():  # the best of these columns, with or without signs
            free = np.linalg.lstsq(columns[:, support], target, rcond=None)[0]
            assert error == pytest.approx(float(np.linalg.norm(columns[:, support] @ free - target)), rel=1e-6)
            assert error == pytest.approx(nnls(columns[:, support], target)[1], rel=1e-6)
        assert error >= errors[-1] - 1e-9
        errors.append(error)
    assert left.sum() == 1


def test_the_first_column_to_go_is_the_one_missed_least():
    rng = np.random.default_rng(2)
    columns = rng.standard_normal((20, 6))
    target = columns.sum(axis=1)
    (first, *_), _ = next(least_squares_removal(columns, target))
    rest = [np.linalg.lstsq(np.delete(columns, j, axis=1), target, rcond=None)[1][0] for j in range(6)]
    assert first == int(np.argmin(rest))

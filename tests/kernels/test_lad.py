"""The LAD walk, compiled and in numpy, on small programs."""

import numpy as np
import pytest
from lad_instances import objective, optimum, recipe, tied

from rectifold._kernels import lad
from rectifold._kernels.reference import lad as reference

BOTH = pytest.mark.parametrize("Walk", [lad.LADWalk, reference.LADWalk])


def walk_over(Walk, E, y, lo, hi, basis=None):
    walk = Walk(E.shape[1])
    walk.add_rows(np.ascontiguousarray(E), y, lo, hi, y > 0)
    if basis is None:
        basis = independent_rows(E)
    assert walk.start(basis)
    return walk


def independent_rows(E):
    rows = []
    for i in range(len(E)):
        if np.linalg.matrix_rank(E[[*rows, i]]) == len(rows) + 1:
            rows.append(i)
    return np.array(rows, dtype=np.int64)


def with_ones(X):
    return np.hstack([X, np.ones((len(X), 1))])


@BOTH
def test_reaches_the_optimum_and_its_dual_proves_it(Walk):
    X, y = recipe(1000, 5, 0)
    E, one = with_ones(X), np.ones(1000)
    walk = walk_over(Walk, E, y, -one, one)
    assert walk.run(10**6, 60.0) == reference.OPTIMAL
    assert np.abs(y - E @ walk.theta).sum() == pytest.approx(1497.3352080796, rel=1e-12)
    d = np.where(walk.positive, 1.0, -1.0)
    d[walk.basis] = walk.basis_duals
    assert np.abs(d).max() <= 1.0
    np.testing.assert_allclose(E.T @ d, 0.0, atol=1e-10)
    assert d @ y == pytest.approx(1497.3352080796, rel=1e-12)
    assert np.all(walk.residuals[walk.basis] == 0.0)


@pytest.mark.parametrize("seed", range(6))
def test_twin_takes_the_same_way(seed):
    X, y = recipe(300, 4, seed)
    lo, hi = np.full(300, -0.3), np.full(300, 0.7)
    walks = [walk_over(Walk, with_ones(X), y, lo, hi) for Walk in (lad.LADWalk, reference.LADWalk)]
    for walk in walks:
        assert walk.run(10**6, 60.0) == reference.OPTIMAL
    fast, slow = walks
    assert sorted(fast.basis) == sorted(slow.basis)
    assert (fast.pivots, fast.crossings) == (slow.pivots, slow.crossings)
    np.testing.assert_allclose(fast.theta, slow.theta, rtol=1e-12)
    np.testing.assert_array_equal(fast.positive, slow.positive)


@BOTH
@pytest.mark.parametrize("seed", range(20))
def test_ties_do_not_cycle(Walk, seed):
    E, y = tied(seed)
    walk = walk_over(Walk, E, y, -np.ones(60), np.ones(60))
    assert walk.run(2000, 10.0) == reference.OPTIMAL
    expected = {0: 70.0, 1: 66.0}.get(seed, 120.0 * optimum(E, y, intercept=False))
    assert np.abs(y - E @ walk.theta).sum() == pytest.approx(expected, abs=1e-9)


@BOTH
def test_every_run_goes_on_where_the_last_one_stopped(Walk):
    X, y = recipe(200, 3, 1)
    E, one = with_ones(X), np.ones(200)
    walk, losses = walk_over(Walk, E, y, -one, one), []
    while True:
        losses.append(np.abs(y - E @ walk.theta).sum())
        if walk.run(1, 60.0) != reference.RUNNING:
            break
    assert len(losses) > 4
    assert np.all(np.diff(losses) <= 1e-9)
    assert losses[-1] == pytest.approx(400 * optimum(X, y), rel=1e-11)


@BOTH
def test_linear_term_can_make_it_unbounded(Walk):
    walk = walk_over(Walk, np.eye(2), np.zeros(2), -np.ones(2), np.ones(2), np.array([0, 1]))
    walk.add_linear(np.array([0.0, 1.5]))
    assert walk.start(np.array([0, 1]))
    assert walk.run(100, 10.0) == reference.UNBOUNDED


@BOTH
def test_dependent_basis_is_refused(Walk):
    walk = Walk(2)
    one = np.ones(2)
    walk.add_rows(np.array([[1.0, 2.0], [2.0, 4.0]]), one, -one, one, one > 0)
    assert not walk.start(np.array([0, 1]))


@BOTH
def test_rows_added_later_and_other_slopes(Walk):
    X, y = recipe(400, 3, 2)
    E, one = with_ones(X), np.ones(400)
    walk = walk_over(Walk, E[:200], y[:200], -one[:200], one[:200])
    assert walk.run(10**6, 60.0) == reference.OPTIMAL
    walk.add_rows(np.ascontiguousarray(E[200:]), y[200:], -one[200:], one[200:], one[200:] > 0)
    walk.set_slopes(-0.2 * one, 0.8 * one)
    assert walk.start(walk.basis)
    assert walk.run(10**6, 60.0) == reference.OPTIMAL
    theta = walk.theta
    assert objective(X, y, theta[:-1], theta[-1], 0.8) == pytest.approx(optimum(X, y, 0.8), rel=1e-11)


def test_bad_arrays_are_refused():
    walk, one = lad.LADWalk(2), np.ones(3)
    if lad.LADWalk is reference.LADWalk:
        pytest.skip("a pure build has no compiled walk")
    with pytest.raises(ValueError, match=r"\(m, p\)"):
        walk.add_rows(np.ones((3, 1)), one, -one, one, one > 0)
    walk.add_rows(np.ones((3, 2)), one, -one, one, one > 0)
    with pytest.raises(ValueError, match="no such row"):
        walk.start(np.array([0, 3]))
    with pytest.raises(ValueError, match="start"):
        walk.run(1, 1.0)

"""Pattern sets: enumeration, scnn's sampling rule, users' gates and users' columns."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import rectifold as rf
from rectifold.core.errors import ProblemError
from rectifold.training.convex.restricted import patterns as module
from rectifold.training.convex.restricted.patterns import PatternSet, all_patterns, sample_patterns


def gaussian(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


XOR = np.array([(a, b, 1) for a in (-1, 1) for b in (-1, 1)], float)


def columns(D):
    return {c.tobytes() for c in D.T}


def check(X, found):
    assert found.patterns.flags.c_contiguous
    assert found.patterns.any(axis=1).all()
    assert len(columns(found.columns)) == len(found)
    np.testing.assert_array_equal((found.points @ X.T) > 0, found.patterns)


def test_t1_and_xor():
    T1 = np.random.default_rng(0).standard_normal((10, 2))
    D = all_patterns(T1)
    assert D.dtype == bool
    assert D.shape == (10, 20 - (1 if np.any((T1 @ T1.mean(0) > 0).all()) else 0))
    assert all_patterns(XOR).shape == (4, 13)


def test_zero_pattern_is_dropped_only_where_it_is_a_cell():
    one_sided = np.abs(gaussian(6, 2)) + 0.1
    assert all_patterns(one_sided).shape[1] == 11
    assert not any(not c.any() for c in all_patterns(one_sided).T)
    assert all_patterns(np.vstack([one_sided, -one_sided[:1]])).shape[1] == 12


def test_public_names():
    np.testing.assert_array_equal(rf.all_patterns(XOR), all_patterns(XOR))
    np.testing.assert_array_equal(rf.sample_patterns(XOR, 9), sample_patterns(XOR, 9))


def test_every_sampled_pattern_is_enumerated():
    X = gaussian(15, 3)
    assert columns(sample_patterns(X, 3000)) <= columns(all_patterns(X))


def test_all_zero_matrix_has_no_pattern():
    assert all_patterns(np.zeros((3, 2))).shape == (3, 0)


def test_enumeration_is_refused_before_it_starts():
    with pytest.raises(ProblemError, match="max_patterns"):
        all_patterns(gaussian(200, 30))
    with pytest.raises(ProblemError, match="max_patterns=381"):
        all_patterns(gaussian(20, 3), max_patterns=381)
    assert all_patterns(gaussian(20, 3), max_patterns=382).shape[0] == 20


def test_the_refusal_counts_distinct_hyperplanes():
    X = np.tile(gaussian(5, 3), (100, 1))
    assert all_patterns(X, max_patterns=22).shape[0] == 500


def test_all_is_complete_and_stops_on_request():
    assert PatternSet.all(gaussian(10, 3)).complete
    assert not PatternSet.all(gaussian(10, 3), should_stop=lambda: True).complete


@pytest.mark.parametrize(("n", "d", "gates", "seed"), [(30, 4, 200, 0), (9, 2, 50, 1), (130, 3, 100, 7), (1, 1, 5, 0)])
def test_sampling_is_the_rule_of_scnn(n, d, gates, seed):
    X = gaussian(n, d, 5)
    G = np.random.default_rng(seed).standard_normal((d, gates))
    expected = np.unique(X @ G > 0, axis=1)
    expected = expected[:, expected.any(axis=0)]
    np.testing.assert_array_equal(sample_patterns(X, gates, seed), expected)
    np.testing.assert_array_equal(sample_patterns(X, gates, np.random.default_rng(seed)), expected)
    found = PatternSet.sample(X, gates, seed)
    check(X, found)
    assert not found.complete
    assert {tuple(u) for u in found.points} <= {tuple(g) for g in G.T}


def test_gates_on_kinks_move_into_a_cell_beside_them():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, 1.0]])
    on_kinks = np.array([[1.0, 0.0, 0.0, 0.0, 2.0], [0.0, 1.0, -1.0, 0.0, 1.0]])
    found = PatternSet.from_gates(X, on_kinks)
    check(X, found)
    assert columns(found.columns) <= columns(all_patterns(X))
    for gate in on_kinks[:, [0, 1, 2, 4]].T:  # some member's closed cone contains the gate
        signs = np.where(found.patterns, 1.0, -1.0)
        assert (signs * (X @ gate) >= 0).all(axis=1).any()


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.int64, st.tuples(st.integers(1, 6), st.just(3)), elements=st.integers(-2, 2)),
    arrays(np.int64, (3, 4), elements=st.integers(-1, 1)),
)
def test_degenerate_gates_give_cells_whose_closures_contain_them(X, gates):
    X, gates = X.astype(float), gates.astype(float)
    found = PatternSet.from_gates(X, gates)
    check(X, found)
    assert columns(found.columns) <= columns(all_patterns(X))
    signs = np.vstack([np.where(found.patterns, 1.0, -1.0) * X.any(axis=1), -np.ones(len(X))])  # last: the zero pattern
    for gate in gates.T:
        assert (signs * (X @ gate) >= 0).all(axis=1).any()


def test_columns_of_a_user_get_interior_points():
    X = np.vstack([gaussian(12, 4), np.zeros(4)])
    D = all_patterns(X)
    shuffled = D[:, np.random.default_rng(0).permutation(D.shape[1])]
    given_columns = np.hstack([shuffled[:, :5], np.zeros((13, 1), bool), shuffled])
    found = PatternSet.from_columns(X, given_columns)
    check(X, found)
    np.testing.assert_array_equal(found.columns, shuffled)  # order of first occurrence, zero dropped
    np.testing.assert_array_equal(PatternSet.from_columns(X, given_columns.astype(float)).columns, shuffled)


def test_a_column_that_is_no_pattern_is_named():
    X = gaussian(10, 2)
    D = all_patterns(X)
    possible = columns(D)
    bad = next(
        c for c in itertools.product((False, True), repeat=10) if np.array(c).tobytes() not in possible and any(c)
    )
    with pytest.raises(ProblemError, match="column 3 of patterns"):
        PatternSet.from_columns(X, np.c_[D[:, :3], bad, D[:, 3:], bad])


def test_a_zero_row_cannot_be_active():
    X = np.array([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ProblemError, match="column 1 of patterns"):
        PatternSet.from_columns(X, [[1, 1], [0, 1]])


def test_undecided_margins_are_settled_by_the_linear_program(monkeypatch):
    """The kernel may stop between its two answers; then HiGHS decides both ways."""
    X = gaussian(10, 3)
    D = all_patterns(X)
    honest = module.Arrangement.interior_points

    def undecided(self, patterns, accuracy=0.9):
        points, margins, _ = honest(self, patterns, accuracy)
        return np.zeros_like(points), np.full_like(margins, -1.0), np.ones_like(margins)

    monkeypatch.setattr(module.Arrangement, "interior_points", undecided)
    check(X, PatternSet.from_columns(X, D))
    possible = columns(D)
    bad = next(
        c for c in itertools.product((False, True), repeat=10) if np.array(c).tobytes() not in possible and any(c)
    )
    with pytest.raises(ProblemError, match="column 1 "):
        PatternSet.from_columns(X, np.c_[D[:, 0], bad])


@pytest.mark.parametrize(
    "patterns",
    [np.ones((4, 2), bool), np.ones(5, bool), np.full((5, 2), 2), np.full((5, 2), "a"), np.full((5, 1), np.nan)],
)
def test_bad_columns_are_refused(patterns):
    with pytest.raises(ProblemError, match="patterns must"):
        PatternSet.from_columns(gaussian(5, 2), patterns)


@pytest.mark.parametrize("X", [np.zeros((0, 2)), np.zeros((2, 0)), [1.0, 2.0], [[np.nan, 1.0]], [[np.inf, 1.0]]])
def test_bad_matrices_are_refused(X):
    for call in (
        lambda: all_patterns(X),
        lambda: sample_patterns(X, 3),
        lambda: PatternSet.from_gates(X, np.ones((2, 1))),
        lambda: PatternSet.from_columns(X, np.ones((1, 1), bool)),
    ):
        with pytest.raises(ProblemError):
            call()


@pytest.mark.parametrize("n_gates", [0, -1, 1.5, True, "3"])
def test_bad_numbers_of_gates_are_refused(n_gates):
    with pytest.raises(ProblemError, match="n_gates"):
        sample_patterns(gaussian(4, 2), n_gates)


@pytest.mark.parametrize("seed", [-1, "a", 1.5])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ProblemError, match="random_state"):
        sample_patterns(gaussian(4, 2), 3, seed)


def test_gates_of_another_dimension_are_refused():
    with pytest.raises(ProblemError, match="gates must"):
        PatternSet.from_gates(gaussian(4, 2), np.ones((3, 2)))

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse

import rectifold as rf


def test_rows_of_a_box_leave_out_infinite_sides():
    box = rf.Box([0.0, -np.inf, -1.0], [np.inf, np.inf, 2.0])
    G, h = box.rows()
    np.testing.assert_array_equal(G, [[-1, 0, 0], [0, 0, -1], [0, 0, 1]])
    np.testing.assert_array_equal(h, [0, 1, 2])
    assert box.equalities()[0].shape == (0, 3)
    assert box.n_inputs == 3


def test_scalar_bound_is_spread():
    box = rf.Box(-1.0, [1.0, 2.0])
    np.testing.assert_array_equal(box.lower, [-1.0, -1.0])


@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_matrix, sparse.coo_array, sparse.csc_array])
def test_dense_and_sparse_polytopes_are_the_same(wrap):
    A, b = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, -3.0, 0.0]]), np.array([1.0, 0.0, np.inf])
    polytope = rf.Polytope(wrap(A), b, wrap(A[:1]), [0.5])
    G, h = polytope.rows()
    np.testing.assert_array_equal(G, A[:1])
    np.testing.assert_array_equal(h, [1.0])
    E, e = polytope.equalities()
    np.testing.assert_array_equal(E, A[:1])
    np.testing.assert_array_equal(e, [0.5])


def test_contains_measures_every_row():
    polytope = rf.Polytope([[1.0, 1.0]], [1.0], [[1.0, -1.0]], [0.0])
    assert polytope.contains([0.5, 0.5])
    assert not polytope.contains([0.5 + 1e-6, 0.5 + 1e-6])
    assert not polytope.contains([0.2, 0.1])
    assert polytope.contains([0.5 + 1e-6, 0.5 + 1e-6], tol=1e-5)
    with pytest.raises(rf.ProblemError, match="shape"):
        polytope.contains([0.0])


@pytest.mark.parametrize(
    "domain", [rf.Box([0.0, -np.inf], [1.0, 2.0]), rf.Polytope([[1.0, 2.0]], [3.0], [[0.0, 1.0]], [1.0])]
)
def test_copies_and_pickles_keep_the_rows(domain):
    again = pickle.loads(pickle.dumps(domain))
    for ours, theirs in zip(domain.rows() + domain.equalities(), again.rows() + again.equalities(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert copy.deepcopy(domain) is domain
    assert type(again) is type(domain)


def test_arrays_are_read_only_copies():
    lower = np.zeros(2)
    box = rf.Box(lower, 1.0)
    lower[0] = 5.0
    assert box.lower[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        box.lower[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        rf.Polytope(np.eye(2), np.ones(2)).inequality_rows().values[0] = 3.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rf.Box([0.0, 1.0], [1.0, 0.5]), r"lower\[1\]"),
        (lambda: rf.Box([np.nan], [1.0]), "NaN"),
        (lambda: rf.Box([np.inf], [np.inf]), "inf"),
        (lambda: rf.Box(0.0, 1.0), "scalars"),
        (lambda: rf.Box([0.0, 0.0], [1.0, 1.0, 1.0]), "shapes"),
        (lambda: rf.Box(["a"], [1.0]), "real numbers"),
        (lambda: rf.Polytope(np.eye(2), np.ones(3)), "rows"),
        (lambda: rf.Polytope([[np.inf, 0.0]], [1.0]), "NaN or infinite"),
        (lambda: rf.Polytope([[0.0, 0.0]], [-1.0]), "empty"),
        (lambda: rf.Polytope([[1.0, 0.0]], [-np.inf]), "-inf"),
        (lambda: rf.Polytope(np.eye(2), np.ones(2), np.eye(2)), "together"),
        (lambda: rf.Polytope(np.eye(2), np.ones(2), np.eye(3), np.ones(3)), "columns"),
        (lambda: rf.Polytope(np.eye(2), np.ones(2), [[0.0, 0.0]], [1.0]), "empty"),
    ],
)
def test_bad_input_is_refused(make, words):
    with pytest.raises(rf.ProblemError, match=words):
        make()

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifold.core.rounding import (
    DyadicArray,
    gamma,
    product_norm_upper,
    round_down,
    round_up,
    sum_to_zero,
    top_eigenvalue_upper,
)


def test_neighbours():
    assert round_down(1.0) < 1.0 < round_up(1.0)
    assert gamma(10) > 10 * 2.0**-53


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
@settings(deadline=None)
def test_dyadic_rounding_is_close_and_its_sum_exact(values):
    array = np.array(values)
    dyadic = DyadicArray.round(array)
    assert np.abs(dyadic.to_float() - array).max() <= 2.0**-43 * np.abs(array).max()
    exact = sum(Fraction(v) for v in dyadic.to_float().tolist())
    assert Fraction(dyadic.column_sums()[0]) * Fraction(2) ** dyadic.exponent == exact


def test_dyadic_arrays_stay_read_only():
    for dyadic in (DyadicArray(np.arange(3), 0), pickle.loads(pickle.dumps(DyadicArray(np.arange(3), 0)))):
        with pytest.raises(ValueError, match="read-only"):
            dyadic.integers[0] = 5


@given(st.lists(st.tuples(*[st.integers(-(2**50), 2**50)] * 3), min_size=1, max_size=12))
@settings(deadline=None)
def test_sums_to_zero_within_the_box(triples):
    lower, integers, upper = (np.array(v) for v in zip(*(sorted(t) for t in triples), strict=True))
    if lower.sum() <= 0 <= upper.sum():
        out = sum_to_zero(integers, lower, upper)
        assert sum(out.tolist()) == 0
        assert np.all((lower <= out) & (out <= upper))
        assert np.abs(out - integers).sum() == abs(integers.sum())
    else:
        with pytest.raises(ValueError, match="no point"):
            sum_to_zero(integers, lower, upper)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 5), st.integers(-30, 30))
@settings(deadline=None)
def test_product_norms_against_fractions(seed, n, d, scale):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    g = rng.standard_normal(n) * 10.0 ** rng.integers(-8, 8, n)
    if n > d:
        g = g - X @ np.linalg.lstsq(X, g, rcond=None)[0]  # nearly orthogonal: all that is left is rounding
    g = np.ldexp(g, scale)
    columns = [[Fraction(v) for v in column] for column in X.T.tolist()]
    exact = sum(sum(x * Fraction(w) for x, w in zip(column, g.tolist(), strict=True)) ** 2 for column in columns)
    upper = float(product_norm_upper(g[None, :], X)[0])
    assert Fraction(upper) ** 2 >= exact
    assert upper <= float(exact) ** 0.5 + 1e-13 * float(np.abs(g) @ np.linalg.norm(X, axis=1)) + 1e-280


def definite(M):
    """Exact Gaussian elimination: whether a symmetric matrix of fractions is positive semidefinite (full rank case)."""
    M = [row[:] for row in M]
    for i in range(len(M)):
        if M[i][i] <= 0:
            return False
        for j in range(i + 1, len(M)):
            factor = M[j][i] / M[i][i]
            M[j] = [a - factor * b for a, b in zip(M[j], M[i], strict=True)]
    return True


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 4), st.booleans())
@settings(deadline=None)
def test_top_eigenvalues_against_exact_elimination(seed, n, d, duplicated):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    if duplicated:
        X[:] = X[0]
    w = rng.uniform(0, 1, n) * (rng.random(n) < 0.8)
    upper = float(top_eigenvalue_upper(X, w[None, :])[0])
    rows = [[Fraction(v) for v in row] for row in X.tolist()]
    weights = [Fraction(v) for v in w.tolist()]
    moment = [[sum(s * r[i] * r[j] for s, r in zip(weights, rows, strict=True)) for j in range(d)] for i in range(d)]
    shifted = [[(Fraction(upper) if i == j else 0) - moment[i][j] for j in range(d)] for i in range(d)]
    assert definite(shifted)
    assert upper <= np.linalg.eigvalsh((X.T * w) @ X)[-1] * (1 + 1e-9) + 1e-280

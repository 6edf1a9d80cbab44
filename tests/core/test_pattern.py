"""Packing and deduplicating activation patterns, against Python's own sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifold.core import ProblemError, pack_patterns, unique_patterns, unpack_patterns


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(0, 40), n=st.integers(0, 20), n_distinct=st.integers(1, 10))
def test_round_trip_and_distinct_rows(seed, n_rows, n, n_distinct):
    rng = np.random.default_rng(seed)
    pool = rng.random((n_distinct, n)) < 0.5
    patterns = pool[rng.integers(n_distinct, size=n_rows)]
    packed = pack_patterns(patterns)
    assert packed.shape == (n_rows, -(-n // 8))
    np.testing.assert_array_equal(unpack_patterns(packed, n), patterns)
    first, inverse = unique_patterns(patterns)
    seen = list(dict.fromkeys(map(tuple, patterns.tolist())))
    assert list(map(tuple, patterns[first].tolist())) == seen
    np.testing.assert_array_equal(patterns[first][inverse], patterns)


def test_the_first_entry_is_the_lowest_bit():
    assert pack_patterns(np.array([[True, False, True]])).tolist() == [[5]]


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros(3, dtype=bool), np.zeros((2, 2), dtype=np.uint8)])
def test_only_bool_matrices(bad):
    with pytest.raises(ProblemError, match="bool"):
        pack_patterns(bad)
    with pytest.raises(ProblemError, match="bool"):
        unique_patterns(bad)


@pytest.mark.parametrize(("shape", "n"), [((2, 1), 9), ((2, 2), 8), ((3,), 8)])
def test_width_must_fit(shape, n):
    with pytest.raises(ProblemError, match="packed"):
        unpack_patterns(np.zeros(shape, dtype=np.uint8), n)

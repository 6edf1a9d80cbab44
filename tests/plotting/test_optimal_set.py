"""The display of an optimal set: its band is the range, its lines lie within."""

import numpy as np
import pytest

import rectifold as rf
from rectifold.core.errors import ProblemError

pytest.importorskip("matplotlib", reason="needs the extra 'cli'")

from rectifold.plotting import OptimalSetDisplay


@pytest.fixture(scope="module")
def ambiguous():
    """Samples on a line: one neuron from the left, one from the right, and every mixture."""
    X = np.linspace(-1, 1, 7)[:, None]
    X = np.hstack([X, np.zeros_like(X)])
    result = rf.solve_convex_relu(X, X[:, 0], alpha=0.02, hidden_bias="free")
    return rf.optimal_set(result, X, X[:, 0])


def test_members_lie_in_the_range_and_part_only_outside_the_samples(ambiguous):
    display = OptimalSetDisplay.from_optimal_set(ambiguous, limits=(-2.0, 2.0), n_members=5, feature_name="t")
    inside = np.abs(display.grid) <= 1.0
    width = display.upper - display.lower
    assert width[inside].max() < 1e-6 < 0.1 < width.max()
    curves = np.vstack([display.members, display.minimum_norm])
    assert np.all(curves >= display.lower - 1e-9)
    assert np.all(curves <= display.upper + 1e-9)
    assert len(display.member_lines_) == 5
    assert display.ax_.get_xlabel() == "t"
    np.testing.assert_array_equal(display.points_.get_offsets()[:, 0], np.linspace(-1, 1, 7))


def test_the_band_is_what_is_drawn(ambiguous):
    display = OptimalSetDisplay.from_optimal_set(ambiguous, n_members=0)
    assert display.member_lines_ == []
    drawn = display.range_.get_paths()[0].vertices
    assert drawn[:, 1].max() == pytest.approx(display.upper.max())
    assert display.grid[[0, -1]] == pytest.approx([-1.2, 1.2])


def test_bad_input(ambiguous):
    for options in ({"feature": 2}, {"output": 1}, {"at": [0.0]}, {"at": [np.nan, 0.0]}):
        with pytest.raises(ProblemError):
            OptimalSetDisplay.from_optimal_set(ambiguous, **options)
    with pytest.raises(ProblemError, match="same length"):
        OptimalSetDisplay([0.0, 1.0], [0.0], [1.0])

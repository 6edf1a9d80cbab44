"""The quantile fan draws the lines of the path."""

import numpy as np
import pytest

import rectifold as rf
from rectifold.core.errors import ProblemError
from rectifold.plotting import QuantileFanDisplay


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.uniform(0.0, 3.0, (300, 2))
    return X, 1.0 + 2.0 * X[:, 0] + (0.2 + X[:, 0]) * rng.standard_normal(300)


def test_lines_are_the_predictions_over_the_feature(data):
    X, y = data
    path = rf.quantile_path(X, y, [0.9, 0.1, 0.5])
    display = QuantileFanDisplay.from_path(path, X, y, feature=0, feature_name="dose $")
    assert [line.get_label() for line in display.lines_] == ["0.1", "0.5", "0.9"]
    at = np.array([[display.grid[7], np.median(X[:, 1])]])
    np.testing.assert_allclose([line.get_ydata()[7] for line in display.lines_], path(at)[0][[1, 2, 0]])
    assert len(display.bands_) == 1
    assert len(display.points_.get_offsets()) == 300
    assert display.ax_.get_xlabel() == r"dose \$"


def test_no_points_and_an_even_number_of_quantiles():
    display = QuantileFanDisplay([0.0, 1.0], [[0.0, 1.0], [0.0, 2.0]], [0.25, 0.75]).plot()
    assert display.points_ is None
    assert len(display.bands_) == 1
    np.testing.assert_allclose(display.lines_[1].get_ydata(), [1.0, 2.0])


def test_shapes_must_fit(data):
    X, y = data
    with pytest.raises(ProblemError, match="one row a grid value"):
        QuantileFanDisplay([0.0, 1.0], [[0.0], [1.0]], [0.1, 0.9])
    path = rf.quantile_path(X, y, [0.5])
    with pytest.raises(ProblemError, match="2 columns"):
        QuantileFanDisplay.from_path(path, X[:, :1], y)
    with pytest.raises(ProblemError, match="2 columns"):
        QuantileFanDisplay.from_path(path, X, y, feature=2)

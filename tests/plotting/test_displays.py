"""What the displays draw, not only that they draw."""

import numpy as np
import pytest

import rectifold as rf
from rectifold.core.errors import ProblemError, UnsupportedNetworkError
from rectifold.core.network import ReLUNetwork
from rectifold.core.result import Result, Trace
from rectifold.plotting import (
    FoldDisplay,
    NeuronDisplay,
    PathDisplay,
    PredictionDisplay,
    PruningDisplay,
    TraceDisplay,
)


@pytest.fixture
def network():
    """f(x) = relu(x0 - 1) - 3 relu(x0 + x1) + 2."""
    return ReLUNetwork([[[1.0, 0.0], [1.0, 1.0]], [[1.0, -3.0]]], [[-1.0, 0.0], [2.0]])


@pytest.fixture
def X():
    return np.array([[-2.0, -1.0], [0.0, 0.5], [3.0, 2.0]])


def test_trace_draws_the_best_value_and_bound_and_skips_infinities():
    trace = Trace(np.array([0.0, 1.0, 2.0]), np.array([5.0, 3.0, 4.0]), np.array([-np.inf, 1.0, 0.5]), ("a", "b", "c"))
    display = TraceDisplay.from_result(Result(None, 3.0, 2.0, trace=trace))
    np.testing.assert_allclose(display.value_line_.get_ydata(), [5.0, 3.0, 3.0, 3.0])
    np.testing.assert_allclose(display.bound_line_.get_ydata(), [np.nan, 1.0, 1.0, 2.0])
    np.testing.assert_allclose(display.value_line_.get_xdata(), [0.0, 1.0, 2.0, 2.0])
    low, high = display.ax_.get_ylim()
    assert low < 2.0
    assert high > 3.0


def test_trace_of_nothing_and_of_unequal_columns():
    TraceDisplay.from_result(Result(None, np.inf))
    with pytest.raises(ProblemError, match="one length"):
        TraceDisplay([0.0], [1.0, 2.0], [0.0])


def test_neurons_are_sorted_by_strength_and_signed_by_the_output(network):
    display = NeuronDisplay.from_network(network, feature_names=["a", "b"])
    np.testing.assert_allclose(display.strength, [3.0 * np.sqrt(2.0), np.sqrt(2.0)])
    np.testing.assert_allclose(display.image_.get_array(), [[-3.0, -3.0], [1.0, 0.0]])
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["a", "b"]


def test_neuron_norms_and_the_limits_on_what_is_shown(network):
    display = NeuronDisplay.from_network(network, kind="norms", max_neurons=1)
    assert [bar.get_height() for bar in display.bars_] == pytest.approx([3.0 * np.sqrt(2.0)])
    display = NeuronDisplay.from_network(network, max_features=1)
    np.testing.assert_allclose(display.image_.get_array(), [[-3.0], [1.0]])


def test_a_constant_network_has_no_neuron_to_draw():
    display = NeuronDisplay.from_network(ReLUNetwork([np.zeros((0, 2)), np.zeros((1, 0))], [np.zeros(0), [1.0]]))
    assert display.image_ is None
    assert "constant" in display.ax_.texts[0].get_text()


def test_prediction_scatter_holds_the_points():
    display = PredictionDisplay.from_predictions([1.0, 2.0], [1.5, 1.0], task="regression")
    np.testing.assert_allclose(display.points_.get_offsets(), [[1.0, 1.5], [2.0, 1.0]])
    with pytest.raises(ProblemError):
        PredictionDisplay([1.0], [1.0, 2.0])


def test_confusion_counts_and_order_of_classes():
    display = PredictionDisplay.from_predictions(["b", "a", "b", "a"], ["b", "a", "a", "a"], task="classification")
    np.testing.assert_array_equal(display.labels_, ["a", "b"])
    np.testing.assert_array_equal(display.confusion_, [[2, 0], [1, 1]])
    assert [text.get_text() for text in display.ax_.texts] == ["2", "0", "1", "1"]


def test_prediction_from_estimator_tells_the_task():
    class Classifier:
        classes_ = np.array([0, 1])

        def predict(self, X):
            return np.array([0, 1])

    display = PredictionDisplay.from_estimator(Classifier(), None, np.array([0, 1]))
    np.testing.assert_array_equal(display.confusion_, np.eye(2))


def test_folds_are_where_neurons_switch_through_the_median_sample(network, X):
    display = FoldDisplay(network, X, [0, 1])
    np.testing.assert_allclose(display.folds(0), [-0.5, 1.0])
    np.testing.assert_allclose(display.folds(1), [0.0])
    t, values = display.slice_1d(0)
    dense = np.linspace(-2.0, 3.0, 501)
    points = np.column_stack([dense, np.full_like(dense, 0.5)])
    np.testing.assert_allclose(np.interp(dense, t, values), network(points)[:, 0], atol=1e-12)


def test_average_is_the_partial_dependence(network, X):
    t, means = FoldDisplay(network, X, [0]).average_1d(0)
    expected = [np.mean([network([value, row[1]])[0] for row in X]) for value in t]
    np.testing.assert_allclose(means, expected)


def test_the_average_of_many_rows_uses_all_of_their_range(network):
    many = np.column_stack([np.linspace(-1.0, 1.0, 2001), np.zeros(2001)])
    t, means = FoldDisplay(network, many, [1]).average_1d(1)
    exact = [np.mean(network(np.column_stack([many[:, 0], np.full(2001, value)]))) for value in t]
    np.testing.assert_allclose(means, exact, atol=5e-3)


def test_fold_panels_hold_the_polyline_and_the_plane(network, X):
    display = FoldDisplay(network, X, [0, (0, 1)], feature_names=["a", "b"]).plot()
    assert len(display.axes_) == 2
    assert display.axes_[0].get_xlabel() == "a"
    marks = display.axes_[0].lines[1]
    np.testing.assert_allclose(marks.get_xdata(), [-0.5, 1.0])
    lines = [c for c in display.axes_[1].collections if type(c).__name__ == "QuadContourSet"]
    assert len(lines) == 2


def test_a_dead_output_weight_makes_no_fold(X):
    net = ReLUNetwork([[[1.0, 0.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])
    assert FoldDisplay(net, X, [0], output=0).folds(0).size == 0
    assert FoldDisplay(net, X, [0], output=1).folds(0).size == 1


def test_influential_features_come_strongest_first(X):
    net = ReLUNetwork([[[0.1, 5.0]], [[1.0]]], [[10.0], [0.0]])
    assert FoldDisplay.influential(net, X, 2) == [1, 0]


@pytest.mark.parametrize(("features", "output"), [([2], 0), ([(0, 5)], 0), ([], 0), ([0], 1)])
def test_impossible_panels_are_refused(network, X, features, output):
    with pytest.raises(ProblemError):
        FoldDisplay(network, X, features, output=output)


def test_deep_networks_are_refused(X):
    deep = ReLUNetwork([np.ones((2, 2)), np.ones((2, 2)), np.ones((1, 2))], [np.zeros(2), np.zeros(2), np.zeros(1)])
    with pytest.raises(UnsupportedNetworkError, match="one hidden layer"):
        FoldDisplay(deep, X, [0])
    with pytest.raises(UnsupportedNetworkError, match="one hidden layer"):
        NeuronDisplay.from_network(deep)


def test_path_is_drawn_in_order_of_alpha():
    display = PathDisplay([1.0, 0.1], [3.0, 2.0], [1, 5], [0.2, 0.6], [0.1, 0.5], chosen=0.1).plot()
    for ax, expected in zip(display.axes_, ([2.0, 3.0], [5, 1], [0.6, 0.2]), strict=True):
        np.testing.assert_allclose(ax.lines[0].get_xdata(), [0.1, 1.0])
        np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)
    np.testing.assert_allclose(display.axes_[2].lines[1].get_ydata(), [0.5, 0.1])
    with pytest.raises(ProblemError, match="one length"):
        PathDisplay([1.0], [1.0, 2.0], [1], [1.0])


def test_names_from_the_data_are_no_formulas_and_not_endless(network, X):
    names = ["price $ of $ x_", "n" * 100]
    display = FoldDisplay(network, X, [0, 1], feature_names=names, output_label="a $\\frac$ b").plot()
    display.figure_.canvas.draw()
    assert display.axes_[0].get_xlabel() == r"price \$ of \$ x_"
    assert len(display.axes_[1].get_xlabel()) < 30
    neurons = NeuronDisplay.from_network(network, feature_names=names)
    neurons.figure_.canvas.draw()


@pytest.fixture
def pruned():
    """Forty random neurons at twelve samples, down to one."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 2))
    net = ReLUNetwork([rng.standard_normal((40, 2)), rng.standard_normal((1, 40))], [np.zeros(40), [0.0]])
    y = net(X)[:, 0] + 0.1 * rng.standard_normal(12)
    return rf.prune(net, X, y, alpha=1e-3, hidden_bias=False, fit_intercept=False, continue_to=1), X, y


def test_pruning_curves_are_the_losses_of_both_ways(pruned):
    result, X, y = pruned
    display = PruningDisplay.from_result(result, X, y)
    widths, losses = display.line_.get_data()
    assert sorted(widths) == list(widths) == sorted([result.width, *result.narrower.widths])
    expected = [np.mean((result.at_width(int(w))(X)[:, 0] - y) ** 2) for w in widths]
    np.testing.assert_allclose(losses, expected)
    assert display.given_loss == pytest.approx(losses[-1], rel=1e-6)
    w, a = result.network.weights[0], result.network.weights[1]
    strongest = np.argmax(np.linalg.norm(w, axis=1) * np.abs(a[0]))
    alone = np.maximum(X @ w[strongest], 0.0) * a[0, strongest]
    assert display.magnitude_line_.get_ydata()[0] == pytest.approx(np.mean((alone - y) ** 2))
    assert display.ax_.get_yscale() == "log"


def test_pruning_curve_of_another_loss_and_what_is_refused(pruned):
    result, X, y = pruned
    display = PruningDisplay.from_result(
        result, X, y > 0, loss=lambda t, f: float(np.mean((f > 0) != t)), loss_name="error"
    )
    assert display.ax_.get_ylabel() == "error"
    assert display.losses[-1] == np.mean((result.network(X)[:, 0] > 0) != (y > 0))
    with pytest.raises(ProblemError, match="one y a sample"):
        PruningDisplay.from_result(result, X, y[:5])
    with pytest.raises(ProblemError, match="numbers a sample"):
        PruningDisplay.from_result(result, X, np.c_[y, y])
    with pytest.raises(ProblemError, match="one length"):
        PruningDisplay([1, 2], [0.1])

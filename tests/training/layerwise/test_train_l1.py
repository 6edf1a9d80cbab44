import numpy as np
import pytest
from training.layerwise.layer_cases import deep_case, loss_of, recipe, steepest_sampled_slope

import rectifold as rf


@pytest.mark.parametrize("dims", [(3, 5), (3, 5, 4)])
def test_alternation_falls_and_ends_where_no_layer_gains(dims):
    net, X, y = deep_case(dims, 80, 0)
    result = rf.train_l1(net, X, y, tol=1e-3)
    assert result.losses[0] == pytest.approx(loss_of(net, X, y))
    assert np.diff(result.losses).max() <= 0.0
    assert result.value == pytest.approx(loss_of(result.solution, X, y), rel=1e-9)
    assert result.status in (rf.Status.LOCAL_OPTIMUM, rf.Status.DEGENERATE)
    assert [end.layer for end in result.ends] == list(range(len(net.weights)))
    again = rf.train_l1(result.solution, X, y, max_sweeps=1, tol=0.0)
    assert again.value >= 0.99 * result.value


def test_hidden_layer_at_its_minimum_leaves_its_output_weights_nothing_to_gain():
    net, X, y = deep_case((3, 5), 80, 1)
    first = rf.FirstLayerL1(net).fit(X, y)
    assert first.result_.decided_by == "vertex"
    weights, offset = first.network_.weights[1][0], first.network_.biases[1][0]
    hidden = np.maximum(first.network_.preactivations(X)[0], 0.0)
    best = rf.solve_lad(hidden, y - offset, fit_intercept=False)
    assert 2 * 80 * best.value == pytest.approx(first.loss_, rel=1e-9)
    assert np.abs(best.solution.coef).max() <= 10.0 * np.abs(weights).max()


def test_certificate_is_of_the_layer_trained_last():
    net, X, y = deep_case((3, 5), 80, 1)
    result = rf.train_l1(net, X, y, layers=[1, 0], max_sweeps=1)
    assert result.status is rf.Status.ITERATION_LIMIT
    assert result.certificate.layer == 0
    assert rf.verify(result)
    assert steepest_sampled_slope(result.solution, 0, X, y, np.random.default_rng(0)) >= -1e-4


def test_weights_and_chosen_layers():
    net, X, y = deep_case((3, 5, 4), 60, 3)
    weights = np.random.default_rng(0).uniform(0.0, 2.0, 60)
    result = rf.train_l1(net, X, y, sample_weight=weights, layers=[1], tol=1e-2)
    assert result.value == pytest.approx(loss_of(result.solution, X, y, weights), rel=1e-9)
    for layer in (0, 2):
        np.testing.assert_array_equal(result.solution.weights[layer], net.weights[layer])


def test_time_limit_gives_the_best_so_far():
    net, X, y = recipe(500, 4, 5, True)
    result = rf.train_l1(net, X, y, time_limit=0.02, tol=0.0)
    assert result.status is rf.Status.TIME_LIMIT
    assert result.value <= loss_of(net, X, y)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": []}, "layers"),
        ({"layers": [0, 0]}, "layers"),
        ({"layers": [2]}, "layer"),
        ({"tol": 1.0}, "tol"),
        ({"tol": "small"}, "tol"),
        ({"max_sweeps": 0}, "max_sweeps"),
        ({"n_walks": 0}, "n_walks"),
    ],
)
def test_bad_options_are_refused(change, words):
    net, X, y = recipe(50, 4, 5, True)
    with pytest.raises(rf.ProblemError, match=words):
        rf.train_l1(net, X, y, **change)

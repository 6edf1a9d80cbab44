"""Stochastic descent: a start for large data that is worth its time, whatever the scale of the data."""

from __future__ import annotations

import numpy as np
import pytest
from problems import targets_for

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex import train
from rectifold.training.convex.search import stochastic_descent
from rectifold.training.convex.search.descent import descend, random_neurons
from rectifold.training.convex.search.stochastic_descent import stochastic_descend
from rectifold.training.convex.solve import solve_convex_relu


def data(n=3000, d=8, outputs=1):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    Y = np.abs(X @ rng.standard_normal((d, outputs))) + 0.1 * rng.standard_normal((n, outputs))
    return X, Y[:, 0] if outputs == 1 else Y


def value(problem, neurons):
    shift = problem.loss.intercept(neurons.fit(problem.design), problem.targets, problem.weights)
    return problem.objective(problem.network(neurons.directions, neurons.outputs, neurons.intercept + shift))


def descended(problem, n_steps=400, **options):
    return stochastic_descend(problem, np.random.default_rng(0), width=40, n_steps=n_steps, **options)


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge", "multinomial"])
def test_it_comes_near_what_full_gradients_find(loss):
    X, y = data()
    problem = ConvexReLUProblem(X, targets_for(loss, y), 1e-3, loss)
    full = descend(problem, random_neurons(problem, 40, np.random.default_rng(1)), max_iter=300)
    assert value(problem, descended(problem, 8000)) <= 1.03 * value(problem, full)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_scale_of_the_data_does_not_matter(scale):
    X, y = data()
    plain = ConvexReLUProblem(X, y, 1e-3, hidden_bias=False)
    inputs = ConvexReLUProblem(scale * X, y, 1e-3 * scale, hidden_bias=False)
    targets = ConvexReLUProblem(X, scale * y, 1e-3 * scale, hidden_bias=False)
    reference = value(plain, descended(plain))
    assert value(inputs, descended(inputs)) == pytest.approx(reference, rel=0.02)
    assert value(targets, descended(targets)) == pytest.approx(reference * scale**2, rel=0.02)


def test_outputs_keep_neurons_of_their_own_under_l1():
    X, Y = data(outputs=2)
    neurons = descended(ConvexReLUProblem(X, Y, 1e-3, output_penalty="l1"))
    assert np.all(np.count_nonzero(neurons.outputs, axis=1) <= 1)


def test_features_that_are_always_zero_get_no_weight():
    X, y = data()
    wider = np.insert(X, [0, 3], 0.0, axis=1)
    plain, padded = (descended(ConvexReLUProblem(features, y, 1e-3)) for features in (X, wider))
    assert not padded.directions[:, [0, 4]].any()
    np.testing.assert_allclose(np.delete(padded.directions, [0, 4], axis=1), plain.directions, rtol=1e-4, atol=1e-6)


def test_width_follows_alpha_and_the_time_there_is():
    X, y = data()
    largest = ConvexReLUProblem(X, y, 1.0).alpha / stochastic_descent._share(ConvexReLUProblem(X, y, 1.0))
    widths = [
        len(stochastic_descend(ConvexReLUProblem(X, y, share * largest), np.random.default_rng(0), **limits))
        for share, limits in ((0.1, {"n_steps": 2}), (1e-4, {"n_steps": 2}), (1e-4, {"seconds": 1e-3}))
    ]
    assert widths == [200, 300, 200]


def test_it_repeats_and_stops_when_told():
    problem = ConvexReLUProblem(*data(), 1e-3)
    first, second = descended(problem, 50), descended(problem, 50)
    np.testing.assert_array_equal(first.directions, second.directions)
    untouched = descended(problem, 400, should_stop=lambda: True)
    short = descended(problem, 10**7, seconds=0.1)
    assert value(problem, short) < value(problem, untouched)


def test_training_starts_with_it_on_large_data(monkeypatch):
    X, y = data()
    alpha = 0.02
    usual = solve_convex_relu(X, y, alpha, certify=False)
    monkeypatch.setattr(train, "_STOCHASTIC_SIZE", 1e3)
    monkeypatch.setattr(stochastic_descent, "_MOST_STEPS", 300)
    result = solve_convex_relu(X, y, alpha, certify=False)
    assert result.value <= usual.value * (1 + 1e-4)

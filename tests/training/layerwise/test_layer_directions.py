import numpy as np
import pytest
from programs.network_cases import cube
from training.layerwise.layer_cases import block_diagonal, deep_case, loss_of, recipe, with_parameters

from rectifold._engine.budget import Budget
from rectifold.core.layer_l1 import L1Problem, LayerData
from rectifold.programs.degenerate import Outcome
from rectifold.programs.network_directions import NetworkDirections
from rectifold.programs.objective import Objective
from rectifold.training.layerwise.layer_directions import LayerDirections
from rectifold.training.layerwise.layer_simplex import LayerSimplex


def degenerate_case(seed, layer=0):
    """A point where a unit's weights are zero, and some residuals as well; its kinks at zero."""
    net, X, y = deep_case((2, 3, 2), 12, seed)
    X[6:9] = X[:3]
    theta = LayerData(L1Problem(X, y), net, layer).parameters().reshape(net.weights[layer].shape[0], -1)
    theta[1] = 0.0
    net = with_parameters(net, layer, theta)
    y[:2] = net(X[:2])[:, 0]
    data = LayerData(L1Problem(X, y), net, layer)
    levels = data.preactivations(data.parameters())
    z = np.concatenate([*(level.ravel() for level in levels), data.residuals(levels)])
    return data, net, X, y, np.flatnonzero(np.abs(z) <= 1e-14)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_directional_derivative_is_that_of_the_loss_and_of_the_block_diagonal_network(seed, layer):
    data, net, X, y, critical = degenerate_case(seed, layer)
    program = LayerDirections(data, data.parameters(), critical, 1.0, np.zeros((0, data.n_parameters)))
    U = np.random.default_rng(seed).standard_normal((20, data.n_parameters))
    step, theta = 2.0**-24, data.parameters()
    quotients = [(loss_of(with_parameters(net, layer, theta + step * u), X, y) - loss_of(net, X, y)) / step for u in U]
    np.testing.assert_allclose(program.derivatives(U), quotients, atol=1e-4)
    dense = Objective.checked(
        block_diagonal(data, np.zeros((data.width, len(data.inputs)))), cube(len(theta), 1e6), 0, 1.0
    )
    reference = NetworkDirections(dense, theta, critical, 1.0, np.zeros((0, len(theta))))
    np.testing.assert_allclose(program.derivatives(U), reference.derivatives(U), atol=1e-10)
    for ours, theirs in zip(program.linear_parts(), reference.linear_parts(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
    np.testing.assert_allclose(program.jumps, reference.jumps)


def test_unit_at_zero_is_led_away():
    """All kinks of a unit meet; no edge of the vertex falls, but a change of this unit alone does."""
    net, X, y = recipe(100, 3, 4, False)
    theta = np.column_stack([net.weights[0], net.biases[0]])
    theta[2] = 0.0
    net = with_parameters(net, 0, theta)
    data = LayerData(L1Problem(X, y), net, 0)
    critical = np.arange(200, 300)
    program = LayerDirections(data, data.parameters(), critical, 1.0, np.zeros((0, data.n_parameters)))
    decision = program.decide(np.zeros((1, data.n_parameters)) + 1e-3, np.random.default_rng(0), 0, 1.0)
    assert decision.outcome is Outcome.FALLS
    assert program.derivatives(decision.direction[None])[0] < 0.0
    step = 1e-7
    moved = with_parameters(net, 0, data.parameters() + step * decision.direction)
    assert loss_of(moved, X, y) < loss_of(net, X, y)


def test_convex_vertex_is_decided_as_a_minimum():
    """Only residuals meet at zero, more than there are weights: a linear program proves the minimum."""
    net, X, y = deep_case((2, 2), 30, 0)
    y = net(X)[:, 0]
    data = LayerData(L1Problem(X, y), net, 0)
    critical = 2 * 30 + np.arange(30)
    program = LayerDirections(data, data.parameters(), critical, 1.0, np.zeros((0, data.n_parameters)))
    decision = program.decide(np.eye(data.n_parameters), np.random.default_rng(0), 0, 10.0)
    assert decision.outcome is Outcome.MINIMUM
    assert decision.n_binaries == 0


def test_perfect_fit_stays():
    net, X, _ = deep_case((2, 2), 30, 0)
    data = LayerData(L1Problem(X, net(X)[:, 0]), net, 0)
    descent = LayerSimplex(data, np.random.default_rng(0), Budget()).descend(data.parameters(), 1)
    assert descent.losses[-1] <= 1e-9

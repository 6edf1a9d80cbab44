import numpy as np
import pytest
from programs.network_cases import cube, he_network, integer_network, without_biases

import rectifold as rf
from rectifold.programs.degenerate import Outcome
from rectifold.programs.network_directions import NetworkDirections
from rectifold.programs.objective import Objective


def program_at(net, domain, x):
    """The directional program with every unit and row that is exactly at zero."""
    objective = Objective.checked(net, domain, 0, 1.0)
    z = np.concatenate(net.preactivations(x))
    room = domain.rows()[1] - domain.rows()[0] @ x
    critical = np.flatnonzero(np.concatenate([(z == 0.0) & objective.kinked, room == 0.0]))
    return NetworkDirections(objective, x, critical, 1.0, np.zeros((0, net.n_inputs)))


@pytest.mark.parametrize("seed", range(20))
def test_directional_derivative_is_the_limit_of_difference_quotients(seed):
    rng = np.random.default_rng(seed)
    net = integer_network(rng, 3)
    x = rng.integers(-1, 2, 3).astype(float)
    U = rng.standard_normal((50, 3))
    step = 2.0**-30
    quotients = (net(x + step * U)[:, 0] - net(x)[0]) / step
    np.testing.assert_allclose(program_at(net, cube(3), x).derivatives(U), quotients, atol=1e-4)


@pytest.mark.parametrize("seed", range(30))
def test_decision_agrees_with_dense_sampling_in_the_plane(seed):
    rng = np.random.default_rng(seed)
    net = without_biases(integer_network(rng, 2))
    program = program_at(net, cube(2), np.zeros(2))
    angles = np.linspace(0.0, 2 * np.pi, 20001)
    least = program.derivatives(np.stack([np.cos(angles), np.sin(angles)], axis=1)).min()
    decision = program.decide(np.zeros((0, 2)), rng, 1000, None)
    assert decision.outcome == (Outcome.FALLS if least < -1e-9 else Outcome.MINIMUM)
    if decision.outcome is Outcome.FALLS:
        assert program.derivatives(decision.direction[None])[0] < 0.0
    else:
        assert decision.bound >= -1e-6


@pytest.mark.parametrize("seed", range(8))
def test_program_without_samples_finds_what_falls(seed, monkeypatch):
    """The linear or mixed-integer program alone decides, not the directions that are tried first."""
    monkeypatch.setattr("rectifold.programs.degenerate._SAMPLES", 0)
    rng = np.random.default_rng(seed)
    net = without_biases(he_network((2, 3, 3), seed))
    program = program_at(net, rf.Box([0.0, -1.0], [1.0, 1.0]), np.zeros(2))
    angles = np.linspace(-np.pi / 2, np.pi / 2, 20001)
    least = program.derivatives(np.stack([np.cos(angles), np.sin(angles)], axis=1)).min()
    found = program._solve(10_000, None)
    assert found.outcome == (Outcome.FALLS if least < -1e-9 else Outcome.MINIMUM)
    if found.direction is not None:
        assert found.direction[0] >= -1e-9
    assert program.decide(np.zeros((0, 2)), rng, 10_000, None).outcome == found.outcome


def test_convex_kinks_need_no_binaries():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 3))
    net = rf.ReLUNetwork([X, np.ones((1, 12))], [np.zeros(12), [0.0]], [(-1, 1)])
    decision = program_at(net, cube(3), np.zeros(3)).decide(np.zeros((0, 3)), rng, 0, None)
    assert (decision.outcome, decision.n_binaries) == (Outcome.MINIMUM, 0)


def test_beyond_the_budget_nothing_is_claimed():
    net = without_biases(he_network((6, 30, 30), 0))
    upward = rf.ReLUNetwork([*net.weights[:-1], np.abs(net.weights[-1])], net.biases)
    mixed = rf.ReLUNetwork([*upward.weights[:-1], upward.weights[-1] - 1e-7 * (np.arange(30) == 3)], upward.biases)
    decision = program_at(mixed, cube(6), np.zeros(6)).decide(np.zeros((0, 6)), np.random.default_rng(0), 0, 1e-3)
    assert decision.outcome in (Outcome.UNDECIDED, Outcome.MINIMUM)
    if decision.outcome is Outcome.UNDECIDED:
        assert decision.direction is None

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs.network_cases import (
    CASES,
    cube,
    he_network,
    integer_network,
    pinball_minimum,
    pinball_network,
    steepest_sampled_slope,
    without_biases,
)

import rectifold as rf
from rectifold._engine.budget import Budget
from rectifold.programs.multistart import projected_gradient
from rectifold.programs.objective import Objective

NESTED = rf.ReLUNetwork([[[1.0]], [[1.0], [1.0]], [[1.0, -0.5]]], [[0.0], [-1.0, 0.0], [0.0]])


def uniform_starts(dims, count=200):
    return np.random.default_rng(0).uniform(-1.0, 1.0, (count, dims[0]))


@pytest.mark.parametrize(("dims", "seed", "best"), CASES)
def test_two_hundred_starts_reach_the_best_known_value(dims, seed, best):
    net = he_network(dims, seed)
    points = uniform_starts(dims, 200 if len(dims) == 2 else 400)
    result = rf.minimize(net, cube(dims[0]), x0=points, k=1000)
    assert result.value == pytest.approx(best, abs=1e-9)
    assert net(result.solution)[0] == pytest.approx(result.value, abs=1e-12)
    for minimum in result.minima:
        assert (minimum.status, minimum.decided_by) == ("local_optimum", "vertex")
        assert np.diff(minimum.values).max(initial=0.0) <= 1e-11
        assert np.abs(minimum.x).max() <= 1 + 1e-12


@pytest.mark.parametrize(("dims", "seed", "best"), CASES)
def test_polish_of_the_best_gradient_point_lands_on_the_best_known_value(dims, seed, best):
    net = he_network(dims, seed)
    objective = Objective.checked(net, cube(dims[0]), 0, 1.0)
    points, values = projected_gradient(objective, uniform_starts(dims, 256), 300, Budget())
    start = points[np.argmin(values)]
    result = rf.polish(net, start, cube(dims[0]))
    assert result.value <= values.min() + 1e-12
    assert len(result.minimum.values) - 1 <= dims[0] + 50
    assert result.value <= best + 1e-9


def test_default_starts_find_the_minimum_of_a_small_network():
    result = rf.minimize(he_network((5, 50, 50), 0), cube(5), k=3)
    assert result.value == pytest.approx(-2.2730757449, abs=1e-9)
    values = [minimum.value for minimum in result.minima]
    assert len(values) == 3
    assert values == sorted(values)
    assert result.minimum is result.minima[0]


def test_linear_constraint():
    net = he_network((3, 12, 12), 2)
    assert rf.minimize(net, cube(3)).value == pytest.approx(-1.1081655470, abs=1e-9)
    A = np.vstack([np.eye(3), -np.eye(3), np.ones((1, 3))])
    result = rf.minimize(net, rf.Polytope(A, [1.0] * 6 + [0.5]), k=50, n_starts=50)
    assert result.value == pytest.approx(-1.1017891191, abs=1e-9)
    np.testing.assert_allclose(result.solution, [0.42542232, -0.92542232, 1.0], atol=1e-7)
    for minimum in result.minima:
        assert (A @ minimum.x - np.array([1.0] * 6 + [0.5])).max() <= 1e-9


@pytest.mark.parametrize("start", [0.5, 2.5, -1.0, 0.0])
def test_bent_edges(start):
    result = rf.minimize(NESTED, rf.Box([-2.0], [3.0]), x0=[start])
    at_minimum = abs(result.value + 0.5) < 1e-12 and abs(result.solution[0] - 1.0) < 1e-12
    if start > 0.0:
        assert at_minimum
    else:
        assert at_minimum or (result.solution[0] < 0.0 and not result.minimum.is_strict)
    assert result.solution[0] != 0.0


def test_ray_of_an_unbounded_line():
    result = rf.minimize(rf.ReLUNetwork([[[1.0]], [[-1.0]]], [[0.0], [0.0]]))
    assert (result.status, result.value) == ("unbounded", -np.inf)
    np.testing.assert_array_equal(result.ray, [1.0])
    assert result.gap == 0.0
    assert "unbounded" in str(result)


def test_lineality_is_reported():
    result = rf.minimize(rf.ReLUNetwork([[[1.0, 0.0]], [[1.0]]], [[0.0], [0.0]], [(-1, 1)]))
    assert (result.status, result.value) == ("local_optimum", 0.0)
    np.testing.assert_allclose(np.abs(result.invariant), [[0.0, 1.0]], atol=1e-12)
    assert not result.minimum.is_strict
    assert rf.verify(result)


@pytest.mark.parametrize("seed", range(3))
def test_networks_without_a_box_fall_along_their_ray(seed):
    net = he_network((5, 50, 50), seed)
    result = rf.minimize(net)
    assert result.status == "unbounded"
    assert np.linalg.norm(result.ray) == pytest.approx(1.0)
    values = [net(result.solution + t * result.ray)[0] for t in (1e3, 1e6, 2e6)]
    assert values[0] < net(result.solution)[0]
    assert (values[2] - values[1]) / 1e6 == pytest.approx((values[1] - values[0]) / (1e6 - 1e3), rel=1e-6)


@pytest.mark.parametrize("start", [np.zeros(4), np.full(4, 0.3), np.full(4, -0.2)])
def test_no_local_minimum_at_the_degenerate_origin(start):
    net = without_biases(he_network((4, 20, 20), 1))
    result = rf.minimize(net, cube(4), x0=start)
    assert np.abs(result.solution).max() > 0.1
    assert result.value < -0.01


def test_global_minimum_of_the_network_without_biases():
    result = rf.minimize(without_biases(he_network((4, 20, 20), 1)), cube(4))
    assert result.value == pytest.approx(-0.17409815592952907, rel=1e-9)
    np.testing.assert_allclose(result.solution, [1.0, -0.4797, 0.2465, -0.3345], atol=1e-4)


def test_origin_that_is_a_minimum_is_decided_by_the_directional_program():
    net = without_biases(he_network((4, 20, 20), 1))
    upward = rf.ReLUNetwork([*net.weights[:-1], np.abs(net.weights[-1])], net.biases)
    result = rf.minimize(upward, cube(4), x0=np.zeros(4))
    assert (result.value, result.minimum.decided_by) == (0.0, "directional program")
    assert result.certificate is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_integer_networks_end_where_nothing_falls(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    net = integer_network(rng, n)
    domain = (
        cube(n) if seed % 2 else rf.Polytope(np.vstack([np.eye(n), -np.eye(n), np.ones((1, n))]), [1.0] * (2 * n) + [0])
    )
    result = rf.minimize(net, domain, x0=np.zeros(n))
    minimum = result.minimum
    assert domain.contains(minimum.x)
    assert np.diff(minimum.values).max(initial=0.0) <= 1e-9
    assert result.status in ("local_optimum", "degenerate")
    if result.status == "local_optimum":
        assert steepest_sampled_slope(net, domain, minimum.x, rng) >= -1e-6
    if result.certificate is not None:
        assert rf.verify(result)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.floats(0.1, 0.9))
def test_convex_networks_end_at_the_optimum_of_a_linear_program(seed, tied, quantile):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(8, 40)), int(rng.integers(1, 6))
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    if tied:
        X, y = np.hstack([np.ones((n, 1)), rng.integers(0, 2, (n, d))]), rng.integers(0, 5, n).astype(float)
    domain = cube(X.shape[1], 0.4) if seed % 2 else None
    result = rf.minimize(pinball_network(X, y, quantile), domain, n_starts=1)
    assert result.status == "local_optimum"
    assert result.value == pytest.approx(pinball_minimum(X, y, quantile, domain), rel=1e-9, abs=1e-9)


def test_equality_rows_hold():
    net = he_network((4, 20, 20), 0)
    domain = rf.Polytope(
        np.vstack([np.eye(4), -np.eye(4)]), np.ones(8), [[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]], [0.5, 1.0]
    )
    result = rf.minimize(net, domain)
    assert abs(result.solution.sum() - 0.5) < 1e-12
    assert [c.kind for c in result.minimum.active].count("equality") == 1
    assert rf.verify(result)
    rng = np.random.default_rng(0)
    V = rng.standard_normal((2000, 4))
    V -= V.mean(axis=1, keepdims=True)
    points = result.solution + 1e-6 * V
    points = points[np.abs(points).max(axis=1) <= 1.0]
    assert net(points)[:, 0].min() >= result.value


def test_maximum_is_the_minimum_of_the_negated_network():
    net = he_network((5, 20, 20), 3)
    negated = rf.ReLUNetwork([*net.weights[:-1], -net.weights[-1]], [*net.biases[:-1], -net.biases[-1]])
    high, low = rf.maximize(net, cube(5)), rf.minimize(negated, cube(5))
    assert high.value == pytest.approx(-low.value, abs=1e-12)
    assert (high.bound, high.gap, low.gap) == (np.inf, np.inf, np.inf)
    assert rf.verify(high)
    assert np.diff(high.minimum.values).min() >= -1e-12
    assert rf.polish(net, np.zeros(5), cube(5), maximum=True).value >= net(np.zeros(5))[0]


def test_multipliers_balance_the_gradient():
    net = he_network((6, 30), 0)
    domain = cube(6, 0.5)
    minimum = rf.minimize(net, domain).minimum
    G = domain.rows()[0]
    z = net.weights[0] @ minimum.x + net.biases[0]
    off = [c.index for c in minimum.active if c.kind == "unit"]
    on = z > 0.0
    on[off] = False
    residual = (net.weights[1][0] * on) @ net.weights[0]
    for c in minimum.active:
        assert c.slope >= -1e-9
        assert c.opposite_slope >= -1e-9
        if c.kind == "row":
            residual += c.slope * G[c.index]
    # what is left is carried by the kinks: weights between the two slopes of each
    rows = net.weights[0][off]
    shares = np.linalg.lstsq((net.weights[1][0, off, None] * rows).T, -residual, rcond=None)[0]
    np.testing.assert_allclose((net.weights[1][0, off, None] * rows).T @ shares, -residual, atol=1e-10)
    assert ((shares >= -1e-9) & (shares <= 1 + 1e-9)).all()


def test_flat_edges_are_listed():
    net = rf.ReLUNetwork([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0]]], [[0.0, 0.0], [0.0]])
    minimum = rf.minimize(net, cube(2)).minimum
    assert minimum.value == 0.0
    assert len(minimum.flat_edges)
    np.testing.assert_allclose(net(minimum.x + 1e-3 * minimum.flat_edges)[:, 0], 0.0, atol=1e-15)
    assert not minimum.is_strict


def test_affine_network_ends_in_a_corner():
    net = rf.ReLUNetwork([[[1.0, -2.0]]], [[3.0]])
    result = rf.minimize(net, cube(2))
    np.testing.assert_array_equal(result.solution, [-1.0, 1.0])
    assert result.value == 0.0
    assert rf.verify(result)


def test_hidden_layer_of_width_zero():
    net = rf.ReLUNetwork([np.zeros((0, 2)), np.zeros((1, 0))], [np.zeros(0), [4.0]])
    result = rf.minimize(net, cube(2))
    assert result.value == 4.0
    assert rf.minimize(net).value == 4.0


def test_second_output():
    net = he_network((3, 10), 0)
    both = rf.ReLUNetwork([net.weights[0], np.vstack([net.weights[1], -net.weights[1]])], [net.biases[0], np.zeros(2)])
    assert rf.minimize(both, cube(3), output=1).value == pytest.approx(-rf.maximize(net, cube(3)).value, abs=1e-12)


def test_same_seed_gives_the_same_bits():
    first, second = (rf.minimize(he_network((6, 30, 30), 5), cube(6), random_state=7) for _ in range(2))
    assert first.value == second.value
    np.testing.assert_array_equal(first.solution, second.solution)


def test_result_survives_pickling():
    result = rf.minimize(he_network((4, 10), 0), cube(4))
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.minimum.x, result.minimum.x)
    assert not again.minimum.x.flags.writeable
    assert rf.verify(again)


class Stopper:
    def __init__(self, after):
        self.events, self.after = [], after

    def event(self, stage, value, bound, elapsed, **counts):
        self.events.append((stage, value, counts))

    def should_stop(self):
        return len(self.events) >= self.after


def test_monitor_sees_falling_values_and_can_stop():
    monitor = Stopper(5)
    result = rf.minimize(he_network((10, 50, 50), 1), cube(10), n_starts=50, n_gradient_steps=0, callback=monitor)
    assert result.status == "interrupted"
    assert result.stats["starts"] == 5
    values = [value for _, value, _ in monitor.events]
    assert values == sorted(values, reverse=True)
    assert result.value == values[-1]


def test_time_limit_gives_the_best_so_far():
    net = he_network((60, 300, 300, 300), 0)
    result = rf.minimize(net, cube(60), time_limit=0.05, n_starts=200, n_gradient_steps=0)
    assert result.status == "time_limit"
    assert net(result.solution)[0] == pytest.approx(result.value, abs=1e-9)


NET = he_network((2, 5), 0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rf.minimize(NET, cube(3)), "3 inputs"),
        (lambda: rf.minimize(NET, "box"), "Box or a Polytope"),
        (lambda: rf.minimize("net", cube(2)), "ReLUNetwork"),
        (lambda: rf.minimize(NET, cube(2), method="global"), "method"),
        (lambda: rf.minimize(NET, cube(2), output=1), "output"),
        (lambda: rf.minimize(NET, cube(2), output=0.0), "output"),
        (lambda: rf.minimize(NET, cube(2), x0=[0.0, 2.0]), "start 0"),
        (lambda: rf.minimize(NET, cube(2), x0=[0.0]), "shape"),
        (lambda: rf.minimize(NET, cube(2), x0=[0.0, np.nan]), "NaN"),
        (lambda: rf.minimize(NET, cube(2), n_starts=0), "n_starts"),
        (lambda: rf.minimize(NET, cube(2), k=0), "k must"),
        (lambda: rf.minimize(NET, cube(2), time_limit=-1.0), "time_limit"),
        (lambda: rf.polish(NET, [[0.0, 0.0]], cube(2)), "one point"),
        (lambda: rf.polish(NET, [3.0, 0.0], cube(2)), "start 0"),
        (lambda: rf.minimize(NET, rf.Polytope([[1.0, 0.0], [-1.0, 0.0]], [-1.0, -1.0])), "empty"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(rf.ProblemError, match=words):
        call()


@pytest.mark.parametrize("run", [rf.minimize, rf.maximize])
def test_long_walks_report_how_far_they_have_come(monkeypatch, run):
    for module in ("minimize", "walk_driver"):
        monkeypatch.setattr(f"rectifold.programs.{module}.SLICE", 1e-5)
    net, starts = he_network((20, 50, 50), 0), np.random.default_rng(0).uniform(-1.0, 1.0, (2, 20))
    result = run(net, cube(20), x0=starts)
    values = result.trace.value * (1.0 if run is rf.minimize else -1.0)
    assert len(values) > 6
    assert len(np.unique(values)) > 3
    assert np.all(np.diff(values) <= 1e-12)
    assert result.trace.value[-1] == result.value

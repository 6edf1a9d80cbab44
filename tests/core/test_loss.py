"""Losses against finite differences, Fenchel's inequality and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rectifold.core.errors import ProblemError
from rectifold.core.loss import LOSSES, get_loss

NAMES = sorted(LOSSES)
SEEDS = st.integers(0, 10_000)


def instance(name, seed, n=7, spread=2.0):
    """Fits, targets and weights of a loss; K = 3 wherever the loss allows several outputs."""
    rng = np.random.default_rng(seed)
    s = rng.uniform(0.2, 2.0, n)
    if name == "squared":
        y = rng.standard_normal((n, 3))
    elif name == "multinomial":
        y = np.eye(3)[rng.permutation(np.arange(n) % 3)]
    else:
        y = rng.permutation(np.where(np.arange(n) % 2 == 0, 1.0, -1.0))[:, None]
    return spread * rng.standard_normal(y.shape), y, s / s.sum()


def test_get_loss_names_the_known_ones():
    with pytest.raises(ProblemError, match="multinomial"):
        get_loss("hinge")


@pytest.mark.parametrize("name", NAMES)
def test_theta_is_minus_the_gradient(name):
    f, y, s = instance(name, 1)
    loss, h = get_loss(name), 1e-6
    theta = loss.theta(f, y, s)
    for index in np.ndindex(f.shape):
        step = np.zeros_like(f)
        step[index] = h
        slope = (loss.value(f + step, y, s) - loss.value(f - step, y, s)) / (2 * h)
        assert theta[index] == pytest.approx(-slope, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_curvature_is_the_diagonal_of_the_hessian_and_at_most_the_smoothness(name):
    f, y, s = instance(name, 2)
    loss, h = get_loss(name), 1e-6
    curvature = loss.curvature(f, y, s)
    for index in np.ndindex(f.shape):
        step = np.zeros_like(f)
        step[index] = h
        bend = (loss.theta(f - step, y, s) - loss.theta(f + step, y, s))[index] / (2 * h)
        assert curvature[index] == pytest.approx(bend, abs=1e-8)
    assert np.all(curvature <= loss.smoothness * s[:, None] * (1 + 1e-12))


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(NAMES), seed=SEEDS)
def test_dual_value_at_theta_meets_fenchel_with_equality(name, seed):
    f, y, s = instance(name, seed)
    loss = get_loss(name)
    theta = loss.theta(f, y, s)
    assert loss.dual_value(theta, y, s) == pytest.approx(loss.value(f, y, s) + (theta * f).sum(), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(NAMES), seed=SEEDS)
def test_dual_value_never_exceeds_the_lagrangian_at_another_fit(name, seed):
    f, y, s = instance(name, seed)
    g = instance(name, seed + 1)[0]
    loss = get_loss(name)
    theta = loss.theta(f, y, s)
    assert loss.dual_value(theta, y, s) <= loss.value(g, y, s) + (theta * g).sum() + 1e-12


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("logistic", [[0.6], [0.0]]),  # above s_i
        ("logistic", [[-0.1], [0.0]]),  # of the wrong sign
        ("squared_hinge", [[-1e-9], [0.0]]),
        ("multinomial", [[0.6, -0.3, -0.3], [0.0, 0.0, 0.0]]),  # one class above s_i
        ("multinomial", [[0.2, -0.1, 0.1], [0.0, 0.0, 0.0]]),  # a row that does not sum to zero
        ("multinomial", [[0.2, -0.3, 0.1], [0.0, 0.0, 0.0]]),  # a negative probability
    ],
)
def test_dual_value_is_minus_infinity_outside_its_domain(name, outside):
    theta, s = np.array(outside), np.full(2, 0.5)
    y = np.eye(3)[:2] if name == "multinomial" else np.array([[1.0], [-1.0]])
    assert get_loss(name).dual_value(theta, y, s) == -np.inf


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(NAMES), seed=SEEDS)
@example(name="logistic", seed=799)  # where rounding hides the last fall of the value
def test_intercept_minimises_over_constants(name, seed):
    f, y, s = instance(name, seed)
    loss = get_loss(name)
    c = loss.intercept(f, y, s)
    assert c.shape == (y.shape[1],)
    np.testing.assert_allclose(loss.theta(f + c, y, s).sum(axis=0), 0.0, atol=1e-10)
    best, rng = loss.value(f + c, y, s), np.random.default_rng(seed)
    for scale in (1e-3, 0.1, 1.0):
        assert best <= loss.value(f + c + scale * rng.standard_normal(len(c)), y, s) + 1e-13


@pytest.mark.parametrize("offset", [-60.0, 60.0])
@pytest.mark.parametrize("name", NAMES)
def test_intercept_is_found_from_saturated_fits(name, offset):
    f, y, s = instance(name, 3, spread=0.5)
    shifted = f + (offset * np.arange(y.shape[1]) if y.shape[1] > 1 else offset)
    loss = get_loss(name)
    near, far = loss.intercept(f, y, s), loss.intercept(shifted, y, s)
    assert loss.value(shifted + far, y, s) == pytest.approx(loss.value(f + near, y, s), abs=1e-12)


def test_multinomial_intercept_sums_to_zero():
    f, y, s = instance("multinomial", 4)
    assert get_loss("multinomial").intercept(f, y, s).sum() == pytest.approx(0.0, abs=1e-14)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(NAMES), seed=SEEDS, noise=st.sampled_from([0.0, 1e-9, 0.05, 1.0]))
def test_to_domain_sums_to_zero_and_stays_in_the_domain(name, seed, noise):
    f, y, s = instance(name, seed)
    loss = get_loss(name)
    theta = loss.theta(f, y, s) + noise * s[:, None] * np.random.default_rng(seed).standard_normal(y.shape)
    moved = loss.to_domain(theta, y, s)
    assert np.isfinite(loss.dual_value(moved, y, s))
    np.testing.assert_allclose(moved.sum(axis=0), 0.0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_to_domain_leaves_a_feasible_centred_theta_alone(name):
    f, y, s = instance(name, 5)
    loss = get_loss(name)
    theta = loss.theta(f + loss.intercept(f, y, s), y, s)
    np.testing.assert_allclose(loss.to_domain(theta, y, s), theta, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    seed=SEEDS,
    t_max=st.sampled_from([0.0, 0.1, 0.7, 1.0, 3.0, 1e6]),
    confidence=st.sampled_from([0.0, 3.0]),
)
def test_best_scale_beats_a_grid(name, seed, t_max, confidence):
    f, y, s = instance(name, seed)
    loss = get_loss(name)
    f = 0.3 * f + confidence * y if confidence else f
    theta = loss.theta(f, y, s)
    t = loss.best_scale(theta, y, s, t_max)
    assert 0.0 <= t <= t_max
    best = loss.dual_value(t * theta, y, s)
    grid = np.concatenate([np.linspace(0.0, min(t_max, 30.0), 3001), [t_max]])
    assert best >= max(loss.dual_value(u * theta, y, s) for u in grid) - 1e-9


@pytest.mark.parametrize("name", ["squared", "squared_hinge"])
def test_best_scale_of_a_zero_theta_is_zero(name):
    _, y, s = instance(name, 6)
    assert get_loss(name).best_scale(np.zeros_like(y), y, s, 2.0) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_values_are_finite_for_huge_fits(name):
    f, y, s = instance(name, 7)
    loss = get_loss(name)
    value = loss.value(1e3 * f, y, s)
    assert np.isfinite(value)
    assert value >= 0
    assert np.isfinite(loss.theta(1e3 * f, y, s)).all()


def test_encodings():
    np.testing.assert_array_equal(get_loss("squared").encode(np.array([1, 2])), [[1.0], [2.0]])
    np.testing.assert_array_equal(get_loss("logistic").encode(np.array([-1, 1])), [[-1.0], [1.0]])
    np.testing.assert_array_equal(get_loss("multinomial").encode(np.array([2, 0, 1])), np.eye(3)[[2, 0, 1]])
    np.testing.assert_array_equal(
        get_loss("squared_hinge").encode(np.array([2, 0, 1])), 2.0 * np.eye(3)[[2, 0, 1]] - 1.0
    )


@pytest.mark.parametrize(
    ("name", "y", "message"),
    [
        ("squared", ["a", "b"], "numbers"),
        ("logistic", [0, 1], r"-1 and \+1"),
        ("logistic", [1, 1], "two classes"),
        ("logistic", [-1, 0, 1], r"-1 and \+1"),
        ("squared_hinge", [1, 1], "two classes"),
        ("squared_hinge", [0, 2, 3], "0..K-1"),
        ("multinomial", [0, 1], "three or more"),
        ("multinomial", [0, 0], "two classes"),
        ("multinomial", [0, 1, 3], "0..K-1"),
        ("multinomial", ["a", "b", "c"], "0..K-1"),
    ],
)
def test_targets_that_do_not_fit_are_refused(name, y, message):
    with pytest.raises(ProblemError, match=message):
        get_loss(name).encode(np.array(y))

"""Enclosed elementary functions against 60-digit decimal arithmetic."""

from __future__ import annotations

from decimal import Decimal, getcontext

import numpy as np
import pytest
from certify.certified_cases import LOSSES, certified, problem_of
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifold.certify.enclosures import entropy, exp, log, softplus, total
from rectifold.certify.objective import dual_value, primal_value

getcontext().prec = 60


def holds(value, radius, truth, factor=1):
    return abs(Decimal(float(value)) - truth) <= factor * Decimal(float(radius))


@given(st.floats(1e-300, 1e300))
@settings(deadline=None)
def test_log(x):
    value, radius = log(np.array([x]))
    truth = Decimal(x).ln()
    assert holds(value[0], radius[0], truth)
    assert radius[0] <= 4e-15 * max(abs(value[0]), 1.0)


@given(st.floats(0.999, 1.001))
@settings(deadline=None)
def test_log_is_relatively_accurate_next_to_one(x):
    value, radius = log(np.array([x]))
    assert holds(value[0], radius[0], Decimal(x).ln())
    assert radius[0] <= 4e-15 * abs(value[0]) + 1e-280


@given(st.floats(-800, 700))
@settings(deadline=None)
def test_exp(x):
    value, radius = exp(np.array([x]))
    assert holds(value[0], radius[0], Decimal(x).exp())
    assert radius[0] <= 1e-14 * value[0] + 1e-280


@given(st.floats(-60, 60), st.floats(0, 1e-3))
@settings(deadline=None)
def test_softplus_covers_its_argument(z, radius):
    value, bound = softplus(np.array([z]), np.array([radius]))
    for argument in (Decimal(z) - Decimal(radius), Decimal(z), Decimal(z) + Decimal(radius)):
        assert holds(value[0], bound[0], (1 + argument.exp()).ln())


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_entropy_is_below_every_value_of_its_interval(a, b, t):
    low, high = min(a, b), max(a, b)
    value, radius = entropy(np.array([low]), np.array([high]))
    for p in (low, high, min(max(low + t * (high - low), low), high)):
        truth = -Decimal(p) * Decimal(p).ln() if p > 0 else Decimal(0)
        assert Decimal(float(value[0])) - Decimal(float(radius[0])) <= truth


def test_total_is_correctly_rounded():
    values = np.array([1e16, 1.0, -1e16, 1e-3])
    value, radius = total((values, np.zeros(4)))
    assert value == 1.001
    assert 0 < radius < 1e-15


@pytest.mark.parametrize("loss", LOSSES)
def test_values_agree_with_the_problem(loss):
    c = certified("spectral", loss)
    p = c.problem
    value, radius = primal_value(p, c.network)
    assert value == pytest.approx(p.objective(c.network), rel=1e-13)
    assert 0 < radius < 1e-12
    values = c.scale * c.theta.to_float()
    value, radius = dual_value(p, c.theta.to_float(), c.scale)
    assert value == pytest.approx(p.loss.dual_value(values, p.targets, p.weights), rel=1e-12)
    assert 0 < radius < 1e-13


@pytest.mark.parametrize("loss", ["logistic", "multinomial"])
def test_entropy_of_degenerate_probabilities(loss):
    p = problem_of(loss)
    zero = np.zeros_like(p.targets)
    assert dual_value(p, zero, 1.0)[0] == pytest.approx(0.0, abs=1e-12)
    full = p.weights[:, None] * (p.targets if loss == "logistic" else p.targets - np.roll(p.targets, 1, axis=1))
    assert dual_value(p, full, 1.0)[0] == pytest.approx(0.0, abs=1e-12)

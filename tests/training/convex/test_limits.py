"""Limits and options: whatever stops a run, the result is valid."""

from __future__ import annotations

import numpy as np
import pytest
from problems import small, targets_for
from quick import solve_convex_relu

from rectifold.certify import verify
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Status
from rectifold.training.convex.options import TrainingOptions
from rectifold.training.convex.restricted.patterns import sample_patterns

LOSSES = ("squared", "logistic", "squared_hinge", "multinomial")


class StopAfter:
    """A monitor that asks to stop after so many questions."""

    def __init__(self, questions):
        self.left, self.stages = questions, []

    def event(self, stage, value, bound, elapsed, **counts):
        self.stages.append(stage)

    def should_stop(self):
        self.left -= 1
        return self.left < 0


def instance(loss, n=120, d=5):
    X, y = small(1, n=n, d=d)
    return X, targets_for(loss, y)


def assert_valid(result, problem):
    assert np.isfinite(result.value)
    assert problem.objective(result.solution) == pytest.approx(result.value, rel=1e-12)
    assert result.value <= problem.null_value * (1 + 1e-12)
    assert result.bound <= result.value
    assert verify(result, problem=problem).holds


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("limit", [1e-9, 0.05])
def test_time_limit(loss, limit):
    X, y = instance(loss)
    result = solve_convex_relu(X, y, 1e-5, loss=loss, time_limit=limit, tol=1e-9)
    assert result.status is Status.TIME_LIMIT
    assert_valid(result, ConvexReLUProblem(X, y, 1e-5, loss))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("questions", [0, 1, 10, 40])
def test_interruption(loss, questions):
    X, y = instance(loss)
    monitor = StopAfter(questions)
    result = solve_convex_relu(X, y, 1e-5, loss=loss, callback=monitor, tol=1e-9)
    assert result.status is Status.INTERRUPTED
    assert_valid(result, ConvexReLUProblem(X, y, 1e-5, loss))
    assert monitor.stages[-1] == "done"


@pytest.mark.parametrize("activation", ["relu", "gated"])
@pytest.mark.parametrize("questions", [0, 1, 5])
def test_interruption_on_given_patterns(activation, questions):
    X, y = instance("squared")
    patterns = sample_patterns(np.hstack([X, np.ones((len(X), 1))]), 60, 0)
    monitor = StopAfter(questions)
    result = solve_convex_relu(X, y, 1e-5, patterns, activation=activation, callback=monitor, tol=1e-12)
    assert result.status is Status.INTERRUPTED
    assert np.isfinite(result.value)
    assert result.bound <= result.value
    if activation == "relu":
        assert_valid(result, ConvexReLUProblem(X, y, 1e-5))


def test_time_limit_on_given_patterns():
    X, y = instance("squared")
    patterns = sample_patterns(np.hstack([X, np.ones((len(X), 1))]), 60, 0)
    result = solve_convex_relu(X, y, 1e-5, patterns, time_limit=1e-9, tol=1e-12)
    assert result.status is Status.TIME_LIMIT
    assert_valid(result, ConvexReLUProblem(X, y, 1e-5))


def test_iteration_limit():
    X, y = instance("squared")
    result = solve_convex_relu(X, y, 1e-4, max_iter=1, tol=1e-9)
    assert result.status is Status.ITERATION_LIMIT
    assert result.stats["rounds"] <= 1
    assert_valid(result, ConvexReLUProblem(X, y, 1e-4))


def test_monitor_hears_the_run_as_traced():
    X, y = instance("squared", n=30)
    monitor = StopAfter(10**9)
    result = solve_convex_relu(X, y, 1e-2, callback=monitor)
    assert tuple(monitor.stages) == result.trace.stage
    assert {"constant", "columns", "bound", "done"} <= set(monitor.stages)


@pytest.mark.parametrize(
    "change",
    [
        {"tol": 0.0},
        {"tol": 1.0},
        {"tol": np.nan},
        {"tol": "1e-6"},
        {"gap_tol": -1.0},
        {"max_iter": 0},
        {"max_iter": 2.5},
        {"max_iter": True},
        {"n_starts": 0},
        {"max_work": -1},
        {"random_state": -1},
        {"random_state": "zero"},
        {"random_state": 1.5},
        {"random_state": True},
    ],
    ids=str,
)
def test_bad_options_are_refused(change):
    with pytest.raises(ProblemError, match=next(iter(change))):
        TrainingOptions(**change)
    with pytest.raises(ProblemError, match=next(iter(change))):
        solve_convex_relu(*small(), 0.1, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_limit": 0}, "time_limit"),
        ({"callback": print}, "callback"),
        ({"alpha": 0.0}, "alpha"),
        ({"activation": "gated"}, "patterns"),
        ({"warm_start": "cold"}, "Expected a ReLUNetwork"),
        (
            {"warm_start": ReLUNetwork([np.ones((2, 3)), np.ones((1, 2))], [np.zeros(2), np.zeros(1)])},
            "Expected a network",
        ),
    ],
)
def test_bad_arguments_are_refused_before_any_work(change, message):
    X, y = small()
    with pytest.raises(ProblemError, match=message):
        solve_convex_relu(**{"X": X, "y": y, "alpha": 0.01, **change})

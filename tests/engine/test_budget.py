"""Budgets: time limits, monitors, traces."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rectifold._engine.budget import Budget
from rectifold.core.errors import ProblemError
from rectifold.core.monitor import Monitor, SilentMonitor
from rectifold.core.result import Status


class Recorder:
    def __init__(self, stop_after=None):
        self.events, self.stop_after = [], stop_after

    def event(self, stage, value, bound, elapsed, **counts):
        self.events.append((stage, value, bound, elapsed, counts))

    def should_stop(self):
        return self.stop_after is not None and len(self.events) >= self.stop_after


def test_without_limits_nothing_stops():
    budget = Budget()
    assert not budget.should_stop()
    assert budget.status(Status.OPTIMAL) is Status.OPTIMAL
    assert len(budget.trace()) == 0


def test_time_limit():
    budget = Budget(time_limit=1e-3)
    time.sleep(2e-3)
    assert budget.should_stop()
    assert budget.status(Status.OPTIMAL) is Status.TIME_LIMIT
    assert not Budget(time_limit=1e3).should_stop()


def test_monitor_hears_everything_and_is_traced():
    recorder = Recorder()
    budget = Budget(recorder)
    budget.report("columns", 2.0, neurons=3.0)
    budget.report("bound", 2.0, 1.0)
    assert [e[:3] for e in recorder.events] == [("columns", 2.0, -np.inf), ("bound", 2.0, 1.0)]
    assert recorder.events[0][4] == {"neurons": 3.0}
    trace = budget.trace()
    assert trace.stage == ("columns", "bound")
    np.testing.assert_array_equal(trace.value, [2.0, 2.0])
    np.testing.assert_array_equal(trace.bound, [-np.inf, 1.0])
    assert 0 <= trace.elapsed[0] <= trace.elapsed[1] <= budget.elapsed


def test_an_interruption_stays():
    recorder = Recorder(stop_after=1)
    budget = Budget(recorder)
    assert not budget.should_stop()
    budget.report("columns", 1.0)
    assert budget.should_stop()
    recorder.stop_after = None
    assert budget.should_stop()
    assert budget.status(Status.OPTIMAL) is Status.INTERRUPTED


def test_an_interruption_is_named_before_the_time_limit():
    budget = Budget(Recorder(stop_after=0), time_limit=1e-6)
    time.sleep(1e-4)
    assert budget.should_stop()
    assert budget.status(Status.OPTIMAL) is Status.INTERRUPTED


@pytest.mark.parametrize("limit", [0, -1.0, np.nan, "1", [1.0], True])
def test_bad_time_limits(limit):
    with pytest.raises(ProblemError, match="time_limit"):
        Budget(time_limit=limit)


@pytest.mark.parametrize("callback", [print, object(), 3])
def test_bad_callbacks(callback):
    with pytest.raises(ProblemError, match="callback"):
        Budget(callback)


def test_silent_monitor_is_a_monitor():
    silent = SilentMonitor()
    assert isinstance(silent, Monitor)
    silent.event("x", 1.0, 0.0, 0.0)
    assert not silent.should_stop()

"""Progress and Ctrl-C."""

import io
import os
import signal

import pytest
from rich.console import Console

from rectifold.cli.monitor import ScreenMonitor
from rectifold.core.monitor import Monitor


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120)


def test_it_is_a_monitor_and_keeps_the_events():
    monitor = ScreenMonitor(console(False), "training")
    assert isinstance(monitor, Monitor)
    with monitor:
        monitor.event("pricing", 2.0, -float("inf"), 0.1, neurons=3)
        monitor.event("proof", 2.0, 1.0, 0.2)
    assert (monitor.elapsed, monitor.value) == ([0.1, 0.2], [2.0, 2.0])
    assert not monitor.should_stop()


def test_a_terminal_shows_stage_objective_bound_gap_and_neurons():
    screen = console(True)
    with ScreenMonitor(screen, "training") as monitor:
        monitor.event("pricing", 2.0, 1.5, 0.1, n_neurons=3)
    text = screen.file.getvalue()
    for part in ("training: pricing", "objective 2", "bound 1.5", "gap 25.0 %", "neurons 3"):
        assert part in text


def test_anything_else_stays_quiet():
    screen = console(False)
    with ScreenMonitor(screen, "training") as monitor:
        monitor.event("pricing", 2.0, 1.5, 0.1, n_neurons=3)
        monitor.note("more")
    assert screen.file.getvalue().strip() == ""


def press_ctrl_c_twice() -> None:
    with ScreenMonitor(console(False), "training") as monitor:
        os.kill(os.getpid(), signal.SIGINT)
        assert monitor.should_stop()
        os.kill(os.getpid(), signal.SIGINT)


def test_the_first_ctrl_c_asks_and_the_second_aborts():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c_twice()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("shown", "value"), [("lowest", "-3"), ("highest", "5"), ("latest", "2")])
def test_which_value_is_shown(shown, value):
    screen = console(True)
    with ScreenMonitor(screen, "walking", shown) as monitor:
        for reached in (-3.0, 5.0, 2.0):
            monitor.event("walk", reached, -float("inf"), 0.1, starts=4, pivots=9)
    assert f"walking: walk  objective {value}  starts 4  pivots 9" in screen.file.getvalue()

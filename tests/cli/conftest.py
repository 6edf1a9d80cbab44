"""Small tables, and the command run in this process."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from rectifold.cli import main


class Outcome(NamedTuple):
    """What a run of the command left."""

    code: int
    out: str
    err: str


@pytest.fixture
def rectifold(capsys, tmp_path, monkeypatch):
    """Run the command in a fresh folder; a traceback is never an answer."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def frame():
    """A table with numbers, two and three texts, gaps, a constant column and a target with a kink."""
    rng = np.random.default_rng(0)
    n = 40
    a, b = rng.normal(size=n), 100.0 + 10.0 * rng.normal(size=n)
    colour = np.array(["red", "green", "blue"])[rng.integers(0, 3, n)]
    side = np.array(["left", "right"])[rng.integers(0, 2, n)]
    y = 2.0 * np.maximum(a, 0.0) + 0.05 * b + (colour == "red") + 0.01 * rng.normal(size=n)
    table = pd.DataFrame({"a": a, "b": b, "colour": colour, "side": side, "same": 1.0, "y": y})
    table.loc[[3, 7], "b"] = np.nan
    table.loc[5, "colour"] = None
    table["kind"] = np.where(y > np.median(y), "high", "low")
    return table


@pytest.fixture
def csv(frame, tmp_path) -> Path:
    """The table for regression."""
    path = tmp_path / "table.csv"
    frame.drop(columns="kind").to_csv(path, index=False)
    return path


@pytest.fixture
def classes_csv(frame, tmp_path) -> Path:
    """The table for classification."""
    path = tmp_path / "classes.csv"
    frame.drop(columns="y").to_csv(path, index=False)
    return path


@pytest.fixture
def small_csv(tmp_path) -> Path:
    """A kink in one input: many fits of it cost little."""
    x = np.linspace(-1.0, 1.0, 30)
    path = tmp_path / "small.csv"
    pd.DataFrame({"x": x, "y": np.maximum(x, 0.0) + 0.05 * np.cos(40 * x)}).to_csv(path, index=False)
    return path

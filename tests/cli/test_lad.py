"""``rectifold lad``: coefficients, proofs, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import QuantileRegressor

import rectifold as rf
from rectifold.certify import save_certificate


@pytest.fixture
def numbers(tmp_path):
    """Two inputs and a target with a spread that grows."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.0, 2.0, (150, 2))
    y = 1.0 + X @ [2.0, -1.0] + (0.1 + X[:, 0]) * rng.standard_normal(150)
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": y}).to_csv(tmp_path / "numbers.csv", index=False)
    return X, y


def test_the_median_is_that_of_scikit_learn(rectifold, numbers):
    X, y = numbers
    outcome = rectifold("lad", "numbers.csv", "--target", "y", "--save", "median.npz")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    expected = QuantileRegressor(quantile=0.5, alpha=0.0).fit(X, y)
    net = rf.load("median.npz")
    np.testing.assert_allclose(net.weights[0][0], expected.coef_, atol=1e-8)
    np.testing.assert_allclose(net(X)[:, 0], expected.predict(X), atol=1e-8)
    loss = 0.5 * np.abs(y - expected.predict(X)).mean()
    assert f"{loss:.8f}"[:8] in outcome.out
    assert "Proven (grade INTERVAL)" in outcome.out
    assert "150 rows, 2 inputs; quantiles of y." in outcome.out
    assert "standardised" not in outcome.out


def test_several_quantiles_become_outputs(rectifold, numbers):
    X, y = numbers
    outcome = rectifold("lad", "numbers.csv", "--target", "y", "--quantile", "0.9,0.1", "--save", "fan.npz")
    assert outcome.code == 0, outcome.err
    below = (y[:, None] < rf.load("fan.npz")(X)).mean(axis=0)
    np.testing.assert_allclose(below, [0.1, 0.9], atol=0.03)
    assert "2 quantiles in" in outcome.out


def test_penalty_text_columns_and_missing_targets(rectifold, frame, tmp_path):
    frame.loc[0, "y"] = np.nan
    frame.drop(columns="kind").to_csv(tmp_path / "table.csv", index=False)
    outcome = rectifold("lad", "table.csv", "--target", "y", "--alpha", 0.1)
    assert outcome.code == 0, outcome.err
    for words in (
        "1 rows without a value of y",
        "one-hot",
        "Inputs not standardised",
        "colour=red",
        "grade INTERVAL",
    ):
        assert words in outcome.out


def test_time_limit_gives_what_there_is(rectifold, numbers):
    outcome = rectifold("lad", "numbers.csv", "--target", "y", "--time-limit", 1e-9)
    assert outcome.code == 0, outcome.err
    assert "The time limit ended the run" in outcome.out
    assert "none" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["numbers.csv"], "say which column to predict"),
        (["numbers.csv", "--target", "y", "--quantile", "1"], "strictly between 0 and 1"),
        (["numbers.csv", "--target", "y", "--quantile", "half"], "'half' is not a number"),
        (["numbers.csv", "--target", "y", "--alpha", -1], "alpha must be a finite number >= 0"),
        (["numbers.csv", "--target", "y", "--seed", -1], "--seed must not be negative"),
        (["numbers.csv", "--target", "y", "--time-limit", -1], "--time-limit must be a positive number"),
        (["numbers.csv", "--target", "y", "--save", "net.txt"], "--save writes .npz or .onnx"),
        (["nowhere.csv", "--target", "y"], "there is no file nowhere.csv"),
        (["wine", "--target", "colour"], "has no column"),
    ],
)
def test_bad_input_is_one_line(rectifold, numbers, arguments, message):
    outcome = rectifold("lad", *arguments)
    assert outcome.code == 2, outcome.out
    assert outcome.err.startswith("rectifold: error: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


def test_saved_certificates_are_verified_if_they_hold_their_data(rectifold, numbers):
    certificate = rf.solve_lad(*numbers).certificate
    save_certificate(certificate, "full.npz", include_data=True)
    save_certificate(certificate, "light.json")
    outcome = rectifold("verify", "full.npz")
    assert outcome.code == 0, outcome.err
    assert "verdict      holds" in outcome.out
    outcome = rectifold("verify", "light.json")
    assert outcome.code == 2
    assert "problem" in outcome.err
    save_certificate(replace(certificate, coef=certificate.coef + 0.1), "full.npz", include_data=True)
    assert rectifold("verify", "full.npz").code == 1

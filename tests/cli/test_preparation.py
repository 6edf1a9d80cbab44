"""Imputation, one-hot encoding, scaling and folding."""

import json

import numpy as np
import pandas as pd
import pytest

from rectifold.cli.preparation import MAX_CATEGORIES, Preparation
from rectifold.cli.tables import read_source
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "n": [1.0, np.nan, 3.0, 5.0],
            "two": ["no", "yes", None, "yes"],
            "three": ["b", "a", "c", "a"],
            "flag": [True, False, True, True],
        }
    )


def test_encoding_by_hand(table):
    preparation = Preparation.learn(table, standardize=False)
    assert preparation.inputs == ("n", "two=yes", "three=a", "three=b", "three=c", "flag")
    expected = [[1, 0, 0, 1, 0, 1], [3, 1, 1, 0, 0, 0], [3, 1, 0, 0, 1, 1], [5, 1, 1, 0, 0, 1]]
    np.testing.assert_array_equal(preparation.encode(table), expected)


def test_new_texts_are_zeros_and_new_gaps_are_filled(table):
    preparation = Preparation.learn(table, standardize=False)
    new = pd.DataFrame({"n": [np.nan], "two": ["perhaps"], "three": ["z"], "flag": [False], "more": [1]})
    np.testing.assert_array_equal(preparation.encode(new), [[3, 0, 0, 0, 0, 0]])


def test_ties_of_the_most_frequent_text_do_not_depend_on_the_order_of_rows():
    table = pd.DataFrame({"t": ["b", "a", "a", "b", None]})
    assert {Preparation.learn(table.iloc[order]).columns[0].fill for order in ([0, 1, 2, 3, 4], [4, 2, 1, 3, 0])} == {
        "a"
    }


def test_scaling_and_folding_agree(table):
    preparation = Preparation.learn(table)
    raw = preparation.encode(table)
    scaled = preparation.standardize(raw)
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-15)
    rng = np.random.default_rng(0)
    network = ReLUNetwork([rng.normal(size=(4, 6)), rng.normal(size=(2, 4))], [rng.normal(size=4), rng.normal(size=2)])
    np.testing.assert_allclose(preparation.fold(network)(raw), network(scaled), atol=1e-12)
    constant = ReLUNetwork([np.zeros((0, 6)), np.zeros((1, 0))], [np.zeros(0), [2.0]])
    np.testing.assert_array_equal(preparation.fold(constant)(raw), np.full((4, 1), 2.0))


def test_plain_data_and_back(table):
    preparation = Preparation.learn(table)
    columns = json.loads(json.dumps(preparation.to_json()))
    again = Preparation.from_json(columns, preparation.mean, preparation.scale)
    np.testing.assert_array_equal(
        again.standardize(again.encode(table)), preparation.standardize(preparation.encode(table))
    )


def test_identifiers_and_empty_columns_are_left_out_and_said():
    n = MAX_CATEGORIES + 1
    table = pd.DataFrame({"id": [f"r{i}" for i in range(n)], "none": [None] * n, "x": np.arange(n, dtype=float)})
    preparation = Preparation.learn(table)
    assert preparation.inputs == ("x",)
    said = " ".join(preparation.sentences(True))
    assert "Column id holds 51 different texts" in said
    assert "Column none is empty" in said


def test_columns_that_are_gone_or_changed_are_refused(table):
    preparation = Preparation.learn(table)
    with pytest.raises(ProblemError, match="no column 'two'"):
        preparation.encode(table.drop(columns="two"))
    with pytest.raises(ProblemError, match="held numbers in training"):
        preparation.encode(table.assign(n=["a", "b", "c", "d"]))


def test_question_marks_and_empty_cells_are_missing_values(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffa, b ,y\n1,?,3\n,2,4\n", encoding="utf-8")
    frame = read_source(str(tmp_path / "t.csv")).frame
    assert list(frame.columns) == ["a", "b", "y"]
    np.testing.assert_array_equal(frame.isna().to_numpy(), [[False, True, False], [True, False, False]])
    assert frame["b"].dtype.kind == "f"

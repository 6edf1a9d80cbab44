"""Parquet files in batches: columns, order, refusals."""

import numpy as np
import pytest

from rectifold.core.errors import ProblemError
from rectifold.io import parquet_batches

pa = pytest.importorskip("pyarrow", reason="reads Parquet")
parquet = pytest.importorskip("pyarrow.parquet", reason="reads Parquet")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data.parquet"
    parquet.write_table(pa.table({"a": [1, 2, 3], "b": [4.0, 5.0, 6.0], "name": ["p", "q", "r"]}), path)
    return path


def test_each_call_starts_again(file):
    open_batches = parquet_batches(file, "b", ["a"], batch_rows=2)
    for _ in range(2):
        (X0, y0), (X1, y1) = open_batches()
        np.testing.assert_array_equal(np.vstack([X0, X1]), [[1.0], [2.0], [3.0]])
        np.testing.assert_array_equal(np.append(y0, y1), [4.0, 5.0, 6.0])
        assert len(y0) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("c", ["a"]), "no column 'c'"),
        (("b", ["a", "z"]), "no column 'z'"),
        (("b", ["a"], 0), "batch_rows"),
    ],
)
def test_bad_requests(file, args, message):
    target, features, *rows = args
    with pytest.raises(ProblemError, match=message):
        parquet_batches(file, target, features, **({"batch_rows": rows[0]} if rows else {}))


def test_text_is_refused(file):
    with pytest.raises(ProblemError, match="'name' is not numeric"):
        list(parquet_batches(file, "b")())


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "no.parquet"
    path.write_text("nothing")
    with pytest.raises(ProblemError, match="not a readable Parquet"):
        parquet_batches(path, "b")
    with pytest.raises(ProblemError, match="not a readable Parquet"):
        parquet_batches(tmp_path / "absent.parquet", "b")
    with pytest.raises(ProblemError, match="at least one file"):
        parquet_batches([], "b")

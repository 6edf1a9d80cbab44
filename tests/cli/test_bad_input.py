"""Every bad input is one line on standard error and exit code 2."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

GOOD = "a,b,y\n" + "\n".join(f"{i},{i * i % 7},{i % 5}.5" for i in range(12)) + "\n"

FILES = {
    "good.csv": GOOD,
    "empty.csv": "",
    "blank.csv": "\n\n",
    "header.csv": "a,b,y\n",
    "ragged.csv": "a,b,y\n1,2,3\n1,2,3,4,5\n",
    "binary.csv": b"\xff\xfe\x00\x81\x8d\x00\n\x00",
    "fake.parquet": "this is not parquet",
    "notes.docx": "word",
    "text_target.csv": "a,y\n" + "\n".join(f"{i},word{i % 3}" for i in range(12)),
    "one_class.csv": "a,y\n" + "\n".join(f"{i},same" for i in range(12)),
    "flat.csv": "a,y\n" + "\n".join(f"{i},7" for i in range(12)),
    "one_row.csv": "a,y\n1,2\n",
    "only_target.csv": "y\n1\n2\n3\n",
    "no_values.csv": "a,y\n1,\n2,\n",
    "infinite.csv": GOOD + "inf,1,2\n" * 8,
    "infinite_target.csv": GOOD + "1,1,inf\n" * 8,
    "constant_columns.csv": "a,b,y\n" + "\n".join(f"1,x,{i}.5" for i in range(12)),
    "few.csv": "a,y\n1,2\n2,3\n3,5\n",
}

CASES = [
    (["nowhere.csv", "--target", "y"], "there is no file nowhere.csv"),
    (["titanic"], "there is no file titanic"),
    (["."], "is a folder"),
    (["good.csv"], "say which column to predict with --target; good.csv has: a, b, y"),
    (["good.csv", "--target", "price"], "has no column 'price'; it has: a, b, y"),
    (["empty.csv", "--target", "y"], "is empty"),
    (["blank.csv", "--target", "y"], "is empty"),
    (["header.csv", "--target", "y"], "has no rows"),
    (["ragged.csv", "--target", "y"], "cannot read ragged.csv"),
    (["binary.csv", "--target", "y"], "cannot read binary.csv"),
    (["fake.parquet", "--target", "y"], "cannot read fake.parquet"),
    (["notes.docx", "--target", "y"], "unknown kind of file"),
    (["text_target.csv", "--target", "y"], "holds text such as 'word0'; add --classify"),
    (["one_class.csv", "--target", "y", "--classify"], "has a single class in the training part: same"),
    (["flat.csv", "--target", "y"], "is 7 in every training row"),
    (["one_row.csv", "--target", "y"], "too few rows"),
    (["only_target.csv", "--target", "y"], "has no column besides the target"),
    (["no_values.csv", "--target", "y"], "has no value in any row"),
    (["infinite.csv", "--target", "y"], "column 'a' holds infinite values"),
    (["infinite_target.csv", "--target", "y"], "the target 'y' holds infinite values"),
    (["constant_columns.csv", "--target", "y"], "no usable column: Column a is constant"),
    (["few.csv", "--target", "y"], "give one with --alpha"),
    (["good.csv", "--target", "y", "--classify"], "is a measurement, not a class"),
    (["good.csv", "--target", "y", "--alpha", "0"], "--alpha must be positive"),
    (["good.csv", "--target", "y", "--alpha=-1"], "--alpha must be positive"),
    (["good.csv", "--target", "y", "--alpha", "nan"], "--alpha must be positive"),
    (["good.csv", "--target", "y", "--alpha", "small"], "'auto' or a positive number"),
    (["good.csv", "--target", "y", "--alpha", "1", "--path"], "either --path or --alpha"),
    (["good.csv", "--target", "y", "--test-size", "1"], "--test-size"),
    (["good.csv", "--target", "y", "--time-limit", "0"], "--time-limit"),
    (["good.csv", "--target", "y", "--max-work", "-1"], "--max-work"),
    (["good.csv", "--target", "y", "--seed=-1"], "--seed"),
    (["good.csv", "--target", "y", "--save", "net.txt"], ".npz or .onnx"),
    (["good.csv", "--target", "y", "--save", "missing/net.npz"], "there is no folder missing"),
    (["good.csv", "--target", "y", "--report", "."], "is a folder"),
    (["good.csv", "--target", "y", "--wrong-option"], "--wrong-option"),
    ([], "rectifold --help"),
]


@pytest.fixture
def files(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


@pytest.mark.parametrize(("arguments", "message"), CASES, ids=[" ".join(case[0]) or "nothing" for case in CASES])
def test_bad_input_is_one_line(rectifold, files, arguments, message):
    before = sorted(files.iterdir())
    outcome = rectifold("fit", *arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("rectifold: error: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert sorted(files.iterdir()) == before


def test_an_unknown_command_is_refused(rectifold):
    outcome = rectifold("train", "diabetes")
    assert outcome.code == 2
    assert "train" in outcome.err


def test_missing_onnx_is_answered_before_the_work(rectifold, csv, monkeypatch):
    from rectifold.cli import options

    monkeypatch.setattr(options, "find_spec", lambda name: None)
    outcome = rectifold("fit", csv, "--target", "y", "--save", "net.onnx")
    assert outcome.code == 2
    assert "pip install 'rectifold[onnx]'" in outcome.err


def test_parquet_with_odd_columns(rectifold, tmp_path):
    n = 20
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=n),
            "id": [f"row{i}" for i in range(n)],
            "flag": rng.integers(0, 2, n).astype(bool),
            "count": pd.array([None, *range(n - 1)], dtype="Int64"),
            "y": rng.normal(size=n),
        }
    )
    table.to_parquet(tmp_path / "odd.parquet")
    outcome = rectifold("fit", "odd.parquet", "--target", "y", "--alpha", 0.1)
    assert outcome.code == 0, outcome.err
    assert "Column when holds dates or times and is left out." in outcome.out
    assert "id (16)" in outcome.out


@pytest.mark.parametrize("missing", ["rich", "cyclopts", "pandas"])
def test_the_base_install_answers_with_the_pip_line(missing, tmp_path):
    code = f"import sys; sys.modules[{missing!r}] = None; from rectifold.cli import main; sys.exit(main(['version']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ), check=False
    )
    if missing == "pandas":  # only `fit` and `verify` read tables
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 2
    assert done.stderr == f"rectifold: error: the command needs {missing}: pip install 'rectifold[cli]'\n"


def test_fit_without_pandas_answers_with_the_pip_line(tmp_path):
    code = "import sys; sys.modules['pandas'] = None; from rectifold.cli import main; sys.exit(main(['fit', 'wine']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr == "rectifold: error: this needs pandas: pip install 'rectifold[cli]'\n"


def test_importing_the_command_needs_the_base_install_only():
    code = (
        "import sys, rectifold.cli\n"
        "heavy = {'rich', 'cyclopts', 'pandas', 'matplotlib', 'jinja2', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_and_version(rectifold):
    import rectifold as rf

    outcome = rectifold("fit", "--help")
    assert outcome.code == 0
    options = ("--target", "--alpha", "--path", "--classify", "--report", "--save", "--time-limit", "--max-work")
    for option in (*options, "--test-size"):
        assert option in outcome.out
    assert rectifold("version").out.split()[1] == rf.__version__

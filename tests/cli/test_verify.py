"""``rectifold verify``: the claim of a saved network, from the data alone."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import rectifold as rf
from rectifold.certify.storage import certificate_arrays
from rectifold.cli.model_file import load_model


@pytest.fixture
def model(rectifold, csv, tmp_path):
    outcome = rectifold("fit", csv, "--target", "y", "--alpha", 0.05, "--save", "net.npz")
    assert outcome.code == 0, outcome.err
    return tmp_path / "net.npz"


def change(model, name, value):
    """Write the model file anew with one entry changed."""
    with np.load(model) as stored:
        arrays = dict(stored)
    if name in arrays:
        arrays[name] = value(arrays[name])
    else:
        plain = json.loads(str(arrays["extra_json"]))
        plain[name] = value(plain[name])
        arrays["extra_json"] = np.array(json.dumps(plain))
    np.savez(model, **arrays)


def test_an_honest_model_holds(rectifold, model, csv):
    outcome = rectifold("verify", model, csv)
    assert outcome.code == 0, outcome.out + outcome.err
    assert "verdict    holds" in outcome.out


@pytest.mark.parametrize("task", ["two classes", "three classes"])
def test_classification_holds(rectifold, classes_csv, frame, tmp_path, task):
    data = classes_csv
    if task == "three classes":
        data = tmp_path / "three.csv"
        frame.drop(columns="y").to_csv(data, index=False)
    target = "kind" if task == "two classes" else "colour"
    options = ("--classify", "--alpha", 0.1, "--time-limit", 1, "--save", "c.npz")
    assert rectifold("fit", data, "--target", target, *options).code == 0
    outcome = rectifold("verify", "c.npz", data)
    assert outcome.code == 0, outcome.out + outcome.err


def test_changed_data_do_not_hold(rectifold, model, csv, tmp_path):
    table = pd.read_csv(csv)
    row = load_model(model).train[0]
    for column in ("y", "a"):
        changed = table.copy()
        changed.loc[row, column] += 0.5
        changed.to_csv(tmp_path / "changed.csv", index=False)
        outcome = rectifold("verify", model, "changed.csv")
        assert outcome.code in (1, 2), outcome.out
        assert "verdict    holds" not in outcome.out


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("W1", lambda w: 1.01 * w),
        ("extra/unfolded/W1", lambda w: 1.01 * w),
        ("alpha", lambda text: (2 * float.fromhex(text)).hex()),
        ("extra/scale", lambda s: 1.01 * s),
        ("extra/train", lambda rows: rows[:-1]),
    ],
)
def test_a_changed_model_does_not_hold(rectifold, model, csv, entry, value):
    change(model, entry, value)
    outcome = rectifold("verify", model, csv)
    assert outcome.code in (1, 2)
    assert "verdict    holds" not in outcome.out


def test_a_raised_bound_does_not_hold(rectifold, model, csv):
    def raise_bound(text):
        head = json.loads(text.tobytes())
        head["lower_bound"] = (1.5 * float.fromhex(head["objective"])).hex()
        return np.frombuffer(json.dumps(head).encode(), np.uint8)

    change(model, "extra/certificate.json", raise_bound)
    outcome = rectifold("verify", model, csv)
    assert outcome.code == 1
    assert "DOES NOT HOLD" in outcome.out


def test_what_cannot_be_verified_is_bad_input(rectifold, model, csv, tmp_path):
    for arguments, message in [
        (("nowhere.npz", csv), "cannot read nowhere.npz"),
        ((csv, csv), "not a readable .npz"),
        ((model, "wine"), "has no column 'y'"),
        ((model, "nowhere.csv"), "there is no file"),
    ]:
        outcome = rectifold("verify", *arguments)
        assert outcome.code == 2
        assert message in outcome.err
    short = tmp_path / "short.csv"
    pd.read_csv(csv).iloc[:-1].to_csv(short, index=False)
    assert "40 rows with a target" in rectifold("verify", model, short).err
    missing = tmp_path / "missing.csv"
    pd.read_csv(csv).drop(columns="a").to_csv(missing, index=False)
    assert "no column 'a'" in rectifold("verify", model, missing).err


def test_files_of_another_kind_and_damaged_ones_are_refused(rectifold, model, csv, tmp_path):
    other = tmp_path / "other.npz"
    shutil.copy(model, other)
    change(other, "kind", lambda kind: "something else")
    assert "was not written by" in rectifold("verify", other, csv).err
    shutil.copy(model, other)
    change(other, "extra/certificate.json", lambda text: np.frombuffer(b"{}", np.uint8))
    assert "no certificate" in rectifold("verify", other, csv).err
    shutil.copy(model, other)
    minimum = certificate_arrays(
        rf.minimize(rf.load(model), rf.Box(np.zeros(load_model(model).network.n_inputs), 1.0)).certificate
    )
    change(other, "extra/certificate.json", lambda text: minimum["json"])
    assert rectifold("verify", other, csv).code == 2

"""The native format: exact round trips, metadata, foreign files, and failures that leave nothing behind."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifold.core import ProblemError, ReLUNetwork
from rectifold.io import load, load_npz, save, save_npz

DATA = os.environ.get("RECTIFOLD_DATA")


def random_network(seed, widths):
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((b, a)) for a, b in itertools.pairwise(widths)]
    biases = [rng.standard_normal(b) for b in widths[1:]]
    kinds = [(0.0, 1.0), (0.1, 1.0), (-1.0, 1.0), "units"]
    picked = [kinds[rng.integers(len(kinds))] for _ in widths[1:-1]]
    slopes = [rng.standard_normal((2, n)) if k == "units" else k for k, n in zip(picked, widths[1:-1], strict=True)]
    return ReLUNetwork(weights, biases, slopes)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    widths=st.tuples(st.integers(1, 4), st.lists(st.integers(0, 4), max_size=3), st.integers(1, 3)),
    suffix=st.sampled_from([".npz", ".onnx"]),
)
def test_round_trip_keeps_every_bit(tmp_path_factory, seed, widths, suffix):
    net = random_network(seed, (widths[0], *widths[1], widths[2]))
    path = tmp_path_factory.mktemp("net") / f"net{suffix}"
    save(net, path)
    assert load(path).digest() == net.digest()
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_metadata_of_every_kind(tmp_path):
    net, unfolded = random_network(0, (3, 4, 1)), random_network(1, (2, 3, 2))
    extra = {
        "target": "price",
        "columns": ["a", "b", "ü"],
        "split": {"seed": 0, "test_size": np.float64(0.2), "n": np.int64(7)},
        "mean": np.array([1.0, np.nan]),
        "names": np.array(["x", "yy"]),
        "rows": np.arange(5, dtype=np.int32),
        "unfolded": unfolded,
        "nothing": None,
    }
    save_npz(net, tmp_path / "net.npz", extra)
    got_net, got = load_npz(tmp_path / "net.npz", with_extra=True)
    assert got_net.digest() == net.digest() == load_npz(tmp_path / "net.npz").digest()
    assert got.pop("unfolded").digest() == unfolded.digest()
    assert got["rows"].dtype == np.int32
    for name in ("mean", "names", "rows"):
        np.testing.assert_array_equal(got.pop(name), extra[name])
    assert got == {
        "target": "price",
        "columns": ["a", "b", "ü"],
        "split": {"seed": 0, "test_size": 0.2, "n": 7},
        "nothing": None,
    }


@pytest.mark.parametrize(
    "extra", [{"a/b": 1}, {"": 1}, {"f": print}, {"o": np.array([{}], dtype=object)}, {"nested": {"x": np.ones(2)}}]
)
def test_metadata_that_cannot_be_stored_writes_nothing(tmp_path, extra):
    with pytest.raises(ProblemError, match="metadata"):
        save_npz(random_network(0, (1, 1)), tmp_path / "net.npz", extra)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".npz", ".onnx"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"net{suffix}"
    save(random_network(0, (2, 3, 1)), path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ProblemError, match=r"cannot write .*No space left"):
        save(random_network(1, (2, 3, 1)), path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_missing_folder_suffix_and_type(tmp_path):
    net = random_network(0, (2, 1))
    with pytest.raises(ProblemError, match="cannot write"):
        save(net, tmp_path / "no" / "net.npz")
    for path in ("net.nnet", "net", "net.txt"):
        with pytest.raises(ProblemError, match=r"supported: \.npz, \.onnx"):
            save(net, tmp_path / path)
        with pytest.raises(ProblemError, match=r"supported: \.npz, \.onnx"):
            load(tmp_path / path)
    with pytest.raises(ProblemError, match="file name"):
        load(3)
    for suffix in (".npz", ".onnx"):
        with pytest.raises(ProblemError, match="ReLUNetwork"):
            save("net", tmp_path / f"net{suffix}")
        with pytest.raises(ProblemError, match="cannot read"):
            load(tmp_path / f"absent{suffix}")
        with pytest.raises(ProblemError, match="cannot read"):
            load(str(tmp_path / f"nul\0{suffix}"))
        with pytest.raises(ProblemError, match="cannot write"):
            save(net, str(tmp_path / f"nul\0{suffix}"))
    assert not list(tmp_path.iterdir())


def npz_of(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "npy"])
def test_unreadable_files(tmp_path, damage):
    path = tmp_path / "net.npz"
    save_npz(random_network(0, (2, 3, 1)), path)
    contents = {"text": b"hello", "empty": b"", "cut": path.read_bytes()[:300], "npy": b"\x93NUMPY\x01\x00"}
    path.write_bytes(contents[damage])
    with pytest.raises(ProblemError, match=r"net\.npz"):
        load_npz(path)


def test_files_without_a_network(tmp_path):
    path = tmp_path / "net.npz"
    good = {"n_layers": np.array(1), "W0": np.ones((1, 2)), "b0": np.ones(1)}
    cases = [
        ({"X": np.ones(3)}, "n_layers is missing"),
        ({"n_layers": np.array(1), "W0": np.ones((1, 2))}, "'b0' is missing"),
        (good | {"n_layers": np.array(1.5)}, "positive integer"),
        (good | {"n_layers": np.array(0)}, "positive integer"),
        (good | {"W0": np.full((1, 2), np.nan)}, "NaN"),
        (good | {"b0": np.ones(2)}, r"biases\[0\]"),
        (good | {"b0": np.array([{}], dtype=object)}, "not a readable"),
    ]
    for arrays, message in cases:
        with pytest.raises(ProblemError, match=message):
            load_npz(npz_of(path, **arrays))
    with pytest.raises(ProblemError, match="metadata"):
        load_npz(npz_of(path, **good, extra_json=np.array("{")), with_extra=True)


def test_foreign_entries_are_metadata(tmp_path):
    path = npz_of(
        tmp_path / "net.npz", n_layers=np.array(1), W0=np.ones((1, 2), np.float32), b0=np.ones(1), lo=np.ones(2)
    )
    net, extra = load_npz(path, with_extra=True)
    assert net([1.0, 1.0]).tolist() == [3.0]
    assert set(extra) == {"lo"}


@pytest.mark.skipif(DATA is None, reason="RECTIFOLD_DATA is not set")
def test_shared_networks_agree_in_both_formats():
    folder = Path(DATA) / "networks"
    names = json.loads((folder / "cases_public.json").read_text())
    assert names
    for name in names:
        if (folder / f"{name}.npz").exists():
            assert load(folder / f"{name}.npz").digest() == load(folder / f"{name}.onnx").digest()
    matrix, conv = load(folder / "c_conv4x4.npz"), load(folder / "c_conv4x4_conv.onnx")
    X = np.random.default_rng(0).uniform(-1, 1, (50, 16))
    np.testing.assert_allclose(conv(X), matrix(X), rtol=1e-12)
    np.testing.assert_array_equal(conv.activation_pattern(X), matrix.activation_pattern(X))

"""Data sets from scikit-learn, local folders and (never in tests) the network."""

import gzip
import hashlib
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from rectifold.core.errors import BackendNotFoundError, ProblemError
from rectifold.datasets import BUILTIN, UCI, Table, load_builtin, load_diabetes, load_images, load_mnist, load_uci
from rectifold.datasets import fetch as fetch_module
from rectifold.datasets.mnist import read_idx

DATA = os.environ.get("RECTIFOLD_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="RECTIFOLD_DATA names no data folder")


def write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_tables(name):
    table = load_builtin(name)
    assert table.task == BUILTIN[name]
    assert np.isfinite(table.data).all()
    assert not table.data.flags.writeable
    assert (table.target.dtype.kind == "f") == (table.task == "regression")


def test_diabetes_is_in_its_own_units():
    table = load_diabetes()
    assert table.data.shape == (442, 10)
    assert 18 < table.data[:, table.feature_names.index("age")].mean() < 80
    with pytest.raises(ProblemError, match="diabetes, breast_cancer"):
        load_builtin("titanic")


def test_a_table_must_be_consistent():
    with pytest.raises(ProblemError, match="do not match"):
        Table("t", np.zeros((3, 1)), np.zeros(2), ("a",), "y", "regression")
    with pytest.raises(ProblemError, match="feature names"):
        Table("t", np.zeros((3, 2)), np.zeros(3), ("a",), "y", "regression")


def test_uci_from_a_local_folder(tmp_path, monkeypatch):
    folder = tmp_path / "uci"
    folder.mkdir()
    (folder / "yacht.csv.gz").write_bytes(gzip.compress(b"1,2,3\n4,5,6\n7,8,9\n"))
    (folder / "yacht.testmask.csv.gz").write_bytes(gzip.compress(b"0,1\n0,0\n1,0\n"))
    monkeypatch.setenv("RECTIFOLD_DATA", str(tmp_path))
    table = load_uci("yacht")
    np.testing.assert_array_equal(table.target, [3.0, 6.0, 9.0])
    np.testing.assert_array_equal(table.splits[0][0], [0, 1])
    np.testing.assert_array_equal(table.splits[1][1], [0])


def test_uci_refuses_unknown_names_and_broken_files(tmp_path):
    with pytest.raises(ProblemError, match="there are airfoil"):
        load_uci("iris")
    (tmp_path / "uci").mkdir()
    (tmp_path / "uci" / "pima.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(ProblemError, match="not a readable table"):
        load_uci("pima", data_home=tmp_path)
    with pytest.raises(ProblemError, match="cannot be downloaded"):
        load_uci("sonar", data_home=tmp_path)


def test_mnist_from_idx_files(tmp_path):
    rng = np.random.default_rng(0)
    for part, size in (("train", 6), ("t10k", 4)):
        write_idx(tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (size, 28, 28)))
        write_idx(tmp_path / "mnist" / f"{part}-labels-idx1-ubyte.gz", np.arange(size) % 3)
    table = load_mnist((0, 2), data_home=tmp_path)
    np.testing.assert_array_equal(table.target, [0, 2, 0, 2, 0, 2, 0])
    np.testing.assert_array_equal(table.splits[0][1], [4, 5, 6])
    assert table.data.max() <= 1.0
    with pytest.raises(ProblemError, match="digits"):
        load_mnist((3, 12), data_home=tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\x05ab", b"\0\0\x0d\x01\0\0\0\x02ab"])
def test_broken_idx_files_are_refused(tmp_path, content):
    path = tmp_path / "broken.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(ProblemError, match="idx file"):
        read_idx(path)


def test_a_missing_pooch_is_answered_with_the_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(BackendNotFoundError, match="pip install"):
        load_uci("airfoil", data_home=tmp_path)


def test_a_download_is_checked_against_its_checksum(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch", reason="downloads need the package pooch")
    source = tmp_path / "published.csv.gz"
    source.write_bytes(gzip.compress(b"1,2\n3,4\n", mtime=0))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar=False: copy_from_file)
    monkeypatch.delenv("RECTIFOLD_DATA", raising=False)
    for checksum, accepted in ((digest, True), ("0" * 64, False)):
        monkeypatch.setattr(fetch_module, "_registry", lambda c=checksum: {f"x/{c[:4]}": (c, source.as_uri())})
        if accepted:
            assert fetch_module.fetch(f"x/{checksum[:4]}").read_bytes() == source.read_bytes()
        else:
            with pytest.raises(ProblemError, match="could not download"):
                fetch_module.fetch(f"x/{checksum[:4]}")


def copy_from_file(url: str, output_file: str, pooch: object) -> None:
    Path(output_file).write_bytes(Path(url.removeprefix("file://")).read_bytes())


def test_images_refuse_unknown_sets():
    with pytest.raises(ProblemError, match="set11"):
        load_images("kodak")


@needs_data
@pytest.mark.parametrize(("name", "shape"), [("airfoil", (1503, 5)), ("banknote", (1372, 4))])
def test_uci_shapes(name, shape):
    table = load_uci(name)
    assert table.data.shape == shape
    assert len(table.splits) == (10 if UCI[name] == "regression" else 0)


@needs_data
def test_local_files_are_the_published_ones():
    for name, (checksum, _) in fetch_module._registry().items():
        path = Path(DATA) / name
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == checksum, name


@needs_data
def test_mnist_counts():
    table = load_mnist()
    train, test = table.splits[0]
    np.testing.assert_array_equal(
        np.bincount(table.target[train]), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    )
    assert test.shape == (10000,)

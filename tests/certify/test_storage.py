from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from certify.certified_cases import EVIDENCE, LOSSES, certified, cone_certified, problem_of

from rectifold.certify import load_certificate, save_certificate, verify
from rectifold.core.certificate import ConeTrees
from rectifold.core.certificate_format import from_arrays, to_arrays
from rectifold.core.errors import CertificateError


def same(a, b):
    left, right = to_arrays(a), to_arrays(b)
    return left.keys() == right.keys() and all(np.array_equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("kind", EVIDENCE)
def test_round_trip_without_data(tmp_path, kind, suffix):
    c, path = certified(kind), tmp_path / f"proof{suffix}"
    save_certificate(c, path)
    back = load_certificate(path)
    assert same(c, back)
    assert back.problem is None
    assert verify(back, problem=problem_of(), grade="interval").holds
    assert sorted(p.suffix for p in tmp_path.iterdir()) == sorted({suffix, ".npz"})


@pytest.mark.parametrize(
    "switches", [{}, {"hidden_bias": "free"}, {"hidden_bias": False, "fit_intercept": False}, {"outputs": 3}], ids=str
)
@pytest.mark.parametrize("loss", LOSSES)
def test_round_trip_with_data(tmp_path, loss, switches):
    if loss == "logistic" and "outputs" in switches:
        switches = {"alpha": 0.01}  # one output only
    c, path = certified("trees", loss, **switches), tmp_path / "proof.npz"
    save_certificate(c, path, include_data=True)
    back = load_certificate(path)
    assert back.problem.digest == c.problem_digest
    assert verify(back, grade="interval").holds


@pytest.mark.parametrize("stored", [True, False])
def test_cone_trees_with_and_without_leaves(tmp_path, stored):
    c, path = cone_certified(stored=stored), tmp_path / "proof.npz"
    save_certificate(c, path)
    back = load_certificate(path)
    assert same(c, back)
    for tree, read in zip(c.evidence.trees, back.evidence.trees, strict=True):
        assert (read.output, read.sign, read.bound) == (tree.output, tree.sign, tree.bound)
        assert read.nodes.dtype == np.uint16
        assert (read.leaves is not None) == stored
    assert verify(back, problem=problem_of(), grade="interval").holds


def test_streams_are_compressed(tmp_path):
    c = cone_certified(stored=False)
    tree = replace(c.evidence.trees[0], nodes=np.resize(c.evidence.trees[0].nodes, 200_000))
    save_certificate(replace(c, evidence=ConeTrees((tree,))), tmp_path / "proof.npz")
    assert (tmp_path / "proof.npz").stat().st_size < 200_000


def test_floats_are_stored_in_hex(tmp_path):
    c, path = certified("spectral"), tmp_path / "proof.json"
    save_certificate(c, path)
    head = json.loads(path.read_text())
    assert float.fromhex(head["lower_bound"]) == c.lower_bound
    assert head["lower_bound"].startswith("0x1.")
    assert not any(np.array_equal(v, c.problem.targets) for v in np.load(tmp_path / "proof.npz").values())


def test_data_that_are_not_there_cannot_be_included(tmp_path):
    with pytest.raises(CertificateError, match="no data"):
        save_certificate(certified("trees").without_data(), tmp_path / "proof.npz", include_data=True)
    assert not list(tmp_path.iterdir())


def test_tampered_data_are_refused():
    arrays = to_arrays(certified("trees"), include_data=True)
    arrays["problem.targets"] = arrays["problem.targets"] + 1.0
    assert not verify(from_arrays(arrays)).holds


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("json"),
        lambda a: a.pop("theta"),
        lambda a: a.pop("tree0.nodes"),
        lambda a: a.pop("tree0.duals"),
        lambda a: a.update({"tree1.alphas": a["tree1.alphas"].astype(np.uint16)}),
        lambda a: a.update({"tree1.rotation": a["tree1.rotation"].astype(np.float32)}),
        lambda a: a.update(json=np.frombuffer(b"{}", np.uint8)),
        lambda a: a.update(json=np.frombuffer(b"\xff\xfe", np.uint8)),
        lambda a: a.update({"tree0.nodes": a["tree0.nodes"].astype(float)}),
        lambda a: a.update({"network.weight0": np.array([["a"]])}),
        lambda a: a.update({"problem.design": a["problem.design"][:-1]}),
        lambda a: a.update({"problem.design": np.full_like(a["problem.design"], np.nan)}),
        lambda a: a.update({"problem.design": a["problem.design"].ravel()}),
    ],
)
def test_unreadable_arrays(change):
    arrays = to_arrays(certified("trees"), include_data=True)
    change(arrays)
    with pytest.raises(CertificateError):
        from_arrays(arrays)


def test_unreadable_files(tmp_path):
    with pytest.raises(CertificateError):
        load_certificate(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "array", np.ones(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name in ("text.npz", "array.npz"):
        with pytest.raises(CertificateError):
            load_certificate(tmp_path / name)
    with pytest.raises(CertificateError, match=r"\.npz or \.json"):
        save_certificate(certified("trees"), tmp_path / "proof.pickle")

"""Certificates of minima and of quantile regression in files."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from programs.network_cases import cube, he_network, pinball_network

import rectifold as rf
from rectifold.certify import load_certificate, save_certificate
from rectifold.certify.storage import certificate_arrays, read_certificate
from rectifold.core.domain import Domain
from rectifold.core.lad import LADProblem
from rectifold.core.layer_l1 import L1Problem, LayerMinimumCertificate, OutputLayerCertificate

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 3)), RNG.standard_normal(60)


def minimum_in_a_polytope():
    net = he_network((4, 15, 15), 1)
    polytope = rf.Polytope(np.vstack([np.eye(4), -np.eye(4), np.ones((1, 4))]), np.append(np.ones(8), 0.5),
                           [[1.0, -1.0, 0.0, 0.0]], [0.25])  # fmt: skip
    return rf.minimize(net, polytope).certificate


def maximum_of_leaky_units():
    plain = he_network((3, 12, 8), 2)
    net = rf.ReLUNetwork(plain.weights, plain.biases, [(0.1, 1.0), (RNG.uniform(-1.0, 0.0, 8), 1.0)])
    return rf.maximize(net, cube(3)).certificate


def convex_minimum():
    rng = np.random.default_rng(3)  # ties: more residuals are zero than there are coefficients
    E = np.column_stack([np.ones(60), rng.integers(0, 2, (60, 4))]).astype(float)
    return rf.minimize(pinball_network(E, rng.integers(0, 5, 60).astype(float), 0.5), cube(5, 10.0)).certificate


def regression(**options):
    return rf.solve_lad(X, Y, 0.3, 0.01, **options).certificate


MINIMA = {"polytope": minimum_in_a_polytope, "maximum": maximum_of_leaky_units, "convex": convex_minimum}


def same(a, b):
    """Field by field, to the bit."""
    assert type(a) is type(b)
    for field in fields(a):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, rf.ReLUNetwork):
            assert left.digest() == right.digest()
        elif isinstance(left, Domain):
            assert all(np.array_equal(p, q) for p, q in zip(left.rows(), right.rows(), strict=True))
            assert all(np.array_equal(p, q) for p, q in zip(left.equalities(), right.equalities(), strict=True))
        elif isinstance(left, LADProblem | L1Problem):
            assert left.digest == right.digest
        else:
            np.testing.assert_array_equal(left, right)
            assert np.asarray(left).dtype == np.asarray(right).dtype


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("case", MINIMA)
def test_minima_come_back_to_the_bit_and_need_nothing_else(tmp_path, case, suffix):
    certificate, path = MINIMA[case](), tmp_path / f"minimum{suffix}"
    assert type(certificate).__name__ == ("ConvexMinimumCertificate" if case == "convex" else "LocalMinimumCertificate")
    save_certificate(certificate, path)
    back = load_certificate(path)
    same(certificate, back)
    assert rf.verify(back)


@pytest.mark.parametrize("weights", [None, RNG.integers(1, 4, 60).astype(float)], ids=["plain", "weighted"])
def test_regressions_with_and_without_data(tmp_path, weights):
    certificate = regression(sample_weight=weights)
    for name, include in (("full", True), ("light", False)):
        save_certificate(certificate, tmp_path / f"{name}.npz", include_data=include)
    full, light = load_certificate(tmp_path / "full.npz"), load_certificate(tmp_path / "light.npz")
    same(certificate, full)
    assert rf.verify(full, grade="interval")
    assert light.problem is None
    assert rf.verify(light, problem=LADProblem(X, Y, 0.3, 0.01, sample_weight=weights), grade="interval")
    assert not rf.verify(light, problem=LADProblem(X, Y + 1e-9, 0.3, 0.01, sample_weight=weights))
    with pytest.raises(rf.CertificateError):
        rf.verify(light)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("kind", ["layer", "output"])
def test_ends_of_layer_training_come_back_to_the_bit(tmp_path, kind, include):
    problem, net = L1Problem(X, Y, RNG.integers(1, 3, 60).astype(float)), he_network((3, 5, 4), 1)
    value = problem.loss(net)
    if kind == "layer":
        parts = (RNG.integers(0, 9, (24, 2)), np.zeros((0, 24)), 2.5)
        certificate = LayerMinimumCertificate(problem, None, net, 1, value, *parts)
    else:
        certificate = OutputLayerCertificate(
            problem, None, net, value, 0.5 * value, RNG.uniform(-1, 1, 60), np.arange(5)
        )
    save_certificate(certificate, tmp_path / "end.npz", include_data=include)
    same(certificate if include else certificate.without_data(), load_certificate(tmp_path / "end.npz"))


def changed(arrays, name, value):
    """The arrays with one of them, or one field of the text, replaced."""
    if name in arrays:
        return {**arrays, name: value(arrays[name])}
    head = json.loads(arrays["json"].tobytes())
    head["fields"][name] = value(head["fields"][name])
    return {**arrays, "json": np.frombuffer(json.dumps(head).encode(), np.uint8)}


def lower(node):
    return {"float": (float.fromhex(node["float"]) - 1e-3).hex()}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("value", lower),
        ("x", lambda x: x + 1e-4 * (np.abs(x) < 0.9)),
        ("constraints", lambda c: c[1:]),
        ("network.weight1", lambda w: 1.001 * w),
        ("network.slope_lo0", lambda s: s + 0.1),
        ("domain.b", lambda b: b + 0.01),
        ("domain.A_eq", lambda A: 2.0 * A),
        ("maximum", lambda m: True),
    ],
)
def test_changed_minima_do_not_hold(name, value):
    arrays = certificate_arrays(minimum_in_a_polytope())
    assert rf.verify(read_certificate(arrays))
    assert not rf.verify(read_certificate(changed(arrays, name, value)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("objective", lower),
        ("lower_bound", lambda node: {"float": (float.fromhex(node["float"]) + 1e-3).hex()}),
        ("coef", lambda c: c + 0.01),
        ("dual", lambda d: 0.9 * d),
        ("problem.y", lambda y: y + 0.1 * np.arange(60)),
        ("problem.X", lambda X: X[::-1]),
    ],
)
def test_changed_regressions_do_not_hold(name, value):
    arrays = certificate_arrays(regression(), include_data=True)
    assert rf.verify(read_certificate(arrays))
    assert not rf.verify(read_certificate(changed(arrays, name, value)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("json", lambda text: np.frombuffer(b"[]", np.uint8)),
        ("json", lambda text: np.frombuffer(b'{"format": "rectifold-certificate/1", "kind": "Box"}', np.uint8)),
        ("value", lambda node: {"float": "zero"}),
        ("value", lambda node: {"pickle": "zero"}),
        ("value", lambda node: {}),
        ("network", lambda node: {"network": 9}),
        ("network.weight1", lambda w: w[:, 1:]),
        ("network.bias0", lambda b: np.full_like(b, np.nan)),
        ("domain.A", lambda A: A[:, 1:]),
        ("domain.b", lambda b: np.array(["b"] * len(b))),
    ],
)
def test_unreadable_arrays_raise(name, value):
    arrays = certificate_arrays(minimum_in_a_polytope())
    with pytest.raises(rf.CertificateError):
        read_certificate(changed(arrays, name, value))
    if name in arrays:
        with pytest.raises(rf.CertificateError):
            read_certificate({key: array for key, array in arrays.items() if key != name})


def test_what_cannot_be_stored_is_refused(tmp_path):
    path = tmp_path / "minimum.npz"
    with pytest.raises(rf.CertificateError, match="no data"):
        save_certificate(regression().without_data(), path, include_data=True)
    with pytest.raises(rf.CertificateError, match="Expected a certificate"):
        save_certificate(rf.minimize(he_network((2, 3), 0), cube(2)), path)
    assert not list(tmp_path.iterdir())

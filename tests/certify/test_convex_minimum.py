from dataclasses import replace

import numpy as np
import pytest
from programs.network_cases import cube, he_network, pinball_minimum, pinball_network, without_biases

import rectifold as rf
from rectifold.core.certificate import ConvexMinimumCertificate


def tied_case(seed, domain=None):
    rng = np.random.default_rng(seed)
    X = np.hstack([np.ones((30, 1)), rng.integers(0, 2, (30, 3)).astype(float)])
    y = rng.integers(0, 5, 30).astype(float)
    return rf.minimize(pinball_network(X, y, 0.5), domain, n_starts=1), pinball_minimum(X, y, 0.5, domain)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("domain", [None, cube(4, 0.5)])
def test_tied_minima_carry_a_zero_subgradient(seed, domain):
    result, optimum = tied_case(seed, domain)
    assert result.value == pytest.approx(optimum, rel=1e-9)
    assert rf.verify(result)


@pytest.fixture(scope="module")
def certificate():
    result, _ = tied_case(3, rf.Polytope(np.ones((1, 4)), [1.0], [[0.0, 0.0, 1.0, -1.0]], [0.0]))
    assert isinstance(result.certificate, ConvexMinimumCertificate)
    assert rf.verify(result)
    return result.certificate


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: {"value": c.value + 1e-6}, "value"),
        (lambda c: {"shares": np.where(np.arange(len(c.units)) == 0, 1.5, c.shares)}, "outside of"),
        (lambda c: {"shares": 1.0 - c.shares}, "balance"),
        (lambda c: {"units": c.units[1:], "shares": c.shares[1:]}, "further kink"),
        (lambda c: {"equality_multipliers": c.equality_multipliers + 1e-3}, "balance"),
        (lambda c: {"maximum": True}, "convex"),
        (lambda c: {"scale": 1e12}, "further kink"),
    ],
)
def test_what_was_changed_is_refused(certificate, change, words):
    verdict = rf.verify(replace(certificate, **change(certificate)))
    assert not verdict
    assert words in verdict.message


def test_point_beside_the_minimum_is_refused(certificate):
    x = certificate.x + np.array([1e-4, -1e-4, 0.0, 0.0])
    value = float(certificate.network(x)[0])
    assert not rf.verify(replace(certificate, x=x, value=value))
    assert rf.verify(certificate)


def test_kinks_that_feed_each_other_are_refused():
    net = without_biases(he_network((3, 4, 4), 0))
    units = np.arange(8)
    empty = np.zeros(0)
    certificate = ConvexMinimumCertificate(
        net, None, 0, False, np.zeros(3), 0.0, 1.0, units, np.full(8, 0.5), np.zeros(0, int), empty, empty
    )
    verdict = rf.verify(certificate)
    assert not verdict
    assert "not convex" in verdict.message


@pytest.mark.parametrize(
    "change",
    [
        {"units": np.array([0, 0])},
        {"units": np.array([-1])},
        {"shares": np.zeros(1)},
        {"rows": np.array([5]), "row_multipliers": np.zeros(1)},
        {"equality_multipliers": np.zeros(3)},
        {"x": np.zeros(2)},
        {"network": None},
    ],
)
def test_malformed_certificates_raise(certificate, change):
    with pytest.raises(rf.CertificateError):
        rf.verify(replace(certificate, **change))


def test_other_grades_are_not_offered(certificate):
    with pytest.raises(rf.CertificateError, match="FLOAT"):
        rf.verify(certificate, grade="interval")

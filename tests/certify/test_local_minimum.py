from dataclasses import replace

import numpy as np
import pytest
from programs.network_cases import cube, he_network, without_biases

import rectifold as rf
from rectifold.core.certificate import LocalMinimumCertificate
from rectifold.programs.objective import Objective
from rectifold.programs.region_simplex import RegionSimplex

SHAPES = [(5, 50), (20, 50), (5, 50, 50), (6, 40, 40, 40), (3, 2)]


@pytest.mark.parametrize("dims", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_every_minimum_of_a_walk_is_confirmed(dims, seed):
    result = rf.minimize(he_network(dims, seed), cube(dims[0]), k=6)
    assert all(rf.verify(minimum.certificate) for minimum in result.minima)
    verdict = rf.verify(result)
    assert verdict
    assert verdict.grade is rf.Grade.FLOAT
    assert verdict.residuals["least_slope"] >= -1e-9


@pytest.fixture(scope="module")
def certificate():
    return rf.minimize(he_network((6, 40, 40), 1), cube(6)).certificate


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: {"value": c.value - 1e-6}, "value"),
        (lambda c: {"x": c.x + 1e-6 * (c.x < 0.9)}, "value|not at zero"),
        (lambda c: {"x": 3.0 * c.x}, "outside"),
        (lambda c: {"maximum": True}, "falls"),
        (lambda c: {"constraints": c.constraints[1:]}, "further constraint|as many"),
        (lambda c: {"network": he_network((6, 40, 40), 2)}, "value"),
        (lambda c: {"domain": cube(6, 2.0)}, "not at zero"),
        (lambda c: {"scale": 1e9}, "further constraint"),
        (
            lambda c: {"constraints": np.append(c.constraints[1:], np.setdiff1d(np.arange(80), c.constraints)[0])},
            "zero",
        ),
        (lambda c: {"invariant": np.eye(6)[:1]}, "change nothing"),
    ],
)
def test_what_was_changed_is_refused(certificate, change, words):
    verdict = rf.verify(replace(certificate, **change(certificate)))
    assert not verdict
    assert np.any([word in verdict.message for word in words.split("|")]), verdict.message


def vertex_certificate(net, domain, x, constraints):
    x = np.asarray(x, float)
    value = float(net(x)[0])
    return LocalMinimumCertificate(net, domain, 0, False, x, value, np.asarray(constraints), np.zeros((0, len(x))), 1.0)


def test_vertex_with_an_edge_that_falls_is_refused():
    net = rf.ReLUNetwork([[[1.0]], [[-1.0]]], [[0.0], [0.0]])  # -relu(x) falls to the right of 0
    verdict = rf.verify(vertex_certificate(net, cube(1), [0.0], [0]))
    assert not verdict
    assert "falls" in verdict.message
    assert rf.verify(vertex_certificate(net, cube(1), [1.0], [2]))


@pytest.mark.parametrize("seed", range(5))
def test_vertices_on_the_way_are_refused(seed):
    """Every vertex that the walk leaves has an edge that falls, often one that is bent or on the far side only."""
    net, domain = he_network((6, 30, 30), seed), cube(6)
    walk = RegionSimplex(Objective.checked(net, domain, 0, 1.0), np.random.default_rng(0))
    vertices = [step for step in walk.steps(np.zeros(6)) if step.phase == 2]
    assert len(vertices) > 5
    for step in vertices[:-2]:
        assert not rf.verify(vertex_certificate(net, domain, step.x, step.constraints))
    assert rf.verify(vertex_certificate(net, domain, vertices[-1].x, vertices[-1].constraints))


def test_degenerate_origin_is_refused():
    net = without_biases(he_network((4, 20, 20), 1))
    for constraints in ([0, 1, 2, 3], list(range(4, 8))):
        verdict = rf.verify(vertex_certificate(net, cube(4), np.zeros(4), constraints))
        assert not verdict
        assert "degenerate" in verdict.message


def test_result_that_is_not_its_certificate_is_refused(certificate):
    result = rf.minimize(he_network((6, 40, 40), 1), cube(6))
    assert not rf.verify(replace(result, value=result.value - 1e-12))
    assert not rf.verify(replace(result, bound=result.value))
    assert not rf.verify(replace(result, solution=np.zeros(6)))


@pytest.mark.parametrize(
    "change",
    [
        {"output": 1},
        {"output": 0.0},
        {"value": float("nan")},
        {"x": np.zeros(5)},
        {"x": np.full(6, np.nan)},
        {"constraints": np.array([0, 0, 1, 2, 3, 4])},
        {"constraints": np.array([-1, 1, 2, 3, 4, 5])},
        {"constraints": np.array([1000])},
        {"constraints": np.zeros(6)},
        {"domain": "box"},
        {"domain": cube(3)},
        {"network": None},
        {"maximum": 1},
        {"invariant": np.zeros((0, 2))},
    ],
)
def test_malformed_certificates_raise(certificate, change):
    with pytest.raises(rf.CertificateError):
        rf.verify(replace(certificate, **change))


def test_other_grades_are_not_offered(certificate):
    with pytest.raises(rf.CertificateError, match="FLOAT"):
        rf.verify(certificate, grade="interval")

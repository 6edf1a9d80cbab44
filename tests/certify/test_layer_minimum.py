from dataclasses import replace

import numpy as np
import pytest
from training.layerwise.layer_cases import deep_case, layer_walk, recipe, with_parameters

import rectifold as rf
from rectifold._kernels.reference.vertex_walk import LayerVertexWalk
from rectifold._kernels.vertex_walk import WalkStatus
from rectifold.core.layer_l1 import LayerData, LayerMinimumCertificate
from rectifold.training.layerwise.layer_result import pairs_of


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_every_decided_vertex_is_confirmed(layer, seed):
    net, X, y = deep_case((3, 4, 4, 3), 60, seed)
    fit = rf.FirstLayerL1(net, layer).fit(np.concatenate([X, X[:20]]), np.concatenate([y, y[:20] + 0.5]))
    if fit.result_.decided_by == "vertex":
        verdict = rf.verify(fit.result_)
        assert verdict
        assert verdict.grade is rf.Grade.FLOAT
        assert verdict.residuals["least_slope"] >= -1e-9


@pytest.fixture(scope="module")
def data():
    net, X, y = deep_case((3, 5, 4), 70, 1)
    return net, X, y


@pytest.fixture(scope="module")
def certificate(data):
    net, X, y = data
    found = rf.FirstLayerL1(net).fit(X, y).certificate_
    assert isinstance(found, LayerMinimumCertificate)
    return found


def moved(certificate, size):
    theta = np.column_stack([certificate.network.weights[0], certificate.network.biases[0]])
    theta[0, 0] += size
    return with_parameters(certificate.network, 0, theta)


def test_certificate_holds(certificate):
    assert rf.verify(certificate)
    assert rf.verify(certificate.without_data(), problem=certificate.problem)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: {"value": c.value * (1.0 + 1e-7)}, "loss"),
        (lambda c: {"value": 0.5 * c.value}, "loss"),
        (lambda c: {"network": moved(c, 1e-3)}, "loss|not at zero"),
        (lambda c: {"network": moved(c, 1e-3), "value": c.problem.loss(moved(c, 1e-3))}, "not at zero"),
        (lambda c: {"problem": rf.L1Problem(c.problem.X, c.problem.y + 1e-3)}, "loss|not at zero"),
        (lambda c: {"problem": rf.L1Problem(c.problem.X, c.problem.y, 1.0 + (np.arange(70) == spare(c)))}, "loss"),
        (lambda c: {"constraints": c.constraints[1:]}, "further"),
        (lambda c: {"constraints": np.vstack([c.constraints[1:], [9, spare(c)]])}, "not at zero"),
        (lambda c: {"scale": 1e12}, "further"),
        (lambda c: {"invariant": np.eye(20)[:1]}, "change nothing"),
        (lambda c: {"layer": 1}, "zero|as many"),
    ],
)
def test_what_was_changed_is_refused(certificate, change, words):
    given = change(certificate)
    if given.get("layer") == 1:
        given["invariant"] = np.zeros((0, 24))
        given["constraints"] = certificate.constraints[certificate.constraints[:, 0] < 5]
    verdict = rf.verify(replace(certificate, **given))
    assert not verdict
    assert any(word in verdict.message for word in words.split("|")), verdict.message


def spare(certificate):
    """A sample whose residual is not at zero."""
    residuals = certificate.constraints[certificate.constraints[:, 0] == 9, 1]
    return np.setdiff1d(np.arange(70), residuals)[0]


def test_vertex_of_which_an_edge_falls_is_refused():
    """One unit, one input: the vertex at the kink of sample 0 and the residual of sample 2."""
    X, net = np.array([[0.0], [1.0], [2.0]]), rf.ReLUNetwork([[[1.0]], [[1.0]]], [[0.0], [0.0]])
    for first, words in ((0.0, "further kink"), (3.0, "falls")):  # a residual of 0 at the first sample is one more
        problem, pairs = rf.L1Problem(X, [first, 5.0, 2.0]), np.array([[0, 0], [1, 2]])
        claim = LayerMinimumCertificate(problem, None, net, 0, problem.loss(net), pairs, np.zeros((0, 2)), 1.0)
        verdict = rf.verify(claim)
        assert not verdict
        assert words in verdict.message


def test_vertices_on_the_way_are_refused(data):
    """Of every vertex that the walk has left an edge falls."""
    net, X, y = data
    layer = LayerData(problem := rf.L1Problem(X, y), net, 0)
    walk = layer_walk(LayerVertexWalk, layer, np.zeros((5, 70)))
    walk.start(layer.parameters())
    refused = []
    while walk.run(1, 60.0) == WalkStatus.RUNNING:
        if len(walk.basis) == layer.n_parameters:
            at = layer.network_with(walk.x)
            pairs = pairs_of(layer, np.array(walk.basis))
            parts = (problem.loss(at), pairs, np.zeros((0, 20)), walk.reach)
            claim = LayerMinimumCertificate(problem, None, at, 0, *parts)
            refused.append(not rf.verify(claim))
    assert len(refused) > 5
    assert np.mean(refused) > 0.7  # the last ones may be ends already, seen before the walk knows it
    assert all(refused[:3])


def test_output_layer():
    net, X, y = recipe(200, 4, 5, True)
    result = rf.FirstLayerL1(net, layer=1).fit(X, y).result_
    c = result.certificate
    assert rf.verify(result)
    dual = np.array(c.dual)
    dual[0] = -dual[0]
    shifted = rf.ReLUNetwork([net.weights[0], c.network.weights[1] + 1e-4], c.network.biases)
    for change in (
        {"value": 0.999 * c.value}, {"lower_bound": 1.001 * c.value}, {"dual": dual}, {"network": shifted},
        {"problem": rf.L1Problem(X, y + 0.1)},
    ):  # fmt: skip
        assert not rf.verify(replace(c, **change)), change.keys()
    assert not rf.verify(replace(result, bound=1.01 * result.value))
    with pytest.raises(rf.CertificateError, match="FLOAT"):
        rf.verify(c, grade="interval")


def test_result_that_is_not_its_certificate_is_refused(data):
    net, X, y = data
    result = rf.FirstLayerL1(net).fit(X, y).result_
    assert rf.verify(result)
    assert not rf.verify(replace(result, value=0.5 * result.value))
    assert not rf.verify(replace(result, bound=1.0))
    assert not rf.verify(replace(result, solution=net))


@pytest.mark.parametrize(
    "change",
    [
        {"layer": 2},
        {"layer": 7},
        {"value": float("nan")},
        {"network": None},
        {"constraints": np.zeros((0, 3), int)},
        {"constraints": np.zeros((2, 2), int)},
        {"constraints": np.array([[99, 0]])},
        {"constraints": np.array([[0, 70]])},
        {"constraints": np.zeros((1, 2))},
        {"invariant": np.zeros((0, 3))},
        {"invariant": np.full((1, 20), np.nan)},
        {"scale": float("inf")},
        {"problem": None},
        {"problem": "data"},
    ],
)
def test_malformed_certificates_raise(certificate, change):
    with pytest.raises(rf.CertificateError):
        rf.verify(replace(certificate, **change))


def test_other_grades_and_problems_are_not_taken(certificate):
    with pytest.raises(rf.CertificateError, match="FLOAT"):
        rf.verify(certificate, grade="interval")
    with pytest.raises(rf.CertificateError, match="L1Problem"):
        rf.verify(certificate, problem=rf.LADProblem([[1.0]], [1.0]))
    other = rf.L1Problem(certificate.problem.X, certificate.problem.y + 1.0)
    assert not rf.verify(certificate.without_data(), problem=other)

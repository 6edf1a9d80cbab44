"""A right certificate is accepted at both grades; a wrong one is refused by the mathematics, digests recomputed."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from certify.certified_cases import EVIDENCE, LOSSES, certified, descended, problem_of

from rectifold.certify import Verdict, verify
from rectifold.core.certificate import ConeTrees, Grade, PatternBounds, SpectralBound
from rectifold.core.errors import CertificateError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Result
from rectifold.core.rounding import DyadicArray

GRADES = ("float", "interval")
TYPES = {"spectral": SpectralBound, "trees": ConeTrees, "patterns": PatternBounds}


def refused(certificate, problem=None):
    verdicts = [verify(certificate, problem, grade) for grade in GRADES]
    assert all(isinstance(v, Verdict) for v in verdicts)
    return not any(v.holds for v in verdicts)


def with_theta(certificate, change):
    integers = certificate.theta.integers.copy()
    change(integers)
    return replace(certificate, theta=DyadicArray(integers, certificate.theta.exponent))


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("kind", EVIDENCE)
@pytest.mark.parametrize("loss", LOSSES)
def test_accepts(kind, loss, grade):
    certificate = certified(kind, loss)
    assert isinstance(certificate.evidence, TYPES[kind])
    verdict = verify(certificate, grade=grade)
    assert verdict.holds, str(verdict)
    assert verdict.grade == Grade[grade.upper()]
    assert verdict.residuals["pricing_excess"] <= 0
    assert 0 < certificate.lower_bound <= certificate.objective
    assert ("given patterns only" in verdict.message) == (kind == "patterns")


@pytest.mark.parametrize(
    "switches",
    [
        {"hidden_bias": "free"},
        {"hidden_bias": False, "fit_intercept": False},
        {"hidden_bias": True, "fit_intercept": False},
        {"outputs": 2},
        {"outputs": 2, "output_penalty": "l1"},
        {"loss": "squared_hinge", "outputs": 3},
        {"loss": "multinomial", "fit_intercept": False},
        {"loss": "multinomial", "output_penalty": "l1"},
        {"loss": "logistic", "hidden_bias": "free"},
        {"loss": "logistic", "fit_intercept": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", EVIDENCE)
def test_accepts_every_switch(kind, switches):
    certificate = certified(kind, **switches)
    for grade in GRADES:
        verdict = verify(certificate, grade=grade)
        assert verdict.holds, str(verdict)


def test_the_free_bias_costs_its_factor():
    c = certified("spectral", hidden_bias="free")
    bound = verify(c).residuals["pricing_bound"]
    p = c.problem
    inputs = p.design[:, :-1] - c.bias_center
    rows = np.hstack([inputs, np.full((len(inputs), 1), c.bias_scale)])
    theta = c.theta.to_float()[:, 0]
    plain = []
    for r in (theta, -theta):
        on = r > 0
        w = c.evidence.row_weights[on, 0]
        spread = np.sum(r[on] ** 2 / w) * np.linalg.eigvalsh((rows[on].T * w) @ rows[on])[-1]
        plain.append(
            np.linalg.norm(rows.T @ (np.where(on, 0.5, c.evidence.activity[:, 0]) * r)) + 0.5 * np.sqrt(spread)
        )
    factor = np.sqrt(1 + (inputs**2).sum(axis=1).max() / c.bias_scale**2)
    assert factor > 1.01
    assert bound == pytest.approx(max(plain) * factor, rel=1e-12)
    assert refused(replace(c, bias_scale=c.bias_scale * 0.5))
    assert refused(replace(c, bias_center=c.bias_center + 3.0))
    with pytest.raises(CertificateError, match="bias"):
        verify(replace(certified("spectral"), bias_scale=1.0, bias_center=np.zeros(2)))
    for change in ({"bias_scale": -1.0}, {"bias_scale": np.nan}, {"bias_center": np.zeros(3)}):
        with pytest.raises(CertificateError, match="bias"):
            verify(replace(c, **change))


@pytest.mark.parametrize("kind", EVIDENCE)
class TestTamperedClaims:
    def test_theta_entry(self, kind):
        c = certified(kind)

        def move(t):
            t[0, 0] += 1 << 43
            t[1, 0] -= 1 << 43

        assert refused(with_theta(c, move))

    def test_theta_whose_sum_is_not_zero(self, kind):
        c = certified(kind)

        def move(t):
            t[np.abs(t[:, 0]).argmin(), 0] += 1

        verdict = verify(with_theta(c, move))
        assert not verdict.holds
        assert "sum to zero" in verdict.message

    def test_scale(self, kind):
        c = certified(kind)
        limit = c.problem.alpha / verify(c).residuals["pricing_bound"]
        assert c.scale <= limit
        assert refused(replace(c, scale=limit * (1 + 1e-8)))
        assert not verify(replace(c, scale=limit * (1 + 1e-11)), grade="interval").holds

    def test_bound_raised(self, kind):
        c = certified(kind)
        assert refused(replace(c, lower_bound=c.lower_bound * (1 + 1e-6)))

    def test_bound_raised_by_less_than_the_float_tolerance(self, kind):
        c = replace(certified(kind), lower_bound=certified(kind).lower_bound * (1 + 1e-10))
        assert verify(c).holds
        assert not verify(c, grade="interval").holds

    def test_objective_lowered(self, kind):
        c = certified(kind)
        assert refused(replace(c, objective=c.objective * (1 - 1e-6)))

    def test_alpha(self, kind):
        c = certified(kind)
        other = c.problem.with_alpha(c.problem.alpha * 0.99)
        assert refused(c, other)
        assert refused(replace(c, problem=other, problem_digest=other.digest))
        other = c.problem.with_alpha(c.problem.alpha * 1.01)
        assert refused(replace(c, problem=other, problem_digest=other.digest))  # the objective grows

    def test_targets(self, kind):
        c = certified(kind)
        p = c.problem
        y = p.targets.copy()
        y[0] += 0.5
        other = ConvexReLUProblem(p.design[:, : p.n_features], y, p.alpha, sample_weight=p.weights)
        assert refused(c, other)
        assert refused(replace(c, problem=other, problem_digest=other.digest))

    def test_network(self, kind):
        c = certified(kind)
        (w, a), (b, v) = c.network.weights, c.network.biases
        assert refused(replace(c, network=ReLUNetwork([w, a], [b, v + 0.1])))
        assert refused(replace(c, network=ReLUNetwork([w * 1.01, a], [b * 1.01, v])))


@pytest.mark.parametrize("loss", ["squared_hinge", "logistic", "multinomial"])
def test_theta_outside_the_domain(loss):
    c = certified("spectral", loss)
    y = c.problem.targets
    rows = np.flatnonzero(y[:, 0] > 0)[:2]

    def flip(t):  # keeps both row and column sums
        if loss == "multinomial":
            t[rows[0], :2] += (-(1 << 45), 1 << 45)
            t[rows[1], :2] -= (-(1 << 45), 1 << 45)
        else:
            t[rows[0], 0] -= 1 << 46
            t[rows[1], 0] += 1 << 46

    verdict = verify(with_theta(c, flip))
    assert not verdict.holds
    assert "domain" in verdict.message


def test_multinomial_rows_must_sum_to_zero():
    c = certified("spectral", "multinomial")

    def move(t):
        t[0, 0] += 1
        t[1, 0] -= 1

    verdict = verify(with_theta(c, move))
    assert not verdict.holds
    assert "row of theta" in verdict.message


def test_logistic_theta_scaled_out_of_its_box():
    c = certified("spectral", "logistic")
    verdict = verify(replace(c, scale=1e3), grade="interval")
    assert not verdict.holds


class TestSpectral:
    def test_any_positive_weights_are_valid_evidence(self):
        c = certified("spectral")
        rng = np.random.default_rng(0)
        nonsense = replace(c.evidence, row_weights=rng.uniform(1e-6, 1e6, c.theta.integers.shape))
        changed = replace(c, evidence=nonsense)
        assert refused(changed)
        bound = verify(changed).residuals["pricing_bound"]
        assert bound > verify(c).residuals["pricing_bound"]
        weaker = replace(changed, scale=c.problem.alpha / bound * (1 - 1e-9))
        values = weaker.scale * c.theta.to_float()
        p = c.problem
        weaker = replace(weaker, lower_bound=p.loss.dual_value(values, p.targets, p.weights) * (1 - 1e-9))
        for grade in GRADES:
            assert verify(weaker, grade=grade).holds

    @pytest.mark.parametrize("weight", [0.0, -1.0])
    def test_weights_must_be_positive(self, weight):
        c = certified("spectral")
        assert refused(replace(c, evidence=replace(c.evidence, row_weights=np.full(c.theta.integers.shape, weight))))

    @pytest.mark.parametrize("weight", [5e-324, 1e-300, 1e300])
    def test_extreme_weights_are_refused_quietly(self, weight):
        c = certified("spectral")
        weights = c.evidence.row_weights.copy()
        weights[0] = weight
        weights[1] = 1.0 / max(weight, 1e-300)
        assert refused(replace(c, evidence=replace(c.evidence, row_weights=weights)))

    @pytest.mark.parametrize("activity", [-0.5, 1.5])
    def test_activity_out_of_range(self, activity):
        c = certified("spectral")
        assert refused(replace(c, evidence=replace(c.evidence, activity=np.full(c.theta.integers.shape, activity))))


class TestPatterns:
    def test_patterns_flipped(self):
        c = certified("patterns")
        assert refused(replace(c, evidence=replace(c.evidence, patterns=~c.evidence.patterns)))

    def test_masks_flipped(self):
        c = certified("patterns")
        leaves = replace(c.evidence.leaves, masks=~c.evidence.leaves.masks)
        assert refused(replace(c, evidence=replace(c.evidence, leaves=leaves)))

    def test_more_patterns_than_multipliers(self):
        c = certified("patterns")
        patterns = np.vstack([c.evidence.patterns, c.evidence.patterns[:1]])
        with pytest.raises(CertificateError, match="masks"):
            verify(replace(c, evidence=replace(c.evidence, patterns=patterns)))


@pytest.mark.parametrize(
    "change",
    [
        lambda leaves: {"excess": np.full_like(leaves.excess, np.nan)},
        lambda leaves: {"indices": np.full_like(leaves.indices, 9)},
        lambda leaves: {"indices": np.full_like(leaves.indices, -1)},
        lambda leaves: {"indices": leaves.indices[:-1]},
        lambda leaves: {"indptr": leaves.indptr[::-1]},
        lambda leaves: {"indptr": leaves.indptr + 1},
        lambda leaves: {"masks": leaves.masks[:, :1]},
        lambda leaves: {"masks": leaves.masks.astype(np.float64)},
        lambda leaves: {"excess": leaves.excess[:, None]},
    ],
)
def test_malformed_multipliers(change):
    c = certified("patterns")
    leaves = replace(c.evidence.leaves, **change(c.evidence.leaves))
    with pytest.raises(CertificateError):
        verify(replace(c, evidence=replace(c.evidence, leaves=leaves)))


@pytest.mark.parametrize(
    "fields",
    [
        {"objective": np.nan},
        {"lower_bound": -np.inf},
        {"scale": -1.0},
        {"scale": "1"},
        {"network": None},
        {"network": ReLUNetwork([np.ones((2, 3)), np.ones((1, 2))], [np.zeros(2), np.zeros(1)])},
        {"theta": np.zeros((9, 1))},
        {"theta": DyadicArray(np.zeros((8, 1), np.int64), 0)},
        {"theta": DyadicArray(np.zeros((9, 1), np.int64), 5000)},
        {"theta": DyadicArray(np.full((9, 1), 2**60), 0)},
        {"evidence": None},
        {"problem": 3},
    ],
    ids=str,
)
def test_malformed_fields(fields):
    with pytest.raises(CertificateError):
        verify(replace(certified("spectral"), **fields))


def test_a_certificate_without_data_needs_its_problem():
    c = certified("trees").without_data()
    with pytest.raises(CertificateError, match="problem="):
        verify(c)
    assert verify(c, problem=problem_of()).holds
    assert not verify(c, problem=problem_of(seed=7)).holds


def test_pickle_leaves_the_data_behind():
    c = pickle.loads(pickle.dumps(certified("trees")))
    assert c.problem is None
    assert verify(c, problem=problem_of(), grade="interval").holds
    with pytest.raises(ValueError, match="read-only"):
        c.theta.integers[0] = 1


def test_a_result_claims_no_more_than_its_certificate():
    c = certified("trees")
    result = Result(c.network, c.objective, c.lower_bound, certificate=c)
    assert verify(result, grade="interval").holds
    assert not verify(replace(result, bound=c.lower_bound + 1e-12)).holds
    assert not verify(replace(result, value=c.objective - 1e-12)).holds
    assert not verify(replace(result, solution=descended(c.problem, seed=3))).holds
    with pytest.raises(CertificateError, match="no certificate"):
        verify(replace(result, certificate=None))


@pytest.mark.parametrize("grade", ["rational", "sampled", "nonsense", Grade.RATIONAL])
def test_grades_that_cannot_be_reached(grade):
    with pytest.raises(CertificateError):
        verify(certified("trees"), grade=grade)


def test_verdicts_speak():
    verdict = verify(certified("trees"))
    assert bool(verdict)
    assert "holds [FLOAT]" in str(verdict)
    assert pickle.loads(pickle.dumps(verdict)) == verdict
    with pytest.raises(CertificateError, match="int"):
        verify(3)

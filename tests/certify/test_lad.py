"""Certificates of quantile regression: accepted at both grades, refused when anything in them is wrong."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from lad_instances import optimum, recipe, tied

import rectifold as rf
from rectifold.core.lad import LADProblem
from rectifold.programs.lad import solve_lad

GRADES = pytest.mark.parametrize("grade", ["float", "interval"])


@pytest.fixture(scope="module")
def result():
    X, y = recipe(5000, 4, 0)
    return solve_lad(X, y, 0.3)


@pytest.fixture(scope="module")
def penalised():
    X, y = recipe(400, 6, 1)
    w = np.random.default_rng(0).uniform(0.1, 3.0, 400)
    return solve_lad(X, y, 0.8, alpha=0.2, sample_weight=w)


@GRADES
def test_holds_with_a_tight_gap(result, penalised, grade):
    for good in (result, penalised):
        verdict = rf.verify(good, grade=grade)
        assert verdict, str(verdict)
        assert verdict.residuals["relative_gap"] < 1e-9
        assert rf.verify(good.certificate, grade=grade)


def test_penalised_has_coefficients_at_zero(penalised):
    at_zero = -1 - penalised.solution.basis[penalised.solution.basis < 0]
    assert len(at_zero) >= 1
    np.testing.assert_allclose(penalised.solution.coef[at_zero], 0.0, atol=1e-14)


@GRADES
@pytest.mark.parametrize("seed", range(10))
def test_ties_and_alternative_optima(grade, seed):
    E, y = tied(seed)
    result = solve_lad(E, y, fit_intercept=False)
    verdict = rf.verify(result, grade=grade)
    assert verdict, str(verdict)
    assert result.bound <= optimum(E, y, intercept=False) + 1e-12


@GRADES
def test_large_offsets(grade):
    X, y = recipe(3000, 3, 2)
    assert rf.verify(solve_lad(X + 2000.0, y + 1e6), grade=grade)


@GRADES
@pytest.mark.parametrize("what", ["coef", "intercept", "dual", "dual_sign", "bound", "objective", "box", "basis"])
def test_tampering_is_refused(result, what, grade):
    c = result.certificate
    coef, dual = c.coef.copy(), c.dual.copy()
    off = np.setdiff1d(np.arange(len(dual)), c.basis)[0]
    if what == "coef":
        coef[0] += 1e-4
        wrong = replace(c, coef=coef)
    elif what == "intercept":
        wrong = replace(c, intercept=c.intercept - 1e-3)
    elif what == "dual":
        dual[c.basis[0]] *= 0.9
        wrong = replace(c, dual=dual)
    elif what == "dual_sign":
        dual[off] = 0.3 if dual[off] < 0 else -0.7
        wrong = replace(c, dual=dual)
    elif what == "bound":
        wrong = replace(c, lower_bound=c.lower_bound * (1.0 + 3e-9))
    elif what == "objective":
        wrong = replace(c, objective=c.objective * (1.0 - 3e-9))
    elif what == "box":
        dual[off] *= 1.0 + 1e-9
        wrong = replace(c, dual=dual)
    else:
        wrong = replace(c, basis=c.basis[:-1])
    if what == "basis" and grade == "float":
        assert rf.verify(wrong, grade=grade)  # only the rigorous check needs it
    else:
        assert not rf.verify(wrong, grade=grade)


def test_a_dual_off_by_rounding_is_repaired_at_grade_interval(result):
    c = result.certificate
    dual = c.dual.copy()
    dual[c.basis] += 1e-13
    verdict = rf.verify(replace(c, dual=dual), grade="interval")
    assert verdict
    assert 1e-14 < verdict.residuals["dual_change"] < 1e-11


def test_result_must_match_its_certificate(result):
    model = result.solution
    other = replace(result, solution=replace(model, coef=model.coef + 1e-12))
    assert "coefficients" in rf.verify(other).message
    assert "claims more" in rf.verify(replace(result, value=result.value * (1.0 - 1e-12))).message


def test_pickled_certificate_needs_the_same_problem(result, penalised):
    kept = pickle.loads(pickle.dumps(result.certificate))
    problem = result.certificate.problem
    assert kept.problem is None
    with pytest.raises(rf.CertificateError, match="no data"):
        rf.verify(kept)
    same = LADProblem(np.array(problem.X), np.array(problem.y), 0.3)
    assert rf.verify(kept, problem=same)
    assert "another problem" in rf.verify(kept, problem=same.with_quantile(0.4)).message
    assert "another problem" in rf.verify(kept, problem=penalised.certificate.problem).message
    assert rf.verify(result.certificate.without_data(), problem=same)


def test_problems_of_other_kinds_are_refused(result):
    other = rf.ConvexReLUProblem(np.ones((3, 1)), np.ones(3), 0.1)
    with pytest.raises(rf.CertificateError, match="LADProblem"):
        rf.verify(result.certificate, problem=other)


@pytest.mark.parametrize(
    "change",
    [
        {"coef": np.ones(2)},
        {"dual": np.full(5000, np.nan)},
        {"basis": np.array([0, 0, 1, 2, 3])},
        {"basis": np.array([0, 1, 2, 3, 5000])},
        {"basis": np.array([-1, 1, 2, 3, 4])},
        {"objective": float("nan")},
        {"lower_bound": 1},
    ],
)
def test_malformed_certificates_raise(result, change):
    with pytest.raises(rf.CertificateError, match="malformed"):
        rf.verify(replace(result.certificate, **change))


def test_dependent_columns_are_checked_in_floats_only():
    X, y = recipe(300, 2, 0)
    result = solve_lad(np.hstack([X, X[:, :1]]), y)
    assert rf.verify(result)
    verdict = rf.verify(result, grade="interval")
    assert not verdict
    assert "dependent columns" in verdict.message


def test_arrays_are_read_only(result):
    with pytest.raises(ValueError, match="read-only"):
        result.certificate.dual[0] = 0.0

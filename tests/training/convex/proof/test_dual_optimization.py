"""The dual point optimised on fixed trees: smaller gaps, never a false bound, certificates that hold by replay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from training.convex.pricing_cases import random_case

from rectifold._engine.executor import TaskPool
from rectifold.certify import verify
from rectifold.core.certificate import ConeTrees
from rectifold.core.certificate_format import to_arrays
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import DyadicArray
from rectifold.training.convex.proof import dual_optimization, dual_point, proof_rounds
from rectifold.training.convex.proof.dual_optimization import DualOptimization
from rectifold.training.convex.proof.global_bound import ProofEffort, lower_bound
from rectifold.training.convex.solve import solve_convex_relu

WORK = 3_000_000_000


def diabetes(n_features=4, fraction=0.1):
    """The sheet's diab4; its lambda_max is printed there."""
    X, y = load_diabetes(return_X_y=True)
    X = X[:, [2, 8, 3, 4, 5, 6, 7, 9, 0, 1][:n_features]]
    X, y = (X - X.mean(0)) / X.std(0), (y - y.mean()) / y.std()
    alpha = fraction * 268.49177 / len(y)
    result = solve_convex_relu(X, y, alpha, fit_intercept=False, certify=False)
    return ConvexReLUProblem(X, y, alpha, fit_intercept=False), result.solution


@pytest.fixture(scope="module")
def diab4():
    return diabetes()


@pytest.fixture
def stop_at(monkeypatch):
    """Make proofs end at a given rho, with work left, in a single round."""

    def stop(rho):
        monkeypatch.setattr(dual_point, "_goal", lambda enough: rho)
        monkeypatch.setattr(proof_rounds, "_LEAST_WORK", np.inf)
        monkeypatch.setattr(dual_point, "_LEAST_TO_OPTIMIZE", 0)

    return stop


def both(case, monkeypatch, **effort):
    """The bound without and with the optimisation."""
    found = []
    for on in (False, True):
        with monkeypatch.context() as m:
            if not on:
                m.setattr(DualOptimization, "applies", staticmethod(lambda problem: False))
            found.append(lower_bound(*case, effort=ProofEffort(**{"gap_tol": 1e-6, "max_work": WORK, **effort})))
    return found


def gap(found):
    return 1.0 - found[0] / found[1].objective


@pytest.mark.parametrize(("rho", "ratio"), [(2.0, 0.8), (1.5, 0.8), (1.2, 0.85), (1.1, 0.9)])
def test_the_gap_shrinks_by_what_the_sheet_says(diab4, stop_at, monkeypatch, rho, ratio):
    stop_at(rho)
    plain, optimized = both(diab4, monkeypatch)
    assert plain[2].n_passes == 0
    assert 1 <= optimized[2].n_passes <= 4
    assert optimized[2].work > plain[2].work
    assert gap(optimized) < ratio * gap(plain)
    assert optimized[1].lower_bound == optimized[0]
    for tree, same in zip(optimized[1].evidence.trees, plain[1].evidence.trees, strict=True):
        np.testing.assert_array_equal(tree.nodes, same.nodes)
        assert tree.bound < same.bound
    verdict = verify(optimized[1], grade="interval")
    assert verdict.holds, str(verdict)


def test_leaves_are_renewed(diab4, stop_at, monkeypatch):
    stop_at(1.5)
    plain, optimized = both(diab4, monkeypatch, keep_leaves=True)
    assert gap(optimized) < 0.8 * gap(plain)
    assert all(tree.leaves is not None for tree in optimized[1].evidence.trees)
    verdict = verify(optimized[1], grade="interval")
    assert verdict.holds, str(verdict)


def test_another_theta_is_refused(diab4, stop_at):
    stop_at(1.3)
    _, certificate, info = lower_bound(*diab4, effort=ProofEffort(1e-6, WORK))
    assert info.n_passes
    network_theta = DyadicArray.round(diab4[0].theta(diab4[0].fit(diab4[1])))
    assert not verify(replace(certificate, theta=network_theta)).holds
    larger = DyadicArray(certificate.theta.integers + certificate.theta.integers // 2, certificate.theta.exponent)
    assert not verify(replace(certificate, theta=larger)).holds
    lower = [replace(tree, bound=0.6 * tree.bound) for tree in certificate.evidence.trees]
    assert not verify(replace(certificate, evidence=ConeTrees(tuple(lower)), scale=certificate.scale / 0.6)).holds
    assert not verify(replace(certificate, lower_bound=certificate.lower_bound * 1.001)).holds


def stored(certificate):
    return {name: array.tobytes() for name, array in to_arrays(certificate).items()}


def test_threads_give_the_same_certificate(diab4, stop_at, monkeypatch):
    stop_at(1.2)
    monkeypatch.setattr(dual_optimization, "_PART_NODES", 100)
    effort = ProofEffort(1e-6, WORK)
    _, expected, info = lower_bound(*diab4, effort=effort)
    with ThreadPoolExecutor(2) as threads:
        _, found, other = lower_bound(*diab4, effort=replace(effort, pool=TaskPool(threads)))
    assert stored(found) == stored(expected)
    assert (info.work, info.n_passes) == (other.work, other.n_passes)


@pytest.mark.parametrize("seed", range(25))
def test_no_bound_is_above_the_optimum(seed, stop_at):
    """Any loss, weights, intercept, bias and number of outputs; degenerate data among them."""
    case = random_case(seed, n_max=20)
    stop_at(1.4)
    best = case.best
    problem = case.problem
    bound, certificate, info = lower_bound(problem, best.solution, effort=ProofEffort(1e-6, 300_000_000))
    assert bound <= best.value * (1 + 1e-9) + 1e-12
    if info.n_passes:
        verdict = verify(certificate, grade="interval")
        assert verdict.holds, f"{case.name}: {verdict}"
    if not DualOptimization.applies(problem):
        assert info.n_passes == 0


def test_a_small_budget_is_left_to_the_trees(diab4, monkeypatch):
    monkeypatch.setattr(dual_point, "_goal", lambda enough: 1.5)
    for max_work, optimizes in ((500_000_000, False), (700_000_000, True)):
        info = lower_bound(*diab4, effort=ProofEffort(gap_tol=1e-6, max_work=max_work))[2]
        assert (info.n_passes > 0) == optimizes


def test_most_random_problems_gain(stop_at, monkeypatch):
    stop_at(1.4)
    ratios = []
    for seed in range(18):
        case = random_case(seed, n_max=20)
        if not DualOptimization.applies(case.problem):
            continue
        plain, optimized = both((case.problem, case.best.solution), monkeypatch, max_work=300_000_000)
        assert optimized[0] >= plain[0]
        if optimized[2].n_passes and gap(plain) > 1e-4:
            ratios.append(gap(optimized) / gap(plain))
    assert len(ratios) >= 5
    assert np.median(ratios) < 0.9


@pytest.mark.parametrize("after", [1, 2, 5])
def test_an_interruption_leaves_what_is_proven(diab4, stop_at, after):
    stop_at(1.5)
    reports = []

    def asked():
        return len(reports) >= after

    effort = ProofEffort(1e-6, WORK, should_stop=asked, on_progress=lambda p, b: reports.append((p.n_passes, b)))
    bound, certificate, _ = lower_bound(*diab4, effort=effort)
    assert bound >= max(b for _, b in reports) * (1 - 1e-12)
    assert verify(certificate).holds


def test_work_is_a_limit(diab4, stop_at):
    stop_at(1.2)
    tree_work = lower_bound(*diab4, effort=ProofEffort(1e-6, 10_000_000))[2].tree_work
    for left in (0.1, 1.0, 5.0, 50.0):
        limit = int((1.0 + left) * tree_work)
        _, certificate, info = lower_bound(*diab4, effort=ProofEffort(1e-6, limit))
        assert info.work <= 1.5 * limit
        assert verify(certificate).holds


def test_training_uses_it(stop_at):
    problem, _ = diabetes()
    stop_at(1.3)
    heard = []

    class Monitor:
        def event(self, stage, value, bound, elapsed, **counts):
            heard.append((stage, counts.get("passes")))

        def should_stop(self):
            return False

    X, y, options = problem.design[:, :-1], problem.targets[:, 0], {"max_work": WORK, "callback": Monitor()}
    result = solve_convex_relu(X, y, problem.alpha, fit_intercept=False, **options)
    assert result.stats["proof_passes"] >= 1
    assert ("proof", 1.0) in heard
    assert verify(result, grade="interval").holds

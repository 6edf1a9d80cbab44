"""No false proof: what the trees claim on many random small problems, against the answers that all patterns give."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from training.convex.pricing_cases import exact_gains, random_case, sizes

from rectifold._engine.tree_search import TreeStatus, search_tree
from rectifold.certify import verify
from rectifold.core.result import Status
from rectifold.training.convex.proof.cone_sides import cone_sides
from rectifold.training.convex.proof.dual_rounding import round_dual
from rectifold.training.convex.proof.global_bound import ProofEffort, alpha_max_bound, lower_bound
from rectifold.training.convex.proof.pricing_proof import LEAST_RHO, PricingProof
from rectifold.training.convex.proof.pricing_rows import pricing_rows
from rectifold.training.convex.solve import solve_convex_relu

SEARCH, PROOF = 10_000_000, 5_000_000  # samples visited
ROUNDING = 1e-12

BLOCKS = [pytest.param(0, 14, id="small")] + [pytest.param(b, 30, id=str(b), marks=pytest.mark.slow) for b in range(10)]
every_block = pytest.mark.parametrize(("block", "n_max"), BLOCKS)


def seeds(block, n_max, step=1):
    """A hundred problems; in the fast run a test that trains or proves much takes every step-th."""
    return range(100 * block, 100 * (block + 1), step if n_max < 30 else 1)


def networks(case):
    """The best one, which pricing cannot refute; another that it can; the constant."""
    problem, rng = case.problem, np.random.default_rng(0)
    best = case.best.solution
    w, a, c = problem.neurons(best)
    d, k = problem.design.shape[1], problem.n_outputs
    worse = problem.network(np.vstack([w, rng.standard_normal((2, d))]), np.vstack([0.5 * a, np.ones((2, k))]), c)
    return best, worse, problem.network(np.empty((0, d)), np.empty((0, k)), problem.null_intercept)


def dual_points(case):
    problem = case.problem
    return [round_dual(problem, problem.theta(problem.fit(network))).to_float() for network in networks(case)]


def rows_of(case):
    return pricing_rows(case.problem, 30.0).X


@every_block
def test_searches_decide_as_all_patterns_do(block, n_max):
    """Each side's own maximum: 0.5 % below it nothing is proven, 1 % above it nearly everything."""
    below, above = Counter(), Counter()
    for seed in seeds(block, n_max):
        case = random_case(seed, n_max)
        X, theta = rows_of(case), dual_points(case)[seed % 3]
        exact, size = exact_gains(X, theta), sizes(X, theta)
        for side in cone_sides(X, theta):
            truth = exact[side.output, 0 if side.sign > 0 else 1]
            if truth <= 1e-3 * size[side.output]:
                continue
            for rho, seen in ((0.995, below), (1.01, above)):
                found = search_tree(side.at(rho * truth, False), side.roots, max_work=SEARCH, quota=SEARCH)
                seen[found.status] += 1
                assert rho > 1.0 or found.status is not TreeStatus.COMPLETE, case.name
                assert found.best_value <= truth * (1.0 + 1e-9), case.name
                assert (found.status is TreeStatus.REFUTED) <= (found.best_value > side.target(rho * truth))
    print(dict(below), dict(above))
    assert above.total() >= 150
    assert above[TreeStatus.COMPLETE] >= 0.99 * above.total()
    assert below[TreeStatus.REFUTED] >= 0.95 * below.total()


@every_block
def test_the_least_rho_is_never_below_the_truth(block, n_max):
    """With levels that all patterns give, and with levels that they refute."""
    proven = Counter()
    for seed in seeds(block, n_max):
        case = random_case(seed, n_max)
        X, theta = rows_of(case), dual_points(case)[seed % 3]
        truth, size = exact_gains(X, theta).max(axis=1), sizes(X, theta)
        levels = np.maximum(truth, np.where(size > 0, 0.01 * size, 1.0))
        found = PricingProof(X, theta, levels).run(1.01, SEARCH)
        assert np.all(found.rho * levels >= truth * (1 - ROUNDING)), case.name
        proven[found.rho <= 1.01] += 1
        shifted = 0.995 / LEAST_RHO * levels
        found = PricingProof(X, theta, shifted).run(LEAST_RHO, PROOF)
        assert np.all(found.rho * shifted >= truth * (1 - ROUNDING)), case.name
        if found.violator is not None:
            gains = np.abs(theta[:, found.output] @ np.maximum(X @ found.violator, 0.0))
            assert shifted[found.output] < gains <= truth[found.output] * (1 + 1e-9), case.name
    print(dict(proven))
    assert proven[True] >= 97


@every_block
def test_lower_bounds_are_never_above_the_minimum(block, n_max):
    certified = Counter()
    for seed in seeds(block, n_max, 2):
        case = random_case(seed, n_max)
        problem, truth = case.problem, case.best.value
        for i, network in enumerate(networks(case)):
            if i > 0 and (seed + i) % 4:
                continue
            bound, certificate, info = lower_bound(problem, network, None, ProofEffort(max_work=PROOF))
            assert bound <= truth * (1 + ROUNDING), case.name
            exact = exact_gains(rows_of(case), certificate.theta.to_float()).max()
            assert info.pricing_bound >= exact * (1 - ROUNDING), case.name
            if i == 0 and case.is_convex_program and case.best.status is Status.OPTIMAL:
                certified[bound >= truth * (1 - 1.01e-2)] += 1
            if seed % 10 == 0:
                verdict = verify(certificate, grade="interval")
                assert verdict.holds, f"{case.name}: {verdict}"
    print(dict(certified))
    assert certified.total() >= 20
    assert certified[True] >= 0.97 * certified.total()


def test_a_tree_whose_residual_term_dwarfs_its_cones_is_replayed():
    """A free bias is a long column: no bisection closes a cone that lacks it."""
    case = random_case(0, 30)
    _, certificate, _ = lower_bound(case.problem, case.best.solution, None, ProofEffort(max_work=PROOF))
    assert certificate.bias_scale > 30.0
    verdict = verify(certificate, grade="interval")
    assert verdict.holds, str(verdict)


@every_block
def test_training_claims_nothing_false(block, n_max):
    certified = Counter()
    for seed in seeds(block, n_max, 5):
        case = random_case(seed, n_max)
        if not case.is_convex_program:
            continue
        result = solve_convex_relu(case.X, case.y, case.alpha, max_work=PROOF, n_starts=20, **case.switches)
        assert result.bound <= case.best.value * (1 + ROUNDING), case.name
        if case.best.status is Status.OPTIMAL:
            assert result.value >= case.best.value * (1 - 1e-5), case.name
        certified[result.proof] += 1
    print(dict(certified))
    assert certified["certified"] >= 0.9 * certified.total() > 0


@every_block
def test_the_bound_on_alpha_max_is_never_below_the_truth(block, n_max):
    close = Counter()
    for seed in seeds(block, n_max, 4):
        problem = (case := random_case(seed, n_max)).problem
        theta = round_dual(problem, problem.null_theta).to_float()
        truth = float(exact_gains(problem.design, theta).max())
        bound, certificate = alpha_max_bound(problem, ProofEffort(max_work=PROOF))
        assert bound >= truth * (1 - 1e-9), case.name
        is_zero = truth <= 1e-6 * sizes(problem.design, theta).max()
        if problem.n_outputs == 1 and not is_zero:
            close[bound <= 1.02 * truth] += 1
        if seed % 20 == 0 and not is_zero:
            verdict = verify(certificate, grade="interval")
            assert verdict.holds, f"{case.name}: {verdict}"
    print(dict(close))
    assert close[True] >= 0.8 * close.total() > 0

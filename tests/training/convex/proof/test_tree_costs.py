"""The schedule of a proof: what trees are expected to cost, and what is made of a budget."""

from __future__ import annotations

import numpy as np
import pytest
from training.convex.proof.test_pricing_proof import trained

from rectifold._engine.executor import TaskPool
from rectifold._engine.tree_search import LEAF, OPEN, TreeStatus, subtree_ends
from rectifold.certify import verify
from rectifold.training.convex.proof.cone_sides import Side, cone_sides
from rectifold.training.convex.proof.global_bound import ProofEffort, lower_bound
from rectifold.training.convex.proof.growing_tree import GrowingTree
from rectifold.training.convex.proof.pricing_proof import PricingProof
from rectifold.training.convex.proof.tree_costs import TreeCosts


@pytest.fixture(scope="module")
def case():
    """Rows, dual vector and level of a network."""
    problem, network = trained(d=6)
    theta = problem.theta(problem.fit(network))
    return problem.design, theta, np.array([problem.alpha])


def forget(*_):
    return False


def grow(tree, bound, max_work=10**9):
    return tree.grow(bound, max_work, 10**7, forget, lambda progress: None)


def true_work(sides, bound):
    trees = [GrowingTree(side, TaskPool(), False) for side in sides]
    return sum(grow(tree, bound).progress.work for tree in trees)


# -- the forecast ------------------------------------------------------------------------------------------------------


def test_dives_alone_come_close(case):
    X, theta, levels = case
    sides = cone_sides(X, theta)
    found = TreeCosts(sides, levels, 1e9).forecast(1.3)
    true = true_work(sides, 1.3 * levels[0])
    assert 0.4 * true < found.work < 2.5 * true
    assert found.work < found.careful


def dives_of(monkeypatch, work, error):
    monkeypatch.setattr(Side, "estimate", lambda self, bound, n_dives, paths=(): (work, error))


def test_a_power_law_is_followed_where_dives_say_little(case, monkeypatch):
    X, theta, levels = case
    dives_of(monkeypatch, 1e5, 1e6)
    costs = TreeCosts(cone_sides(X, theta), levels, 1e9)
    for step in (0.4, 0.2, 0.1):
        costs.add(1.0 + step, int(1e5 * step**-3.0), 1000)
    for step in (0.1, 0.07, 0.05):
        assert np.exp(costs.forecast(1.0 + step).mean) == pytest.approx(1e5 * step**-3.0, rel=0.1)


def test_certain_dives_outweigh_the_power_law(case, monkeypatch):
    X, theta, levels = case
    dives_of(monkeypatch, 5e7, 1.0)
    costs = TreeCosts(cone_sides(X, theta), levels, 1e9)
    costs.add(1.4, 10**6, 1000)
    costs.add(1.2, 10**8, 1000)
    assert 0.5e8 < costs.forecast(1.05).work < 3e8  # the power law alone says 6e11


def test_smaller_rho_cost_more(case):
    X, theta, levels = case
    costs = TreeCosts(cone_sides(X, theta), levels, 1e9)
    costs.add(1.5, 10**5, 100)
    costs.add(1.3, 4 * 10**5, 400)
    works = [costs.forecast(1.0 + step).work for step in (0.3, 0.15, 0.08, 0.04, 0.02)]
    assert works == sorted(works)


def test_what_was_given_up_is_not_expected_to_be_cheap(case, monkeypatch):
    X, theta, levels = case
    dives_of(monkeypatch, 1e5, 1e4)
    costs = TreeCosts(cone_sides(X, theta), levels, 1e9)
    costs.add_failure(1.1, 1e8)
    assert costs.forecast(1.1).work >= 0.99e8
    assert costs.forecast(1.05).work > 1e9
    assert costs.forecast(1.4).work < 1e7
    costs.add(1.12, 10**6, 1000)  # so it was an overestimate
    assert costs.forecast(1.1).work < 1e7


def test_what_was_given_up_above_a_finished_proof_is_forgotten(case, monkeypatch):
    X, theta, levels = case
    dives_of(monkeypatch, 6e8, 1e6)
    costs = TreeCosts(cone_sides(X, theta), levels, 1e9)
    costs.add_failure(1.9, 3e8)
    costs.add(1.6, 5 * 10**8, 1000)
    assert costs.forecast(1.5).work < 1.2e9  # the failure alone would say 3e9


def test_the_least_affordable_rho(case):
    X, theta, levels = case
    costs = TreeCosts(cone_sides(X, theta), levels, 1e9)
    found = [costs.least_rho(1.01, np.inf, allowed) for allowed in (1e5, 1e6, 1e7)]
    assert found == sorted(found, reverse=True)
    assert costs.least_rho(1.01, np.inf, 1.0) is None
    assert costs.least_rho(1.5, 1.5, 1e12) is None
    assert costs.least_rho(3.0, np.inf, 1e12) == 3.0
    assert costs.least_rho(1.01, found[0], 1e5) is None or costs.least_rho(1.01, found[0], 1e5) < found[0]


# -- trees that give way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_leaves", [False, True])
def test_the_rest_of_a_tree_may_be_finished_at_a_larger_bound(case, keep_leaves):
    X, theta, levels = case
    side = cone_sides(X, theta)[0]
    tree = GrowingTree(side, TaskPool(), keep_leaves)
    assert grow(tree, 1.1 * levels[0], 300_000).status is TreeStatus.WORK_LIMIT
    assert len(tree.open_paths) == np.count_nonzero(tree.nodes == OPEN) > 0
    assert 0.0 < tree.expected_work(1.5 * levels[0]) < tree.expected_work(1.1 * levels[0])
    while not tree.is_complete:
        grow(tree, 1.5 * levels[0], 200_000)
    assert len(subtree_ends(tree.nodes)) == 4
    assert not np.any(tree.nodes == OPEN)
    evidence = tree.tree(1.5 * levels[0])
    assert (evidence.leaves is not None) == keep_leaves
    if keep_leaves:
        assert len(evidence.leaves.alphas) == np.count_nonzero(tree.nodes == LEAF)


@pytest.mark.parametrize("keep_leaves", [False, True])
def test_a_proof_that_gave_way_is_verified(monkeypatch, keep_leaves):
    problem, network = trained(d=6)
    monkeypatch.setattr(Side, "estimate", underestimate(Side.estimate))
    effort = ProofEffort(1e-3, 20_000_000, keep_leaves=keep_leaves)
    bound, certificate, info = lower_bound(problem, network, effort=effort)
    assert 0.5 * problem.objective(network) < bound
    assert info.work <= 1.05 * effort.max_work
    verdict = verify(certificate, grade="interval")
    assert verdict.holds, str(verdict)


def underestimate(estimate):
    """Dives from the roots that see a hundredth of the trees, so that every attempt turns out to cost too much."""

    def found(self, bound, n_dives, paths=()):
        work, error = estimate(self, bound, n_dives, paths)
        return (work, error) if len(paths) else (0.01 * work, 0.001 * work)

    return found


# -- budgets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [10**6, 10**7])
def test_most_of_a_budget_goes_into_the_tree_of_the_answer(case, budget):
    X, theta, levels = case
    found = PricingProof(X, theta, levels).run(1.004, budget)
    assert found.work <= 1.02 * budget + 50_000
    assert found.tree_work >= 0.4 * budget or found.rho == 1.004
    assert found.rho < 3.0


def test_a_cheap_goal_is_tried_at_once(case):
    X, theta, levels = case
    found = PricingProof(X, theta, levels).run(1.5, 10**9)
    assert found.rho == 1.5
    assert found.tree_work == found.work


def test_a_goal_out_of_reach_costs_no_more_than_the_budget(case):
    X, theta, levels = case
    found = PricingProof(X, theta, levels).run(1.003, 2_000_000)
    assert found.work <= 2_100_000
    assert 1.003 < found.rho < np.inf


def test_work_is_left_for_a_dual_point_that_promises_more(case):
    """Where a sweep costs next to nothing and large rho gain much, the trees leave it its share."""
    X, theta, levels = case
    all_in = PricingProof(X, theta, levels).run(1.003, 3_000_000)
    shared = PricingProof(X, theta, levels).run(1.003, 3_000_000, reserve=lambda work: 1_500_000 + 0.01 * work)
    assert shared.work <= 3_000_000 * 1.02 + 50_000
    assert shared.rho >= all_in.rho


def test_a_forecast_of_nothing_left_does_not_keep_an_attempt_alive(case, monkeypatch):
    X, theta, levels = case
    monkeypatch.setattr(GrowingTree, "expected_work", lambda self, bound: 0.0)
    proven = PricingProof(X, theta, levels).run(1.003, 2_000_000)
    assert proven.work <= 2_100_000


def test_fewer_dives_are_made_where_one_costs_much_of_the_budget(case, monkeypatch):
    X, theta, levels = case
    sides, made, estimate = cone_sides(X, theta), [], Side.estimate

    def spy(self, bound, n_dives, paths=()):
        made.append(n_dives)
        return estimate(self, bound, n_dives, paths)

    monkeypatch.setattr(Side, "estimate", spy)
    counts = []
    for budget in (0.0, 1e10, 1e6):
        TreeCosts(sides, levels, budget).forecast(1.5)
        counts.append(made[-1])
    assert counts[1] > counts[0] > counts[2]

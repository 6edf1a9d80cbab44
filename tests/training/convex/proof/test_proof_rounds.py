"""A proof in rounds: another dual point where that promises more, the same honest certificate, the same budget."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from training.convex.proof.test_pricing_proof import trained

from rectifold._engine.executor import TaskPool
from rectifold.certify import verify
from rectifold.core.certificate_format import to_arrays
from rectifold.core.rounding import DyadicArray
from rectifold.training.convex.proof import dual_point, proof_rounds
from rectifold.training.convex.proof.dual_point import BoundInfo, DualBound, DualPoint
from rectifold.training.convex.proof.global_bound import ProofEffort, lower_bound

WORK = 200_000_000


@pytest.fixture(scope="module")
def hard():
    """A problem whose network's own dual point is a poor centre for trees within the budget."""
    return trained(fraction=0.02, n=60, d=8)


@pytest.fixture
def in_rounds(monkeypatch):
    """Small budgets are worth rounds, too; return the points whose pricing was bounded, the network's first."""
    monkeypatch.setattr(proof_rounds, "_LEAST_WORK", 0)
    monkeypatch.setattr(dual_point, "_LEAST_TO_OPTIMIZE", 0)
    points = []
    prove = DualPoint.prove

    def spy(self, *args, **options):
        points.append(self)
        return prove(self, *args, **options)

    monkeypatch.setattr(DualPoint, "prove", spy)
    return points


def gap(found):
    return 1.0 - found[0] / found[1].objective


def test_another_point_proves_more_within_the_budget(hard, in_rounds, monkeypatch):
    found = lower_bound(*hard, effort=ProofEffort(max_work=WORK))
    assert next(point.is_networks for point in in_rounds)
    assert not in_rounds[-1].is_networks
    assert found[2].work <= 1.05 * WORK
    monkeypatch.setattr(proof_rounds, "_LEAST_WORK", np.inf)
    alone = lower_bound(*hard, effort=ProofEffort(max_work=WORK))
    assert gap(found) < 0.8 * gap(alone)


class Scripted:
    """A dual point whose rounds take given shares of the budget and reach given values of an objective of 1."""

    rounds: ClassVar[list[tuple[float, float, bool]]] = []
    budget, left = 10**10, 10**10

    def __init__(self, problem, dual, objective, effort, is_networks=True):
        self.dual, self.is_networks = dual, is_networks
        self.wanted = 0.99

    def promise(self, max_work):
        return 0.95 if self.is_networks else 0.98

    def prove(self, max_work, reserves=True):
        assert max_work == Scripted.left
        share, value, is_new = Scripted.rounds.pop(0)
        work = int(share * Scripted.budget)
        Scripted.left -= work
        self.found = DualBound(object() if is_new else self.dual, 1.0, None, None, BoundInfo(1, 1, 1, work=work), value)
        return replace(self.found, dual=self.dual)

    def optimized(self, bound, max_work):
        return self.found


@pytest.mark.parametrize(
    ("rounds", "done"),
    [
        pytest.param([(0.5, 0.6, True), (0.45, 0.8, True)], 2, id="goes on"),
        pytest.param([(0.5, 0.6, False)], 1, id="no other point"),
        pytest.param([(0.85, 0.6, True)], 1, id="little left"),
        pytest.param([(0.2, 0.6, True), (0.2, 0.61, True)], 2, id="little gained"),
        pytest.param([(0.2, 0.6, True), (0.2, 0.5, True)], 2, id="nothing gained"),
        pytest.param([(0.2, 0.6, True), (0.2, 0.7, True), (0.2, 0.995, True)], 3, id="enough"),
    ],
)
def test_what_a_round_leaves_is_worth_another_where_much_was_gained(rounds, done, monkeypatch):
    monkeypatch.setattr(proof_rounds, "DualPoint", Scripted)
    monkeypatch.setattr(Scripted, "rounds", list(rounds))
    monkeypatch.setattr(Scripted, "left", Scripted.budget)
    found = proof_rounds.prove_in_rounds(None, object(), 1.0, ProofEffort(max_work=Scripted.budget))
    assert len(rounds) - len(Scripted.rounds) == done
    assert found.value == max(value for _, value, _ in rounds)
    assert found.info.work == Scripted.budget - Scripted.left


@pytest.mark.parametrize("keep_leaves", [False, True])
def test_what_it_proves_is_verified_and_no_more(hard, in_rounds, keep_leaves):
    bound, certificate, _ = lower_bound(*hard, effort=ProofEffort(max_work=WORK, keep_leaves=keep_leaves))
    assert not in_rounds[-1].is_networks
    assert verify(certificate, grade="interval").holds
    higher = replace(certificate, lower_bound=bound + 0.3 * (certificate.objective - bound))
    assert not verify(higher).holds
    larger = DyadicArray.round(1.5 * certificate.theta.to_float())
    assert not verify(replace(certificate, theta=larger)).holds


def test_it_does_not_depend_on_the_threads(hard, in_rounds):
    alone = lower_bound(*hard, effort=ProofEffort(max_work=WORK))
    with ThreadPoolExecutor(2) as pool:
        together = lower_bound(*hard, effort=ProofEffort(max_work=WORK, pool=TaskPool(pool)))
    assert alone[0] == together[0]
    ours, theirs = to_arrays(alone[1]), to_arrays(together[1])
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_where_the_own_point_promises_enough_there_is_one_round(in_rounds):
    problem, network = trained()
    in_rounds.clear()
    found = lower_bound(problem, network, effort=ProofEffort(max_work=10**9))
    assert gap(found) <= 0.01
    assert [point.is_networks for point in in_rounds] == [True]


def test_an_interruption_leaves_what_is_proven(hard, in_rounds):
    calls = []

    def stop():
        calls.append(None)
        return len(calls) > 40

    bound, certificate, _ = lower_bound(*hard, effort=ProofEffort(max_work=WORK, should_stop=stop))
    assert bound > 0.0
    assert verify(certificate).holds

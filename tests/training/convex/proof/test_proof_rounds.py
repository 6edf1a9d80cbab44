"""A proof in rounds: another dual point where that promises more, the same honest certificate, the same budget."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from training.convex.proof.test_pricing_proof import trained

from rectifold._engine.executor import TaskPool
from rectifold.certify import verify
from rectifold.core.certificate_format import to_arrays
from rectifold.core.rounding import DyadicArray
from rectifold.training.convex.proof import dual_point, proof_rounds
from rectifold.training.convex.proof.dual_point import DualPoint
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


def test_what_the_last_round_leaves_is_worth_another_at_its_point(in_rounds, monkeypatch):
    case = trained(fraction=0.05, n=60, d=8)
    found = lower_bound(*case, effort=ProofEffort(max_work=WORK))
    assert found[2].work <= 1.05 * WORK
    monkeypatch.setattr(proof_rounds, "_LEAST_REST", np.inf)
    cut_short = lower_bound(*case, effort=ProofEffort(max_work=WORK))
    assert cut_short[2].work < 0.8 * WORK
    assert gap(found) < 0.8 * gap(cut_short)


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

"""Pricing and proof feed each other: what refutes a proof becomes a neuron, however blind pricing is to it."""

from __future__ import annotations

import numpy as np
import pytest
from problems import PLAIN, T1_LAMBDA_MAX, T1_OPTIMA, small, t1

from rectifold.core.result import Proof
from rectifold.training.convex import train
from rectifold.training.convex.restricted.patterns import all_patterns
from rectifold.training.convex.search import column_generation
from rectifold.training.convex.search.descent import Neurons
from rectifold.training.convex.search.pricing import price
from rectifold.training.convex.solve import solve_convex_relu

WORK = 50_000_000


@pytest.fixture
def blind(monkeypatch):
    """No starts, no network to begin with, and pricing sees only what it is told."""

    def told(problem, theta, starts, *, known=None, **options):
        return price(problem, theta, starts[:0], known=known, **options)

    def nothing(problem, rng, warm, budget):
        d, k = problem.design.shape[1], problem.n_outputs
        return Neurons(*problem.neurons(warm)) if warm else Neurons(np.empty((0, d)), np.empty((0, k)), np.zeros(k))

    monkeypatch.setattr(column_generation, "price", told)
    monkeypatch.setattr(train, "_start", nothing)


def test_without_a_proof_blind_training_learns_nothing(blind):
    X, y = t1()
    result = solve_convex_relu(X, y, 0.1 * T1_LAMBDA_MAX / len(X), certify=False, **PLAIN)
    assert result.solution.widths == (0,)


@pytest.mark.parametrize("fraction", [0.5, 0.1])
def test_refutations_alone_lead_to_the_optimum(blind, fraction):
    X, y = t1()
    alpha = fraction * T1_LAMBDA_MAX / len(X)
    result = solve_convex_relu(X, y, alpha, gap_tol=1e-2, max_work=WORK, **PLAIN)
    assert result.proof is Proof.CERTIFIED
    assert result.value * len(X) <= T1_OPTIMA[fraction] * (1 + 1e-2)
    assert result.bound * len(X) <= T1_OPTIMA[fraction] * (1 + 1e-9)


def test_each_output_takes_up_its_own(blind):
    X, Y = small(1, n=12, d=2, outputs=2)
    alpha, switches = 0.05, {**PLAIN, "output_penalty": "l1"}
    best = solve_convex_relu(X, Y, alpha, all_patterns(X), certify=False, **switches)
    result = solve_convex_relu(X, Y, alpha, gap_tol=1e-2, max_work=WORK, **switches)
    assert result.proof is Proof.CERTIFIED
    assert result.value <= best.value * (1 + 1e-2)


@pytest.mark.parametrize("offset", [0.0, 30.0])
@pytest.mark.parametrize("hidden_bias", [True, "free"])
def test_pricing_sees_data_far_from_the_origin(offset, hidden_bias):
    """The patterns are those of the data in the middle; no hyperplane of a random direction meets the cluster."""
    X, y = small(2, n=20, d=2)
    X = X + offset
    switches = {"hidden_bias": hidden_bias}
    column = np.full((len(X), 1), np.abs(X).max())
    alpha = 0.01
    best = solve_convex_relu(X, y, alpha, all_patterns(np.hstack([X, column])), certify=False, **switches)
    result = solve_convex_relu(X, y, alpha, certify=False, **switches)
    assert result.value <= best.value * (1 + 1e-5)

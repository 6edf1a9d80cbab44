"""Pricing that is told to stop ascends what it has begun, and says how many starts that were."""

from __future__ import annotations

import numpy as np

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.search import pricing


def test_it_stops_between_blocks_of_starts(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 3)), rng.standard_normal(50)
    problem = ConvexReLUProblem(X, y, 0.1)
    starts = rng.standard_normal((40, problem.design.shape[1]))
    monkeypatch.setattr(pricing, "_BLOCK_BYTES", 8 * 8 * 50)
    whole = pricing.price(problem, problem.null_theta, starts)
    cut = pricing.price(problem, problem.null_theta, starts, should_stop=lambda: True)
    assert whole.starts == 2 * 40  # both signs
    assert cut.starts == 2 * 8
    assert 0.0 < cut.largest <= whole.largest

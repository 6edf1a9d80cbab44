"""Training with a small budget for the proof: enough to certify small data, soon over on others."""

from __future__ import annotations

from functools import partial

from rectifold.training.convex import alpha_max, solve

MAX_WORK = 20_000_000

solve_convex_relu = partial(solve.solve_convex_relu, max_work=MAX_WORK)
alpha_max_bound = partial(alpha_max.alpha_max_bound, max_work=MAX_WORK)

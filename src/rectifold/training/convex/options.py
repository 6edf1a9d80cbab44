"""Tolerances and limits of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rectifold.core.errors import ProblemError


@dataclass(frozen=True)
class TrainingOptions:
    """Tolerances and limits of training; see `solve_convex_relu` for their meaning."""

    tol: float = 1e-6
    max_iter: int = 50
    n_starts: int = 300
    certify: bool = True
    gap_tol: float = 1e-2
    max_work: int = 5_000_000_000
    random_state: int | np.random.Generator | None = 0
    keep_leaves: bool = False

    def __post_init__(self) -> None:
        for name in ("tol", "gap_tol"):
            value = getattr(self, name)
            if not (isinstance(value, float | np.floating) and 0 < value < 1):
                raise ProblemError(f"{name} must be between 0 and 1, got {value!r}.")
        for name, least in (("max_iter", 1), ("n_starts", 1), ("max_work", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ProblemError(f"{name} must be an integer >= {least}, got {value!r}.")
        seed = self.random_state
        is_seed = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0
        if not (seed is None or is_seed or isinstance(seed, np.random.Generator)):
            raise ProblemError(f"random_state must be a non-negative integer, a Generator or None, got {seed!r}.")

"""Heuristic pricing: many starts of ascent on ``||R'(X u)_+||`` over the unit ball."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Priced:
    """Directions found by pricing, best first.

    Attributes
    ----------
    directions : ndarray, shape (k, d)
        Unit vectors.
    values : ndarray, shape (k,)
        ``||R'(X u)_+||`` at them; for one output its absolute value.
    starts : int
    """

    directions: Array
    values: Array
    starts: int

    @property
    def largest(self) -> float:
        """The largest value found; 0 if there was no start."""
        return float(self.values.max(initial=0.0))


def price(
    X: Array,
    theta: Array,
    starts: Array,
    *,
    norm: str = "l2",
    max_iter: int = 200,
) -> Priced:
    """Ascend from every start and return the distinct ends, best first.

    A step replaces u by the normalised gradient ``X'(1(Xu > 0) o R R'(Xu)_+)``, the maximiser of the linearisation of
    a convex function on the ball: the value never falls and no step size is needed. For one output the sign is
    fixed per start, the part with negative residuals is concave, and a proximal step with halving is used instead.

    Parameters
    ----------
    X : ndarray, shape (n, d)
    theta : ndarray, shape (n, K)
    starts : ndarray, shape (k, d)
        Each is ascended for every sign it makes sense for.
    norm : {"l2", "l1"}
        "l1" prices outputs one by one: the largest ``|theta_k'(Xu)_+|``.

    Notes
    -----
    A search, not a bound: the largest value is a lower bound on the true one. Cost ``O(n d k)`` an iteration.
    """
    raise RuntimeError

"""What a set of optima hands out: members, linear functionals with their ranges, and verdicts on membership."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.network import ReLUNetwork
from rectifold.core.result import ReadOnlyArrays

__all__ = ["Extreme", "LinearFunctional", "Member", "Membership"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Member(ReadOnlyArrays):
    """One optimum: a balanced network and its multipliers.

    Attributes
    ----------
    network : ReLUNetwork
    multipliers : ndarray, shape (m,)
        ``mu_b = ||w_b||`` of the convex weights over the neurons of the set; zero where a neuron is not used.
    intercept : ndarray, shape (K,)
    objective : float
    is_stationary : bool
        Whether all its neurons pass the Clarke test, so that the network is a stationary point in its own weights.
    """

    network: ReLUNetwork
    multipliers: Array
    intercept: Array
    objective: float
    is_stationary: bool

    def __call__(self, X: ArrayLike) -> Array:
        """Evaluate the network at points (n, n_features), giving (n, K), or at one point (n_features,)."""
        return self.network(X)

    @property
    def norm(self) -> float:
        """Euclidean norm of the convex weights, ``||mu||``."""
        return float(np.linalg.norm(self.multipliers))

    @property
    def width(self) -> int:
        """Number of neurons."""
        return int(np.count_nonzero(self.multipliers))


@dataclass(frozen=True, eq=False)
class LinearFunctional(ReadOnlyArrays):
    """``coefficients'mu + constant``, with the intercept expressed through the multipliers.

    Attributes
    ----------
    coefficients : ndarray, shape (m,)
    constant : float
    """

    coefficients: Array
    constant: float = 0.0

    def __call__(self, multipliers: Array) -> float:
        """Evaluate at multipliers (m,)."""
        return float(self.coefficients @ multipliers) + self.constant


@dataclass(frozen=True, eq=False)
class Extreme:
    """The range of a linear functional over a set of optima, with members that attain its ends.

    Attributes
    ----------
    lower, upper : float
    at_lower, at_upper : Member
        Vertices of the set.
    """

    lower: float
    upper: float
    at_lower: Member
    at_upper: Member

    @property
    def width(self) -> float:
        """``upper - lower``: how far optima differ."""
        return self.upper - self.lower


@dataclass(frozen=True, eq=False)
class Membership:
    """The verdict on a network; true in a condition if it is a member.

    Attributes
    ----------
    holds : bool
    condition : str
        The violated condition with its size; empty if the network is a member.
    fit_error : float
        Largest difference from the common fit, over its largest value (squared hinge: also the missing margins).
    cell_violation : float
        Largest distance of a neuron, as a sine, from the cones of the program's patterns; 0 where it has all patterns.
    objective_excess : float
        Relative to the common objective.
    multipliers : ndarray, shape (m,), or None
        Of a member, if its neurons are all among those of the set, which they must be where its scope is "all".
    is_stationary : bool or None
        Whether all its neurons pass the Clarke test; None if it is no member or the multipliers are not known.
    """

    holds: bool
    condition: str
    fit_error: float
    cell_violation: float
    objective_excess: float
    multipliers: Array | None
    is_stationary: bool | None

    def __bool__(self) -> bool:
        return self.holds

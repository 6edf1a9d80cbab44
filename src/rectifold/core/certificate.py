"""Certificates: data from which `rectifold.verify` re-derives a claim. They never store a verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import ReadOnlyArrays
from rectifold.core.rounding import DyadicArray

Array = NDArray[np.float64]


class Grade(IntEnum):
    """How much a verification can be trusted."""

    SAMPLED = 1
    """Tested at finitely many points."""
    FLOAT = 2
    """Recomputed in float64 within a stated tolerance; not rigorous."""
    INTERVAL = 3
    """Rigorous: outward rounding or a-priori error bounds."""
    RATIONAL = 4
    """Exact arithmetic."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class SpectralBound(ReadOnlyArrays):
    """Evidence that ``max_{||u|| <= 1} r'(Xu)_+`` is small, for r = +theta_k and -theta_k, by one eigenvalue each.

    For any activities a in [0, 1] and weights w > 0, with ``gamma_i = r_i / 2`` where r_i > 0 and ``a_i r_i`` where
    r_i <= 0, it is at most::

        ||X'gamma|| + 1/2 sqrt(sum_i r_i^2 / w_i * lambda_max(sum_i w_i x_i x_i')),   sums over the rows r_i > 0.

    Attributes
    ----------
    row_weights : ndarray of float64, shape (n, K)
        Positive; column k serves both signs, each on the rows where r_i > 0.
    activity : ndarray of float64, shape (n, K)
        In [0, 1]; column k serves both signs, each on the rows where r_i < 0.
    """

    row_weights: Array
    activity: Array


@dataclass(frozen=True, eq=False)
class LeafMultipliers(ReadOnlyArrays):
    """One vector gamma in R^n a leaf, stored as a 0/1 mask of r plus a sparse excess.

    ``gamma_i = mask_i * r_i + excess_i``, rounded to float64.

    Attributes
    ----------
    masks : ndarray of uint8, shape (n_leaves, ceil(n / 8))
        Packed by `pack_patterns`, the first row in the lowest bit.
    indptr : ndarray of int64, shape (n_leaves + 1,)
    indices : ndarray of int32, ascending in each leaf
    excess : ndarray of float64
        Compressed rows of the excess.
    """

    masks: NDArray[np.uint8]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    excess: Array


@dataclass(frozen=True, eq=False)
class SignTree(ReadOnlyArrays):
    """A binary tree of splits by the sign of ``x_i'u`` whose leaves bound ``g(u) = sum_i r_i (x_i'u)_+`` on the ball.

    On a leaf rows on the path have a known sign, the others are free. With S+ and S- the rows known to be
    non-negative and non-positive and U the free ones, every gamma with ``gamma_i >= r_i`` on S+, ``gamma_i <= 0`` on
    S-, ``r_i <= gamma_i <= 0`` on U where r_i <= 0 and ``gamma_i = r_i / 2`` on U where r_i > 0 gives::

        g(u) <= ||X'gamma|| + 1/2 sqrt(sum_i r_i^2 / w_i * lambda_max(sum_i w_i x_i x_i')),   sums over U, r_i > 0.

    Attributes
    ----------
    output : int
        Which column of theta.
    sign : int
        +1 or -1: r = sign * theta[:, output].
    splits : ndarray of int32, shape (n_nodes,)
        Preorder: the row an inner node splits on (the non-negative child first), -1 at a leaf.
    row_weights : ndarray of float64, shape (n,)
        The w, positive.
    leaves : LeafMultipliers
        In the order of the leaves in ``splits``; what they say of rows in U with r_i > 0 is not used.
    """

    output: int
    sign: int
    splits: NDArray[np.int32]
    row_weights: Array
    leaves: LeafMultipliers


@dataclass(frozen=True, eq=False)
class PatternBounds(ReadOnlyArrays):
    """Evidence for the program restricted to given activation patterns: one leaf per pattern, output and sign.

    On the cone of a pattern S+ and S- are its active and inactive rows, none is free, and ``g(u) <= ||X'gamma||``.

    Attributes
    ----------
    patterns : ndarray of uint8, shape (P, ceil(n / 8))
        Activation patterns over the rows of the problem's design, packed by `pack_patterns`.
    leaves : LeafMultipliers
        Order: output-major, then sign (+, -), then pattern.
    """

    patterns: NDArray[np.uint8]
    leaves: LeafMultipliers


@dataclass(frozen=True, eq=False)
class SignTrees:
    """Evidence over all directions: one `SignTree` per output and sign."""

    trees: tuple[SignTree, ...]


Evidence = SpectralBound | SignTrees | PatternBounds


@dataclass(frozen=True, eq=False)
class TrainingCertificate(ReadOnlyArrays):
    """Claims ``F(network) <= objective`` and ``lower_bound <= min F``, the minimum over the scope of ``evidence``.

    The scope is all widths and all weights, except for `PatternBounds`, where it is the program restricted to the
    given patterns. The dual point is ``scale * theta``.

    Attributes
    ----------
    problem : ConvexReLUProblem or None
        None once stored without its data; `verify` then needs ``problem=`` and compares the digest.
    problem_digest : str
    network : ReLUNetwork
    objective, lower_bound : float
    theta : DyadicArray, shape (n, K)
        Sums to zero in every column where there is an intercept.
    scale : float
    evidence : SpectralBound, SignTrees or PatternBounds
    bias_center : ndarray, shape (n_features,), or None
    bias_scale : float or None
        For a free hidden bias only: the evidence speaks of the rows ``[x_i - bias_center, bias_scale]``. With
        R = max ||x_i - bias_center|| the pricing bound is ``sqrt(1 + R^2 / bias_scale^2)`` times theirs, since theta
        sums to zero. None: of the rows of the design, as for every other bias.
    """

    problem: ConvexReLUProblem | None
    problem_digest: str
    network: ReLUNetwork
    objective: float
    lower_bound: float
    theta: DyadicArray
    scale: float
    evidence: Evidence
    bias_center: Array | None = None
    bias_scale: float | None = None

    def without_data(self) -> TrainingCertificate:
        """Return the certificate with the problem's digest in place of its data."""
        return replace(self, problem=None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "problem": None}

"""Certificates: data from which `rectifold.verify` re-derives a claim. They never store a verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core.domain import Domain
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
class PatternBounds(ReadOnlyArrays):
    """Evidence for the program restricted to given activation patterns: one leaf per pattern, output and sign.

    Every gamma with ``gamma_i >= r_i`` on a pattern's active rows and ``gamma_i <= 0`` on the others gives on its cone
    ``sum_i r_i (x_i'u)_+ <= ||X'gamma||`` for u in the unit ball.

    Attributes
    ----------
    patterns : ndarray of uint8, shape (P, ceil(n / 8))
        Activation patterns over the rows of the problem's design, packed by `pack_patterns`.
    leaves : LeafMultipliers
        Order: output-major, then sign (+, -), then pattern.
    """

    patterns: NDArray[np.uint8]
    leaves: LeafMultipliers


CONE_LEAF = 0xFFFF
CONE_EXTENSION = 0xFFFE
CONE_OPEN = 0xFFFD
"""Codes of a cone tree's stream; an open node is a search's placeholder that no certificate may hold."""


@dataclass(frozen=True, eq=False)
class ConeLeaves(ReadOnlyArrays):
    """What closes each leaf of a `ConeTree`, in the order of the leaves in its stream.

    Attributes
    ----------
    alphas : ndarray of uint8, shape (n_leaves, n)
        ``alpha_i = byte / 255``; the bytes of rows with r_i >= 0 are not used.
    duals : ndarray of float64, shape (n_leaves, d)
        The vector a; in a cone of k dimensions the entries from k on are not used.
    """

    alphas: NDArray[np.uint8]
    duals: Array


@dataclass(frozen=True, eq=False)
class ConeTree(ReadOnlyArrays):
    """A tree of simplicial cones whose leaves show ``g(u) = sum_i r_i (x_i'u)_+ <= bound`` on the unit ball.

    In coordinates ``u = rotation z`` the cones lie in the first k axes; k grows along a path from ``min(2, d)``. The
    roots are the orthants of these axes, in the order o = 0, 1, ...: ray j of root o is ``-e_j`` if bit j of o is set,
    else ``+e_j``. Bisecting the edge (i, j) puts ``m ~ v_i / ||v_i||_M + v_j / ||v_j||_M``, ``||m||_2 = 1``, in the
    place of ray i (first child) or j (second child), where ``||v||_M^2 = sum_l metric_l v_l^2``. Extending adds the ray
    ``+e_k`` (first child) or ``-e_k`` (second child), last.

    With z1 the first k coordinates of the rows of ``X rotation`` and z2 the others, any alpha in [0, 1]^n and any a
    with ``sum_{r_i > 0} r_i (z1_i'v)_+ - sum_{r_i < 0} |r_i| alpha_i z1_i'v <= a'v`` at the rays v of a leaf give
    there, with sums over the rows r_i > 0 in K::

        g(u)^2 <= ||a||^2 + (||b|| + K)^2,   b = 1/2 sum_{r_i > 0} r_i z2_i - sum_{r_i < 0} alpha_i |r_i| z2_i,
        K = 1/2 sqrt(sum_i r_i^2 / w_i * lambda_max(sum_i w_i z2_i z2_i')).

    Attributes
    ----------
    output : int
        Which column of theta.
    sign : int
        +1 or -1: r = sign * theta[:, output].
    bound : float
        Positive: what the leaves prove, before rounding is accounted for.
    rotation : ndarray of float64, shape (d, d)
        Orthonormal up to a small error, which is checked.
    metric : ndarray of float64, shape (d,)
        Positive.
    row_weights : ndarray of float64, shape (d, n)
        Row k: the w of leaves of k dimensions; only rows of a k that occurs need to be positive.
    nodes : ndarray of uint16, shape (n_nodes,)
        Preorder, the roots one after the other: `CONE_LEAF`, `CONE_EXTENSION`, or ``256 i + j`` with i < j for the
        bisection of the edge (i, j).
    leaves : ConeLeaves or None
        None: `verify` looks for alpha and a itself.
    """

    output: int
    sign: int
    bound: float
    rotation: Array
    metric: Array
    row_weights: Array
    nodes: NDArray[np.uint16]
    leaves: ConeLeaves | None = None


@dataclass(frozen=True, eq=False)
class ConeTrees:
    """Evidence over all directions: one `ConeTree` per output and sign."""

    trees: tuple[ConeTree, ...]


Evidence = SpectralBound | PatternBounds | ConeTrees


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
    evidence : SpectralBound, ConeTrees or PatternBounds
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


@dataclass(frozen=True, eq=False)
class LocalMinimumCertificate(ReadOnlyArrays):
    """Claims that ``x`` is a local minimum of one output of a network over a domain, with this value.

    The constraints at zero there are exactly ``n_inputs``, with independent normals, so that the function is a sum of
    piecewise-linear functions of one slack each: it is a local minimum iff it falls along none of the 2 n edges.
    (Hinz and van de Geer 2021.)

    Attributes
    ----------
    network : ReLUNetwork
    domain : Domain or None
        None: all of R^n.
    output : int
    maximum : bool
        True: a local maximum is claimed.
    x : ndarray of float64, shape (n_inputs,)
    value : float
        Of the network's output.
    constraints : ndarray of int64, shape (n_inputs - p - q,)
        Hidden units (pass-through units are counted) and then rows of the domain's inequalities, in any order; p is the
        number of independent equality rows.
    invariant : ndarray of float64, shape (q, n_inputs)
        Directions along which the network and the domain do not change at all.
    scale : float
        A length to compare distances with: constraints count as being at zero within 1e-9 of it (of the largest |x_i|
        if that is more).
    """

    network: ReLUNetwork
    domain: Domain | None
    output: int
    maximum: bool
    x: Array
    value: float
    constraints: NDArray[np.int64]
    invariant: Array
    scale: float


@dataclass(frozen=True, eq=False)
class ConvexMinimumCertificate(ReadOnlyArrays):
    """Claims that ``x`` is a local minimum where the function is convex nearby, at a vertex that may be degenerate.

    The gradient with all ``units`` off, plus their shares of their jumps, plus the rows' multipliers times the rows,
    is zero: a zero subgradient, which proves the minimum if every unit is a convex kink and none feeds another.

    Attributes
    ----------
    network, domain, output, maximum, x, value, scale
        As in `LocalMinimumCertificate`.
    units : ndarray of int64, shape (c,)
        All kinks at zero.
    shares : ndarray of float64, shape (c,)
        In [0, 1].
    rows : ndarray of int64, shape (r,)
        Inequalities of the domain that hold with equality.
    row_multipliers : ndarray of float64, shape (r,)
        At least 0.
    equality_multipliers : ndarray of float64, shape (p,)
        One for each equality row.
    """

    network: ReLUNetwork
    domain: Domain | None
    output: int
    maximum: bool
    x: Array
    value: float
    scale: float
    units: NDArray[np.int64]
    shares: Array
    rows: NDArray[np.int64]
    row_multipliers: Array
    equality_multipliers: Array

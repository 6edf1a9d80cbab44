"""All optima of a training problem: the polytope of multipliers over the neurons that an optimum may use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_float_array, as_points
from rectifold.core.errors import ProblemError, SolverError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof
from rectifold.training.convex.optima.equicorrelation import Equicorrelation, equicorrelation
from rectifold.training.convex.optima.functionals import (
    as_functional,
    check_index,
    inputs_of,
    prediction_functionals,
    ranges,
)
from rectifold.training.convex.optima.kinks import ClarkeTest, clarke_test
from rectifold.training.convex.optima.members import Extreme, LinearFunctional, Member, Membership
from rectifold.training.convex.optima.membership import (
    discrepancies,
    matched_multipliers,
    program_objective,
    projected_multipliers,
)
from rectifold.training.convex.optima.optimal_polytope import OptimalPolytope
from rectifold.training.convex.optima.polytope_points import hit_and_run, nearest, vertices
from rectifold.training.convex.optima.solved import solved_program

__all__ = ["OptimalSet", "optimal_set"]

Array = NDArray[np.float64]

_SAME_OBJECTIVE = 1e-9
_FIT_PER_TOL = 1e3
_LARGEST_EXCESS = 1e-3


@dataclass(frozen=True, eq=False)
class OptimalSet:
    """All optimal networks of a problem, up to permuting neurons and splitting one into collinear ones.

    ``{mu >= 0, c : M mu + c = fit}`` over the merged neurons of E: every optimum has convex weights
    ``w_b = mu_b u_b``, that is neurons ``sqrt(mu_b) u_b`` with output weights ``s_b sqrt(mu_b)``, and the same fit,
    penalty and objective. (Squared hinge: the same fit where theta is not zero, and margins of at least 1 elsewhere.)

    Attributes
    ----------
    blocks : Equicorrelation
        The m neurons that optima may use, with the common fit and the identification margin.
    polytope : OptimalPolytope
    """

    blocks: Equicorrelation
    polytope: OptimalPolytope

    # -- what the set is ------------------------------------------------------------------------------------------

    @property
    def problem(self) -> ConvexReLUProblem:
        """The problem it belongs to."""
        return self.blocks.problem

    @property
    def objective(self) -> float:
        """The objective that all members share."""
        return self.blocks.objective

    @property
    def scope(self) -> str:
        """Return "all" if every optimum is here, "found" if every member is as good as the best found, no more."""
        return "all" if self.blocks.complete else "found"

    @property
    def proof(self) -> Proof:
        """What is known of the members' global optimality: certified only where all patterns were enumerated."""
        if self.blocks.patterns is not None:
            return Proof.RESTRICTED
        return Proof.CERTIFIED if self.blocks.complete else Proof.PRICED

    @property
    def n_neurons(self) -> int:
        """Number m of distinct neurons that members may use."""
        return len(self.blocks)

    @property
    def rank(self) -> int:
        """Rank of their activations: no vertex is wider."""
        return self.polytope.rank

    @property
    def dimension(self) -> int:
        """Dimension of the polytope."""
        return self.polytope.dimension

    @property
    def margin(self) -> float:
        """Identification margin: by how much, relative to alpha, the next block falls short of entering E."""
        return self.blocks.margin

    @property
    def is_unique(self) -> bool | None:
        """Whether there is one optimum only, up to permuting and splitting; None where it can't be known."""
        if self.dimension > 0:
            return False
        return True if self.scope == "all" else None

    @property
    def condition(self) -> str:
        """The condition that decided `is_unique`, in a sentence."""
        m, rank = self.n_neurons, self.rank
        if m == 0:
            text = "no neuron can be active: the constant is optimal"
        elif m == rank:
            text = (
                f"the activations of the {m} neurons are linearly independent (smallest singular value "
                f"{self.polytope.smallest_kept:.2g} of the largest)"
            )
        elif self.dimension == 0:
            text = f"the activations of the {m} neurons have rank {rank}, but one combination only is non-negative"
        else:
            text = (
                f"the activations of the {m} neurons have rank {rank}, and multipliers can move in {self.dimension} "
                "dimensions without turning negative"
            )
        if self.is_unique is None:
            text += "; not all patterns were searched, so that neurons may be missing"
        return text

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.n_neurons} neurons, rank {self.rank}, dimension {self.dimension}, "
            f"scope={self.scope!r}, is_unique={self.is_unique})"
        )

    def __str__(self) -> str:
        rows = [
            ("objective", f"{self.objective:.10g}"),
            ("relative gap", f"{self.blocks.relative_gap:.3g}"),
            ("proof", str(self.proof)),
            ("scope", self.scope),
            ("neurons", f"{self.n_neurons}, of {self.blocks.n_blocks} blocks"),
            ("rank", str(self.rank)),
            ("dimension", str(self.dimension)),
            ("unique", f"{self.is_unique}: {self.condition}"),
            (
                "margin",
                f"{self.margin:.3g} of alpha to the next block, {self.blocks.neuron_margin:.3g} to another neuron",
            ),
        ]
        width = max(len(k) for k, _ in rows)
        return "\n".join([type(self).__name__, *(f"  {k:<{width}}  {v}" for k, v in rows)])

    # -- members --------------------------------------------------------------------------------------------------

    @cached_property
    def clarke_tests(self) -> tuple[ClarkeTest, ...]:
        """The Clarke test of every neuron, which does not depend on its multiplier."""
        blocks = self.blocks
        return tuple(
            clarke_test(
                self.problem.design,
                blocks.theta[:, blocks.output_index[b]],
                self.problem.alpha,
                blocks.directions[b],
                float(blocks.signs[b]),
                blocks.cells[b],
            )
            for b in range(len(blocks))
        )

    def member(self, multipliers: ArrayLike) -> Member:
        """Return the member with these multipliers, shape (m,).

        Raises
        ------
        ProblemError
            If they do not belong to the set; the message says by how much.
        """
        mu = as_float_array(multipliers, "multipliers", ndim=1)
        if mu.shape != (self.n_neurons,):
            raise ProblemError(f"multipliers must have shape ({self.n_neurons},), got {mu.shape}.")
        violation = self.polytope.violation(mu)
        if violation > _SAME_OBJECTIVE:
            raise ProblemError(f"These multipliers violate the conditions of the set by a relative {violation:.2g}.")
        return self._member(np.maximum(mu, 0.0))

    def _member(self, mu: Array) -> Member:
        used, intercept = mu > 0, self.polytope.intercept(mu)
        blocks = self.blocks
        network = self.problem.network(blocks.directions[used], blocks.outputs[used] * mu[used, None], intercept)
        excess = program_objective(self.problem, network) - self.objective
        if abs(excess) > _SAME_OBJECTIVE * max(self.objective, 1e-300):
            raise SolverError(
                f"A member's objective differs by a relative {abs(excess) / self.objective:.2g} from that of the set."
            )
        stationary = all(self.clarke_tests[b].holds for b in np.flatnonzero(used))
        return Member(network, mu, intercept, self.problem.objective(network), stationary)

    def minimum_norm(self) -> Member:
        """Return the member of least ``||mu||``, the Euclidean norm of the merged convex weights."""
        return self._member(nearest(self.polytope, np.zeros(self.n_neurons)))

    def center(self) -> Member:
        """Return a member in the relative interior: it uses every neuron that some optimum uses."""
        return self._member(self.polytope.clean(self.polytope.center))

    def sample(self, k: int, random_state: int | np.random.Generator | None = 0) -> tuple[Member, ...]:
        """Return k random members of the relative interior, by hit-and-run."""
        points = hit_and_run(self.polytope, check_index(k, "k", 10**7, least=1), np.random.default_rng(random_state))
        return tuple(self._member(mu) for mu in points)

    def vertices(self, max_vertices: int = 10_000) -> tuple[Member, ...]:
        """Return all vertices: the members from which no neuron can be left out.

        Raises
        ------
        ProblemError
            If the dimension is above 9 or there are more than ``max_vertices``.
        """
        return tuple(self._member(mu) for mu in vertices(self.polytope, max_vertices))

    def contains(self, network: ReLUNetwork, tol: float = 1e-9) -> Membership:
        """Decide whether a network is optimal, by its fit, the cells of its neurons and its objective.

        Parameters
        ----------
        network : ReLUNetwork
        tol : float
            Of the objective, relative; cells are asked to 100 tol, the fit to 1000 tol.

        Raises
        ------
        ProblemError
            If it is no two-layer ReLU network of the problem's shape and switches.
        """
        fit, cell, excess = discrepancies(self.blocks, network)
        condition = ""
        if fit > _FIT_PER_TOL * tol:
            condition = f"its fit differs from that of the optima by {fit:.3g} of the largest value"
        elif cell > 100 * tol:
            condition = f"a neuron lies outside the cones of all patterns, by an angle of sine {cell:.3g}"
        elif abs(excess) > tol:
            condition = f"its objective differs by a relative {excess:+.3g}"
        mu = matched_multipliers(self.blocks, network) if not condition else None
        stationary = None
        if mu is not None:
            stationary = all(self.clarke_tests[b].holds for b in np.flatnonzero(mu))
        return Membership(not condition, condition, fit, cell, excess, mu, stationary)

    def project(self, network: ReLUNetwork) -> Member:
        """Return the member nearest to a network in the convex weights.

        Each neuron counts with the direction of E that is nearest to its own among those of equal output and sign.
        """
        return self._member(nearest(self.polytope, projected_multipliers(self.blocks, network)))

    # -- ranges ---------------------------------------------------------------------------------------------------

    def prediction(self, x: ArrayLike, output: int = 0) -> LinearFunctional:
        """Return the prediction at one point, shape (n_features,), as a functional of the multipliers."""
        point, _ = as_points(as_float_array(x, "x", ndim=1), self.problem.n_features, "x")
        k = check_index(output, "output", self.problem.n_outputs)
        coefficients, constants = prediction_functionals(self.blocks, self.polytope, point)
        return LinearFunctional(coefficients[0, k], float(constants[k]))

    def weight(self, neuron: int, feature: int | None = None) -> LinearFunctional:
        """Return a neuron's size ``mu_b`` or, with a feature, its convex weight ``s_b mu_b u_bf``, as a functional."""
        b = check_index(neuron, "neuron", self.n_neurons)
        coefficients = np.zeros(self.n_neurons)
        coefficients[b] = 1.0
        if feature is not None:
            f = check_index(feature, "feature", self.problem.n_features)
            coefficients[b] = self.blocks.signs[b] * self.blocks.directions[b, f]
        return LinearFunctional(coefficients)

    def feature_use(self, feature: int) -> LinearFunctional:
        """Return the use ``sum_j |a_j| |w_jf|`` that a network makes of a feature, as a functional."""
        f = check_index(feature, "feature", self.problem.n_features)
        return LinearFunctional(np.abs(self.blocks.directions[:, f]))

    def extreme(self, direction: LinearFunctional | ArrayLike) -> Extreme:
        """Return the range of a linear functional over the set with vertices that attain it, by two linear programs.

        Parameters
        ----------
        direction : LinearFunctional or array_like, shape (m,)
            As from `prediction`, `weight` and `feature_use`, or coefficients of the multipliers.
        """
        functional = as_functional(direction, self.n_neurons)
        low, high = (self.polytope.minimiser(sign * functional.coefficients) for sign in (1.0, -1.0))
        return Extreme(functional(low), functional(high), self._member(low), self._member(high))

    def prediction_range(self, X: ArrayLike) -> tuple[Array, Array]:
        """Return the least and the largest prediction of all members at points (n, n_features).

        Returns
        -------
        lower, upper : ndarray, shape (n, K), or (K,) for one point

        Notes
        -----
        Two linear programs a point and output, each started from the basis of the last; none where members agree.
        """
        points, single = as_points(X, self.problem.n_features)
        coefficients, constants = prediction_functionals(self.blocks, self.polytope, points)
        flat = coefficients.reshape(len(points) * self.problem.n_outputs, self.n_neurons)
        lower, upper = (ends.reshape(len(points), -1) + constants for ends in ranges(self.polytope, flat))
        return (lower[0], upper[0]) if single else (lower, upper)

    def multiplier_range(self) -> tuple[Array, Array]:
        """Return the least and the largest multiplier ``mu_b`` of every neuron, each of shape (m,)."""
        return ranges(self.polytope, np.eye(self.n_neurons))

    def feature_use_range(self) -> tuple[Array, Array]:
        """Return the least and the largest use ``sum_j |a_j| |w_jf|`` of every feature, each of shape (n_features,)."""
        return ranges(self.polytope, np.abs(inputs_of(self.blocks)).T)


def optimal_set(
    solved: Any,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    problem: ConvexReLUProblem | None = None,
    patterns: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    max_patterns: int = 100_000,
    n_starts: int = 1000,
    random_state: int | np.random.Generator | None = 0,
) -> OptimalSet:
    """Describe all optima of a solved training problem.

    The program is solved again, to rounding, since identifying its neurons asks for a true gap of 1e-9.

    Parameters
    ----------
    solved : estimator, Result or ReLUNetwork
        A fitted `ConvexReLURegressor` or `ConvexReLUClassifier`, what `solve_convex_relu` returns, or an optimal
        network with ``problem``.
    X, y, sample_weight : array_like, optional
        The data of the fit: needed after pickling, checked if they are not.
    problem : ConvexReLUProblem, optional
        The problem, for networks and for results without a certificate.
    patterns : array_like of bool, shape (n_samples, P), optional
        Of a program on given patterns, if its result does not hold them.
    max_patterns : int
        All patterns are enumerated, and the scope is "all", where Cover's bound on their number is at most this;
        otherwise neurons are searched for by pricing, and the scope is "found".
    n_starts, random_state
        Of that search.

    Returns
    -------
    OptimalSet

    Raises
    ------
    ProblemError
        If nothing is fitted; if the data, alpha or switches are not those of the fit; if the network is more than 1e-3
        above the optimum; for outputs that share neurons; or if the neurons cannot be told from others in float64.

    References
    ----------
    Mishkin and Pilanci (2023), theorem 4.1.
    """
    case = solved_program(solved, X, y, problem=problem, patterns=patterns, sample_weight=sample_weight)
    directions, _, _ = case.problem.neurons(case.network)
    blocks = equicorrelation(
        case.problem,
        case.chosen,
        max_patterns=max_patterns,
        n_starts=n_starts,
        random_state=random_state,
        start=directions[directions.any(axis=1)],
    )
    _require_optimal(blocks, case.network)
    return OptimalSet(blocks, OptimalPolytope.of(blocks))


def _require_optimal(blocks: Equicorrelation, network: ReLUNetwork) -> None:
    value = program_objective(blocks.problem, network)
    excess = (value - blocks.objective) / max(blocks.objective, 1e-300)
    if excess > _LARGEST_EXCESS:
        raise ProblemError(
            f"The network is not optimal: its objective {value:.10g} is a relative {excess:.2g} above "
            f"{blocks.objective:.10g}, which another network attains (at most {_LARGEST_EXCESS:.0e} is put down to a "
            "solver's tolerance). Solve it further, or ask critical_set for the optima on its own patterns."
        )

"""How an optimal network moves with its data: derivatives in alpha, targets and inputs, and where there are none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_float_array
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.optima.equicorrelation import Equicorrelation, equicorrelation
from rectifold.training.convex.optima.kinks import TIGHT_TOL
from rectifold.training.convex.optima.solved import SolvedProgram, solved_program
from rectifold.training.convex.paths.face_tangent import FaceTangent
from rectifold.training.convex.paths.following import network_of
from rectifold.training.convex.paths.leave_one_out import Influence, first_order, resolved
from rectifold.training.convex.restricted.blocks import BlockProgram
from rectifold.training.convex.restricted.face_newton import Face
from rectifold.training.convex.restricted.patterns import PatternSet

__all__ = ["Sensitivity", "sensitivity"]

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

_RANK_TOL = 1e-9
_STRICT = 1e-7
_EXCESS = 1e-4


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """The optimum of a program with its derivatives.

    Samples are those of ``rows``: the distinct rows (x, y) of the data, in their given order; a derivative is taken
    with all copies of a row moving together.

    Attributes
    ----------
    problem : ConvexReLUProblem
    network : ReLUNetwork
        The optimum, solved to rounding, its collinear neurons merged.
    weights : ndarray, shape (m, d)
        Convex weights ``w_j |a_j|`` in the coordinates of ``problem.design`` (the hidden bias last).
    signs : ndarray, shape (m,)
    intercept : float
    objective : float
    rows : ndarray of int, shape (n,)
    obstacles : tuple of str
        Why the optimum is not differentiable here; empty where it is.
    margin : float
        Relative distance of the next neuron from entering; zero: not differentiable.
    strictness : float
        Smallest distance of the multipliers of tight rows from their limits, over alpha / ||x||; infinity without any.
    independence : float
        Smallest singular value of the neurons' normalised activations, those of the intercept among them.
    n_tight : int
        Number of rows on kinks.
    """

    problem: ConvexReLUProblem
    network: ReLUNetwork
    weights: Array
    signs: Array
    intercept: float
    objective: float
    rows: NDArray[np.intp]
    obstacles: tuple[str, ...]
    margin: float
    strictness: float
    independence: float
    n_tight: int
    _face: Face
    _chosen: PatternSet | None

    @property
    def is_differentiable(self) -> bool:
        """Whether the derivatives exist."""
        return not self.obstacles

    # -- the optimal value -----------------------------------------------------------------

    @property
    def objective_alpha(self) -> float:
        """Derivative of the optimal value in alpha: the penalty ``sum_j ||w_j|| |a_j|``."""
        return float(np.linalg.norm(self.weights, axis=1).sum())

    @property
    def objective_y(self) -> Array:
        """Derivative of the optimal value in the targets, shape (n,): ``s_i (y_i - f_i)``."""
        self._require_targets()
        return np.asarray(self._theta[self._order])

    @property
    def objective_X(self) -> Array:
        """Derivative of the optimal value in the inputs, shape (n, n_features)."""
        gradient = -self._tangent.pulls().T @ self.weights
        return np.asarray(gradient[self._order, : self.problem.n_features])

    # -- the network --------------------------------------------------------------------------------------------------

    def weights_alpha(self) -> tuple[Array, float]:
        """Return the derivatives of convex weights and intercept in alpha, shapes (m, d) and ()."""
        dw, dc = self._tangent.expand(self._alpha)
        return dw, float(dc)

    def weights_y(self) -> tuple[Array, Array]:
        """Return the derivatives of convex weights and intercept in the targets, shapes (m, d, n) and (n,)."""
        return self._tangent.expand(self._targets)

    # -- predictions --------------------------------------------------------------------------------------------------

    def fit_alpha(self) -> Array:
        """Return the derivative of the training predictions in alpha, shape (n,)."""
        return np.asarray((self._tangent.columns @ self._alpha)[self._order])

    def fit_y(self) -> Array:
        """Return the derivative of the training predictions in the targets, shape (n, n): row i for prediction i."""
        return np.asarray((self._tangent.columns @ self._targets)[self._order])

    def predictions_alpha(self, X: ArrayLike) -> Array:
        """Return the derivative of predictions at X in alpha, shape (k,)."""
        dw, dc = self.weights_alpha()
        return np.asarray(np.einsum("kbd,bd->k", self._features(X), dw) + dc)

    def predictions_y(self, X: ArrayLike) -> Array:
        """Return the derivative of predictions at X in the targets, shape (k, n)."""
        dw, dc = self.weights_y()
        return np.asarray(np.einsum("kbd,bdn->kn", self._features(X), dw) + dc)

    def predictions_X(self, X: ArrayLike) -> Array:
        """Return the derivative of predictions at X in the training inputs, shape (k, n, n_features).

        One adjoint solve a prediction; the points X themselves stay where they are. At a point on a kink that moves (a
        training sample that a neuron is held on) predictions have no derivative, and this is that from one side.
        """
        parts = [self._tangent.gradient_in_rows(g, 1.0) for g in self._features(X)]
        return np.array(parts)[:, self._order, : self.problem.n_features]

    # -- leaving samples out ------------------------------------------------------------------------------------------

    def leave_one_out(self, *, exact: bool = False, samples: ArrayLike | None = None, tol: float = 1e-8) -> Array:
        """Return the prediction for each sample of networks trained without it.

        Parameters
        ----------
        exact : bool
            Solve the n problems again, each from the present network; otherwise one Newton step for each, exact where
            no neuron meets a kink or vanishes and the curvature does not change.
        samples : array_like of int, optional
            Positions in ``rows``; all if left out.
        tol : float
            Relative gap of problems solved again.

        Returns
        -------
        ndarray, shape (n,) or (len(samples),)
            The alpha and the weights of the other samples, which again sum to one, are those of the problem.
        """
        chosen = self._samples(samples)
        if exact:
            return np.array([resolved(self.problem, self.network, self._chosen, i, tol) for i in self._order[chosen]])
        return np.asarray(self.influence().leave_one_out[chosen])

    def influence(self) -> Influence:
        """Return what each sample does to the fit: residual, leverage, leave-one-out prediction, influence."""
        return first_order(self._tangent, self.problem, self.rows, self._order)

    # -- internals ----------------------------------------------------------------------------------------------------

    @cached_property
    def _tangent(self) -> FaceTangent:
        if self.obstacles:
            raise ProblemError("Not differentiable here, because " + "; and because ".join(self.obstacles) + ".")
        return FaceTangent(self._face)

    @property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(self.problem.source_rows)

    @property
    def _theta(self) -> Array:
        program = self._face.program
        return program.theta(program.fit(self.weights, self.intercept))

    @cached_property
    def _alpha(self) -> Array:
        return self._tangent.alpha_direction()

    @cached_property
    def _targets(self) -> Array:
        self._require_targets()
        return self._tangent.theta_directions(np.diag(self.problem.weights)[:, self._order])

    def _require_targets(self) -> None:
        if self.problem.loss.name != "squared":
            raise ProblemError(
                f"Targets of the {self.problem.loss.name} loss are labels, which do not move: derivatives in y exist "
                "for the squared loss."
            )

    def _features(self, X: ArrayLike) -> Array:
        """Return the derivative of each prediction in the convex weights, shape (k, m, d)."""
        inputs = as_float_array(X, "X", ndim=2)
        if inputs.shape[1] != self.problem.n_features:
            raise ProblemError(f"X must have {self.problem.n_features} features, got {inputs.shape[1]}.")
        column = self.problem.bias_column
        design = inputs if column == 0.0 else np.hstack([inputs, np.full((len(inputs), 1), column)])
        slopes = (design @ self.weights.T > 0) * self.signs
        return np.asarray(slopes[:, :, None] * design[:, None, :])

    def _samples(self, samples: ArrayLike | None) -> NDArray[np.intp]:
        if samples is None:
            return np.arange(len(self.rows))
        index = np.asarray(samples)
        if index.ndim != 1 or index.dtype.kind not in "iu" or np.any((index < 0) | (index >= len(self.rows))):
            raise ProblemError(f"samples must be positions between 0 and {len(self.rows) - 1}, got {samples!r}.")
        return index.astype(np.intp)


def sensitivity(
    solved: Any,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    problem: ConvexReLUProblem | None = None,
    patterns: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    max_patterns: int = 20_000,
    n_starts: int = 1000,
    random_state: int = 0,
) -> Sensitivity:
    """Return the derivatives of an optimum, or why there are none.

    Parameters
    ----------
    solved : estimator, Result or ReLUNetwork
        At an optimum with one output, over all patterns or over given ones.
    X, y, sample_weight : array_like, optional
        The data of the fit, where the result no longer holds them (after pickling).
    problem : ConvexReLUProblem, optional
        Instead of data, for a network or a result without a certificate.
    patterns : array_like of bool, shape (n_samples, P), optional
        The given patterns, if the result does not hold them.
    max_patterns, n_starts, random_state
        All patterns are enumerated up to this number, otherwise searched from this many starts.

    Returns
    -------
    Sensitivity
        Its methods raise `ProblemError`, "not differentiable here, because ...", where ``obstacles`` is not empty.

    Raises
    ------
    ProblemError
        For joint outputs, data other than those of the fit, a network more than 1e-4 above the optimum, or an optimum
        whose neurons cannot be told from the next ones.

    Notes
    -----
    The optimum is unique and differentiable where the activations of all neurons that attain alpha are independent, all
    of these neurons have weight, tight rows are independent, and each has a multiplier strictly inside its limits. The
    problem is first solved again to rounding.

    References
    ----------
    Mishkin and Pilanci (2023), on the sensitivity of minimal solutions.
    """
    program = solved_program(solved, X, y, problem=problem, patterns=patterns, sample_weight=sample_weight)
    if program.problem.n_outputs != 1:
        raise ProblemError(
            f"Sensitivities are those of one output; this problem has {program.problem.n_outputs}. Under "
            "output_penalty='l1' with a separable loss fit each output on its own."
        )
    start = program.problem.neurons(program.network)[0]
    blocks = equicorrelation(
        program.problem, program.chosen, max_patterns=max_patterns, n_starts=n_starts, random_state=random_state,
        start=start,
    )  # fmt: skip
    _require_optimal(program, blocks)
    return _sensitivity(program, blocks)


def _require_optimal(program: SolvedProgram, blocks: Equicorrelation) -> None:
    value = program.problem.objective(program.network)
    excess = (value - blocks.objective) / max(blocks.objective, 1e-300)
    if excess > _EXCESS:
        raise ProblemError(
            f"The network is not optimal: its objective {value:.10g} exceeds the optimum {blocks.objective:.10g} by a "
            f"relative {excess:.2g} (at most {_EXCESS:.0e}). Fit it to a smaller tolerance first."
        )


def _sensitivity(program: SolvedProgram, blocks: Equicorrelation) -> Sensitivity:
    problem = blocks.problem
    columns = np.hstack([blocks.activations, np.ones((len(blocks.fit), int(problem.fit_intercept)))])
    lengths = np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    solution, _, rank, singular = np.linalg.lstsq(columns / lengths, blocks.fit[:, 0], rcond=_RANK_TOL)
    mu = (solution / lengths)[: len(blocks)]
    obstacles = list[str]()
    if len(blocks) == 0:
        obstacles.append("the optimum is the constant, which has no neurons")
    elif rank < columns.shape[1]:
        obstacles.append(
            f"the activations of the {len(blocks)} neurons that attain alpha are dependent (rank {rank} of "
            f"{columns.shape[1]}): optima are many"
        )
    used = mu > _RANK_TOL * max(float(mu.max(initial=0.0)), 1e-300)
    if not obstacles and not used.all():
        obstacles.append(f"{int((~used).sum())} neurons attain alpha with zero weight (an identification margin of 0)")
    face = _face_of(problem, blocks, np.where(used, mu, 0.0), used)
    strictness = _strictness(face, blocks, obstacles) if len(face.w) else np.inf
    _on_hinge(face, obstacles)
    return Sensitivity(
        problem=problem,
        network=network_of(problem, face.w, face.program.signs, face.intercept),
        weights=face.w,
        signs=face.program.signs,
        intercept=face.intercept,
        objective=blocks.objective,
        rows=np.sort(problem.source_rows),
        obstacles=tuple(obstacles),
        margin=blocks.margin,
        strictness=strictness,
        independence=float(singular.min(initial=1.0)),
        n_tight=int(face.tight.sum()),
        _face=face,
        _chosen=program.chosen,
    )


def _face_of(problem: ConvexReLUProblem, blocks: Equicorrelation, mu: Array, used: Bits) -> Face:
    program = BlockProgram(problem, blocks.cells[used], blocks.signs[used])
    units, lengths = blocks.directions[used], np.linalg.norm(problem.design, axis=1)
    tight = (np.abs(units @ problem.design.T) <= TIGHT_TOL * lengths) & (lengths > 0)
    intercept = float(blocks.intercept[0])
    if problem.fit_intercept:
        fit = program.fit(mu[used, None] * units, 0.0)
        intercept = float(problem.loss.intercept(fit[:, None], problem.targets, problem.weights)[0])
    return Face(program, mu[used, None] * units, intercept, tight)


def _strictness(face: Face, blocks: Equicorrelation, obstacles: list[str]) -> float:
    """Return how far the multipliers of tight rows are from their limits, and report rows where they are not unique."""
    program, X = face.program, face.program.X
    smallest = np.inf
    for b in np.flatnonzero(face.tight.any(axis=1)):
        rows = np.flatnonzero(face.tight[b])
        lengths = np.linalg.norm(X[rows], axis=1)
        normals = np.where(program.patterns[b, rows], 1.0, -1.0)[:, None] * X[rows]
        rank = np.linalg.matrix_rank(normals / lengths[:, None], tol=_RANK_TOL)
        if rank < len(rows):
            obstacles.append(f"neuron {b} lies on {len(rows)} kinks whose rows have rank {rank} only")
            continue
        pull = program.alpha * face.w[b] / np.linalg.norm(face.w[b])
        theta, sign = blocks.theta[:, 0], program.signs[b]
        rho = np.linalg.lstsq(normals.T, pull - (program.mask[b] * theta) @ X, rcond=None)[0]
        room = np.where(_has_neighbour(blocks, program.patterns[b], rows), -sign * theta[rows] - rho, np.inf)
        slack = np.minimum(rho, room) * lengths / program.alpha
        smallest = min(smallest, float(slack.min()))
        for row in rows[slack <= _STRICT]:
            sample = blocks.problem.source_rows[row]
            obstacles.append(f"neuron {b} lies on the kink of sample {sample} with a multiplier at its limit")
    return smallest


def _has_neighbour(blocks: Equicorrelation, cell: Bits, rows: NDArray[np.intp]) -> Bits:
    """Return which of the tight rows have the program's cells on their other side as well."""
    if blocks.patterns is None:
        return np.ones(len(rows), dtype=bool)
    others = np.ones(len(cell), dtype=bool)
    others[rows] = False
    beside = blocks.patterns[(blocks.patterns[:, others] == cell[others]).all(axis=1)]
    return np.asarray((beside[:, rows] != cell[rows]).any(axis=0))


def _on_hinge(face: Face, obstacles: list[str]) -> None:
    """Report samples at which the curvature of the squared hinge jumps."""
    problem, program = face.program.problem, face.program
    if problem.loss.name == "squared_hinge" and len(face.w):
        margins = problem.targets[:, 0] * program.fit(face.w, face.intercept)
        for row in np.flatnonzero(np.abs(margins - 1.0) <= _STRICT):
            obstacles.append(f"sample {problem.source_rows[row]} lies on the edge of the hinge")

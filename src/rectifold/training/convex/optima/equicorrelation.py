"""The blocks that an optimum may use: those whose correlation with the residual attains alpha, merged into neurons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import ReadOnlyArrays
from rectifold.geometry.cones import ConeProjector
from rectifold.training.convex.optima.exact_solution import ExactSolution, exact_over_all, exact_solution
from rectifold.training.convex.optima.kinks import TIGHT_TOL
from rectifold.training.convex.optima.refinement import refined
from rectifold.training.convex.restricted.coordinates import Coordinates
from rectifold.training.convex.restricted.patterns import PatternSet

__all__ = ["Equicorrelation", "equicorrelation", "identify"]

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

GAP_TOL = 1e-9
"""True relative duality gap above which E is not identified."""
_ROUNDING = 1e-10
_CLEAR = 10.0
_LARGEST_EFFECT = 5e-10
_SAME_DIRECTION = 1e-6
_BESIDE = 0.02
_REFINEMENTS, _REFINABLE, _ROUNDING_OF_ACCURACY = 4, 1e-4, 1e-11


@dataclass(frozen=True, eq=False)
class Equicorrelation(ReadOnlyArrays):
    """The m distinct neurons that the blocks of E = {b : ||v_b|| = alpha} stand for, at an optimum of a program.

    ``v_b = Proj_{K_b}(Z_b' theta)`` depends on the optimum's residual alone, not on the optimum nor on multipliers.
    Blocks of adjacent cells whose ``v_b`` lies on the wall between them are one neuron, listed once.
    Every optimum has convex weights ``w_b = mu_b u_b`` with ``mu >= 0`` and ``M mu + c = fit``, M the `activations`
    (for the squared hinge the equality is asked where theta is not zero, elsewhere ``y f >= 1``).

    Attributes
    ----------
    problem : ConvexReLUProblem
    directions : ndarray, shape (m, d)
        ``u_b = v_b / alpha``, unit vectors in the coordinates of ``problem.design``.
    outputs : ndarray, shape (m, K)
        Unit output weights: ``+1`` or ``-1`` in the neuron's own output, zero elsewhere.
    cells : ndarray of bool, shape (m, n)
        One pattern of E for each neuron; its closed cone holds the direction.
    tight : ndarray of bool, shape (m, n)
        Rows on whose kink ``x_i'u_b = 0`` it lies.
    activations : ndarray, shape (n K, m)
        Columns ``outputs_b (X u_b)_+``, row ``i K + k`` for sample i (of ``problem.design``) and output k.
    fit : ndarray, shape (n, K)
        Values of the solution at the samples, intercept included.
    theta : ndarray, shape (n, K)
        Its dual variable ``-dL/df``, the same for every optimum.
    intercept : ndarray, shape (K,)
        Of the solution at hand.
    multiplicity : ndarray of int, shape (m,)
        How many blocks of E were merged into each neuron; they sum to |E|.
    objective, relative_gap : float
        Of the solution at hand; the gap is true for the patterns in use.
    margin : float
        ``1 - ||v_b|| / alpha`` of the next block that is not in E (1 where there is none): how far E is from changing.
    neuron_margin : float
        The same, without blocks of cells that are merely beside a neuron of E: within 0.02 radians and of its sign.
    spread : float
        Largest ``|1 - ||v_b|| / alpha|`` in E: how exactly E was met.
    complete : bool
        Whether E was searched among all the patterns of its program; otherwise some neurons may be missing.
    patterns : ndarray of bool, shape (P, n), or None
        The patterns of a restricted program, over the rows of ``problem.design``; None if the program has all.
    allowed : ndarray of bool, shape (2, P), or None
        Which output signs, + first, each of the patterns may have; None if both.
    """

    problem: ConvexReLUProblem
    directions: Array
    outputs: Array
    cells: Bits
    tight: Bits
    activations: Array
    fit: Array
    theta: Array
    intercept: Array
    multiplicity: NDArray[np.intp]
    objective: float
    relative_gap: float
    margin: float
    neuron_margin: float
    spread: float
    complete: bool
    patterns: Bits | None
    allowed: Bits | None = None

    def __len__(self) -> int:
        return len(self.directions)

    @property
    def n_blocks(self) -> int:
        """|E|, before merging."""
        return int(self.multiplicity.sum())

    @property
    def signs(self) -> Array:
        """Sign of each neuron's output weight, shape (m,)."""
        return np.asarray(self.outputs.sum(axis=1))

    @property
    def output_index(self) -> NDArray[np.intp]:
        """The output that each neuron feeds, shape (m,)."""
        return np.asarray(np.abs(self.outputs).argmax(axis=1))


def equicorrelation(
    problem: ConvexReLUProblem,
    chosen: PatternSet | None = None,
    *,
    max_patterns: int = 100_000,
    n_starts: int = 1000,
    random_state: int | np.random.Generator | None = 0,
    start: Array | None = None,
) -> Equicorrelation:
    """Solve a program to rounding and return the merged blocks of E at its optimum.

    Parameters
    ----------
    problem : ConvexReLUProblem
        With one output, or several that are independent programs (``output_penalty="l1"``, separable loss).
    chosen : PatternSet, optional
        The patterns of a restricted program; all patterns if left out: by enumeration where Cover's bound is at most
        ``max_patterns``, else by pricing from ``n_starts`` starts (then ``complete`` is False).
    max_patterns, n_starts : int
    random_state : int, Generator or None
        Of the pricing.
    start : ndarray, shape (k, d), optional
        Directions whose cells the pricing starts from, such as those of a trained network; otherwise it starts from
        none.

    Returns
    -------
    Equicorrelation

    Raises
    ------
    ProblemError
        For joint outputs; if the true gap stays above 1e-9; or if a block lies so close to E that it cannot be told
        apart.

    Notes
    -----
    One cone projection a block and sign after the solve, ``O(P n d)`` times a few pivots.

    References
    ----------
    Mishkin and Pilanci (2023), theorem 4.1, with the canonical v_b in place of dual multipliers.
    """
    _require_separate(problem)
    singles = [problem.output(k) if problem.n_outputs > 1 else problem for k in range(problem.n_outputs)]
    if chosen is not None:
        parts = [identify(single, exact_solution(single, chosen)) for single in singles]
        return _stacked(problem, parts, chosen.patterns)
    found = [exact_over_all(single, max_patterns, n_starts, random_state, start) for single in singles]
    return _stacked(problem, [identify(single, part) for single, part in zip(singles, found, strict=True)], None)


def _require_separate(problem: ConvexReLUProblem) -> None:
    if problem.n_outputs > 1 and not (problem.output_penalty == "l1" and problem.loss.separable):
        raise ProblemError(
            f"Optimal sets need one output, or several under output_penalty='l1' with a squared or squared-hinge loss; "
            f"this problem has {problem.n_outputs} outputs, output_penalty={problem.output_penalty!r} and loss "
            f"{problem.loss.name!r}: its outputs share neurons, and the program of a cell is then not convex."
        )


def identify(problem: ConvexReLUProblem, exact: ExactSolution) -> Equicorrelation:
    """Return the merged blocks of E of a one-output program at a solution of it.

    Parameters
    ----------
    problem : ConvexReLUProblem
    exact : ExactSolution
        With a true relative gap of at most 1e-9; it is refined to rounding at a vertex of its optima.

    Raises
    ------
    ProblemError
        If the gap is larger, or a block of the program lies so close to E that it cannot be told apart.
    """
    accuracy = _accuracy(problem, exact)
    for _ in range(_REFINEMENTS if accuracy <= _REFINABLE else 0):
        blocks = _identified(problem, exact, accuracy)
        neurons = (blocks.directions, blocks.signs, blocks.cells, blocks.tight)
        better = refined(problem, exact, *neurons, force=accuracy > _ROUNDING_OF_ACCURACY)
        if better is None:
            break
        reached = _accuracy(problem, better)
        if reached > max(accuracy, _ROUNDING_OF_ACCURACY):
            break
        exact, accuracy = better, reached
    _require_gap(exact.solution.relative_gap)
    blocks = _identified(problem, exact, accuracy)
    _require_clear(blocks, _level(accuracy))
    return blocks


def _accuracy(problem: ConvexReLUProblem, exact: ExactSolution) -> float:
    """Return to how many digits, relative to alpha, the blocks of a solution satisfy their optimality conditions."""
    solution = exact.solution
    excess = max(solution.largest / problem.alpha - 1.0, 10.0 * solution.relative_gap)
    if len(solution.w) == 0:
        return excess
    norms = ConeProjector(problem.design, solution.program.patterns).price(solution.theta)
    own = norms[np.where(solution.program.signs > 0, 0, 1), np.arange(norms.shape[1])]
    return max(excess, float(np.abs(own / problem.alpha - 1.0).max()))


def _level(accuracy: float) -> float:
    return max(_ROUNDING, 10.0 * accuracy)


def _identified(problem: ConvexReLUProblem, exact: ExactSolution, accuracy: float) -> Equicorrelation:
    solution, chosen = exact.solution, exact.patterns
    projections = ConeProjector(problem.design, chosen.patterns).project(solution.theta, 0.5 * problem.alpha)
    points = projections.points.reshape(-1, problem.design.shape[1])
    units = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-300)
    signs = np.repeat([1.0, -1.0], len(chosen))
    deficits = 1.0 - projections.norms.ravel() / problem.alpha
    if exact.allowed is not None:
        deficits[~exact.allowed.ravel()] = np.inf
    inside = np.flatnonzero(deficits <= _level(accuracy))
    kept, multiplicity = _merge(units[inside], signs[inside], Coordinates.of(problem.design))
    kept = inside[kept]
    margins = _margins(deficits, units, signs, inside, kept)
    directions, signs = units[kept], signs[kept]
    rows = projections.rows.reshape(2 * len(chosen), -1)[kept]
    fit = solution.program.fit(solution.w, solution.intercept)
    return Equicorrelation(
        problem=problem,
        directions=directions,
        outputs=signs[:, None],
        cells=chosen.patterns[kept % max(len(chosen), 1)],
        tight=_tight(problem.design, directions, rows),
        activations=np.maximum(problem.design @ directions.T, 0.0) * signs,
        fit=fit[:, None],
        theta=solution.theta[:, None],
        intercept=np.array([solution.intercept]),
        multiplicity=multiplicity,
        objective=solution.objective,
        relative_gap=solution.relative_gap,
        margin=margins[0],
        neuron_margin=margins[1],
        spread=float(np.abs(deficits[inside]).max(initial=0.0)),
        complete=exact.complete,
        patterns=chosen.patterns if exact.complete else None,
        allowed=exact.allowed,
    )


def _margins(
    deficits: Array, units: Array, signs: Array, inside: NDArray[np.intp], kept: NDArray[np.intp]
) -> tuple[float, float]:
    """Return how far the next block is from E, and the next that is not merely a cell beside one of its neurons."""
    outside = np.ones(len(deficits), dtype=bool)
    outside[inside] = False
    near = np.zeros(len(deficits), dtype=bool)
    for b in kept:
        near |= (signs == signs[b]) & (units @ units[b] > 1.0 - 0.5 * _BESIDE**2)
    return tuple(min(float(deficits[mask].min(initial=1.0)), 1.0) for mask in (outside, outside & ~near))  # type: ignore[return-value]


def _tight(X: Array, directions: Array, rows: NDArray[np.int32]) -> Bits:
    lengths = np.linalg.norm(X, axis=1)
    tight = (np.abs(directions @ X.T) <= TIGHT_TOL * lengths) & (lengths > 0)
    for mine, held in zip(tight, rows, strict=True):
        mine[held[held >= 0]] = True
    return np.asarray(tight)


def _require_gap(gap: float) -> None:
    if not gap <= GAP_TOL:
        raise ProblemError(
            f"The program could be solved to a true relative gap of {gap:.2g} only; identifying which neurons an "
            f"optimum may use needs {GAP_TOL:.0e}."
        )


def _require_clear(blocks: Equicorrelation, level: float) -> None:
    """Refuse a spread that members' objectives would feel, and a next neuron that may be one of E."""
    penalty = blocks.objective - blocks.problem.loss_value(blocks.fit)
    effect = blocks.spread * penalty / max(blocks.objective, 1e-300)
    if effect > _LARGEST_EFFECT or blocks.neuron_margin <= _CLEAR * level:
        raise ProblemError(
            f"The neurons of optima cannot be told from the next ones: at a relative gap of {blocks.relative_gap:.2g}, "
            f"the blocks in use attain alpha to a relative {blocks.spread:.2g}, by which the objective may vary by "
            f"{effect:.2g} (at most {_LARGEST_EFFECT:.0e} is allowed), and the next neuron falls short of it by "
            f"{blocks.neuron_margin:.2g} (more than {_CLEAR * level:.2g} is needed)."
        )


def _merge(units: Array, signs: Array, coordinates: Coordinates) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Merge blocks of equal sign and direction; the first block of each neuron and how many it has."""
    sets = coordinates.units(units)
    free = np.ones(len(units), dtype=bool)
    kept, counts = [], []
    for b in range(len(units)):
        if free[b]:
            near = [np.linalg.norm(unit - unit[b], axis=1) <= _SAME_DIRECTION for unit in sets]
            group = free & (signs == signs[b]) & np.logical_and.reduce(near)
            free &= ~group
            kept.append(b)
            counts.append(int(group.sum()))
    return np.array(kept, dtype=np.intp), np.array(counts, dtype=np.intp)


def _stacked(problem: ConvexReLUProblem, parts: list[Equicorrelation], patterns: Bits | None) -> Equicorrelation:
    """Put outputs that are independent programs side by side: their neurons feed one output each."""
    n, k = len(problem.design), problem.n_outputs
    total = sum(len(part) for part in parts)
    outputs, activations = np.zeros((total, k)), np.zeros((n, k, total))
    start = 0
    for index, part in enumerate(parts):
        mine = slice(start, start + len(part))
        outputs[mine, index], activations[:, index, mine] = part.signs, part.activations
        start += len(part)
    objective = sum(part.objective for part in parts)
    gap = sum(part.relative_gap * part.objective for part in parts)
    return Equicorrelation(
        problem=problem,
        directions=np.vstack([part.directions for part in parts]),
        outputs=outputs,
        cells=np.vstack([part.cells for part in parts]),
        tight=np.vstack([part.tight for part in parts]),
        activations=activations.reshape(n * k, total),
        fit=np.hstack([part.fit for part in parts]),
        theta=np.hstack([part.theta for part in parts]),
        intercept=np.concatenate([part.intercept for part in parts]),
        multiplicity=np.concatenate([part.multiplicity for part in parts]),
        objective=objective,
        relative_gap=gap / objective if objective > 0 else 0.0,
        margin=min(part.margin for part in parts),
        neuron_margin=min(part.neuron_margin for part in parts),
        spread=max(part.spread for part in parts),
        complete=all(part.complete for part in parts),
        patterns=patterns,
        allowed=parts[0].allowed,
    )

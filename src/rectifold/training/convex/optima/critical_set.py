"""All optima of the program on given patterns: where the stationary networks of these patterns lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem, HiddenBias
from rectifold.training.convex.optima.equicorrelation import GAP_TOL, equicorrelation, identify
from rectifold.training.convex.optima.exact_solution import solution_of_network
from rectifold.training.convex.optima.members import Member
from rectifold.training.convex.optima.optimal_polytope import OptimalPolytope
from rectifold.training.convex.optima.optimal_set import OptimalSet
from rectifold.training.convex.restricted.training import pattern_set

__all__ = ["CriticalSet", "critical_set"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CriticalSet(OptimalSet):
    """All optima of the program on given patterns.

    Every stationary network whose neurons have these patterns is a member; a member is stationary in its own weights
    only if its neurons pass the Clarke test on their tight rows, which `Member.is_stationary` says. The test does not
    depend on a neuron's size, so the stationary members are the face on which the neurons that fail it are zero.
    """

    @property
    def passes(self) -> NDArray[np.bool_]:
        """Which neurons pass the Clarke test, shape (m,)."""
        return np.array([test.holds for test in self.clarke_tests], dtype=bool)

    def stationary_member(self) -> Member | None:
        """Return a member that is a stationary network, None if there is none: by one linear program."""
        failing = (~self.passes).astype(np.float64)
        member = self._member(self.polytope.minimiser(failing))
        return member if member.is_stationary else None

    def __str__(self) -> str:
        passing = int(self.passes.sum())
        return f"{super().__str__()}\n  Clarke test   passed by {passing} of {self.n_neurons} neurons"


def critical_set(
    patterns: ArrayLike | ReLUNetwork,
    X: ArrayLike,
    y: ArrayLike,
    alpha: float,
    loss: str = "squared",
    hidden_bias: HiddenBias = True,
    fit_intercept: bool = True,
    *,
    output_penalty: str = "l2",
    sample_weight: ArrayLike | None = None,
) -> CriticalSet:
    """Describe all optima of the program on given patterns, which hold the stationary networks of these patterns.

    Parameters
    ----------
    patterns : array_like of bool, shape (n_samples, P), or ReLUNetwork
        As for `solve_convex_relu`, each with both output signs; of a stationary network (see `finished`) the cells of
        its own neurons, each with that neuron's sign. No other blocks: those of the opposite sign may well lower the
        objective of a stationary network.
    X, y, alpha, loss, hidden_bias, fit_intercept, output_penalty, sample_weight
        The problem, see :class:`rectifold.ConvexReLUProblem`.

    Returns
    -------
    CriticalSet
        Its scope is always "all": all optima of the program on these patterns.

    Raises
    ------
    ProblemError
        For data, alpha or patterns that do not fit; for outputs that share neurons; for a network that is not
        stationary, with its relative duality gap on its own cells; if the neurons cannot
        be told from others in float64.

    References
    ----------
    Wang, Lacotte and Pilanci (2022); Mishkin and Pilanci (2023).
    """
    problem = ConvexReLUProblem(X, y, alpha, loss, hidden_bias, fit_intercept, output_penalty, sample_weight)
    if not isinstance(patterns, ReLUNetwork):
        blocks = equicorrelation(problem, pattern_set(problem, patterns))
        return CriticalSet(blocks, OptimalPolytope.of(blocks))
    _require_one_output(problem)
    exact = solution_of_network(problem, patterns)
    if exact.solution.relative_gap > GAP_TOL:
        raise ProblemError(
            "The network is not stationary: in the program on its own cells and output signs its relative duality gap "
            f"is {exact.solution.relative_gap:.2g}, where at most {GAP_TOL:.0e} is taken for rounding. Bring it to a "
            "stationary point first: rectifold.training.convex.optima.finishing.finished."
        )
    blocks = identify(problem, exact)
    return CriticalSet(blocks, OptimalPolytope.of(blocks))


def _require_one_output(problem: ConvexReLUProblem) -> None:
    if problem.n_outputs != 1:
        raise ProblemError(f"Stationary networks are mapped for one output, this problem has {problem.n_outputs}.")

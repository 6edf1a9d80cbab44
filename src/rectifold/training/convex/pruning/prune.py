"""Optimal pruning: fewer neurons at the same training predictions, then fewer still at the least loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold._engine.blas import single_threaded_blas
from rectifold._engine.budget import Budget
from rectifold.core.errors import ProblemError, SolverError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import HiddenBias
from rectifold.training.convex.pruning.continuation import least_squares_removal
from rectifold.training.convex.pruning.neuron_columns import merged_columns, stacked
from rectifold.training.convex.pruning.result import NarrowerNetworks, PruningResult, PruningTrace
from rectifold.training.convex.pruning.smallest_support import smallest_support
from rectifold.training.convex.pruning.subject import Subject, Switches, own_gap, subject_of
from rectifold.training.convex.pruning.trace import TraceBuilder
from rectifold.training.convex.pruning.vertex import Vertex, cheapest_vertex

__all__ = ["PruningResult", "PruningTrace", "prune"]

Array = NDArray[np.float64]

_RANK_TOLERANCES = (1.0, 1e-2, 1e-4)
_VERIFY = 100.0


def prune(
    model: Any,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    alpha: float | None = None,
    loss: str = "squared",
    hidden_bias: HiddenBias = True,
    fit_intercept: bool | None = None,
    output_penalty: str = "l2",
    sample_weight: ArrayLike | None = None,
    smallest: bool = False,
    continue_to: int | None = None,
    tol: float = 1e-9,
    gap_tol: float = 1e-5,
    time_limit: float | None = None,
    max_nodes: int | None = None,
) -> PruningResult:
    """Prune a two-layer network to an inclusion-minimal one with the same training predictions and no higher penalty.

    Neurons of one direction are merged; then the others are rescaled, ``w_j, a_j`` by ``sqrt(mu_j)``, to the vertex
    of ``min sum_j mu_j ||w_j|| ||a_j||`` subject to unchanged predictions at X and mu >= 0; with an intercept, c is
    free. At an optimum of the training problem every such vertex is an optimum: a minimal optimal network.

    Parameters
    ----------
    model : ReLUNetwork, Result, estimator or OptimalSet
        With one hidden layer, of any width and slopes. Networks of torch and scikit-learn come through
        :func:`rectifold.from_torch` and :func:`rectifold.from_sklearn`. Of an optimal set the member that uses all
        its neurons is pruned, so that ``smallest`` searches all optimal networks.
    X : array_like, shape (n_samples, n_inputs)
        Samples whose predictions are kept. A trained `Result` or estimator usually carries its own.
    y : array_like, optional
        Targets: loss and objective are then reported, and weigh the samples below the minimal width.
    alpha, loss, hidden_bias, fit_intercept, output_penalty, sample_weight
        The objective of a plain network, see :class:`rectifold.ConvexReLUProblem`; a solution brings its own.
        ``hidden_bias`` and ``output_penalty`` say which penalty must not rise. ``fit_intercept=None``: the output
        offset may change if the network has one.
    smallest : bool
        Go on to the least width by branch and bound, over the neurons of the given network.
    continue_to : int, optional
        Go on approximately below the minimal width, down to this many neurons, by least-squares correction.
    tol : float
        Relative tolerance for equal directions and dependent columns. For weights stored in single precision 1e-6
        lets it see through their rounding.
    gap_tol : float
        A `Result` or an estimator is refused if its relative duality gap over its own neurons is larger.
    time_limit : float, optional
        Seconds for the search of ``smallest``, which then returns the best found and its bound.
    max_nodes : int, optional
        Limit on its nodes, which does not depend on the clock.

    Returns
    -------
    PruningResult

    Raises
    ------
    UnsupportedNetworkError
        For other objects, and networks that do not have exactly one hidden layer.
    ProblemError
        For data or options that do not fit, or a solution whose gap is too large to be called a minimal optimum
        (``prune(result.solution, X, y)`` prunes it as a plain network).
    SolverError
        If the pruned network does not reproduce predictions and penalty to within 100 tol.

    Notes
    -----
    The result is minimal, not smallest: a network with fewer neurons may exist, even among rescalings of the same
    neurons (``smallest``). Several outputs: a neuron keeps the direction of its output weights. Cost: one pivoted QR,
    ``O(n m min(n, m))`` for m neurons, and a rank-one update for each neuron removed or exchanged.

    References
    ----------
    Mishkin and Pilanci (2023), algorithm 1 (optimal) and 2 (approximate pruning).
    """
    _check_options(continue_to, tol, gap_tol)
    budget = Budget(None, time_limit)
    switches = Switches(alpha, loss, hidden_bias, fit_intercept, output_penalty, sample_weight)
    subject = subject_of(model, X, y, switches)
    gap = _check_gap(subject, gap_tol)
    with single_threaded_blas:  # another number of threads may decide ties another way
        pruning = _Pruning(subject, tol)
        vertex, network = pruning.vertex()
        mu, bound = vertex.mu, 0
        if smallest:
            seconds = None if time_limit is None else budget.remaining
            mu, network, bound = pruning.smallest(mu, network, seconds, max_nodes)
        width = network.widths[0] if continue_to is None else continue_to
        narrower = pruning.continuation(mu, width)
    fit, given = network(subject.inputs), subject.network
    stats = {
        "neurons": given.widths[0],
        "merged": len(pruning.columns),
        "exchanges": vertex.exchanges,
        "residual": vertex.residual,
        "own_gap": gap,
        "seconds": budget.elapsed,
    }
    return PruningResult(
        network=network,
        given=given,
        penalty=subject.penalty(network),
        given_penalty=subject.penalty(given),
        objective=subject.loss_of(fit) + subject.alpha * subject.penalty(network),
        given_objective=subject.loss_of(pruning.fit) + subject.alpha * subject.penalty(given),
        fit_change=float(np.abs(fit - pruning.fit).max(initial=0.0)),
        width_bound=bound,
        trace=pruning.trace.build(),
        narrower=narrower,
        stats=stats,
    )


class _Pruning:
    """The steps of one run; multipliers mu refer to the merged neurons, mu = 1 being the network as given."""

    def __init__(self, subject: Subject, tol: float) -> None:
        self.subject, self.tol = subject, tol
        self.fit = subject.network(subject.inputs)
        self.columns, groups = merged_columns(subject.network, subject.hidden_bias, subject.output_penalty, tol)
        self.activations = self.columns.activations(subject.inputs)
        self.uniform = np.ones(len(self.fit))
        self.trace = TraceBuilder(subject, self.fit)
        self.trace.merging(self.columns, groups)

    def vertex(self) -> tuple[Vertex, ReLUNetwork]:
        """Return the cheapest vertex, verified; columns that are nearly dependent are kept if need be."""
        matrix = stacked(self.activations, self.columns.outputs, self.uniform, self.subject.intercept)
        sizes = np.linalg.norm(self.activations, axis=0) * np.linalg.norm(self.columns.outputs, axis=1)
        for factor in _RANK_TOLERANCES:
            vertex = cheapest_vertex(matrix, sizes, self.columns.penalties, factor * self.tol)
            network = self._network(vertex.mu, self.uniform)
            failure = self._failure(network)
            if failure is None:
                break
        else:
            raise SolverError(f"pruning did not reproduce the network: {failure}")
        self.trace.exact(self.columns, vertex)
        if vertex.exchanges or self.trace.width != network.widths[0]:
            self._record("exchanged", network)
        return vertex, network

    def smallest(
        self, mu: Array, network: ReLUNetwork, seconds: float | None, max_nodes: int | None
    ) -> tuple[Array, ReLUNetwork, int]:
        """Return multipliers and network of the least width found, and a lower bound on that width."""
        columns = self.columns
        matrix = stacked(self.activations, columns.outputs, self.uniform, self.subject.intercept)
        useful = np.flatnonzero((columns.penalties > 0.0) & (np.linalg.norm(matrix, axis=0) > 0.0))
        costs = columns.penalties[useful]
        limit = max(float(costs.sum()), float(costs @ mu[useful]))
        found = smallest_support(
            matrix[:, useful], costs, mu[useful], limit, tol=self.tol, time_limit=seconds, max_nodes=max_nodes
        )
        if found.width >= np.count_nonzero(mu):
            return mu, network, found.bound
        narrower = np.zeros_like(mu)
        narrower[useful] = found.mu
        candidate = self._network(narrower, self.uniform)
        if self._failure(candidate) is not None:
            return mu, network, found.bound
        self._record("smallest", candidate)
        return narrower, candidate, found.bound

    def continuation(self, mu: Array, width: int) -> NarrowerNetworks:
        """Remove neurons below the minimal width, down to ``width``."""
        networks = NarrowerNetworks(self.columns)
        support = np.flatnonzero(mu > 0.0)
        if len(support) <= width:
            return networks
        weights = self.subject.row_weights(self.fit)
        outputs = self.columns.outputs[support] * mu[support, None]
        hidden = self.activations[:, support]
        matrix = stacked(hidden, outputs, weights, self.subject.intercept)
        for removed, scale in least_squares_removal(matrix, matrix.sum(axis=1)):
            used = np.flatnonzero(scale)
            values = hidden[:, used] @ (scale[used, None] * outputs[used])
            offset = self._offset(values, weights)
            full = np.zeros_like(mu)
            full[support] = mu[support] * scale
            networks.add(full, offset)
            gone = [int(self.columns.sources[support[j]]) for j in removed]
            self.trace.approximate(gone, float(self.columns.penalties @ full), values + offset)
            if len(used) <= width:
                break
        return networks

    def _network(self, mu: Array, row_weights: Array) -> ReLUNetwork:
        values = self.activations @ (mu[:, None] * self.columns.outputs)
        return self.columns.network(mu, self._offset(values, row_weights))

    def _offset(self, values: Array, row_weights: Array) -> Array:
        if not self.subject.intercept:
            return self.subject.network.biases[1]
        return np.asarray(row_weights @ (self.fit - values) / row_weights.sum())

    def _record(self, stage: str, network: ReLUNetwork) -> None:
        fit = network(self.subject.inputs)
        self.trace.network(stage, network.widths[0], self.subject.penalty(network), fit)

    def _failure(self, network: ReLUNetwork) -> str | None:
        """Say what is wrong with a pruned network; None if nothing is."""
        allowed = _VERIFY * self.tol
        offset = np.abs(self.subject.network.biases[1])
        scale = float((np.abs(self.activations) @ np.abs(self.columns.outputs) + offset).max(initial=0.0))
        change = float(np.abs(network(self.subject.inputs) - self.fit).max(initial=0.0))
        if change > allowed * scale:
            return f"a prediction changes by {change:.3g}"
        before, after = self.subject.penalty(self.subject.network), self.subject.penalty(network)
        if after > before * (1.0 + allowed):
            return f"the penalty rises from {before:.10g} to {after:.10g}"
        return None


def _check_gap(subject: Subject, gap_tol: float) -> float:
    gap = own_gap(subject)
    if gap > gap_tol:
        raise ProblemError(
            f"the solution has a relative duality gap of {gap:.3g} over its own neurons, above gap_tol={gap_tol:.3g}: "
            "what is left after pruning would not be a minimal optimum. Train it with a smaller tol, or prune "
            "its network as a plain one: prune(network, X, y)"
        )
    return gap


def _check_options(continue_to: int | None, tol: float, gap_tol: float) -> None:
    whole = isinstance(continue_to, int | np.integer) and not isinstance(continue_to, bool)
    if continue_to is not None and (not whole or continue_to < 1):
        raise ProblemError(f"continue_to must be a positive integer or None, got {continue_to!r}.")
    for name, value in (("tol", tol), ("gap_tol", gap_tol)):
        if not 0.0 < value < 1.0:
            raise ProblemError(f"{name} must lie between 0 and 1, got {value!r}.")

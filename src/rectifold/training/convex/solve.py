"""Two-layer training as a convex program: the public function."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rectifold._engine.budget import Budget
from rectifold.core.errors import ProblemError
from rectifold.core.monitor import Monitor
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem, HiddenBias
from rectifold.core.result import Result
from rectifold.training.convex.options import TrainingOptions
from rectifold.training.convex.restricted.training import pattern_set, train_gated, train_restricted
from rectifold.training.convex.train import train


def solve_convex_relu(
    X: ArrayLike,
    y: ArrayLike,
    alpha: float,
    patterns: ArrayLike | None = None,
    loss: str = "squared",
    hidden_bias: HiddenBias = True,
    fit_intercept: bool = True,
    activation: str = "relu",
    *,
    output_penalty: str = "l2",
    sample_weight: ArrayLike | None = None,
    tol: float = 1e-6,
    max_iter: int = 50,
    n_starts: int = 300,
    certify: bool = True,
    gap_tol: float = 1e-2,
    max_work: int = 5_000_000_000,
    warm_start: ReLUNetwork | None = None,
    random_state: int | np.random.Generator | None = 0,
    callback: Monitor | None = None,
    time_limit: float | None = None,
    executor: Executor | None = None,
    keep_leaves: bool = False,
) -> Result[Any]:
    """Train a two-layer network to the optimum of ``loss + alpha sum_j ||w_j|| ||a_j||``.

    Parameters
    ----------
    X, y, alpha, loss, hidden_bias, fit_intercept, output_penalty, sample_weight
        The problem, see :class:`rectifold.ConvexReLUProblem`.
    patterns : array_like of bool, shape (n_samples, P), optional
        Only neurons of these activation patterns, as from `sample_patterns`; all patterns by column generation if left
        out. Pattern rows belong to the rows of ``[X, 1]`` (of X without a hidden bias).
    activation : {"relu", "gated"}
        "gated" drops the cone constraints: ``f(x) = sum_i 1(g_i'x > 0) w_i'x``; it needs ``patterns``.
    tol : float
        Relative duality gap of the program on the patterns in use.
    max_iter : int
        Rounds of column generation, or of the working set for given patterns.
    n_starts : int
        Starts of heuristic pricing a round.
    certify : bool
        Search for a proof of the bound; otherwise only the cheap one is computed.
    gap_tol : float
        Relative gap at which a network counts as certified, or, by search only, as priced.
    max_work : int
        Effort of the proof in samples visited, so that the answer depends neither on the clock nor on threads; the
        default is worth some 10 s on one core.
    warm_start : ReLUNetwork, optional
        A two-layer network to start from.
    random_state : int, Generator or None
    callback : Monitor, optional
    time_limit : float, optional
        Seconds.
    executor : concurrent.futures.Executor, optional
        Runs the trees of the proof, and outputs that are independent problems (several outputs,
        ``output_penalty="l1"``, all patterns): threads, loky, or Dask's ``client.get_executor()``. The result is the
        same as without one.
    keep_leaves : bool
        Keep the multipliers of every leaf of the proof in the certificate, n + 8 d bytes each, instead of 2 bytes a
        node; `verify` is then several times faster.

    Returns
    -------
    Result
        ``solution`` is a `ReLUNetwork` or, gated, a `GatedModel`; ``bound`` is proven for all networks, or for the
        given patterns; ``stats`` holds ``priced_gap``, ``restricted_gap`` (NaN where not computed), ``starts``,
        ``rounds``, ``iterations``, ``neurons``, ``seconds``, and for the trees ``proof_work`` and ``proof_nodes``.

    Raises
    ------
    ProblemError
        For data or options that do not fit.

    References
    ----------
    Mishkin and Pilanci (2023); Pilanci and Ergen (2020) for the convex program.
    """
    options = TrainingOptions(tol, max_iter, n_starts, certify, gap_tol, max_work, random_state, keep_leaves)
    problem = ConvexReLUProblem(X, y, alpha, loss, hidden_bias, fit_intercept, output_penalty, sample_weight)
    budget = Budget(callback, time_limit)
    if activation not in ("relu", "gated"):
        raise ProblemError(f"activation must be 'relu' or 'gated', got {activation!r}.")
    if patterns is None:
        if activation == "gated":
            raise ProblemError("activation='gated' needs patterns=: a gated network has gates that are given.")
        return train(problem, options, budget, warm_start, executor)
    chosen = pattern_set(problem, patterns)
    if activation == "gated":
        return train_gated(problem, chosen, options, budget)
    return train_restricted(problem, chosen, options, budget)

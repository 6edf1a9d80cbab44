"""What is to be pruned: a network, the samples it is judged on and, for a trained one, its problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_float_array
from rectifold.core.errors import ProblemError, UnsupportedNetworkError
from rectifold.core.loss import Loss, get_loss
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem, HiddenBias
from rectifold.core.result import Result
from rectifold.training.convex.optima.optimal_set import OptimalSet
from rectifold.training.convex.optima.solved import solved_program
from rectifold.training.convex.pruning.neuron_columns import output_norm, penalised_norm

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Switches:
    """Options of the objective for a network that does not bring its problem."""

    alpha: float | None
    loss: str
    hidden_bias: HiddenBias
    fit_intercept: bool | None
    output_penalty: str
    sample_weight: ArrayLike | None


@dataclass(frozen=True, eq=False)
class Subject:
    """A two-layer network on its samples.

    Attributes
    ----------
    network : ReLUNetwork
    inputs : ndarray, shape (n, n_inputs)
    weights : ndarray, shape (n,)
        Positive, they sum to 1.
    intercept : bool
        Whether the output offset may change.
    hidden_bias : bool or "free"
    output_penalty : {"l2", "l1"}
    loss : Loss or None
    targets : ndarray, shape (n, K), or None
    alpha : float
        NaN where there is none.
    problem : ConvexReLUProblem or None
        Of a solution.
    known_gap : float
        Relative duality gap that its solver proved over the neurons' own cells; NaN where there is none.
    """

    network: ReLUNetwork
    inputs: Array
    weights: Array
    intercept: bool
    hidden_bias: HiddenBias
    output_penalty: str
    loss: Loss | None
    targets: Array | None
    alpha: float
    problem: ConvexReLUProblem | None
    known_gap: float = float("nan")

    def penalty(self, network: ReLUNetwork) -> float:
        """Return ``sum_j ||w_j|| ||a_j||``."""
        hidden = np.column_stack([network.weights[0], network.biases[0]])
        sizes = output_norm(network.weights[1].T, self.output_penalty)
        return float(penalised_norm(hidden, self.hidden_bias) @ sizes)

    def loss_of(self, fit: Array) -> float:
        """Return the loss of a fit (n, K); NaN without targets."""
        if self.loss is None or self.targets is None:
            return float("nan")
        return self.loss.value(fit, self.targets, self.weights)

    def row_weights(self, fit: Array) -> Array:
        """Return how much a deviation at each sample costs near a fit, shape (n,)."""
        if self.loss is None or self.targets is None or fit.shape[1] > 1:
            return self.weights
        curvature = self.loss.curvature(fit, self.targets, self.weights)[:, 0]
        return np.asarray(np.maximum(curvature, 1e-2 * self.loss.smoothness * self.weights))


def subject_of(model: Any, X: ArrayLike | None, y: ArrayLike | None, switches: Switches) -> Subject:
    """Read a network, a `Result`, a fitted estimator of this library or an `OptimalSet`.

    Raises
    ------
    UnsupportedNetworkError
        For anything else, and for networks that do not have exactly one hidden layer.
    ProblemError
        If data are missing or do not fit, or are not those of the solution.
    """
    if isinstance(model, ReLUNetwork):
        return _plain(model, X, y, switches)
    if isinstance(model, OptimalSet):
        if X is not None or y is not None:
            raise ProblemError("An optimal set has its data: leave X and y out.")
        return _solution(model.problem, model.center().network, model.blocks.relative_gap)
    result = model if isinstance(model, Result) else getattr(model, "result_", None)
    if not isinstance(result, Result):
        hint = " (call fit first)" if hasattr(model, "get_params") and hasattr(model, "alpha") else ""
        raise UnsupportedNetworkError(
            f"expected a ReLUNetwork, a Result, an OptimalSet or a fitted estimator of rectifold{hint}, got "
            f"{type(model).__name__}; networks of other libraries are read by rectifold.from_torch, from_sklearn and "
            "load"
        )
    if not isinstance(result.solution, ReLUNetwork):
        raise UnsupportedNetworkError(f"a {type(result.solution).__name__} has no ReLU neurons to prune")
    problem = _problem(model, result, X, y, switches)
    return _solution(problem, result.solution, float(result.stats.get("restricted_gap", np.nan)))


def _solution(problem: ConvexReLUProblem, network: ReLUNetwork, known_gap: float) -> Subject:
    return Subject(
        network,
        problem.design[:, : problem.n_features],
        problem.weights,
        problem.fit_intercept,
        problem.hidden_bias,
        problem.output_penalty,
        problem.loss,
        problem.targets,
        problem.alpha,
        problem,
        known_gap,
    )


def own_gap(subject: Subject) -> float:
    """Return the relative duality gap of a solution among networks with its own neuron directions; NaN without one.

    The smaller of what its solver proved over their cells and of what the residual's dual point gives here.
    """
    problem = subject.problem
    if problem is None:
        return float("nan")
    directions, _, _ = problem.neurons(subject.network)
    fit = problem.fit(subject.network)
    theta = problem.theta(fit)
    if problem.fit_intercept:
        theta = problem.loss.to_domain(theta, problem.targets, problem.weights)
    seen = directions[:, : problem.n_features] if problem.hidden_bias == "free" else directions
    sizes = np.linalg.norm(seen, axis=1)
    gains = np.maximum(problem.design @ directions[sizes > 0.0].T, 0.0).T @ theta / sizes[sizes > 0.0, None]
    norms = np.abs(gains) if problem.output_penalty == "l1" else output_norm(gains, "l2")
    largest = max(float(norms.max(initial=0.0)), problem.alpha)
    t = problem.loss.best_scale(theta, problem.targets, problem.weights, problem.alpha / largest)
    bound = problem.loss.dual_value(t * theta, problem.targets, problem.weights)
    value = problem.objective(subject.network)
    gap = max(value - bound, 0.0) / value if value > 0.0 else 0.0
    return float(np.nanmin([gap, subject.known_gap]))


def _plain(network: ReLUNetwork, X: ArrayLike | None, y: ArrayLike | None, switches: Switches) -> Subject:
    if len(network.weights) != 2:
        raise UnsupportedNetworkError(
            f"pruning is for one hidden layer; this network has {len(network.weights) - 1} (widths {network.widths})"
        )
    if X is None:
        raise ProblemError("a network is pruned on samples: X is needed")
    inputs = as_float_array(X, "X", ndim=2)
    if inputs.shape[0] == 0 or inputs.shape[1] != network.n_inputs:
        raise ProblemError(f"X must have shape (n, {network.n_inputs}) with n > 0, got {inputs.shape}.")
    if switches.hidden_bias is False and np.any(network.biases[0]):
        raise ProblemError("The network has hidden biases, but hidden_bias=False.")
    intercept = bool(network.biases[1].any()) or switches.hidden_bias == "free"
    intercept = intercept if switches.fit_intercept is None else bool(switches.fit_intercept)
    alpha = 1.0 if switches.alpha is None else switches.alpha
    options = (switches.hidden_bias, intercept, switches.output_penalty)
    ConvexReLUProblem(inputs[:1], [0.0], alpha, "squared", *options)  # for its checks of the options
    weights = _weights(switches.sample_weight, len(inputs))
    kept = weights > 0.0
    loss, targets = None, None
    if y is not None:
        loss = get_loss(switches.loss)
        targets = loss.encode(_targets(y, len(inputs))[kept])
        if targets.shape[1] != network.n_outputs or not np.isfinite(targets).all():
            raise ProblemError(f"y must be finite, with {network.n_outputs} output(s), got {targets.shape[1]}.")
    elif switches.alpha is not None:
        raise ProblemError("alpha is for the objective, which needs y")
    return Subject(
        network,
        inputs[kept],
        weights[kept] / weights.sum(),
        intercept,
        switches.hidden_bias,
        switches.output_penalty,
        loss,
        targets,
        float("nan") if switches.alpha is None else alpha,
        None,
    )


def _problem(
    model: Any, result: Result[Any], X: ArrayLike | None, y: ArrayLike | None, switches: Switches
) -> ConvexReLUProblem:
    """Return the problem that a solution solves: kept in its certificate, or put together again from the data."""
    weight = switches.sample_weight
    if model is not result:
        return solved_program(model, X, y, sample_weight=weight).problem
    problem = getattr(result.certificate, "problem", None)
    if problem is None:
        if X is None or y is None or switches.alpha is None:
            raise ProblemError(
                "this result does not carry its problem (stored, or certify=False): X, y, alpha and the other options "
                "of its objective are needed"
            )
        intercept = True if switches.fit_intercept is None else switches.fit_intercept
        options = (switches.alpha, switches.loss, switches.hidden_bias, intercept, switches.output_penalty)
        problem = ConvexReLUProblem(X, y, *options, sample_weight=weight)
    bare = Result(result.solution, result.value, certificate=result.certificate)  # its patterns do not matter here
    return solved_program(bare, X, y, problem=problem, sample_weight=weight).problem


def _targets(y: ArrayLike, n: int) -> NDArray[Any]:
    targets = np.asarray(y)
    if targets.ndim not in (1, 2) or len(targets) != n:
        raise ProblemError(f"y must have {n} rows like X, got shape {targets.shape}.")
    return targets


def _weights(sample_weight: ArrayLike | None, n: int) -> Array:
    if sample_weight is None:
        return np.ones(n)
    weights = as_float_array(sample_weight, "sample_weight", ndim=1)
    if len(weights) != n or np.any(weights < 0) or not weights.any():
        raise ProblemError(f"sample_weight must hold {n} non-negative numbers, not all zero.")
    return weights

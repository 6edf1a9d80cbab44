"""L1 training of one layer: a walk over vertices for a hidden layer, least absolute deviations for the output layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.budget import Budget
from rectifold.core.errors import ProblemError
from rectifold.core.layer_l1 import L1Problem, LayerData, OutputLayerCertificate
from rectifold.core.network import ReLUNetwork
from rectifold.core.result import Proof, Status
from rectifold.programs.lad import solve_lad
from rectifold.programs.walk_driver import NEVER
from rectifold.training.layerwise.layer_result import LayerResult, describe_descent
from rectifold.training.layerwise.layer_simplex import LayerSimplex

__all__ = ["require_count", "train_layer"]

Array = NDArray[np.float64]


def train_layer(
    problem: L1Problem,
    network: ReLUNetwork,
    layer: int,
    budget: Budget,
    rng: np.random.Generator,
    n_walks: int = 1,
    max_moves: int | None = None,
) -> LayerResult:
    """Train one layer of a network, all others frozen; the loss never rises.

    Parameters
    ----------
    problem : L1Problem
    network : ReLUNetwork
    layer : int
        The last one is the output layer, whose optimum is global.
    budget : Budget
    rng : Generator
    n_walks : int
        The first from the weights there are, each other one from near the lowest end so far.
    max_moves : int, optional
        Of all walks; the output layer takes what it needs.
    """
    if layer == len(network.weights) - 1:
        return _output_layer(problem, network, budget, rng)
    data = LayerData(problem, network, layer)
    simplex = LayerSimplex(data, rng, budget)
    descent = simplex.descend(data.parameters(), n_walks, NEVER if max_moves is None else max_moves)
    fields = describe_descent(problem, data, descent, {"blocks": len(data.inputs), "seconds": budget.elapsed})
    budget.report("layer", fields["value"], 0.0, layer=layer, moves=fields["stats"]["moves"])
    return LayerResult(**fields, proof=Proof.NONE, trace=budget.trace())


def _output_layer(problem: L1Problem, network: ReLUNetwork, budget: Budget, rng: np.random.Generator) -> LayerResult:
    hidden = hidden_features(network, problem.X)
    start = problem.loss(network)
    left = None if np.isinf(budget.remaining) else max(budget.remaining, 1e-3)
    fit = solve_lad(hidden, problem.y, sample_weight=problem.weights, time_limit=left, random_state=rng)
    model, twice = fit.solution, 2.0 * float(problem.weights.sum())  # the pinball loss at 1/2 is half the deviation
    trained = ReLUNetwork(
        [*network.weights[:-1], model.coef[None]], [*network.biases[:-1], [model.intercept]], network.slopes
    )
    value = problem.loss(trained)
    certificate: OutputLayerCertificate | None = None
    if fit.status is Status.OPTIMAL and model.dual is not None:
        certificate = OutputLayerCertificate(
            problem, None, trained, value, twice * fit.bound, np.asarray(model.dual), np.asarray(model.basis)
        )
    elif value > start:  # a fit cut short may be worse than what was there
        trained, value = network, start
    stats: dict[str, Any] = {"decided_by": "global" if certificate else "", "weights": len(model.coef) + 1}
    stats |= {"pivots": fit.stats.get("pivots", 0), "seconds": budget.elapsed}
    budget.report("layer", value, twice * fit.bound, layer=len(network.weights) - 1)
    return LayerResult(
        solution=trained,
        value=value,
        bound=min(twice * fit.bound, value),
        status=fit.status if certificate else budget.status(fit.status),
        proof=fit.proof,
        certificate=certificate,
        stats=stats,
        trace=budget.trace(),
        layer=len(network.weights) - 1,
        losses=np.array([max(start, value), value]),
        decided_by=stats["decided_by"],
    )


def hidden_features(network: ReLUNetwork, X: Array) -> Array:
    """Return the outputs of the last hidden layer; X itself without one."""
    if len(network.weights) == 1:
        return X
    z = network.preactivations(X)[-1]
    lo, hi = network.slopes[-1]
    return np.asarray(np.where(z > 0.0, hi, lo) * z)


def require_count(value: Any, name: str, least: int) -> int:
    """Return an integer of at least this size, or raise `ProblemError`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ProblemError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)

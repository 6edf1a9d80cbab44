"""Predictions for samples that were left out of training: one Newton step each, or solved again."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.budget import Budget
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import ReadOnlyArrays
from rectifold.training.convex.options import TrainingOptions
from rectifold.training.convex.paths.face_tangent import FaceTangent
from rectifold.training.convex.restricted.patterns import PatternSet
from rectifold.training.convex.restricted.training import pattern_set, train_restricted
from rectifold.training.convex.train import train

__all__ = ["Influence", "first_order", "resolved"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Influence(ReadOnlyArrays):
    """What each distinct sample does to the fit, to first order: one entry a sample, in the given order.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Position of the sample in the data.
    fitted : ndarray, shape (n,)
        The network's value there.
    residual : ndarray, shape (n,)
        ``-dl/df`` at it; ``y - f`` for the squared loss.
    leverage : ndarray, shape (n,)
        Curvature times derivative: ``df_i/dy_i`` for the squared loss.
    leave_one_out : ndarray, shape (n,)
        Prediction at the sample without it.
    influence : ndarray, shape (n,)
        Root of the weighted mean square by which the fit at all samples moves when it is left out.
    stays : ndarray of bool, shape (n,)
        Whether the step crosses no kink and the sample is not on one: where the step can be trusted.
    """

    rows: NDArray[np.intp]
    fitted: Array
    residual: Array
    leverage: Array
    leave_one_out: Array
    influence: Array
    stays: NDArray[np.bool_]

    def to_frame(self) -> Any:
        """Return the table as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame({field.name: getattr(self, field.name) for field in fields(self)})


def first_order(
    tangent: FaceTangent, problem: ConvexReLUProblem, rows: NDArray[np.intp], order: NDArray[np.intp]
) -> Influence:
    """Return the influence table from one Newton step a sample, ``O(n k^2)`` for k unknowns.

    Without sample i the gradient of what is left is ``theta_i c_i`` and its Hessian ``S - h_i c_i c_i'``, c_i being row
    i of the system's columns; since the other weights grow by ``1 / (1 - s_i)``, alpha falls by the factor ``1 - s_i``
    in the same units.

    References
    ----------
    Rad and Maleki (2020), A scalable estimate of the out-of-sample prediction error via approximate leave-one-out.
    """
    face, program, columns = tangent.face, tangent.program, tangent.columns
    s, h, theta = problem.weights, tangent.curvature, tangent.theta
    steps = tangent.solve(columns.T)  # column i: S^-1 c_i
    shrink = tangent.alpha_direction()
    leverage = h * np.einsum("ik,ki->i", columns, steps)
    room = np.maximum(1.0 - leverage, 1e-12)
    # (S - h c c')^-1 g = S^-1 g + h (c'S^-1 g) / (1 - h c'S^-1 c) S^-1 c for g = theta_i c_i and the change of alpha
    given = -s * program.alpha * (columns @ shrink)
    scale = -theta + h * (given - theta * np.einsum("ik,ki->i", columns, steps)) / room
    moves = steps * scale - np.multiply.outer(shrink, s * program.alpha)
    change = columns @ moves
    fit = program.fit(face.w, face.intercept)
    dw, _ = tangent.expand(moves)
    stays = ~face.tight.any(axis=0)
    for b, w in enumerate(face.w):
        before, after = program.X @ w, program.X @ (w[:, None] + dw[b])
        crossed = (before[:, None] > 0) != (after > 0)
        crossed[face.tight[b]] = False
        np.fill_diagonal(crossed, False)
        stays &= ~crossed.any(axis=0) & (w @ (w[:, None] + dw[b]) > 0)
    return Influence(
        rows=rows,
        fitted=fit[order],
        residual=(theta / s)[order],
        leverage=leverage[order],
        leave_one_out=(fit + np.diagonal(change))[order],
        influence=np.sqrt(s @ change**2)[order],
        stays=np.asarray(stays, dtype=bool)[order],
    )


def resolved(
    problem: ConvexReLUProblem, network: ReLUNetwork, chosen: PatternSet | None, row: int, tol: float
) -> float:
    """Return the prediction at a row of the design of the optimum without it, solved again from the network.

    Raises
    ------
    ProblemError
        If what is left is no problem: no sample or a single class.
    """
    kept = np.arange(len(problem.design)) != row
    inputs, targets = problem.design[:, : problem.n_features], problem.targets[:, 0]
    smaller = ConvexReLUProblem(
        inputs[kept], targets[kept], problem.alpha, problem.loss.name, problem.hidden_bias, problem.fit_intercept,
        problem.output_penalty, problem.weights[kept],
    )  # fmt: skip
    options = TrainingOptions(tol=tol, certify=False)
    if chosen is not None:
        result = train_restricted(smaller, pattern_set(smaller, chosen.columns[kept]), options, Budget())
    else:
        result = train(smaller, options, Budget(), network)
    return float(result.solution(inputs[row])[0])

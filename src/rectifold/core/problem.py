"""The convex training problem: data, loss and penalty of a two-layer ReLU network, with no algorithm."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_float_array, read_only
from rectifold.core.errors import ProblemError
from rectifold.core.loss import Loss, get_loss
from rectifold.core.network import ReLUNetwork

Array = NDArray[np.float64]
HiddenBias = bool | Literal["free"]

FREE_BIAS_SCALE = 1e3
"""The column that stands for a free hidden bias is this many times the largest ||x_i||: see `ConvexReLUProblem`."""


class ConvexReLUProblem:
    """Two-layer ReLU training ``F(W, a, c) = loss(f, y) + alpha sum_j ||w_j||_2 ||a_j||``.

    ``f(x) = sum_j a_j (w_j' [x, 1])_+ + c``, over all widths and all weights.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features)
        Inputs; features are never rescaled, and the penalty is not scale-invariant.
    y : array_like, shape (n_samples,) or (n_samples, n_outputs)
        Numbers for the squared loss; -1 and +1 for logistic and squared hinge; class codes 0..K-1, K >= 3, for
        multinomial and one-vs-rest squared hinge.
    alpha : float
        Penalty, positive; the losses are means, so ``alpha = lambda / n`` for a sum of losses.
    loss : {"squared", "logistic", "multinomial", "squared_hinge"}
    hidden_bias : bool or "free"
        A bias inside ``w_j`` that is penalised (True), absent (False) or unpenalised ("free", needs the intercept).
    fit_intercept : bool
        Whether the unpenalised output intercept c is there.
    output_penalty : {"l2", "l1"}
        Norm of ``a_j`` for several outputs; the same for one.
    sample_weight : array_like, shape (n_samples,), optional
        Non-negative; normalised to sum 1. Rows of zero weight are removed, equal (x, y) rows merged.

    Attributes
    ----------
    design : ndarray, shape (n, d)
        Distinct weighted rows in canonical order, with the hidden-bias column last if there is one.
    targets : ndarray, shape (n, K)
    weights : ndarray, shape (n,)
        Sum to 1.
    source_rows : ndarray of int, shape (n,)
        For each row of ``design`` one row of ``X`` it came from.

    Raises
    ------
    ProblemError
        For NaN, infinities, shapes that do not fit, alpha <= 0, negative weights, fewer than two classes, or a free
        hidden bias without an intercept.

    Notes
    -----
    A free hidden bias is a column of ``M = FREE_BIAS_SCALE * max ||x_i||``: since ``|b| <= ||v|| max ||x_i||`` loses
    nothing when theta sums to zero, the penalty of the column changes F by a factor of at most
    ``sqrt(1 + FREE_BIAS_SCALE^-2)``, 5e-7, which the bound accounts for.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        alpha: float,
        loss: str = "squared",
        hidden_bias: HiddenBias = True,
        fit_intercept: bool = True,
        output_penalty: str = "l2",
        sample_weight: ArrayLike | None = None,
    ) -> None:
        self.loss: Loss = get_loss(loss)
        self.alpha = _check_alpha(alpha)
        self.hidden_bias = _check_hidden_bias(hidden_bias, fit_intercept)
        self.fit_intercept = bool(fit_intercept)
        if output_penalty not in ("l1", "l2"):
            raise ProblemError(f"output_penalty must be 'l2' or 'l1', got {output_penalty!r}.")
        self.output_penalty = output_penalty
        inputs = as_float_array(X, "X", ndim=2)
        if inputs.shape[0] == 0 or inputs.shape[1] == 0:
            raise ProblemError(f"X needs at least one sample and one feature, got shape {inputs.shape}.")
        raw_y = np.asarray(y)
        if raw_y.ndim not in (1, 2) or raw_y.shape[0] != inputs.shape[0]:
            raise ProblemError(f"y must have {inputs.shape[0]} rows like X, got shape {raw_y.shape}.")
        weights = _check_weights(sample_weight, inputs.shape[0])
        kept = np.flatnonzero(weights > 0)
        targets = self.loss.encode(raw_y[kept])
        if not np.all(np.isfinite(targets)):
            raise ProblemError("y contains NaN or infinity.")
        rows, source, merged = _merge_rows(inputs[kept], targets, weights[kept])
        self.n_features = inputs.shape[1]
        self.n_samples_given = inputs.shape[0]
        self.bias_column = self._bias_column(rows[0])
        extra = [] if self.bias_column == 0.0 else [np.full((len(rows[0]), 1), self.bias_column)]
        self.design = read_only(np.hstack([rows[0], *extra]))
        self.targets = read_only(rows[1])
        self.weights = read_only(merged)
        self.source_rows = read_only(kept[source])

    def _bias_column(self, inputs: Array) -> float:
        if self.hidden_bias == "free":
            return FREE_BIAS_SCALE * max(float(np.sqrt((inputs**2).sum(axis=1).max())), 1e-300)
        return 1.0 if self.hidden_bias else 0.0

    def __repr__(self) -> str:
        n, k = self.targets.shape
        return (
            f"ConvexReLUProblem({n} samples, {self.n_features} features, {k} outputs, alpha={self.alpha:.6g}, "
            f"loss={self.loss.name!r}, hidden_bias={self.hidden_bias!r}, fit_intercept={self.fit_intercept}, "
            f"output_penalty={self.output_penalty!r})"
        )

    @property
    def n_outputs(self) -> int:
        """Number of outputs K of the network."""
        return int(self.targets.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical data and every switch."""
        h = hashlib.sha256()
        switches = (self.alpha.hex(), self.loss.name, repr(self.hidden_bias), self.fit_intercept, self.output_penalty)
        h.update(repr((*switches, self.design.shape, self.targets.shape)).encode())
        for array in (self.design, self.targets, self.weights):
            h.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return h.hexdigest()

    @cached_property
    def null_intercept(self) -> Array:
        """The best constant, shape (K,); zero without an intercept."""
        zero = np.zeros_like(self.targets)
        if not self.fit_intercept:
            return np.zeros(self.n_outputs)
        return read_only(self.loss.intercept(zero, self.targets, self.weights))

    @cached_property
    def null_theta(self) -> Array:
        """Dual variable ``-dL/df`` at the best constant, shape (n, K)."""
        return read_only(self.theta(np.zeros_like(self.targets) + self.null_intercept))

    @cached_property
    def null_value(self) -> float:
        """F of the best constant."""
        return self.loss_value(np.zeros_like(self.targets) + self.null_intercept)

    def loss_value(self, f: Array) -> float:
        """Return ``loss(f, y)`` for fits f of shape (n, K)."""
        return self.loss.value(f, self.targets, self.weights)

    def theta(self, f: Array) -> Array:
        """Return ``-dL/df`` at f, summing to zero exactly up to rounding if f is at its best intercept."""
        return self.loss.theta(f, self.targets, self.weights)

    def with_alpha(self, alpha: float) -> ConvexReLUProblem:
        """Return the same data and switches under another penalty, without copying the data."""
        other = object.__new__(type(self))
        kept = {k: v for k, v in self.__dict__.items() if k != "digest"}
        other.__dict__.update(kept, alpha=_check_alpha(alpha))
        return other

    def output(self, k: int) -> ConvexReLUProblem:
        """Return the one-output problem of output k; under the l1 penalty a separable loss is their sum."""
        if not self.loss.separable:
            raise ProblemError(f"The {self.loss.name} loss does not separate by output.")
        other = object.__new__(type(self))
        dropped = {"digest", "null_intercept", "null_theta", "null_value"}
        kept = {key: v for key, v in self.__dict__.items() if key not in dropped}
        other.__dict__.update(kept, targets=read_only(self.targets[:, k : k + 1]))
        return other

    # -- networks -----------------------------------------------------------------------------------------------

    def network(self, directions: Array, outputs: Array, intercept: Array) -> ReLUNetwork:
        """Build the balanced network of neurons given in design coordinates.

        Parameters
        ----------
        directions : ndarray, shape (m, d)
        outputs : ndarray, shape (m, K)
        intercept : ndarray, shape (K,)
        """
        w_norm = np.linalg.norm(self._penalised(directions), axis=1)
        a_norm = self._output_norm(outputs)
        scale = np.sqrt(np.divide(a_norm, w_norm, out=np.ones_like(w_norm), where=w_norm * a_norm > 0))[:, None]
        w, a = directions * scale, outputs / scale
        bias = w[:, self.n_features] * self.bias_column if self.bias_column else np.zeros(len(w))
        return ReLUNetwork([w[:, : self.n_features], a.T], [bias, intercept])

    def neurons(self, network: ReLUNetwork) -> tuple[Array, Array, Array]:
        """Return (directions, outputs, intercept) of a two-layer ReLU network in design coordinates.

        Raises
        ------
        ProblemError
            If the network is not a two-layer ReLU network of this problem's shape, or uses a bias or an intercept
            that the problem does not have.
        """
        self._check_network(network)
        w, b = network.weights[0], network.biases[0]
        columns = [w] if self.bias_column == 0.0 else [w, b[:, None] / self.bias_column]
        return np.hstack(columns), network.weights[1].T.copy(), network.biases[1].copy()

    def fit(self, network: ReLUNetwork) -> Array:
        """Return the network's values at the distinct samples, shape (n, K)."""
        directions, outputs, intercept = self.neurons(network)
        return np.maximum(self.design @ directions.T, 0.0) @ outputs + intercept

    def penalty(self, network: ReLUNetwork) -> float:
        """Return ``sum_j ||w_j|| ||a_j||``."""
        directions, outputs, _ = self.neurons(network)
        return float(np.linalg.norm(self._penalised(directions), axis=1) @ self._output_norm(outputs))

    def objective(self, network: ReLUNetwork) -> float:
        """Return F of the network."""
        return self.loss_value(self.fit(network)) + self.alpha * self.penalty(network)

    def _penalised(self, directions: Array) -> Array:
        return directions[:, : self.n_features] if self.hidden_bias == "free" else directions

    def _output_norm(self, outputs: Array) -> Array:
        if self.output_penalty == "l1":
            return np.abs(outputs).sum(axis=1)
        return np.asarray(np.linalg.norm(outputs, axis=1))

    def _check_network(self, network: object) -> None:
        if not isinstance(network, ReLUNetwork):
            raise ProblemError(f"Expected a ReLUNetwork, got {network!r}.")
        if len(network.weights) != 2 or network.n_inputs != self.n_features or network.n_outputs != self.n_outputs:
            raise ProblemError(
                f"Expected a network {self.n_features} -> width -> {self.n_outputs} with one hidden layer, got "
                f"{network.n_inputs} -> {' -> '.join(map(str, network.widths))} -> {network.n_outputs}."
            )
        if any(np.any(lo != 0) or np.any(hi != 1) for lo, hi in network.slopes):
            raise ProblemError("Expected plain ReLU units with slopes (0, 1).")
        if self.bias_column == 0.0 and np.any(network.biases[0] != 0):
            raise ProblemError("The network has hidden biases, but the problem has hidden_bias=False.")
        if not self.fit_intercept and np.any(network.biases[1] != 0):
            raise ProblemError("The network has an output intercept, but the problem has fit_intercept=False.")


def _check_alpha(alpha: Any) -> float:
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.integer | np.floating):
        raise ProblemError(f"alpha must be a positive number, got {alpha!r}.")
    value = float(alpha)
    if not np.isfinite(value) or value <= 0:
        raise ProblemError(f"alpha must be positive and finite, got {alpha!r}.")
    return value


def _check_hidden_bias(hidden_bias: Any, fit_intercept: bool) -> HiddenBias:
    if hidden_bias == "free":
        if not fit_intercept:
            raise ProblemError("hidden_bias='free' is well-posed only with fit_intercept=True.")
        return "free"
    if not isinstance(hidden_bias, bool | np.bool_):
        raise ProblemError(f"hidden_bias must be True, False or 'free', got {hidden_bias!r}.")
    return bool(hidden_bias)


def _check_weights(sample_weight: ArrayLike | None, n: int) -> Array:
    if sample_weight is None:
        return np.ones(n)
    weights = as_float_array(sample_weight, "sample_weight", ndim=1)
    if len(weights) != n:
        raise ProblemError(f"sample_weight must have shape ({n},), got {weights.shape}.")
    if np.any(weights < 0):
        raise ProblemError("sample_weight must be non-negative.")
    if not np.any(weights > 0):
        raise ProblemError("At least one sample must have positive weight.")
    return weights


def _merge_rows(X: Array, Y: Array, weights: Array) -> tuple[tuple[Array, Array], NDArray[np.intp], Array]:
    """Merge equal (x, y) rows in lexicographic order; return them, one source row of each, and normalised weights."""
    joint = np.hstack([X, Y]) + 0.0  # -0.0 and 0.0 are one value
    order = np.lexsort([weights, *joint.T[::-1]])  # weights too, or sums would depend on the order of equal rows
    ordered = joint[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    group = np.cumsum(is_new) - 1
    total = np.bincount(group, weights=weights[order])
    rows = ordered[is_new]
    return (rows[:, : X.shape[1]], rows[:, X.shape[1] :]), order[is_new], total / total.sum()

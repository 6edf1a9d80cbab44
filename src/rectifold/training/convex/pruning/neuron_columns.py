"""A two-layer network as a non-negative combination of columns: what each of its neurons adds to the fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import HiddenBias

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_DEAD = 1e-13


@dataclass(frozen=True, eq=False)
class NeuronColumns:
    """Neurons of distinct directions; neuron j adds ``mu_j phi_j(u_j'[x, 1]) g_j'`` to the fit, mu = 1 as given.

    Attributes
    ----------
    units : ndarray, shape (m, n_inputs + 1)
        Unit vectors of weights with the hidden bias last.
    outputs : ndarray, shape (m, K)
        The vectors g.
    slopes : tuple of two ndarrays, shape (m,)
        Slopes (lo, hi) of the units.
    sources : ndarray of int, shape (m,)
        The neuron of the given network that stands for each; the largest of those merged.
    penalties : ndarray, shape (m,)
        Penalty of each neuron at mu = 1.
    hidden_bias : bool or "free"
    output_penalty : {"l2", "l1"}
    """

    units: Array
    outputs: Array
    slopes: tuple[Array, Array]
    sources: Index
    penalties: Array
    hidden_bias: HiddenBias
    output_penalty: str

    def __len__(self) -> int:
        return len(self.units)

    def take(self, index: NDArray[np.generic]) -> NeuronColumns:
        """Return some of the neurons."""
        low, high = self.slopes
        return NeuronColumns(
            self.units[index],
            self.outputs[index],
            (low[index], high[index]),
            self.sources[index],
            self.penalties[index],
            self.hidden_bias,
            self.output_penalty,
        )

    def activations(self, X: Array) -> Array:
        """Return ``phi_j(u_j'[x_i, 1])``, shape (n, m)."""
        z = X @ self.units[:, :-1].T + self.units[:, -1]
        low, high = self.slopes
        if not low.any() and (high == 1.0).all():
            return np.maximum(z, 0.0)
        return np.where(z > 0.0, high, low) * z

    def network(self, mu: Array, intercept: Array) -> ReLUNetwork:
        """Return the balanced network of the neurons with mu > 0."""
        used = mu > 0.0
        units, outputs = self.units[used], self.outputs[used]
        sizes = penalised_norm(units, self.hidden_bias)
        sizes = np.where(sizes > 0.0, sizes, 1.0)
        scale = np.sqrt(mu[used] * output_norm(outputs, self.output_penalty) / sizes)[:, None]
        weights, readout = units * scale, outputs * (mu[used, None] / scale)
        slopes = [(low_high[used]) for low_high in self.slopes]
        return ReLUNetwork([weights[:, :-1], readout.T], [weights[:, -1], intercept], [(slopes[0], slopes[1])])


def stacked(activations: Array, outputs: Array, row_weights: Array, intercept: bool) -> Array:
    """Return columns ``h_j g_j'`` stacked over outputs and, where rows are many, rotated into fewer.

    Parameters
    ----------
    activations : ndarray, shape (n, m)
    outputs : ndarray, shape (m, K)
    row_weights : ndarray, shape (n,)
        Positive; inner products are weighted by them.
    intercept : bool
        Take the columns modulo constants.

    Returns
    -------
    ndarray, shape (min(n K, m), m)
        Its Gram matrix is that of the columns.
    """
    if intercept:
        activations = activations - row_weights @ activations / row_weights.sum()
    rows = _compressed(activations * np.sqrt(row_weights)[:, None])
    if outputs.shape[1] == 1:
        return np.asarray(rows * outputs[:, 0])
    size = rows.shape[0] * outputs.shape[1]
    return _compressed((rows[:, None, :] * outputs.T).reshape(size, len(outputs)))


def _compressed(matrix: Array) -> Array:
    """Return a matrix of no more rows than columns with the same Gram matrix."""
    if matrix.shape[0] <= matrix.shape[1]:
        return matrix
    return np.asarray(np.linalg.qr(matrix, mode="r"))


def merged_columns(
    network: ReLUNetwork, hidden_bias: HiddenBias, output_penalty: str, tol: float
) -> tuple[NeuronColumns, list[Index]]:
    """Merge neurons of one direction, which keeps the function and never raises the penalty.

    Parameters
    ----------
    network : ReLUNetwork
        With one hidden layer.
    tol : float
        Largest distance of unit vectors ``[w, b] / ||[w, b]||`` that counts as one direction.

    Returns
    -------
    columns : NeuronColumns
        Without neurons whose weights or output weights vanish.
    groups : list of ndarray of int
        The neurons merged into each column, the one that stands for it first.
    """
    weights = np.column_stack([network.weights[0], network.biases[0]])
    lengths = np.linalg.norm(weights, axis=1)
    outputs = network.weights[1].T
    sizes = lengths * np.linalg.norm(outputs, axis=1)
    alive = np.flatnonzero(sizes > 0.0)
    units = weights[alive] / lengths[alive, None]
    slopes = np.column_stack(network.slopes[0])[alive]
    groups = [alive[group] for group in _same_rows(units, slopes, tol)]
    groups = [group[np.argsort(-sizes[group], kind="stable")] for group in groups]
    place = np.empty(len(weights), dtype=np.intp)
    place[alive] = np.arange(len(alive))
    merged_units = np.array([sizes[g] @ units[place[g]] for g in groups]).reshape(-1, weights.shape[1])
    merged_units /= np.linalg.norm(merged_units, axis=1, keepdims=True)
    merged_outputs = np.array([lengths[g] @ outputs[g] for g in groups]).reshape(-1, outputs.shape[1])
    total = np.array([sizes[g].sum() for g in groups])
    kept = np.linalg.norm(merged_outputs, axis=1) > _DEAD * total
    groups = [group for group, keep in zip(groups, kept, strict=True) if keep]
    merged_units, merged_outputs = merged_units[kept], merged_outputs[kept]
    sources = np.array([group[0] for group in groups], dtype=np.intp)
    low, high = network.slopes[0]
    penalties = penalised_norm(merged_units, hidden_bias) * output_norm(merged_outputs, output_penalty)
    pair = (low[sources], high[sources])
    columns = NeuronColumns(merged_units, merged_outputs, pair, sources, penalties, hidden_bias, output_penalty)
    return columns, groups


def penalised_norm(weights: Array, hidden_bias: HiddenBias) -> Array:
    """Return the norms of rows ``[w, b]`` that the penalty sees."""
    return np.asarray(np.linalg.norm(weights if hidden_bias is True else weights[:, :-1], axis=1))


def output_norm(outputs: Array, output_penalty: str) -> Array:
    """Return the norms of the rows of output weights."""
    return np.asarray(np.linalg.norm(outputs, ord=1 if output_penalty == "l1" else 2, axis=1))


def _same_rows(units: Array, slopes: Array, tol: float) -> list[Index]:
    """Group rows within ``tol`` of the first of their group, by a sweep along one projection."""
    if len(units) == 0:
        return []
    heights = units @ np.random.default_rng(0).standard_normal(units.shape[1]) / np.sqrt(units.shape[1])
    order = np.argsort(heights, kind="stable")
    reach = 10.0 * tol  # |heights differ| <= ||g|| / sqrt(d) * ||difference||, and ||g|| is near sqrt(d)
    groups: list[list[int]] = []
    first = 0
    for i in order:
        while first < len(groups) and heights[i] - heights[groups[first][0]] > reach:
            first += 1
        for group in groups[first:]:
            lead = group[0]
            if np.linalg.norm(units[i] - units[lead]) <= tol and np.array_equal(slopes[i], slopes[lead]):
                group.append(int(i))
                break
        else:
            groups.append([int(i)])
    return [np.array(group, dtype=np.intp) for group in sorted(groups, key=min)]

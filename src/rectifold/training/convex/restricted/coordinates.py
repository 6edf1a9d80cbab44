"""Coordinates of neuron directions in which the hyperplanes of random directions cut the samples evenly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Coordinates"]

Array = NDArray[np.float64]

_SAME = 0.5
_CONSTANT = 1e-9
_FAR = 100.0
_NEAR = 10.0


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Directions ``u = T w``: random w are spread over the activation patterns, unlike random u on ill-scaled data.

    With a constant column in X the others are standardised, their means taken up by that column, so that samples far
    from the origin are still cut apart; without one, columns are scaled to unit root mean square and a direction that
    dwarfs the others is shortened.

    Attributes
    ----------
    T : ndarray, shape (d, d), or None
        None: the identity is near enough.
    """

    T: Array | None

    @classmethod
    def of(cls, X: Array) -> Coordinates:
        """Return the coordinates that suit a matrix of samples, in O(n d) with a constant column, else O(n d^2)."""
        mean, spread = X.mean(axis=0), X.std(axis=0)
        constant = np.flatnonzero((spread <= _CONSTANT * np.abs(mean)) & (mean != 0))
        T = _standardising(mean, spread, int(constant[0])) if len(constant) else _rounding_off(X)
        size = np.sqrt((T**2).sum() / len(T))
        return cls(None if np.abs(T - size * np.eye(len(T))).max() <= _SAME * size else T / size)

    def onto(self, w: Array) -> Array:
        """Return the unit directions u of the rows of w."""
        u = w if self.T is None else w @ self.T.T
        return np.asarray(u / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-300))

    def units(self, u: Array) -> list[Array]:
        """Return unit directions in every set of coordinates that counts: neurons are close if they are so in all."""
        sets = [u] if self.T is None else [u, np.linalg.solve(self.T, u.T).T]
        return [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300) for v in sets]


def _standardising(mean: Array, spread: Array, constant: int) -> Array:
    others = (spread > _CONSTANT * np.abs(mean)) & (spread > 0)
    scale = np.where(others, 1.0 / np.where(others, spread, 1.0), 1.0)
    T = np.diag(scale)
    T[constant] = np.where(others, -mean * scale / mean[constant], 0.0)
    T[constant, constant] = 1.0 / mean[constant]
    return T


def _rounding_off(X: Array) -> Array:
    rms = np.sqrt((X**2).mean(axis=0))
    scale = 1.0 / np.where(rms > 0, rms, 1.0)
    if len(scale) < 2:
        return np.diag(scale)
    values, vectors = np.linalg.eigh((X * scale).T @ (X * scale) / len(X))
    rest = max(float(values[:-1].mean()), 1e-12 * float(values[-1]))
    if values[-1] <= _FAR * rest:
        return np.diag(scale)
    top = vectors[:, -1]
    shorter = 1.0 - np.sqrt(_NEAR * rest / values[-1])
    return np.asarray(scale[:, None] * (np.eye(len(scale)) - shorter * np.outer(top, top)))

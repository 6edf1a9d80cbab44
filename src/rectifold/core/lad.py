"""Quantile regression and least absolute deviations: the problem, and the certificate of a solution."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifold.core.arrays import as_float_array
from rectifold.core.errors import ProblemError
from rectifold.core.result import ReadOnlyArrays

__all__ = ["LADCertificate", "LADProblem", "as_matrix", "as_weights", "check_alpha", "check_quantile"]

Array = NDArray[np.float64]

_BLOCK_NUMBERS = 1 << 22


class LADProblem:
    """Mean pinball loss with penalty, ``sum_i w_i rho(y_i - x_i'b - b_0) / sum_i w_i + alpha ||b||_1``.

    ``rho(r) = max(q r, (q - 1) r)``. With quantile 1/2 this is half the mean absolute deviation.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features)
        Not copied if it is an array of floats; it may be a memory map.
    y : array_like, shape (n_samples,)
    quantile : float
        Strictly between 0 and 1.
    alpha : float
        Non-negative L1 penalty of the coefficients; the intercept is free.
    fit_intercept : bool
    sample_weight : array_like, shape (n_samples,), optional
        Non-negative, not all zero.

    Raises
    ------
    ProblemError
        For NaN, infinities, shapes that do not fit, a quantile outside (0, 1), or negative weights.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        quantile: float = 0.5,
        alpha: float = 0.0,
        fit_intercept: bool = True,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        self.quantile = check_quantile(quantile)
        self.alpha = check_alpha(alpha)
        self.fit_intercept = bool(fit_intercept)
        self.X = as_matrix(X)
        if self.X.shape[0] == 0 or self.X.shape[1] + self.fit_intercept == 0:
            raise ProblemError(f"X needs at least one sample and one coefficient, got shape {self.X.shape}.")
        self.y = as_float_array(y, "y", ndim=1)
        if len(self.y) != len(self.X):
            raise ProblemError(f"y must have {len(self.X)} entries like X, got {len(self.y)}.")
        self.weights = None if sample_weight is None else as_weights(sample_weight, len(self.y))
        for part in self.parts():
            _require_finite(self.X[part])

    def __repr__(self) -> str:
        n, d = self.X.shape
        return (
            f"LADProblem({n} samples, {d} features, quantile={self.quantile:.6g}, alpha={self.alpha:.6g}, "
            f"fit_intercept={self.fit_intercept}, weighted={self.weights is not None})"
        )

    @property
    def total_weight(self) -> float:
        """Sum of the sample weights; the number of samples without."""
        return float(len(self.y) if self.weights is None else self.weights.sum())

    def parts(self) -> Iterator[slice]:
        """Cut the rows into parts of some 32 MB."""
        step = max(1, _BLOCK_NUMBERS // max(self.X.shape[1], 1))
        for start in range(0, len(self.y), step):
            yield slice(start, min(start + step, len(self.y)))

    def rows(self, part: slice) -> Array:
        """Return rows of X as float64."""
        return np.asarray(self.X[part], dtype=np.float64)

    def with_quantile(self, quantile: float) -> LADProblem:
        """Return the problem on the same data at another quantile."""
        other = object.__new__(LADProblem)
        other.__dict__.update({k: v for k, v in self.__dict__.items() if k != "digest"})
        other.quantile = check_quantile(quantile)
        return other

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the data and every switch."""
        h = hashlib.sha256()
        switches = (self.quantile.hex(), self.alpha.hex(), self.fit_intercept, self.weights is not None, self.X.shape)
        h.update(repr(switches).encode())
        for part in self.parts():
            h.update(np.ascontiguousarray(self.rows(part), dtype="<f8").tobytes())
        for array in (self.y, self.weights):
            if array is not None:
                h.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return h.hexdigest()


@dataclass(frozen=True, eq=False)
class LADCertificate(ReadOnlyArrays):
    """Claims ``F(coef, intercept) <= objective`` and ``lower_bound <= min F``.

    A vector d with ``w_i (q - 1) <= d_i <= w_i q``, ``|X'd| <= alpha sum(w)`` and, with an intercept, ``1'd = 0``
    proves ``F >= d'y / sum(w)``; at the solution both sides are equal.

    Attributes
    ----------
    problem : LADProblem or None
        None once pickled; `verify` then needs ``problem=`` and compares the digest.
    problem_digest : str or None
        SHA-256; None while the problem is at hand.
    coef : ndarray, shape (n_features,)
    intercept : float
    dual : ndarray, shape (n_samples,)
        The vector d.
    basis : ndarray of int64, shape (k,)
        Rows that determine the coefficients: i >= 0 is sample i, interpolated; -1 - j says that coefficient j is zero.
    objective, lower_bound : float
    """

    problem: LADProblem | None
    problem_digest: str | None
    coef: Array
    intercept: float
    dual: Array
    basis: NDArray[np.int64]
    objective: float
    lower_bound: float

    def without_data(self) -> LADCertificate:
        """Return the certificate with the problem's digest in place of its data."""
        return replace(self, problem=None, problem_digest=self.digest)

    @property
    def digest(self) -> str | None:
        """The digest of the problem, computed if need be."""
        return self.problem_digest if self.problem is None else self.problem.digest

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "problem": None, "problem_digest": self.digest}


def check_quantile(quantile: Any) -> float:
    """Return a quantile strictly between 0 and 1, or raise `ProblemError`."""
    if isinstance(quantile, bool) or not isinstance(quantile, int | float | np.number) or not 0.0 < quantile < 1.0:
        raise ProblemError(f"quantile must lie strictly between 0 and 1, got {quantile!r}.")
    return float(quantile)


def check_alpha(alpha: Any) -> float:
    """Return a finite non-negative penalty, or raise `ProblemError`."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.number) or not 0.0 <= alpha < np.inf:
        raise ProblemError(f"alpha must be a finite number >= 0, got {alpha!r}.")
    return float(alpha)


def as_matrix(X: ArrayLike) -> NDArray[Any]:
    """Return a real matrix; arrays of floats and integers stay as they are, on disk if they are memory maps."""
    if isinstance(X, np.ndarray) and X.dtype.kind in "fiu" and X.ndim == 2:
        return X
    return as_float_array(X, "X", ndim=2)


def as_weights(sample_weight: ArrayLike, n: int) -> Array:
    """Return n non-negative weights, not all zero, or raise `ProblemError`."""
    weights = as_float_array(sample_weight, "sample_weight")
    if weights.shape != (n,):
        raise ProblemError(f"sample_weight must have shape ({n},), got {weights.shape}.")
    if (weights < 0.0).any() or not weights.any():
        raise ProblemError("sample_weight must be non-negative, and not zero throughout.")
    return weights


def _require_finite(X: NDArray[Any]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        total = X.sum(dtype=np.float64)  # one pass without a temporary; it can only raise a false alarm
    if not np.isfinite(total) and not np.isfinite(X).all():
        raise ProblemError("X contains NaN or infinite values")

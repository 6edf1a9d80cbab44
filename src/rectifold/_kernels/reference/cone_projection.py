"""Projection on the cones of activation patterns: the numpy twin of ``cone_projection.hpp``.

The cone of a pattern D is K = {w : sigma_i x_i'w >= 0 for all i}, sigma_i = +1 where D_i else -1. The projection of c
is v = c + A'rho with A = diag(sigma) X and rho = argmin_{rho >= 0} ||c + A'rho||. (Lawson & Hanson 1974, ch. 23.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ConeProjector", "Projections", "price_cones", "project_cones"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]

EXACT, BELOW_THRESHOLD, ITERATION_LIMIT = 0, 1, 2


class Projections(NamedTuple):
    """Arrays of B projections; ``active`` and ``rho`` list the positive multipliers, padded with -1 and 0."""

    V: Floats
    norms: Floats
    active: Rows
    rho: Floats
    status: NDArray[np.uint8]


class ConeProjector:
    """A matrix prepared for projections on the cones of its activation patterns.

    Parameters
    ----------
    X : (n, d) float64 array, C-contiguous
        Copied. Zero rows bound no cone.
    """

    def __init__(self, X: Floats) -> None:
        _require_array(X, "X", 2, np.float64)
        _require(X.shape[1] >= 1, "X needs at least one column")
        _require(bool(np.isfinite(X).all()), "X holds a value that is not finite")
        norms = np.linalg.norm(X, axis=1)
        self._X = X.copy()
        self._scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        self.shape: tuple[int, int] = X.shape

    def project(
        self,
        patterns: NDArray[Any],
        index: Rows,
        C: Floats,
        threshold: float,
        tol: float,
        warm_index: Rows,
        n_threads: int,
    ) -> Projections:
        """Project each row of C on the cone of its pattern; see :func:`project_cones`."""
        self._check(patterns, threshold, tol, n_threads)
        _require_array(index, "index", 1, np.int32)
        _require_array(C, "C", 2, np.float64)
        _require(C.shape == (len(index), self.shape[1]), "C must have one row per block and the columns of X")
        _require(bool(np.all((index >= 0) & (index < len(patterns)))), "index names no pattern")
        _require(bool(np.isfinite(C).all()), "C holds a value that is not finite")
        self._check_warm(warm_index, len(C))
        blocks = [
            self._block(patterns[p].astype(bool), c, threshold, tol, warm_index[b] if warm_index.size else [])
            for b, (p, c) in enumerate(zip(index, C, strict=True))
        ]
        return _stack(blocks, self.shape[1])

    def price(
        self, patterns: NDArray[Any], theta: Floats, threshold: float, tol: float, warm_index: Rows, n_threads: int
    ) -> Projections:
        """Project X'(D theta) and its negative for every pattern D; see :func:`price_cones`."""
        self._check(patterns, threshold, tol, n_threads)
        _require_array(theta, "theta", 1, np.float64)
        _require(theta.shape == self.shape[:1], "theta must have one entry per row of X")
        _require(bool(np.isfinite(theta).all()), "theta holds a value that is not finite")
        moments = (patterns.astype(bool) * theta) @ self._X
        C = np.stack([moments, -moments], axis=1).reshape(-1, self.shape[1])
        index = np.repeat(np.arange(len(patterns), dtype=np.int32), 2)
        return self.project(patterns, index, C, threshold, tol, warm_index, n_threads)

    def _block(self, pattern: NDArray[np.bool_], c: Floats, threshold: float, tol: float, warm: Any) -> tuple[Any, ...]:
        """(v, norm, active, rho, status) of one projection."""
        size = float(np.linalg.norm(c))
        if size <= threshold or size == 0.0:
            return c, size, [], [], EXACT if size == 0.0 else BELOW_THRESHOLD
        scale = np.where(pattern, self._scale, -self._scale)
        v, active, rho, status = _nonnegative_least_squares(
            scale[:, None] * self._X, c / size, threshold / size, max(tol, 4e-16 * (len(c) + 16)), warm
        )
        return v * size, float(np.linalg.norm(v)) * size, active, rho * size * self._scale[active], status

    def _check(self, patterns: NDArray[Any], threshold: float, tol: float, n_threads: int) -> None:
        _require_array(patterns, "patterns", 2, np.bool_, np.uint8)
        _require(patterns.shape[1] == self.shape[0], "patterns must have one column per row of X")
        _require(not np.isnan(threshold), "threshold is NaN")
        _require(0.0 <= tol < 1.0, "tol must lie in [0, 1)")
        _require(n_threads >= 1, "n_threads must be at least 1")

    def _check_warm(self, warm_index: Rows, n_blocks: int) -> None:
        _require_array(warm_index, "warm_index", 2, np.int32)
        _require(warm_index.size == 0 or len(warm_index) == n_blocks, "warm_index must have one row per block")
        _require(warm_index.size == 0 or int(warm_index.max()) < self.shape[0], "warm_index names no row of X")


def _nonnegative_least_squares(A: Floats, c: Floats, target: float, tol: float, warm: Any) -> tuple[Any, ...]:
    """(v, active, rho, status) for v = c + A'rho; the rows of A are unit or zero, and so is ||c||."""
    active = _independent_rows(A, warm)
    rho = np.zeros(len(active))
    for _ in range(100 + 20 * len(c)):
        active, rho = _restore(A, c, active, rho)
        v = c + rho @ A[active]
        if active and np.linalg.norm(v) <= target:
            return v, active, rho, BELOW_THRESHOLD
        slack = A @ v
        slack[active] = 0.0
        worst = int(np.argmin(slack)) if len(A) else -1
        if np.linalg.norm(v) <= tol or worst < 0 or slack[worst] >= -tol:
            return v, active, rho, EXACT
        active, rho = [*active, worst], np.append(rho, 0.0)
    return v, active, rho, ITERATION_LIMIT


def _restore(A: Floats, c: Floats, active: list[int], rho: Floats) -> tuple[list[int], Floats]:
    """Move the multipliers to the minimiser on a face of the active rows where all of them stay positive."""
    while active:
        z: Floats = np.linalg.lstsq(A[active].T, -c, rcond=None)[0].astype(np.float64, copy=False)
        if (z > 0).all():
            return active, z
        room = np.divide(rho, rho - z, out=np.zeros_like(rho), where=rho > z)
        room[z > 0] = np.inf
        rho = rho + room.min() * (z - rho)
        rho[room == room.min()] = 0.0
        active, rho = [i for i, r in zip(active, rho, strict=True) if r > 0], rho[rho > 0]
    return active, rho


def _independent_rows(A: Floats, rows: Any) -> list[int]:
    """The given rows, without repetitions, zeros and rows that depend on earlier ones."""
    chosen: list[int] = []
    for i in rows:
        if i >= 0 and np.linalg.matrix_rank(A[[*chosen, i]], tol=1e-9) > len(chosen):
            chosen.append(int(i))
    return chosen


def _stack(blocks: list[tuple[Any, ...]], d: int) -> Projections:
    """The blocks' answers as padded arrays."""
    out = Projections(
        np.zeros((len(blocks), d)),
        np.zeros(len(blocks)),
        np.full((len(blocks), d), -1, dtype=np.int32),
        np.zeros((len(blocks), d)),
        np.zeros(len(blocks), dtype=np.uint8),
    )
    for b, (v, norm, active, rho, status) in enumerate(blocks):
        out.V[b], out.norms[b], out.status[b] = v, norm, status
        out.active[b, : len(active)], out.rho[b, : len(active)] = active, rho
    return out


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_array(array: Any, name: str, ndim: int, *dtypes: type) -> None:
    fits = isinstance(array, np.ndarray) and array.ndim == ndim and array.flags.c_contiguous
    if not fits or all(array.dtype != np.dtype(t) for t in dtypes):
        raise TypeError(f"{name} must be a C-contiguous {ndim}-dimensional array of {dtypes[0].__name__}")


def project_cones(
    X: Floats,
    patterns: NDArray[Any],
    index: Rows,
    C: Floats,
    threshold: float,
    tol: float,
    warm_index: Rows,
    n_threads: int,
) -> Projections:
    """Project C[b] on the cone of pattern index[b] for every block b.

    Parameters
    ----------
    X : (n, d) float64
    patterns : (P, n) bool or uint8
    index : (B,) int32
    C : (B, d) float64
    threshold : float
        A block stops as soon as ||c + A'rho|| <= threshold for some rho >= 0 (an upper bound on ||v||); -inf: never.
    tol : float
        Rows count as satisfied from sigma_i x_i'v >= -tol ||x_i|| ||c|| on; raised to 4e-16 (d + 16) where smaller.
    warm_index : (B, k) int32
        Rows expected to be active, padded with -1; or an empty (0, 0) array.
    n_threads : int
        The answers do not depend on it.

    Returns
    -------
    V (B, d), norms (B,), active (B, d) int32, rho (B, d), status (B,) uint8
        The projections (c + A'rho where stopped early), their norms, the rows with rho > 0 (padded with -1) and their
        multipliers for the rows as given; status 0: exact, 1: stopped early, 2: iteration limit (rho still feasible).

    Raises
    ------
    TypeError
        A wrong dtype, number of dimensions or memory layout.
    ValueError
        Shapes that do not fit, indices out of range, values that are not finite.

    Notes
    -----
    O((n d + k d) s) for s active-set steps, usually 1 to 3 times the number k <= d of active rows.
    ``norms`` with status 0 is accurate, not a rigorous upper bound on the maximum over the cone: on nearly flat cones
    the multipliers are huge, and ||c + A'rho|| formed from them, which is the bound, exceeds it by their rounding.
    """
    return ConeProjector(X).project(patterns, index, C, threshold, tol, warm_index, n_threads)


def price_cones(
    X: Floats,
    patterns: NDArray[Any],
    theta: Floats,
    threshold: float,
    tol: float,
    warm_index: Rows,
    n_threads: int,
) -> Projections:
    """Project X'(D_p theta) as block 2p and its negative as block 2p + 1, for every pattern p.

    Arguments and results are those of :func:`project_cones`, with theta (n,) float64 and B = 2 P.
    """
    return ConeProjector(X).price(patterns, theta, threshold, tol, warm_index, n_threads)

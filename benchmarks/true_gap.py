"""Score any solver's iterate on a fixed program: a feasible objective, and the true relative duality gap.

Nothing a solver says about itself is used. Each block is projected on its cone (so that the objective means something),
the residual r at that point gives the dual point theta = t r with t maximising the dual on [0, lam / s],
s = max_b ||Proj_{K_b}(Z_b' r)||. Sources: convex duality of the cone-constrained group lasso, Moreau decomposition.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """What an iterate is worth after projection."""

    objective: float
    bound: float
    relative_gap: float
    n_active: int
    violation: float

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        return asdict(self)


def project_block(X: Array, pattern: NDArray[np.bool_], c: Array) -> Array:
    """Project ``c`` on ``{w : (2D - I) X w >= 0}`` by non-negative least squares on the polar cone.

    SciPy's ``nnls`` (1.17) is fast but returns far-off points for some ``c`` that violate the cone by a rounding error
    (a norm of 3.6 for one of 0.08), so its answer is only kept when it passes the Moreau conditions.
    """
    A = np.where(pattern[:, None], X, -X)
    size = float(np.linalg.norm(c))
    slack = 1e-14 * np.linalg.norm(A, axis=1) * size
    if (A @ c >= -slack).all():
        return c
    try:
        rho, _ = nnls(A.T, -c / size, maxiter=100 * X.shape[0])
        v = c + size * (rho @ A)
        if _is_projection(A, c, v, rho * size):
            return v
    except RuntimeError:
        pass
    v, rho = _lawson_hanson(A, c)
    if not _is_projection(A, c, v, rho):
        raise ArithmeticError(f"projection failed: violation {-(A @ v).min():.1e} at norm {size:.1e}")
    return v


def _is_projection(A: Array, c: Array, v: Array, rho: Array, tol: float = 1e-11) -> bool:
    """``v = c + A' rho`` in the cone, ``rho >= 0``, ``v`` orthogonal to ``v - c``; all relative to ``||c||``."""
    size = float(np.linalg.norm(c))
    feasible = (A @ v >= -tol * size * np.linalg.norm(A, axis=1)).all()
    return bool(feasible and (rho >= 0).all() and abs(float(v @ (v - c))) <= tol * size**2)


def _lawson_hanson(A: Array, c: Array) -> tuple[Array, Array]:
    """Textbook active set: ``min_{rho >= 0} ||c + A' rho||`` on rows scaled to length one, least squares by SVD."""
    length = np.linalg.norm(A, axis=1)
    B = np.divide(A, length[:, None], out=np.zeros_like(A), where=length[:, None] > 0)
    size = float(np.linalg.norm(c))
    rho, passive = np.zeros(len(B)), np.zeros(len(B), dtype=bool)
    for _ in range(20 * len(B)):
        v = c + rho @ B
        gain = np.where(passive, -np.inf, -(B @ v))
        k = int(gain.argmax())
        if gain[k] <= 1e-13 * size:
            break
        passive[k] = True
        rho = _restricted(B, c, rho, passive)
        if not passive[k]:
            break  # the entering row came out again: rounding decides, the caller checks the result
    v = c + rho @ B
    return v, np.divide(rho, length, out=np.zeros_like(rho), where=length > 0)


def _restricted(B: Array, c: Array, rho: Array, passive: NDArray[np.bool_]) -> Array:
    """Move to the least-squares point of the passive rows, dropping rows whose multiplier would turn negative."""
    while passive.any():
        trial = np.zeros_like(rho)
        trial[passive] = np.linalg.lstsq(B[passive].T, -c, rcond=None)[0]
        bad = passive & (trial <= 0)
        if not bad.any():
            return trial
        ratio = rho[bad] / np.maximum(rho[bad] - trial[bad], 1e-300)
        step = float(ratio.min())
        rho = np.where(passive, rho + step * (trial - rho), 0.0)
        passive &= ~(bad & (rho <= 1e-15 * max(float(rho.max()), 1e-300)))
        rho = np.where(passive, rho, 0.0)
    return np.zeros_like(rho)


def project_blocks(X: Array, patterns: NDArray[np.bool_], index: NDArray[np.intp], C: Array,
                   projector: str = "nnls") -> Array:  # fmt: skip
    """Project row k of ``C`` on the cone of pattern ``index[k]``; projector 'nnls' (independent) or 'kernel'."""
    if projector == "kernel":
        from rectifold import _kernels

        return np.asarray(_kernels.project_cones(X, patterns, index, C)[0])
    return np.stack([project_block(X, patterns[:, i], c) for i, c in zip(index, C, strict=True)])


def correlations(X: Array, patterns: NDArray[np.bool_], r: Array) -> Array:
    """Rows ``Z_b' r`` for the blocks of sign +1, then those of sign -1."""
    C = (patterns * r[:, None]).T @ X
    return np.concatenate([C, -C])


def lambda_max(X: Array, y: Array, patterns: NDArray[np.bool_], projector: str = "nnls") -> float:
    """The smallest lambda whose optimum over these patterns is zero (no intercept)."""
    return float(np.linalg.norm(_canonical(X, patterns, y, projector), axis=1).max())


def _canonical(X: Array, patterns: NDArray[np.bool_], r: Array, projector: str) -> Array:
    index = np.tile(np.arange(patterns.shape[1]), 2)
    return project_blocks(X, patterns, index, correlations(X, patterns, r), projector)


def score_blocks(X: Array, y: Array, patterns: NDArray[np.bool_], lam: float, W: Array,
                 projector: str = "nnls") -> Score:  # fmt: skip
    """Score weights ``W`` of shape (2P, d): blocks of output sign +1, then of sign -1."""
    P = patterns.shape[1]
    index = np.tile(np.arange(P), 2)
    W = np.asarray(W, dtype=float)
    W = np.where(np.isfinite(W), W, 0.0)
    used = np.flatnonzero(np.linalg.norm(W, axis=1) > 0)
    feasible = np.zeros_like(W)
    if used.size:
        feasible[used] = project_blocks(X, patterns, index[used], W[used], projector)
    violation = float(np.linalg.norm(feasible - W) / max(np.linalg.norm(W), 1e-300))
    norms = np.linalg.norm(feasible, axis=1)
    fit = np.einsum("ij,ij->i", patterns, X @ (feasible[:P] - feasible[P:]).T)
    r = y - fit
    objective = 0.5 * float(r @ r) + lam * float(norms.sum())
    bound = dual_bound(X, y, patterns, lam, r, projector)
    active = int((norms > 1e-6 * max(norms.max(), 1e-300)).sum())
    return Score(objective, bound, (objective - bound) / abs(objective), active, violation)


def dual_bound(X: Array, y: Array, patterns: NDArray[np.bool_], lam: float, r: Array, projector: str = "nnls") -> float:
    """The largest dual value on the ray of scaled residuals; a lower bound for this set of patterns."""
    s = float(np.linalg.norm(_canonical(X, patterns, r, projector), axis=1).max())
    rr = float(r @ r)
    if rr == 0.0:
        return 0.0
    t = min(max(float(y @ r) / rr, 0.0), lam / s if s > 0 else np.inf)
    return t * float(y @ r) - 0.5 * t * t * rr


def blocks_of_network(X: Array, patterns: NDArray[np.bool_], hidden: Array, output: Array) -> Array:
    """Put each neuron of a network (weights (m, d), signed outputs (m,)) into the given cone it violates least."""
    P = patterns.shape[1]
    W = np.zeros((2 * P, X.shape[1]))
    signs = np.where(patterns, 1.0, -1.0)
    for w, a in zip(hidden, output, strict=True):
        cell = int(np.maximum(-signs * (X @ w)[:, None], 0).max(axis=0).argmin())
        W[cell + (P if a < 0 else 0)] += abs(a) * w
    return W


def network_objective(X: Array, y: Array, lam: float, hidden: Array, output: Array, offset: float = 0.0) -> float:
    """``1/2 ||f - y||^2 + lam * sum_j ||W_j|| |a_j|`` of a one-output network on the matrix as given."""
    residual = np.maximum(X @ hidden.T, 0) @ output + offset - y
    return 0.5 * float(residual @ residual) + lam * float(np.linalg.norm(hidden, axis=1) @ np.abs(output))

"""Newton's method on the face of active blocks and tight rows: the last digits, and networks' stationary points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, qr
from scipy.linalg.blas import dsyrk

from rectifold.training.convex.restricted.blocks import BlockProgram

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

_RANK_TOL = 1e-10
_DECREMENT_TOL = 1e-14
_STUCK = 1e-11
"""Predicted decrease, relative to the objective, that rounding may keep a line search from finding."""
_NEGLIGIBLE = 1e-9
_VANISHED = 1e-20
"""A block whose penalty is below this share of the objective is gone: no digit of anything shows it."""
_SAME_BREAK = 1e-12


@dataclass
class Face:
    """Active blocks with the rows ``x_i'w_b = 0`` they are held on.

    Attributes
    ----------
    program : BlockProgram
        One block per active neuron; ``program.patterns`` says on which side the rows that are not tight lie.
    w : ndarray, shape (B, d)
    intercept : float
    tight : ndarray of bool, shape (B, n)
    """

    program: BlockProgram
    w: Array
    intercept: float
    tight: Bits

    def objective(self) -> float:
        """Return the objective at the point."""
        return self.program.objective(self.w, self.intercept)

    def keep(self, blocks: Bits) -> Face:
        """Return the face with only some of the blocks."""
        index = np.flatnonzero(blocks)
        return Face(self.program.subset(index), self.w[index], self.intercept, self.tight[index])


def newton_on_face(
    face: Face,
    *,
    crossing: bool,
    max_iter: int = 60,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Face, bool]:
    """Minimise over the face, adding rows that are met and dropping rows whose multiplier has the wrong sign.

    Without ``crossing`` the cones are constraints and the multipliers of tight rows must be non-negative: an
    active-set method for the program on these blocks. With ``crossing`` a neuron may pass into the neighbouring
    cell, the multipliers must also obey the Clarke condition ``rho_i <= max(0, -s theta_i)``, and the end is a
    stationary point of the network. The objective never rises.

    Parameters
    ----------
    face : Face
    crossing : bool
    max_iter : int
        Newton steps; each costs ``O(n k^2 + k^3)`` for k free unknowns.
    should_stop : callable

    Returns
    -------
    face : Face
    converged : bool
        Whether the conditions above hold to rounding.

    References
    ----------
    Mishkin and Pilanci (2023), section 3.5 of whose sensitivity analysis this is the system.
    """
    cache: dict[bytes, tuple[Array, Array]] = {}
    for _ in range(max_iter):
        face = _without_vanished(face)
        if len(face.w) == 0:
            return face, True
        if should_stop():
            return face, False
        dw, dc, decrement = FaceSystem(face, cache).direction()
        if decrement <= _DECREMENT_TOL * max(abs(face.objective()), 1e-300):
            face = _last_step(face, dw, dc)
            released = _release(face, crossing)
            if released is None:
                return face, True
            face = released
            continue
        moved = _cross_line(face, dw, dc) if crossing else _cone_line(face, dw, dc)
        if moved is None:
            released = _release(face, crossing)
            if released is None:
                return face, decrement <= _STUCK * face.objective()
            return released, False
        face = moved
    return face, False


def _without_vanished(face: Face) -> Face:
    penalties = face.program.alpha * np.linalg.norm(face.w, axis=1)
    alive = penalties > _VANISHED * face.objective()
    return face if alive.all() else face.keep(alive)


def _last_step(face: Face, dw: Array, dc: float) -> Face:
    """Take a step too small for the objective to show it, which the multipliers and the dual point still feel."""
    if _reach(face, dw)[0].min() < 1.0:
        return face
    return Face(face.program, face.w + dw, face.intercept + dc, face.tight)


class FaceSystem:
    """The Newton system in coordinates of the null spaces of the tight rows.

    Parameters
    ----------
    face : Face
    cache : dict
        Null-space bases by their rows, shared between the steps of a solve.
    """

    def __init__(self, face: Face, cache: dict[bytes, tuple[Array, Array]] | None = None) -> None:
        self.face = face
        program = face.program
        cache = {} if cache is None else cache
        self.bases, self.images = [], []
        for tight in face.tight:
            rows = np.flatnonzero(tight)
            key = rows.tobytes()
            if key not in cache:
                basis = _null_basis(program.X, rows)
                cache[key] = (basis, program.X @ basis if len(rows) else program.X)
            self.bases.append(cache[key][0])
            self.images.append(cache[key][1])
        self.ends = np.cumsum([basis.shape[1] for basis in self.bases])
        self.parts = [slice(int(e) - b.shape[1], int(e)) for e, b in zip(self.ends, self.bases, strict=True)]
        self.fit = program.fit(face.w, face.intercept)
        self.theta = program.theta(self.fit)

    def direction(self) -> tuple[Array, float, float]:
        """Return (dw, dc, decrement): the Newton step and twice its predicted decrease."""
        face, program = self.face, self.face.program
        size = int(self.ends[-1]) if len(self.ends) else 0
        n_columns = size + program.fit_intercept
        if n_columns == 0:  # the tight rows hold every direction
            return np.zeros_like(face.w), 0.0, 0.0
        columns = np.empty((len(program.X), n_columns), order="F")
        gradient = np.zeros(n_columns)
        norms = np.linalg.norm(face.w, axis=1)
        slope = program.alpha * face.w / norms[:, None] - program.correlations(self.theta)
        for b, part in enumerate(self.parts):
            np.multiply(self.images[b], program.mask[b][:, None], out=columns[:, part])
            gradient[part] = slope[b] @ self.bases[b]
        if program.fit_intercept:
            columns[:, size] = 1.0
            gradient[size] = -self.theta.sum()
        step = -_solve_positive(self._hessian(columns, norms), gradient)
        dw = np.array([basis @ step[part] for basis, part in zip(self.bases, self.parts, strict=True)])
        return dw, float(step[size]) if program.fit_intercept else 0.0, float(-gradient @ step)

    def _hessian(self, columns: Array, norms: Array) -> Array:
        program = self.face.program
        columns *= np.sqrt(program.curvature(self.fit))[:, None]
        hessian = dsyrk(1.0, columns, trans=1, lower=1)
        for b, part in enumerate(self.parts):
            unit = (self.face.w[b] / norms[b]) @ self.bases[b]
            hessian[part, part] += program.alpha / norms[b] * (np.eye(len(unit)) - np.outer(unit, unit))
        return np.asarray(hessian)


def _solve_positive(matrix: Array, rhs: Array) -> Array:
    jitter = 1e-14 * max(float(np.trace(matrix)) / len(matrix), 1e-300)
    diagonal = np.diag_indices_from(matrix)
    for _ in range(12):
        matrix[diagonal] += jitter
        try:
            return np.asarray(cho_solve(cho_factor(matrix, lower=True, check_finite=False), rhs, check_finite=False))
        except np.linalg.LinAlgError:
            jitter *= 30
    return rhs / matrix[diagonal]


def _null_basis(X: Array, rows: NDArray[np.intp]) -> Array:
    tight = X[rows]
    if len(tight) == 0:
        return np.eye(X.shape[1])
    tight = tight / np.maximum(np.linalg.norm(tight, axis=1, keepdims=True), 1e-300)
    q, r, _ = qr(tight.T, pivoting=True, check_finite=False)
    diagonal = np.abs(np.diagonal(r))
    rank = int((diagonal > _RANK_TOL * max(diagonal[0], 1e-300)).sum())
    return np.ascontiguousarray(q[:, rank:])


def _cone_line(face: Face, dw: Array, dc: float) -> Face | None:
    """Step to the Newton point, each block at most to the first row it meets; None if no progress is possible."""
    program, value = face.program, face.objective()
    reach, ratio = _reach(face, dw)
    for t in (1.0, min(1.0, float(reach.min()))):
        steps = np.minimum(reach, t)
        w, intercept = face.w + steps[:, None] * dw, face.intercept + t * dc
        if program.objective(w, intercept) <= value * (1 - 1e-15):
            return _stopped(face, w, intercept, ratio <= (steps * (1 + 1e-9))[:, None])
    at_once = (ratio <= 1e-9) & ~face.tight
    if at_once.any():  # a degenerate point: the step is blocked where it starts
        return Face(program, face.w, face.intercept, face.tight | at_once)
    while t > 1e-9:
        t *= 0.5
        w, intercept = face.w + t * dw, face.intercept + t * dc
        if program.objective(w, intercept) <= value * (1 - 1e-15):
            return Face(program, w, intercept, face.tight)
    return None


def _reach(face: Face, dw: Array) -> tuple[Array, Array]:
    """Return the step at which each block leaves its cone, shape (B,), and at which it meets each row, (B, n)."""
    program = face.program
    side = np.where(program.patterns, 1.0, -1.0)
    slack, change = side * (face.w @ program.X.T), side * (dw @ program.X.T)
    scale = np.linalg.norm(face.w, axis=1)[:, None] * np.linalg.norm(program.X, axis=1)
    falling = (change < -1e-14 * scale) & ~face.tight
    ratio = np.full(slack.shape, np.inf)
    ratio[falling] = np.maximum(slack[falling], 0.0) / -change[falling]
    return ratio.min(axis=1, initial=np.inf), ratio


def _stopped(face: Face, w: Array, intercept: float, met: Bits) -> Face:
    """Hold blocks on the rows they have met; blocks that have met the origin are dropped."""
    norms = np.linalg.norm(w, axis=1)
    alive = norms > np.maximum(1e-9 * np.linalg.norm(face.w, axis=1), _NEGLIGIBLE * norms.max())
    return Face(face.program, w, intercept, face.tight | met).keep(alive)


def _cross_line(face: Face, dw: Array, dc: float) -> Face | None:
    """Descend along the step through the cells, holding each neuron where a kink stops it; None without progress."""
    current, start = face, face.objective()
    moving = np.ones(len(face.w), dtype=bool)
    for _ in range(len(face.w)):
        step = np.where(moving[:, None], dw, 0.0)
        line = _Line(current, step, dc)
        t, rows = line.search()
        if t == 0.0:
            break
        tight = current.tight | rows
        w = current.w + t * step
        current = Face(_with_patterns(current.program, w, tight), w, current.intercept + t * dc, tight)
        if not rows.any():
            break
        moving &= ~rows.any(axis=1)
    return current if current.objective() < start else None


class _Line:
    """The objective of the network along a segment: piecewise smooth, its kinks where pre-activations change sign."""

    def __init__(self, face: Face, dw: Array, dc: float) -> None:
        self.face, self.dw, self.dc = face, dw, dc
        self.u0, self.u1 = face.w @ face.program.X.T, dw @ face.program.X.T
        self.u0[face.tight] = 0.0
        self.u1[face.tight] = 0.0
        self.signs = face.program.signs[:, None]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            breaks = -self.u0 / self.u1
        self.breaks = np.where(breaks > 0, breaks, np.inf)
        self.on_first = (self.u0 > 0) | ((self.u0 == 0) & (self.u1 > 0))

    def slope(self, t: float, *, after: bool = True) -> float:
        """Return the derivative just after, or just before, t; which rows are on follows from the breakpoints alone."""
        program = self.face.program
        passed = self.breaks <= t if after else self.breaks < t
        on = self.on_first ^ passed
        u = self.u0 + t * self.u1
        fit = (self.signs * np.where(on, u, 0.0)).sum(axis=0) + self.face.intercept + t * self.dc
        change = (self.signs * np.where(on, self.u1, 0.0)).sum(axis=0) + self.dc
        w = self.face.w + t * self.dw
        norms = np.maximum(np.linalg.norm(w, axis=1), 1e-300)
        return float(-program.theta(fit) @ change + program.alpha * (np.einsum("bd,bd->b", w, self.dw) / norms).sum())

    def search(self) -> tuple[float, Bits]:
        """Return the step at which the slope changes sign and the rows whose kink it sits on.

        The breakpoints are searched before the smooth pieces between them, so that a kink however close to the start
        is met exactly.
        """
        none = np.zeros_like(self.face.tight)
        if self.slope(0.0) >= 0:
            return 0.0, none
        breaks = np.unique(self.breaks[self.breaks < 1.0])
        lo, hi = 0, len(breaks)
        while lo < hi:
            mid = (lo + hi) // 2
            lo, hi = (mid + 1, hi) if self.slope(breaks[mid]) < 0 else (lo, mid)
        end = float(breaks[lo]) if lo < len(breaks) else 1.0
        if self.slope(end, after=False) <= 0:
            return end, np.abs(self.breaks - end) <= _SAME_BREAK * end if lo < len(breaks) else none
        return self._root(float(breaks[lo - 1]) if lo else 0.0, end), none

    def _root(self, lo: float, hi: float) -> float:
        """Return where the slope vanishes between two breakpoints."""
        for _ in range(60):
            mid = 0.5 * (lo + hi)
            if mid in (lo, hi) or hi - lo <= 1e-15 * hi:
                break
            lo, hi = (mid, hi) if self.slope(mid) < 0 else (lo, mid)
        return hi


def _with_patterns(program: BlockProgram, w: Array, tight: Bits) -> BlockProgram:
    patterns = np.where(tight, program.patterns, w @ program.X.T > 0)
    return BlockProgram(program.problem, patterns, program.signs)


def _release(face: Face, crossing: bool) -> Face | None:
    """Drop the tight row with the worst multiplier of every block; None if all multipliers are right."""
    program = face.program
    theta = program.theta(program.fit(face.w, face.intercept))
    correlations = program.correlations(theta)
    tight, patterns, changed = face.tight.copy(), program.patterns.copy(), False
    for b in map(int, np.flatnonzero(face.tight.any(axis=1))):
        rows = np.flatnonzero(face.tight[b])
        rho = _multipliers(program, face.w[b], correlations[b], b, rows)
        size = program.alpha / np.maximum(np.linalg.norm(program.X[rows], axis=1), 1e-300)
        limit = np.maximum(0.0, -program.signs[b] * theta[rows]) if crossing else np.full(len(rows), np.inf)
        excess = np.maximum(-rho, rho - limit) / size
        worst = int(excess.argmax())
        if excess[worst] > 1e-9:
            row = rows[worst]
            tight[b, row] = False
            patterns[b, row] ^= bool(rho[worst] > limit[worst])
            changed = True
    if not changed:
        return None
    return Face(BlockProgram(program.problem, patterns, program.signs), face.w, face.intercept, tight)


def _multipliers(program: BlockProgram, w: Array, correlation: Array, b: int, rows: NDArray[np.intp]) -> Array:
    matrix = (program.X[rows] * np.where(program.patterns[b, rows], 1.0, -1.0)[:, None]).T
    target = program.alpha * w / np.linalg.norm(w) - correlation
    return np.asarray(np.linalg.lstsq(matrix, target, rcond=_RANK_TOL)[0])

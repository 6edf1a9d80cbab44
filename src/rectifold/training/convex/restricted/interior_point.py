"""Primal-dual interior-point method for the cone-constrained group lasso on a set of blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.training.convex.restricted.blocks import BlockProgram
from rectifold.training.convex.restricted.coupling import coupling_of

Array = NDArray[np.float64]

_STEP_FRACTION = 0.99
_START_FRACTION = 0.3
_LARGEST_START_FIT = 3.0
_SHORTEST_STEP = 1e-5
_DEAD_SHARE = 1e-3
_SHRINK = 0.9
_SETTLED = 1e-2


@dataclass
class InteriorPoint:
    """An iterate strictly inside its cones.

    Attributes
    ----------
    w : ndarray, shape (B, d)
        Block weights; ``slack = A_b w_b > 0``.
    t : ndarray, shape (B,)
        Upper bounds of ``||w_b||``.
    intercept : float
    slack, rho : ndarray, shape (B, n_rows)
        Cone slacks and their multipliers, zero rows of X left out.
    q : ndarray, shape (B, d)
        Multipliers of the norm cone; ``(alpha, q_b)`` is inside the second-order cone.
    """

    w: Array
    t: Array
    intercept: float
    slack: Array
    rho: Array
    q: Array

    def subset(self, blocks: NDArray[np.bool_]) -> InteriorPoint:
        """Return the iterate without some of its blocks."""
        return InteriorPoint(
            self.w[blocks], self.t[blocks], self.intercept, self.slack[blocks], self.rho[blocks], self.q[blocks]
        )

    def complementarity(self, alpha: float) -> Array:
        """Return the average product of each block, shape (B,)."""
        soc = alpha * self.t + np.einsum("bd,bd->b", self.q, self.w)
        return np.asarray((soc + np.einsum("bn,bn->b", self.slack, self.rho)) / (2 + self.slack.shape[1]))


def starting_point(program: BlockProgram, interior: Array) -> InteriorPoint:
    """Return a point on the central path of the program without its loss.

    There ``rho = mu / slack`` and ``A'rho = -q = alpha w / t``, which holds at the analytic centres of the cones,
    scaled so that the penalty is a fraction of the null model's objective.

    Parameters
    ----------
    interior : ndarray, shape (B, d)
        Strictly interior points of the cones.
    """
    n_blocks, n = len(interior), program.cone_rows.shape[0]
    w = analytic_centres(program, interior)
    size = _START_FRACTION * program.null_value / (program.alpha * n_blocks)
    w *= size / np.linalg.norm(w, axis=1, keepdims=True)
    shrink = _shrinkage(program, w)
    w, size = shrink * w, shrink * size
    slack = program.slacks(w)
    mu = program.alpha * size / n
    rho = mu / slack
    t = (mu + np.sqrt(mu**2 + (program.alpha * size) ** 2)) / program.alpha
    q = -program.adjoint_slacks(rho)
    q *= np.minimum(1.0, program.alpha * size / t / np.linalg.norm(q, axis=1, keepdims=True))
    return InteriorPoint(w, np.full(n_blocks, t), float(program.null_intercept), slack, rho, q)


def _shrinkage(program: BlockProgram, w: Array) -> float:
    """Return the factor that keeps the fit where the loss is curved: Newton's method diverges from a flat one."""
    if program.problem.loss.name == "squared":
        return 1.0
    return min(1.0, _LARGEST_START_FIT / max(float(np.abs(program.fit(w, 0.0)).max()), 1e-300))


def analytic_centres(program: BlockProgram, interior: Array, steps: int = 6) -> Array:
    """Move interior points towards the minimisers of ``-sum_i log (A_b w)_i + n/2 ||w||^2`` by damped Newton steps.

    Parameters
    ----------
    interior : ndarray, shape (B, d)
    steps : int
        Each costs ``O(B n d^2)``.

    Returns
    -------
    ndarray, shape (B, d)
    """
    n, d = program.cone_rows.shape
    w = interior / np.linalg.norm(interior, axis=1, keepdims=True)
    for _ in range(steps):
        slack = program.slacks(w)
        gradient = n * w - program.adjoint_slacks(1.0 / slack)
        hessian = program.weighted_grams(slack**-2.0)
        hessian[:, np.arange(d), np.arange(d)] += n
        dw = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        decrement = np.sqrt(np.maximum(-np.einsum("bd,bd->b", gradient, dw), 0.0))
        relative = program.slacks(dw) / slack
        step = np.minimum(1.0, 0.9 / np.maximum(-relative.min(axis=1), 1e-300))
        w += np.where(decrement < 0.25, np.minimum(step, 1.0), step)[:, None] * dw
    return w


def solve_interior_point(
    program: BlockProgram,
    start: InteriorPoint,
    *,
    gap_tol: float,
    max_iter: int = 100,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[InteriorPoint, NDArray[np.intp], int]:
    """Minimise ``L(sum_b Z_b w_b + c) + alpha sum_b ||w_b||`` subject to ``A_b w_b >= 0``.

    Mehrotra's predictor-corrector with Nesterov-Todd scaling of the norm cones. The B blocks of d unknowns couple
    only through the n fits, so a step costs ``O(B n d^2)`` for the block Hessians and their factors, and either
    ``O(B d n^2 + n^3)`` (Woodbury) or ``O(n (B d)^2 + (B d)^3)`` for the coupling, whichever is less.

    Parameters
    ----------
    program : BlockProgram
    start : InteriorPoint
        Strictly feasible.
    gap_tol : float
        Stop once the complementarity sum is at most ``gap_tol`` times the objective and the dual residual is small.
    max_iter : int
    should_stop : callable

    Returns
    -------
    point : InteriorPoint
        Strictly feasible.
    kept : ndarray of int
        The blocks it speaks of: those that the path leads to zero are left out on the way.
    iterations : int

    References
    ----------
    Mehrotra (1992); Nesterov and Todd (1998); Mishkin and Pilanci (2023) for the program.
    """
    point, kept = start, np.arange(len(start.w))
    for iteration in range(max_iter):
        n_cones = len(point.w) * (2 + point.slack.shape[1])
        fit = program.fit(point.w, point.intercept)
        mu = float(point.complementarity(program.alpha).mean())
        theta, curvature = program.smoothed(fit, mu)
        residual = program.correlations(theta) + point.q + program.adjoint_slacks(point.rho)
        scale = program.loss_value(fit) + program.alpha * float(np.linalg.norm(point.w, axis=1).sum())
        dual_error = float(np.linalg.norm(residual, axis=1).max()) / program.alpha
        intercept_error = abs(float(theta.sum())) if program.fit_intercept else 0.0
        if mu * n_cones <= gap_tol * scale and dual_error <= max(gap_tol, 1e-9) and intercept_error <= 1e-9 + gap_tol:
            return point, kept, iteration
        if mu * n_cones <= _SETTLED * scale:
            alive = _alive(point, program.alpha)
            if alive.sum() <= _SHRINK * len(alive):
                program, point, kept = program.subset(np.flatnonzero(alive)), point.subset(alive), kept[alive]
                continue
        if should_stop():
            return point, kept, iteration
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is thrown away below
                moved, length = _Step(program, point, theta, curvature, residual).take(mu)
        except (np.linalg.LinAlgError, ZeroDivisionError):
            return point, kept, iteration
        if length < _SHORTEST_STEP or not np.all(np.isfinite(moved.w)):
            return point, kept, iteration
        point = moved
    return point, kept, max_iter


def _alive(point: InteriorPoint, alpha: float) -> NDArray[np.bool_]:
    """Return which blocks may be non-zero at the end: the others have a share far below their dual slack."""
    norms = np.linalg.norm(point.w, axis=1)
    dual_slack = 1.0 - np.linalg.norm(point.q, axis=1) / alpha
    return np.asarray(norms > _DEAD_SHARE * dual_slack * norms.sum())


class _Scaling:
    """Nesterov-Todd scaling of the B second-order cones holding (t, w) and (alpha, q)."""

    def __init__(self, t: Array, w: Array, alpha: float, q: Array) -> None:
        s_norm = np.sqrt(_cone_margin(t, w))
        q0 = np.full_like(t, alpha)
        q_norm = np.sqrt(_cone_margin(q0, q))
        s0, s1, z0, z1 = t / s_norm, w / s_norm[:, None], q0 / q_norm, q / q_norm[:, None]
        gamma = np.sqrt(0.5 * (1.0 + s0 * z0 + np.einsum("bd,bd->b", s1, z1)))
        self.w0 = (s0 + z0) / (2 * gamma)
        self.w1 = (s1 - z1) / (2 * gamma)[:, None]
        self.eta = np.sqrt(s_norm / q_norm)
        self.l0, self.l1 = self.apply(q0, q, 1)

    def apply(self, a0: Array, a1: Array, power: int) -> tuple[Array, Array]:
        """Multiply by W (power 1) or its inverse (power -1)."""
        dot = np.einsum("bd,bd->b", self.w1, a1) * power
        b0 = self.w0 * a0 + dot
        b1 = a1 + ((a0 * power) + dot * power / (1.0 + self.w0))[:, None] * self.w1 * 1.0
        factor = self.eta**power
        return factor * b0, factor[:, None] * b1

    def divide(self, r0: Array, r1: Array) -> tuple[Array, Array]:
        """Solve ``lambda o x = r`` in the Jordan algebra."""
        det = _cone_margin(self.l0, self.l1)
        dot = np.einsum("bd,bd->b", self.l1, r1)
        x0 = (self.l0 * r0 - dot) / det
        x1 = (r1 - x0[:, None] * self.l1) / self.l0[:, None]
        return x0, x1


class _Step:
    """One Newton system, factored once and solved for the predictor and the corrector."""

    def __init__(
        self, program: BlockProgram, point: InteriorPoint, theta: Array, curvature: Array, residual: Array
    ) -> None:
        self.program, self.point, self.residual, self.theta = program, point, residual, theta
        self.scaling = _Scaling(point.t, point.w, program.alpha, point.q)
        sc = self.scaling
        inverse_square = 1.0 / sc.eta**2
        denominator = 2 * sc.w0**2 - 1
        self.a00 = inverse_square * denominator
        self.a01 = -2 * (inverse_square * sc.w0)[:, None] * sc.w1
        hessian = program.weighted_grams(point.rho / point.slack)
        hessian -= (2 * inverse_square / denominator)[:, None, None] * (sc.w1[:, :, None] * sc.w1[:, None, :])
        d = hessian.shape[1]
        hessian[:, np.arange(d), np.arange(d)] += inverse_square[:, None]
        self.root = np.sqrt(curvature)
        self.coupling = coupling_of(program, hessian, self.root)

    def take(self, mu: float) -> tuple[InteriorPoint, float]:
        """Return the next point and the length of the step to it."""
        point, program = self.point, self.program
        sc = self.scaling
        affine = self._direction(-(sc.l0**2) - (sc.l1**2).sum(1), -2 * sc.l0[:, None] * sc.l1, -point.slack * point.rho)
        length = min(1.0, self._max_step(affine))
        sigma = max((1 - length) ** 3, 1e-8)
        dt, dw, _, dz, drho, dq = affine
        s0, s1 = sc.apply(dt, dw, -1)
        z0, z1 = sc.apply(np.zeros_like(dt), dq, 1)
        c0 = s0 * z0 + np.einsum("bd,bd->b", s1, z1)
        c1 = s0[:, None] * z1 + z0[:, None] * s1
        combined = self._direction(
            sigma * mu - sc.l0**2 - (sc.l1**2).sum(1) - c0,
            -2 * sc.l0[:, None] * sc.l1 - c1,
            sigma * mu - point.slack * point.rho - dz * drho,
        )
        length = min(1.0, _STEP_FRACTION * self._max_step(combined))
        dt, dw, dc, dz, drho, dq = combined
        w = point.w + length * dw
        moved = InteriorPoint(
            w,
            point.t + length * dt,
            point.intercept + length * dc,
            np.maximum(program.slacks(w), 1e-300),
            point.rho + length * drho,
            point.q + length * dq,
        )
        return moved, length

    def _direction(self, r0: Array, r1: Array, r_linear: Array) -> tuple[Array, Array, float, Array, Array, Array]:
        point, program, sc = self.point, self.program, self.scaling
        h0, h1 = sc.apply(*sc.divide(r0, r1), -1)
        ratio = r_linear / point.slack
        rhs = self.residual + h1 - (h0 / self.a00)[:, None] * self.a01 + program.adjoint_slacks(ratio)
        dw, dc = self.coupling.solve(rhs, float(self.theta.sum()))
        dt = (h0 - np.einsum("bd,bd->b", self.a01, dw)) / self.a00
        dz = program.slacks(dw)
        drho = ratio - point.rho / point.slack * dz
        inverse_square = 1.0 / sc.eta**2
        a11 = inverse_square[:, None] * (dw + 2 * np.einsum("bd,bd->b", sc.w1, dw)[:, None] * sc.w1)
        dq = h1 - dt[:, None] * self.a01 - a11
        return dt, dw, dc, dz, drho, dq

    def _max_step(self, direction: tuple[Array, Array, float, Array, Array, Array]) -> float:
        dt, dw, _, dz, drho, dq = direction
        point = self.point
        q0 = np.full_like(point.t, self.program.alpha)
        return min(
            _linear_step(point.slack, dz),
            _linear_step(point.rho, drho),
            _cone_step(point.t, point.w, dt, dw),
            _cone_step(q0, point.q, np.zeros_like(q0), dq),
        )


def _cone_margin(a0: Array, a1: Array) -> Array:
    norm = np.linalg.norm(a1, axis=1)
    return np.maximum((a0 - norm) * (a0 + norm), 1e-300)


def _linear_step(x: Array, dx: Array) -> float:
    worst = float((dx / x).min())
    return -1.0 / worst if worst < 0 else np.inf


def _cone_step(a0: Array, a1: Array, d0: Array, d1: Array) -> float:
    """Return the largest step that keeps every (a0, a1) + t (d0, d1) in the second-order cone."""
    a = d0**2 - (d1**2).sum(1)
    b = a0 * d0 - np.einsum("bd,bd->b", a1, d1)
    c = _cone_margin(a0, a1)
    disc = np.maximum(b**2 - a * c, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.where(b > 0, -c / (b + np.sqrt(disc)), c / (-b + np.sqrt(disc)))
        other = (-b - np.sqrt(disc)) / a
        tip = np.where(d0 < 0, -a0 / d0, np.inf)
    steps = np.stack([np.where(s > 0, s, np.inf) for s in (root, np.where(a < 0, other, np.inf), tip)])
    real = (b**2 - a * c) >= 0
    steps[:2, ~real] = np.inf
    return float(np.nanmin(steps))

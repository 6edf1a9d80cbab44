"""Heuristic pricing: many starts of ascent on ``||R'(X u)_+||`` over the unit sphere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.core.pattern import unique_patterns
from rectifold.core.problem import ConvexReLUProblem
from rectifold.geometry.cones import ConeProjector
from rectifold.training.convex.restricted.coordinates import Coordinates

Array = NDArray[np.float64]

_STEPS, _DECAY = (0.5, 0.1), 0.96
_SEPARATION = 0.05
_BLOCK_BYTES = 32 * 2**20
_ASCENT_WORK = 4e8
_FEWEST_STARTS = 32
_SUBSAMPLE = 4096
_COARSE_SHARE = 0.7
_NEARLY_BEST = 0.98
_FEW_CANDIDATES, _CANDIDATES, _PROJECTED = 60, 400, 120
_CROSSINGS, _WORTH_CROSSING = 9, 0.9
_PROJECTION_SIZE = 2e6


@dataclass(frozen=True)
class Priced:
    """Distinct local maxima found by pricing, best first.

    Attributes
    ----------
    directions : ndarray, shape (k, d)
        Unit vectors.
    outputs : ndarray, shape (k, K)
        Unit output weights a (in the dual norm of the penalty) with ``value = a'R'(Xu)_+``.
    values : ndarray, shape (k,)
    starts : int
        Ascents made: a search over that many starts, not a bound.
    """

    directions: Array
    outputs: Array
    values: Array
    starts: int

    @property
    def largest(self) -> float:
        """The largest value found; 0 without a start."""
        return float(self.values.max(initial=0.0))


def starting_directions(problem: ConvexReLUProblem, n_starts: int, rng: np.random.Generator) -> Array:
    """Draw unit directions: half along random samples and differences of samples, half isotropic.

    Isotropic is meant after scaling the columns and, in every other draw, in `Coordinates`.

    At most ``n_starts``, and fewer where an ascent is so dear that these would cost more than `_ASCENT_WORK`.
    """
    X = problem.design
    n, d = X.shape
    n_starts = min(n_starts, max(_FEWEST_STARTS, int(_ASCENT_WORK / (n * d))))
    half = n_starts // 2
    gauss = rng.standard_normal((n_starts - half, d)) / np.maximum(np.sqrt((X**2).mean(axis=0)), 1e-12)
    coordinates = Coordinates.of(X)
    if coordinates.T is not None:
        gauss[1::2] = coordinates.onto(rng.standard_normal(gauss[1::2].shape))
    first, second = rng.integers(0, n, half), rng.integers(0, n, half)
    along = (
        X[first]
        - rng.integers(0, 2, (half, 1)) * X[second]
        + 0.1 * np.sqrt((X**2).mean()) * rng.standard_normal((half, d))
    )
    starts = np.vstack([gauss, along * rng.choice([-1.0, 1.0], (half, 1))])
    return np.asarray(starts / np.maximum(np.linalg.norm(starts, axis=1, keepdims=True), 1e-300))


def price(
    problem: ConvexReLUProblem,
    theta: Array,
    starts: Array,
    *,
    known: Array | None = None,
    max_iter: int = 120,
    coarse: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Priced:
    """Ascend from every start and return the distinct ends.

    The step ``u <- u + h 0.96^t g / ||g||``, h = 0.5 and 0.1 in turn, along the generalised gradient ``g`` is
    normalised to the sphere; ends are polished by repeating ``u <- g / ||g||``, and the best by projection on their
    cells, which is exact within a cell also where the maximum is on a kink. Where the data are ill-scaled every other
    start is ascended in `Coordinates`, on the ratio of the function and ``||u||``.

    Parameters
    ----------
    problem : ConvexReLUProblem
    theta : ndarray, shape (n, K)
    starts : ndarray, shape (k, d)
        Ascended once per sign and output, or once under the l2 penalty of several outputs.
    known : ndarray, shape (m, d), optional
        Directions to be judged as they are as well.
    max_iter : int
        Each iteration costs ``4 n d k`` operations in single-precision matrix products.
    coarse : bool
        Project on fewer cells and do not cross their kinks.
    should_stop : callable
        Ends the ascents early; the first block of starts is ascended in any case.

    Returns
    -------
    Priced
        A lower bound on the true maximum; values are in double precision.
    """
    known = np.empty((0, problem.design.shape[1])) if known is None else known
    if len(starts) + len(known) == 0 or not np.any(theta):
        return Priced(np.empty((0, problem.design.shape[1])), np.empty((0, problem.n_outputs)), np.empty(0), 0)
    joint = problem.output_penalty == "l2" and problem.n_outputs > 1
    jobs: list[_Joint] | list[_Signed]
    jobs = [_Joint(problem.design, theta)] if joint else _signed_jobs(problem.design, theta)
    coordinates = Coordinates.of(problem.design)
    chunk = max(8, int(_BLOCK_BYTES / (8 * len(problem.design))))
    parts: list[tuple[Array, Array, Array]] = []
    n_ascents = 0
    for job in jobs:
        mine = len(parts)
        values, outputs = job.evaluate(known)
        parts.append((known, outputs, values))
        for i in range(0, len(starts), chunk):
            if i > 0 and should_stop():
                break
            part = starts[i : i + chunk]
            n_ascents += len(part)
            u = job.polish(job.climb(part, max_iter, coordinates))
            good = job.evaluate(part)[0] > _NEARLY_BEST * job.evaluate(u)[0].max(initial=0.0)
            u = np.vstack([u, part[good]])
            values, outputs = job.evaluate(u)
            parts.append((u, outputs, values))
        if isinstance(job, _Signed):
            order = np.argsort(-np.concatenate([part[2] for part in parts[mine:]]), kind="stable")
            best = np.vstack([part[0] for part in parts[mine:]])[order]
            candidates = _FEW_CANDIDATES if coarse else _CANDIDATES
            u = np.vstack([known, best[:candidates]])[: None if problem.design.size <= _PROJECTION_SIZE else 0]
            u = job.in_cells(u, 0 if coarse else _CROSSINGS)
            values, outputs = job.evaluate(u)
            parts.append((u, outputs, values))
    directions, outputs, values = (np.concatenate(z) for z in zip(*parts, strict=True))
    kept = _distinct(coordinates.units(directions), outputs, values)
    return Priced(directions[kept], outputs[kept], values[kept], n_ascents)


def _signed_jobs(X: Array, theta: Array) -> list[_Signed]:
    return [_Signed(X, theta, k, s) for k in range(theta.shape[1]) if np.any(theta[:, k]) for s in (1.0, -1.0)]


class _Ascent(ABC):
    """Ascent of a positively homogeneous piecewise-linear function, many starts at once."""

    X: Array
    single: NDArray[np.float32]
    metric: Array | None = None
    """``T'T`` where the rows of X are in `Coordinates`: then ``||T w||`` divides the function."""

    @abstractmethod
    def gradient(self, X: NDArray[np.floating], u: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the generalised gradients at the rows of u, up to a positive factor."""

    @abstractmethod
    def evaluate(self, u: Array) -> tuple[Array, Array]:
        """Return values and unit output weights at the rows of u."""

    @abstractmethod
    def on(self, X: Array, rows: NDArray[np.intp]) -> _Ascent:
        """Return the function of some of the samples, in the coordinates of X."""

    def climb(self, starts: Array, max_iter: int, coordinates: Coordinates) -> Array:
        """Ascend, every other start in the coordinates."""
        if coordinates.T is None:
            return self.reach(starts, max_iter)
        inner = self.on(self.X @ coordinates.T, np.arange(len(self.X)))
        inner.metric = coordinates.T.T @ coordinates.T
        w = inner.reach(coordinates.units(starts[1::2])[1], max_iter)
        return np.vstack([self.reach(starts[::2], max_iter), coordinates.onto(w)])

    def reach(self, starts: Array, max_iter: int) -> Array:
        """Ascend; with many samples first on some of them, then the better half of the ends on all."""
        n = len(self.X)
        if n <= 2 * _SUBSAMPLE:
            return self.ascend(starts, 0, max_iter)
        rows = np.random.default_rng(0).choice(n, _SUBSAMPLE, replace=False)
        coarse = int(_COARSE_SHARE * max_iter)
        part = self.on(self.X, rows)
        part.metric = self.metric
        ends = part.ascend(starts, 0, coarse)
        values, _ = self.evaluate(ends)
        best = np.sort(np.argsort(-values, kind="stable")[: (len(ends) + 1) // 2])
        return self.ascend(ends[best], coarse, max_iter)

    def ascend(self, starts: Array, first: int, last: int) -> Array:
        u = starts.astype(np.float32)
        step = np.resize(np.asarray(_STEPS, dtype=np.float32), len(u))[:, None] * np.float32(_DECAY**first)
        for _ in range(first, last):
            g = self.gradient(self.single, u)
            if self.metric is not None:
                g = _along_ratio(self.metric, u.astype(np.float64), g.astype(np.float64))
            g /= np.maximum(np.linalg.norm(g, axis=1, keepdims=True), np.float32(1e-30))
            u += step * g.astype(np.float32)
            u /= np.maximum(np.linalg.norm(u, axis=1, keepdims=True), np.float32(1e-30))
            step *= np.float32(_DECAY)
        return u.astype(np.float64)

    def polish(self, u: Array, steps: int = 3) -> Array:
        values, _ = self.evaluate(u)
        for _ in range(steps):
            g = self.gradient(self.X, u)
            g = g / np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-300)
            better, _ = self.evaluate(g)
            rises = better > values
            if not rises.any():
                break
            u, values = np.where(rises[:, None], g, u), np.where(rises, better, values)
        return u / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-300)


def _along_ratio(metric: Array, u: Array, g: Array) -> Array:
    """Return the directions of the gradients of ``f(u) / sqrt(u'Mu)`` at unit vectors u, where f is homogeneous."""
    image, slope = u @ metric, np.einsum("kd,kd->k", u, g)[:, None]
    g = g + slope * (u - image / np.maximum(np.einsum("kd,kd->k", u, image), 1e-300)[:, None])
    return np.asarray(g / np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-300))


class _Signed(_Ascent):
    """``s theta_k'(X u)_+`` for one output and sign."""

    def __init__(self, X: Array, theta: Array, output: int, sign: float) -> None:
        self.X, self.single = X, X.astype(np.float32)
        self.of = (theta, output, sign)
        scale = max(np.abs(theta[:, output]).max(), 1e-300)
        self.theta = sign * theta[:, output]
        self.scaled = self.theta / scale
        self.unit = np.zeros(theta.shape[1])
        self.unit[output] = sign

    def on(self, X: Array, rows: NDArray[np.intp]) -> _Signed:
        theta, output, sign = self.of
        return _Signed(X[rows], theta[rows], output, sign)

    def gradient(self, X: NDArray[np.floating], u: NDArray[np.floating]) -> NDArray[np.floating]:
        active = (u @ X.T > 0) * self.scaled.astype(X.dtype)
        return np.asarray(active @ X)

    def evaluate(self, u: Array) -> tuple[Array, Array]:
        values = np.maximum(u @ self.X.T, 0.0) @ self.theta
        return values, np.broadcast_to(self.unit, (len(u), len(self.unit))).copy()

    def in_cells(self, u: Array, crossings: int) -> Array:
        """Return the maximisers over the first cells of the rows of u and over the cells that these lead to."""
        if len(u) == 0:
            return u
        patterns, ends = u @ self.X.T > 0, []
        patterns = patterns[unique_patterns(patterns)[0][:_PROJECTED]]
        for left in range(crossings, -1, -1):
            projections = ConeProjector(self.X, patterns).project(self.theta)
            norms, points = projections.norms[0], projections.points[0]
            ends.append(points[norms > 0] / norms[norms > 0, None])
            if left == 0:
                break
            high = np.flatnonzero(norms > _WORTH_CROSSING * norms.max(initial=0.0))
            cases = [(patterns[b], points[b], projections.rows[0, b]) for b in high]
            crossed = [flipped for flipped in (self._beyond(*case) for case in cases) if flipped is not None]
            if not crossed:
                break
            patterns = np.array(crossed)[unique_patterns(np.array(crossed))[0]]
        return np.vstack(ends)

    def _beyond(self, pattern: NDArray[np.bool_], point: Array, rows: NDArray[np.int32]) -> NDArray[np.bool_] | None:
        """Return the pattern across the kinks on which the maximiser over its cell is none of the function.

        That is where the multiplier exceeds Clarke's limit, ``max(0, -theta_i)``. The point belongs to the cell beyond
        as well, so that the maximum there is no lower.
        """
        rows = rows[rows >= 0]
        if len(rows) == 0:
            return None
        normals = np.where(pattern[rows], 1.0, -1.0)[:, None] * self.X[rows]
        rho = np.linalg.lstsq(normals.T, point - (pattern * self.theta) @ self.X, rcond=1e-10)[0]
        over = rho > np.maximum(0.0, -self.theta[rows]) + 1e-9 * np.abs(self.theta).max()
        if not over.any():
            return None
        flipped = pattern.copy()
        flipped[rows[over]] ^= True
        return flipped


class _Joint(_Ascent):
    """``||R'(X u)_+||_2`` for several outputs."""

    def __init__(self, X: Array, theta: Array) -> None:
        self.X, self.single, self.theta = X, X.astype(np.float32), theta
        self.scaled = theta / max(np.abs(theta).max(), 1e-300)

    def on(self, X: Array, rows: NDArray[np.intp]) -> _Joint:
        return _Joint(X[rows], self.theta[rows])

    def gradient(self, X: NDArray[np.floating], u: NDArray[np.floating]) -> NDArray[np.floating]:
        scaled = self.scaled.astype(X.dtype)
        hidden = np.maximum(u @ X.T, 0)
        a = hidden @ scaled
        return np.asarray(((hidden > 0) * (a @ scaled.T)) @ X)

    def evaluate(self, u: Array) -> tuple[Array, Array]:
        a = np.maximum(u @ self.X.T, 0.0) @ self.theta
        values = np.linalg.norm(a, axis=1)
        return values, a / np.maximum(values, 1e-300)[:, None]


def _distinct(units: list[Array], outputs: Array, values: Array) -> NDArray[np.intp]:
    """Return indices of the local maxima that are further apart than `_SEPARATION` in some coordinates, best first."""
    order = np.argsort(-values, kind="stable")
    order = order[np.isfinite(values[order]) & (values[order] > 0)]
    kept: list[int] = []
    taken = np.zeros(len(values), dtype=bool)
    for i in order:
        if taken[i]:
            continue
        kept.append(int(i))
        near = [unit @ unit[i] > 1 - 0.5 * _SEPARATION**2 for unit in units]
        taken |= np.logical_and.reduce(near) & (outputs @ outputs[i] > 0)
    return np.asarray(kept, dtype=np.intp)

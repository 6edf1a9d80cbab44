"""The optimum over many rows from that of a few: freeze the signs of far residuals, solve the band, check, repeat.

A residual whose sign is held fixed contributes a linear function that is nowhere above its loss. So the optimum over a
band of rows, the others frozen, is the optimum of all as soon as no frozen residual has changed its sign; rows that did
join the band. (Portnoy & Koenker 1997; here on nested samples, each the start of the next.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold._engine.budget import Budget
from rectifold.programs.lad_far import FarRows, pinball
from rectifold.programs.lad_rows import Frame, Rows, RowSource
from rectifold.programs.lad_walk import BandProgram, Unbounded, Vertex, first_basis, independent_columns

__all__ = ["Answer", "LevelSolver"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

BAND_WIDTH = 2.0
"""Half-width of the band in standard deviations of the change from a sample's fit to that of all rows."""
_SAMPLE_FACTOR = 2.0
_SMALLEST_SAMPLE = 1000
_MAX_REPAIRS = 30


@dataclass(frozen=True, eq=False)
class Answer:
    """An optimal vertex, and the program of the band it was found on.

    Attributes
    ----------
    vertex : Vertex
    program : BandProgram
    value : float
        Sum of weighted pinball losses and penalty.
    dual : ndarray, shape (n_samples,), or None
    """

    vertex: Vertex
    program: BandProgram
    value: float
    dual: Array | None


@dataclass(frozen=True, eq=False)
class _Level:
    """All rows of one program: blocks of them, how many, and their weight."""

    blocks: Iterable[Rows]
    n_rows: int
    weight: float


class _Blocks:
    """The blocks of a source, as often as they are asked for."""

    def __init__(self, source: RowSource) -> None:
        self._source = source

    def __iter__(self) -> Iterator[Rows]:
        return self._source.blocks()


class LevelSolver:
    """Quantile regressions over one source, at any number of quantiles.

    Parameters
    ----------
    source : RowSource
    alpha : float
        L1 penalty per unit of weight.
    intercept : bool
    rng : numpy Generator
        Picks the samples; the answer does not depend on it unless there are several.
    budget : Budget

    Attributes
    ----------
    frame : Frame
    pivots, crossings, passes, band_rows : int
        Of the last solve: vertices visited, residuals that changed sign on the way, passes over the rows of a level,
        and rows of the last band.
    """

    def __init__(
        self, source: RowSource, alpha: float, intercept: bool, rng: np.random.Generator, budget: Budget
    ) -> None:
        self._source, self._alpha, self._budget = source, alpha, budget
        size = sample_size(source.n_samples, source.n_features + intercept)
        self._sample = source.sample(size, rng)
        self._sizes = [len(self._sample)]  # of the nested samples; the source itself comes last if it is larger
        while (smaller := sample_size(self._sizes[0], source.n_features + intercept)) < self._sizes[0]:
            self._sizes.insert(0, smaller)
        self._whole = size >= source.n_samples
        self.frame = Frame.of(self._sample.X, intercept)
        if alpha == 0.0:
            self._determine()
        self._first: tuple[BandProgram, Vertex] | None = None
        self.pivots = self.crossings = self.passes = self.band_rows = 0

    def solve(self, quantile: float, want_dual: bool) -> Answer:
        """Return the optimum at a quantile; after the first one the smallest sample starts from where it was.

        Raises
        ------
        Stopped
            If the budget ends.
        """
        self.pivots = self.crossings = self.passes = self.band_rows = 0
        smallest = self._sample.take(slice(0, self._sizes[0]))
        program, vertex = self._solve_smallest(smallest, quantile)
        levels = [self._level(self._sample.take(slice(0, size))) for size in self._sizes[1:]]
        if not self._whole:
            levels.append(_Level(_Blocks(self._source), self._source.n_samples, self._source.total_weight))
        if not levels:
            return self._whole_answer(smallest, program, vertex, want_dual)
        for size, level in zip(self._sizes, levels, strict=False):
            guide = self._sample.take(slice(0, size))
            answer = self._lift(quantile, vertex, guide, level, want_dual and level is levels[-1])
            vertex = answer.vertex
        return answer

    def typical_size(self, coef: Array, intercept: float) -> float:
        """Mean of ``|y| + |X| |coef| + |intercept|`` over the sample: residuals are accurate to a few ulps of it."""
        rows = self._sample
        size = np.abs(rows.y) + np.abs(rows.X) @ np.abs(coef) + abs(intercept)
        return float(np.average(size, weights=rows.weights))

    def _level(self, rows: Rows) -> _Level:
        return _Level([rows], len(rows), float(rows.weights.sum()))

    def _determine(self) -> None:
        """Put rows in front until the smallest sample has the rank of all; drop columns that depend on others."""
        for _ in range(self.frame.size + 1):
            E = self.frame.design(self._sample.X[: self._sizes[0]])
            independent = independent_columns(E, self.frame.intercept)
            if len(independent) == self.frame.size:
                return
            complete = self._whole and len(self._sizes) == 1
            found = [] if complete else self._rows_across(E)
            if found:
                self._sample = Rows.stack([*found, self._sample])
                self._sizes = [size + len(found) for size in self._sizes]
                self.frame = Frame.of(self._sample.X, self.frame.intercept)
            else:
                self.frame = self.frame.only(independent)

    def _rows_across(self, E: Array) -> list[Rows]:
        """Rows on which the null space of E does not vanish, the largest one for each direction."""
        _, singular, right = np.linalg.svd(np.linalg.qr(E, mode="r"), full_matrices=True)
        Z = right[int((singular > 1e-9 * singular[0]).sum()) :].T
        best: dict[int, tuple[float, Rows]] = {}
        for block in [self._sample] if self._whole else self._source.blocks():
            seen = np.abs(self.frame.design(block.X) @ Z)
            for k, i in enumerate(seen.argmax(axis=0)):
                if seen[i, k] > best.get(k, (1e-7, block))[0]:
                    best[k] = float(seen[i, k]), block.take(slice(i, i + 1))
        return list({int(row.ids[0]): row for _, row in best.values()}.values())

    def _solve_smallest(self, rows: Rows, quantile: float) -> tuple[BandProgram, Vertex]:
        if self._first is None:
            program = BandProgram(self.frame, quantile, self._alpha * float(rows.weights.sum()))
            program.add(rows)
            basis = first_basis(self.frame, rows, quantile, self._alpha > 0.0)
        else:
            program, vertex = self._first
            program.set_quantile(quantile)
            basis = vertex.basis
        before = program.pivots, program.crossings
        vertex = program.solve(basis, self._budget)
        self.pivots += program.pivots - before[0]
        self.crossings += program.crossings - before[1]
        self._first = program, vertex
        return program, vertex

    def _whole_answer(self, rows: Rows, program: BandProgram, vertex: Vertex, want_dual: bool) -> Answer:
        """The smallest sample was everything."""
        coef, intercept = self.frame.coefficients(vertex.theta)
        loss = pinball(rows.y - rows.X @ coef - intercept, rows.weights, program.quantile)
        value = loss + self._alpha * self._source.total_weight * float(np.abs(coef).sum())
        self.band_rows = len(rows)
        dual = np.zeros(self._source.n_samples) if want_dual else None
        return Answer(vertex, program, value, _fill(dual, program))

    def _lift(self, quantile: float, vertex: Vertex, guide: Rows, level: _Level, want_dual: bool) -> Answer:
        share = 2.0 * BAND_WIDTH * np.sqrt(self.frame.size * quantile * (1.0 - quantile) / len(guide))
        while True:
            far = FarRows(self.frame, vertex, quantile, guide, share)
            dual = np.zeros(self._source.n_samples) if want_dual else None
            program = BandProgram(self.frame, quantile, self._alpha * level.weight)
            program.add(*far.split(level.blocks, dual))
            program.add_linear(-far.moment)
            self.passes += 1
            try:
                vertex, value = self._repair(program, vertex, far, level)
            except Unbounded:
                value = None
            self.pivots, self.crossings = self.pivots + program.pivots, self.crossings + program.crossings
            self.band_rows = len(program.ids)
            if value is not None:
                return Answer(vertex, program, value, _fill(dual, program))
            share *= 2.0

    def _repair(self, program: BandProgram, vertex: Vertex, far: FarRows, level: _Level) -> tuple[Vertex, float | None]:
        """Solve the band, and take rows in whose sign was wrong, until none is; None if there are too many."""
        vertex = program.solve(vertex.basis, self._budget)
        allowed = max(len(program.ids) // 2, 100)
        for _ in range(_MAX_REPAIRS):
            coef, intercept = self.frame.coefficients(vertex.theta)
            size = float(np.abs(vertex.theta).sum())
            value, wrong = far.check(level.blocks, coef, intercept, size, program.ids)
            self.passes += 1
            value += self._alpha * level.weight * float(np.abs(coef).sum())
            self._budget.report("lad", value / level.weight, pivots=program.pivots, rows=level.n_rows)
            if wrong is None:
                return vertex, value
            if len(wrong[0]) > allowed:
                return vertex, None
            program.add(*wrong)
            program.add_linear(far.moment_of(*wrong))
            vertex = program.solve(vertex.basis, self._budget)
        return vertex, None


def sample_size(n_rows: int, n_coefficients: int) -> int:
    """Return how many rows to solve exactly before looking at all `n_rows`; `n_rows` where it is not worth it."""
    balanced = int(_SAMPLE_FACTOR * n_rows ** (2 / 3) * n_coefficients ** (1 / 3))
    size = max(balanced, _SMALLEST_SAMPLE, 20 * n_coefficients)
    return size if 5 * size <= 2 * n_rows else n_rows


def _fill(dual: Array | None, program: BandProgram) -> Array | None:
    if dual is not None:
        samples = program.ids >= 0
        dual[program.ids[samples]] = program.duals()[samples]
    return dual

"""Where the rows of a LAD program come from: arrays, memory maps, or batches that can be read again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rectifold.core.arrays import as_float_array
from rectifold.core.errors import ProblemError
from rectifold.core.lad import LADProblem, as_weights

__all__ = ["ArrayRows", "Frame", "RowSource", "Rows", "StreamRows"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Some samples of positive weight, in memory.

    Attributes
    ----------
    X : ndarray, shape (m, d)
    y, weights : ndarray, shape (m,)
    ids : ndarray of int64, shape (m,)
        Which samples they are.
    """

    X: Array
    y: Array
    weights: Array
    ids: Ints

    def __len__(self) -> int:
        return len(self.y)

    def take(self, which: Any) -> Rows:
        """Return those rows that an index, a mask or a slice picks."""
        return Rows(self.X[which], self.y[which], self.weights[which], self.ids[which])

    def positions(self, ids: Ints) -> Ints:
        """Return where those of some samples are that are among these rows."""
        if len(self) and self.ids[-1] - self.ids[0] + 1 == len(self) and bool((np.diff(self.ids) == 1).all()):
            return np.asarray(ids[(ids >= self.ids[0]) & (ids <= self.ids[-1])] - self.ids[0])
        return np.flatnonzero(np.isin(self.ids, ids))

    @staticmethod
    def stack(parts: list[Rows]) -> Rows:
        """Join rows, at least one part."""
        return Rows(
            np.concatenate([part.X for part in parts]),
            np.concatenate([part.y for part in parts]),
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.ids for part in parts]),
        )


class RowSource(Protocol):
    """Samples that can be visited in order, any number of times."""

    n_samples: int
    n_features: int
    total_weight: float

    def blocks(self) -> Iterator[Rows]:
        """Yield all samples of positive weight, some at a time."""

    def sample(self, count: int, rng: np.random.Generator) -> Rows:
        """Return up to `count` samples of positive weight, at random and in random order."""


class ArrayRows:
    """The samples of a problem whose data are arrays or memory maps."""

    def __init__(self, problem: LADProblem) -> None:
        self._problem = problem
        self.n_samples, self.n_features = problem.X.shape
        self.total_weight = problem.total_weight

    def blocks(self) -> Iterator[Rows]:
        """Yield all samples of positive weight, some at a time."""
        for part in self._problem.parts():
            yield self._rows(self._problem.rows(part), part, np.arange(part.start, part.stop))

    def sample(self, count: int, rng: np.random.Generator) -> Rows:
        """Return up to `count` samples of positive weight, at random and in random order."""
        if count >= self.n_samples:
            return Rows.stack(list(self.blocks()))
        ids = rng.choice(self.n_samples, count, replace=False)
        rows = np.sort(ids)  # a memory map is read from front to back
        chosen = self._rows(np.asarray(self._problem.X[rows], dtype=np.float64), rows, rows)
        return chosen.take(rng.permutation(len(chosen)))

    def _rows(self, X: Array, part: Any, ids: Ints) -> Rows:
        y = self._problem.y[part]
        if self._problem.weights is None:
            return Rows(X, y, np.ones(len(y)), ids)
        rows = Rows(X, y, self._problem.weights[part], ids)
        used = rows.weights > 0.0
        return rows if used.all() else rows.take(used)


class StreamRows:
    """Samples from batches, of which one at a time is in memory.

    Parameters
    ----------
    open_batches : callable
        Returns a fresh iterable of batches (X, y) or (X, y, sample_weight), the same each time.

    Raises
    ------
    ProblemError
        For NaN, infinities, shapes that do not fit, or no row at all.
    """

    def __init__(self, open_batches: Callable[[], Iterable[Any]]) -> None:
        self._open = open_batches
        self.n_samples, self.n_features, self.total_weight = 0, -1, 0.0
        self._seen = False
        self._reservoir: Rows | None = None

    def scan(self, keep: int, rng: np.random.Generator) -> None:
        """Read everything once: check it, count it, and keep a random sample of up to `keep` rows."""
        kept: list[Rows] = []
        keys = np.zeros(0)
        limit = np.inf  # no row with a larger key can stay
        for rows in self._checked():
            self.total_weight += float(rows.weights.sum())
            fresh = rng.random(len(rows))
            kept.append(rows.take(np.flatnonzero(fresh < limit)))
            keys = np.append(keys, fresh[fresh < limit])
            if len(keys) > 2 * keep:
                smallest = np.argpartition(keys, keep)[:keep]
                kept, keys = [Rows.stack(kept).take(smallest)], keys[smallest]
                limit = float(keys.max())
        if len(keys) == 0:
            raise ProblemError("the batches hold no row of positive weight")
        self._reservoir = Rows.stack(kept).take(np.argsort(keys)[:keep])
        self._seen = True

    def blocks(self) -> Iterator[Rows]:
        """Yield all samples of positive weight, a batch at a time."""
        yield from self._checked()

    def sample(self, count: int, rng: np.random.Generator) -> Rows:
        """Return up to `count` rows of the sample that `scan` kept."""
        if self._reservoir is None:
            self.scan(count, rng)
        assert self._reservoir is not None
        return self._reservoir.take(slice(0, count))

    def _checked(self) -> Iterator[Rows]:
        start = 0
        for batch in self._open():
            if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
                raise ProblemError("a batch must be (X, y) or (X, y, sample_weight)")
            X, y = as_float_array(batch[0], "X", ndim=2), as_float_array(batch[1], "y", ndim=1)
            if self.n_features < 0:
                self.n_features = X.shape[1]
            if X.shape != (len(y), self.n_features):
                raise ProblemError(
                    f"a batch has X of shape {X.shape} and {len(y)} targets, not {self.n_features} columns"
                )
            weights = np.ones(len(y)) if len(batch) == 2 else _batch_weights(batch[2], len(y))
            rows = Rows(X, y, weights, np.arange(start, start + len(y)))
            start += len(y)
            yield rows if (weights > 0.0).all() else rows.take(weights > 0.0)
        if self._seen and start != self.n_samples:
            raise ProblemError(f"the batches held {self.n_samples} rows at first and {start} when read again")
        self.n_samples = start


def _batch_weights(weights: Any, n: int) -> Array:
    values = as_float_array(weights, "sample_weight")
    return values if values.shape == (n,) and not values.any() else as_weights(values, n)


@dataclass(frozen=True, eq=False)
class Frame:
    """Coordinates in which the columns are centred and of unit size; scales are powers of two.

    Attributes
    ----------
    center, scale : ndarray, shape (k,)
    columns : ndarray of int64, shape (k,)
        The features that are used; the others get the coefficient zero.
    n_features : int
    intercept : bool
    """

    center: Array
    scale: Array
    columns: Ints
    n_features: int
    intercept: bool

    @classmethod
    def of(cls, X: Array, intercept: bool) -> Frame:
        """Return the frame of a sample."""
        center = X.mean(axis=0) if intercept else np.zeros(X.shape[1])
        spread = np.sqrt(((X - center) ** 2).mean(axis=0))
        usable = (spread > 1e-12 * np.abs(center)) & np.isfinite(spread) & (spread > 0.0)
        center = np.where(np.isfinite(center), center, 0.0)
        scale = np.exp2(-np.rint(np.log2(np.where(usable, spread, 1.0))))
        return cls(center, scale, np.arange(X.shape[1]), X.shape[1], intercept)

    @property
    def size(self) -> int:
        """Number of coefficients, the intercept included."""
        return len(self.columns) + self.intercept

    def only(self, coefficients: Ints) -> Frame:
        """Return the frame with these coefficients left, by position."""
        keep = coefficients[coefficients < len(self.columns)]
        return Frame(self.center[keep], self.scale[keep], self.columns[keep], self.n_features, self.intercept)

    def design(self, X: Array) -> Array:
        """Return rows in these coordinates, shape (m, size)."""
        out = np.empty((len(X), self.size))
        chosen = X if len(self.columns) == self.n_features else X[:, self.columns]
        np.multiply(chosen - self.center, self.scale, out=out[:, : len(self.columns)])
        if self.intercept:
            out[:, -1] = 1.0
        return out

    def row_sizes(self, X: Array) -> Array:
        """Return the norms of the rows of ``design(X)``, the intercept's one included; up to rounding."""
        weights = np.zeros(self.n_features)
        weights[self.columns] = self.scale**2
        middle = np.zeros(self.n_features)
        middle[self.columns] = self.center
        squares = (X * X) @ weights - 2.0 * (X @ (weights * middle)) + float(weights @ middle**2)
        return np.sqrt(1.0 + np.maximum(squares, 0.0))

    def moment(self, moment: Array, total: float) -> Array:
        """Return ``design(X)'d`` from ``X'd`` and ``1'd``."""
        out = np.empty(self.size)
        out[: len(self.columns)] = (moment[self.columns] - total * self.center) * self.scale
        if self.intercept:
            out[-1] = total
        return out

    def coefficients(self, theta: Array) -> tuple[Array, float]:
        """Return the coefficients of the features as given, and the intercept."""
        coef = np.zeros(self.n_features)
        coef[self.columns] = theta[: len(self.columns)] * self.scale
        intercept = float(theta[-1] - coef[self.columns] @ self.center) if self.intercept else 0.0
        return coef, intercept

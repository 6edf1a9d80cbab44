"""Choosing alpha: a warm-started grid, cross-validated, or fitted to the whole training part."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold

from rectifold.cli.data import RunData
from rectifold.cli.monitor import ScreenMonitor
from rectifold.cli.training import Effort, fit_estimator, largest_alpha
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.report import PathRow

__all__ = ["AlphaChoice", "choose_alpha", "training_path"]

Array = NDArray[np.float64]
Fold = tuple[Array, NDArray[Any], Array, NDArray[Any]]
_N_FOLDS = 5
_CV_GRID = np.geomspace(0.5, 1e-3, 10)
_PATH_GRID = np.geomspace(1.0, 2e-3, 12)
_PATIENCE = 3


@dataclass(frozen=True, eq=False)
class AlphaChoice:
    """The alpha that was chosen and how.

    Attributes
    ----------
    alpha, alpha_max : float
    alphas : ndarray of shape (k,)
        Those that were tried, falling.
    scores : ndarray of shape (k, n_folds)
    sentence : str
    """

    alpha: float
    alpha_max: float
    alphas: Array
    scores: Array
    sentence: str


def choose_alpha(data: RunData, monitor: ScreenMonitor, seed: int, time_limit: float | None) -> AlphaChoice:
    """Choose alpha by the mean score over five folds of the training part.

    All folds go down the grid together, each warm-started from its last network and without any proof, until the mean
    score has not improved for three alphas, or the time is over, or `monitor` asks to stop.

    Raises
    ------
    ProblemError
        If there are too few rows to make folds.
    """
    top = _top(data)
    grid = _CV_GRID * top
    folds = _folds(data, seed)
    starts: list[ReLUNetwork | None] = [None] * len(folds)
    scores: list[list[float]] = []
    deadline = None if time_limit is None else time.perf_counter() + time_limit
    for number, alpha in enumerate(grid):
        row: list[float] = []
        for k, fold in enumerate(folds):
            monitor.note(f"alpha {number + 1} of up to {grid.shape[0]}, fold {k + 1} of {len(folds)}")
            left = None if deadline is None else deadline - time.perf_counter()
            if monitor.should_stop() or (left is not None and left <= 0):
                break
            score, starts[k] = _fold_score(data.task, fold, float(alpha), monitor, seed, starts[k], left)
            row.append(score)
        out_of_time = deadline is not None and time.perf_counter() >= deadline
        if len(row) < len(folds) or out_of_time or monitor.should_stop():
            break
        scores.append(row)
        if _stale(scores):
            break
    return _choice(grid, top, scores, stopped=len(scores) < grid.shape[0] and not _stale(scores))


def training_path(
    data: RunData, top: float, monitor: ScreenMonitor, seed: int, time_limit: float | None
) -> tuple[PathRow, ...]:
    """Fit a grid of alphas, falling and warm-started, to the whole training part; no search for proofs."""
    X, X_test = data.X(data.train), data.X(data.test)
    start: ReLUNetwork | None = None
    rows: list[PathRow] = []
    deadline = None if time_limit is None else time.perf_counter() + time_limit
    for number, alpha in enumerate(_PATH_GRID * top):
        monitor.note(f"alpha {number + 1} of {_PATH_GRID.shape[0]}")
        left = None if deadline is None else deadline - time.perf_counter()
        if monitor.should_stop() or (left is not None and left <= 0):
            break
        estimator, _ = fit_estimator(
            data.task,
            X,
            data.y[data.train],
            float(alpha),
            monitor,
            seed=seed,
            time_limit=left,
            effort=Effort.PATH,
            start=start,
        )
        start = estimator.network_
        rows.append(
            PathRow(
                alpha=float(alpha),
                objective=float(estimator.objective_),
                gap=float(estimator.gap_),
                n_neurons=int(estimator.n_neurons_),
                train=float(estimator.score(X, data.y[data.train])),
                test=float(estimator.score(X_test, data.y[data.test])) if data.test.size > 1 else None,
            )
        )
    return tuple(rows)


def _top(data: RunData) -> float:
    """Return alpha_max of the training part, or say that no neuron ever enters."""
    top = largest_alpha(data.task, data.X(data.train), data.y[data.train])
    if not top > 0:
        raise ProblemError("no neuron lowers the loss at any alpha: the inputs say nothing about the target")
    return top


def _folds(data: RunData, seed: int) -> list[Fold]:
    """Split the training part, each fold standardised on its own."""
    y = data.y[data.train]
    splitter: Any = KFold
    n_folds = min(_N_FOLDS, data.train.size // 2)
    if data.task == "classification":
        splitter = StratifiedKFold
        n_folds = min(n_folds, int(np.unique(y, return_counts=True)[1].min()))
    if n_folds < 2:
        raise ProblemError(
            "too few training rows, or rows of some class, to choose alpha by cross-validation; give one with --alpha"
        )
    raw = data.X(data.train)
    standardized = bool((data.preparation.mean != 0).any() or (data.preparation.scale != 1).any())
    folds: list[Fold] = []
    for inner, outer in splitter(n_folds, shuffle=True, random_state=seed).split(raw, y):
        mean, deviation = raw[inner].mean(axis=0), raw[inner].std(axis=0)
        if not standardized:
            mean, deviation = np.zeros_like(mean), np.ones_like(deviation)
        scale = np.where(deviation > 0, deviation, 1.0)
        folds.append(((raw[inner] - mean) / scale, y[inner], (raw[outer] - mean) / scale, y[outer]))
    return folds


def _fold_score(
    task: str, fold: Fold, alpha: float, monitor: Any, seed: int, start: ReLUNetwork | None, left: float | None
) -> tuple[float, ReLUNetwork]:
    """Fit on the inner part and score on the outer one."""
    X, y, X_outer, y_outer = fold
    estimator, _ = fit_estimator(
        task, X, y, alpha, _Quiet(monitor), seed=seed, time_limit=left, effort=Effort.FOLD, start=start
    )
    return float(estimator.score(X_outer, y_outer)), estimator.network_


def _stale(scores: list[list[float]]) -> bool:
    """Return whether the mean score has not improved for a while."""
    means = np.mean(scores, axis=1) if scores else np.empty(0)
    return scores != [] and means.shape[0] - 1 - int(np.argmax(means)) >= _PATIENCE


def _choice(grid: Array, top: float, scores: list[list[float]], stopped: bool) -> AlphaChoice:
    """Return the alpha with the best mean score, the largest of equals."""
    alphas = grid[: len(scores)]
    if not scores:
        alpha = float(0.1 * top)
        sentence = (
            f"Alpha {alpha:.4g}, a tenth of alpha_max: the search for a better one was stopped before its first result."
        )
        return AlphaChoice(alpha, top, alphas, np.empty((0, 0)), sentence)
    means = np.mean(scores, axis=1)
    best = int(np.argmax(means))
    early = "; the search was stopped early" if stopped else ""
    sentence = (
        f"Alpha {alphas[best]:.4g} ({alphas[best] / top:.2g} of alpha_max), the best of {len(alphas)} by "
        f"{len(scores[0])}-fold cross-validation on the training part (mean score {means[best]:.4f}){early}."
    )
    return AlphaChoice(float(alphas[best]), top, alphas, np.asarray(scores), sentence)


class _Quiet:
    """Passes on the wish to stop, and keeps the progress of single folds off the screen."""

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor

    def event(self, stage: str, value: float, bound: float, elapsed: float, **counts: float) -> None:
        """Ignore the event."""

    def should_stop(self) -> bool:
        """Ask the outer monitor."""
        return bool(self._monitor.should_stop())

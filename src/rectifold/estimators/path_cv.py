"""The choice of alpha by cross-validation along warm-started paths, which the convex CV estimators share."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit, check_cv

from rectifold._engine.blas import single_threaded_blas
from rectifold._engine.budget import Budget
from rectifold.core.errors import ProblemError
from rectifold.core.monitor import Monitor
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.estimators.convex_relu import seed_of
from rectifold.training.convex.alpha_max import alpha_max
from rectifold.training.convex.options import TrainingOptions
from rectifold.training.convex.paths.path import default_alphas
from rectifold.training.convex.paths.rough_path import first_order_result, rough_path

__all__ = ["PathCV"]

Array = NDArray[np.float64]

_BATCH = 4
_MANY_SAMPLES, _VERY_MANY_SAMPLES = 3_000, 10_000
_HELD_OUT = 0.2
_TOP = 0.7
_DEAR = 1e5


@dataclass(frozen=True)
class _Fold:
    """A fold's training problem and its held-out samples."""

    problem: ConvexReLUProblem
    X: Array
    y: NDArray[Any]
    encoded: Array
    weight: Array
    estimator: Any
    scorer: Any

    def run(
        self, alphas: Array, start: ReLUNetwork | None, steps: int, seed: int
    ) -> tuple[list[float], list[ReLUNetwork]]:
        """Return the held-out score and the network at each alpha."""
        with single_threaded_blas:
            path = rough_path(self.problem, alphas, start=start, steps=steps, rng=np.random.default_rng(seed))
            networks = list(path)
            return [self.score(network) for network in networks], networks

    def score(self, network: ReLUNetwork) -> float:
        """Return the score, or minus the loss where no scorer was given."""
        if self.scorer is None:
            return -self.problem.loss.value(network(self.X), self.encoded, self.weight)
        self.estimator.network_ = network
        return float(self.scorer(self.estimator, self.X, self.y))


class PathCV:
    """What both estimators share: the grid, the folds, the choice and the final fit."""

    def _select(
        self, plain: Any, X: Array, targets: NDArray[Any], y: NDArray[Any], loss: str, weight: Array | None
    ) -> tuple[ConvexReLUProblem, ReLUNetwork]:
        """Choose ``alpha_`` and return its problem with a network near the final one."""
        seed = seed_of(self.random_state)  # type: ignore[attr-defined]
        self._seed = int(np.random.default_rng(seed).integers(2**31)) if not isinstance(seed, int) else seed
        grid = self._grid(X, targets, loss, weight)
        whole = self._problem(X, targets, float(grid[0]), loss, weight)
        folds = self._folds(plain, X, targets, y, loss, weight)
        self.alphas_, self.cv_scores_, networks = self._scores(folds, grid)
        means = self.cv_scores_.mean(axis=1)
        best = int(means.argmax())
        if self.one_standard_error and self.cv_scores_.shape[1] > 1:  # type: ignore[attr-defined]
            error = self.cv_scores_[best].std(ddof=1) / np.sqrt(self.cv_scores_.shape[1])
            best = int(np.flatnonzero(means >= means[best] - error)[0])
        self.alpha_, self.best_score_ = float(grid[best]), float(means[best])
        whole = whole.with_alpha(self.alpha_)
        return whole, min(networks[best], key=whole.objective)

    def _problem(
        self, X: Array, targets: NDArray[Any], alpha: float, loss: str, weight: Array | None
    ) -> ConvexReLUProblem:
        switches = (self.hidden_bias, self.fit_intercept, self.output_penalty)  # type: ignore[attr-defined]
        return ConvexReLUProblem(X, targets, alpha, loss, *switches, weight)

    def _steps(self) -> int:
        steps = self.fold_steps  # type: ignore[attr-defined]
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise ProblemError(f"fold_steps must be a positive integer, got {steps!r}.")
        return int(steps)

    def _grid(self, X: Array, targets: NDArray[Any], loss: str, weight: Array | None) -> Array:
        alphas = self.alphas  # type: ignore[attr-defined]
        if not isinstance(alphas, int | np.integer) or isinstance(alphas, bool):
            grid = np.unique(np.asarray(alphas, dtype=np.float64))[::-1]
            if grid.ndim != 1 or len(grid) == 0 or not np.all(np.isfinite(grid)) or np.any(grid <= 0):
                raise ProblemError(f"alphas must be a positive integer or hold positive numbers, got {alphas!r}.")
            return grid
        top = alpha_max(
            X, targets, loss=loss, hidden_bias=self.hidden_bias,  # type: ignore[attr-defined]
            fit_intercept=self.fit_intercept, output_penalty=self.output_penalty,  # type: ignore[attr-defined]
            sample_weight=weight, n_starts=100, random_state=self._seed,
        )  # fmt: skip
        if not top > 0:
            return np.ones(1)
        return default_alphas(_TOP * top, int(alphas), self.eps / _TOP)  # type: ignore[attr-defined]

    def _folds(
        self, plain: Any, X: Array, targets: NDArray[Any], y: NDArray[Any], loss: str, weight: Array | None
    ) -> list[_Fold]:
        weight = np.ones(len(X)) if weight is None else weight
        encoded = _encoded(targets, loss)
        folds = []
        for inner, outer in self._splits(X, y):
            if not weight[outer].any() or not weight[inner].any():
                continue
            if is_classifier(plain) and set(targets[inner][weight[inner] > 0]) != set(targets):
                continue
            problem = self._problem(X[inner], targets[inner], 1.0, loss, weight[inner])
            share = weight[outer] / weight[outer].sum()
            scorer = None if self.scoring is None else check_scoring(plain, self.scoring)  # type: ignore[attr-defined]
            folds.append(_Fold(problem, X[outer], y[outer], encoded[outer], share, plain, scorer))
        if not folds:
            raise ProblemError(
                "No fold has samples of positive weight and every class on both sides: there are too few samples to "
                "choose alpha by cross-validation."
            )
        return folds

    def _splits(self, X: Array, y: NDArray[Any]) -> list[tuple[Any, Any]]:
        cv: Any = self.cv  # type: ignore[attr-defined]
        classifier = is_classifier(self)
        if cv is None:
            rarest = int(np.unique(y, return_counts=True)[1].min()) if classifier else len(X)
            cv = max(2, min(5 if len(X) <= _MANY_SAMPLES else 3, rarest))
            if len(X) > _VERY_MANY_SAMPLES and rarest > 1:
                held_out = StratifiedShuffleSplit if classifier else ShuffleSplit
                cv = held_out(1, test_size=_HELD_OUT, random_state=self._seed)
        if len(X) < 2:
            raise ProblemError(f"Cross-validation needs at least two samples, got {len(X)} sample.")
        splitter = check_cv(cv, y, classifier=classifier)
        if isinstance(cv, int | np.integer):
            splitter.shuffle, splitter.random_state = True, self._seed
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")
            return list(splitter.split(X, y))

    def _scores(self, folds: list[_Fold], grid: Array) -> tuple[Array, Array, list[tuple[ReLUNetwork, ...]]]:
        """Go down the grid with all folds together until the mean score has turned; keep every fold's networks."""
        starts: list[ReLUNetwork | None] = [None] * len(folds)
        rows, networks = list[Array](), list[tuple[ReLUNetwork, ...]]()
        steps, patience, jobs = self._steps(), self.patience, self.n_jobs  # type: ignore[attr-defined]
        for first in range(0, len(grid), _BATCH):
            batch = grid[first : first + _BATCH]
            parts = Parallel(n_jobs=jobs)(
                delayed(fold.run)(batch, start, steps, self._seed + first)
                for fold, start in zip(folds, starts, strict=True)
            )
            starts = [part[1][-1] for part in parts]
            rows.extend(np.array([part[0] for part in parts]).T)
            networks.extend(zip(*(part[1] for part in parts), strict=True))
            if patience is not None and len(rows) - 1 - int(np.mean(rows, axis=1).argmax()) >= patience:
                break
        return grid[: len(rows)], np.array(rows), networks

    def _finish(
        self,
        plain: Any,
        data: tuple[Array, NDArray[Any], Array | None],
        problem: ConvexReLUProblem,
        start: ReLUNetwork,
        callback: Monitor | None,
    ) -> None:
        """Train the plain estimator at ``alpha_`` from a network near its own, and take over what it learned."""
        plain.set_params(alpha=self.alpha_, warm_start=start, random_state=self._seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a limit on rounds is what was asked for
            if problem.design.size > _DEAR and not plain.certify:
                options = TrainingOptions(plain.tol, plain.max_iter, plain.n_starts, False, random_state=self._seed)
                plain._unwrap(first_order_result(problem, options, Budget(callback, plain.time_limit), start))
            else:
                inputs, targets, weight = data
                plain.fit(inputs, targets, sample_weight=weight, callback=callback)
        for name, value in vars(plain).items():
            if name.endswith("_") or name == "_single_output":
                setattr(self, name, value)


def _encoded(targets: NDArray[Any], loss: str) -> Array:
    """Return targets as (n, K), also of samples that do not count."""
    if targets.ndim == 2:
        return np.asarray(targets, dtype=np.float64)
    if loss == "squared" or targets.dtype.kind == "f":
        return np.asarray(targets, dtype=np.float64)[:, None]
    one_hot = np.eye(int(targets.max()) + 1)[targets]
    return 2.0 * one_hot - 1.0 if loss == "squared_hinge" else one_hot

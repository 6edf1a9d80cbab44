"""``rectifold fit``: data, alpha, network, peers, and what is said and written about them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from rich.console import Console

from rectifold._versions import __version__, kernels
from rectifold.cli import present
from rectifold.cli.alpha import AlphaChoice, choose_alpha, training_path
from rectifold.cli.data import RunData, load_run_data
from rectifold.cli.model_file import save_model
from rectifold.cli.monitor import ScreenMonitor
from rectifold.cli.options import FitOptions
from rectifold.cli.peers import peer_rows
from rectifold.cli.training import fit_estimator
from rectifold.core.result import Proof, Status
from rectifold.report import FitSummary, ModelRow, PathRow, write_report

__all__ = ["run_fit"]

_SEARCH_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class _Trained:
    """The final network with its alpha, path and time."""

    estimator: Any
    choice: AlphaChoice | None
    path: tuple[PathRow, ...]
    seconds: float


def run_fit(options: FitOptions, out: Console, progress: Console) -> int:
    """Carry out ``rectifold fit`` and return the exit code.

    Parameters
    ----------
    out : Console
        Gets sentences and tables.
    progress : Console
        Gets the moving line, and warnings.
    """
    data = load_run_data(options)
    present.show_data(out, data)
    trained = _train(data, options, out, progress)
    summary = _summary(data, options, trained, _compare(data, options, trained, progress))
    present.show_summary(out, summary)
    if options.save is not None:
        _save(data, options, trained.estimator)
        present.say(out, f"network saved to {options.save}")
    if options.report is not None:
        from rectifold.cli.figures import report_figures

        write_report(options.report, summary, report_figures(data, trained.estimator, summary))
        present.say(out, f"report written to {options.report}")
    return 0


def _train(data: RunData, options: FitOptions, out: Console, progress: Console) -> _Trained:
    """Choose alpha if it is not given, then fit the network; Ctrl-C ends the phase it falls into."""
    limit, alpha = options.time_limit, options.fixed_alpha
    choice: AlphaChoice | None = None
    path: tuple[PathRow, ...] = ()
    spent = 0.0
    if alpha is None:
        share = None if limit is None else _SEARCH_SHARE * limit / (2 if options.path else 1)
        with ScreenMonitor(progress, "choosing alpha") as monitor:
            choice = choose_alpha(data, monitor, options.seed, share)
            spent += monitor.seconds
        alpha = choice.alpha
        present.say(out, choice.sentence)
        if options.path:
            with ScreenMonitor(progress, "path") as monitor:
                path = training_path(data, choice.alpha_max, monitor, options.seed, share)
                spent += monitor.seconds
    with ScreenMonitor(progress, "training") as monitor:
        left = None if limit is None else max(limit - spent, 0.05 * limit)
        X, y = data.X(data.train), data.y[data.train]
        estimator, warned = fit_estimator(
            data.task, X, y, alpha, monitor, seed=options.seed, time_limit=left, max_work=options.max_work
        )
        seconds = monitor.seconds
    for line in warned:
        present.say(progress, f"warning: {line}")
    return _Trained(estimator, choice, path, seconds)


def _compare(data: RunData, options: FitOptions, trained: _Trained, progress: Console) -> tuple[ModelRow, ...]:
    """Score the network and fit its peers; Ctrl-C leaves out the peers that are not done."""
    score = _scores(data, trained.estimator)
    rows = [ModelRow("rectifold", *score, trained.seconds, "two-layer ReLU network")]
    with ScreenMonitor(progress, "fitting scikit-learn's models") as monitor, suppress(KeyboardInterrupt):
        for row in peer_rows(data, options.seed):
            if monitor.should_stop():  # scikit-learn's MLP swallows an interrupt and keeps a half-trained network
                break
            rows.append(row)
    if monitor.interrupted:
        present.say(progress, "the comparison was stopped")
    return tuple(rows)


def _scores(data: RunData, estimator: Any) -> tuple[float, float | None]:
    """Return training and test score; a single test row has no R²."""
    train = float(estimator.score(data.X(data.train), data.y[data.train]))
    test = float(estimator.score(data.X(data.test), data.y[data.test])) if data.test.size > 1 else None
    return train, test


def _summary(data: RunData, options: FitOptions, trained: _Trained, models: tuple[ModelRow, ...]) -> FitSummary:
    """Gather what the table and the report say."""
    estimator, result = trained.estimator, trained.estimator.result_
    alpha = float(estimator.alpha)
    given = f"Alpha {alpha:.4g}, as given."
    return FitSummary(
        data_name=data.name,
        target=data.target,
        task=data.task,
        score_name="accuracy" if data.task == "classification" else "R²",
        n_train=int(data.train.size),
        n_test=int(data.test.size) if data.test.size > 1 else 0,
        n_features=len(data.preparation.inputs),
        preparation=data.notes,
        alpha=alpha,
        alpha_sentence=given if trained.choice is None else trained.choice.sentence,
        objective=float(estimator.objective_),
        lower_bound=float(estimator.lower_bound_),
        gap=float(estimator.gap_),
        priced_gap=float(estimator.priced_gap_),
        gap_tol=float(estimator.gap_tol),
        proof=Proof(estimator.proof_),
        status=Status(result.status),
        n_neurons=int(estimator.n_neurons_),
        seconds=trained.seconds,
        models=models,
        path=trained.path,
        command=options.command(),
        details=_details(options, estimator, result.stats),
    )


def _details(options: FitOptions, estimator: Any, stats: Mapping[str, Any]) -> dict[str, str]:
    """Return options, counters and versions as text."""
    switches = {
        name: str(getattr(estimator, name))
        for name in ("loss", "hidden_bias", "fit_intercept", "output_penalty", "gap_tol", "tol")
        if hasattr(estimator, name)
    }
    counters = {
        name.replace("_", " "): f"{value:.6g}" if isinstance(value, float) else str(value)
        for name, value in stats.items()
        if isinstance(value, int | float | str | np.number) and value == value  # NaN was not computed
    }
    limit = "none" if options.time_limit is None else str(timedelta(seconds=options.time_limit))
    return {
        "alpha": repr(float(estimator.alpha)),
        **switches,
        "time limit": limit,
        "seed": str(options.seed),
        **counters,
        "rectifold": f"{__version__} ({kernels()} kernels)",
        "Python, numpy": f"{platform.python_version()}, {np.__version__}",
    }


def _save(data: RunData, options: FitOptions, estimator: Any) -> None:
    """Write the network with the scaling folded in."""
    from rectifold import io

    file = options.save
    if file is not None and file.suffix == ".npz":
        save_model(file, data, estimator)
    elif file is not None:
        io.save(data.preparation.fold(estimator.network_), file)

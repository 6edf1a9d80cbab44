"""The figures of the report."""

from __future__ import annotations

from typing import Any

import matplotlib

from rectifold.cli.data import RunData
from rectifold.plotting import FoldDisplay, NeuronDisplay, PathDisplay, PredictionDisplay, TraceDisplay
from rectifold.report import FitSummary, ReportFigure

__all__ = ["report_figures"]

_FEATURES_SHOWN = 5


def report_figures(data: RunData, estimator: Any, summary: FitSummary) -> tuple[ReportFigure, ...]:
    """Draw the trace, the path if there is one, predictions, folds and neurons."""
    matplotlib.use("Agg")
    figures = [
        ReportFigure(
            "Objective and proven bound against time",
            "The objective of the best network so far, and the bound below which no network can be. "
            "Between the two lies what is not known.",
            TraceDisplay.from_estimator(estimator).figure_,
        )
    ]
    if summary.path:
        figures.append(_path_figure(summary))
    figures.append(_prediction_figure(data, estimator))
    figures.extend(_fold_figures(data, estimator))
    figures.append(
        ReportFigure(
            "The neurons",
            "One row a neuron, the strongest on top: what it adds to the slope along each (standardised) input on the "
            "side where it is on.",
            NeuronDisplay.from_network(estimator.network_, feature_names=data.preparation.inputs).figure_,
        )
    )
    return tuple(figures)


def _path_figure(summary: FitSummary) -> ReportFigure:
    """Draw the path."""
    rows = summary.path
    display = PathDisplay(
        [row.alpha for row in rows],
        [row.objective for row in rows],
        [row.n_neurons for row in rows],
        [row.train for row in rows],
        None if rows[0].test is None else [row.test for row in rows if row.test is not None],
        chosen=summary.alpha,
        score_name=summary.score_name,
    ).plot()
    caption = "A warm-started grid of alphas on the training part; the dashed line is the alpha that was chosen."
    return ReportFigure("The path", caption, display.figure_)


def _prediction_figure(data: RunData, estimator: Any) -> ReportFigure:
    """Draw predictions on the test part, or on the training part if there is none."""
    rows, part = (data.test, "test") if data.test.size > 1 else (data.train, "training")
    display = PredictionDisplay.from_predictions(data.y[rows], estimator.predict(data.X(rows)), task=data.task)
    if data.task == "classification":
        caption = f"Rows of the {part} part by true and predicted class; the diagonal is right."
    else:
        caption = f"Rows of the {part} part; on the dashed line prediction and truth agree."
    return ReportFigure(f"Predictions on the {part} part", caption, display.figure_)


def _fold_figures(data: RunData, estimator: Any) -> list[ReportFigure]:
    """Draw the inputs that matter most, in their own units."""
    network = data.preparation.fold(estimator.network_)
    if network.n_neurons == 0:
        return []
    inputs = data.inputs[data.train]
    strongest = FoldDisplay.influential(network, inputs, _FEATURES_SHOWN)
    panels: list[int | tuple[int, int]] = [*strongest]
    if len(strongest) > 1:
        panels.append((strongest[0], strongest[1]))
    label, of = data.target, ""
    if data.task == "classification":
        label = "score"
        positive = estimator.classes_[1] if network.n_outputs == 1 else estimator.classes_[0]
        of = f" of the score of {positive!s}"
    display = FoldDisplay(network, inputs, panels, feature_names=data.preparation.inputs, output_label=label).plot()
    caption = (
        f"Partial dependence{of} along the inputs that change it most, in their own units: the exact polyline through "
        "the median row, with a dot at each fold where a neuron switches on or off, and the average over rows (dashed)."
    )
    if len(strongest) > 1:
        caption += " Last panel: the plane of the two strongest inputs; white lines are folds."
    return [ReportFigure("The learnt folds", caption, display.figure_)]

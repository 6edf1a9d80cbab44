"""Sentences and tables on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from rectifold.cli.data import RunData
from rectifold.report import FitSummary, words

__all__ = ["say", "show_data", "show_summary"]


def show_data(console: Console, data: RunData) -> None:
    """Say what was read and what is done to it."""
    held_out = f", {data.test.size} held out for testing" if data.test.size else ", none held out"
    inputs = len(data.preparation.inputs)
    say(
        console,
        f"{data.name}: {data.train.size} training rows{held_out}, {inputs} input{'' if inputs == 1 else 's'}; "
        f"{data.task} of {data.target}.",
    )
    for line in data.notes:
        say(console, line)


def show_summary(console: Console, summary: FitSummary) -> None:
    """Print the tables at the end and what they prove."""
    console.print()
    console.print(_result_table(summary))
    if summary.path:
        console.print(_path_table(summary))
    console.print(_model_table(summary))
    say(console, words.claim(summary))
    for line in words.limits_of_the_claim(summary)[1:]:
        say(console, line)


def say(console: Console, text: str) -> None:
    """Print a sentence as it stands: names of columns are not markup."""
    console.print(text, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _result_table(summary: FitSummary) -> Table:
    """Return the table of the optimisation."""
    table = Table(box=box.SIMPLE_HEAD, show_header=False, title="training", title_justify="left")
    table.add_column(style="dim")
    table.add_column(justify="right")
    rows = [
        ("alpha", words.number(summary.alpha)),
        ("objective", words.number(summary.objective, 8)),
        ("proven lower bound", words.number(summary.lower_bound, 8)),
        ("proven gap", words.percent(summary.gap)),
        ("priced gap", words.percent(summary.priced_gap)),
        ("proof", str(summary.proof)),
        ("neurons", str(summary.n_neurons)),
        ("time", words.seconds(summary.seconds)),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _path_table(summary: FitSummary) -> Table:
    """Return the table of the path."""
    table = Table(box=box.SIMPLE_HEAD, title="path (alphas fitted to the training part)", title_justify="left")
    for name in ("alpha", "objective", "proven gap", "neurons", f"train {summary.score_name}"):
        table.add_column(name, justify="right")
    if summary.n_test:
        table.add_column(f"test {summary.score_name}", justify="right")
    for row in summary.path:
        cells = [words.number(row.alpha, 4), words.number(row.objective), words.percent(row.gap), str(row.n_neurons)]
        cells += [words.score(row.train)] + ([words.score(row.test)] if summary.n_test else [])
        table.add_row(*cells)
    return table


def _model_table(summary: FitSummary) -> Table:
    """Return the comparison with other models."""
    table = Table(box=box.SIMPLE_HEAD, title="beside scikit-learn", title_justify="left")
    table.add_column("model")
    table.add_column(f"train {summary.score_name}", justify="right")
    if summary.n_test:
        table.add_column(f"test {summary.score_name}", justify="right")
    table.add_column("time", justify="right")
    for row in summary.models:
        scores = [words.score(row.train)] + ([words.score(row.test)] if summary.n_test else [])
        table.add_row(row.name, *scores, words.seconds(row.seconds))
    return table

"""``rectifold prune``: fewer neurons with the same predictions on a table, then fewer still at the least loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from rectifold import io
from rectifold.cli.model_data import read_again
from rectifold.cli.model_file import is_model_file, load_model
from rectifold.cli.preparation import Preparation
from rectifold.cli.present import say
from rectifold.cli.tables import read_source, take_target
from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.report.words import number
from rectifold.training.convex.pruning.prune import PruningResult, prune

__all__ = ["run_prune"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Subject:
    """A network with the samples that it is pruned on, and its objective as far as it is known.

    ``preparation`` scales the inputs of a network from a model file; others take the columns as they are.
    """

    network: ReLUNetwork
    inputs: Array
    targets: NDArray[Any] | None
    preparation: Preparation | None = None
    objective: dict[str, Any] = field(default_factory=dict)

    def folded(self, network: ReLUNetwork) -> ReLUNetwork:
        """Return a network that takes the columns as they are."""
        return network if self.preparation is None else self.preparation.fold(network)


def run_prune(
    network: Path,
    data: str,
    *,
    target: str | None,
    smallest: bool,
    width: int | None,
    save: Path | None,
    time_limit: float | None,
    out: Console,
) -> int:
    """Carry out ``rectifold prune`` and return the exit code.

    Raises
    ------
    ProblemError
        If network or data cannot be read or do not fit, or an option is out of range.
    UnsupportedNetworkError
        If the network does not have exactly one hidden layer.
    """
    if width is not None and width < 1:
        raise ProblemError(f"--width must be at least 1, got {width}")
    if save is not None and save.suffix.lower() not in (".npz", ".onnx"):
        raise ProblemError(f"--save writes .npz or .onnx files, not {save.name}")
    subject = _from_model(network, data) if is_model_file(network) else _from_columns(network, data, target)
    pruned = prune(
        subject.network,
        subject.inputs,
        subject.targets,
        smallest=smallest,
        continue_to=width,
        time_limit=time_limit,
        **subject.objective,
    )
    say(out, f"{network}: {pruned.given.widths[0]} neurons, judged on {len(subject.inputs)} rows of {data}.")
    out.print(_table(pruned))
    if width is not None and len(pruned.narrower):
        out.print(_narrower_table(pruned))
    if save is not None:
        kept = pruned.network if width is None else pruned.at_width(width)
        io.save(subject.folded(kept), save)
        say(out, f"network of {kept.widths[0]} neurons saved to {save}")
    return 0


def _from_model(path: Path, data: str) -> _Subject:
    """What ``rectifold fit`` saved, on the training rows of its data."""
    model = load_model(path)
    read = read_again(model, data)
    objective = {"loss": "squared" if model.task == "regression" else "logistic", "alpha": model.alpha, **model.problem}
    return _Subject(model.unfolded, read.X, read.targets, model.preparation, objective)


def _from_columns(path: Path, data: str, target: str | None) -> _Subject:
    """Any other network, whose inputs are the columns in their order."""
    network, source = io.load(path), read_source(data)
    frame, targets = source.frame, None
    name = target if target is not None else source.target
    if name is not None:
        frame, column, _, _ = take_target(source, name)
        targets = _numbers(column, name)
    if frame.shape[1] != network.n_inputs:
        raise ProblemError(
            f"{path} takes {network.n_inputs} inputs, {data} has {frame.shape[1]} columns"
            + ("" if name is None else f" besides {name!r}")
            + "; name a column that is no input with --target"
        )
    inputs = np.column_stack([_numbers(frame[column], str(column)) for column in frame.columns])
    return _Subject(network, inputs, targets if network.n_outputs == 1 else None)


def _numbers(column: pd.Series, name: str) -> Array:
    try:
        values = np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        raise ProblemError(f"column {name!r} holds text; a network takes numbers") from None
    if not np.isfinite(values).all():
        raise ProblemError(f"column {name!r} holds missing or infinite values")
    return values


def _table(pruned: PruningResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=False, title="pruning", title_justify="left")
    table.add_column(style="dim")
    table.add_column(justify="right")
    rows = [
        ("neurons", f"{pruned.given.widths[0]} -> {pruned.width}"),
        ("least width proven", str(pruned.width_bound) if pruned.width_bound else "not searched"),
        ("penalty", f"{number(pruned.given_penalty, 8)} -> {number(pruned.penalty, 8)}"),
    ]
    if np.isfinite(pruned.objective):
        rows.append(("objective", f"{number(pruned.given_objective, 8)} -> {number(pruned.objective, 8)}"))
    rows.append(("largest change of a prediction", number(pruned.fit_change, 3)))
    for row in rows:
        table.add_row(*row)
    return table


def _narrower_table(pruned: PruningResult) -> Table:
    """Widths below the minimal one, with what they cost."""
    trace = pruned.trace
    table = Table(box=box.SIMPLE_HEAD, title="below the minimal width", title_justify="left")
    columns = {"neurons": trace.width, "change of predictions, of their spread": trace.fit_error, "loss": trace.loss}
    shown = {name: values for name, values in columns.items() if not np.isnan(values).all()}
    for name in shown:
        table.add_column(name, justify="right")
    for i in np.flatnonzero([stage == "approximate" for stage in trace.stage]):
        table.add_row(*(number(float(values[i]), 4) for values in shown.values()))
    return table

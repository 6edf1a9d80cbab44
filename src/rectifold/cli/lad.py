"""``rectifold lad``: exact quantile regression on a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from rectifold import io
from rectifold.certify import Grade, verify
from rectifold.cli.data import target_values
from rectifold.cli.domain_input import parse_numbers
from rectifold.cli.monitor import ScreenMonitor
from rectifold.cli.options import check_save, check_seed, check_time_limit, check_writable
from rectifold.cli.preparation import Preparation
from rectifold.cli.present import say
from rectifold.cli.present_lad import show_path
from rectifold.cli.tables import read_source, take_target
from rectifold.core.lad import check_alpha, check_quantile
from rectifold.core.network import ReLUNetwork
from rectifold.programs.quantile_path import quantile_path

__all__ = ["LADOptions", "run_lad"]


@dataclass(frozen=True)
class LADOptions:
    """What ``rectifold lad`` was asked to do.

    Raises
    ------
    ProblemError
        If an option makes no sense, or the file to be written could not be.
    BackendNotFoundError
        If writing ONNX was asked for and onnx is missing.
    """

    data: str
    target: str | None = None
    quantile: str = "0.5"
    alpha: float = 0.0
    time_limit: float | None = None
    seed: int = 0
    save: Path | None = None

    def __post_init__(self) -> None:
        for quantile in self.quantiles:
            check_quantile(quantile)
        check_alpha(self.alpha)
        check_seed(self.seed)
        check_time_limit(self.time_limit)
        if self.save is not None:
            check_writable("--save", self.save)
            check_save(self.save)

    @property
    def quantiles(self) -> list[float]:
        """The quantiles, ascending."""
        return sorted(set(parse_numbers(self.quantile, "--quantile")))


def run_lad(options: LADOptions, out: Console, progress: Console) -> int:
    """Carry out ``rectifold lad``.

    Returns
    -------
    int
        0, or 1 if a certificate does not hold.
    """
    source = read_source(options.data)
    frame, column, target, dropped = take_target(source, options.target)
    y = np.asarray(target_values(column, target, "regression"), dtype=np.float64)
    preparation = Preparation.learn(frame, standardize=False)
    X = preparation.encode(frame)
    inputs = f"{X.shape[1]} input{'' if X.shape[1] == 1 else 's'}"
    say(out, f"{source.name}: {len(y)} rows, {inputs}; quantiles of {target}.")
    notes = [f"{dropped} rows without a value of {target} were left out."] if dropped else []
    for line in (*notes, *preparation.sentences(False if options.alpha > 0.0 else None)):
        say(out, line)
    with ScreenMonitor(progress, "quantiles", "latest") as monitor:
        path = quantile_path(
            X,
            y,
            options.quantiles,
            options.alpha,
            time_limit=options.time_limit,
            callback=monitor,
            random_state=options.seed,
        )
        spent = monitor.seconds
    verdicts = [None if r.certificate is None else verify(r, grade=Grade.INTERVAL) for r in path.results]
    show_path(out, path, preparation.inputs, verdicts, spent)
    if options.save is not None:
        io.save(ReLUNetwork([path.coef], [path.intercept]), options.save)
        say(out, f"saved to {options.save}: a network without hidden units, one output a quantile")
    return 0 if all(verdict is None or verdict.holds for verdict in verdicts) else 1

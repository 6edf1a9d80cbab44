"""What ``rectifold lad`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from rectifold.certify import Verdict
from rectifold.cli.present import say
from rectifold.core.result import Status
from rectifold.programs.quantile_path import QuantilePath
from rectifold.report.words import number, seconds

__all__ = ["show_path"]

_COEFFICIENTS_SHOWN = 40


def show_path(
    console: Console, path: QuantilePath, inputs: Sequence[str], verdicts: Sequence[Verdict | None], spent: float
) -> None:
    """Print the coefficients, one column a quantile, and what is proven of each."""
    table = Table(box=box.SIMPLE_HEAD, title="coefficients by quantile", title_justify="left")
    table.add_column("input")
    for q in path.quantiles:
        table.add_column(f"{q:g}", justify="right")
    table.add_row("(intercept)", *(number(b) for b in path.intercept))
    for name, row in list(zip(inputs, path.coef.T, strict=True))[:_COEFFICIENTS_SHOWN]:
        table.add_row(name, *(number(b) for b in row))
    if len(inputs) > _COEFFICIENTS_SHOWN:
        table.add_row(f"and {len(inputs) - _COEFFICIENTS_SHOWN} more", *("" for _ in path.quantiles), end_section=True)
    console.print()
    console.print(table)
    console.print(_proof_table(path, verdicts))
    for line in _sentences(path, verdicts):
        say(console, line)
    say(console, f"{len(path.quantiles)} quantile{'' if len(path.quantiles) == 1 else 's'} in {seconds(spent)}.")


def _proof_table(path: QuantilePath, verdicts: Sequence[Verdict | None]) -> Table:
    """Return objective and bound of each quantile."""
    table = Table(box=box.SIMPLE_HEAD, title="mean pinball loss, penalty included", title_justify="left")
    table.add_column("quantile", justify="right")
    for name in ("objective", "proven bound", "rows hit", "unique", "certificate"):
        table.add_column(name, justify="right")
    for q, result, verdict in zip(path.quantiles, path.results, verdicts, strict=True):
        model, done = result.solution, result.status is Status.OPTIMAL
        table.add_row(
            f"{q:g}",
            number(result.value, 10),
            number(result.bound, 10),
            str((model.basis >= 0).sum()) if done else "–",
            ("yes" if model.is_unique else "not proven") if done else "–",
            "none" if verdict is None else "holds" if verdict.holds else "DOES NOT HOLD",
        )
    return table


def _sentences(path: QuantilePath, verdicts: Sequence[Verdict | None]) -> list[str]:
    """Say what the words in the table mean, and why a quantile was not finished."""
    lines = []
    grades = {str(verdict.grade) for verdict in verdicts if verdict is not None and verdict.holds}
    if grades:
        lines.append(
            f"Proven (grade {', '.join(grades)}): no coefficients have an objective below the bound. "
            "It is a claim about these rows; nothing is proven about others."
        )
    unfinished = dict.fromkeys(r.status for r in path.results if r.status is not Status.OPTIMAL)
    return [*lines, *(Status(status).message for status in unfinished)]

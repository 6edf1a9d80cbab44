"""What ``rectifold minimize`` prints: the walk, the vertex where it ended, and what is proven about it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from rectifold.certify import Verdict
from rectifold.cli.minimize_options import MinimizeOptions
from rectifold.cli.present import say
from rectifold.core.domain import Domain
from rectifold.core.network import ReLUNetwork
from rectifold.programs.minimum import ActiveConstraint, LocalMinimum, MinimizationResult
from rectifold.report.words import number, seconds

__all__ = ["name_row", "show_minimum", "show_task", "vector"]

Array = NDArray[np.float64]

_MOVES_SHOWN = 12
_ACTIVE_SHOWN = 40
_TERMS_SHOWN = 4
_DECIDED = {
    "vertex": "the slopes of all edges of its vertex",
    "directional program": "a program over all directions",
    "": "–",
}


def show_task(console: Console, options: MinimizeOptions, network: ReLUNetwork, domain: Domain | None) -> None:
    """Say what is minimised over what."""
    hidden = "-".join(map(str, network.widths)) or "no"
    inputs = "1 input" if network.n_inputs == 1 else f"{network.n_inputs} inputs"
    where = "all of R^n" if domain is None else f"{len(domain.inequality_rows().limits)} inequalities"
    if domain is not None and len(domain.equality_rows().limits):
        where += f" and {len(domain.equality_rows().limits)} equalities"
    say(
        console,
        f"{options.network.name}: {inputs}, {hidden} hidden units; "
        f"{options.goal} of output {options.output} over {where}.",
    )


def show_minimum(
    console: Console,
    options: MinimizeOptions,
    domain: Domain | None,
    result: MinimizationResult,
    verdict: Verdict | None,
) -> None:
    """Print the walk to the best end, the end, its constraints and the check of its certificate."""
    best = result.minimum
    console.print()
    if len(best.values) > 1:
        console.print(_walk_table(best))
    console.print(_end_table(options, result, verdict))
    if best.active:
        console.print(_active_table(best, domain))
    say(console, f"point: {vector(best.x)}")
    if best.ray is not None:
        say(
            console,
            f"ray: {vector(best.ray)}; along it the output {'rises' if options.maximize else 'falls'} for ever.",
        )
    for line in _remarks(best):
        say(console, line)


def name_row(row: Array, limit: float) -> str:
    """Write an inequality out; a row with many terms only by its first ones."""
    used = np.flatnonzero(row)
    if len(used) == 1:
        i = int(used[0])
        return f"x{i} {'<=' if row[i] > 0.0 else '>='} {number(limit / row[i])}"
    terms = [_term(float(row[i]), int(i)) for i in used[:_TERMS_SHOWN]]
    terms += ["..."] if len(used) > _TERMS_SHOWN else []
    return f"{' + '.join(terms).replace('+ -', '- ')} <= {number(limit)}"


def _term(coefficient: float, i: int) -> str:
    sizes = {1.0: "", -1.0: "-"}
    return f"{sizes.get(coefficient, number(coefficient, 4) + ' ')}x{i}"


def vector(x: Array) -> str:
    """Write a point so that ``--start`` reads it."""
    return ",".join(f"{value:.12g}" for value in x + 0.0)


def _walk_table(best: LocalMinimum) -> Table:
    """Return the value by move, evenly thinned."""
    table = Table(box=box.SIMPLE_HEAD, title="the walk to it", title_justify="left")
    for name in ("move", "value", "from the end"):
        table.add_column(name, justify="right")
    last = len(best.values) - 1
    for i in np.unique(np.linspace(0, last, min(last + 1, _MOVES_SHOWN)).astype(int)):
        value = float(best.values[i])
        table.add_row(str(i), number(value, 10), f"{abs(value - best.values[-1]):.1e}" if i < last else "")
    return table


def _end_table(options: MinimizeOptions, result: MinimizationResult, verdict: Verdict | None) -> Table:
    """Return value, status and proof."""
    stats, best = result.stats, result.minimum
    title = f"local {options.goal}" if best.decided_by else "where it ended"
    table = Table(box=box.SIMPLE_HEAD, show_header=False, title=title, title_justify="left")
    table.add_column(style="dim")
    table.add_column()
    walks, share = f"{stats['starts']}", stats["share_at_best"]
    walks += "" if np.isnan(share) else f", of which {round(share * stats['starts'])} end here"
    rows = [
        ("value", number(result.value, 12)),
        ("status", f"{result.status}: {result.status.message}"),
        ("decided by", _DECIDED[best.decided_by]),
        ("certificate", _verdict_words(verdict)),
        ("walks", walks),
        ("vertices", f"{stats['pivots']} visited, {stats['crossings']} kinks passed on the way"),
        ("time", seconds(stats["seconds"])),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _verdict_words(verdict: Verdict | None) -> str:
    if verdict is None:
        return "none: nothing is claimed that could be re-checked"
    return f"{'holds' if verdict.holds else 'DOES NOT HOLD'} (grade {verdict.grade}): {verdict.message}"


def _active_table(best: LocalMinimum, domain: Domain | None) -> Table:
    """Return the constraints that hold with equality, the steepest first."""
    title = "what holds it there" if best.decided_by else "the vertex"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("constraint")
    table.add_column("multiplier", justify="right")
    table.add_column("other side", justify="right")
    order = sorted(best.active, key=lambda c: -c.slope)
    for constraint in order[:_ACTIVE_SHOWN]:
        other = number(constraint.opposite_slope) if np.isfinite(constraint.opposite_slope) else "–"
        table.add_row(_constraint_words(constraint, domain), number(constraint.slope), other)
    if len(order) > _ACTIVE_SHOWN:
        table.add_row(f"and {len(order) - _ACTIVE_SHOWN} more", "", "")
    return table


def _constraint_words(constraint: ActiveConstraint, domain: Domain | None) -> str:
    if constraint.kind == "unit":
        return f"kink of unit {constraint.index} in hidden layer {constraint.layer}"
    if constraint.kind == "row" and domain is not None:
        G, h = domain.rows()
        return f"row {constraint.index}: {name_row(G[constraint.index], float(h[constraint.index]))}"
    return f"{constraint.kind} {constraint.index}"


def _remarks(best: LocalMinimum) -> list[str]:
    lines = []
    if len(best.flat_edges):
        lines.append(f"It is not strict: the output stays the same along {len(best.flat_edges)} of its edges.")
    if len(best.invariant):
        lines.append(
            f"Nothing changes along {len(best.invariant)} directions, so there is a whole flat of such points."
        )
    if len(best.degenerate):
        lines.append(f"The vertex is degenerate: {len(best.degenerate)} further constraints are at zero.")
    return lines

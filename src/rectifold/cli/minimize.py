"""``rectifold minimize``: walk to a local minimum of a saved network, check its certificate, show and save it."""

from __future__ import annotations

from rich.console import Console

from rectifold import io
from rectifold.certify import Verdict, verify
from rectifold.cli.domain_input import parse_box, parse_points, read_polytope
from rectifold.cli.minimize_options import MinimizeOptions
from rectifold.cli.minimum_file import save_minimum
from rectifold.cli.monitor import ScreenMonitor
from rectifold.cli.present import say
from rectifold.cli.present_minimum import show_minimum, show_task
from rectifold.core.domain import Domain
from rectifold.programs.minimize import maximize, minimize
from rectifold.programs.minimum import MinimizationResult

__all__ = ["run_minimize"]


def run_minimize(options: MinimizeOptions, out: Console, progress: Console) -> int:
    """Carry out ``rectifold minimize``.

    Parameters
    ----------
    out : Console
        Gets sentences and tables.
    progress : Console
        Gets the moving line.

    Returns
    -------
    int
        0, or 1 if the certificate does not hold.
    """
    network = io.load(options.network)
    domain = _domain(options, network.n_inputs)
    x0 = None if options.start is None else parse_points(options.start, network.n_inputs)
    run = maximize if options.maximize else minimize
    show_task(out, options, network, domain)
    with ScreenMonitor(progress, "walking", "highest" if options.maximize else "lowest") as monitor:
        result = run(
            network,
            domain,
            output=options.output,
            x0=x0,
            n_starts=options.starts,
            time_limit=options.time_limit,
            callback=monitor,
            random_state=options.seed,
        )
    verdict = _check(result)
    show_minimum(out, options, domain, result, verdict)
    if options.save is not None:
        save_minimum(options.save, result)
        say(out, f"saved to {options.save}" + (f"; rectifold verify {options.save} checks it" if verdict else ""))
    return 1 if verdict is not None and not verdict.holds else 0


def _domain(options: MinimizeOptions, n_inputs: int) -> Domain | None:
    """Return the domain: the box, the polytope, what they have in common, or None for all of R^n."""
    box = None if options.box is None else parse_box(options.box, n_inputs)
    return box if options.polytope is None else read_polytope(options.polytope, n_inputs, box)


def _check(result: MinimizationResult) -> Verdict | None:
    return None if result.certificate is None else verify(result)

"""The command line: ``rectifold fit``, ``lad``, ``minimize``, ``prune``, ``verify`` and ``version``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from rectifold._versions import __version__, show_versions
from rectifold.core.errors import ProblemError

__all__ = ["app", "run"]

app = App(
    name="rectifold",
    help="Train a ReLU network to the best optimum that can be found, and say how far it can be from the global one; "
    "minimise any ReLU network over a box or a polytope; fit quantiles exactly.",
    version=__version__,
)


@app.command
def fit(
    data: str,
    /,
    *,
    target: str | None = None,
    alpha: str = "auto",
    path: Annotated[bool, Parameter(negative="")] = False,
    classify: Annotated[bool, Parameter(negative="")] = False,
    report: Path | None = None,
    save: Path | None = None,
    time_limit: float | None = None,
    max_work: float | None = None,
    standardize: bool = True,
    test_size: float = 0.2,
    seed: int = 0,
) -> int:
    """Train a two-layer ReLU network on a table, and compare it with scikit-learn's models.

    Ctrl-C stops with the best network so far and its bound; a second Ctrl-C aborts.

    Parameters
    ----------
    data
        A CSV or Parquet file, or a built-in data set: diabetes, breast_cancer, wine, digits.
    target
        The column to predict; built-in data sets know theirs.
    alpha
        Weight of the penalty, or 'auto': chosen by 5-fold cross-validation on the training part.
    path
        Also fit a grid of alphas to the whole training part and show it; alpha is chosen as with 'auto'.
    classify
        Predict classes instead of numbers.
    report
        Write a self-contained HTML report to this file.
    save
        Write the network to this .npz (with all that 'verify' needs) or .onnx file.
    time_limit
        Seconds for the choice of alpha and the training together.
    max_work
        Effort of the proof, in samples visited (default 5e9, about 10 s); 0 for the cheap bound only.
    standardize
        Scale every input to mean 0 and deviation 1 on the training part; folded into the saved network.
    test_size
        Share of the rows held out for testing; 0 for none.
    seed
        Seed of the split, the folds and the search.
    """
    from rectifold.cli.fit import run_fit
    from rectifold.cli.options import FitOptions

    options = FitOptions(
        data=data,
        target=target,
        alpha=alpha,
        path=path,
        classify=classify,
        report=report,
        save=save,
        time_limit=time_limit,
        max_work=max_work,
        standardize=standardize,
        test_size=test_size,
        seed=seed,
    )
    return run_fit(options, Console(), Console(stderr=True))


@app.command
def lad(
    data: str,
    /,
    *,
    target: str | None = None,
    quantile: str = "0.5",
    alpha: float = 0.0,
    time_limit: float | None = None,
    seed: int = 0,
    save: Path | None = None,
) -> int:
    """Fit quantiles of a column linearly and exactly: least absolute deviations, or any other quantile.

    All rows are used. Ctrl-C stops with the coefficients so far; a second Ctrl-C aborts. The exit code is 1 if a
    certificate that comes out does not hold.

    Parameters
    ----------
    data
        A CSV or Parquet file, or a built-in data set: diabetes.
    target
        The column to predict; built-in data sets know theirs.
    quantile
        One quantile, or several with commas; 0.5 is the median.
    alpha
        Weight of the sum of the absolute coefficients.
    time_limit
        Seconds for all quantiles together.
    seed
        Seed of the samples that are solved first; matters only where the optimum is not unique.
    save
        Write the linear functions to this .npz or .onnx file, as a network without hidden units.
    """
    from rectifold.cli.lad import LADOptions, run_lad

    return run_lad(LADOptions(data, target, quantile, alpha, time_limit, seed, save), Console(), Console(stderr=True))


@app.command
def minimize(
    network: Path,
    /,
    *,
    box: Annotated[tuple[str, str] | None, Parameter(allow_leading_hyphen=True, negative="")] = None,
    polytope: Path | None = None,
    output: int = 0,
    maximize: Annotated[bool, Parameter(negative="")] = False,
    start: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    starts: int | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    save: Path | None = None,
) -> int:
    """Find a local minimum of one output of a saved network, at a vertex and with its proof.

    Ctrl-C stops with the lowest point so far; a second Ctrl-C aborts. The exit code is 1 if the certificate that comes
    out does not hold.

    Parameters
    ----------
    network
        An .npz or .onnx file; what 'rectifold fit --save' writes is one.
    box
        Lower and upper bound of the inputs: two numbers, or two lists with commas. Without a domain most networks fall
        for ever.
    polytope
        An .npz file with A, b (and A_eq, b_eq), or text with a row 'a1 ... an b' for each a x <= b. With --box, what
        both have in common.
    output
        Which output, counted from 0.
    maximize
        Find a maximum instead.
    start
        A point to walk down from, as numbers with commas, or a file with one point a row.
    starts
        How many starts in all (default 20, or the given ones); further ones are drawn at random.
    time_limit
        Seconds.
    seed
        Seed of the random starts.
    save
        Write the point, the walk and the certificate to this .npz file.
    """
    from rectifold.cli.minimize import run_minimize
    from rectifold.cli.minimize_options import MinimizeOptions

    options = MinimizeOptions(
        network=network,
        box=box,
        polytope=polytope,
        output=output,
        maximize=maximize,
        start=start,
        starts=starts,
        time_limit=time_limit,
        seed=seed,
        save=save,
    )
    return run_minimize(options, Console(), Console(stderr=True))


@app.command
def verify(model: Path, data: str | None = None, /) -> int:
    """Check the claim of a saved network or minimum anew, with code that shares nothing with the solvers.

    The exit code is 0 if the claim holds and 1 if it does not.

    Parameters
    ----------
    model
        The .npz file written by 'rectifold fit --save' or 'rectifold minimize --save', or a saved certificate.
    data
        For a fitted network the data it was trained on: the same file or built-in name.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if data is None:
        from rectifold.cli.verify_certificate import run_verify_certificate

        return run_verify_certificate(model, console)
    from rectifold.cli.verify import run_verify

    return run_verify(model, data, console)


@app.command
def prune(
    network: Path,
    data: str,
    /,
    *,
    target: str | None = None,
    smallest: Annotated[bool, Parameter(negative="")] = False,
    width: int | None = None,
    save: Path | None = None,
    time_limit: float | None = None,
) -> int:
    """Leave out neurons of a two-layer network that its predictions on a table do not need.

    No prediction changes and the penalty does not rise, unless --width asks for fewer neurons than that allows.

    Parameters
    ----------
    network
        A file written by 'rectifold fit --save model.npz', or any .npz or .onnx network with one hidden layer.
    data
        A CSV or Parquet file, or a built-in data set: that of the fit, or one whose columns are the network's inputs.
    target
        A column that is no input; if it holds numbers the squared loss is reported.
    smallest
        Search for the least width there is, with a proof or a bound.
    width
        Go on below the minimal width, down to this many neurons, by least-squares correction.
    save
        Write the pruned network to this .npz or .onnx file.
    time_limit
        Seconds for --smallest.
    """
    from rectifold.cli.prune import run_prune

    return run_prune(
        network,
        data,
        target=target,
        smallest=smallest,
        width=width,
        save=save,
        time_limit=time_limit,
        out=Console(),
    )


@app.command
def version() -> int:
    """Print the versions of rectifold and of what it stands on."""
    show_versions()
    return 0


def run(arguments: list[str]) -> int:
    """Parse a command line and run it; a line that cannot be parsed is a `ProblemError`."""
    try:
        command, bound, _ = app.parse_args(
            arguments, console=Console(file=sys.stdout), exit_on_error=False, print_error=False
        )
    except CycloptsError as error:
        raise ProblemError(_plain(error)) from None
    code = command(*bound.args, **bound.kwargs)
    return code if isinstance(code, int) else 0


def _plain(error: CycloptsError) -> str:
    """Return the message of a parsing error without decoration."""
    return f"{error} (see rectifold --help)"

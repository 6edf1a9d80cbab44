"""The ``rectifold`` command; importing it needs nothing beyond the base install."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rectifold.core.errors import RectifoldError

__all__ = ["main"]

_EXTRA = {"cyclopts", "jinja2", "matplotlib", "pandas", "pyarrow", "rich"}
_PIP_LINE = "pip install 'rectifold[cli]'"
BAD_INPUT, INTERNAL, ABORTED = 2, 70, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program's name; default ``sys.argv[1:]``.

    Returns
    -------
    int
        0 when done (``verify``: when the claim holds), 1 when a claim does not hold, 2 for bad input or a missing
        package, 70 for a fault of the program itself, 130 when aborted by a second Ctrl-C. Errors are one line on
        standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        from rectifold.cli.app import run
    except ModuleNotFoundError as error:
        return _complain(f"the command needs {_missing_package(error)}: {_PIP_LINE}")
    try:
        return run(list(sys.argv[1:] if arguments is None else arguments))
    except RectifoldError as error:
        return _complain(str(error))
    except ModuleNotFoundError as error:
        return _complain(f"this needs {_missing_package(error)}: {_PIP_LINE}")
    except MemoryError:
        return _complain("out of memory")
    except BrokenPipeError:
        return ABORTED
    except KeyboardInterrupt:
        print("rectifold: aborted", file=sys.stderr)
        return ABORTED
    except Exception as error:
        if os.environ.get("RECTIFOLD_TRACEBACK"):
            raise
        _complain(f"internal: {type(error).__name__}: {error} (please report it; RECTIFOLD_TRACEBACK=1 shows where)")
        return INTERNAL


def _missing_package(error: ModuleNotFoundError) -> str:
    """Return the package of the extra that is missing; anything else that is missing is a broken install."""
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRA:
        raise error
    return package


def _complain(message: str) -> int:
    """Print one line of error and return the exit code of bad input."""
    print(f"rectifold: error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT

"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from rectifold.core.errors import BackendNotFoundError, ProblemError
from rectifold.report import words
from rectifold.report.figures import ReportFigure, inline_svg
from rectifold.report.summary import FitSummary

__all__ = ["render_report", "write_report"]


def render_report(summary: FitSummary, figures: Sequence[ReportFigure] = ()) -> str:
    """Return the report as HTML text.

    Parameters
    ----------
    summary : FitSummary
    figures : sequence of ReportFigure

    Raises
    ------
    BackendNotFoundError
        If jinja2 is missing.
    """
    jinja2 = _import_jinja2()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": words.number,
        "percent": words.percent,
        "score": words.score,
        "seconds": words.seconds,
    }
    source = resources.files("rectifold.report").joinpath("template.html").read_text(encoding="utf-8")
    drawn = [{"title": f.title, "caption": f.caption, "svg": inline_svg(f.figure, f.title)} for f in figures]
    text: str = environment.from_string(source).render(
        s=summary, figures=drawn, claim=words.claim(summary), limits=words.limits_of_the_claim(summary)
    )
    return text


def write_report(path: str | os.PathLike[str], summary: FitSummary, figures: Sequence[ReportFigure] = ()) -> None:
    """Render the report and write it in one step: a reader sees the old file or the whole new one.

    Raises
    ------
    ProblemError
        If the file cannot be written.
    BackendNotFoundError
        If jinja2 is missing.
    """
    text, target = render_report(summary, figures), Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ProblemError(f"cannot write the report {target}: {error.strerror or error}") from error


def _import_jinja2() -> Any:
    """Import jinja2, or say how to get it."""
    try:
        import jinja2
    except ImportError as error:
        raise BackendNotFoundError("the report needs jinja2: pip install 'rectifold[cli]'") from error
    return jinja2

"""The one door to matplotlib, and the colours every display shares."""

from __future__ import annotations

from typing import Any

from rectifold.core.errors import BackendNotFoundError

__all__ = ["ACCENT", "AVERAGE", "DIVERGING", "MUTED", "SECOND", "SEQUENTIAL", "import_pyplot", "label", "new_axes"]

ACCENT = "#2f7ed8"
SECOND = "#e0762a"
AVERAGE = "#3fa66b"
MUTED = "#8a8f98"
DIVERGING = "RdBu_r"
SEQUENTIAL = "viridis"
_LONGEST_LABEL = 28


def import_pyplot() -> Any:
    """Import ``matplotlib.pyplot``, or say how to get it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise BackendNotFoundError("plots need matplotlib: pip install 'rectifold[cli]'") from error
    return pyplot


def new_axes(ax: Any = None, *, figsize: tuple[float, float] = (6.0, 4.0)) -> tuple[Any, Any]:
    """Return (figure, axes): those of `ax`, or fresh ones."""
    pyplot = import_pyplot()
    if ax is not None:
        return ax.figure, ax
    figure, axes = pyplot.subplots(figsize=figsize, layout="constrained")
    return figure, axes


def label(name: object) -> str:
    """Return a name from the data as it may stand in a plot: not too long, and a dollar sign is no formula."""
    text = str(name)
    if len(text) > _LONGEST_LABEL:
        text = text[: _LONGEST_LABEL - 1] + "…"
    return text.replace("$", r"\$")

"""Matplotlib figures as SVG that lives inside a page: no fetches, and text in the page's colour."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from html import escape
from typing import Any

__all__ = ["ReportFigure", "inline_svg"]

_PIXELS_PER_INCH = 96.0
_READABLE = 0.6
"""A plot is not shrunk below this share of its size; narrow screens scroll it."""


@dataclass(frozen=True, eq=False)
class ReportFigure:
    """A matplotlib figure with its title and a sentence on how to read it."""

    title: str
    caption: str
    figure: Any


def inline_svg(figure: Any, title: str) -> str:
    """Return a figure as one ``<svg>`` element.

    Black turns into ``currentColor`` so that the page's light or dark theme decides; metadata and namespaces, which
    hold addresses, are dropped (HTML needs neither). Identifiers are made unique by the title.
    """
    from matplotlib import rc_context

    salt = hashlib.sha256(title.encode()).hexdigest()[:12]
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r"(fill|stroke): ?#000000", r"\1: currentColor", svg)
    svg = re.sub(r'\bid="((?:figure|axes|patch|line2d|text|matplotlib|xtick|ytick)[^"]*)"', "", svg)
    width = figure.get_size_inches()[0] * _PIXELS_PER_INCH
    style = f"max-width:{width:.0f}px;min-width:{min(_READABLE * width, 640):.0f}px"
    attributes = f'role="img" aria-label="{escape(title, quote=True)}" style="{style}"'
    return _without_size(svg).replace("<svg", f"<svg {attributes}", 1)


def _without_size(svg: str) -> str:
    """Drop width and height of the root element; its viewBox stays."""
    head, rest = svg.split(">", 1)
    return re.sub(r'\s+(width|height)="[^"]*"', "", head) + ">" + rest

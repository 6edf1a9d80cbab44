"""Cells of arrangements and margins of signed rows: the compiled loops, or their numpy twins in a pure build."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["CellWalk", "max_margins"]

_COMPILED = "rectifold._kernels._compiled"

try:
    _home = import_module(_COMPILED)
except ModuleNotFoundError as error:  # a broken extension raises something else, and must not pass for a pure build
    if error.name != _COMPILED:
        raise
    _home = import_module("rectifold._kernels.reference.arrangement")

CellWalk: Any = _home.CellWalk
max_margins: Any = _home.max_margins

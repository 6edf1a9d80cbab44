"""Cells of arrangements and margins of signed rows: the compiled loops, or their numpy twins in a pure build."""

from __future__ import annotations

from typing import Any

from rectifold._kernels.home import home

__all__ = ["CellWalk", "max_margins"]

_home = home("arrangement")

CellWalk: Any = _home.CellWalk
max_margins: Any = _home.max_margins

"""The vertex walk of LAD and quantile regression: the compiled loop, or its numpy twin in a pure build."""

from __future__ import annotations

from typing import Any

from rectifold._kernels.home import home

__all__ = ["LADWalk"]

_home = home("lad")

LADWalk: Any = _home.LADWalk

"""The vertex walk of LAD and quantile regression: the compiled loop, or its numpy twin in a pure build."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["LADWalk"]

_COMPILED = "rectifold._kernels._compiled"

try:
    _home = import_module(_COMPILED)
except ModuleNotFoundError as error:  # a broken extension raises something else, and must not pass for a pure build
    if error.name != _COMPILED:
        raise
    _home = import_module("rectifold._kernels.reference.lad")

LADWalk: Any = _home.LADWalk

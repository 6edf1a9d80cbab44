"""Where a kernel lives: in the compiled module, or in its numpy twin in a pure build."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

__all__ = ["COMPILED", "home"]

_EXTENSION = "rectifold._kernels._compiled"

COMPILED: bool = find_spec(_EXTENSION) is not None


def home(twin: str) -> ModuleType:
    """Return the compiled module, or the reference module of this name where there is none.

    A broken extension raises its own error: it must not pass for a pure build.
    """
    return import_module(_EXTENSION if COMPILED else f"rectifold._kernels.reference.{twin}")

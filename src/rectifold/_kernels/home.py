"""Where a kernel lives: in the compiled module, or in its numpy twin in a pure build."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = ["home"]

_COMPILED = "rectifold._kernels._compiled"


def home(twin: str) -> ModuleType:
    """Return the compiled module, or the reference module of this name where there is none.

    A broken extension raises its own error: it must not pass for a pure build.
    """
    try:
        return import_module(_COMPILED)
    except ModuleNotFoundError as error:
        if error.name != _COMPILED:
            raise
        return import_module(f"rectifold._kernels.reference.{twin}")

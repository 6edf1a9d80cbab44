"""Loading optional packages on first use."""

from __future__ import annotations

import importlib
from typing import Any

from rectifold.core.errors import BackendNotFoundError

__all__ = ["require"]


def require(module: str, extra: str) -> Any:
    """Import an optional module, or say how to install it.

    Raises
    ------
    BackendNotFoundError
        If it cannot be imported; the message names the extra of rectifold that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise BackendNotFoundError(
            f'this needs the package {package}; install it with: pip install "rectifold[{extra}]"', name=package
        ) from error

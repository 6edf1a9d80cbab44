"""Which versions are at work, and whether the kernels are compiled."""

from __future__ import annotations

import platform
import sys
from importlib import import_module, metadata

__version__ = metadata.version("rectifold")

_REQUIRED = ("numpy", "scipy", "highspy", "scikit-learn")
_OPTIONAL = ("clarabel", "cyclopts", "matplotlib", "onnx", "pandas", "torch")


def show_versions() -> None:
    """Print the versions of rectifold and of what it stands on, and which kernels are in use.

    The kernels are ``compiled`` (C++), or ``pure`` (their numpy twins) in a build made with
    ``RECTIFOLD_NO_EXTENSION=1``.
    """
    rows = {"rectifold": __version__, "kernels": kernels(), "python": sys.version.split()[0]}
    rows |= {name: _version(name) for name in (*_REQUIRED, *_OPTIONAL)}
    rows["platform"] = platform.platform()
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")


def kernels() -> str:
    """``"compiled"`` or ``"pure"``.

    Raises
    ------
    ImportError
        The compiled module is installed but cannot be loaded: a broken build must not pass for a pure one.
    """
    name = "rectifold._kernels._compiled"
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return "pure"
    return "compiled"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"

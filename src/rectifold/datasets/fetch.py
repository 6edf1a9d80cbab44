"""Where a data file lies: a local folder first, else a download that must match its checksum."""

from __future__ import annotations

import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from rectifold.core.errors import BackendNotFoundError, ProblemError

__all__ = ["DATA_HOME_VARIABLE", "data_home_folder", "fetch", "registered"]

DATA_HOME_VARIABLE = "RECTIFOLD_DATA"


def data_home_folder(data_home: str | os.PathLike[str] | None) -> Path | None:
    """Return the local data folder: the argument, else the environment variable RECTIFOLD_DATA, else None."""
    value = data_home if data_home is not None else os.environ.get(DATA_HOME_VARIABLE)
    return Path(value).expanduser() if value else None


@cache
def _registry() -> dict[str, tuple[str, str]]:
    """Return name -> (sha256, url) of every downloadable file."""
    text = resources.files("rectifold.datasets").joinpath("registry.txt").read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {name: (checksum, url) for name, checksum, url in rows}


def registered(prefix: str) -> tuple[str, ...]:
    """Return the names of the downloadable files that start with `prefix`, in order."""
    return tuple(sorted(name for name in _registry() if name.startswith(prefix)))


def fetch(name: str, data_home: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of a data file, downloading it if no local folder has it.

    Parameters
    ----------
    name : str
        Relative name such as ``"uci/airfoil.csv.gz"``.
    data_home : path, optional
        Folder searched first; default the environment variable ``RECTIFOLD_DATA``.

    Raises
    ------
    ProblemError
        If the file is nowhere, or the download fails or does not match its checksum.
    BackendNotFoundError
        If a download is needed and pooch is missing.
    """
    folder = data_home_folder(data_home)
    if folder is not None and (folder / name).is_file():
        return folder / name
    if name not in _registry():
        no_folder = f"no local folder was given (data_home or {DATA_HOME_VARIABLE})"
        where = no_folder if folder is None else f"{folder} has no {name}"
        raise ProblemError(f"{name} cannot be downloaded, and {where}")
    return _download(name)


def _download(name: str) -> Path:
    """Download through pooch's cache and check the SHA-256."""
    pooch = _import_pooch()
    checksum, url = _registry()[name]
    folder = Path(pooch.os_cache("rectifold")) / Path(name).parent
    try:
        return Path(pooch.retrieve(url, known_hash=f"sha256:{checksum}", fname=Path(name).name, path=folder))
    except Exception as error:  # pooch raises whatever its downloader or the network does
        raise ProblemError(f"could not download {name} from {url}: {error}") from error


def _import_pooch() -> Any:
    """Import pooch, or say how to get it."""
    try:
        import pooch
    except ImportError as error:
        raise BackendNotFoundError("downloading data needs pooch: pip install 'rectifold[datasets]'") from error
    return pooch

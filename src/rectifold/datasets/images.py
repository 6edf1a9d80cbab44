"""Grey test images of compressed sensing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import BackendNotFoundError, ProblemError
from rectifold.datasets.fetch import fetch, registered

__all__ = ["load_images"]


def load_images(
    name: Literal["set11", "bsd68"], data_home: str | os.PathLike[str] | None = None
) -> dict[str, NDArray[np.uint8]]:
    """Load a set of grey images.

    Parameters
    ----------
    name : {"set11", "bsd68"}
        11 images of 256x256 or 512x512, or 68 of 321x481 or 481x321. Both sets are for research use.
    data_home : path, optional
        Folder with ``set11/*.tif`` and ``bsd68/*.png``; default the environment variable ``RECTIFOLD_DATA``.

    Returns
    -------
    dict of str to ndarray of uint8
        Image name (without ending) to pixels, in the order of the file names.

    Raises
    ------
    ProblemError
        If the name is unknown, or a file is missing, unreadable or fails its checksum.
    BackendNotFoundError
        If Pillow is missing, or a download is needed and pooch is missing.
    """
    files = registered(f"{name}/")
    if not files:
        raise ProblemError(f"no image set {name!r}; there are set11, bsd68")
    return {Path(file).stem: _read_grey(fetch(file, data_home)) for file in files}


def _read_grey(path: Path) -> NDArray[np.uint8]:
    """Read one grey image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise BackendNotFoundError("reading images needs Pillow: pip install pillow") from error
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"), dtype=np.uint8)
    except OSError as error:
        raise ProblemError(f"{path.name} is not a readable image: {error}") from error

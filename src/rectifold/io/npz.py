"""Networks in numpy's ``.npz`` container: the native format, exact to the bit, with room for metadata.

Keys: ``n_layers``; ``W0``, ``b0``, ... per layer; ``slope_lo0``, ``slope_hi0``, ... per hidden layer (absent: ReLU).
Metadata: arrays under ``extra/NAME``, networks under ``extra/NAME/W0`` and so on, everything else as JSON.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.io._files import as_path, read_bytes, write_atomically

__all__ = ["load_npz", "save_npz"]

FORMAT = "rectifold.network/1"
EXTRA = "extra/"
JSON_KEY = "extra_json"

Arrays = dict[str, NDArray[Any]]


def save_npz(net: ReLUNetwork, path: str | os.PathLike[str], extra: Mapping[str, Any] | None = None) -> None:
    """Write a network, and metadata if given, to an ``.npz`` file, all or nothing.

    Parameters
    ----------
    net : ReLUNetwork
    path : path-like
        Used as it stands: no suffix is added.
    extra : mapping of str to ndarray, ReLUNetwork or JSON-able value, optional
        Names must not contain ``/``. Arrays keep their dtype and bits; object arrays are refused.
        Tuples come back as lists, and keys of nested mappings as strings.

    Raises
    ------
    ProblemError
        If the metadata cannot be stored or the file cannot be written.
    """
    if not isinstance(net, ReLUNetwork):
        raise ProblemError(f"can only save a ReLUNetwork, got {type(net).__name__}")
    arrays: Arrays = {"format": np.array(FORMAT), **_network_arrays(net, ""), **_extra_arrays(extra or {})}
    write_atomically(as_path(path), lambda stream: np.savez(stream, **arrays))  # type: ignore[arg-type]


@overload
def load_npz(path: str | os.PathLike[str], with_extra: Literal[False] = False) -> ReLUNetwork: ...
@overload
def load_npz(path: str | os.PathLike[str], with_extra: Literal[True]) -> tuple[ReLUNetwork, dict[str, Any]]: ...
def load_npz(
    path: str | os.PathLike[str], with_extra: bool = False
) -> ReLUNetwork | tuple[ReLUNetwork, dict[str, Any]]:
    """Read a network written by `save_npz`, or any ``.npz`` with ``n_layers``, ``W0``, ``b0``, ...

    Parameters
    ----------
    path : path-like
    with_extra : bool, default False
        Also return the metadata; entries of a foreign file that are no part of the network count as such.

    Returns
    -------
    ReLUNetwork, or (ReLUNetwork, dict)

    Raises
    ------
    ProblemError
        If the file cannot be read, is no ``.npz`` or holds no network.
    """
    file = as_path(path)
    arrays = _read_arrays(read_bytes(file), str(file))
    if "n_layers" not in arrays:
        raise ProblemError(f"{file} holds no network: the entry n_layers is missing")
    network = _take_network(arrays, "", str(file))
    return (network, _take_extra(arrays, str(file))) if with_extra else network


def _network_arrays(net: ReLUNetwork, prefix: str) -> Arrays:
    """Return the entries of one network; slopes only where they are not those of ReLU."""
    arrays: Arrays = {f"{prefix}n_layers": np.array(len(net.weights))}
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        arrays[f"{prefix}W{i}"], arrays[f"{prefix}b{i}"] = weight, bias
    for i, (lo, hi) in enumerate(net.slopes):
        if lo.any() or (hi != 1.0).any():
            arrays[f"{prefix}slope_lo{i}"], arrays[f"{prefix}slope_hi{i}"] = lo, hi
    return arrays


def _extra_arrays(extra: Mapping[str, Any]) -> Arrays:
    """Return the entries of the metadata."""
    arrays: Arrays = {}
    plain: dict[str, Any] = {}
    for name, value in extra.items():
        if not name or "/" in name:
            raise ProblemError(f"metadata names are non-empty strings without '/', got {name!r}")
        if isinstance(value, ReLUNetwork):
            arrays.update(_network_arrays(value, f"{EXTRA}{name}/"))
        elif isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise ProblemError(f"metadata {name!r} is an array of objects, which cannot be stored")
            arrays[EXTRA + name] = value
        else:
            plain[name] = value
    if plain:
        try:
            arrays[JSON_KEY] = np.array(json.dumps(plain, default=_plain_scalar))
        except (TypeError, ValueError) as error:
            raise ProblemError(f"metadata cannot be stored as JSON: {error}") from error
    return arrays


def _plain_scalar(value: Any) -> Any:
    """Turn a numpy scalar into Python's own; JSON knows no other."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} is neither an array, a network nor JSON-able")


def _read_arrays(data: bytes, name: str) -> Arrays:
    """Decode the container without ever unpickling."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ProblemError(f"{name} is not a readable .npz file ({error})") from error


def _take_network(arrays: Arrays, prefix: str, name: str) -> ReLUNetwork:
    """Remove one network's entries from ``arrays`` and build it."""
    count = arrays.pop(f"{prefix}n_layers")
    if count.shape != () or count.dtype.kind not in "iu" or count < 1:
        raise ProblemError(f"{name}: {prefix}n_layers must be a positive integer")
    try:
        weights = [arrays.pop(f"{prefix}W{i}") for i in range(int(count))]
        biases = [arrays.pop(f"{prefix}b{i}") for i in range(int(count))]
    except KeyError as error:
        raise ProblemError(f"{name}: the entry {error} is missing") from error
    slopes = [
        (arrays.pop(f"{prefix}slope_lo{i}", np.zeros(())), arrays.pop(f"{prefix}slope_hi{i}", np.ones(())))
        for i in range(int(count) - 1)
    ]
    return ReLUNetwork(weights, biases, slopes)


def _take_extra(arrays: Arrays, name: str) -> dict[str, Any]:
    """Return the metadata from what the network left."""
    arrays.pop("format", None)
    extra: dict[str, Any] = {}
    if JSON_KEY in arrays:
        try:
            extra.update(json.loads(str(arrays.pop(JSON_KEY))))
        except (ValueError, TypeError) as error:
            raise ProblemError(f"{name}: unreadable metadata ({error})") from error
    suffix = "/n_layers"
    for key in [key for key in arrays if key.startswith(EXTRA) and key.endswith(suffix)]:
        extra[key[len(EXTRA) : -len(suffix)]] = _take_network(arrays, key[: -len(suffix) + 1], name)
    extra.update({key.removeprefix(EXTRA): array for key, array in arrays.items()})
    return extra

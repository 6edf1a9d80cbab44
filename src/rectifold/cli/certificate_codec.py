"""Certificates as plain data: a tree of names and hexadecimal floats, and a list of arrays beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core import certificate as certificates
from rectifold.core.certificate import TrainingCertificate
from rectifold.core.errors import CertificateError
from rectifold.core.network import ReLUNetwork
from rectifold.core.rounding import DyadicArray

__all__ = ["decode_certificate", "encode_certificate"]

_TYPES: dict[str, type] = {
    DyadicArray.__name__: DyadicArray,
    **{name: kind for name, kind in vars(certificates).items() if isinstance(kind, type) and is_dataclass(kind)},
}


def encode_certificate(certificate: TrainingCertificate) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return (tree, arrays) of a certificate without its problem's data.

    Raises
    ------
    CertificateError
        If it holds something that is not certificate data.
    """
    arrays: list[NDArray[Any]] = []
    tree: dict[str, Any] = _encode(certificate.without_data(), arrays)
    return tree, arrays


def decode_certificate(tree: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> TrainingCertificate:
    """Undo `encode_certificate`; `verify` then needs the problem.

    Raises
    ------
    CertificateError
        If the tree is malformed.
    """
    try:
        decoded = _decode(tree, arrays)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise CertificateError(f"the certificate is malformed: {error}") from error
    if not isinstance(decoded, TrainingCertificate):
        raise CertificateError("the certificate is malformed: it is no training certificate")
    return decoded


def _encode(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """Encode one value, moving arrays out."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, ReLUNetwork):
        weights = [_encode(weight, arrays) for weight in value.weights]
        return {"network": weights, "biases": [_encode(bias, arrays) for bias in value.biases]}
    if is_dataclass(value) and type(value).__name__ in _TYPES:
        parts = {f.name: _encode(getattr(value, f.name), arrays) for f in fields(value)}
        return {"type": type(value).__name__, "fields": parts}
    if isinstance(value, tuple | list):
        return {"tuple": [_encode(part, arrays) for part in value]}
    if isinstance(value, float):
        return {"float": float(value).hex()}
    if value is None or isinstance(value, str | int):
        return value
    raise CertificateError(f"a certificate cannot hold a {type(value).__name__}")


def _decode(node: Any, arrays: Sequence[NDArray[Any]]) -> Any:
    """Decode one value."""
    if not isinstance(node, Mapping):
        return node
    if "array" in node:
        return arrays[node["array"]]
    if "network" in node:
        weights = [_decode(part, arrays) for part in node["network"]]
        return ReLUNetwork(weights, [_decode(part, arrays) for part in node["biases"]])
    if "tuple" in node:
        return tuple(_decode(part, arrays) for part in node["tuple"])
    if "float" in node:
        return float.fromhex(node["float"])
    return _TYPES[node["type"]](**{name: _decode(part, arrays) for name, part in node["fields"].items()})

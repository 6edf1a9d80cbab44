"""Certificates whose fields are numbers, arrays, networks and domains, as named arrays and back.

Training certificates, whose evidence is a tree, have a format of their own in `rectifold.core.certificate_format`; as
there, the entry ``json`` holds everything small as UTF-8 text, floats in hex, and the others are plain arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from rectifold.core.certificate import ConvexMinimumCertificate, LocalMinimumCertificate
from rectifold.core.domain import Box, Polytope
from rectifold.core.errors import CertificateError
from rectifold.core.lad import LADCertificate, LADProblem
from rectifold.core.layer_l1 import L1Problem, LayerMinimumCertificate, OutputLayerCertificate
from rectifold.core.network import ReLUNetwork

__all__ = ["FORMAT", "FieldCertificate", "from_arrays", "to_arrays"]

Arrays = dict[str, NDArray[Any]]
OfMinimum = LocalMinimumCertificate | ConvexMinimumCertificate
OfData = LADCertificate | LayerMinimumCertificate | OutputLayerCertificate
FieldCertificate = OfMinimum | OfData

FORMAT = "rectifold-certificate/1"
_KINDS: dict[str, type[FieldCertificate]] = {kind.__name__: kind for kind in get_args(FieldCertificate)}


def to_arrays(certificate: FieldCertificate, include_data: bool = False) -> Arrays:
    """Return a certificate as a flat mapping of names to arrays.

    Parameters
    ----------
    certificate : any but a TrainingCertificate
    include_data : bool
        Whether the data of a regression or training go in; otherwise only their SHA-256 does. Networks always do.

    Raises
    ------
    CertificateError
        If the data are asked for and the certificate has none, or a field cannot be stored.
    """
    if isinstance(certificate, OfData):
        if include_data and certificate.problem is None:
            raise CertificateError("The certificate has no data to include: it was stored without them.")
        certificate = certificate if include_data else certificate.without_data()
    arrays: Arrays = {}
    stored = {field.name: _store(getattr(certificate, field.name), field.name, arrays) for field in fields(certificate)}
    head = {"format": FORMAT, "kind": type(certificate).__name__, "fields": stored}
    text = json.dumps(head, sort_keys=True).encode()
    return {"json": np.frombuffer(text, dtype=np.uint8).copy(), **arrays}


def from_arrays(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> FieldCertificate:
    """Invert `to_arrays`; ``head`` is its decoded entry ``json``.

    Raises
    ------
    CertificateError
        If something is missing or of the wrong kind. What is read is not checked further: that is for `verify`.
    """
    try:
        kind = _KINDS[head["kind"]]
        return kind(**{field.name: _read(head["fields"][field.name], field.name, arrays) for field in fields(kind)})
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"The certificate cannot be read ({type(error).__name__}: {error}).") from error


def _store(value: Any, name: str, arrays: Arrays) -> Any:
    """Move the arrays of one field out, and return the rest of it."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, ReLUNetwork):
        return {"network": _store_network(value, name, arrays)}
    if isinstance(value, Box):
        arrays[f"{name}.lower"], arrays[f"{name}.upper"] = value.lower, value.upper
        return {"box": name}
    if isinstance(value, Polytope):
        arrays[f"{name}.A"], arrays[f"{name}.b"] = value.rows()
        arrays[f"{name}.A_eq"], arrays[f"{name}.b_eq"] = value.equalities()
        return {"polytope": name}
    if isinstance(value, LADProblem):
        return {"lad_problem": _store_lad_problem(value, name, arrays)}
    if isinstance(value, L1Problem):
        arrays[f"{name}.X"], arrays[f"{name}.y"], arrays[f"{name}.weights"] = value.X, value.y, value.weights
        return {"l1_problem": name}
    if isinstance(value, float):
        return {"float": float(value).hex()}
    if value is None or isinstance(value, bool | int | str):
        return value
    raise CertificateError(f"A certificate cannot be stored with a {type(value).__name__} as its {name}.")


def _read(node: Any, name: str, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if not isinstance(node, Mapping):
        return node
    ((kind, content),) = node.items()
    if kind == "array":
        return np.asarray(arrays[name])
    if kind == "network":
        return _read_network(int(content), name, arrays)
    if kind == "box":
        return Box(arrays[f"{name}.lower"], arrays[f"{name}.upper"])
    if kind == "polytope":
        return Polytope(*(arrays[f"{name}.{part}"] for part in ("A", "b", "A_eq", "b_eq")))
    if kind == "lad_problem":
        return _read_lad_problem(content, name, arrays)
    if kind == "l1_problem":
        return L1Problem(*(arrays[f"{name}.{part}"] for part in ("X", "y", "weights")))
    if kind == "float":
        return float.fromhex(content)
    raise CertificateError(f"Unknown kind of field {kind!r}.")


def _store_network(network: ReLUNetwork, name: str, arrays: Arrays) -> int:
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        arrays[f"{name}.weight{i}"], arrays[f"{name}.bias{i}"] = weight, bias
    for i, (lo, hi) in enumerate(network.slopes):
        arrays[f"{name}.slope_lo{i}"], arrays[f"{name}.slope_hi{i}"] = lo, hi
    return len(network.weights)


def _read_network(n_layers: int, name: str, arrays: Mapping[str, NDArray[Any]]) -> ReLUNetwork:
    return ReLUNetwork(
        [arrays[f"{name}.weight{i}"] for i in range(n_layers)],
        [arrays[f"{name}.bias{i}"] for i in range(n_layers)],
        [(arrays[f"{name}.slope_lo{i}"], arrays[f"{name}.slope_hi{i}"]) for i in range(n_layers - 1)],
    )


def _store_lad_problem(problem: LADProblem, name: str, arrays: Arrays) -> dict[str, Any]:
    arrays[f"{name}.X"], arrays[f"{name}.y"] = np.asarray(problem.X), problem.y
    if problem.weights is not None:
        arrays[f"{name}.weights"] = problem.weights
    return {
        "quantile": problem.quantile.hex(),
        "alpha": problem.alpha.hex(),
        "fit_intercept": problem.fit_intercept,
        "weighted": problem.weights is not None,
    }


def _read_lad_problem(switches: Mapping[str, Any], name: str, arrays: Mapping[str, NDArray[Any]]) -> LADProblem:
    return LADProblem(
        arrays[f"{name}.X"],
        arrays[f"{name}.y"],
        float.fromhex(switches["quantile"]),
        float.fromhex(switches["alpha"]),
        bool(switches["fit_intercept"]),
        arrays[f"{name}.weights"] if switches["weighted"] else None,
    )

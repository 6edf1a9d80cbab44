"""Certificates as named arrays and back, so that a model file or a side file can hold them.

The one entry ``json`` holds everything small as UTF-8 text, floats in hex; the others are plain arrays. Nothing here
reads or writes files, and nothing needs pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core.arrays import read_only
from rectifold.core.certificate import (
    ConeLeaves,
    ConeTree,
    ConeTrees,
    Evidence,
    LeafMultipliers,
    PatternBounds,
    SpectralBound,
    TrainingCertificate,
)
from rectifold.core.errors import CertificateError, ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import DyadicArray

__all__ = ["FORMAT", "from_arrays", "to_arrays"]

Arrays = dict[str, NDArray[Any]]

FORMAT = "rectifold-training-certificate/1"
_LEAF_FIELDS = ("masks", "indptr", "indices", "excess")
_CONE_FIELDS = ("rotation", "metric", "row_weights", "nodes")
_DATA_FIELDS = ("design", "targets", "weights", "source_rows")
_DTYPES = {
    "masks": np.uint8,
    "indptr": np.int64,
    "indices": np.int32,
    "excess": np.float64,
    "row_weights": np.float64,
    "activity": np.float64,
    "patterns": np.uint8,
    "rotation": np.float64,
    "metric": np.float64,
    "nodes": np.uint16,
    "alphas": np.uint8,
    "duals": np.float64,
    "theta": np.int64,
    "bias_center": np.float64,
}


def to_arrays(certificate: TrainingCertificate, include_data: bool = False) -> Arrays:
    """Return a certificate as a flat mapping of names to arrays.

    Parameters
    ----------
    certificate : TrainingCertificate
    include_data : bool
        Whether the problem's data go in; otherwise only their SHA-256 does.

    Raises
    ------
    CertificateError
        If the data are asked for and the certificate has none.
    """
    arrays: Arrays = {"theta": certificate.theta.integers}
    for i, (weight, bias) in enumerate(zip(certificate.network.weights, certificate.network.biases, strict=True)):
        arrays[f"network.weight{i}"], arrays[f"network.bias{i}"] = weight, bias
    head: dict[str, Any] = {
        "format": FORMAT,
        "problem_digest": certificate.problem_digest,
        "objective": certificate.objective.hex(),
        "lower_bound": certificate.lower_bound.hex(),
        "scale": certificate.scale.hex(),
        "theta_exponent": certificate.theta.exponent,
        "n_layers": len(certificate.network.weights),
        "evidence": _store_evidence(certificate.evidence, arrays),
    }
    if certificate.bias_center is not None and certificate.bias_scale is not None:
        arrays["bias_center"], head["bias_scale"] = certificate.bias_center, certificate.bias_scale.hex()
    if include_data:
        head["problem"] = _store_problem(certificate.problem, arrays)
    text = json.dumps(head, sort_keys=True).encode()
    return {"json": np.frombuffer(text, dtype=np.uint8).copy(), **arrays}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> TrainingCertificate:
    """Invert `to_arrays`.

    Raises
    ------
    CertificateError
        If something is missing or of the wrong kind. What is read is not checked further: that is for `verify`.
    """
    try:
        head = json.loads(bytes(np.asarray(arrays["json"], dtype=np.uint8)).decode())
        if head["format"] != FORMAT:
            raise CertificateError(f"Unknown certificate format {head['format']!r}, expected {FORMAT!r}.")
        layers = range(int(head["n_layers"]))
        return TrainingCertificate(
            problem=_read_problem(head["problem"], arrays) if "problem" in head else None,
            problem_digest=str(head["problem_digest"]),
            network=ReLUNetwork(
                [arrays[f"network.weight{i}"] for i in layers], [arrays[f"network.bias{i}"] for i in layers]
            ),
            objective=float.fromhex(head["objective"]),
            lower_bound=float.fromhex(head["lower_bound"]),
            theta=DyadicArray(_read(arrays, "", "theta"), int(head["theta_exponent"])),
            scale=float.fromhex(head["scale"]),
            evidence=_read_evidence(head["evidence"], arrays),
            bias_center=_read(arrays, "", "bias_center") if "bias_scale" in head else None,
            bias_scale=float.fromhex(head["bias_scale"]) if "bias_scale" in head else None,
        )
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"The certificate cannot be read ({type(error).__name__}: {error}).") from error


def _store_evidence(evidence: Evidence, arrays: Arrays) -> dict[str, Any]:
    if isinstance(evidence, SpectralBound):
        arrays["spectral.row_weights"], arrays["spectral.activity"] = evidence.row_weights, evidence.activity
        return {"kind": "spectral"}
    if isinstance(evidence, PatternBounds):
        arrays["patterns.patterns"] = evidence.patterns
        _store_leaves("patterns.", evidence.leaves, arrays)
        return {"kind": "patterns"}
    heads = [_store_cones(f"tree{i}.", tree, arrays) for i, tree in enumerate(evidence.trees)]
    return {"kind": "cone_trees", "trees": heads}


def _read_evidence(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Evidence:
    kind = head["kind"]
    if kind == "spectral":
        return SpectralBound(_read(arrays, "spectral.", "row_weights"), _read(arrays, "spectral.", "activity"))
    if kind == "patterns":
        return PatternBounds(_read(arrays, "patterns.", "patterns"), _read_leaves("patterns.", arrays))
    if kind == "cone_trees":
        return ConeTrees(tuple(_read_cones(f"tree{i}.", tree, arrays) for i, tree in enumerate(head["trees"])))
    raise CertificateError(f"Unknown kind of evidence {kind!r}.")


def _store_cones(prefix: str, tree: ConeTree, arrays: Arrays) -> dict[str, Any]:
    for name in _CONE_FIELDS:
        arrays[prefix + name] = getattr(tree, name)
    if tree.leaves is not None:
        arrays[prefix + "alphas"], arrays[prefix + "duals"] = tree.leaves.alphas, tree.leaves.duals
    return {
        "output": tree.output,
        "sign": tree.sign,
        "bound": tree.bound.hex(),
        "leaves": tree.leaves is not None,
    }


def _read_cones(prefix: str, head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> ConeTree:
    leaves = ConeLeaves(_read(arrays, prefix, "alphas"), _read(arrays, prefix, "duals")) if head["leaves"] else None
    fields = {name: _read(arrays, prefix, name) for name in _CONE_FIELDS}
    return ConeTree(int(head["output"]), int(head["sign"]), float.fromhex(head["bound"]), leaves=leaves, **fields)


def _store_leaves(prefix: str, leaves: LeafMultipliers, arrays: Arrays) -> None:
    for name in _LEAF_FIELDS:
        arrays[prefix + name] = getattr(leaves, name)


def _read_leaves(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> LeafMultipliers:
    return LeafMultipliers(*(_read(arrays, prefix, name) for name in _LEAF_FIELDS))


def _read(arrays: Mapping[str, NDArray[Any]], prefix: str, name: str) -> NDArray[Any]:
    array = np.asarray(arrays[prefix + name])
    if array.dtype != _DTYPES[name]:
        raise CertificateError(f"{prefix}{name} has dtype {array.dtype}, expected {np.dtype(_DTYPES[name])}.")
    return array


def _store_problem(problem: ConvexReLUProblem | None, arrays: Arrays) -> dict[str, Any]:
    if problem is None:
        raise CertificateError("The certificate has no data to include: it was stored without them.")
    for name in _DATA_FIELDS:
        arrays["problem." + name] = getattr(problem, name)
    return {
        "alpha": problem.alpha.hex(),
        "loss": problem.loss.name,
        "hidden_bias": problem.hidden_bias,
        "fit_intercept": problem.fit_intercept,
        "output_penalty": problem.output_penalty,
    }


def _read_problem(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> ConvexReLUProblem:
    """Rebuild the problem from its own data; the digest in the certificate then says whether it is the same."""
    design, targets = np.asarray(arrays["problem.design"]), np.asarray(arrays["problem.targets"])
    weights = np.asarray(arrays["problem.weights"])
    hidden_bias, loss = head["hidden_bias"], str(head["loss"])
    inputs = design if hidden_bias is False else design[:, :-1]
    codes = targets.argmax(axis=1) if loss != "squared" and targets.shape[1] > 1 else targets
    try:
        problem = ConvexReLUProblem(
            inputs,
            codes,
            float.fromhex(head["alpha"]),
            loss,
            hidden_bias,
            bool(head["fit_intercept"]),
            str(head["output_penalty"]),
            weights,
        )
    except ProblemError as error:
        raise CertificateError(f"The certificate's data are no problem: {error}") from error
    if problem.design.shape != design.shape or problem.weights.shape != weights.shape:
        raise CertificateError("The certificate's data are not in canonical order.")
    problem.weights = read_only(weights)  # normalising them a second time may change the last bit
    problem.source_rows = read_only(np.asarray(arrays["problem.source_rows"]))
    return problem

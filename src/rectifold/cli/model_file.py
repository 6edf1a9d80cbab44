"""The ``.npz`` that ``rectifold fit`` writes: the network, and all that is needed to repeat and verify the claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.storage import certificate_arrays, read_certificate
from rectifold.cli.data import RunData
from rectifold.cli.preparation import Preparation
from rectifold.core.certificate import TrainingCertificate
from rectifold.core.errors import CertificateError, ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.io.npz import load_npz, save_npz

__all__ = ["SavedModel", "is_model_file", "load_model", "save_model"]

_KIND = "rectifold.fit/2"
_CERTIFICATE = "certificate."


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A model file's contents.

    Attributes
    ----------
    network : ReLUNetwork
        Takes unscaled inputs.
    unfolded : ReLUNetwork
        Takes scaled inputs; the claim is about this one.
    target, task, data_name : str
    classes : ndarray of str or None
    preparation : Preparation
    train, test : ndarray of int
        Rows among those with a target.
    n_rows : int
    alpha : float
    problem : mapping
        The switches of `ConvexReLUProblem`.
    certificate : TrainingCertificate or None
    """

    network: ReLUNetwork
    unfolded: ReLUNetwork
    target: str
    task: str
    data_name: str
    classes: NDArray[Any] | None
    preparation: Preparation
    train: NDArray[np.intp]
    test: NDArray[np.intp]
    n_rows: int
    alpha: float
    problem: Mapping[str, Any]
    certificate: TrainingCertificate | None


def save_model(path: Path, data: RunData, estimator: Any) -> None:
    """Write a fitted estimator with everything that its training part depended on.

    Raises
    ------
    ProblemError
        If the file cannot be written.
    """
    certificate = estimator.certificate_
    extra: dict[str, Any] = {
        "kind": _KIND,
        "target": data.target,
        "task": data.task,
        "data_name": data.name,
        "inputs": list(data.preparation.inputs),
        "columns": data.preparation.to_json(),
        "mean": data.preparation.mean,
        "scale": data.preparation.scale,
        "train": data.train,
        "test": data.test,
        "n_rows": int(data.y.shape[0]),
        "alpha": float(estimator.alpha).hex(),
        "unfolded": estimator.network_,
        "objective": float(estimator.objective_).hex(),
        "lower_bound": float(estimator.lower_bound_).hex(),
        "proof": str(estimator.proof_),
        "problem": _switches(estimator, certificate),
    }
    if data.task == "classification":
        extra["classes"] = np.asarray(estimator.classes_).astype(str)
    if certificate is not None:
        extra |= {_CERTIFICATE + name: array for name, array in certificate_arrays(certificate).items()}
    save_npz(data.preparation.fold(estimator.network_), path, extra=extra)


def is_model_file(path: Path) -> bool:
    """Return whether a file was written by ``rectifold fit``; False for any other network.

    Raises
    ------
    ProblemError
        If the file cannot be read.
    """
    return path.suffix.lower() == ".npz" and load_npz(path, with_extra=True)[1].get("kind") == _KIND


def load_model(path: Path) -> SavedModel:
    """Read a model file.

    Raises
    ------
    ProblemError
        If the file cannot be read or was not written by ``rectifold fit``.
    CertificateError
        If its certificate is malformed.
    """
    network, extra = load_npz(path, with_extra=True)
    if extra.get("kind") != _KIND:
        raise ProblemError(f"{path} was not written by 'rectifold fit --save model.npz'")
    try:
        return SavedModel(
            network=network,
            unfolded=extra["unfolded"],
            target=extra["target"],
            task=extra["task"],
            data_name=extra["data_name"],
            classes=extra.get("classes"),
            preparation=Preparation.from_json(extra["columns"], extra["mean"], extra["scale"]),
            train=extra["train"],
            test=extra["test"],
            n_rows=int(extra["n_rows"]),
            alpha=float.fromhex(extra["alpha"]),
            problem=extra["problem"],
            certificate=_certificate(extra),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProblemError(f"{path} is damaged: {error}") from error


def _switches(estimator: Any, certificate: TrainingCertificate | None) -> dict[str, Any]:
    """Return the switches of the problem that was solved."""
    problem = certificate.problem if certificate is not None else None
    if problem is None:
        names = ("hidden_bias", "fit_intercept", "output_penalty")
        return {name: getattr(estimator, name) for name in names}
    return {
        "loss": problem.loss.name,
        "hidden_bias": problem.hidden_bias,
        "fit_intercept": problem.fit_intercept,
        "output_penalty": problem.output_penalty,
    }


def _certificate(extra: Mapping[str, Any]) -> TrainingCertificate | None:
    """Return the certificate of a file, if it has one."""
    arrays = {name.removeprefix(_CERTIFICATE): extra[name] for name in extra if name.startswith(_CERTIFICATE)}
    if not arrays:
        return None
    certificate = read_certificate(arrays)
    if not isinstance(certificate, TrainingCertificate):
        raise CertificateError(f"the certificate is a {type(certificate).__name__}, not one of training")
    return certificate

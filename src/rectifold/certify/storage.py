"""Certificates in files: one ``.npz``, or readable ``.json`` with its arrays in an ``.npz`` beside it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.certify import field_format
from rectifold.core import certificate_format
from rectifold.core.certificate import TrainingCertificate
from rectifold.core.errors import CertificateError

__all__ = [
    "Certificate",
    "certificate_arrays",
    "load_certificate",
    "read_archive",
    "read_certificate",
    "save_certificate",
]

Certificate = TrainingCertificate | field_format.FieldCertificate


def save_certificate(certificate: Certificate, path: str | os.PathLike[str], *, include_data: bool = False) -> None:
    """Write a certificate.

    Parameters
    ----------
    certificate : TrainingCertificate, or any other that `verify` checks
    path : path-like
        Ending in ``.npz`` (one file) or ``.json`` (text, floats in hex, and the arrays in ``<stem>.npz``).
    include_data : bool
        Whether the data of a training or regression go in; otherwise only their SHA-256 does, and `verify` needs
        ``problem=``. A minimum's network and domain always go in: `verify` needs nothing else.

    Raises
    ------
    CertificateError
        If the path ends otherwise, it is no certificate, or the data are asked for and the certificate has none.
    """
    target = Path(path)
    _require_suffix(target)
    arrays = certificate_arrays(certificate, include_data)
    if target.suffix == ".json":
        text = arrays.pop("json").tobytes()
        _write_arrays(target.with_suffix(".npz"), arrays)
        _replace(target, lambda p: p.write_bytes(text + b"\n"))
    else:
        _write_arrays(target, arrays)


def load_certificate(path: str | os.PathLike[str]) -> Certificate:
    """Read what `save_certificate` wrote; it is not verified by that.

    Raises
    ------
    CertificateError
        If a file is missing or is not a certificate.
    """
    return read_certificate(read_archive(path))


def read_archive(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Return all arrays of a file that `save_certificate` wrote, or of one that holds others beside them.

    Raises
    ------
    CertificateError
        If a file is missing or is no such archive.
    """
    target = Path(path)
    _require_suffix(target)
    try:
        arrays = _read_arrays(target.with_suffix(".npz"))
        if target.suffix == ".json":
            arrays["json"] = np.frombuffer(target.read_bytes(), dtype=np.uint8)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CertificateError(f"{target} is not a readable certificate ({type(error).__name__}: {error}).") from error
    return arrays


def certificate_arrays(certificate: Certificate, include_data: bool = False) -> dict[str, NDArray[Any]]:
    """Return what `save_certificate` writes: named arrays, the one named ``json`` being UTF-8 text."""
    if isinstance(certificate, TrainingCertificate):
        return certificate_format.to_arrays(certificate, include_data)
    if isinstance(certificate, field_format.FieldCertificate):
        return field_format.to_arrays(certificate, include_data)
    raise CertificateError(f"Expected a certificate, got {type(certificate).__name__}.")


def read_certificate(arrays: Mapping[str, NDArray[Any]]) -> Certificate:
    """Invert `certificate_arrays`; entries with other names are left alone.

    Raises
    ------
    CertificateError
        If they are not those of a certificate.
    """
    try:
        head = json.loads(np.asarray(arrays["json"], dtype=np.uint8).tobytes().decode())
        if head["format"] == field_format.FORMAT:
            return field_format.from_arrays(head, arrays)
    except (LookupError, TypeError, ValueError) as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"This is no certificate ({type(error).__name__}: {error}).") from error
    return certificate_format.from_arrays(arrays)


def _require_suffix(path: Path) -> None:
    if path.suffix not in (".npz", ".json"):
        raise CertificateError(f"A certificate's file ends in .npz or .json, got {path.name!r}.")


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise ValueError("not an .npz archive")
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def _write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    _replace(path, write)


def _replace(path: Path, write: Any) -> None:
    """Write beside the target first, so that a failure leaves no half-written file."""
    partial = path.with_name(path.name + ".partial")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

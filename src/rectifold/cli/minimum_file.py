"""The ``.npz`` that ``rectifold minimize`` writes: the end of the walk, and its certificate with network and domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rectifold.certify.storage import Certificate, certificate_arrays
from rectifold.core.certificate import ConvexMinimumCertificate, LocalMinimumCertificate
from rectifold.io._files import write_atomically
from rectifold.programs.minimum import MinimizationResult

__all__ = ["same_claim", "save_minimum"]

_PREFIX = "result."


def save_minimum(path: Path, result: MinimizationResult) -> None:
    """Write a result; `rectifold.certify.load_certificate` reads its certificate, if it has one.

    The other entries are ``result.x``, ``result.value``, ``result.status``, ``result.values`` (by move),
    ``result.slopes`` and ``result.opposite_slopes`` of the constraints, ``result.flat_edges`` and ``result.ray``.

    Raises
    ------
    ProblemError
        If the file cannot be written.
    """
    best = result.minimum
    arrays: dict[str, Any] = {} if result.certificate is None else certificate_arrays(result.certificate)
    entries: dict[str, Any] = {
        "x": best.x,
        "value": result.value,
        "status": str(result.status),
        "decided_by": best.decided_by,
        "values": best.values,
        "kinds": np.array([c.kind for c in best.active], dtype=str),
        "layers": np.array([c.layer for c in best.active], dtype=np.int64),
        "indices": np.array([c.index for c in best.active], dtype=np.int64),
        "slopes": np.array([c.slope for c in best.active]),
        "opposite_slopes": np.array([c.opposite_slope for c in best.active]),
        "flat_edges": best.flat_edges,
    }
    if best.ray is not None:
        entries["ray"] = best.ray
    arrays |= {_PREFIX + name: np.asarray(entry) for name, entry in entries.items()}
    write_atomically(path, lambda stream: np.savez_compressed(stream, **arrays))


def same_claim(arrays: dict[str, Any], certificate: Certificate) -> bool:
    """Return whether point and value of a file, if it has them, are those of its certificate."""
    if _PREFIX + "x" not in arrays:
        return True
    return (
        isinstance(certificate, LocalMinimumCertificate | ConvexMinimumCertificate)
        and np.array_equal(arrays[_PREFIX + "x"], certificate.x)
        and bool(np.all(arrays[_PREFIX + "value"] == certificate.value))
    )

"""The vocabulary: networks, patterns, losses, results, certificates and errors. No algorithm lives here."""

from rectifold.core.errors import (
    BackendNotFoundError,
    CertificateError,
    ProblemError,
    RectifoldError,
    SolverError,
    UnsupportedNetworkError,
)
from rectifold.core.network import AffineMap, ReLUNetwork
from rectifold.core.pattern import pack_patterns, unique_patterns, unpack_patterns

__all__ = [
    "AffineMap",
    "BackendNotFoundError",
    "CertificateError",
    "ProblemError",
    "ReLUNetwork",
    "RectifoldError",
    "SolverError",
    "UnsupportedNetworkError",
    "pack_patterns",
    "unique_patterns",
    "unpack_patterns",
]

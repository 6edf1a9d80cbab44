"""The exceptions rectifold raises; exceptions of the libraries behind it never leak."""

from __future__ import annotations

__all__ = [
    "BackendNotFoundError",
    "CertificateError",
    "ProblemError",
    "RectifoldError",
    "SolverError",
    "UnsupportedNetworkError",
]


class RectifoldError(Exception):
    """Base class of every exception that rectifold raises on purpose."""


class ProblemError(RectifoldError, ValueError):
    """The question is not well posed: bad shapes, NaN, contradictory options, an unreadable file."""


class UnsupportedNetworkError(RectifoldError, TypeError):
    """A foreign model is not a piecewise-affine ReLU network, or uses a layer that cannot be folded into one."""


class BackendNotFoundError(RectifoldError, ImportError):
    """An optional package is missing; the message carries the ``pip install`` line that adds it."""


class SolverError(RectifoldError, RuntimeError):
    """A solver failed in a way that leaves no usable answer."""


class CertificateError(RectifoldError, ValueError):
    """A certificate is malformed, or does not belong to the problem it is presented with."""

"""Values of losses and of their duals with an error radius, from correctly rounded float64 operations only.

A function here returns arrays ``(value, radius)``: the true value lies within ``radius`` of ``value``. Only +, -, *, /,
sqrt, ldexp and frexp of IEEE arithmetic are used, so that no library's exp or log has to be believed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rectifold.core.rounding import TINY, UNIT_ROUNDOFF

__all__ = ["entropy", "exp", "log", "softplus", "total"]

Array = NDArray[np.float64]
Enclosed = tuple[Array, Array]

_LN2 = 0.6931471805599453
_LN2_HIGH = 0.693147180369123816490  # 33 bits: exact times any |k| < 2^20
_LN2_LOW = 1.90821492927058770002e-10
_LOG_TERMS = 14
_EXP_TERMS = 15


def log(x: Array) -> Enclosed:
    """Enclose the natural logarithm of x > 0 (normal numbers).

    ``x = m 2^e`` with m in [1/sqrt 2, sqrt 2), ``log m = 2 atanh((m - 1) / (m + 1))`` by its series: below 6 roundings
    of relative size u on log m and 3 on e log 2, and a remainder below 1e-21; the radius allows 16.
    """
    m, e = np.frexp(x)
    small = m < 0.7071067811865476
    m, k = np.where(small, 2.0 * m, m), e.astype(np.float64) - small
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = np.zeros_like(z)
    for j in range(_LOG_TERMS, -1, -1):
        series = series * z + 1.0 / (2 * j + 1)
    of_m = 2.0 * s * series
    return k * _LN2 + of_m, 16.0 * UNIT_ROUNDOFF * (np.abs(k) * _LN2 + np.abs(of_m)) + TINY


def exp(x: Array) -> Enclosed:
    """Enclose the exponential of x <= 700.

    ``x = k log 2 + t``, |t| < 0.35, Taylor series with a remainder below 1e-18; the radius allows 64 roundings.
    """
    clipped = np.maximum(x, -650.0)
    k = np.rint(clipped / _LN2)
    t = (clipped - k * _LN2_HIGH) - k * _LN2_LOW
    series = np.ones_like(t)
    for j in range(_EXP_TERMS, 0, -1):
        series = 1.0 + series * t / j
    value = np.ldexp(series, k.astype(np.int64))
    return value, 64.0 * UNIT_ROUNDOFF * value + 1e-280


def softplus(z: Array, radius: Array) -> Enclosed:
    """Enclose ``log(1 + exp(z))``, whose argument is known within ``radius``."""
    e, e_radius = exp(-np.abs(z))
    value, value_radius = log(1.0 + e)
    out = np.maximum(z, 0.0) + value
    return out, radius + e_radius + value_radius + 4.0 * UNIT_ROUNDOFF * (1.0 + out)


def entropy(low: Array, high: Array) -> Enclosed:
    """Enclose ``min -p log p`` over ``low <= p <= high`` within [0, 1]; concave, so that an endpoint attains it."""
    parts = []
    for p in (low, high):
        p = np.clip(p, 0.0, 1.0)
        value, radius = log(np.where(p > 0, p, 1.0))
        parts.append((-p * value, p * radius + 2.0 * UNIT_ROUNDOFF * np.abs(p * value) + TINY))
    lower = parts[0][0] - parts[0][1] <= parts[1][0] - parts[1][1]
    return np.where(lower, parts[0][0], parts[1][0]), np.where(lower, parts[0][1], parts[1][1])


def total(terms: Enclosed) -> tuple[float, float]:
    """Enclose the sum of enclosed terms: the sum of values is correctly rounded."""
    value = math.fsum(terms[0].ravel().tolist())
    radius = math.fsum(terms[1].ravel().tolist())
    return value, radius * (1.0 + 1e-12) + 4.0 * UNIT_ROUNDOFF * abs(value) + TINY

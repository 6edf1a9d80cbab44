"""The walk with one linear program a region: solve it, then try the neighbours behind each of its tight kinks."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

import rectifold as rf
from rectifold._engine.lp import LinearProgram

Array = NDArray[np.float64]


def walk(net: rf.ReLUNetwork, x: Array, seconds: float) -> tuple[float, int, bool]:
    """From a point of [-1, 1]^d: value, linear programs solved, and whether no neighbour was lower in time."""
    begin, n_programs = time.process_time(), 0
    pattern = net.activation_pattern(x)
    point, value = _solve(net, pattern)
    n_programs += 1
    while True:
        improved = False
        z = np.concatenate(net.preactivations(point))
        for unit in np.flatnonzero(np.abs(z) <= 1e-7):
            if time.process_time() - begin > seconds:
                return value, n_programs, False
            other = pattern.copy()
            other[unit] = not other[unit]
            candidate, lower = _solve(net, other)
            n_programs += 1
            if lower < value - 1e-9:
                pattern, point, value, improved = other, candidate, lower, True
                break
        if not improved:
            return value, n_programs, True


def _solve(net: rf.ReLUNetwork, pattern: NDArray[np.bool_]) -> tuple[Array, float]:
    """The minimum over the closed region of a pattern, within the box."""
    matrix, offset = np.eye(net.n_inputs), np.zeros(net.n_inputs)
    rows, rhs, start = [], [], 0
    for weight, bias in zip(net.weights[:-1], net.biases[:-1], strict=True):
        on = pattern[start : start + len(bias)]
        start += len(bias)
        z, c = weight @ matrix, weight @ offset + bias
        sign = np.where(on, 1.0, -1.0)
        rows.append(sign[:, None] * z)
        rhs.append(-sign * c)
        matrix, offset = on[:, None] * z, on * c
    found = LinearProgram(
        (net.weights[-1] @ matrix)[0], np.vstack(rows), np.concatenate(rhs), np.inf, -1.0, 1.0
    ).solve()
    if found.x is None:
        return np.zeros(net.n_inputs), np.inf
    return found.x, found.value + float((net.weights[-1] @ offset + net.biases[-1])[0])

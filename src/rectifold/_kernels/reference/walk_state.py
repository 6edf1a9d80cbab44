"""The state of a walk over vertices and what it reads off its region: the numpy twin of ``walk_state.hpp``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RUNNING", "ZERO_TOL", "WalkState"]

Array = NDArray[np.float64]

RUNNING = 0
ZERO_TOL = 1e-10  # a slack below this part of its typical size is zero


class WalkState:
    """Where a walk stands.

    Parameters
    ----------
    program : DenseProgram or LayerProgram
    starts, columns, values, limits, fixed : arrays
        The domain, as in `DenseVertexWalk`.
    """

    def __init__(
        self,
        program: Any,
        starts: NDArray[np.int64],
        columns: NDArray[np.int64],
        values: Array,
        limits: Array,
        fixed: Array,
    ) -> None:
        self._program = program
        n, m = self._program.n, len(limits)
        dense = np.zeros((m, n))
        dense[np.repeat(np.arange(m), np.diff(starts)), columns] = values
        norms = np.linalg.norm(dense, axis=1)
        self._G, self._h = dense / norms[:, None], limits / norms
        self._fixed = [np.array(row) for row in fixed]
        self._n, self._n_units, self._n_rows = n, self._program.n_units, m
        self._kinked = np.concatenate([program.lo != program.hi, np.ones(m, bool)])
        self._row_scale = np.concatenate([self._program.scale, np.ones(m)])

    # ------------------------------------------------------------------ state

    def start(self, x: Array) -> None:
        """Begin anew at a point of the domain, in the region where the units at zero are off."""
        program = self._program
        self.x = np.array(x, dtype=np.float64)
        self.on = program.signs(self.x)
        self.pivots = self.crossings = self.zero_steps = 0
        self.trace: list[float] = []
        self.ray = np.zeros(self._n)
        self.gradient_size, self.reach = self._program.least_gradient, 0.0  # reach: the largest |x_i| met
        self._finished_at = -1
        self._enter_region()

    def _enter_region(self) -> None:
        """Prepare phase 1 in the region of ``on``."""
        self.slope = self._slopes()
        self._refresh_slacks()
        self.outputs, self.g = self._adjoint()
        self.basis: list[int] = []
        self._Q: list[Array] = []
        self._normals: list[Array] = []
        first = self._n_units + self._n_rows
        for i, row in enumerate(self._fixed):
            self._append(first + i, row)
        self.A = np.zeros((0, self._n))
        self.straight = -1
        self.zero_steps = 0
        self.status = RUNNING

    def _slopes(self) -> Array:
        return np.where(self.on, self._program.hi, self._program.lo)

    def _refresh_slacks(self) -> None:
        self.z, self.value = self._program.preactivations(self.slope, self.x)
        self.room = self._h - self._G @ self.x
        self._extend_reach()
        self.trace.append(self.value)

    def _adjoint(self) -> tuple[Array, Array]:
        outputs, g = self._program.adjoint(self.slope)
        self.gradient_size = max(self.gradient_size, float(np.linalg.norm(g)))
        return outputs, g

    def _slack(self) -> Array:
        return np.concatenate([np.where(self.on, self.z, -self.z), self.room])

    def _rates(self, beta: Array, v: Array) -> Array:
        return np.concatenate([np.where(self.on, beta, -beta), -(self._G @ v)])

    def _normal(self, c: int) -> Array:
        if c < self._n_units:
            normal = self._program.normal(self.slope, c)
            return normal if self.on[c] else -normal
        if c < self._n_units + self._n_rows:
            return -self._G[c - self._n_units]
        return self._fixed[c - self._n_units - self._n_rows]

    def slack_sizes(self) -> Array:
        """The sizes that slacks have by and large."""
        return np.concatenate([self._program.typical_sizes(self.reach), np.abs(self._h) + self.reach])

    def critical(self) -> NDArray[np.intp]:
        """Constraints at zero, whether in the basis or not."""
        zero = (np.abs(self._slack()) <= ZERO_TOL * self.slack_sizes()) & self._kinked
        zero[[c for c in self.basis if c < len(zero)]] = True
        return np.flatnonzero(zero)

    def _extend_reach(self) -> None:
        self.reach = max(self.reach, float(np.abs(self.x).max()))

    def _append(self, c: int, normal: Array) -> None:
        q = self._project(normal / np.linalg.norm(normal))
        self._Q.append(q / np.linalg.norm(q))
        self._normals.append(normal)
        self.basis.append(c)

    def _project(self, vector: Array) -> Array:
        """Take out the span of the normals in the basis, twice against rounding."""
        rest = np.array(vector)
        for _ in range(2):
            for q in self._Q:
                rest -= (q @ rest) * q
        return rest

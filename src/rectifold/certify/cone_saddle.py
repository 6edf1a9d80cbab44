"""The relaxation of g on simplicial cones as a saddle point: minimum over alpha, maximum over directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.cone_geometry import Cones
from rectifold.certify.cone_leaves import leaf_bounds
from rectifold.certify.cone_rows import ConeRows, blocks

__all__ = ["Saddle"]

Array = NDArray[np.float64]

_FIRST_SWEEPS, _SWEEPS = 20, 8
_SMALLEST = 1e-300


HIST=[]
@dataclass(eq=False)
class Saddle:
    """Cones with the iterates of ``min over q in the zonotope of pulls, max over u`` of the relaxation on each.

    For given q the maximum is a non-negative least squares problem, ``min 1/2 ||V't||^2 - c't`` over t >= 0; its
    maximiser u shows the vertex of the zonotope towards which q moves.

    Attributes
    ----------
    cones : Cones
    pulls : ndarray, shape (m, d)
        q.
    shares : ndarray, shape (m, K)
        t.
    gram : ndarray, shape (K, K, m)
        Inner products of the rays.
    lift : ndarray, shape (m, K)
        A vector whose product with every ray is at least 1: it repairs what coordinate descent leaves.
    """

    rows: ConeRows
    cones: Cones
    pulls: Array
    shares: Array
    gram: Array
    lift: Array

    @classmethod
    def start(cls, cones: Cones, rows: ConeRows) -> Saddle:
        """Begin with the activities at the centre of each cone."""
        k = cones.rays.shape[1]
        center = cones.rays.sum(axis=1)
        gram = np.ascontiguousarray(np.matmul(cones.rays, cones.rays.transpose(0, 2, 1)).transpose(1, 2, 0))
        products = np.where(np.arange(k)[:, None] < cones.dims, gram.sum(axis=1), np.inf)
        lift = center / products.min(axis=0, initial=np.inf)[:, None]
        return cls(rows, cones, _vertices(center, rows), np.zeros((len(cones), k)), gram, lift)

    def __len__(self) -> int:
        return len(self.cones)

    def take(self, mask: NDArray[np.bool_]) -> Saddle:
        """Return some of the cones with their iterates."""
        if mask.all():
            return self
        index = np.flatnonzero(mask)
        cones = self.cones.take(index)
        k = cones.rays.shape[1]
        gram = np.ascontiguousarray(self.gram[:k, :k, index])
        return Saddle(self.rows, cones, self.pulls[index], self.shares[index, :k], gram, self.lift[index, :k])

    def solve(self, first: bool = False) -> Array:
        """Improve t for the present q and return upper bounds of g on the cones, shape (m,)."""
        t = np.ascontiguousarray(self.shares.T)
        slope = self._levels().T - np.einsum("ijm,jm->im", self.gram, t)
        for _ in range(_FIRST_SWEEPS if first else _SWEEPS):
            for j in range(len(t)):
                step = np.maximum(slope[j], -t[j])
                t[j] += step
                slope -= self.gram[j] * step
        self.shares = np.ascontiguousarray(t.T)
        short = np.maximum(slope.max(axis=0, initial=0.0), 0.0)
        duals = np.zeros_like(self.pulls)
        duals[:, : len(t)] = self._points() + short[:, None] * self.lift
        return leaf_bounds(self.cones, self.rows, self.pulls, duals)

    def advance(self, weight: float) -> Array:
        """Move q by ``weight`` in [0, 1] of the way to the vertex of the zonotope that the maximiser u shows.

        Returns
        -------
        ndarray, shape (m,)
            The relaxation's value at u under the best alpha there: no alpha bounds g below it on the cone.
        """
        directions, residual = self._directions()
        moves = _vertices(directions, self.rows) - self.pulls
        value = (self._levels() * self.shares).sum(axis=1) + residual**2 - (moves * directions).sum(axis=1)
        self.pulls = self.pulls + weight * moves
        return np.asarray(value / np.maximum(np.linalg.norm(directions, axis=1), _SMALLEST))

    def polish(self, bound, steps, L):
        rows=self.rows
        A=rows.negative
        state=self
        d0,_=state._directions()
        alpha=(d0@A.T>0).astype(float); y=alpha; mom=np.ones(len(state))
        out=[]
        for step in range(steps):
            state.pulls=y@A
            b=state.solve()
            u,_=state._directions()
            new=np.clip(y+(u@A.T)/L,0,1)
            restart=((y-new)*(new-alpha)).sum(axis=1)>0
            nm=.5*(1+np.sqrt(1+4*mom*mom)); beta=np.where(restart,0,(mom-1)/nm); nm=np.where(restart,1,nm)
            y=np.clip(new+beta[:,None]*(new-alpha),0,1); alpha=new; mom=nm
            live=~(b<=bound)
            if not live.all():
                state=state.take(live); alpha=alpha[live]; y=y[live]; mom=mom[live]
            if not len(state): break
            if step%16==15:
                keep=state.advance(0.)<=bound
                if not keep.all():
                    out.append(state.take(~keep)); state=state.take(keep); alpha=alpha[keep]; y=y[keep]; mom=mom[keep]
                    if not len(state): break
        HIST.append((len(self),step,len(state),sum(map(len,out))))
        if len(state): out.append(state)
        return out

    def gains(self) -> Array:
        """Return g at the maximisers u, normalised, shape (m,)."""
        directions, _ = self._directions()
        lengths = np.maximum(np.linalg.norm(directions, axis=1), _SMALLEST)
        return self.rows.gains(directions / lengths[:, None])

    def _directions(self) -> tuple[Array, Array]:
        """Return multiples (V't, R b / ||b||) of the maximisers u, shape (m, d), and the residual terms R, shape (m,)."""
        k = self.cones.rays.shape[1]
        inside = np.arange(self.pulls.shape[1]) < self.cones.dims[:, None]
        beside = np.where(inside, 0.0, self.rows.half_sum - self.pulls)
        length = np.linalg.norm(beside, axis=1)
        residual = length + self.rows.spreads(self.cones.dims)
        directions = beside * (residual / np.maximum(length, _SMALLEST))[:, None]
        directions[:, :k] += self._points()
        return directions, residual

    def _levels(self) -> Array:
        """Return ``c_j = h(v_j) - q'v_j``, shape (m, K)."""
        k = self.cones.rays.shape[1]
        return self.cones.heights - np.einsum("mjl,ml->mj", self.cones.rays, self.pulls[:, :k])

    def _points(self) -> Array:
        """Return ``V't``, shape (m, K)."""
        return np.asarray(np.einsum("mj,mjl->ml", self.shares, self.cones.rays))


def _vertices(directions: Array, rows: ConeRows) -> Array:
    """Return the points ``sum of |r_i| z_i over r_i < 0, z_i'u > 0``, shape (m, d), for directions u (m, k)."""
    out = np.empty((len(directions), rows.dimension))
    sides = np.ascontiguousarray(rows.negative[:, : directions.shape[1]].T)
    for part in blocks(len(directions), rows.block):
        out[part] = (directions[part] @ sides > 0.0).astype(np.float64) @ rows.negative
    return out

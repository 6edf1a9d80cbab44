"""Is g(u) = sum_i r_i (z_i'u)_+ at most a target on the unit ball? The numpy twin of ``cone_tree.hpp``.

Depth-first branch and bound over simplicial cones; a subtree is resumed from its path by examining the nodes on it
again, so that a tree does not depend on where searches were cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rectifold._kernels.reference.cone_relaxation import EXTEND, Cone, ConeProblem, Leaf, Split
from rectifold._kernels.reference.cone_sweep import LeafProblem, Sweep, require_stream

__all__ = ["ConeTreeSearch", "Subtrees"]

Floats = NDArray[np.float64]
Codes = NDArray[np.uint16]

DONE, QUOTA, REFUTED, TOO_DEEP = 0, 1, 2, 3
LEAF, OPEN = 0xFFFF, 0xFFFD
MAX_DEPTH = 250
_FEW_PATHS = 4


class Subtrees(NamedTuple):
    """What a run found; see :meth:`ConeTreeSearch.run`."""

    status: int
    nodes: Codes
    open_paths: list[Codes]
    work: int
    n_nodes: int
    best_value: float
    best_u: Floats
    max_depth: int
    alphas: NDArray[np.uint8]
    duals: Floats


class ConeTreeSearch:
    """The rows of a problem, prepared for searches.

    Parameters
    ----------
    Z : (n, d) float64 array, C-contiguous
    r : (n,) float64 array
    spread : (d + 1,) float64 array
        Entry k is at least max {1/2 sum_{r_i>0} r_i |z_i'u| : ||u|| <= 1, u_1 = ... = u_k = 0}; the last is 0.
    metric : (d,) float64 array
        Positive weights of the norm in which an edge is halved.

    Raises
    ------
    TypeError
        A wrong dtype, number of dimensions or memory layout.
    ValueError
        Shapes that do not fit, values that are not finite, negative or out of range.
    """

    def __init__(self, Z: Floats, r: Floats, spread: Floats, metric: Floats) -> None:
        for array, name, ndim in ((Z, "Z", 2), (r, "r", 1), (spread, "spread", 1), (metric, "metric", 1)):
            _require_array(array, name, ndim)
        n, d = Z.shape
        _require(1 <= d <= 250, "Z needs 1 to 250 columns")
        _require(r.shape == (n,), "r must have one entry per row of Z")
        _require(spread.shape == (d + 1,), "spread must have one entry more than Z has columns")
        _require(metric.shape == (d,), "metric must have one entry per column of Z")
        _require(bool((spread >= 0).all()) and spread[d] == 0.0, "spread must not be negative, and end with 0")
        _require(bool((metric > 0).all()), "metric must be positive")
        self._problem = LeafProblem(Z.copy(), r.copy(), spread.copy(), metric.copy())
        self.shape: tuple[int, int] = (n, d)
        self.n_roots = 2 ** min(2, d)

    def run(
        self, paths: list[Codes], target: float, max_work: int, max_nodes: int, keep_leaves: bool = False
    ) -> Subtrees:
        """Search the subtrees below the given nodes, depth first and one after the other.

        Parameters
        ----------
        paths : list of uint16 arrays
            [root, code, child, code, child, ...].
        target : float
            The bound to prove, positive; g(u) > target at some unit u refutes it.
        max_work, max_nodes : int
            Rows visited, at least k^2 a node of k rays, and nodes examined after which to stop; a node at least is.
        keep_leaves : bool

        Returns
        -------
        status : int
            0: done; 1: a limit was reached; 2: refuted by ``best_u``; 3: a node at the depth limit is not proven.
        nodes : uint16 array
            The subtrees in preorder: 0xFFFF a leaf, 0xFFFE an extension, 0xFFFD left open, else i * 256 + j.
        open_paths : list of uint16 arrays
        work, n_nodes : int
            Work includes the nodes examined again on the paths, ``n_nodes`` does not.
        best_value, best_u : float, (d,) float64 array
            The largest g found, and the unit vector where; 0 and the zero vector if nothing larger was met.
        max_depth : int
        alphas, duals : (n_leaves, n) uint8 and (n_leaves, d) float64 arrays
            In the order of the stream; no rows unless ``keep_leaves``.
        """
        _require(0.0 < target < np.inf, "target must be positive and finite")
        _require(max_work >= 1 and max_nodes >= 1, "max_work and max_nodes must be at least 1")
        return _Run(self._problem, target, paths, self.n_roots).finish(max_work, max_nodes, keep_leaves)

    def sweep(
        self, paths: list[Codes], nodes: Codes, target: float, max_cuts: int, stride: int = 1, keep_leaves: bool = False
    ) -> Sweep:
        """Bound every leaf of a given tree as well as the relaxation can, or just below what matters.

        Parameters
        ----------
        paths : list of uint16 arrays
            As for `run`.
        nodes : uint16 array
            The streams of the subtrees below them, one after the other.
        target : float
            Positive; a leaf whose bound is found to be no larger is left at that.
        max_cuts : int
            How many of the leaves above the target to return, the largest.
        stride : int
            Take every so-manyth leaf only.
        keep_leaves : bool
            Return what proves the leaves, no cuts; ``worst`` is then what that proves.

        Returns
        -------
        work : int
            Rows visited.
        worst : float
            The largest bound of a leaf.
        n_leaves : int
        paths : list of uint16 arrays
            Of the m leaves returned, largest first.
        values : (m,) float64 array
            The relaxation at a unit vector u, under the best alpha there.
        rays, beside : (m, d, d) and (m, d) float64 arrays
            u is the sum of the rays, which are those of the leaf times a factor, and of ``beside``, its other axes.
        rests : (m,) float64 array
            At least the norm of ``beside``; what the residual term is multiplied by. u has norm 1 with it in the place
            of that norm.
        alphas, duals : (n_leaves, n) uint8 and (n_leaves, d) float64 arrays
            As `run` returns them.

        Raises
        ------
        ValueError
            A stream that is not one finished tree per path.
        """
        _require(0.0 < target < np.inf, "target must be positive and finite")
        _require(max_cuts >= 0 and stride >= 1, "max_cuts must not be negative, and stride at least 1")
        _require(stride == 1 or not keep_leaves, "only whole trees keep their leaves")
        for path in paths:
            _require(len(path) % 2 == 1 and path[0] < self.n_roots, "a path does not start at a root")
            _require_splits(path, self.shape[1])
        require_stream(nodes, paths, self.shape[1])
        return self._problem.sweep(paths, nodes, target, max_cuts, stride, keep_leaves)

    def estimate(
        self, target: float, n_dives: int, seed: int, max_depth: int = MAX_DEPTH, paths: Sequence[Codes] = ()
    ) -> tuple[float, float, float, float]:
        """Estimate the trees below some nodes by random dives, each among the unproven of these and all children.

        Without paths, below the roots. Of more than four every dive takes one, from its own share of them.

        Returns
        -------
        mean_nodes, mean_work, stderr_nodes, failed : float
            ``failed`` is the share of dives that met an unproven node at ``max_depth``. The others leave them out; if
            there are no others, they are infinite.

        References
        ----------
        Knuth, Estimating the efficiency of backtrack programs, Math. Comp. 29 (1975).
        """
        _require(0.0 < target < np.inf, "target must be positive and finite")
        _require(n_dives >= 1 and max_depth >= 1, "n_dives and max_depth must be at least 1")
        rng = np.random.default_rng(seed)
        starts = list(paths) or [np.array([orthant], dtype=np.uint16) for orthant in range(self.n_roots)]
        few = len(starts) <= _FEW_PATHS
        sizes = np.zeros(n_dives)
        for dive in range(n_dives):
            first = 0 if few else (dive * len(starts) + int(rng.integers(len(starts)))) // n_dives
            chosen = starts if few else starts[first : first + 1]
            sizes[dive] = self._dive(chosen, target, rng, max_depth) * (len(starts) / len(chosen))
        good = sizes[np.isfinite(sizes)]
        if not len(good):
            return np.inf, np.inf, np.inf, 1.0
        error = float(good.std(ddof=1) / np.sqrt(len(good))) if len(good) > 1 else np.inf
        return float(good.mean()), float(good.mean()) * self.shape[0], error, 1.0 - len(good) / n_dives

    def _dive(self, starts: Sequence[Codes], target: float, rng: np.random.Generator, max_depth: int) -> float:
        cones = [self._problem.cone_at(tuple(int(entry) for entry in path)) for path in starts]
        weight, size = 1.0, 0.0
        for _ in range(max_depth + 1 - len(starts[0]) // 2):
            size += weight * len(cones)
            verdicts = [self._problem.examine(cone, target)[0] for cone in cones]
            unproven = [verdict for verdict in verdicts if isinstance(verdict, Split)]
            if not unproven:
                return size
            weight *= len(unproven)
            chosen = unproven[int(rng.integers(len(unproven)))]
            if chosen.code is None:
                break
            cones = [self._problem.child(chosen.cone, chosen.code, which) for which in (0, 1)]
        return np.inf


class _Pending(NamedTuple):
    """A node not examined yet: a child of ``parent``, or where that is None the end of a path given."""

    path: tuple[int, ...]
    parent: Split | None


class _Run:
    """One call of :meth:`ConeTreeSearch.run`."""

    def __init__(self, problem: ConeProblem, target: float, paths: list[Codes], n_roots: int) -> None:
        self._problem, self._target = problem, target
        for path in paths:
            _require(path.ndim == 1 and len(path) % 2 == 1 and int(path[0]) < n_roots, "a path names no node")
            _require_splits(path, problem.d)
        self._stack = [_Pending(tuple(int(entry) for entry in path), None) for path in reversed(paths)]
        self._codes: list[int] = []
        self._leaves: list[Leaf] = []
        self._work = self._max_depth = 0
        self._best_value, self._best_u = 0.0, np.zeros(problem.d)

    def finish(self, max_work: int, max_nodes: int, keep_leaves: bool) -> Subtrees:
        status = DONE
        while self._stack and status == DONE:
            status = self._visit(self._stack[-1])
            if status == DONE and (self._work >= max_work or len(self._codes) >= max_nodes) and self._stack:
                status = QUOTA
        left = [np.array(pending.path, dtype=np.uint16) for pending in reversed(self._stack)]
        leaves = self._leaves if keep_leaves else []
        return Subtrees(
            status=status,
            nodes=np.array(self._codes + [OPEN] * len(left), dtype=np.uint16),
            open_paths=left,
            work=self._work,
            n_nodes=len(self._codes),
            best_value=self._best_value,
            best_u=self._best_u,
            max_depth=self._max_depth,
            alphas=np.array([leaf.alpha for leaf in leaves], dtype=np.uint8).reshape(-1, self._problem.n),
            duals=np.array([leaf.dual for leaf in leaves], dtype=np.float64).reshape(-1, self._problem.d),
        )

    def _visit(self, pending: _Pending) -> int:
        """Examine the node on top of the stack; it stays there, open, if that ends the search."""
        depth = len(pending.path) // 2
        self._max_depth = max(self._max_depth, depth)
        verdict, points = self._examine(self._cone(pending))
        if self._look_at(points):
            return REFUTED
        if isinstance(verdict, Split) and (verdict.code is None or depth >= MAX_DEPTH):
            return TOO_DEEP
        self._stack.pop()
        if isinstance(verdict, Leaf):
            self._codes.append(LEAF)
            self._leaves.append(verdict)
        elif verdict.code is not None:
            self._codes.append(verdict.code)
            self._stack.extend(_Pending((*pending.path, verdict.code, which), verdict) for which in (1, 0))
        return DONE

    def _cone(self, pending: _Pending) -> Cone:
        if pending.parent is not None:
            return self._problem.child(pending.parent.cone, *pending.path[-2:])
        cone = self._problem.root(pending.path[0])
        for code, which in zip(pending.path[1::2], pending.path[2::2], strict=True):
            verdict, _ = self._examine(cone)
            cone = self._problem.child(verdict.cone if isinstance(verdict, Split) else cone, code, which)
        return cone

    def _examine(self, cone: Cone) -> tuple[Leaf | Split, Floats]:
        self._work += max(self._problem.n, len(cone.rays) ** 2)
        return self._problem.examine(cone, self._target)

    def _look_at(self, points: Floats) -> bool:
        """Follow the points that are better than all before uphill; return whether one refutes the target."""
        for u in points:
            if self._problem.value(u) > self._best_value:
                self._best_value, self._best_u = self._problem.ascend(u)
        return self._best_value > self._target


def _require_splits(path: Codes, d: int) -> None:
    k = min(2, d)
    for code, which in zip(path[1::2], path[2::2], strict=True):
        i, j = divmod(int(code), 256)
        _require(which < 2 and (k < d if code == EXTEND else i < j < k), "a path names a split that does not exist")
        k += code == EXTEND


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_array(array: Any, name: str, ndim: int) -> None:
    fits = isinstance(array, np.ndarray) and array.ndim == ndim and array.flags.c_contiguous
    if not fits or array.dtype != np.float64:
        raise TypeError(f"{name} must be a C-contiguous {ndim}-dimensional array of float64")
    _require(bool(np.isfinite(array).all()), f"{name} holds a value that is not finite")

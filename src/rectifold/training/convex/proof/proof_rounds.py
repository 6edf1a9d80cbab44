"""A proof in rounds: coarse trees give a dual point amid what they prove, and finer trees are cheaper there.

At the network's own dual point D is the largest, but most of its neurons gain alpha: trees need small cones around all
of them. An optimised point gains less everywhere. Which of them is best for the work that is left, dives tell.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import DyadicArray
from rectifold.training.convex.proof.dual_point import BoundInfo, DualBound, DualPoint, ProofEffort

__all__ = ["prove_in_rounds"]

_LEAST_WORK = 1.2e9
"""Of a budget that is worth several rounds: dives cost about as much as 1e8 a point."""
_SHARES = (0.08, 0.25)
"""Of the work left, for the rounds before the last."""
_LEAST_REST, _LEAST_GAIN = 0.2, 0.05
"""What the last round leaves of the budget and takes from the gap, where another is worth it at the point it found."""
_MUCH = 0.12
"""A relative gap that is worth looking for a better dual point."""


def prove_in_rounds(problem: ConvexReLUProblem, dual: DyadicArray, objective: float, effort: ProofEffort) -> DualBound:
    """Return the best lower bound on F that a budget proves, starting from the dual point of a network.

    A refutation of the network ends it; the counts are those of all rounds.
    """
    own = DualPoint(problem, dual, objective, effort)
    wanted = (1.0 - _MUCH) * objective
    direct = effort.max_work < _LEAST_WORK or effort.should_stop() or own.promise(effort.max_work) >= wanted
    shares = [] if direct else list(_SHARES)
    points, point, left = [own], own, effort.max_work
    best: DualBound | None = None
    counts: BoundInfo | None = None
    while True:
        allowed = int(shares.pop(0) * left) if shares else left
        proven = point.prove(allowed, reserves=point is own)
        found = point.optimized(proven, allowed - proven.info.work)
        before, left = left, left - found.info.work
        counts = _added(counts, found.info)
        gain = np.inf if best is None else (found.value - best.value) / (objective - best.value)
        best = found if best is None or gain > 0.0 else best
        if counts.violator is not None or best.value >= own.wanted or effort.should_stop():
            break
        is_new = found.dual is not proven.dual
        goes_on = is_new and gain >= _LEAST_GAIN and left >= max(_LEAST_REST * effort.max_work, _LEAST_WORK)
        if allowed == before and not goes_on:
            break
        if is_new:
            points.append(DualPoint(problem, found.dual, objective, effort, is_networks=False))
        promises = [candidate.promise(left) for candidate in points]
        point = points[promises.index(max(promises))]
        if point is not own or max(promises) >= wanted:
            shares.clear()
    return replace(best, info=replace(counts, tree_work=best.info.tree_work))


def _added(counts: BoundInfo | None, more: BoundInfo) -> BoundInfo:
    """Add the counts of a round; the rest is that of the first, which was at the network's point."""
    if counts is None:
        return more
    return replace(
        counts,
        violator=more.violator if counts.violator is None else counts.violator,
        attained=max(counts.attained, more.attained if more.violator is not None else 0.0),
        work=counts.work + more.work,
        n_nodes=counts.n_nodes + more.n_nodes,
        n_passes=counts.n_passes + more.n_passes,
    )

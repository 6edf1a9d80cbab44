"""What a proof at some rho is expected to cost: random dives, and a power law through the proofs that are finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rectifold.training.convex.proof.cone_sides import Side

__all__ = ["Forecast", "TreeCosts"]

Array = NDArray[np.float64]

_GRID = tuple(2.0 * 0.82**k for k in range(-6, 33))
"""Values of rho - 1 at which random dives are made; in between the logarithm of the work is interpolated."""
_WORK_PER_DIVE, _LEAST_DIVES, _MOST_DIVES = 1e7, 128, 512
"""Of the budget, for which another dive is made."""
_DIVE_DEPTH, _DIVE_SHARE, _FEWEST_DIVES = 40, 0.005, 16
"""Visits of every row by a dive, and the share of the budget that those at one rho may cost: fewer on large data."""
_USED = 3
"""The latest finished proofs that the power law goes through."""
_LEAST_POWER, _USUAL_POWER, _MOST_POWER = 0.7, 4.0, 8.0
_TELLING_NODES = 60
"""Trees with fewer nodes tell nothing about larger ones."""
_POWER_DOUBT, _DIVE_DOUBT, _LEAST_DOUBT = 0.3, 2.0, 0.1
"""Standard deviations of a logarithm: of the power law per unit it bridges, of dives per relative standard error."""


_TOO_DEAR = 700.0
"""A logarithm."""
_MOST_EXCESS = 1.15
"""Of an interpolated forecast, once its own dives are made."""


class Forecast(NamedTuple):
    """The logarithm of a work and the standard deviation of that."""

    mean: float
    doubt: float

    @property
    def work(self) -> float:
        """The work to count with: the more doubt, the further above the median."""
        return float(np.exp(min(self.mean + self.doubt**2, _TOO_DEAR)))

    @property
    def careful(self) -> float:
        """A work that is seldom exceeded."""
        return float(np.exp(min(self.mean + 2.0 * self.doubt, _TOO_DEAR)))


class TreeCosts:
    """Predicts the work of trees, each in the light of those that were finished before.

    Parameters
    ----------
    sides : sequence of Side
    levels : ndarray, shape (K,)
    budget : float
        The work that will be distributed: dives are made in proportion.

    Attributes
    ----------
    work_per_node : float
        Of the trees finished last; 0 before.
    """

    def __init__(self, sides: Sequence[Side], levels: Array, budget: float) -> None:
        self._sides, self._levels = sides, levels
        self._n_dives = int(np.clip(budget / _WORK_PER_DIVE, _LEAST_DIVES, _MOST_DIVES))
        if budget > 0.0:
            affordable = _DIVE_SHARE * budget / (_DIVE_DEPTH * sides[0].row_weights.shape[1])
            self._n_dives = max(min(self._n_dives, int(affordable)), _FEWEST_DIVES)
        self._dives: dict[float, Forecast] = {}
        self._finished: list[tuple[float, float]] = []
        self._missed = 0.0  # by the dives at the smallest rho finished, in the logarithm
        self._failed: list[tuple[float, float]] = []
        self.work_per_node = 0.0

    def by_dives(self) -> TreeCosts:
        """Return the same dives without what was learnt from trees, to compare with those of another dual point."""
        fresh = TreeCosts(self._sides, self._levels, 0.0)
        fresh._n_dives, fresh._dives = self._n_dives, self._dives
        return fresh

    def add(self, rho: float, work: int, n_nodes: int) -> None:
        """Take note of trees that were finished."""
        self.work_per_node = work / max(n_nodes, 1)
        if n_nodes >= _TELLING_NODES:
            x, y = float(np.log(rho - 1.0)), float(np.log(work))
            self._finished = [point for point in self._finished if point[1] < y] + [(x, y)]
            self._failed = [
                (failed, min(least, y + _MOST_POWER * (x - failed))) for failed, least in self._failed if failed < x
            ]
            missed = y - self._dive(rho).mean
            self._missed = missed if np.isfinite(missed) else 0.0

    def add_failure(self, rho: float, work: float) -> None:
        """Take note of trees that turned out to cost more than this."""
        self._failed.append((float(np.log(rho - 1.0)), float(np.log(max(work, 1.0)))))

    def forecast(self, rho: float) -> Forecast:
        """Return what trees at rho may cost, infinite where dives end in no leaf.

        The forecasts of dives and of the power law are weighted with their precisions.
        """
        x, power = float(np.log(rho - 1.0)), self._power()
        found = self._dive(rho)
        found = Forecast(found.mean + self._missed, float(np.hypot(found.doubt, self._missed)))
        if self._finished:
            law = self._extrapolated(x, power)
            found = _weighted(found, law) if found.mean < np.inf else law
        for failed, y in self._failed:
            least = y + (_MOST_POWER if failed < x else power) * (failed - x)
            found = found if found.mean >= least else Forecast(least, found.doubt)
        return found

    def least_rho(self, low: float, high: float, allowed: float) -> float | None:
        """Return the smallest rho from low up to below high that is expected to cost no more than allowed."""
        rhos = [*(1.0 + step for step in _GRID if low * 1.0005 < 1.0 + step < high), low]
        first, last = 0, len(rhos)  # those before first are affordable, those from last on are not
        while first < last:
            middle = (first + last) // 2
            if self.forecast(rhos[middle]).work <= allowed:
                first = middle + 1
            else:
                last = middle
        if first == 0 or low >= high:
            return None
        if first == len(rhos):
            return low
        return self._between(rhos[first], rhos[first - 1], allowed)

    def _between(self, small: float, large: float, allowed: float) -> float:
        """Interpolate between a rho that is too dear and one that is not."""
        dear, cheap = np.log(self.forecast(small).work), np.log(self.forecast(large).work)
        if not cheap < dear < _TOO_DEAR:
            return large
        part = np.clip((np.log(allowed) - cheap) / (dear - cheap), 0.0, 1.0)
        between = 1.0 + float((large - 1.0) ** (1.0 - part) * (small - 1.0) ** part)
        return between if self.forecast(between).work <= _MOST_EXCESS * allowed else large

    def _power(self) -> float:
        if len(self._finished) < 2:
            return _USUAL_POWER
        x, y = np.array(self._finished[-_USED:]).T
        slope = -float((x - x.mean()) @ y) / float(((x - x.mean()) ** 2).sum())
        return float(np.clip(slope, _LEAST_POWER, _MOST_POWER))

    def _extrapolated(self, x: float, power: float) -> Forecast:
        last_x, last_y = self._finished[-1]
        rise = power * (last_x - x)
        return Forecast(last_y + rise, _POWER_DOUBT * abs(rise) + _LEAST_DOUBT)

    def _dive(self, rho: float) -> Forecast:
        if rho not in self._dives:
            total = square = 0.0
            for side in self._sides:
                work, error = side.estimate(rho * self._levels[side.output], self._n_dives)
                total, square = total + work, square + error**2
                if total == np.inf:
                    break
            doubt = _DIVE_DOUBT * float(np.sqrt(square)) / total + _LEAST_DOUBT if total < np.inf else np.inf
            self._dives[rho] = Forecast(float(np.log(total)), doubt)
        return self._dives[rho]


def _weighted(a: Forecast, b: Forecast) -> Forecast:
    one, other = a.doubt**-2, b.doubt**-2
    return Forecast((one * a.mean + other * b.mean) / (one + other), float((one + other) ** -0.5))

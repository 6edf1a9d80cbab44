"""The settings each solver is swept over, loose to tight (kept apart from the adapters, which import the solvers)."""

from __future__ import annotations

from typing import Any

ADELIE_CONSTRAINTS: dict[str, dict[str, float]] = {
    "default": {},
    "both 1e-9": {"nnls_tol": 1e-9, "pinball_tol": 1e-9},
    "both 1e-12": {"nnls_tol": 1e-12, "pinball_tol": 1e-12, "nnls_max_iters": 10**7, "pinball_max_iters": 10**7},
}
_TENTHS = {"scnn": (4, 12), "clarabel": (3, 10), "rectifold": (2, 10)}


def sweep_of(solver: str) -> list[dict[str, Any]]:
    """Settings of 'scnn', 'adelie', 'clarabel' or 'rectifold'; a ``group`` is swept on its own.

    adelie: every decade with its default constraint tolerances, every other decade with tightened ones (they only pay
    where the default stalls).
    """
    if solver == "adelie":
        tenths = {"default": range(6, 15), "both 1e-9": range(8, 15, 2), "both 1e-12": range(10, 15, 2)}
        return [{"tol": 10.0**-k, "constraint": c, "matrix": "dense", "group": c} for c in tenths for k in tenths[c]]
    loosest, tightest = _TENTHS[solver]
    return [{"tol": 10.0**-k} for k in range(loosest, tightest + 1)]

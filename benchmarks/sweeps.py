"""The settings each solver is swept over, loose to tight (kept apart from the adapters, which import the solvers)."""

from __future__ import annotations

from typing import Any

ADELIE_CONSTRAINTS: dict[str, dict[str, float]] = {
    "default": {},
    "pinball 1e-10": {"pinball_tol": 1e-10},
    "both 1e-9": {"nnls_tol": 1e-9, "pinball_tol": 1e-9},
    "both 1e-12": {"nnls_tol": 1e-12, "pinball_tol": 1e-12, "nnls_max_iters": 10**7, "pinball_max_iters": 10**7},
}


def sweep_of(solver: str) -> list[dict[str, Any]]:
    """Settings of 'scnn', 'adelie', 'clarabel' or 'rectifold'; a ``group`` is swept on its own."""
    if solver == "adelie":
        kinds = [(name, "dense", name) for name in ADELIE_CONSTRAINTS] + [("default", "convex_relu", "lazy matrix")]
        return [{"tol": 10.0**-k, "constraint": c, "matrix": m, "group": g} for c, m, g in kinds for k in range(5, 15)]
    loosest, tightest = {"scnn": (3, 12), "clarabel": (2, 11), "rectifold": (2, 10)}[solver]
    return [{"tol": 10.0**-k} for k in range(loosest, tightest + 1)]

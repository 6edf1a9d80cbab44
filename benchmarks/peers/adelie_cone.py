"""adelie's block coordinate descent with one linear constraint ``A_b w_b >= 0`` a group.

adelie minimises ``1/2 sum_i (1/n)(y_i - f_i)^2 + lmda sum_g omega_g ||w_g||``: ``lmda = lam / n``, ``omega = 1`` (its
default is the root of the group size). Its constraint is ``lower <= A x <= upper`` on dense, row-major ``A``; building
the constraint objects is not timed (they are rebuilt for each run: they keep their multipliers). Swept: its tolerance,
with the constraint's own tolerances at their defaults and tightened. The explicit matrix is used: its own lazy
``convex_relu`` matrix took the same time to within 3 % on breast and diabetes.
"""

from __future__ import annotations

from typing import Any

import adelie as ad
import numpy as np
from numpy.typing import NDArray

from benchmarks.instances import FixedProgram
from benchmarks.sweeps import ADELIE_CONSTRAINTS


def prepare(program: FixedProgram, setting: dict[str, Any]) -> dict[str, Any]:
    """Matrix, groups and constraints."""
    X, D = program.X, program.patterns
    P, d = D.shape[1], X.shape[1]
    if setting["matrix"] == "dense":
        Y = (D.T[:, :, None] * X).transpose(1, 0, 2).reshape(len(X), P * d)
        matrix: Any = np.asfortranarray(np.c_[Y, -Y])
    else:
        matrix = ad.matrix.convex_relu(np.asfortranarray(X), np.asfortranarray(D))
    cones = [np.ascontiguousarray(np.where(D[:, [i]], X, -X)) for i in range(P)]
    return {"matrix": matrix, "groups": np.arange(0, 2 * P * d, d), "cones": cones, "constraints": None}


def rearm(state: dict[str, Any], setting: dict[str, Any]) -> None:
    """Fresh constraint objects (untimed)."""
    configs = dict(ADELIE_CONSTRAINTS[setting["constraint"]])
    n = state["cones"][0].shape[0]
    lower, upper = np.zeros(n), np.full(n, np.inf)
    state["constraints"] = [
        ad.constraint.linear(A, lower, upper, configs=configs, dtype=np.float64) for A in state["cones"] * 2
    ]


def solve(
    state: dict[str, Any], program: FixedProgram, setting: dict[str, Any]
) -> tuple[NDArray[np.float64], float | None]:
    """Block weights (2P, d) and the time adelie itself reports for its fit."""
    P, d = program.patterns.shape[1], program.X.shape[1]
    result = ad.grpnet(
        state["matrix"], ad.glm.gaussian(program.y), constraints=state["constraints"], groups=state["groups"],
        penalty=np.ones(2 * P), lmda_path=np.array([program.alpha]), tol=setting["tol"], intercept=False,
        early_exit=False, progress_bar=False, n_threads=1, max_iters=10**8,
    )  # fmt: skip
    W = result.betas[-1].toarray().reshape(2 * P, d)
    own = float(
        np.sum(result.benchmark_fit_active) + np.sum(result.benchmark_fit_screen) + np.sum(result.benchmark_screen)
    )
    return W, own

"""Random small problems, many of them degenerate, with the exact answers that all patterns give."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from rectifold import _kernels
from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.restricted.patterns import all_patterns
from rectifold.training.convex.solve import solve_convex_relu

DATA = (
    "generic", "duplicates", "zero rows", "zero columns", "collinear columns", "integer grid", "opposite", "scaled",
    "one cluster",
)  # fmt: skip
LOSSES = ("squared", "squared", "squared_hinge", "logistic", "multinomial")


def exact_gains(X, theta):
    """``max_{||u|| <= 1} +-theta_k'(Xu)_+`` by a projection on the cone of every pattern, shape (K, 2)."""
    gains = np.zeros((theta.shape[1], 2))
    size = np.linalg.norm(X, axis=0)
    if not size.any():
        return gains
    patterns = np.ascontiguousarray(all_patterns(X / np.where(size > 0, size, 1.0)).T)
    for k, r in enumerate(theta.T):
        norms = _kernels.price_cones(X, patterns, r.copy(), -np.inf, 1e-12, np.zeros((0, 0), np.int32), 1)[1]
        gains[k] = norms.reshape(-1, 2).max(axis=0, initial=0.0)
    return gains


def sizes(X, theta):
    """``sum_i |theta_ik| ||x_i||``: no gain is larger, shape (K,)."""
    return np.linalg.norm(X, axis=1) @ np.abs(theta)


@dataclass(frozen=True, eq=False)
class Case:
    """A problem as its user would state it, at most 4 columns with the one for the bias."""

    name: str
    X: np.ndarray
    y: np.ndarray
    alpha: float
    switches: dict

    @cached_property
    def problem(self):
        return ConvexReLUProblem(self.X, self.y, self.alpha, **self.switches)

    @property
    def is_convex_program(self):
        """Whether training over given patterns is: one output, or several that are independent."""
        problem = self.problem
        return problem.n_outputs == 1 or (problem.output_penalty == "l1" and problem.loss.separable)

    @cached_property
    def best(self):
        """A minimum over all patterns; where that is no convex program, a network, whose F is no lower."""
        X = self.X if not self.switches["hidden_bias"] else np.column_stack([self.X, np.full(len(self.X), self._bias)])
        if not self.is_convex_program or not X.any():
            options = {"certify": False, "n_starts": 5, "max_iter": 2}
            return solve_convex_relu(self.X, self.y, self.alpha, **options, **self.switches)
        patterns = all_patterns(X)
        return solve_convex_relu(self.X, self.y, self.alpha, patterns, certify=False, **self.switches)

    @property
    def _bias(self):
        """A column for the bias that suits the data's size: the patterns are those of a column of ones."""
        return np.abs(self.X).max() or 1.0


@cache
def random_case(seed, n_max=30):
    rng = np.random.default_rng(seed)
    hidden_bias = (True, False, "free")[rng.integers(3)]
    intercept = hidden_bias == "free" or bool(rng.integers(2))
    loss = LOSSES[rng.integers(len(LOSSES))]
    outputs = 3 if loss == "multinomial" else 1 if loss == "logistic" else int(rng.choice([1, 1, 2, 3]))
    d = int(rng.integers(1, 5 if hidden_bias is False else 4))
    n, kind = int(rng.integers(max(3, outputs), n_max + 1)), DATA[rng.integers(len(DATA))]
    X = _inputs(kind, rng, n, d)
    if hidden_bias == "free" and not X.any():
        X[0] = 1.0
    switches = {
        "loss": loss,
        "hidden_bias": hidden_bias,
        "fit_intercept": intercept,
        "output_penalty": ("l1", "l2")[rng.integers(2)],
        "sample_weight": _weights(rng, n),
    }
    y = _targets(loss, outputs, rng, X)
    null = ConvexReLUProblem(X, y, 1.0, **switches)
    most, size = (float(f(null.design, null.null_theta).max()) for f in (exact_gains, sizes))
    scale = most if most > 1e-9 * size else max(size, 1.0)
    alpha = scale * float(np.exp(rng.uniform(np.log(0.03), np.log(0.9))))
    stated = ", ".join(f"{name}={value}" for name, value in switches.items() if name != "sample_weight")
    return Case(
        f"seed {seed} (n_max={n_max}): {kind}, n={n}, d={d}, outputs={outputs}, {stated}", X, y, alpha, switches
    )


def _inputs(kind, rng, n, d):
    X = rng.standard_normal((n, d))
    if kind == "duplicates":
        X = X[rng.integers(0, (n + 1) // 2, n)]
    elif kind == "zero rows":
        X[rng.random(n) < 0.4] = 0.0
    elif kind == "zero columns":
        X[:, rng.random(d) < 0.5] = 0.0
    elif kind == "collinear columns":
        X[:, -1] = -2.0 * X[:, 0]
    elif kind == "integer grid":
        X = rng.integers(-2, 3, (n, d)).astype(float)
    elif kind == "opposite":
        X[n // 2 :] = -X[: n - n // 2]
    elif kind == "scaled":
        X *= 10.0 ** rng.uniform(-3, 3, d)
    elif kind == "one cluster":
        X = 5.0 + 0.1 * X
    return X


def _targets(loss, outputs, rng, X):
    n = len(X)
    if loss != "squared":
        classes = 2 if outputs == 1 else 3  # "two" outputs of a hinge are three classes too
        labels = np.arange(n) % classes
        labels[4:] = rng.permutation(labels[4:])  # the first rows keep a weight, and so every class does
        return np.where(labels, 1.0, -1.0) if classes == 2 else labels
    Y = np.abs(X @ rng.standard_normal((X.shape[1], outputs))) + rng.uniform(0, 1) * rng.standard_normal((n, outputs))
    Y = np.round(Y) if rng.integers(4) == 0 else Y
    return Y[:, 0] if outputs == 1 else Y


def _weights(rng, n):
    kind = rng.integers(3)
    if kind == 0:
        return None
    if kind == 1:
        return rng.uniform(0.1, 3.0, n)
    weights = rng.integers(0, 3, n).astype(float)
    weights[:4] = 1.0
    return weights

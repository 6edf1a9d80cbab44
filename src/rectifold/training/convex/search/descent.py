"""Local descent on the network itself: L-BFGS on neurons of fixed output sign or on (w, a) pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.search.pricing import Priced

Array = NDArray[np.float64]


@dataclass
class Neurons:
    """A two-layer network in design coordinates.

    Attributes
    ----------
    directions : ndarray, shape (m, d)
    outputs : ndarray, shape (m, K)
    intercept : ndarray, shape (K,)
    """

    directions: Array
    outputs: Array
    intercept: Array

    def __len__(self) -> int:
        return len(self.directions)

    def fit(self, X: Array) -> Array:
        """Return the outputs at the rows of X, shape (n, K)."""
        return np.asarray(np.maximum(X @ self.directions.T, 0.0) @ self.outputs + self.intercept)

    def balanced(self) -> Neurons:
        """Return the same function with ``||w_j|| = ||a_j||``, dead neurons left out."""
        w, a = np.linalg.norm(self.directions, axis=1), np.linalg.norm(self.outputs, axis=1)
        alive = w * a > 0
        scale = np.sqrt(a[alive] / w[alive])[:, None]
        return Neurons(self.directions[alive] * scale, self.outputs[alive] / scale, self.intercept)


def random_neurons(problem: ConvexReLUProblem, width: int, rng: np.random.Generator) -> Neurons:
    """Draw neurons of random direction with random output signs, small enough for the constant to dominate."""
    d, k = problem.design.shape[1], problem.n_outputs
    size = np.sqrt(problem.null_value / (problem.alpha * width)) * 0.3
    w = rng.standard_normal((width, d))
    a = rng.standard_normal((width, k))
    if problem.output_penalty == "l1":  # an optimum has neurons that feed one output each
        a *= np.arange(k) == (np.arange(width) % k)[:, None]
    w *= size / np.linalg.norm(w, axis=1, keepdims=True)
    a *= size / np.linalg.norm(a, axis=1, keepdims=True)
    return Neurons(w, a, problem.null_intercept.copy())


def descend(
    problem: ConvexReLUProblem,
    start: Neurons,
    *,
    max_iter: int,
    single: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Neurons:
    """Run L-BFGS on ``loss + alpha/2 sum_j (||w_j||^2 + ||a_j||^2)``, whose minimum is that of F.

    Output weights that are zero stay zero, so that under the l1 penalty neurons that feed one output each, for which
    both norms agree, keep doing so. One evaluation costs ``O(n m (d + K))`` in matrix products. It stalls at kinks,
    1e-5 to 1e-2 above the optimum: a start, not an answer. ``single`` forms the large products in single precision,
    for the same far from the optimum.
    """
    if len(start) == 0:
        return start
    m, d, k = len(start), problem.design.shape[1], problem.n_outputs
    X = problem.design.astype(np.float32) if single else problem.design
    support = start.outputs != 0

    def unpack(z: Array) -> Neurons:
        return Neurons(z[: m * d].reshape(m, d), z[m * d : m * (d + k)].reshape(m, k), z[m * (d + k) :])

    def value(z: Array) -> tuple[float, Array]:
        net = unpack(z)
        outputs = net.outputs.astype(X.dtype)
        pre = X @ net.directions.T.astype(X.dtype)
        active = pre > 0
        hidden = np.multiply(pre, active, out=pre)
        f = (hidden @ outputs).astype(np.float64) + net.intercept
        theta = problem.theta(f)
        grad_pre = (theta.astype(X.dtype) @ outputs.T) * active
        total = problem.loss_value(f) + 0.5 * problem.alpha * float((net.directions**2).sum() + (net.outputs**2).sum())
        grad_w = problem.alpha * net.directions - grad_pre.T @ X
        grad_c = -theta.sum(axis=0) if problem.fit_intercept else np.zeros(k)
        grad_out = (problem.alpha * net.outputs - hidden.T @ theta.astype(X.dtype)) * support
        return total, np.concatenate([grad_w.ravel(), grad_out.ravel(), grad_c])

    def stop(_: Array) -> None:
        if should_stop():
            raise StopIteration

    z0 = np.concatenate([start.directions.ravel(), start.outputs.ravel(), start.intercept])
    options = {"maxiter": max_iter, "maxcor": 20, "ftol": 1e-12, "gtol": 1e-9 * problem.alpha, "maxfun": 2 * max_iter}
    result = minimize(value, z0, jac=True, method="L-BFGS-B", callback=stop, options=options)
    return unpack(result.x)


def extended(problem: ConvexReLUProblem, neurons: Neurons, priced: Priced, most: int) -> Neurons:
    """Add the directions that price out, each with the step that is best for it alone, shared among them."""
    entering = np.flatnonzero(priced.values > problem.alpha * (1 + 1e-7))[:most]
    if len(entering) == 0:
        return neurons
    u, a = priced.directions[entering], priced.outputs[entering]
    curvature = problem.loss.smoothness * (problem.weights @ np.maximum(problem.design @ u.T, 0.0) ** 2)
    step = (priced.values[entering] - problem.alpha) / np.maximum(curvature, 1e-300) / len(entering)
    root = np.sqrt(step)[:, None]
    return Neurons(np.vstack([neurons.directions, root * u]), np.vstack([neurons.outputs, root * a]), neurons.intercept)

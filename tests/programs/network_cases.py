"""Networks of the walk's tests, and answers that do not come from the walk."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import linprog

import rectifold as rf
from rectifold._kernels.reference.vertex_walk import DenseVertexWalk

# best known values over [-1, 1]^d, seeds 0, 1, 2; those with one hidden layer are proven
BEST = {
    (5, 50): (-1.1260942432, -2.4305906172, -2.5429769004),
    (10, 50): (-2.9335688836, -4.2862715718, -2.3775645016),
    (20, 50): (-3.9903631338, -2.4517331071, -3.3953240691),
    (5, 50, 50): (-2.2730757449, -3.0417985960, -2.1023184934),
    (10, 50, 50): (-1.9770284408, -1.2709962850, -1.4018129456),
    (20, 50, 50): (-3.2259592313, -2.9291271885, -2.4439042195),
}
CASES = [(dims, seed, value) for dims, values in BEST.items() for seed, value in enumerate(values)]


def he_network(dims, seed):
    """Random He weights, biases of size 0.5."""
    rng = np.random.default_rng(seed)
    weights, biases = [], []
    for inputs, width in itertools.pairwise(dims):
        weights.append(rng.standard_normal((width, inputs)) * np.sqrt(2.0 / inputs))
        biases.append(0.5 * rng.standard_normal(width))
    output = rng.standard_normal(dims[-1]) / np.sqrt(dims[-1])
    return rf.ReLUNetwork([*weights, output[None]], [*biases, np.zeros(1)])


def without_biases(net):
    return rf.ReLUNetwork(net.weights, [np.zeros_like(b) for b in net.biases], net.slopes)


def cube(n, size=1.0):
    return rf.Box(np.full(n, -size), size)


def walk_of(net, domain, kind=DenseVertexWalk):
    """A walk over the first output."""
    rows = domain.inequality_rows()
    lo = np.concatenate([lo for lo, _ in net.slopes] or [np.zeros(0)])
    hi = np.concatenate([hi for _, hi in net.slopes] or [np.zeros(0)])
    parts = (np.array(net.weights[-1][0]), float(net.biases[-1][0]), *(np.array(part) for part in rows))
    return kind(list(net.weights[:-1]), list(net.biases[:-1]), lo, hi, *parts, domain.equalities()[0])


def integer_network(rng, n_inputs):
    """Small integer weights and biases, and slopes of all kinds: many units meet in one point."""
    dims = [n_inputs, *rng.integers(1, 9, rng.integers(1, 4))]
    weights = [rng.integers(-2, 3, (o, i)).astype(float) for i, o in itertools.pairwise(dims)]
    biases = [rng.integers(-1, 2, o).astype(float) for o in dims[1:]]
    kinds = [lambda o: (0.0, 1.0), lambda o: (0.25, 1.0), lambda o: (-1.0, 1.0)]
    kinds.append(lambda o: (rng.integers(0, 2, o).astype(float), 1.0))  # some units pass through
    slopes = [kinds[rng.integers(4)](o) for o in dims[1:]]
    output = rng.integers(-2, 3, (1, dims[-1])).astype(float)
    return rf.ReLUNetwork([*weights, output], [*biases, np.zeros(1)], slopes)


def steepest_sampled_slope(net, domain, x, rng, step=1e-6):
    """The least difference quotient over many directions that stay in the domain."""
    n = len(x)
    U = np.concatenate([rng.standard_normal((3000, n)), np.sign(rng.standard_normal((200, n))), np.eye(n), -np.eye(n)])
    points = x + step * U / np.linalg.norm(U, axis=1, keepdims=True)
    G, h = domain.rows()
    points = points[(points @ G.T <= h).all(axis=1)]
    return ((net(points)[:, 0] - net(x)[0]) / step).min(initial=np.inf)


def pinball_network(X, y, quantile):
    """The sum of pinball losses as a network in the coefficients."""
    return rf.ReLUNetwork([X, np.ones((1, len(X)))], [-y, np.zeros(1)], [(-quantile, 1.0 - quantile)])


def pinball_minimum(X, y, quantile, domain=None):
    """The least sum of pinball losses by a linear program."""
    n, d = X.shape
    G, h = (np.zeros((0, d)), np.zeros(0)) if domain is None else domain.rows()
    cost = np.concatenate([np.zeros(d), np.full(n, 1.0 - quantile), np.full(n, quantile)])
    A_eq = np.hstack([X, -np.eye(n), np.eye(n)])
    bounds = [(None, None)] * d + [(0, None)] * (2 * n)
    A_ub = np.hstack([G, np.zeros((len(G), 2 * n))])
    return linprog(cost, A_ub if len(G) else None, h if len(G) else None, A_eq, y, bounds).fun

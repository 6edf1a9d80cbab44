"""Networks and data of the layer-training tests, and answers that do not come from the walk."""

from __future__ import annotations

import itertools

import numpy as np

import rectifold as rf

# samples, inputs, units, whether a teacher made the targets; loss at the start, and where another program ended
TABLE = [
    (200, 4, 5, False, 300.04, 258.832),
    (200, 4, 5, True, 507.57, 93.342),
    (500, 2, 5, True, 783.16, 293.462),
    (1000, 5, 10, False, 1530.61, 1389.667),
    (1000, 5, 10, True, 3019.09, 458.776),
    (2000, 10, 10, True, 9056.27, 811.454),
]


def recipe(n, d, h, teacher):
    """A random network with one hidden layer, with data of five neurons and t(2) noise, or of none."""
    rng = np.random.default_rng(1)
    W, b = rng.standard_normal((h, d)) / np.sqrt(d), 0.5 * rng.standard_normal(h)
    w = rng.standard_normal(h) / np.sqrt(h)
    X = rng.standard_normal((n, d))
    if teacher:
        V = rng.standard_normal((5, d))
        y = np.maximum(X @ V.T, 0.0).sum(axis=1) - 2.0 + 0.3 * rng.standard_t(2, n)
    else:
        y = rng.uniform(-3.0, 3.0, n)
    return rf.ReLUNetwork([W, w[None]], [b, [0.0]]), X, y


def deep_case(dims, n, seed, *, slopes=None):
    """A random deep network and random targets."""
    rng = np.random.default_rng(seed)
    shapes = list(itertools.pairwise([*dims, 1]))
    weights = [rng.standard_normal((o, i)) * np.sqrt(2.0 / i) for i, o in shapes]
    biases = [0.5 * rng.standard_normal(o) for _, o in shapes]
    X = rng.standard_normal((n, dims[0]))
    return rf.ReLUNetwork(weights, biases, slopes), X, 3.0 * rng.standard_normal(n)


def loss_of(net, X, y, weights=1.0):
    return float((weights * np.abs(net(X)[:, 0] - y)).sum())


def parameters(net, layer):
    return np.column_stack([net.weights[layer], net.biases[layer]]).ravel()


def with_parameters(net, layer, theta):
    rows = np.reshape(theta, (len(net.biases[layer]), -1))
    weights, biases = list(net.weights), list(net.biases)
    weights[layer], biases[layer] = rows[:, :-1], rows[:, -1]
    return rf.ReLUNetwork(weights, biases, net.slopes)


def steepest_sampled_slope(net, layer, X, y, rng, step=1e-7, count=400):
    """The least difference quotient of the loss over many directions in the weights of a layer."""
    theta, start = parameters(net, layer), loss_of(net, X, y)
    U = np.concatenate([rng.standard_normal((count, len(theta))), np.eye(len(theta)), -np.eye(len(theta))])
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    return min((loss_of(with_parameters(net, layer, theta + step * u), X, y) - start) / step for u in U)


def block_diagonal(data, shifts):
    """The loss of a `LayerData` as a network in the layer's weights, every sample with its own copy of all units."""
    blocks, m = data.inputs.shape
    first = np.zeros((data.width * blocks, data.n_parameters))
    for k in range(data.width):
        first[k * blocks : (k + 1) * blocks, k * m : (k + 1) * m] = data.inputs
    weights = [first, *(np.kron(weight, np.eye(blocks)) for weight, _ in data.above)]
    biases = [shifts.ravel(), *(np.repeat(bias, blocks) for _, bias in data.above)]
    slopes = [(np.repeat(lo, blocks), np.repeat(hi, blocks)) for lo, hi in data.slopes]
    output, offset = data.output
    fits = np.kron(output[None], np.eye(blocks))[data.block_of]
    weights += [fits, np.ones((1, len(data.targets)))]
    biases += [offset - data.targets, np.zeros(1)]
    return rf.ReLUNetwork(weights, biases, [*slopes, (-data.weights, data.weights)])


def layer_walk(kind, data, shifts):
    """A walk of one kind over a `LayerData`."""
    above, (output, offset) = data.above, data.output
    lo, hi = (np.concatenate(sides) for sides in zip(*data.slopes, strict=True))
    parts = ([w.copy() for w, _ in above], [b.copy() for _, b in above], lo, hi, np.array(output), offset)
    return kind(data.inputs, shifts, *parts, data.starts, data.targets, data.weights)

"""Pruning of networks trained by other libraries: their training predictions stay."""

import warnings

import numpy as np
import pytest
from problems import small

import rectifold as rf


def test_scikit_learn():
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    X, y = small(0, n=60, d=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLPRegressor(hidden_layer_sizes=(150,), max_iter=30, random_state=0).fit(X, y)
        classes = MLPClassifier(hidden_layer_sizes=(100,), max_iter=20, random_state=0).fit(X, np.digitize(y, [0, 1]))
    pruned = rf.prune(rf.from_sklearn(model), X, y)
    assert pruned.width < 60
    np.testing.assert_allclose(pruned.network(X)[:, 0], model.predict(X), atol=1e-9)
    pruned = rf.prune(rf.from_sklearn(classes), X)
    assert pruned.network.n_outputs == 3
    np.testing.assert_array_equal(pruned.network(X).argmax(axis=1), classes.predict(X))


def test_torch():
    torch = pytest.importorskip("torch", reason="needs the package torch")
    X, y = small(0, n=50, d=2)
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 120), torch.nn.ReLU(), torch.nn.Linear(120, 1))
    inputs, targets = (torch.tensor(a, dtype=torch.float32) for a in (X, y[:, None]))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        ((module(inputs) - targets) ** 2).mean().backward()
        optimizer.step()
    network = rf.from_torch(module)
    pruned = rf.prune(network, X)
    assert pruned.width < 50
    np.testing.assert_allclose(pruned.network(X), network(X), atol=1e-9)
    with torch.no_grad():
        np.testing.assert_allclose(pruned.network(X), module(inputs).numpy(), atol=1e-5)


def test_single_precision_splits_need_a_wider_tolerance():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3))
    hidden, output = rng.standard_normal((6, 4)) * [1.0, 1.0, 1.0, 0.2], rng.standard_normal(6)
    halves = np.vstack([hidden / 3.0, hidden * 0.7]).astype(np.float32)
    network = rf.ReLUNetwork([halves[:, :3], np.tile(output, 2)[None].astype(np.float32)], [halves[:, 3], np.zeros(1)])
    assert rf.prune(network, X).width > 6
    pruned = rf.prune(network, X, tol=1e-6)
    assert pruned.width == 6
    np.testing.assert_allclose(pruned.network(X), network(X), atol=1e-5)

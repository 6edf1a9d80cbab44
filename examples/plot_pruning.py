"""
Pruning a network that somebody else trained
============================================

Neurons of any two-layer ReLU network can be rescaled along linear dependences of their activations until as few are
left as there are independent columns: the training predictions stay as they are, and the penalty does not rise. Below
that width a least-squares correction does what magnitude pruning leaves undone.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale

import rectifold as rf

X, y = load_diabetes(return_X_y=True)
X, y = scale(X)[:, [2, 8]], scale(y)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mlp = MLPRegressor(hidden_layer_sizes=600, solver="lbfgs", alpha=1.0, max_iter=300, random_state=0).fit(X, y)
network = rf.from_sklearn(mlp)

# %%
# 600 neurons at 442 samples.

pruned = rf.prune(network, X, y, alpha=1e-3, hidden_bias="free", continue_to=1)
print(pruned)
print("training predictions change by at most", f"{np.abs(pruned.network(X)[:, 0] - mlp.predict(X)).max():.1e}")

# %%
# Below the minimal width, beside leaving out the neurons of least ``||w|| |a|``.


def loss(net):
    """Mean squared error at the samples."""
    return np.mean((net(X)[:, 0] - y) ** 2)


def by_magnitude(net, width):
    """Keep the largest neurons."""
    w, a = net.weights[0], net.weights[1]
    kept = np.argsort(-np.linalg.norm(w, axis=1) * np.linalg.norm(a, axis=0))[:width]
    return rf.ReLUNetwork([w[kept], a[:, kept]], [net.biases[0][kept], net.biases[1]])


widths = [w for w in (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200) if w < pruned.width]
fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(widths, [loss(by_magnitude(pruned.network, w)) for w in widths], "o-", label="by magnitude")
ax.plot(widths, [loss(pruned.at_width(w)) for w in widths], "o-", label="least-squares correction")
ax.axhline(loss(network), color="0.5", linestyle="--", label="all neurons")
ax.set(xscale="log", yscale="log", xlabel="neurons", ylabel="training error")
ax.legend()
plt.show()

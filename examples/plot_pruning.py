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
from rectifold.plotting import PruningDisplay

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

display = PruningDisplay.from_result(pruned, X, y)
display.ax_.set_xlim(right=0.9 * pruned.width)
plt.show()

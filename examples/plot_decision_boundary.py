"""
A classifier in the plane, and its folds
========================================

A ReLU network is affine on polygons; its neurons are the folds between them. In two dimensions one can see all of it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.preprocessing import scale

import rectifold as rf

X, y = make_moons(n_samples=80, noise=0.2, random_state=0)
X = scale(X)
model = rf.ConvexReLUClassifier(alpha=0.01).fit(X, y)
print(f"{model.n_neurons_} neurons, gap {model.gap_:.1%} proven, {model.priced_gap_:.1e} by search: {model.proof_}")
print(f"training accuracy {model.score(X, y):.3f}")

# %%
# The hidden layer's rows are the normals of the folds: neuron ``j`` switches where ``W[j] @ x + b[j] = 0``.

W, b = model.network_.weights[0], model.network_.biases[0]
side = np.linspace(-3, 3, 200)
grid = np.stack(np.meshgrid(side, side), axis=-1)
points = grid.reshape(-1, 2)
probability = model.predict_proba(points)[:, 1].reshape(grid.shape[:2])
preactivation = (points @ W.T + b).reshape(*grid.shape[:2], -1)

fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
shading = ax.contourf(side, side, probability, levels=np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.7)
ax.contour(side, side, probability, levels=[0.5], colors="black", linewidths=2)
for j in range(len(b)):
    ax.contour(side, side, preactivation[..., j], levels=[0.0], colors="grey", linestyles="dashed", linewidths=1)
ax.scatter(*X.T, c=y, cmap="RdBu_r", edgecolors="black")
ax.set(title=f"decision boundary (black) and {model.n_neurons_} folds (dashed)", aspect="equal")
fig.colorbar(shading, label="probability of class 1")
plt.show()

# %%
# Between folds the network is one affine map, which can be asked for.

local = model.network_.affine_map([0.5, 0.5])
print("log-odds near (0.5, 0.5):", np.round(local.matrix[0], 3), "@ x +", np.round(local.offset[0], 3))

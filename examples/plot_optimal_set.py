"""
All optimal networks at once
============================

A training problem can have many optimal networks. They agree at the samples, and may differ everywhere else: the
optimal set is a polytope, and linear programs give the range of whatever is linear over it, predictions for instance.
"""

import matplotlib.pyplot as plt
import numpy as np

import rectifold as rf
from rectifold.plotting import OptimalSetDisplay

X = np.linspace(-1, 1, 7)[:, None]
y = X[:, 0]
result = rf.solve_convex_relu(X, y, alpha=0.02, hidden_bias="free")

# %%
# The data lie on a line, so one neuron is enough. But which? One that is on from the left, or one from the right: the
# samples cannot tell, and every mixture of the two is optimal as well.

optima = rf.optimal_set(result, X, y)
print(optima)

# %%
# At the samples all of them predict the same; beyond, they part.

OptimalSetDisplay.from_optimal_set(optima, limits=(-2, 2), n_members=4, feature_name="x")
plt.show()

# %%
# A vertex uses as few neurons as can be: here one.

for vertex in optima.vertices():
    print(vertex.width, "neuron, objective", f"{vertex.objective:.10f}")

"""
Sampled gates against column generation
=======================================

The convex program over *sampled* activation patterns is often called the training problem. It is not: its optimum
stays well above that of the program over all patterns, which column generation solves.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale

import rectifold as rf

X, label = load_wine(return_X_y=True)
X, y = scale(X), np.where(label == 1, 1.0, -1.0)
alpha = 0.1 * rf.alpha_max(X, y)

# %%
# All patterns: start from a few, and let pricing bring in the neurons that lower the objective.

start = time.perf_counter()
everything = rf.solve_convex_relu(X, y, alpha)
seconds = time.perf_counter() - start
print(f"all patterns: {everything.value:.6f} in {seconds:.2f} s, {everything.solution.n_neurons} neurons")

# %%
# Sampled patterns: gates drawn at random, for the matrix that the neurons see, ones column included. The program is
# solved to the same tolerance each time.

inputs = np.column_stack([X, np.ones(len(X))])
counts = [10, 30, 100, 300]
values = np.empty((len(counts), 3))
for i, count in enumerate(counts):
    for seed in range(3):
        patterns = rf.sample_patterns(inputs, count, random_state=seed)
        values[i, seed] = rf.solve_convex_relu(X, y, alpha, patterns=patterns).value
    print(f"{count:4d} gates: {values[i].min():.6f} to {values[i].max():.6f}")

# %%
# More gates help slowly.

excess = values / everything.value - 1
fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(counts, 100 * excess, "o", color="tab:blue")
ax.plot(counts, 100 * excess.mean(axis=1), color="tab:blue", label="sampled gates, 3 seeds")
ax.axhline(0, color="tab:orange", linestyle="--", label="all patterns, column generation")
ax.set(xscale="log", xlabel="sampled gates", ylabel="above the optimum (%)")
ax.legend()
plt.show()

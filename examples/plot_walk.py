"""
A walk to a local minimum
=========================

A ReLU network is affine on each piece of its input space, so it is lowest at a corner of one. The walk goes down
inside a piece to its first corner, and from there along edges from corner to corner, until no edge falls any more.
"""

import itertools

import matplotlib.pyplot as plt
import numpy as np

import rectifold as rf
from rectifold.plotting import WalkDisplay

rng = np.random.default_rng(0)
sizes = [2, 14, 14, 1]
weights = [rng.standard_normal((n, m)) * np.sqrt(2 / m) for m, n in itertools.pairwise(sizes)]
biases = [0.5 * rng.standard_normal(n) for n in sizes[1:]]
network = rf.ReLUNetwork(weights, biases)
domain = rf.Polytope([[1, 1], [-1, 0], [0, -1], [1, 0], [0, 1]], [1.2, 1, 1, 1, 1])

# %%
# The polygons are exact, and so are the colours in between. The square marks the start, the star the local minimum.

display = WalkDisplay.from_network(network, domain, [-0.8, -0.8])
plt.show()

# %%
# At the star every edge rises: the slopes are its multipliers, and code that knows nothing of the walk re-checks them.

result = rf.polish(network, [-0.8, -0.8], domain)
for constraint in result.minimum.active:
    print(constraint)
print(rf.verify(result))

# %%
# It is a local minimum. Where walks from many starts end is a hint at the global one, and no proof.

many = rf.minimize(network, domain, n_starts=100, n_gradient_steps=0, k=5)
print("lowest ends:", [round(minimum.value, 4) for minimum in many.minima])
print(f"{many.stats['share_at_best']:.0%} of the walks end at the lowest")

"""
A fan of quantiles
==================

The mean says where a target is; quantiles say how far it spreads, and whether the spread grows. Each of these fits
passes through as many samples as it has coefficients, and comes with a proof that no other does better.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes

import rectifold as rf
from rectifold.plotting import QuantileFanDisplay

data = load_diabetes(scaled=False)
names = ["bmi", "bp", "s5"]
X = data.data[:, [data.feature_names.index(name) for name in names]]
path = rf.quantile_path(X, data.target, [0.05, 0.25, 0.5, 0.75, 0.95])

# %%
# Over the body mass index, with the other two features at their medians.

QuantileFanDisplay.from_path(path, X, data.target, feature=0, feature_name="body mass index")
plt.show()

# %%
# What one more unit of it adds, by quantile, and the share of samples that are not above each.

below = (data.target[:, None] <= path(X) + 1e-9).mean(axis=0)
for q, slope, share in zip(path.quantiles, path.coef[:, 0], below, strict=True):
    print(f"quantile {q:.2f}: slope {slope:6.3f}, {share:.1%} of the samples are not above it")

# %%
# The median passes through four samples, and its certificate holds with rounding accounted for.

median = path.results[2]
print("passes through the samples", sorted(median.solution.basis.tolist()))
print(rf.verify(median, grade="interval"))

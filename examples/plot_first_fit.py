"""
A first fit, and how far it can be from the best
================================================

A two-layer ReLU network is trained on the diabetes data. Beside the objective comes a bound that no network of any
width can beat; the difference is the gap.
"""

# %%
# The penalty is not scale-invariant, so the features are scaled first. Penalties are best read as fractions of
# ``alpha_max``, above which the best network is a constant.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

import rectifold as rf

X, y = load_diabetes(return_X_y=True)
X, y = scale(X), scale(y)
largest = rf.alpha_max(X, y)

model = rf.ConvexReLURegressor(alpha=0.1 * largest).fit(X, y)
print(f"objective    {model.objective_:.6f}")
print(f"lower bound  {model.lower_bound_:.6f}  (proven)")
print(f"gap          {model.gap_:.1%}  ({model.proof_})")
print(f"priced gap   {model.priced_gap_:.1e}  (a search, no proof)")
print(f"neurons      {model.n_neurons_}")

# %%
# The claim can be checked by code that knows neither the solver nor its kernels.

problem = rf.ConvexReLUProblem(X, y, model.alpha)
print(rf.verify(model.result_, problem=problem))

# %%
# With few features and samples a branch and bound over activation signs proves more. Here is the same problem with the
# two most useful features and a part of the patients.

few, target = X[:40][:, [2, 8]], y[:40]
small = rf.ConvexReLURegressor(alpha=0.1 * rf.alpha_max(few, target)).fit(few, target)
print(f"objective {small.objective_:.6f}, lower bound {small.lower_bound_:.6f}: {small.proof_}, gap {small.gap_:.1e}")

# %%
# How objective, bound and size move with the penalty.

fractions = np.geomspace(0.9, 0.1, 5)
fits = [rf.ConvexReLURegressor(alpha=t * largest, certify=False, tol=1e-4).fit(X, y) for t in fractions]

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.plot(fractions, [m.objective_ for m in fits], "o-", label="objective")
left.plot(fractions, [m.lower_bound_ for m in fits], "s--", label="proven bound (cheap)")
left.set(xscale="log", xlabel="alpha / alpha_max", ylabel="F")
left.legend()
right.plot(fractions, [m.n_neurons_ for m in fits], "o-")
right.set(xscale="log", xlabel="alpha / alpha_max", ylabel="neurons")
plt.show()

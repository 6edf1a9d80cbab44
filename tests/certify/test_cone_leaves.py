"""The leaf inequality against exact rational arithmetic, and the spread of the residual term against its definition."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifold.certify.cone_geometry import Cones, bisected, roots
from rectifold.certify.cone_leaves import leaf_bounds, leaf_slack, stored_pulls
from rectifold.certify.cone_rows import ConeRows
from rectifold.core.certificate import Grade


def exact_bound(rays, Z, r, alphas, a, spread):
    """The bound of a leaf, in fractions up to the square roots."""
    k, d = len(rays), Z.shape[1]
    z = [[Fraction(x) for x in row] for row in Z.tolist()]
    pull = [
        sum(
            (-Fraction(ri) * alpha * zi[axis] for ri, alpha, zi in zip(r.tolist(), alphas, z, strict=True) if ri < 0),
            Fraction(),
        )
        for axis in range(d)
    ]
    delta = Fraction()
    for v in rays.tolist():
        v = [Fraction(x) for x in v]
        images = [sum(x * y for x, y in zip(zi, v, strict=False)) for zi in z]
        height = sum((Fraction(ri) * max(x, 0) for ri, x in zip(r.tolist(), images, strict=True) if ri > 0), Fraction())
        beyond = height - sum((pull[axis] + Fraction(a[axis])) * v[axis] for axis in range(k))
        delta = max(delta, beyond / sum(map(abs, v)))
    beside = [
        sum((Fraction(ri) * zi[axis] for ri, zi in zip(r.tolist(), z, strict=True) if ri > 0), Fraction()) / 2
        - pull[axis]
        for axis in range(k, d)
    ]
    inside = math.sqrt(sum(Fraction(x) ** 2 for x in a[:k])) + math.sqrt(k) * float(delta)
    return math.hypot(inside, math.sqrt(sum(x * x for x in beside)) + spread)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), d=st.integers(2, 4), scale=st.sampled_from([1.0, 1e-6, 1e5]), cancel=st.booleans())
def test_what_rounding_costs_is_within_the_slack(seed, d, scale, cancel):
    rng = np.random.default_rng(seed)
    n = 9
    Z, r = scale * rng.standard_normal((n, d)), rng.standard_normal(n)
    if cancel:  # bounds that are tiny beside the sums they come from
        Z[5:], r[5:] = Z[:4] * (1 + 1e-9), -r[:4]
    rows = ConeRows(Z, r, np.ones((d, n)), Grade.INTERVAL)
    cones = roots(rows)
    for _ in range(3):
        cones = bisected(cones, np.zeros(4, np.int64), np.ones(4, np.int64), np.ones(d), rows)[rng.integers(2)]
    assert isinstance(cones, Cones)
    alphas = rng.integers(0, 256, (4, n)).astype(np.uint8)
    duals = scale * rng.standard_normal((4, d))
    bounds = leaf_bounds(cones, rows, stored_pulls(alphas, rows), duals)
    spread = float(rows.spreads(np.array([2]))[0])
    for c, bound in enumerate(bounds.tolist()):
        activities = [Fraction(x) for x in (alphas[c] / 255.0).tolist()]
        exact = exact_bound(cones.rays[c], Z, r, activities, duals[c].tolist(), spread)
        assert exact <= bound + leaf_slack(rows, n, bound)
    assert leaf_slack(rows, n, 0.0) < 1e-12 * rows.size


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(0, 4))
def test_spread_bounds_what_the_other_axes_add(seed, k):
    rng = np.random.default_rng(seed)
    Z, r, weights = rng.standard_normal((8, 4)), rng.standard_normal(8), rng.uniform(0.1, 2.0, (4, 8))
    directions = rng.standard_normal((200, 4 - k))
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
    added = 0.5 * np.abs(directions @ Z[:, k:].T) @ np.maximum(r, 0.0)
    for grade in (Grade.FLOAT, Grade.INTERVAL):
        spread = float(ConeRows(Z, r, weights, grade).spreads(np.array([k]))[0])
        assert added.max(initial=0.0) <= spread * (1 + 1e-12)
        assert (spread == 0.0) == (k == 4 or not np.any(r > 0.0))


def test_a_leaf_bounds_g_on_its_cone():
    """Random activities and duals: never below g anywhere on the cone times the other axes."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        Z, r = rng.standard_normal((10, 4)), rng.standard_normal(10)
        rows = ConeRows(Z, r, rng.uniform(0.1, 2.0, (4, 10)), Grade.FLOAT)
        cones = roots(rows)
        bounds = leaf_bounds(cones, rows, rng.random((4, 10))[:, r < 0] @ rows.negative, rng.standard_normal((4, 4)))
        for c in range(4):
            shares = rng.exponential(size=(300, 2))
            u = np.hstack([shares @ cones.rays[c], rng.standard_normal((300, 2)) * rng.exponential(size=(300, 1))])
            u /= np.linalg.norm(u, axis=1, keepdims=True)
            gains = np.maximum(u @ Z.T, 0.0) @ r
            assert gains.max() <= bounds[c]
            assert np.allclose(rows.gains(u), gains)

"""The penalty at which the first neuron enters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import planar_patterns, projection_norms
from problems import small, targets_for
from quick import alpha_max_bound

from rectifold.core.errors import ProblemError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.training.convex.alpha_max import alpha_max
from rectifold.training.convex.restricted.patterns import all_patterns, sample_patterns


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    loss=st.sampled_from(["squared", "logistic", "squared_hinge"]),
    fit_intercept=st.booleans(),
)
def test_exact_on_all_planar_patterns_and_found_by_search(seed, loss, fit_intercept):
    X, y = small(seed, n=11)
    y = targets_for(loss, y)
    switches = {"loss": loss, "hidden_bias": False, "fit_intercept": fit_intercept}
    problem = ConvexReLUProblem(X, y, 1.0, **switches)
    patterns = planar_patterns(X)
    truth = projection_norms(problem.design, patterns[problem.source_rows], problem.null_theta[:, 0]).max()
    assert alpha_max(X, y, patterns, **switches) == pytest.approx(truth, rel=1e-9)
    found = alpha_max(X, y, n_starts=200, **switches)
    assert found == pytest.approx(truth, rel=1e-6)
    # the bound is proven for a rounded dual vector, which moves alpha_max itself in the ninth digit
    assert found <= alpha_max_bound(X, y, **switches) * (1 + 1e-8)


@pytest.mark.parametrize("output_penalty", ["l1", "l2"])
def test_several_outputs_against_a_grid(output_penalty):
    X, y = small(1, n=11, outputs=2)
    switches = {"hidden_bias": False, "output_penalty": output_penalty}
    problem = ConvexReLUProblem(X, y, 1.0, **switches)
    angles = np.linspace(0, 2 * np.pi, 20_001)
    gains = np.maximum(np.stack([np.cos(angles), np.sin(angles)], 1) @ problem.design.T, 0) @ problem.null_theta
    order = 2 if output_penalty == "l2" else np.inf
    truth = np.linalg.norm(gains, order, axis=1).max()
    assert alpha_max(X, y, **switches) == pytest.approx(truth, rel=1e-3)
    assert truth <= alpha_max_bound(X, y, **switches)
    if output_penalty == "l1":
        assert alpha_max(X, y, all_patterns(X), **switches) == pytest.approx(truth, rel=1e-3)
    else:
        with pytest.raises(ProblemError, match="l1"):
            alpha_max(X, y, all_patterns(X), **switches)


def test_fewer_patterns_give_no_more():
    X, y = small(2, n=20, d=3)
    patterns = sample_patterns(X, 40, 0)
    values = [alpha_max(X, y, patterns[:, :k], hidden_bias=False) for k in (1, 10, 30)]
    assert values == sorted(values)
    assert values[-1] <= alpha_max(X, y, hidden_bias=False) * (1 + 1e-12)


def test_weights_count_as_repeats():
    X, y = small(3)
    rows = np.r_[np.arange(12), 4, 4, 9]
    assert alpha_max(X[rows], y[rows]) == alpha_max(X, y, sample_weight=np.bincount(rows))


def test_it_scales_with_the_targets_and_the_inputs():
    X, y = small(4)
    patterns = sample_patterns(X, 20, 0)
    one = alpha_max(X, y, patterns, hidden_bias=False)
    assert alpha_max(3 * X, 2 * y, patterns, hidden_bias=False) == pytest.approx(6 * one, rel=1e-12)


def test_patterns_of_other_data_are_refused():
    X, y = small()
    with pytest.raises(ProblemError, match="patterns"):
        alpha_max(X, y, np.ones((5, 2), dtype=bool))


def test_more_effort_never_loosens_the_bound():
    X, y = small(5, n=25, d=3)
    loose, tight = (alpha_max_bound(X, y, max_work=work) for work in (0, 200_000))
    assert alpha_max(X, y) <= tight <= loose

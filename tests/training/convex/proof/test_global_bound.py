"""The proven bound against brute force over all sign patterns, and against the optimum found by a conic solver."""

from __future__ import annotations

import itertools

import cvxpy as cp
import numpy as np
import pytest
from certify.certified_cases import LOSSES, descended, problem_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from rectifold.certify import verify
from rectifold.core.certificate import ConeTrees, SpectralBound
from rectifold.core.errors import ProblemError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import DyadicArray
from rectifold.training.convex.proof import dual_point
from rectifold.training.convex.proof.dual_rounding import round_dual
from rectifold.training.convex.proof.global_bound import (
    ProofEffort,
    alpha_max_bound,
    lower_bound,
    restricted_bound,
    with_network,
)
from rectifold.training.convex.proof.pricing_bounds import pattern_bounds, spectral_bound

EFFORT = ProofEffort(max_work=5_000_000)
TIGHT = ProofEffort(gap_tol=1e-6, max_work=20_000_000)  # rho stays above 1.003


def gain(X, r):
    """max r'(Xu)_+ over the ball: the best projection over all closed sign cones, realised or not."""
    best = 0.0
    for signs in itertools.product((1.0, -1.0), repeat=len(X)):
        s = np.array(signs)
        pull = (r * (s > 0)) @ X
        best = max(best, nnls((s[:, None] * X).T, -pull)[1])
    return best


def gains(X, theta):
    return np.array([[gain(X, r), gain(X, -r)] for r in theta.T]).max(axis=1)


def planar_patterns(X):
    """All cells of a central arrangement in the plane, by their middle directions."""
    angles = np.sort(np.concatenate([np.arctan2(X[:, 1], X[:, 0]) + s * np.pi / 2 for s in (1, -1)]) % (2 * np.pi))
    middle = (angles + np.append(angles[1:], angles[0] + 2 * np.pi)) / 2
    patterns = np.unique(X @ np.stack([np.cos(middle), np.sin(middle)]) > 0, axis=1)
    return patterns[:, patterns.any(axis=0)]


def conic_optimum(problem, patterns):
    """Optimal value and network of the one-output squared-loss program over some patterns."""
    X, y, s = problem.design, problem.targets[:, 0], problem.weights
    c = cp.Variable() if problem.fit_intercept else 0.0
    fit, size, constraints, blocks = c, 0, [], []
    for active, sign in itertools.product(patterns.T, (1.0, -1.0)):
        w = cp.Variable(X.shape[1])
        fit = fit + sign * ((active[:, None] * X) @ w)
        size = size + cp.norm(w)
        constraints.append(((2.0 * active - 1.0)[:, None] * X) @ w >= 0)
        blocks.append((w, sign))
    loss = 0.5 * cp.sum_squares(cp.multiply(np.sqrt(s), fit - y))
    program = cp.Problem(cp.Minimize(loss + problem.alpha * size), constraints)
    program.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    w = np.array([block.value for block, _ in blocks])
    norms = np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-300)
    outputs = norms * np.array([[sign] for _, sign in blocks])
    kept = norms[:, 0] > 1e-9
    c = float(c.value) if problem.fit_intercept else 0.0
    return program.value, problem.network((w / norms)[kept], outputs[kept], np.array([c]))


def tiny_case(fit_intercept, alpha_times_n=0.1 * 4.503967139672):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10, 2))
    y = np.sign(X[:, 0] * X[:, 1]) + 0.1 * rng.standard_normal(10)
    return ConvexReLUProblem(X, y, alpha_times_n / 10, hidden_bias=False, fit_intercept=fit_intercept)


class TestSpectralBound:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("switches", [{}, {"d": 1}, {"hidden_bias": False}, {"outputs": 2}], ids=str)
    def test_covers_brute_force(self, seed, switches):
        problem = problem_of(seed=seed, n=8, **switches)
        theta = round_dual(problem, problem.null_theta)
        joint = np.linalg.norm(gains(problem.design, theta.to_float()))
        bound, evidence, _ = spectral_bound(problem, theta)
        assert joint <= bound <= 6 * joint
        assert np.all(evidence.row_weights > 0)

    def test_covers_a_free_bias(self):
        problem = problem_of(n=9, d=1, hidden_bias="free")
        theta = round_dual(problem, problem.null_theta)
        assert free_gain(problem, theta) <= spectral_bound(problem, theta)[0] <= 5 * free_gain(problem, theta)


def free_gain(problem, theta):
    """For one input the best kink is at a sample."""
    x, r = problem.design[:, 0], theta.to_float()[:, 0]
    return max(abs(r @ np.maximum(v * (x - x[i]), 0.0)) for v in (1.0, -1.0) for i in range(len(x)))


class TestLowerBound:
    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("alpha", [0.3, 0.03, 0.003])
    def test_below_the_conic_optimum_and_close(self, fit_intercept, alpha):
        problem = tiny_case(fit_intercept, alpha * 4.5)
        value, network = conic_optimum(problem, planar_patterns(problem.design))
        bound, certificate, info = lower_bound(problem, network, effort=EFFORT)
        assert bound <= value + 1e-9
        assert bound >= value * (1 - 1e-2)
        assert info.pricing_bound <= info.spectral_bound
        assert verify(certificate, grade="interval").holds
        cheap, certificate, info = lower_bound(problem, network)
        assert cheap <= bound
        assert info.work == info.n_nodes == 0
        assert isinstance(certificate.evidence, SpectralBound)
        assert verify(certificate, grade="interval").holds

    def test_known_value(self):
        problem = tiny_case(False)
        value, network = conic_optimum(problem, planar_patterns(problem.design))
        assert 10 * value == pytest.approx(2.8854439902, rel=1e-7)
        bound, certificate, _ = lower_bound(problem, network, effort=TIGHT)
        assert value * (1 - 3e-3) <= bound <= value * (1 + 1e-8)
        assert isinstance(certificate.evidence, ConeTrees)
        assert [(tree.output, tree.sign) for tree in certificate.evidence.trees] == [(0, 1), (0, -1)]

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("loss", LOSSES)
    def test_any_network_gives_a_valid_bound(self, loss, seed):
        problem = problem_of(loss, seed=seed)
        best = min(problem.objective(descended(problem, seed=s, width=12, steps=3000)) for s in range(2))
        for steps in (0, 50, 3000):
            bound, certificate, _ = lower_bound(problem, descended(problem, steps=steps), effort=EFFORT)
            assert 0 <= bound <= best
            assert verify(certificate, grade="interval").holds

    @pytest.mark.parametrize("loss", LOSSES)
    def test_a_hopeless_theta_still_gives_a_valid_bound(self, loss):
        problem = problem_of(loss)
        network = descended(problem, steps=10)
        theta = np.random.default_rng(0).standard_normal(problem.targets.shape)
        bound, certificate, _ = lower_bound(problem, network, theta, EFFORT)
        assert 0 <= bound <= certificate.objective
        assert verify(certificate, grade="interval").holds
        bound, certificate, _ = lower_bound(problem, network, np.zeros_like(theta), EFFORT)
        assert verify(certificate, grade="interval").holds

    @pytest.mark.parametrize("switches", [{}, {"hidden_bias": False}, {"hidden_bias": "free"}], ids=str)
    @pytest.mark.parametrize("fraction", [0.95, 0.7, 0.4])
    def test_a_network_that_can_be_bettered_is_refuted_by_a_neuron(self, switches, fraction):
        problem = problem_of(n=9, **switches)
        truth = gains(problem.design, problem.null_theta).max()
        problem = problem.with_alpha(fraction * truth)
        _, _, info = lower_bound(problem, constant_of(problem), problem.null_theta, TIGHT)
        u = info.violator
        size = np.linalg.norm(u[:-1] if problem.hidden_bias == "free" else u)
        gained = np.abs(problem.null_theta[:, 0] @ np.maximum(problem.design @ u, 0.0)) / size
        assert problem.alpha < gained <= truth * (1 + 1e-5)
        assert info.attained * problem.alpha == pytest.approx(gained, rel=1e-2)

    def test_a_goal_that_is_met_ends_the_proof(self):
        problem = tiny_case(True)
        _, network = conic_optimum(problem, planar_patterns(problem.design))
        found = [lower_bound(problem, network, effort=ProofEffort(tol, 10**7)) for tol in (0.5, 0.2, 0.05, 0.01)]
        gaps = [1.0 - bound / certificate.objective for bound, certificate, _ in found]
        assert all(gap <= tol for gap, tol in zip(gaps, (0.5, 0.2, 0.05, 0.01), strict=True))
        assert found[0][2].work < found[-1][2].work

    def test_another_network_of_the_same_problem(self):
        problem = tiny_case(True)
        _, network = conic_optimum(problem, planar_patterns(problem.design))
        bound, certificate, _ = lower_bound(problem, network, effort=EFFORT)
        other = with_network(problem, certificate, constant_of(problem))
        assert other.lower_bound == bound
        assert other.objective == problem.null_value > certificate.objective
        assert verify(other, grade="interval").holds

    @pytest.mark.parametrize("theta", [np.zeros((3, 1)), np.full((10, 1), np.nan), "text"])
    def test_bad_theta(self, theta):
        problem = tiny_case(True)
        with pytest.raises(ProblemError):
            lower_bound(problem, constant_of(problem), theta)

    @pytest.mark.parametrize(("n_inputs", "most"), [(251, 2e7), (3, 200)], ids=["dimensions", "numbers"])
    def test_trees_are_not_tried_out_of_reach(self, n_inputs, most, monkeypatch):
        """Too many dimensions for a stream, or too many numbers: the cheap bound only."""
        monkeypatch.setattr(dual_point, "_MAX_SIZE", most)
        X = np.random.default_rng(0).standard_normal((60, n_inputs))
        problem = ConvexReLUProblem(X, np.abs(X[:, 0]), 0.1)
        bound, certificate, info = lower_bound(problem, constant_of(problem), effort=EFFORT)
        assert info.work == 0
        assert isinstance(certificate.evidence, SpectralBound)
        assert 0 < bound <= problem.null_value


def constant_of(problem):
    d, k = problem.design.shape[1], problem.n_outputs
    return problem.network(np.empty((0, d)), np.empty((0, k)), problem.null_intercept)


class TestAlphaMax:
    @pytest.mark.parametrize(("fit_intercept", "known"), [(False, 4.503967139672), (True, 2.257667407)])
    def test_known_values(self, fit_intercept, known):
        bound, certificate = alpha_max_bound(tiny_case(fit_intercept), TIGHT)
        assert known <= 10 * bound <= known * 1.0031
        verdict = verify(certificate, grade="interval")
        assert verdict.holds
        assert verdict.residuals["relative_gap"] <= 1e-10

    @pytest.mark.parametrize("loss", LOSSES)
    @pytest.mark.parametrize("switches", [{}, {"hidden_bias": "free"}, {"fit_intercept": False}], ids=str)
    def test_the_constant_is_certified(self, loss, switches):
        problem = problem_of(loss, **switches)
        truth = gains(problem.design, problem.null_theta).max()
        for effort in (None, EFFORT):
            bound, certificate = alpha_max_bound(problem, effort)
            verdict = verify(certificate, grade="interval")
            assert verdict.holds, str(verdict)
            assert verdict.residuals["relative_gap"] <= 1e-10
            assert certificate.problem.alpha == bound >= truth
        assert problem.n_outputs > 1 or bound <= 1.02 * truth

    def test_constant_targets(self):
        problem = ConvexReLUProblem(np.arange(6.0).reshape(3, 2), np.ones(3), 0.1)
        bound, certificate = alpha_max_bound(problem, EFFORT)
        assert bound <= 1e-10
        assert verify(certificate, grade="interval").holds

    @given(
        st.lists(st.tuples(*[st.integers(-2, 2)] * 4), min_size=2, max_size=7),
        st.booleans(),
        st.integers(0, 20_000),
    )
    @settings(max_examples=40, deadline=None)
    def test_degenerate_integer_data(self, rows, hidden_bias, work):
        data = np.array(rows, dtype=float)
        problem = ConvexReLUProblem(data[:, :2], data[:, 2], 0.1, hidden_bias=hidden_bias, sample_weight=3 + data[:, 3])
        truth = float(gains(problem.design, round_dual(problem, problem.null_theta).to_float()).max())
        bound, certificate = alpha_max_bound(problem, ProofEffort(max_work=work))
        assert bound >= truth * (1 - 1e-12)
        for grade in ("float", "interval"):
            verdict = verify(certificate, grade=grade)
            assert verdict.holds, str(verdict)


class TestRestricted:
    def test_close_to_the_restricted_optimum(self):
        problem = tiny_case(True)
        patterns = planar_patterns(problem.design)[:, ::3]
        value, network = conic_optimum(problem, patterns)
        bound, certificate = restricted_bound(problem, network, patterns)
        assert value * (1 - 1e-5) <= bound <= value + 1e-9
        assert verify(certificate, grade="interval").holds
        complete, _ = conic_optimum(problem, planar_patterns(problem.design))
        assert complete < value * (1 - 1e-4)  # so the restricted bound is none of the true problem
        assert lower_bound(problem, network, effort=EFFORT)[0] <= complete

    def test_bounds_are_exact_on_each_cone(self):
        problem = problem_of(n=7)
        theta = round_dual(problem, problem.null_theta)
        active = problem.design @ np.random.default_rng(0).standard_normal((3, 5)) > 0
        bound, _, _ = pattern_bounds(problem, theta, active)
        r, truth = theta.to_float()[:, 0], 0.0
        for column in active.T:
            A = np.where(column, 1.0, -1.0)[:, None] * problem.design
            for s in (1.0, -1.0):
                u = cp.Variable(3)
                cone = cp.Problem(cp.Maximize((s * r * column) @ problem.design @ u), [cp.norm(u) <= 1, A @ u >= 0])
                truth = max(truth, cone.solve(solver=cp.CLARABEL))
        assert bound == pytest.approx(truth, rel=1e-6)

    @pytest.mark.parametrize("patterns", [np.ones((7, 2)), np.ones((6, 2), bool), np.ones((7, 0), bool)])
    def test_bad_patterns(self, patterns):
        problem = problem_of(n=7)
        with pytest.raises(ProblemError, match="patterns"):
            pattern_bounds(problem, problem.null_theta, patterns)


class TestDualRounding:
    @given(st.sampled_from(LOSSES), st.integers(0, 10**6), st.floats(1e-9, 1e3), st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_exact_feasibility(self, loss, seed, size, fit_intercept):
        problem = problem_of(loss, seed=seed % 7, n=9, fit_intercept=fit_intercept)
        f = size * np.random.default_rng(seed).standard_normal(problem.targets.shape)
        if fit_intercept:
            f = f + problem.loss.intercept(f, problem.targets, problem.weights)
        raw = problem.theta(f)
        theta = round_dual(problem, raw)
        values = theta.to_float()
        assert not fit_intercept or theta.column_sums() == [0] * problem.n_outputs
        assert np.isfinite(problem.loss.dual_value(values, problem.targets, problem.weights))
        assert np.array_equal(DyadicArray(theta.integers, 0).to_float() * 2.0**theta.exponent, values)

    def test_stays_close(self):
        for loss in LOSSES:
            problem = problem_of(loss)
            raw = problem.null_theta
            assert np.abs(round_dual(problem, raw).to_float() - raw).max() <= 1e-11 * np.abs(raw).max()

"""Sets of optima: figures of the sheet, and linear programs, vertices and projections by independent means."""

from __future__ import annotations

import itertools
import pickle

import cvxpy as cp
import numpy as np
import pytest
from problems import FIXED_PROGRAMS, PLAIN, T1_LAMBDA_MAX, T1_OPTIMA, identity_case, small, t1, table, targets_for, xor
from quick import MAX_WORK, solve_convex_relu
from scipy.optimize import linprog

import rectifold as rf
from rectifold.core.errors import ProblemError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof
from rectifold.training.convex.optima.equicorrelation import equicorrelation
from rectifold.training.convex.optima.optimal_polytope import OptimalPolytope
from rectifold.training.convex.optima.optimal_set import OptimalSet, optimal_set

SWITCHES = ((True, True), (True, False), (False, True), (False, False), ("free", True))
LAMBDA = 0.01 * T1_LAMBDA_MAX


def set_of(problem, **options):
    blocks = equicorrelation(problem, **options)
    return OptimalSet(blocks, OptimalPolytope.of(blocks))


@pytest.fixture(scope="module")
def t1_set():
    X, y = t1()
    return optimal_set(solve_convex_relu(X, y, LAMBDA / 10, **PLAIN), X, y)


@pytest.fixture(scope="module")
def xor_set():
    """One degree of freedom, which predictions feel."""
    corners, y = xor()
    return set_of(ConvexReLUProblem(corners[:, :2], y, 0.1 / 4))


def linear_range(optima, coefficients):
    """The range of a functional by HiGHS through scipy, on the equations of the definition themselves."""
    blocks, problem = optima.blocks, optima.problem
    n, k = blocks.fit.shape
    constants = np.tile(np.eye(k), (n, 1)) if problem.fit_intercept else np.zeros((n * k, 0))
    matrix = np.hstack([blocks.activations, constants])
    bounds = [(0, None)] * len(blocks) + [(None, None)] * constants.shape[1]
    cost = np.concatenate([coefficients, np.zeros(constants.shape[1])])
    options = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}
    ends = [
        linprog(s * cost, A_eq=matrix, b_eq=blocks.fit.ravel(), bounds=bounds, method="highs", options=options)
        for s in (1, -1)
    ]
    assert all(end.status == 0 for end in ends), [end.message for end in ends]
    return ends[0].fun, -ends[1].fun


# -- the sheet's figures --------------------------------------------------------------------------------------------


def test_dimension_and_scope_of_t1(t1_set):
    assert t1_set.scope == "all"
    assert t1_set.proof is Proof.CERTIFIED
    assert (t1_set.n_neurons, t1_set.rank, t1_set.dimension) == (10, 7, 3)
    assert t1_set.is_unique is False
    assert "rank 7" in t1_set.condition
    assert 10 * t1_set.objective == pytest.approx(T1_OPTIMA[0.01], rel=1e-9)
    assert "dimension     3" in str(t1_set)


def test_vertices_of_t1_are_ten_of_width_seven(t1_set):
    """Against every choice of 7 neurons out of 10."""
    vertices = t1_set.vertices()
    assert [v.width for v in vertices] == [7] * 10
    fit, activations = t1_set.blocks.fit.ravel(), t1_set.blocks.activations
    brute = []
    for support in itertools.combinations(range(10), 7):
        mu, *_ = np.linalg.lstsq(activations[:, support], fit, rcond=None)
        if np.abs(activations[:, support] @ mu - fit).max() < 1e-9 and mu.min() > -1e-9:
            brute.append(np.zeros(10))
            brute[-1][list(support)] = mu
    assert len(brute) == 10
    for mu in brute:
        assert min(np.abs(mu - v.multipliers).max() for v in vertices) < 1e-9
    for v in vertices:
        assert np.linalg.matrix_rank(activations[:, v.multipliers > 0], tol=1e-9) == 7


def test_ranges_of_multipliers_of_t1(t1_set):
    lower, upper = t1_set.multiplier_range()
    np.testing.assert_allclose(np.sort(lower / LAMBDA)[-3:], [1.51076, 4.59883, 10.64306], atol=6e-6)
    assert np.abs(np.sort(lower)[:-3]).max() < 1e-12
    np.testing.assert_allclose(np.sort(upper / LAMBDA)[:-4:-1], [92.636, 91.126, 81.624], atol=6e-4)
    for b, unit in enumerate(np.eye(10)):
        np.testing.assert_allclose([lower[b], upper[b]], linear_range(t1_set, unit), atol=1e-7)


def test_minimum_norm_after_merging(t1_set):
    smallest = t1_set.minimum_norm()
    assert smallest.norm == pytest.approx(4.524442, abs=6e-7)
    mu = cp.Variable(10, nonneg=True)
    program = cp.Problem(cp.Minimize(cp.norm(mu)), [t1_set.blocks.activations @ mu == t1_set.blocks.fit.ravel()])
    assert smallest.norm == pytest.approx(program.solve(solver=cp.CLARABEL), rel=1e-7)
    np.testing.assert_allclose(smallest.multipliers, mu.value, atol=1e-4)


def test_unmerged_the_norm_would_be_false(t1_set):
    """Split over the cells that share it, a neuron weighs less: what merging is for."""
    times = t1_set.blocks.multiplicity
    columns = np.repeat(t1_set.blocks.activations, times, axis=1)
    mu = cp.Variable(20, nonneg=True)
    program = cp.Problem(cp.Minimize(cp.norm(mu)), [columns @ mu == t1_set.blocks.fit.ravel()])
    assert program.solve(solver=cp.CLARABEL) == pytest.approx(3.199264, abs=1e-6)


def test_samples_of_t1_share_the_objective(t1_set):
    members = t1_set.sample(2000, random_state=1)
    values = [t1_set.problem.objective(m.network) for m in members]
    assert np.ptp(values) < 1e-12
    norms = [m.norm for m in members]
    assert min(norms) >= 4.524442 - 1e-6
    assert 5.5 < max(norms) < 6.2
    assert min(m.multipliers.min() for m in members) > 0
    assert np.linalg.matrix_rank(np.array([m.multipliers for m in members]) - members[0].multipliers, tol=1e-9) == 3


def test_samples_spread_over_the_whole_set(t1_set):
    """In three dimensions a uniform sample comes within a quarter of the range of every end."""
    points = np.array([m.multipliers for m in t1_set.sample(2000)])
    lower, upper = t1_set.multiplier_range()
    moving = upper - lower > 1e-9
    assert ((points.min(axis=0) - lower)[moving] < 0.25 * (upper - lower)[moving]).all()
    assert ((upper - points.max(axis=0))[moving] < 0.25 * (upper - lower)[moving]).all()


def test_closed_forms_are_unique():
    X, y = identity_case()
    one = optimal_set(solve_convex_relu(X, y, 2.0 / 4, **PLAIN))
    assert one.is_unique
    assert one.dimension == 0
    assert "independent" in one.condition
    assert 4 * one.objective == pytest.approx(32.0, rel=1e-12)
    assert [m.width for m in one.vertices()] == [2]
    single = set_of(ConvexReLUProblem([[3.0, 4.0]], [2.0], 1.5, **PLAIN))
    assert single.is_unique
    assert single.objective == pytest.approx(0.555, rel=1e-12)
    np.testing.assert_allclose(single.minimum_norm()([3.0, 4.0]), 2.0 - 1.5 / 5, rtol=1e-12)


def test_t1_with_an_output_intercept():
    X, y = t1()
    problem = ConvexReLUProblem(X, y, 0.1 * 2.257667407 / 10, hidden_bias=False)
    optima = set_of(problem)
    assert 10 * optima.objective == pytest.approx(2.097075856, rel=1e-6)
    matrix = np.hstack([optima.blocks.activations, np.ones((10, 1))])
    assert optima.is_unique == (np.linalg.matrix_rank(matrix, tol=1e-9) == matrix.shape[1])
    assert max(v.width for v in optima.vertices()) <= 9


def test_a_sampled_optimum_is_unique_and_no_neuron_of_it_is_stationary():
    program = FIXED_PROGRAMS[0]
    X, y = table(program.data)
    patterns = rf.sample_patterns(X, 100, 0)
    optima = optimal_set(solve_convex_relu(X, y, program.penalty / len(y), patterns, **PLAIN))
    assert optima.proof is Proof.RESTRICTED
    assert optima.scope == "all"
    assert optima.is_unique
    tests = optima.clarke_tests
    assert len(tests) == 11
    assert not any(test.holds for test in tests)
    assert sum(int((test.multipliers > 1e-9 * optima.problem.alpha).sum()) for test in tests) == 127
    assert sum(test.n_exceeding for test in tests) == pytest.approx(113, abs=2)
    assert not optima.minimum_norm().is_stationary


def test_every_neuron_of_an_enumerated_optimum_is_stationary(t1_set):
    assert all(test.holds for test in t1_set.clarke_tests)
    assert all(test.n_exceeding == 0 for test in t1_set.clarke_tests)
    assert sum(len(test.rows) for test in t1_set.clarke_tests) == 10


# -- members, for every loss and switch ----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_members_share_objective_and_fit(loss, switches):
    X, y = small(3, n=14)
    y = targets_for(loss, y)
    options = {"loss": loss, "hidden_bias": switches[0], "fit_intercept": switches[1]}
    fraction = 0.05 if (loss, switches[0]) == ("squared_hinge", "free") else 0.01
    problem = ConvexReLUProblem(X, y, fraction * rf.alpha_max(X, y, **options), **options)
    optima = set_of(problem)
    direction = np.random.default_rng(0).standard_normal(optima.n_neurons)
    extreme = optima.extreme(direction)
    members = [extreme.at_lower, extreme.at_upper, optima.minimum_norm(), optima.center(), *optima.sample(5)]
    used = np.abs(optima.blocks.theta) > 1e-9 if loss == "squared_hinge" else np.ones((14, 1), dtype=bool)
    slack = 5e-7 if switches[0] == "free" else 1e-9  # a free bias is penalised a little: see ConvexReLUProblem
    for member in members:
        assert problem.objective(member.network) == pytest.approx(optima.objective, rel=slack)
        fit = problem.fit(member.network)
        np.testing.assert_allclose(fit[used], optima.blocks.fit[used], rtol=0, atol=1e-8)
        assert (problem.targets * fit)[~used].min(initial=1.0) >= 1 - 1e-8
        assert member.is_stationary
        assert optima.contains(member.network)
    assert all(optima.sample(1)[0].multipliers[optima.polytope.live] > 0)


def test_the_fit_of_a_hinge_need_not_be_unique():
    """Rows beyond the margin move; the linear programs know their inequalities."""
    found = 0
    for seed in range(12):
        X, y = small(seed, n=12)
        y = targets_for("squared_hinge", y)
        optima = set_of(ConvexReLUProblem(X, y, 2e-3, "squared_hinge", False, False))
        blocks, inactive = optima.blocks, (np.abs(optima.blocks.theta) <= 1e-9)[:, 0]
        if optima.dimension == 0 or not inactive.any():
            continue
        found += 1
        signed = optima.problem.targets[inactive] * blocks.activations[inactive]
        for unit in np.eye(len(blocks)):
            ends = [
                linprog(
                    s * unit,
                    A_eq=blocks.activations[~inactive],
                    b_eq=blocks.fit[~inactive, 0],
                    A_ub=-signed,
                    b_ub=-np.ones(len(signed)),
                )
                for s in (1, -1)
            ]
            extreme = optima.extreme(unit)
            np.testing.assert_allclose([extreme.lower, extreme.upper], [ends[0].fun, -ends[1].fun], atol=1e-6)
    assert found > 0


def test_outputs_under_l1_have_the_product_of_their_sets():
    X, y = small(7, outputs=3)
    options = {"output_penalty": "l1", "fit_intercept": False}
    optima = set_of(ConvexReLUProblem(X, y, 0.001, **options))
    parts = [set_of(optima.problem.output(k)) for k in range(3)]
    assert optima.dimension == sum(part.dimension for part in parts) > 0
    assert optima.minimum_norm().norm == pytest.approx(np.sqrt(sum(p.minimum_norm().norm ** 2 for p in parts)))
    member = optima.sample(1)[0]
    assert optima.contains(member.network)
    np.testing.assert_allclose(optima.problem.fit(member.network), optima.blocks.fit, atol=1e-10)


# -- ranges -----------------------------------------------------------------------------------------------------------


def test_prediction_ranges_against_linear_programs(xor_set):
    assert xor_set.dimension == 1
    points = np.random.default_rng(0).uniform(-2, 2, (12, 2))
    lower, upper = xor_set.prediction_range(points)
    assert lower.shape == (12, 1)
    assert (upper - lower).max() > 0.5
    for x, low, high in zip(points, lower[:, 0], upper[:, 0], strict=True):
        functional = xor_set.prediction(x)
        expected = np.array(linear_range(xor_set, functional.coefficients)) + functional.constant
        np.testing.assert_allclose([low, high], expected, atol=1e-7)
        extreme = xor_set.extreme(functional)
        np.testing.assert_allclose([extreme.at_lower(x)[0], extreme.at_upper(x)[0]], [low, high], atol=1e-9)
    np.testing.assert_allclose(xor_set.prediction_range(points[0]), [lower[0], upper[0]], atol=1e-12)


def test_predictions_at_the_samples_have_no_range(xor_set):
    X = xor()[0][:, :2]
    lower, upper = xor_set.prediction_range(X)
    np.testing.assert_allclose(lower, upper, atol=1e-9)


def test_members_lie_within_the_ranges_and_reach_them(xor_set):
    points = np.random.default_rng(1).uniform(-2, 2, (40, 2))
    lower, upper = xor_set.prediction_range(points)
    for member in xor_set.sample(20):
        values = member(points)
        assert ((values >= lower - 1e-9) & (values <= upper + 1e-9)).all()
    ends = np.array([v(points) for v in xor_set.vertices()])
    np.testing.assert_allclose(ends.min(axis=0), lower, atol=1e-9)
    np.testing.assert_allclose(ends.max(axis=0), upper, atol=1e-9)


def test_feature_use_and_weights(t1_set, xor_set):
    for optima in (t1_set, xor_set):
        lower, upper = optima.feature_use_range()
        for f in range(2):
            expected = linear_range(optima, np.abs(optima.blocks.directions[:, f]))
            np.testing.assert_allclose([lower[f], upper[f]], expected, atol=1e-7)
            extreme = optima.extreme(optima.feature_use(f))
            network = extreme.at_upper.network
            use = np.abs(network.weights[1][0]) @ np.abs(network.weights[0][:, f])
            assert use == pytest.approx(upper[f], rel=1e-9)
    b = 4
    extreme = t1_set.extreme(t1_set.weight(b, 1))
    direction = t1_set.blocks.signs[b] * t1_set.blocks.directions[b, 1]
    ends = np.sort(direction * np.array([r[b] for r in t1_set.multiplier_range()]))
    np.testing.assert_allclose([extreme.lower, extreme.upper], ends, atol=1e-9)
    assert t1_set.extreme(t1_set.weight(b)).width == pytest.approx(np.ptp([r[b] for r in t1_set.multiplier_range()]))


# -- membership and projection ---------------------------------------------------------------------------------------


def test_permuted_split_and_rescaled_networks_are_members(t1_set):
    net = t1_set.sample(1)[0].network
    w, a = net.weights[0], net.weights[1][0]
    order = np.random.default_rng(0).permutation(len(w))
    scale = np.exp(np.linspace(-1, 1, len(w)))
    w, a = w[order] * scale[:, None], a[order] / scale
    split = rf.ReLUNetwork([np.vstack([w, 2 * w[:1]]), [[0.25 * a[0], *a[1:], 0.375 * a[0]]]], [np.zeros(11), [0.0]])
    verdict = t1_set.contains(split)
    assert verdict
    assert verdict.is_stationary
    assert verdict.condition == ""
    np.testing.assert_allclose(verdict.multipliers, t1_set.sample(1)[0].multipliers, rtol=1e-9)


def test_other_networks_are_refused_with_what_they_violate(t1_set):
    member = t1_set.sample(1)[0].network
    w, a = member.weights[0], member.weights[1]
    shifted = rf.ReLUNetwork([w, 1.001 * a], [np.zeros(10), [0.0]])
    verdict = t1_set.contains(shifted)
    assert not verdict
    assert "fit differs" in verdict.condition
    assert verdict.fit_error == pytest.approx(1e-3, rel=0.01)
    useless = rf.ReLUNetwork([np.vstack([w, w[:1]]), np.hstack([a, -a[:, :1]])], [np.zeros(11), [0.0]])
    doubled = rf.ReLUNetwork([np.vstack([w, w[:1]]), np.hstack([a, [[1.0]]])], [np.zeros(11), [0.0]])
    assert "fit" in t1_set.contains(doubled).condition
    assert "fit" in t1_set.contains(useless).condition
    wasteful = np.vstack([w, w[:1], w[:1]]), np.hstack([a, [[1.0, -1.0]]])
    verdict = t1_set.contains(rf.ReLUNetwork(list(wasteful), [np.zeros(12), [0.0]]))
    assert "objective" in verdict.condition
    assert verdict.objective_excess == pytest.approx(
        t1_set.problem.alpha * 2 * np.linalg.norm(w[0]) / t1_set.objective, rel=1e-6
    )


def test_a_neuron_outside_the_given_cells_is_no_member():
    """The cone condition of a program on given patterns, apart from fit and objective."""
    X, y = small(2, n=14)
    patterns = rf.sample_patterns(X, 6, 0)
    optima = optimal_set(solve_convex_relu(X, y, 1e-3, patterns, **PLAIN))
    free = optimal_set(solve_convex_relu(X, y, 1e-3, **PLAIN)).minimum_norm()
    verdict = optima.contains(free.network)
    assert not verdict
    assert verdict.cell_violation > 1e-3
    assert verdict.objective_excess < 0
    assert optima.contains(optima.minimum_norm().network).cell_violation < 1e-12


def test_projection_is_nearest(t1_set):
    rng = np.random.default_rng(3)
    member = t1_set.sample(1)[0]
    np.testing.assert_allclose(t1_set.project(member.network).multipliers, member.multipliers, atol=1e-8)
    point = np.abs(rng.standard_normal(10)) * 3
    network = t1_set.problem.network(t1_set.blocks.directions, t1_set.blocks.outputs * point[:, None], np.zeros(1))
    nearest = t1_set.project(network).multipliers
    mu = cp.Variable(10, nonneg=True)
    program = cp.Problem(
        cp.Minimize(cp.sum_squares(mu - point)), [t1_set.blocks.activations @ mu == t1_set.blocks.fit.ravel()]
    )
    program.solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(nearest, mu.value, atol=1e-5)
    assert np.linalg.norm(nearest - point) ** 2 == pytest.approx(program.value, rel=1e-7)


# -- what is asked of what ------------------------------------------------------------------------------------------


def test_from_an_estimator_with_and_without_its_data():
    X, y = small(5, n=16)
    est = rf.ConvexReLURegressor(alpha=2e-3, hidden_bias=False, max_work=MAX_WORK).fit(X, y)
    one, other = rf.optimal_set(est), rf.optimal_set(pickle.loads(pickle.dumps(est)), X, y)
    assert one.scope == "all"
    assert one.objective == other.objective
    assert one.objective <= est.objective_ * (1 + 1e-12)
    assert one.objective == pytest.approx(est.objective_, rel=1e-6)
    with pytest.raises(ProblemError, match="X and y"):
        rf.optimal_set(pickle.loads(pickle.dumps(est)))


def test_from_a_classifier():
    X, y = small(5, n=16)
    labels = np.where(y > 0, "up", "down")
    for loss in ("logistic", "squared_hinge"):
        est = rf.ConvexReLUClassifier(alpha=5e-3, loss=loss, hidden_bias=False, max_work=MAX_WORK).fit(X, labels)
        optima = rf.optimal_set(pickle.loads(pickle.dumps(est)), X, labels)
        assert optima.objective == pytest.approx(est.objective_, rel=1e-6)
        with pytest.raises(ProblemError, match="labels"):
            rf.optimal_set(est, X, np.where(y > 0, "up", "left"))


def test_beyond_enumeration_uniqueness_is_not_known():
    X, y = t1()
    result = solve_convex_relu(X, y, 0.3 * T1_LAMBDA_MAX / 10, **PLAIN)
    every, found = optimal_set(result), optimal_set(result, max_patterns=3)
    assert every.is_unique is True
    assert found.scope == "found"
    assert found.proof is Proof.PRICED
    assert found.is_unique is None
    assert "not all patterns" in found.condition
    assert found.objective == pytest.approx(every.objective, rel=1e-12)


def test_a_constant_has_an_empty_network():
    X, y = t1()
    optima = optimal_set(solve_convex_relu(X, y, 10.0))
    assert optima.is_unique
    assert "constant" in optima.condition
    assert optima.minimum_norm().width == 0
    lower, upper = optima.prediction_range(X)
    np.testing.assert_allclose(lower, y.mean(), rtol=1e-12)
    np.testing.assert_allclose(upper, lower)


def test_sets_survive_pickling(t1_set):
    t1_set.multiplier_range()
    again = pickle.loads(pickle.dumps(t1_set))
    np.testing.assert_array_equal(again.minimum_norm().multipliers, t1_set.minimum_norm().multipliers)
    with pytest.raises(ValueError, match="read-only"):
        again.blocks.fit[0] = 0.0


# -- refusals -------------------------------------------------------------------------------------------------------


def test_unsolved_networks_are_refused_with_their_excess():
    X, y = t1()
    problem = ConvexReLUProblem(X, y, LAMBDA / 10, **PLAIN)
    rng = np.random.default_rng(0)
    random = rf.ReLUNetwork([rng.standard_normal((5, 2)), rng.standard_normal((1, 5))], [np.zeros(5), [0.0]])
    with pytest.raises(ProblemError, match=r"not optimal: its objective .* above 0\.1425"):
        optimal_set(random, problem=problem)
    with pytest.raises(ProblemError, match="not fitted"):
        optimal_set(rf.ConvexReLURegressor(), X, y)
    with pytest.raises(ProblemError, match="no longer holds the data"):
        optimal_set(random)
    gated = solve_convex_relu(X, y, LAMBDA / 10, rf.all_patterns(X), activation="gated", **PLAIN)
    with pytest.raises(ProblemError, match="not for gated models"):
        optimal_set(gated, problem=problem)


def test_other_data_are_refused_with_their_objective(t1_set):
    X, y = t1()
    result = solve_convex_relu(X, y, LAMBDA / 10, **PLAIN)
    with pytest.raises(ProblemError, match=r"1 of its 10 distinct samples.*objective"):
        optimal_set(result, X, np.where(np.arange(10) == 3, y + 0.5, y))
    with pytest.raises(ProblemError, match="not the data of the fit"):
        optimal_set(result, X[:8], y[:8])
    with pytest.raises(ProblemError, match="switches are not those of the fit"):
        optimal_set(result, problem=ConvexReLUProblem(X, y, 2 * LAMBDA / 10, **PLAIN))
    with pytest.raises(ProblemError, match="Pass both"):
        optimal_set(result, X)
    order = np.random.default_rng(0).permutation(10)
    assert optimal_set(result, X[order], y[order]).objective == t1_set.objective


def test_a_restricted_result_without_certificate_asks_for_its_patterns():
    X, y = t1()
    patterns = rf.all_patterns(X)[:, ::2]
    result = solve_convex_relu(X, y, LAMBDA / 10, patterns, certify=False, **PLAIN)
    problem = ConvexReLUProblem(X, y, LAMBDA / 10, **PLAIN)
    with pytest.raises(ProblemError, match="patterns="):
        optimal_set(result, problem=problem)
    optima = optimal_set(result, problem=problem, patterns=patterns)
    assert optima.objective == pytest.approx(result.value, rel=1e-6)


def test_bad_arguments_are_refused(t1_set):
    for call in (
        lambda: t1_set.extreme([1.0, 2.0]),
        lambda: t1_set.sample(0),
        lambda: t1_set.weight(10),
        lambda: t1_set.feature_use(2),
        lambda: t1_set.prediction([0.0, 1.0], output=1),
        lambda: t1_set.prediction([0.0, 1.0, 2.0]),
        lambda: t1_set.member(np.ones(10)),
        lambda: t1_set.member([1.0]),
        lambda: t1_set.vertices(max_vertices=3),
        lambda: t1_set.contains(rf.ReLUNetwork([np.ones((1, 3)), [[1.0]]], [[0.0], [0.0]])),
    ):
        with pytest.raises(ProblemError):
            call()

"""Critical points: stationary networks are optima of the programs on their own cells, and not the other way round."""

from __future__ import annotations

import numpy as np
import pytest
from problems import PLAIN, T1_LAMBDA_MAX, small, t1, targets_for
from scipy.optimize import linprog

import rectifold as rf
from rectifold.core.errors import ProblemError
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof
from rectifold.training.convex.optima.critical_set import critical_set
from rectifold.training.convex.optima.equicorrelation import equicorrelation
from rectifold.training.convex.optima.finishing import finished
from rectifold.training.convex.search.descent import descend, random_neurons

SWITCHES = ((True, True), (True, False), (False, True), (False, False))


def options_of(problem):
    return {"loss": problem.loss.name, "hidden_bias": problem.hidden_bias, "fit_intercept": problem.fit_intercept}


def clarke_distance(problem, network):
    """Least largest entry of the subdifferential in each neuron, over alpha: a linear program in the slopes."""
    directions, outputs, _ = problem.neurons(network)
    theta, worst = problem.theta(problem.fit(network))[:, 0], 0.0
    for w, a in zip(directions, outputs[:, 0], strict=True):
        unit = w / np.linalg.norm(w)
        heights = problem.design @ unit
        lengths = np.maximum(np.linalg.norm(problem.design, axis=1), 1e-300)
        tight = np.abs(heights) <= 1e-9 * lengths
        slopes = np.sign(a) * theta
        fixed = problem.alpha * unit - (slopes * (heights > 0) * ~tight) @ problem.design
        columns = (slopes[tight, None] * problem.design[tight]).T / problem.alpha
        ones = np.ones((len(unit), 1))
        upper = np.vstack([np.hstack([columns, -ones]), np.hstack([-columns, -ones])])
        cost = np.append(np.zeros(columns.shape[1]), 1.0)
        bounds = [(0, 1)] * columns.shape[1] + [(0, None)]
        rhs = np.concatenate([fixed, -fixed]) / problem.alpha
        worst = max(worst, linprog(cost, A_ub=upper, b_ub=rhs, bounds=bounds).fun)
    return worst


def trained(problem, seed, width=8):
    start = random_neurons(problem, width, np.random.default_rng(seed))
    neurons = descend(problem, start, max_iter=60)
    return problem.network(neurons.directions, neurons.outputs, neurons.intercept)


# -- stationary networks are members --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fraction", [0.1, 0.01])
def test_stationary_networks_are_members_of_their_own_set(seed, fraction):
    X, y = t1()
    problem = ConvexReLUProblem(X, y, fraction * T1_LAMBDA_MAX / 10, **PLAIN)
    network = trained(problem, seed)
    stationary = finished(problem, network)
    assert problem.objective(stationary) <= problem.objective(network) * (1 + 1e-12)
    assert clarke_distance(problem, stationary) < 1e-7
    optima = critical_set(stationary, X, y, problem.alpha, **PLAIN)
    verdict = optima.contains(stationary)
    assert verdict, verdict.condition
    assert verdict.is_stationary
    assert optima.scope == "all"
    assert optima.proof is Proof.RESTRICTED
    for member in (*optima.sample(2), optima.minimum_norm()):
        assert member.is_stationary == (clarke_distance(problem, member.network) < 1e-7)


@pytest.mark.parametrize("loss", ["squared", "logistic", "squared_hinge"])
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_for_every_loss_and_switch(loss, switches):
    X, y = small(3, n=14)
    y = targets_for(loss, y)
    problem = ConvexReLUProblem(X, y, 4e-3, loss, *switches)
    stationary = finished(problem, trained(problem, 1))
    assert clarke_distance(problem, stationary) < 1e-7
    optima = critical_set(stationary, X, y, problem.alpha, **options_of(problem))
    assert optima.contains(stationary)
    assert optima.objective == pytest.approx(problem.objective(stationary), rel=1e-12)


def test_networks_trained_in_torch():
    torch = pytest.importorskip("torch")
    X, y = small(6, n=24)
    problem = ConvexReLUProblem(X, y, 3e-3)
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1)).double()
    inputs, targets = torch.tensor(X), torch.tensor(y)[:, None]
    penalised = [module[0].weight, module[0].bias, module[2].weight]
    optimizer = torch.optim.Adam(module.parameters(), lr=2e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = 0.5 * ((module(inputs) - targets) ** 2).mean()
        loss = loss + 0.5 * problem.alpha * sum((p**2).sum() for p in penalised)
        loss.backward()
        optimizer.step()
    network = rf.from_torch(module)
    with pytest.raises(ProblemError, match=r"not stationary.*relative duality gap is"):
        critical_set(network, X, y, problem.alpha)
    stationary = finished(problem, network)
    assert problem.objective(stationary) <= problem.objective(network)
    optima = critical_set(stationary, X, y, problem.alpha)
    assert optima.contains(stationary).is_stationary
    everywhere = equicorrelation(problem)
    assert optima.objective >= everywhere.objective * (1 - 1e-12)


def test_a_stationary_network_need_not_be_an_optimum_of_its_patterns_with_the_other_sign():
    """Which is why the program of a network has blocks of its neurons' own signs only."""
    X, y = t1()
    problem = ConvexReLUProblem(X, y, 0.001 * T1_LAMBDA_MAX / 10, **PLAIN)
    rows = problem.source_rows
    excesses = []
    for seed in range(3):
        stationary = finished(problem, trained(problem, seed, width=2))
        optima = critical_set(stationary, X, y, problem.alpha, **PLAIN)
        both = critical_set(optima.blocks.patterns.T, X[rows], y[rows], problem.alpha, **PLAIN)
        excesses.append(optima.objective / both.objective - 1)
    assert min(excesses) >= -1e-12
    assert max(excesses) > 0.05


# -- members need not be stationary -----------------------------------------------------------------------------------


def test_both_kinds_of_members():
    """On half of the patterns some neurons press against a wall that the network would cross."""
    X, y = t1()
    patterns = rf.all_patterns(X)
    kinds = set()
    for seed in range(6):
        chosen = patterns[:, np.random.default_rng(seed).permutation(patterns.shape[1])[:8]]
        optima = rf.critical_set(chosen, X, y, 0.01 * T1_LAMBDA_MAX / 10, **PLAIN)
        member = optima.minimum_norm()
        used = member.multipliers > 0
        assert member.is_stationary == optima.passes[used].all()
        assert member.is_stationary == (clarke_distance(optima.problem, member.network) < 1e-7)
        for b in np.flatnonzero(used):
            test = optima.clarke_tests[b]
            over = (test.multipliers > test.limits + 1e-8 * optima.problem.alpha).any()
            assert test.holds != over, "in general position multipliers are unique, and so both forms agree"
        kinds.add(member.is_stationary)
    every = rf.critical_set(patterns, X, y, 0.01 * T1_LAMBDA_MAX / 10, **PLAIN)
    assert every.minimum_norm().is_stationary
    assert every.stationary_member() is not None
    kinds.add(every.minimum_norm().is_stationary)
    assert kinds == {True, False}


def test_a_member_that_is_not_stationary_can_be_improved_as_a_network():
    X, y = t1()
    patterns = rf.all_patterns(X)[:, :7]
    optima = critical_set(patterns, X, y, 0.01 * T1_LAMBDA_MAX / 10, **PLAIN)
    member = optima.minimum_norm()
    assert not member.is_stationary
    assert optima.stationary_member() is None
    better = finished(optima.problem, member.network)
    assert optima.problem.objective(better) < optima.objective * (1 - 1e-6)
    assert "Clarke test" in str(optima)


def test_stationary_members_are_found_where_there_are_some():
    """The linear program puts the failing neurons to zero wherever the others can carry the fit alone."""
    X, y = t1()
    patterns = rf.all_patterns(X)
    answers = []
    for seed in range(8):
        chosen = patterns[:, np.random.default_rng(seed).permutation(patterns.shape[1])[:14]]
        optima = critical_set(chosen, X, y, 0.01 * T1_LAMBDA_MAX / 10, **PLAIN)
        columns, fit = optima.blocks.activations[:, optima.passes], optima.blocks.fit[:, 0]
        feasible = columns.shape[1] > 0 and linprog(np.zeros(columns.shape[1]), A_eq=columns, b_eq=fit).status == 0
        found = optima.stationary_member()
        assert (found is not None) == feasible
        answers.append(feasible)
    assert not all(answers)


def test_members_of_a_sampled_program_share_the_objective():
    X, y = small(8, n=30, d=4)
    patterns = rf.sample_patterns(X, 40, 0)
    optima = critical_set(patterns, X, y, 1e-3, **PLAIN)
    result = rf.solve_convex_relu(X, y, 1e-3, patterns, tol=1e-9, certify=False, **PLAIN)
    assert optima.objective == pytest.approx(result.value, rel=1e-8)
    for member in (*optima.vertices(), *optima.sample(3)):
        assert member.objective == pytest.approx(optima.objective, rel=1e-9)
        assert optima.contains(member.network)


# -- refusals -------------------------------------------------------------------------------------------------------


def test_wrong_use_is_refused():
    X, y = t1()
    patterns = rf.all_patterns(X)
    with pytest.raises(ProblemError, match="alpha must be positive"):
        critical_set(patterns, X, y, 0.0)
    with pytest.raises(ProblemError, match="patterns must have shape"):
        critical_set(patterns[:5], X, y, 0.1)
    impossible = np.zeros((10, 1), dtype=bool)
    impossible[np.argsort(X[:, 0])[[0, 9]]] = True
    with pytest.raises(ProblemError, match="not an activation pattern"):
        critical_set(np.hstack([patterns, ~patterns[:, :1] & impossible]), X, y, 0.1, **PLAIN)
    dead = rf.ReLUNetwork([np.zeros((2, 2)), [[1.0, 1.0]]], [np.zeros(2), [0.0]])
    with pytest.raises(ProblemError, match="no neuron that is active"):
        critical_set(dead, X, y, 0.1, **PLAIN)
    with pytest.raises(ProblemError, match="no neuron that is active"):
        finished(ConvexReLUProblem(X, y, 0.1, **PLAIN), dead)
    both = np.column_stack([y, -y])
    with pytest.raises(ProblemError, match="share neurons"):
        critical_set(patterns, X, both, 0.1, **PLAIN)
    pair = rf.ReLUNetwork([np.eye(2), np.eye(2)], [np.zeros(2), np.zeros(2)])
    with pytest.raises(ProblemError, match="one output"):
        critical_set(pair, X, both, 0.1, output_penalty="l1", **PLAIN)


def test_a_network_that_should_vanish_ends_as_the_constant():
    X, y = t1()
    problem = ConvexReLUProblem(X, y, 2 * T1_LAMBDA_MAX / 10, **PLAIN)
    network = rf.ReLUNetwork([np.eye(2), [[1.0, -1.0]]], [np.zeros(2), [0.0]])
    assert finished(problem, network).widths == (0,)

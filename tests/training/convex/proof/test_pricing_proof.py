"""Proofs within a budget: the same on every executor, honest when they are cut short, refuted by neurons that gain."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from training.convex.pricing_cases import exact_gains

from rectifold._engine.executor import TaskPool
from rectifold.certify import verify
from rectifold.core.certificate_format import to_arrays
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof, Status
from rectifold.training.convex.proof import growing_tree
from rectifold.training.convex.proof.cone_sides import Side
from rectifold.training.convex.proof.global_bound import ProofEffort, lower_bound
from rectifold.training.convex.proof.pricing_proof import LEAST_RHO, PricingProof
from rectifold.training.convex.solve import solve_convex_relu

# A killed worker leaves pipes for the collector, and Dask says goodbye to it in several ways.
ignore_debris = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:A worker stopped while some jobs were given:UserWarning",
    "ignore:.*leaked:UserWarning",
)


def table(n=80, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.abs(X[:, 0]) - np.maximum(X[:, 1] + X[:, 2], 0.0) + 0.3 * rng.standard_normal(n)
    return X, y


def trained(fraction=0.1, **size):
    """A problem and its solution, where a proof of 1 % takes some ten thousand nodes."""
    X, y = table(**size)
    alpha = fraction * solve_alpha_max(X, y)
    result = solve_convex_relu(X, y, alpha, certify=False, n_starts=50)
    return ConvexReLUProblem(X, y, alpha), result.solution


def solve_alpha_max(X, y):
    problem = ConvexReLUProblem(X, y, 1.0)
    U = np.random.default_rng(0).standard_normal((problem.design.shape[1], 20_000))
    U /= np.linalg.norm(U, axis=0)
    return float(np.abs(problem.null_theta[:, 0] @ np.maximum(problem.design @ U, 0.0)).max())


@pytest.fixture(scope="module")
def case():
    return trained()


@pytest.fixture
def short_tasks(monkeypatch):
    """Many tasks in many rounds, as for trees of minutes."""
    monkeypatch.setattr(growing_tree, "_QUOTA", 300_000)


def stored(certificate):
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in to_arrays(certificate).items()}


# -- what is proven ----------------------------------------------------------------------------------------------------


class Heard:
    """Notes how a proof stands, and asks it to stop after so many reports."""

    def __init__(self, patience=10**9):
        self.reports, self.patience = [], patience

    def __call__(self, progress, bound=-np.inf):
        self.reports.append((progress, bound))

    def should_stop(self):
        return len(self.reports) >= self.patience


def small_question(seed=0, n=14, d=3):
    rng = np.random.default_rng(seed)
    X, theta = rng.standard_normal((n, d)), rng.standard_normal((n, 2))
    return X, theta, exact_gains(X, theta).max(axis=1)


@pytest.mark.parametrize("goal", [1.01, 1.1, 1.5])
def test_the_goal_is_proven_for_every_output_and_sign(goal):
    X, theta, truth = small_question()
    found = PricingProof(X, theta, truth).run(goal, 10**7)
    assert found.rho == goal
    assert found.violator is None
    assert [(t.output, t.sign) for t in found.trees.trees] == [(0, 1), (0, -1), (1, 1), (1, -1)]
    assert [t.bound for t in found.trees.trees] == pytest.approx(goal * np.repeat(truth, 2), rel=1e-15)
    assert found.attained <= 1.0 + 1e-9
    assert all(t.leaves is None for t in found.trees.trees)


def test_the_goal_is_never_below_the_least_rho():
    X, theta, truth = small_question()
    found = PricingProof(X, theta, truth).run(1.0, 10**8)
    assert found.rho == LEAST_RHO


def test_only_what_is_not_known_is_tried():
    X, theta, truth = small_question()
    heard = Heard()
    assert PricingProof(X, theta, truth).run(1.2, 10**7, ceiling=1.2).trees is None
    assert PricingProof(X, theta, truth).run(1.2, 0).trees is None
    PricingProof(X, theta, truth).run(1.01, 10**7, ceiling=1.4, floor=1.1, on_progress=heard)
    assert {1.1 < progress.trying < 1.4 for progress, _ in heard.reports} == {True}


def test_levels_differ_by_output():
    X, theta, truth = small_question()
    found = PricingProof(X, theta, truth * [1.0, 5.0]).run(1.02, 10**7)
    assert found.rho == 1.02
    assert found.trees.trees[2].bound == pytest.approx(5.1 * truth[1])


@pytest.mark.parametrize("factors", [(0.9, 1.0), (1.0, 0.9), (0.5, 0.5)], ids=str)
def test_levels_that_are_exceeded_are_not_proven(factors):
    X, theta, truth = small_question()
    levels = truth * factors
    found = PricingProof(X, theta, levels).run(LEAST_RHO, 10**7)
    assert np.all(found.rho * levels >= truth)
    if found.violator is not None:
        gain = np.abs(theta[:, found.output] @ np.maximum(X @ found.violator, 0.0))
        assert np.linalg.norm(found.violator) == pytest.approx(1.0)
        assert LEAST_RHO * 0.998 * levels[found.output] < gain <= truth[found.output] * (1 + 1e-9)
        assert found.attained == pytest.approx(gain / levels[found.output])


def test_a_refutation_in_the_trees_is_handed_on(monkeypatch):
    """Where random dives do not see it coming."""
    X, theta, truth = small_question()
    monkeypatch.setattr(Side, "estimate", lambda self, bound, n_dives, paths=(): (1.0, 0.1))
    found = PricingProof(X, theta, 0.9 * truth).run(1.01, 10**7)
    gain = np.abs(theta[:, found.output] @ np.maximum(X @ found.violator, 0.0))
    assert np.linalg.norm(found.violator) == pytest.approx(1.0)
    assert 1.005 * 0.9 * truth[found.output] < gain <= truth[found.output] * (1 + 1e-9)
    assert found.attained == pytest.approx(gain / (0.9 * truth[found.output]))
    assert np.all(found.rho * 0.9 * truth >= truth)


# -- executors ---------------------------------------------------------------------------------------------------------


class KillWorker:
    """Kills a worker process at the third report of a proof, when tasks are in flight."""

    def __init__(self, process_id):
        self.process_id, self.reports = process_id, 0

    def __call__(self, progress, bound):
        self.reports += 1
        if self.reports == 3:
            os.kill(self.process_id(), signal.SIGKILL)


def prove(case, executor=None, on_progress=lambda progress, bound: None):
    effort = ProofEffort(2e-2, 60_000_000, keep_leaves=True, pool=TaskPool(executor), on_progress=on_progress)
    return lower_bound(*case, effort=effort)


@pytest.fixture(scope="module")
def serial(case):
    patch = pytest.MonkeyPatch()
    with patch.context() as m:
        m.setattr(growing_tree, "_QUOTA", 300_000)
        heard = Heard()
        bound, certificate, info = prove(case, on_progress=heard)
    assert len(heard.reports) >= 30  # tasks, so that there is something to share and to lose
    assert bound >= 0.98 * certificate.objective
    return stored(certificate), info


def assert_same(found, serial):
    _, certificate, info = found
    expected, expected_info = serial
    assert stored(certificate) == expected
    assert (info.work, info.n_nodes, info.attained) == (
        expected_info.work,
        expected_info.n_nodes,
        expected_info.attained,
    )


def test_two_threads_give_the_same_certificate(case, serial, short_tasks):
    with ThreadPoolExecutor(2) as threads:
        assert_same(prove(case, threads), serial)


@ignore_debris
def test_loky_gives_the_same_certificate_also_when_a_worker_is_killed(case, serial, short_tasks):
    executor = get_reusable_executor(max_workers=2, timeout=100)
    kill = KillWorker(lambda: next(iter(executor._processes)))
    assert_same(prove(case, executor, kill), serial)
    assert kill.reports > 3


@ignore_debris
def test_dask_gives_the_same_certificate_also_when_a_worker_is_killed(case, serial, short_tasks):
    distributed = pytest.importorskip("distributed", reason="dask and distributed are an extra")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        kill = KillWorker(lambda: next(iter(cluster.workers.values())).pid)
        assert_same(prove(case, client.get_executor(), kill), serial)
        assert kill.reports > 3


def test_training_gives_the_same_certificate_on_threads(short_tasks):
    X, y = table(n=40, d=3)
    alpha = 0.1 * solve_alpha_max(X, y)
    options = {"n_starts": 20, "max_work": 5_000_000}
    expected = solve_convex_relu(X, y, alpha, **options)
    with ThreadPoolExecutor(2) as threads:
        found = solve_convex_relu(X, y, alpha, executor=threads, **options)
    assert stored(found.certificate) == stored(expected.certificate)
    assert expected.proof is Proof.CERTIFIED


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hard():
    """A problem that no budget of a test proves."""
    X, y = table(n=200, d=9)
    return X, y, 0.05 * solve_alpha_max(X, y)


def assert_honest(result, hard):
    problem = ConvexReLUProblem(*hard)
    assert result.proof is not Proof.CERTIFIED
    assert 0.0 < result.bound < 0.99 * result.value
    assert problem.objective(result.solution) == pytest.approx(result.value, rel=1e-12)
    verdict = verify(result, problem=problem)
    assert verdict.holds, str(verdict)


def test_a_small_budget_gives_an_honest_larger_gap(case):
    gaps = []
    for work in (0, 100_000, 1_000_000, 30_000_000):
        bound, certificate, info = lower_bound(*case, effort=ProofEffort(1e-2, work))
        assert info.work <= 1.01 * work + 100_000
        assert verify(certificate).holds
        gaps.append(1.0 - bound / certificate.objective)
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.5 * gaps[0]


def test_a_budget_that_does_not_reach_is_no_certificate(hard):
    result = solve_convex_relu(*hard, max_work=30_000_000, n_starts=20, max_iter=5)
    assert_honest(result, hard)
    assert result.stats["proof_work"] <= 31_000_000


class StopInProof:
    """Asks to stop at the so-manyth report of the proof."""

    def __init__(self, reports):
        self.left, self.bounds = reports, []

    def event(self, stage, value, bound, elapsed, **counts):
        if stage == "proof":
            self.bounds.append(bound)

    def should_stop(self):
        return len(self.bounds) >= self.left


def test_a_monitor_that_stops_the_proof_gets_the_bound_so_far(hard, short_tasks):
    monitor = StopInProof(60)
    result = solve_convex_relu(*hard, max_work=10**12, n_starts=20, max_iter=5, callback=monitor)
    assert result.status is Status.INTERRUPTED
    assert len(monitor.bounds) <= 61
    assert result.bound >= max(monitor.bounds) * (1 - 1e-12)
    cheap = solve_convex_relu(*hard, certify=False, n_starts=20, max_iter=5)
    assert result.bound >= cheap.bound
    assert_honest(result, hard)


def test_a_time_limit_ends_the_proof_with_the_bound_so_far(hard, short_tasks):
    monitor = StopInProof(10**9)
    result = solve_convex_relu(*hard, max_work=10**12, n_starts=20, max_iter=5, time_limit=4.0, callback=monitor)
    assert result.status is Status.TIME_LIMIT
    assert monitor.bounds  # it was the proof that was cut short
    assert result.bound >= max(monitor.bounds) * (1 - 1e-12)
    assert_honest(result, hard)


def test_bounds_told_on_the_way_only_rise(case, short_tasks):
    heard = Heard()
    bound, certificate, _ = lower_bound(*case, effort=ProofEffort(1e-2, 10**8, on_progress=heard))
    told = [b for _, b in heard.reports]
    assert told == sorted(told)
    assert told[-1] <= bound <= certificate.objective
    proven = [progress.proven for progress, _ in heard.reports]
    assert proven == sorted(proven, reverse=True)
    assert all(progress.trying < progress.proven for progress, _ in heard.reports)


# -- refuted networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropped", [0, 1, 2])
def test_a_network_without_one_of_its_neurons_is_refuted(case, dropped):
    problem, network = case
    w, a, c = problem.neurons(network)
    order = np.argsort(-np.linalg.norm(w, axis=1) * np.abs(a[:, 0]), kind="stable")
    kept = np.delete(order, dropped)
    worse = problem.network(w[kept], a[kept], c)
    theta = problem.theta(
        problem.fit(worse) + problem.loss.intercept(problem.fit(worse), problem.targets, problem.weights)
    )
    _, certificate, info = lower_bound(problem, worse, theta, ProofEffort(max_work=20_000_000))
    gain = np.abs(theta[:, 0] @ np.maximum(problem.design @ info.violator, 0.0))
    assert np.linalg.norm(info.violator) == pytest.approx(1.0)
    assert gain > problem.alpha
    assert verify(certificate).holds
    assert certificate.lower_bound <= problem.objective(network)

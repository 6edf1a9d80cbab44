"""Training over all patterns: start, search, proof, and the result that says which of them succeeded."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray

from rectifold._engine.blas import single_threaded_blas
from rectifold._engine.budget import Budget
from rectifold._engine.executor import TaskPool, worker_count
from rectifold.core.certificate import TrainingCertificate
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.result import Proof, Result, Status
from rectifold.training.convex.options import TrainingOptions
from rectifold.training.convex.proof.global_bound import ProofEffort, lower_bound, with_network
from rectifold.training.convex.proof.pricing_proof import ProofProgress
from rectifold.training.convex.search.column_generation import ColumnGeneration, Incumbent
from rectifold.training.convex.search.descent import Neurons, descend, random_neurons
from rectifold.training.convex.search.network_descent import descend_and_price
from rectifold.training.convex.search.stochastic_descent import stochastic_descend

Array = NDArray[np.float64]

_START_WIDTH = 100
_START_ITERATIONS = 300
_STOCHASTIC_SIZE, _STOCHASTIC_SHARE = 1e6, 0.85
"""Entries of the design from which training starts with random batches; their share of a time limit."""
_SECOND_ORDER_FLOPS = 4e10
_PROOF_ROUNDS = 20


def train(
    problem: ConvexReLUProblem,
    options: TrainingOptions,
    budget: Budget,
    warm_start: ReLUNetwork | None = None,
    executor: Executor | None = None,
    n_jobs: int | None = None,
) -> Result[ReLUNetwork]:
    """Train over all patterns; the body of `solve_convex_relu` without ``patterns``.

    Parameters
    ----------
    executor : concurrent.futures.Executor, optional
        Runs outputs that are independent problems; they hear of the time limit, but not of the monitor.
    n_jobs : int, optional
        joblib jobs for the same, without an executor.
    """
    jobs = _Jobs(executor, n_jobs)
    rng = np.random.default_rng(options.random_state)
    constant = _constant(problem)
    bound, certificate, _ = lower_bound(problem, constant, problem.null_theta)
    if problem.null_value - bound <= 1e-9 * problem.null_value:
        found = _Found(constant, problem.null_theta, 0.0, 0.0, 0, 0, 0)
        return _assemble(problem, found, certificate, options, budget, {})
    budget.report("constant", problem.null_value, bound, neurons=0)
    found = _search(problem, options, budget, rng, warm_start, _no_directions(problem), jobs)
    found = _lowest(problem, found, [constant] if warm_start is None else [constant, warm_start])
    found, certificate, proof = _prove(problem, found, options, budget, rng, jobs)
    return _assemble(problem, found, certificate, options, budget, proof)


@dataclass(frozen=True)
class _Found:
    """A trained network with the figures of its search."""

    network: ReLUNetwork
    theta: Array
    restricted_gap: float
    priced_gap: float
    starts: int
    rounds: int
    iterations: int


def _lowest(problem: ConvexReLUProblem, found: _Found, others: list[ReLUNetwork]) -> _Found:
    """Return the search's network, or one of the others if that is lower; the dual point found serves it too."""
    best = min(others, key=problem.objective)
    if problem.objective(best) > problem.objective(found.network) * (1 + 1e-9):
        return found
    return replace(found, network=best, theta=problem.theta(problem.fit(best)))


def _constant(problem: ConvexReLUProblem) -> ReLUNetwork:
    d, k = problem.design.shape[1], problem.n_outputs
    return problem.network(np.empty((0, d)), np.empty((0, k)), problem.null_intercept)


def _prove(
    problem: ConvexReLUProblem,
    found: _Found,
    options: TrainingOptions,
    budget: Budget,
    rng: np.random.Generator,
    jobs: _Jobs,
) -> tuple[_Found, TrainingCertificate, dict[str, float]]:
    """Bound the objective from below; a direction that refutes optimality becomes a neuron, and the proof goes on."""
    left, nodes, passes, floor = options.max_work if options.certify else 0, 0, 0, 0.0
    best: TrainingCertificate | None = None
    known = _no_directions(problem)
    for _ in range(_PROOF_ROUNDS):
        budget.report("proof", problem.objective(found.network), neurons=float(found.network.widths[0]))
        report = _ProofReport(problem, found, budget)
        effort = ProofEffort(options.gap_tol, left, floor, options.keep_leaves, jobs.pool, budget.should_stop, report)
        _, certificate, info = lower_bound(problem, found.network, found.theta, effort)
        left, nodes, passes = max(left - info.work, 0), nodes + info.n_nodes, passes + info.n_passes
        best = _higher(best, certificate)
        if info.violator is None or left == 0 or budget.should_stop():
            break
        known = np.vstack([known, info.violator])
        better = _search(problem, options, budget, rng, found.network, known, jobs)
        if problem.objective(better.network) < problem.objective(found.network) * (1 - 0.1 * options.tol):
            found, floor = better, 0.0
        else:
            found, floor = replace(found, priced_gap=max(found.priced_gap, better.priced_gap)), info.attained
    assert best is not None
    certificate = with_network(problem, best, found.network)
    budget.report("bound", certificate.objective, certificate.lower_bound, neurons=float(found.network.widths[0]))
    work = options.max_work - left if options.certify else 0
    return found, certificate, {"proof_work": work, "proof_nodes": nodes, "proof_passes": passes}


def _higher(best: TrainingCertificate | None, other: TrainingCertificate) -> TrainingCertificate:
    return other if best is None or other.lower_bound >= best.lower_bound else best


class _ProofReport:
    """Tells the budget how a proof stands, with the bound that its rho gives."""

    def __init__(self, problem: ConvexReLUProblem, found: _Found, budget: Budget) -> None:
        self._objective, self._neurons = problem.objective(found.network), float(found.network.widths[0])
        self._budget = budget

    def __call__(self, progress: ProofProgress, bound: float) -> None:
        counts = {"rho": progress.trying, "proven_rho": progress.proven, "nodes": float(progress.n_nodes)}
        counts["passes"] = float(progress.n_passes)
        self._budget.report(
            "proof", self._objective, bound, neurons=self._neurons, nodes_left=progress.n_nodes_left, **counts
        )


def _no_directions(problem: ConvexReLUProblem) -> Array:
    return np.empty((0, problem.design.shape[1]))


def _start(problem: ConvexReLUProblem, rng: np.random.Generator, warm: ReLUNetwork | None, budget: Budget) -> Neurons:
    if warm is not None:
        return Neurons(*problem.neurons(warm))
    if problem.design.size > _STOCHASTIC_SIZE:
        seconds = _STOCHASTIC_SHARE * budget.remaining
        return stochastic_descend(problem, rng, seconds=seconds, should_stop=budget.should_stop)
    start = random_neurons(problem, _START_WIDTH * problem.n_outputs, rng)
    return descend(problem, start, max_iter=_START_ITERATIONS, should_stop=budget.should_stop)


def _search(
    problem: ConvexReLUProblem,
    options: TrainingOptions,
    budget: Budget,
    rng: np.random.Generator,
    warm: ReLUNetwork | None,
    known: Array,
    jobs: _Jobs | None = None,
) -> _Found:
    if problem.n_outputs > 1 and problem.output_penalty == "l1" and problem.loss.separable:
        return _search_by_output(problem, options, budget, rng, warm, known, jobs or _Jobs())
    if problem.n_outputs == 1 and _second_order_is_affordable(problem):
        return _search_by_columns(problem, options, budget, rng, warm, known)
    start = _start(problem, rng, warm, budget)
    result = descend_and_price(
        problem,
        start,
        tol=options.tol,
        n_starts=options.n_starts,
        max_rounds=options.max_iter,
        rng=rng,
        known=known,
        should_stop=budget.should_stop,
        on_round=lambda r: budget.report("descent", r.objective, neurons=len(r.neurons), priced_gap=r.priced_gap),
    )
    network = problem.network(result.neurons.directions, result.neurons.outputs, result.neurons.intercept)
    return _Found(network, result.theta, np.nan, result.priced_gap, result.starts, result.rounds, 0)


def _second_order_is_affordable(problem: ConvexReLUProblem) -> bool:
    n, d = problem.design.shape
    blocks = 60.0
    size = blocks * d
    return min(size * n**2 + n**3 / 3, n * size**2 + size**3 / 3) <= _SECOND_ORDER_FLOPS


def _search_by_columns(
    problem: ConvexReLUProblem,
    options: TrainingOptions,
    budget: Budget,
    rng: np.random.Generator,
    warm: ReLUNetwork | None,
    known: Array,
) -> _Found:
    def on_round(incumbent: Incumbent, rounds: int) -> None:
        counts = {"neurons": float(len(incumbent.w)), "rounds": float(rounds), "priced_gap": incumbent.priced_gap}
        budget.report("columns", incumbent.objective, **counts)

    method = ColumnGeneration(problem, options.tol, options.n_starts, rng, known, budget.should_stop, on_round)
    best = method.run(_start(problem, rng, warm, budget), options.max_iter)
    neurons = best.neurons()
    network = problem.network(neurons.directions, neurons.outputs, neurons.intercept)
    theta = best.theta[:, None]
    priced = float(np.nanmax([best.restricted_gap, best.priced_gap]))
    return _Found(network, theta, best.restricted_gap, priced, best.starts, method.rounds, method.iterations)


def _search_by_output(
    problem: ConvexReLUProblem,
    options: TrainingOptions,
    budget: Budget,
    rng: np.random.Generator,
    warm: ReLUNetwork | None,
    known: Array,
    jobs: _Jobs,
) -> _Found:
    """Solve one scalar problem an output; F is the sum of theirs."""
    children = rng.spawn(problem.n_outputs)
    tasks = [
        _OutputTask(problem.output(k), options, child, _output_of(problem, warm, k), known)
        for k, child in enumerate(children)
    ]
    parts = jobs.run(tasks, budget)
    neurons = [problem.output(k).neurons(part.network) for k, part in enumerate(parts)]
    w = np.vstack([n[0] for n in neurons])
    a = np.vstack([n[1] * (np.arange(problem.n_outputs) == k) for k, n in enumerate(neurons)])
    network = problem.network(w, a, np.concatenate([n[2] for n in neurons]))
    values = np.array([problem.output(k).objective(p.network) for k, p in enumerate(parts)])
    share = values / max(float(values.sum()), 1e-300)
    return _Found(
        network,
        np.hstack([p.theta for p in parts]),
        float(share @ [p.restricted_gap for p in parts]),
        float(share @ [p.priced_gap for p in parts]),
        sum(p.starts for p in parts),
        sum(p.rounds for p in parts),
        sum(p.iterations for p in parts),
    )


@dataclass(frozen=True)
class _OutputTask:
    """The search for one output, to run anywhere."""

    problem: ConvexReLUProblem
    options: TrainingOptions
    rng: np.random.Generator
    warm: ReLUNetwork | None
    known: Array

    def run(self, budget: Budget) -> _Found:
        with single_threaded_blas:  # another number of threads may sum in another order
            return _search(self.problem, self.options, budget, deepcopy(self.rng), self.warm, self.known)


class _Jobs:
    """Where the outputs are solved and the proof runs: on an executor, or by joblib and on threads."""

    def __init__(self, executor: Executor | None = None, n_jobs: int | None = None) -> None:
        self._pool = None if executor is None else TaskPool(executor)
        self.pool = TaskPool(_threads(n_jobs)) if self._pool is None else self._pool
        self._in_flight = worker_count(executor)  # queued tasks would not notice their time running out
        self._n_jobs = n_jobs

    def run(self, tasks: list[_OutputTask], budget: Budget) -> list[_Found]:
        if self._pool is None:
            with single_threaded_blas:
                return Parallel(n_jobs=self._n_jobs, prefer="threads")(delayed(task.run)(budget) for task in tasks)

        def interrupted() -> bool:  # tasks keep the time limit themselves, and then have something to return
            return budget.should_stop() and budget.status(Status.OPTIMAL) is Status.INTERRUPTED

        payloads = ((task, _time_left(budget)) for task in tasks)
        parts = list(self._pool.map(_run_for, payloads, in_flight=self._in_flight, should_stop=interrupted))
        return parts + [task.run(budget) for task in tasks[len(parts) :]]


def _threads(n_jobs: int | None) -> Executor | None:
    count = effective_n_jobs(n_jobs)
    return ThreadPoolExecutor(count) if count > 1 else None


def _run_for(payload: tuple[_OutputTask, float | None]) -> _Found:
    task, seconds = payload
    return task.run(Budget(None, seconds))


def _time_left(budget: Budget) -> float | None:
    return None if np.isinf(budget.remaining) else max(budget.remaining, 1e-3)


def _output_of(problem: ConvexReLUProblem, warm: ReLUNetwork | None, k: int) -> ReLUNetwork | None:
    if warm is None:
        return None
    w, a, c = problem.neurons(warm)
    used = a[:, k] != 0
    return problem.output(k).network(w[used], a[used, k : k + 1], c[k : k + 1])


def _assemble(
    problem: ConvexReLUProblem,
    found: _Found,
    certificate: TrainingCertificate,
    options: TrainingOptions,
    budget: Budget,
    proof_stats: dict[str, float],
) -> Result[ReLUNetwork]:
    value, bound = problem.objective(found.network), certificate.lower_bound
    gap = (value - bound) / value if value > 0 else 0.0
    worst = np.nanmax([found.restricted_gap, found.priced_gap]) if found.rounds or found.starts else 0.0
    if gap <= options.gap_tol:
        proof = Proof.CERTIFIED
    elif found.priced_gap <= options.gap_tol:
        proof = Proof.PRICED
    else:
        proof = Proof.RESTRICTED
    done = gap <= options.tol or worst <= options.tol
    status = budget.status(Status.OPTIMAL if done else Status.ITERATION_LIMIT)
    budget.report("done", value, bound, neurons=float(found.network.widths[0]))
    stats = {
        "neurons": found.network.widths[0],
        "restricted_gap": found.restricted_gap,
        "priced_gap": found.priced_gap,
        "starts": found.starts,
        "rounds": found.rounds,
        "iterations": found.iterations,
        **proof_stats,
        "seconds": budget.elapsed,
    }
    return Result(found.network, value, bound, status, proof, certificate, stats, budget.trace())

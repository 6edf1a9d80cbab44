"""Tasks on executors: the same results in the same order everywhere, whatever happens to the workers."""

from __future__ import annotations

import time
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from engine.executor_tasks import blas_threads, correlate, die, die_once, late_if_early, refuse_seven, square
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib.externals.loky import get_reusable_executor
from problems import small
from quick import solve_convex_relu
from threadpoolctl import threadpool_limits

from rectifold._engine.executor import TaskPool, worker_count
from rectifold.core.errors import ProblemError, SolverError
from rectifold.core.result import Status

# A killed worker leaves pipes for the collector, and Dask says goodbye to it in several ways.
ignore_debris = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:A worker stopped while some jobs were given:UserWarning",
    "ignore:.*leaked:UserWarning",
)


def loky():
    return get_reusable_executor(max_workers=2, timeout=100)


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(3) as executor:
        yield executor


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="dask and distributed are an extra")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(params=["serial", "threads", "loky", "dask"])
def executor(request):
    if request.param == "serial":
        return None
    if request.param == "loky":
        return loky()
    if request.param == "dask":
        return request.getfixturevalue("cluster").get_executor()
    return request.getfixturevalue("threads")


# -- order, laziness, limits -------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_payloads(executor):
    assert list(TaskPool(executor).map(late_if_early, range(20))) == list(range(20))


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.integers(-50, 50), max_size=30),
    batch_size=st.integers(1, 7),
    in_flight=st.none() | st.integers(1, 5),
    parallel=st.booleans(),
)
def test_map_is_map(threads, values, batch_size, in_flight, parallel):
    pool = TaskPool(threads if parallel else None)
    assert list(pool.map(square, iter(values), batch_size=batch_size, in_flight=in_flight)) == [v * v for v in values]


def test_sums_are_bit_identical_to_serial(executor):
    assert list(TaskPool(executor).map(correlate, range(6))) == list(TaskPool().map(correlate, range(6)))


def test_blas_has_one_thread_in_tasks_and_its_own_number_after(executor):
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads(None)
        assert set(TaskPool(executor).map(blas_threads, range(8))) == {1}
        assert blas_threads(None) == before


def test_blas_cap_is_lifted_by_the_last_iterator_to_end():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads(None)
        first, second = (TaskPool().map(square, range(3)) for _ in range(2))
        next(first), next(second)
        first.close()
        assert blas_threads(None) == 1
        second.close()
        assert blas_threads(None) == before


class Recorder(Executor):
    """Finishes nothing by itself; the test does, in the order it likes."""

    def __init__(self):
        self.open = []
        self.submitted = 0

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.open.append((future, fn))
        self.submitted += 1
        return future

    def finish(self, position):
        future, fn = self.open.pop(position)
        future.set_result(fn())


def test_in_flight_is_bounded_and_payloads_are_read_lazily():
    recorder, read = Recorder(), []
    payloads = (read.append(i) or i for i in range(100))

    def should_stop():  # asked whenever the pool would submit or wait
        assert len([future for future, _ in recorder.open if not future.done()]) <= 3
        if len(recorder.open) == 3:
            recorder.finish(-1)  # the newest first: results pile up behind the oldest
        return recorder.submitted == 12 and len(recorder.open) == 2

    assert list(TaskPool(recorder).map(square, payloads, in_flight=3, should_stop=should_stop)) == []
    assert read == list(range(12))  # four times what may be in flight
    assert all(future.cancelled() for future, _ in recorder.open)


def test_serial_runs_one_task_for_each_result_asked_for():
    ran = []
    results = TaskPool().map(ran.append, range(5))
    assert ran == []
    next(results)
    next(results)
    assert ran == [0, 1]


@pytest.mark.parametrize("seen", [0, 1, 4])
def test_should_stop_ends_early_with_a_prefix(executor, seen):
    results, seen_so_far = [], []
    for value in TaskPool(executor).map(square, range(10**6), should_stop=lambda: len(seen_so_far) >= seen):
        results.append(value)
        seen_so_far.append(value)
    assert seen <= len(results) < 1000
    assert results == [i * i for i in range(len(results))]


def test_should_stop_is_heard_while_a_task_runs(threads):
    questions = []
    start = time.perf_counter()
    results = list(
        TaskPool(threads).map(time.sleep, [2.0], should_stop=lambda: questions.append(0) or len(questions) > 3)
    )
    assert results == []
    assert time.perf_counter() - start < 2.0


def test_leaving_the_iterator_cancels_what_is_queued():
    recorder = Recorder()
    results = TaskPool(recorder).map(
        square,
        range(9),
        in_flight=4,
        should_stop=lambda: recorder.submitted == 4 and bool(recorder.open) and not recorder.finish(0) and False,
    )
    assert next(results) == 0
    results.close()
    assert recorder.open
    assert all(future.cancelled() for future, _ in recorder.open)


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3])
def test_exception_of_a_task_comes_unchanged_after_the_results_before_it(executor, batch_size):
    results = []
    with pytest.raises(ZeroDivisionError, match="seven"):
        results.extend(iter_into(results, TaskPool(executor).map(refuse_seven, range(20), batch_size=batch_size)))
    assert results == list(range(7 - 7 % batch_size))


def iter_into(results, source):
    for value in source:
        results.append(value)
    return ()


@ignore_debris
def test_killed_loky_worker_is_made_good(tmp_path):
    executor = loky()
    pool = TaskPool(executor)
    assert list(pool.map(partial(die_once, tmp_path), range(12))) == [i * i for i in range(12)]
    assert (tmp_path / "died").exists()
    assert list(pool.map(square, range(4))) == [0, 1, 4, 9]
    # the caller still holds the broken one
    assert list(TaskPool(executor).map(square, range(4))) == [0, 1, 4, 9]


@ignore_debris
def test_killed_dask_worker_is_made_good(tmp_path, cluster):
    pool = TaskPool(cluster.get_executor())
    assert list(pool.map(partial(die_once, tmp_path), range(12))) == [i * i for i in range(12)]
    assert (tmp_path / "died").exists()


@ignore_debris
def test_a_task_that_always_kills_its_worker_is_given_up():
    pool = TaskPool(loky(), max_retries=1)
    with pytest.raises(SolverError, match=r"lost its worker 2 times.*TerminatedWorkerError") as caught:
        list(pool.map(die, range(3)))
    assert isinstance(caught.value.__cause__, BrokenExecutor)


@ignore_debris
def test_killed_process_of_a_plain_pool_needs_renew(tmp_path):
    make = partial(ProcessPoolExecutor, 1, mp_context=get_context("spawn"))
    with make() as executor, pytest.raises(SolverError, match="cannot be restarted"):
        list(TaskPool(executor).map(die, range(3)))
    successors = []

    def renew():
        successors.append(make())
        return successors[-1]

    with make() as executor:
        pool = TaskPool(executor, renew=renew)
        assert list(pool.map(partial(die_once, tmp_path), range(8))) == [i * i for i in range(8)]
    assert len(successors) == 1
    successors[0].shutdown()


class KilledWorker(Exception):
    """Named as Dask's is."""


class Flaky(Executor):
    """Loses every task so many times, in the ways Dask does."""

    def __init__(self, losses):
        self.left = dict.fromkeys(range(100), losses)
        self.keys = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        key = fn.__dask_tokenize__()
        self.keys.append(key)
        index = key[1]
        self.left[index] -= 1
        if self.left[index] < 0:
            future.set_result(fn())
        elif self.left[index] % 2:
            future.cancel()
        else:
            future.set_exception(KilledWorker(index))
        return future


@pytest.mark.parametrize("losses", [0, 1, 2, 3])
def test_lost_tasks_are_submitted_again_under_another_key(losses):
    executor = Flaky(losses)
    assert list(TaskPool(executor).map(square, range(5), in_flight=2)) == [0, 1, 4, 9, 16]
    assert len(set(executor.keys)) == len(executor.keys) == 5 * (losses + 1)


@pytest.mark.parametrize(("losses", "cause"), [(5, KilledWorker), (4, CancelledError)])
def test_tasks_lost_too_often_are_an_error_that_names_the_cause(losses, cause):
    pool = TaskPool(Flaky(losses), max_retries=2)
    with pytest.raises(SolverError, match=f"3 times.*{cause.__name__}") as caught:
        list(pool.map(square, range(5)))
    assert isinstance(caught.value.__cause__, cause)


def test_executor_that_was_shut_down_is_an_error():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(SolverError, match=r"cannot be restarted.*after shutdown"):
        list(TaskPool(executor).map(square, range(3)))


@pytest.mark.parametrize("executor", ["loky", 2, square, ThreadPoolExecutor])
def test_what_is_no_executor_is_refused(executor):
    with pytest.raises(ProblemError, match="executor"):
        TaskPool(executor)
    with pytest.raises(ProblemError, match="executor"):
        solve_convex_relu(*small(), 0.1, executor=executor)


def test_a_dask_client_is_told_apart_from_its_executor(cluster):
    with pytest.raises(ProblemError, match=r"get_executor\(\)"):
        TaskPool(cluster)


@pytest.mark.parametrize("change", [{"batch_size": 0}, {"in_flight": 0}])
def test_bad_sizes_are_refused_before_any_work(change):
    with pytest.raises(ProblemError, match="at least 1"):
        TaskPool().map(square, [1], **change)


def test_worker_count(threads):
    assert worker_count(None) == 1
    assert worker_count(threads) == 3
    assert worker_count(loky()) == 2
    assert worker_count(Recorder()) >= 1


def test_worker_count_of_a_cluster(cluster):
    assert worker_count(cluster.get_executor()) == 2


# -- training: independent outputs as tasks ----------------------------------------------------------------------------


def problem(n=24):
    X, y = small(3, n=n, d=2, outputs=3)
    return {"X": X, "y": y, "alpha": 0.01, "output_penalty": "l1"}


def assert_same_result(result, expected):
    for found, wanted in zip(result.solution.weights, expected.solution.weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(result.solution.biases, expected.solution.biases, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert (result.value, result.bound, result.status) == (expected.value, expected.bound, expected.status)


@pytest.fixture(scope="module")
def trained():
    return solve_convex_relu(**problem())


def test_training_is_bit_identical_on_every_executor(executor, trained):
    assert_same_result(solve_convex_relu(**problem(), executor=executor), trained)


def test_training_submits_one_task_an_output(trained):
    class Counting(ThreadPoolExecutor):
        submitted = 0

        def submit(self, fn, /, *args, **kwargs):
            self.submitted += 1
            return super().submit(fn, *args, **kwargs)

    with Counting(2) as executor:
        assert_same_result(solve_convex_relu(**problem(), executor=executor), trained)
    assert executor.submitted >= 3
    assert executor.submitted % 3 == 0


@pytest.mark.parametrize("loss", ["squared", "squared_hinge"])
def test_training_from_a_warm_start_on_processes(loss):
    data = problem()
    if loss == "squared_hinge":
        data["y"] = np.argsort(np.argsort(data["y"][:, 0])) * 3 // len(data["y"])
    data |= {"loss": loss, "warm_start": solve_convex_relu(**data, loss=loss, max_iter=1).solution}
    expected = solve_convex_relu(**data)
    assert_same_result(solve_convex_relu(**data, executor=loky()), expected)


class StopAtOnce:
    def event(self, stage, value, bound, elapsed, **counts):
        pass

    def should_stop(self):
        return True


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"callback": StopAtOnce()}, Status.INTERRUPTED), ({"time_limit": 0.05}, Status.TIME_LIMIT)],
    ids=["interrupted", "time"],
)
def test_training_that_is_stopped_still_gives_a_network(executor, limits, status):
    data = problem(n=300) | {"alpha": 1e-6, "tol": 1e-12}
    result = solve_convex_relu(**data, **limits, executor=executor)
    assert result.status is status
    assert np.isfinite(result.value)
    assert result.bound <= result.value

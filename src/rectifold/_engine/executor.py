"""Independent tasks on an executor: the order of submission is kept, lost workers are made good, BLAS stays single."""

from __future__ import annotations

import os
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass, replace
from itertools import islice
from threading import Lock
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits

from rectifold.core.errors import ProblemError, SolverError

__all__ = ["TaskPool", "single_threaded_blas", "worker_count"]

P = TypeVar("P")
R = TypeVar("R")

_POLL_SECONDS = 0.05
_UNREAD = 4  # finished batches may wait behind a slow one, up to this many times the number in flight


class _SingleThreadedBlas:
    """Caps BLAS at one thread while anybody in this process is inside; threads share the cap, the last one lifts it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._limits: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._limits = threadpool_limits(1, user_api="blas")
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limits.restore_original_limits()


single_threaded_blas = _SingleThreadedBlas()
"""Context manager under which every task runs, serial ones too: sums then come out the same wherever they are formed."""


def worker_count(executor: Executor | None) -> int:
    """Return how many tasks an executor runs at a time: 1 for None, a Dask cluster's threads for Dask."""
    if executor is None:
        return 1
    if hasattr(executor, "_max_workers"):  # threads, processes, loky
        return int(executor._max_workers)
    client = getattr(executor, "_client", None)  # Dask
    return max(1, sum(client.nthreads().values())) if client is not None else os.cpu_count() or 1


class TaskPool:
    """Runs a function on payloads, over an executor or in this process, always with the same results.

    Parameters
    ----------
    executor : concurrent.futures.Executor, optional
        Threads, processes, loky's reusable executor or Dask's ``client.get_executor()``; None is serial. It is never
        shut down here.
    renew : callable, optional
        Makes the executor that takes the place of a broken one; left out, loky's reusable executor is asked for anew
        with as many workers. Others stay broken, which is an error.
    max_resubmissions : int
        How often a batch whose worker was lost is submitted again.

    Raises
    ------
    ProblemError
        If ``executor`` is something else, a Dask ``Client`` for instance.

    Notes
    -----
    Not to be shared between threads. Tasks and payloads are pickled for processes and clusters, threads share them.
    """

    def __init__(
        self,
        executor: Executor | None = None,
        *,
        renew: Callable[[], Executor] | None = None,
        max_resubmissions: int = 3,
    ) -> None:
        if executor is not None and not isinstance(executor, Executor):
            hint = "; of a Dask client, pass client.get_executor()" if hasattr(executor, "get_executor") else ""
            raise ProblemError(f"executor must be a concurrent.futures.Executor or None, got {executor!r}{hint}.")
        self._serial = executor is None
        self._executor: Executor = _InlineExecutor() if executor is None else executor
        self._renew = renew
        self._max_resubmissions = max_resubmissions

    @property
    def n_workers(self) -> int:
        """Tasks that run at a time."""
        return 1 if self._serial else worker_count(self._executor)

    def map(
        self,
        task: Callable[[P], R],
        payloads: Iterable[P],
        *,
        batch_size: int = 1,
        in_flight: int | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Iterator[R]:
        """Return ``task(payload)`` of every payload, in their order, as soon as it and those before it are there.

        Parameters
        ----------
        task : callable
            A pure function: after a lost worker it runs again.
        payloads : iterable
            Read lazily, only as far as batches are submitted.
        batch_size : int
            Payloads in one submission, best worth 0.1 to 0.5 s; it does not depend on the workers.
        in_flight : int, optional
            Batches submitted and not finished, at most; left out, two a worker.
        should_stop : callable, optional
            Asked between batches and while waiting. Once it is True the iterator ends early: what is not running is
            cancelled; what is running cannot be interrupted and needs a limit of its own in the payload.

        Raises
        ------
        SolverError
            A batch lost its worker more than ``max_resubmissions`` times, or the executor is broken for good.
        Exception
            Whatever the task raises, unchanged, after the results before its batch.
        """
        if batch_size < 1 or (in_flight is not None and in_flight < 1):
            raise ProblemError(f"batch_size and in_flight must be at least 1, got {batch_size} and {in_flight}.")
        limit = 1 if self._serial else in_flight or 2 * self.n_workers
        return self._stream(_batches(task, payloads, batch_size), limit, should_stop or (lambda: False))

    def _stream(self, batches: Iterator[_Batch[P, R]], limit: int, should_stop: Callable[[], bool]) -> Iterator[R]:
        flights: deque[_Flight[P, R]] = deque()
        exhausted = False
        try:
            while flights or not exhausted:
                self._resubmit_lost(flights)
                if flights and flights[0].future.done() and _loss(flights[0].future) is None:
                    yield from flights.popleft().future.result()
                elif should_stop():
                    return
                elif not exhausted and _has_room(flights, limit):
                    batch = next(batches, None)
                    exhausted = batch is None
                    flights.extend(() if batch is None else (self._submit(batch),))
                else:
                    running = [flight.future for flight in flights if not flight.future.done()]
                    wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        finally:
            for flight in flights:
                flight.future.cancel()

    def _submit(self, batch: _Batch[P, R]) -> _Flight[P, R]:
        try:
            future = self._executor.submit(batch)
        except RuntimeError as error:  # broken or shut down: as if its worker had been lost
            future = Future()
            future.set_exception(error if isinstance(error, BrokenExecutor) else BrokenExecutor(str(error)))
        return _Flight(batch, future, self._executor)

    def _resubmit_lost(self, flights: deque[_Flight[P, R]]) -> None:
        for i, flight in enumerate(flights):
            cause = _loss(flight.future) if flight.future.done() else None
            if cause is None:
                continue
            attempt = flight.batch.attempt + 1
            if attempt > self._max_resubmissions:
                name = f"{type(cause).__name__}: {cause}"
                raise SolverError(f"A task lost its worker {attempt} times, last by {name}") from cause
            if isinstance(cause, BrokenExecutor) and flight.executor is self._executor:
                self._executor = self._successor(cause)
            flights[i] = self._submit(replace(flight.batch, attempt=attempt))

    def _successor(self, cause: BrokenExecutor) -> Executor:
        if self._renew is not None:
            return self._renew()
        module = sys.modules[type(self._executor).__module__]
        if not hasattr(module, "get_reusable_executor"):
            name = f"{type(cause).__name__}: {cause}"
            raise SolverError(f"{type(self._executor).__name__} is broken and cannot be restarted; {name}") from cause
        return module.get_reusable_executor(max_workers=self.n_workers)


@dataclass(frozen=True)
class _Batch(Generic[P, R]):
    """Some payloads and what to do with them, under a key that no other submission has."""

    task: Callable[[P], R]
    payloads: tuple[P, ...]
    run: str
    index: int
    attempt: int = 0

    def __call__(self) -> list[R]:
        with single_threaded_blas:
            return [self.task(payload) for payload in self.payloads]

    def __dask_tokenize__(self) -> tuple[str, int, int]:
        # Dask names a task after its contents: hashing them is slow, and a failed one would be remembered as failed.
        return self.run, self.index, self.attempt


@dataclass(frozen=True)
class _Flight(Generic[P, R]):
    batch: _Batch[P, R]
    future: Future[list[R]]
    executor: Executor


class _InlineExecutor(Executor):
    """Runs what is submitted at once, in the caller's thread."""

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _batches(task: Callable[[P], R], payloads: Iterable[P], size: int) -> Iterator[_Batch[P, R]]:
    run, source, index = uuid.uuid4().hex, iter(payloads), 0
    while chunk := tuple(islice(source, size)):
        yield _Batch(task, chunk, run, index)
        index += 1


def _has_room(flights: deque[_Flight[P, R]], limit: int) -> bool:
    return len(flights) < _UNREAD * limit and sum(not flight.future.done() for flight in flights) < limit


def _loss(future: Future[Any]) -> BaseException | None:
    """Return why a finished future has no answer of its task: the worker is gone; None if it has one."""
    if future.cancelled():
        return CancelledError("the executor cancelled it")
    error = future.exception()
    killed = {"KilledWorker", "ShutdownExecutorError"}  # of Dask and loky, neither of which need be installed
    return error if isinstance(error, BrokenExecutor) or type(error).__name__ in killed else None

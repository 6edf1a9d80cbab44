"""Independent tasks on an executor: results in the order of submission, lost workers made good, BLAS on one thread."""

from __future__ import annotations

import os
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, NamedTuple, TypeVar

from rectifold._engine.blas import single_threaded_blas
from rectifold.core.errors import ProblemError, SolverError

__all__ = ["TaskPool", "worker_count"]

P = TypeVar("P")
R = TypeVar("R")

_POLL_SECONDS = 0.05
_UNREAD = 4  # finished batches may wait behind a slow one, up to this many times the number in flight


def worker_count(executor: Executor | None) -> int:
    """Return how many tasks an executor runs at a time: 1 for None, the cluster's threads for Dask."""
    if executor is not None and hasattr(executor, "_client"):  # Dask
        return max(1, sum(executor._client.nthreads().values()))
    unknown = 1 if executor is None else os.cpu_count() or 1
    return int(getattr(executor, "_max_workers", unknown))  # threads, processes and loky have it


class TaskPool:
    """Runs a function on payloads, on an executor or in this process, with the same results.

    Parameters
    ----------
    executor : concurrent.futures.Executor, optional
        Threads, processes, loky's reusable executor or Dask's ``client.get_executor()``; None is serial. Never shut
        down here; processes get pickled copies of task and payload, threads the objects.
    renew : callable, optional
        Makes the successor of a broken executor; left out, loky's reusable one is asked for anew, others are an error.
    max_retries : int
        How often a batch whose worker was lost is submitted again.

    Raises
    ------
    ProblemError
        If ``executor`` is something else, a Dask ``Client`` for instance.
    """

    def __init__(
        self, executor: Executor | None = None, *, renew: Callable[[], Executor] | None = None, max_retries: int = 3
    ) -> None:
        self._executor: Executor = _InlineExecutor() if executor is None else _checked(executor)
        self._renew = renew
        self._max_retries = max_retries

    def map(
        self,
        task: Callable[[P], R],
        payloads: Iterable[P],
        *,
        batch_size: int = 1,
        in_flight: int | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[R]:
        """Iterate over ``task(payload)`` in the order of the payloads; BLAS has one thread until the iterator ends.

        Parameters
        ----------
        task : callable
            A pure function: after a lost worker it runs again.
        payloads : iterable
            Read lazily.
        batch_size : int
            Payloads in one submission, best 0.1 to 0.5 s of work.
        in_flight : int, optional
            Batches submitted and not finished, at most; left out, two a worker. Serial runs have one.
        should_stop : callable
            Asked between batches and while waiting. Once it is True the iterator ends early: what is queued is
            cancelled; what is running goes on unheard, so a payload should carry a limit of its own.

        Raises
        ------
        SolverError
            A batch lost its worker more than ``max_retries`` times, or the executor is broken for good.
        Exception
            Whatever the task raises, after the results of the batches before it.
        """
        if batch_size < 1 or (in_flight is not None and in_flight < 1):
            raise ProblemError(f"batch_size and in_flight must be at least 1, got {batch_size} and {in_flight}.")
        limit = 1 if isinstance(self._executor, _InlineExecutor) else in_flight or 2 * worker_count(self._executor)
        return self._stream(_batches(task, payloads, batch_size), limit, should_stop)

    def _stream(self, batches: Iterator[_Batch], limit: int, should_stop: Callable[[], bool]) -> Iterator[Any]:
        flights: deque[_Flight] = deque()
        exhausted = False
        with ExitStack() as leave:
            leave.enter_context(single_threaded_blas)
            leave.callback(lambda: [flight.future.cancel() for flight in flights])
            while flights or not exhausted:
                self._resubmit_lost(flights)
                if flights and flights[0].future.done() and _loss(flights[0].future) is None:
                    yield from flights.popleft().future.result()
                    continue
                if should_stop():
                    return
                running = [flight.future for flight in flights if not flight.future.done()]
                if not exhausted and len(running) < limit and len(flights) < _UNREAD * limit:
                    if exhausted := (batch := next(batches, None)) is None:
                        continue
                    flights.append(self._submit(batch))
                else:
                    wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)

    def _submit(self, batch: _Batch) -> _Flight:
        try:
            future = self._executor.submit(batch)
        except RuntimeError as error:  # broken or shut down: as if its worker had been lost
            future = Future()
            future.set_exception(BrokenExecutor(str(error)))
        return _Flight(batch, future, self._executor)

    def _resubmit_lost(self, flights: deque[_Flight]) -> None:
        for i, flight in enumerate(flights):
            if not flight.future.done() or (cause := _loss(flight.future)) is None:
                continue
            attempt = flight.batch.attempt + 1
            if attempt > self._max_retries:
                raise SolverError(f"A task lost its worker {attempt} times, last by {cause!r}") from cause
            if isinstance(cause, BrokenExecutor) and flight.executor is self._executor:
                self._executor = self._successor(cause)
            flights[i] = self._submit(replace(flight.batch, attempt=attempt))

    def _successor(self, cause: BrokenExecutor) -> Executor:
        if self._renew is not None:
            return self._renew()
        reusable = getattr(sys.modules[type(self._executor).__module__], "get_reusable_executor", None)
        if reusable is None:
            raise SolverError(f"{self._executor!r} is broken and cannot be restarted: {cause!r}") from cause
        return reusable(max_workers=worker_count(self._executor))


@dataclass(frozen=True)
class _Batch:
    task: Callable[[Any], Any]
    payloads: tuple[Any, ...]
    key: tuple[str, int]
    attempt: int = 0

    def __call__(self) -> list[Any]:
        with single_threaded_blas:
            return [self.task(payload) for payload in self.payloads]

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        # Dask names a task after its contents: hashing them is slow, and one that failed is remembered as failed.
        return (*self.key, self.attempt)


class _Flight(NamedTuple):
    batch: _Batch
    future: Future[list[Any]]
    executor: Executor


class _InlineExecutor(Executor):
    _max_workers = 1

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _checked(executor: Any) -> Executor:
    if isinstance(executor, Executor):
        return executor
    expected = "a concurrent.futures.Executor (Dask: client.get_executor()) or None"
    raise ProblemError(f"executor must be {expected}, got {executor!r}.")


def _batches(task: Callable[[P], R], payloads: Iterable[P], size: int) -> Iterator[_Batch]:
    run, source, index = uuid.uuid4().hex, iter(payloads), count()
    while chunk := tuple(islice(source, size)):
        yield _Batch(task, chunk, (run, next(index)))


def _loss(future: Future[Any]) -> BaseException | None:
    """Return why a finished future has no answer of its task; None if it has one, be it an exception."""
    error = CancelledError("by the executor") if future.cancelled() else future.exception()
    foreign = type(error).__name__ in {"KilledWorker", "ShutdownExecutorError"}  # Dask's and loky's, not imported here
    return error if future.cancelled() or foreign or isinstance(error, BrokenExecutor) else None

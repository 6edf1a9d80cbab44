"""BLAS on one thread while tasks run, so that sums come out the same wherever they are formed."""

from __future__ import annotations

from threading import local
from typing import Any

from threadpoolctl import threadpool_limits

__all__ = ["single_threaded_blas"]


class _SingleThreadedBlas(local):
    # Depending on the library the number of threads belongs to the process or to each thread that calls it; where it is
    # the process's, threadpoolctl lets only the thread that set it first change it back. So whoever starts threads
    # holds the cap until they are done, and each of them takes it as well.
    _depth = 0
    _cap: Any = None

    def __enter__(self) -> None:
        if self._depth == 0:
            self._cap = threadpool_limits(1, user_api="blas")
            self._cap.__enter__()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._cap.__exit__(None, None, None)


single_threaded_blas = _SingleThreadedBlas()
"""Context manager that caps BLAS at one thread; blocks of one thread may nest and overlap, the last one lifts it."""

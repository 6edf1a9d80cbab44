"""What the tests of the executor run: in a module of their own, so that a worker starts fast."""

from __future__ import annotations

import os
import time

import numpy as np
from threadpoolctl import threadpool_info


def square(x):
    return x * x


def late_if_early(i):
    time.sleep(0.05 if i % 4 == 0 else 0.0)
    return i


def refuse_seven(i):
    if i == 7:
        raise ZeroDivisionError("seven")
    return i


def correlate(seed):
    a = np.random.default_rng(seed).standard_normal((400, 150))
    return (a.T @ a).tobytes(), (a.T @ a[:, 0]).tobytes()


def blas_threads(_):
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


def die_once(folder, i):
    """Kill the worker when number 5 comes for the first time."""
    if i == 5:
        try:
            os.close(os.open(folder / "died", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return i * i
        os._exit(1)
    time.sleep(0.01)
    return i * i


def die(i):
    os._exit(1)

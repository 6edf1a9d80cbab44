"""Adam on the network: ``1/2 ||f - y||^2 + lam/2 (||W||^2 + ||a||^2)``, the same optimum as the product penalty."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.true_gap import network_objective

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trained:
    """A one-output network on the matrix as given and what it cost."""

    hidden: Array
    output: Array
    offset: float
    objective: float
    cpu: float
    wall: float
    steps: int


def train(
    X: Array,
    y: Array,
    lam: float,
    *,
    width: int,
    lr: float,
    seconds: float,
    seed: int = 0,
    intercept: bool = False,
    batch: int | None = None,
    wall_clock: bool = False,
    dtype: str = "float64",
) -> Trained:
    """Full-batch (or mini-batch) Adam for a budget of CPU (or wall) seconds, the rate falling as a cosine of time.

    The offset, where there is one, is refitted at the end, and nothing else is post-processed.
    """
    rng = torch.Generator().manual_seed(seed)
    kind = getattr(torch, dtype)
    data, target = torch.as_tensor(X, dtype=kind), torch.as_tensor(y, dtype=kind)
    n, d = X.shape
    W = (torch.randn(width, d, generator=rng, dtype=kind) / math.sqrt(d)).requires_grad_()
    a = (torch.randn(width, generator=rng, dtype=kind) / math.sqrt(width)).requires_grad_()
    c = torch.full((), float(y.mean()) if intercept else 0.0, dtype=kind).requires_grad_(intercept)
    optimiser = torch.optim.Adam([W, a, c] if intercept else [W, a], lr=lr)
    clock = time.perf_counter if wall_clock else time.process_time
    start, cpu0, wall0, steps = clock(), time.process_time(), time.perf_counter(), 0
    while (spent := (clock() - start) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * spent))
        rows = slice(None) if batch is None else torch.randint(n, (batch,), generator=rng)
        x, t = data[rows], target[rows]
        scale = 1.0 if batch is None else n / batch
        optimiser.zero_grad(set_to_none=True)
        residual = torch.relu(x @ W.T) @ a + c - t
        loss = 0.5 * scale * residual.square().sum() + 0.5 * lam * (W.square().sum() + a.square().sum())
        (loss / n).backward()
        optimiser.step()
        steps += 1
    cpu, wall = time.process_time() - cpu0, time.perf_counter() - wall0
    hidden, output = W.detach().double().numpy(), a.detach().double().numpy()
    offset = float((y - np.maximum(X @ hidden.T, 0) @ output).mean()) if intercept else 0.0
    return Trained(hidden, output, offset, network_objective(X, y, lam, hidden, output, offset), cpu, wall, steps)

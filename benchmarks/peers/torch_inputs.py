"""Projected gradient methods of PyTorch on the inputs of a network: what a user would write today."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

import rectifold as rf

Array = NDArray[np.float64]


def descend(net: rf.ReLUNetwork, starts: Array, method: str, seconds: float, lr: float = 0.05) -> tuple[float, int]:
    """Batch of starts in [-1, 1]^d, "adam" or normalised "pgd" with a decaying step; the best value and the steps."""
    module = rf.to_torch(net).double()
    points = torch.tensor(starts, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([points], lr=lr)
    best, steps, begin = np.inf, 0, time.process_time()
    while (spent := (time.process_time() - begin) / seconds) < 1.0:
        values = module(points)[:, 0]
        best = min(best, float(values.detach().min()))
        decay = 10.0 ** (-5.0 * spent)
        adam.zero_grad()
        values.sum().backward()
        with torch.no_grad():
            if method == "adam":
                adam.param_groups[0]["lr"] = lr * decay
                adam.step()
            elif points.grad is not None:
                length = points.grad.norm(dim=1, keepdim=True).clamp_min(1e-30)
                points -= 0.5 * points.shape[1] ** 0.5 * decay * points.grad / length
            points.clamp_(-1.0, 1.0)
        steps += 1
    return best, steps

"""Full-batch Adam on the L1 loss over the first layer of a network with one hidden layer."""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from numpy.typing import NDArray

import rectifold as rf

Array = NDArray[np.float64]


def train(net: rf.ReLUNetwork, X: Array, y: Array, seconds: float, lr: float = 1e-2) -> tuple[float, int]:
    """The lowest loss seen, and the steps, within so many CPU seconds; the rate falls as a cosine of time."""
    torch.set_num_threads(1)
    data, target = torch.as_tensor(X), torch.as_tensor(y)
    W = torch.tensor(net.weights[0]).requires_grad_()
    b = torch.tensor(net.biases[0]).requires_grad_()
    w, c = torch.tensor(net.weights[1][0]), float(net.biases[1][0])
    optimiser = torch.optim.Adam([W, b], lr=lr)
    best, steps, start = math.inf, 0, time.process_time()
    while True:
        spent = (time.process_time() - start) / seconds
        for group in optimiser.param_groups:
            group["lr"] = lr * 0.5 * (1.0 + math.cos(math.pi * min(spent, 1.0)))
        optimiser.zero_grad(set_to_none=True)
        loss = (torch.relu(data @ W.T + b) @ w + c - target).abs().sum()
        best = min(best, float(loss.detach()))
        if spent >= 1.0:
            return best, steps
        loss.backward()
        optimiser.step()
        steps += 1

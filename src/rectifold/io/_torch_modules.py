"""The one torch module that torch lacks. Importing this file loads torch."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["TwoSlope"]


class TwoSlope(nn.Module):  # type: ignore[misc,unused-ignore]
    """``hi * x`` where ``x > 0`` and ``lo * x`` elsewhere, per unit of the last axis.

    Parameters
    ----------
    lo, hi : Tensor, shape (n_units,)
        Fixed slopes: buffers, not parameters.
    """

    lo: torch.Tensor
    hi: torch.Tensor

    def __init__(self, lo: torch.Tensor, hi: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("lo", lo)
        self.register_buffer("hi", hi)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the units to a tensor of shape (..., n_units)."""
        return torch.where(x > 0, self.hi, self.lo) * x

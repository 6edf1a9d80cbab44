"""Walks over the vertices of a network, or of the L1 loss over one layer: compiled, or the twins in a pure build."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from rectifold._kernels.home import home

__all__ = ["DenseVertexWalk", "LayerVertexWalk", "WalkStatus"]

_home = home("vertex_walk")

DenseVertexWalk: Any = _home.DenseVertexWalk
LayerVertexWalk: Any = _home.LayerVertexWalk


class WalkStatus(IntEnum):
    """What a walk says after `run`."""

    RUNNING = 0
    MINIMUM = 1
    """A regular vertex none of whose edges falls."""
    UNBOUNDED = 2
    DEGENERATE = 3
    """A vertex with more constraints at zero than inputs, none of whose examined edges can be taken."""
    NUMERICAL = 4

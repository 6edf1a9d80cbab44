"""Compiled loops, and the choice between them and their numpy twins.

``COMPILED`` says which are in use: a wheel built with ``RECTIFOLD_NO_EXTENSION`` holds no extension and uses the twins.
An extension that is present but cannot be loaded raises its own error: the fall-back is never silent.
"""

from __future__ import annotations

from typing import Any

from rectifold._kernels.home import COMPILED, home

__all__ = ["COMPILED", "ConeProjector", "ConeTreeSearch", "price_cones", "project_cones"]

_cones = home("cone_projection")
_trees = home("cone_tree")

ConeProjector: Any = _cones.ConeProjector
project_cones: Any = _cones.project_cones
price_cones: Any = _cones.price_cones
ConeTreeSearch: Any = _trees.ConeTreeSearch

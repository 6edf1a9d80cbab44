"""The choice between the extension and the twins: as a pure build makes it, never silent about a broken extension."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from unittest.mock import patch

import pytest

import rectifold
from rectifold import _kernels
from rectifold._kernels.reference import arrangement, cone_projection, cone_tree, lad, vertex_walk

EXTENSION = "rectifold._kernels._compiled"


@pytest.fixture
def fresh_import(monkeypatch):
    """Imports the kernels anew, and leaves the originals in place afterwards."""
    monkeypatch.setattr(rectifold, "_kernels", _kernels)  # put back what the import sets
    with patch.dict(sys.modules):
        for name in list(sys.modules):
            if name.startswith("rectifold._kernels") and not name.startswith("rectifold._kernels.reference"):
                del sys.modules[name]
        yield importlib.import_module


class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an extension that cannot be loaded."""

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == EXTENSION else None

    def exec_module(self, module):
        raise ImportError("undefined symbol")


def test_a_pure_wheel_uses_the_twins(fresh_import, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == EXTENSION else found(name))
    pure = fresh_import("rectifold._kernels")
    assert pure.COMPILED is False
    assert pure.project_cones is cone_projection.project_cones
    assert pure.ConeTreeSearch is cone_tree.ConeTreeSearch
    for name, twin in (("arrangement", arrangement), ("lad", lad), ("vertex_walk", vertex_walk)):
        assert fresh_import(f"rectifold._kernels.{name}")._home is twin


def test_a_broken_extension_is_not_replaced_silently(fresh_import, monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ImportError, match="undefined symbol"):
        fresh_import("rectifold._kernels")

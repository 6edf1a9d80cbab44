"""What ``import rectifold`` loads, and that its public names are there."""

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import rectifold as rf
from rectifold import _versions

HEAVY = [
    *["clarabel", "cvxpy", "cyclopts", "highspy", "jinja2", "joblib", "matplotlib", "onnx", "pandas", "polars"],
    *["pooch", "pyarrow", "rich", "scipy", "sklearn", "torch"],
]


def loaded_after(statement: str) -> set[str]:
    """Top-level modules, and rectifold's own modules, that a fresh interpreter holds after the statement."""
    code = f"{statement}\nimport sys; print('|'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = out.strip().splitlines()[-1].split("|")
    return {m.split(".")[0] for m in modules} | {m for m in modules if m.startswith("rectifold.")}


@pytest.fixture(scope="module")
def light() -> set[str]:
    return loaded_after("import rectifold")


@pytest.mark.parametrize("module", HEAVY)
def test_import_leaves_heavy_modules_unloaded(light: set[str], module: str) -> None:
    assert module not in light


def test_public_names_are_listed_once() -> None:
    assert len(rf.__all__) == len(set(rf.__all__))
    assert set(rf.__all__) == set(rf._HOMES) | set(rf._SUBPACKAGES)
    assert set(rf.__all__) <= set(dir(rf))


@pytest.mark.parametrize("name", rf.__all__)
def test_public_name_resolves(name: str) -> None:
    assert getattr(rf, name) is not None


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(rf.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module if node.module != "rectifold" else f"rectifold.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == rf._HOMES | {name: f"rectifold.{name}" for name in rf._SUBPACKAGES}


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'no_such_name'"):
        _ = rf.no_such_name


def test_core_and_certify_load_numpy_and_themselves_only() -> None:
    baseline = loaded_after("import numpy")
    extra = loaded_after("import rectifold.certify, rectifold.core") - baseline
    third_party = {m for m in extra if "." not in m and m not in sys.stdlib_module_names and not m.startswith("_")}
    assert third_party == {"rectifold"}
    packages = {m.split(".")[1] for m in extra if "." in m}
    assert packages == {"certify", "core"}


def test_show_versions_says_which_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    rf.show_versions()
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    compiled = find_spec("rectifold._kernels._compiled") is not None
    assert rows["kernels"] == ("compiled" if compiled else "pure")
    assert rows["rectifold"] == rf.__version__
    assert {"python", "numpy", "scipy", "highspy", "scikit-learn", "platform"} <= rows.keys()


def test_broken_extension_does_not_pass_for_a_pure_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("undefined symbol")

    monkeypatch.setattr(_versions, "import_module", broken)
    with pytest.raises(ImportError, match="undefined symbol"):
        _versions.kernels()

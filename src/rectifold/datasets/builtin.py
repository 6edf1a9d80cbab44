"""Data sets that ship with scikit-learn and need no network."""

from __future__ import annotations

from rectifold.core.errors import ProblemError
from rectifold.datasets.table import Table, Task

__all__ = ["BUILTIN", "load_breast_cancer", "load_builtin", "load_diabetes", "load_digits", "load_wine"]

BUILTIN: dict[str, Task] = {
    "diabetes": "regression",
    "breast_cancer": "classification",
    "wine": "classification",
    "digits": "classification",
}


def load_builtin(name: str) -> Table:
    """Load one of `BUILTIN` by name.

    Parameters
    ----------
    name : str
        A key of `BUILTIN`; ``-`` and ``_`` are the same.

    Raises
    ------
    ProblemError
        If there is no such data set.
    """
    from sklearn import datasets

    key = name.replace("-", "_")
    if key not in BUILTIN:
        raise ProblemError(f"no built-in data set {name!r}; there are {', '.join(BUILTIN)}")
    task = BUILTIN[key]
    bunch = getattr(datasets, f"load_{key}")(**({"scaled": False} if key == "diabetes" else {}))
    target = bunch.target if task == "regression" else bunch.target_names[bunch.target].astype(str)
    target_name = "progression" if key == "diabetes" else "class"
    return Table(key, bunch.data, target, tuple(map(str, bunch.feature_names)), target_name, task)


def load_diabetes() -> Table:
    """Load the diabetes progression data in its own units: 442 patients, 10 features, regression."""
    return load_builtin("diabetes")


def load_breast_cancer() -> Table:
    """Load the Wisconsin diagnostic breast cancer data: 569 samples, 30 features, two classes."""
    return load_builtin("breast_cancer")


def load_wine() -> Table:
    """Load the wine recognition data: 178 samples, 13 features, three classes."""
    return load_builtin("wine")


def load_digits() -> Table:
    """Load the 8x8 handwritten digits: 1797 samples, 64 features, ten classes."""
    return load_builtin("digits")

"""Data sets: built in with scikit-learn, or from a local folder or a checked download."""

from rectifold.datasets.builtin import (
    BUILTIN,
    load_breast_cancer,
    load_builtin,
    load_diabetes,
    load_digits,
    load_wine,
)
from rectifold.datasets.images import load_images
from rectifold.datasets.mnist import load_mnist
from rectifold.datasets.table import Table
from rectifold.datasets.uci import UCI, load_uci

__all__ = [
    "BUILTIN",
    "UCI",
    "Table",
    "load_breast_cancer",
    "load_builtin",
    "load_diabetes",
    "load_digits",
    "load_images",
    "load_mnist",
    "load_uci",
    "load_wine",
]

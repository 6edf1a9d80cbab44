"""Shared instances: the tiny cases with known answers and the fixed programs on scikit-learn's data.

Values are of ``P = n F`` with ``lambda = n alpha``, no output intercept, and the matrix as given (a column of ones
where a bias is wanted), so ``hidden_bias=False``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn import datasets

PLAIN = {"hidden_bias": False, "fit_intercept": False}


def t1():
    """Ten points in the plane: 20 patterns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10, 2))
    return X, np.sign(X[:, 0] * X[:, 1]) + 0.1 * rng.standard_normal(10)


T1_LAMBDA_MAX = 4.503967139672
T1_GATED_LAMBDA_MAX = 5.281728578729
T1_OPTIMA = {0.9999: 5.1665167865, 0.5: 4.6893842264, 0.1: 2.8854439902, 0.01: 1.4250397753}
T1_NULL = 5.1665167992


def xor():
    """Four corners with a column of ones: 14 cells."""
    corners = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    return np.hstack([corners, np.ones((4, 1))]), corners[:, 0] * corners[:, 1]


def identity_case():
    return np.eye(4), np.array([3.0, 4.0, -5.0, -12.0])


def small(seed=0, n=12, d=2, outputs=None):
    """A folded target with noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.abs(X[:, 0]) - np.maximum(X[:, -1], 0.0) + 0.2 * rng.standard_normal(n)
    if outputs is not None:
        y = np.column_stack([y, *(np.abs(X @ rng.standard_normal(d)) for _ in range(outputs - 1))])
    return X, y


def targets_for(loss, y):
    """Turn real targets into ones that fit the loss: signs around the median, or three classes by rank."""
    if loss == "multinomial":
        return np.argsort(np.argsort(y)) * 3 // len(y)
    return y if loss == "squared" else np.where(y > np.median(y), 1.0, -1.0)


@dataclass(frozen=True)
class FixedProgram:
    """A program on the patterns of 100 random gates, seed 0."""

    data: str
    fraction: float
    penalty: float
    optimum: float
    active: int

    def __str__(self):
        return f"{self.data}-{self.fraction}"


FIXED_PROGRAMS = (
    FixedProgram("wine", 0.1, 11.886527765, 30.0897870925, 11),
    FixedProgram("wine", 0.01, 1.1886527765, 10.0801623242, 37),
    FixedProgram("diabetes", 0.1, 20.975841068, 134.4552351173, 13),
    FixedProgram("diabetes", 0.01, 2.0975841068, 101.5647363340, 42),
    FixedProgram("breast", 0.1, 49.467646761, 123.070567603, 11),
    FixedProgram("breast", 0.01, 4.9467646761, 56.3459275608, 36),
)

LAMBDA_MAX = {"wine": 118.865277653, "diabetes": 209.758410685, "breast": 494.676467614}
GATED_LAMBDA_MAX = {"wine": 195.0281, "diabetes": 476.2073, "breast": 1499.7407}


def standardised(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


def table(name):
    """Features standardised with a column of ones, and targets."""
    loaders = {"wine": datasets.load_wine, "diabetes": datasets.load_diabetes, "breast": datasets.load_breast_cancer}
    data = loaders[name]()
    y = standardised(data.target) if name == "diabetes" else np.where(data.target == 1, 1.0, -1.0)
    return np.hstack([standardised(data.data), np.ones((len(data.data), 1))]), y


def table_classes(name):
    return {"wine": datasets.load_wine}[name]().target

"""Train ReLU networks to a proven optimum, and take any ReLU network apart exactly.

Public names are imported when they are first used, so that ``import rectifold`` stays light: scikit-learn, scipy,
matplotlib, torch and the command's libraries are loaded by the names that need them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rectifold import certify, core, datasets, estimators, geometry, io, plotting, report, training
    from rectifold._versions import __version__, show_versions
    from rectifold.certify import Grade, Verdict, verify
    from rectifold.core.domain import Box, Polytope
    from rectifold.core.errors import (
        BackendNotFoundError,
        CertificateError,
        ProblemError,
        RectifoldError,
        SolverError,
        UnsupportedNetworkError,
    )
    from rectifold.core.lad import LADProblem
    from rectifold.core.layer_l1 import L1Problem
    from rectifold.core.network import AffineMap, ReLUNetwork
    from rectifold.core.problem import ConvexReLUProblem
    from rectifold.core.result import Proof, Result, Status
    from rectifold.estimators.convex_relu import ConvexReLUClassifier, ConvexReLURegressor
    from rectifold.estimators.convex_relu_cv import ConvexReLUClassifierCV, ConvexReLURegressorCV
    from rectifold.estimators.lad import LADRegressor
    from rectifold.io import from_sklearn, from_torch, load, save, to_onnx, to_torch
    from rectifold.programs.lad import solve_lad, solve_lad_stream
    from rectifold.programs.minimize import maximize, minimize, polish
    from rectifold.programs.minimum import LocalMinimum, MinimizationResult
    from rectifold.programs.quantile_path import QuantilePath, quantile_path
    from rectifold.training.convex.alpha_max import alpha_max, alpha_max_bound
    from rectifold.training.convex.optima.critical_set import CriticalSet, critical_set
    from rectifold.training.convex.optima.optimal_set import OptimalSet, optimal_set
    from rectifold.training.convex.paths.path import PathResult, convex_relu_path
    from rectifold.training.convex.paths.sensitivity import Sensitivity, sensitivity
    from rectifold.training.convex.pruning.prune import PruningResult, prune
    from rectifold.training.convex.restricted.gated import GatedModel
    from rectifold.training.convex.restricted.patterns import all_patterns, sample_patterns
    from rectifold.training.convex.solve import solve_convex_relu
    from rectifold.training.layerwise.first_layer_l1 import FirstLayerL1
    from rectifold.training.layerwise.layer_result import LayerResult
    from rectifold.training.layerwise.train_l1 import L1TrainingResult, train_l1

# Each public name and the module it is imported from at first use.
_HOMES = {
    "ConvexReLURegressor": "rectifold.estimators.convex_relu",
    "ConvexReLUClassifier": "rectifold.estimators.convex_relu",
    "ConvexReLURegressorCV": "rectifold.estimators.convex_relu_cv",
    "ConvexReLUClassifierCV": "rectifold.estimators.convex_relu_cv",
    "ConvexReLUProblem": "rectifold.core.problem",
    "solve_convex_relu": "rectifold.training.convex.solve",
    "GatedModel": "rectifold.training.convex.restricted.gated",
    "sample_patterns": "rectifold.training.convex.restricted.patterns",
    "all_patterns": "rectifold.training.convex.restricted.patterns",
    "alpha_max": "rectifold.training.convex.alpha_max",
    "alpha_max_bound": "rectifold.training.convex.alpha_max",
    "convex_relu_path": "rectifold.training.convex.paths.path",
    "PathResult": "rectifold.training.convex.paths.path",
    "sensitivity": "rectifold.training.convex.paths.sensitivity",
    "Sensitivity": "rectifold.training.convex.paths.sensitivity",
    "optimal_set": "rectifold.training.convex.optima.optimal_set",
    "OptimalSet": "rectifold.training.convex.optima.optimal_set",
    "critical_set": "rectifold.training.convex.optima.critical_set",
    "CriticalSet": "rectifold.training.convex.optima.critical_set",
    "prune": "rectifold.training.convex.pruning.prune",
    "PruningResult": "rectifold.training.convex.pruning.prune",
    "LADRegressor": "rectifold.estimators.lad",
    "LADProblem": "rectifold.core.lad",
    "solve_lad": "rectifold.programs.lad",
    "solve_lad_stream": "rectifold.programs.lad",
    "quantile_path": "rectifold.programs.quantile_path",
    "QuantilePath": "rectifold.programs.quantile_path",
    "FirstLayerL1": "rectifold.training.layerwise.first_layer_l1",
    "LayerResult": "rectifold.training.layerwise.layer_result",
    "train_l1": "rectifold.training.layerwise.train_l1",
    "L1TrainingResult": "rectifold.training.layerwise.train_l1",
    "L1Problem": "rectifold.core.layer_l1",
    "minimize": "rectifold.programs.minimize",
    "maximize": "rectifold.programs.minimize",
    "polish": "rectifold.programs.minimize",
    "MinimizationResult": "rectifold.programs.minimum",
    "LocalMinimum": "rectifold.programs.minimum",
    "Box": "rectifold.core.domain",
    "Polytope": "rectifold.core.domain",
    "ReLUNetwork": "rectifold.core.network",
    "AffineMap": "rectifold.core.network",
    "load": "rectifold.io",
    "save": "rectifold.io",
    "from_torch": "rectifold.io",
    "to_torch": "rectifold.io",
    "from_sklearn": "rectifold.io",
    "to_onnx": "rectifold.io",
    "verify": "rectifold.certify",
    "Verdict": "rectifold.certify",
    "Grade": "rectifold.certify",
    "Result": "rectifold.core.result",
    "Status": "rectifold.core.result",
    "Proof": "rectifold.core.result",
    "RectifoldError": "rectifold.core.errors",
    "ProblemError": "rectifold.core.errors",
    "UnsupportedNetworkError": "rectifold.core.errors",
    "BackendNotFoundError": "rectifold.core.errors",
    "SolverError": "rectifold.core.errors",
    "CertificateError": "rectifold.core.errors",
    "show_versions": "rectifold._versions",
    "__version__": "rectifold._versions",
}

_SUBPACKAGES = (
    "certify", "core", "datasets", "estimators", "geometry", "io", "plotting", "report", "training",
)  # fmt: skip

__all__ = [
    "ConvexReLURegressor",
    "ConvexReLUClassifier",
    "ConvexReLURegressorCV",
    "ConvexReLUClassifierCV",
    "ConvexReLUProblem",
    "solve_convex_relu",
    "GatedModel",
    "sample_patterns",
    "all_patterns",
    "alpha_max",
    "alpha_max_bound",
    "convex_relu_path",
    "PathResult",
    "sensitivity",
    "Sensitivity",
    "optimal_set",
    "OptimalSet",
    "critical_set",
    "CriticalSet",
    "prune",
    "PruningResult",
    "LADRegressor",
    "LADProblem",
    "solve_lad",
    "solve_lad_stream",
    "quantile_path",
    "QuantilePath",
    "FirstLayerL1",
    "LayerResult",
    "train_l1",
    "L1TrainingResult",
    "L1Problem",
    "minimize",
    "maximize",
    "polish",
    "MinimizationResult",
    "LocalMinimum",
    "Box",
    "Polytope",
    "ReLUNetwork",
    "AffineMap",
    "load",
    "save",
    "from_torch",
    "to_torch",
    "from_sklearn",
    "to_onnx",
    "verify",
    "Verdict",
    "Grade",
    "Result",
    "Status",
    "Proof",
    "RectifoldError",
    "ProblemError",
    "UnsupportedNetworkError",
    "BackendNotFoundError",
    "SolverError",
    "CertificateError",
    "show_versions",
    "__version__",
    "certify",
    "core",
    "datasets",
    "estimators",
    "geometry",
    "io",
    "plotting",
    "report",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"rectifold.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'rectifold' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

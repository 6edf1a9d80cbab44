"""Displays in scikit-learn's manner: ``from_estimator``, ``plot``, and the artists as attributes."""

from rectifold.plotting.folds import FoldDisplay
from rectifold.plotting.neurons import NeuronDisplay
from rectifold.plotting.optimal_set import OptimalSetDisplay
from rectifold.plotting.path import PathDisplay
from rectifold.plotting.prediction import PredictionDisplay
from rectifold.plotting.pruning import PruningDisplay
from rectifold.plotting.quantiles import QuantileFanDisplay
from rectifold.plotting.trace import TraceDisplay
from rectifold.plotting.walk import WalkDisplay

__all__ = [
    "FoldDisplay",
    "NeuronDisplay",
    "OptimalSetDisplay",
    "PathDisplay",
    "PredictionDisplay",
    "PruningDisplay",
    "QuantileFanDisplay",
    "TraceDisplay",
    "WalkDisplay",
]

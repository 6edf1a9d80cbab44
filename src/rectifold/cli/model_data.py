"""The data of a saved model, read and prepared again as they were for its fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.cli.data import encode_targets, target_values
from rectifold.cli.model_file import SavedModel
from rectifold.cli.tables import read_source, take_target
from rectifold.core.errors import ProblemError

__all__ = ["ModelData", "read_again"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ModelData:
    """What a model was trained on.

    Attributes
    ----------
    inputs : ndarray, shape (n, n_inputs)
        Of all rows, in the units of the columns.
    X : ndarray, shape (n_train, n_inputs)
        Scaled inputs of the training rows.
    targets : ndarray, shape (n_train,)
        As the training functions want them.
    """

    inputs: Array
    X: Array
    targets: NDArray[Any]


def read_again(model: SavedModel, data: str) -> ModelData:
    """Read the data of a model.

    Raises
    ------
    ProblemError
        If they cannot be read, or do not belong to the model in shape.
    """
    frame, column, _, _ = take_target(read_source(data), model.target)
    if frame.shape[0] != model.n_rows:
        raise ProblemError(f"the model was made from {model.n_rows} rows with a target, {data} has {frame.shape[0]}")
    inputs = model.preparation.encode(frame)
    y = target_values(column, model.target, model.task)[model.train]
    if model.classes is not None and not np.isin(y, model.classes).all():
        raise ProblemError(f"{data} has classes of {model.target!r} that the model does not know")
    return ModelData(inputs, model.preparation.standardize(inputs[model.train]), encode_targets(y, model.classes))

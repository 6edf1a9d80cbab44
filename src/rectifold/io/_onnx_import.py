"""The walk through an ONNX graph that turns it into a `ReLUNetwork`."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from rectifold.core.errors import ProblemError, RectifoldError, UnsupportedNetworkError
from rectifold.core.network import ReLUNetwork
from rectifold.io._onnx_operators import Constant, Step, Value, run_step
from rectifold.io._signals import Circuit, Signal

__all__ = ["fold_model"]


def fold_model(model: Any) -> ReLUNetwork:
    """Fold an ``onnx.ModelProto`` into a `ReLUNetwork`, walking the graph at batch size 1.

    Raises
    ------
    UnsupportedNetworkError
        If a node is no affine map or two-slope unit; the message names the node and its operator.
    ProblemError
        If the graph is malformed.
    """
    graph = model.graph
    opset = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=1)
    values: dict[str, Value] = {item.name: _array(item) for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in values]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise UnsupportedNetworkError(f"need one input and one output, got {len(inputs)} and {len(graph.output)}")
    circuit = Circuit(_input_shape(inputs[0]))
    values[inputs[0].name] = circuit.input
    values[""] = None
    for node in graph.node:
        values.update(_run_node(circuit, node, opset, values))
    return _finish(circuit, graph.output[0].name, values)


def _array(item: Any) -> Constant:
    """Return the numbers of an initializer."""
    try:
        return numpy_helper.to_array(item)
    except Exception as error:  # onnx raises errors of its own here, none of which may leak
        raise ProblemError(f"the ONNX constant {item.name!r} cannot be read ({error})") from error


def _finish(circuit: Circuit, name: str, values: dict[str, Value]) -> ReLUNetwork:
    """Build the network from the graph's output."""
    output = values.get(name)
    if isinstance(output, np.ndarray):
        output = Signal.constant(output)
    if not isinstance(output, Signal):
        raise ProblemError(f"the ONNX graph does not compute its output {name!r}")
    if len(output.shape) > 1 and output.shape[0] != 1:
        raise UnsupportedNetworkError(f"the ONNX output has shape {output.shape} for a batch of one input")
    return circuit.network(output)


def _input_shape(item: Any) -> tuple[int, ...]:
    """Return the input's shape at batch size 1; the first axis is the batch unless it is the only one."""
    dims = [dim.dim_value for dim in item.type.tensor_type.shape.dim]
    if not item.type.tensor_type.HasField("shape") or not dims:
        raise UnsupportedNetworkError(f"the ONNX input {item.name!r} has no shape")
    if len(dims) > 1:
        if dims[0] > 1:
            raise UnsupportedNetworkError(
                f"the ONNX input {item.name!r} has a fixed batch size of {dims[0]}; export it with 1 or a free one"
            )
        dims[0] = 1
    if min(dims) < 1:
        raise UnsupportedNetworkError(f"the ONNX input {item.name!r} has a free axis besides the batch")
    return tuple(dims)


def _run_node(circuit: Circuit, node: Any, opset: int, values: dict[str, Value]) -> dict[str, Value]:
    """Compute the outputs of one node by name."""
    missing = [name for name in node.input if name not in values]
    if missing:
        raise ProblemError(f"ONNX node {node.name or node.op_type!r} reads {missing[0]!r}, which nothing computes")
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    step = Step(circuit, node, opset, [values[name] for name in node.input], attributes)
    if node.domain not in ("", "ai.onnx"):
        raise step.refuse(f"operators of the domain {node.domain!r} are not supported")
    try:
        outputs = run_step(step)
    except RectifoldError:
        raise
    except (ValueError, TypeError, IndexError, RuntimeError, AttributeError) as error:
        raise step.refuse(f"cannot be folded ({error})") from error
    return {name: value for name, value in zip(node.output, outputs, strict=False) if name}

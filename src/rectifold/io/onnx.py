"""Networks from and to ONNX."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from rectifold.core.errors import ProblemError
from rectifold.core.network import ReLUNetwork
from rectifold.io._backends import require
from rectifold.io._files import as_path, read_bytes, write_atomically

__all__ = ["from_onnx", "to_onnx"]

OPSET = 17  # the first that onnxruntime implements in double for every operator written here
IR_VERSION = 8


def from_onnx(source: Any) -> ReLUNetwork:
    """Fold an ONNX model into a `ReLUNetwork`.

    The graph is read at batch size 1 and may branch and join: residual links become linear pass-through units, and
    convolutions are unrolled into matrices. Numbers are converted to float64 as they stand, so a float32 model and the
    network agree to float32 rounding.

    Parameters
    ----------
    source : path-like or onnx.ModelProto
        One input, one output; Gemm, MatMul, Conv, Add, Sub, Sum, Mul, Div, Neg, BatchNormalization, Relu, LeakyRelu,
        PRelu, Abs, Dropout, Identity, Cast, Constant, operators that only move entries (Flatten, Reshape, Concat, ...),
        and anything that is computed from constants alone.

    Returns
    -------
    ReLUNetwork
        Inputs and outputs are flattened in C order.

    Raises
    ------
    UnsupportedNetworkError
        If the model is not a piecewise-affine network of these operators; the message names the node.
    ProblemError
        If the file cannot be read or is no valid model.
    BackendNotFoundError
        If the package onnx is missing.
    """
    onnx = require("onnx", "onnx")
    fold_model = require("rectifold.io._onnx_import", "onnx").fold_model
    model = source if isinstance(source, onnx.ModelProto) else _read_model(onnx, source)
    network: ReLUNetwork = fold_model(model)
    return network


def _read_model(onnx: Any, source: str | os.PathLike[str]) -> Any:
    """Read a model file, and the side files that hold its weights if there are any."""
    path = as_path(source)
    data = read_bytes(path)
    try:
        model = onnx.load_from_string(data)
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # protobuf and onnx raise errors of their own, none of which may leak
        raise ProblemError(f"{path} is not a readable ONNX model ({error})") from error
    if not model.graph.output:
        raise ProblemError(f"{path} is not a readable ONNX model (it has no output)")
    return model


def to_onnx(net: ReLUNetwork, path: str | os.PathLike[str]) -> None:
    """Write a network as an ONNX model in float64 (opset 17), all or nothing.

    Layers become ``Gemm``; activations ``Relu``, or ``PRelu`` where the upper slope is 1, or else
    ``x * Where(x > 0, hi, lo)``. `from_onnx` gives the same network back. The input ``input`` has shape (N, n_inputs),
    the output ``output`` (N, n_outputs), both double.

    Parameters
    ----------
    net : ReLUNetwork
    path : path-like
        Used as it stands: no suffix is added.

    Raises
    ------
    ProblemError
        If the file cannot be written, or the model exceeds the format's 2 GiB.
    BackendNotFoundError
        If the package onnx is missing.
    """
    if not isinstance(net, ReLUNetwork):
        raise ProblemError(f"can only save a ReLUNetwork, got {type(net).__name__}")
    onnx = require("onnx", "onnx")
    size = 8 * sum(array.size for array in (*net.weights, *net.biases))
    if size >= 2**31 - 2**20:
        raise ProblemError(f"an ONNX file holds at most 2 GiB, this network has {size} bytes; save it as .npz")
    data = _build_model(onnx, net).SerializeToString()
    write_atomically(as_path(path), lambda stream: stream.write(data))


def _build_model(onnx: Any, net: ReLUNetwork) -> Any:
    """Return the model as an ``onnx.ModelProto``."""
    nodes: list[Any] = []
    constants: dict[str, np.ndarray[Any, Any]] = {}
    make = onnx.helper.make_node
    current, last = "input", len(net.weights) - 1
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        constants[f"W{i}"], constants[f"b{i}"] = weight, bias
        affine = "output" if i == last else f"z{i}"
        nodes.append(make("Gemm", [current, f"W{i}", f"b{i}"], [affine], name=f"gemm{i}", transB=1))
        if i < last:
            current = f"h{i}"
            nodes += _activation(make, i, net.slopes[i], constants)
    tensors = [onnx.numpy_helper.from_array(np.array(array), name) for name, array in constants.items()]
    info = onnx.helper.make_tensor_value_info
    double = onnx.TensorProto.DOUBLE
    graph = onnx.helper.make_graph(
        nodes,
        "rectifold",
        [info("input", double, ["N", net.n_inputs])],
        [info("output", double, ["N", net.n_outputs])],
        tensors,
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model(graph, producer_name="rectifold", opset_imports=[opset], ir_version=IR_VERSION)


def _activation(make: Any, i: int, slopes: tuple[Any, Any], constants: dict[str, Any]) -> list[Any]:
    """Return the nodes that turn ``z{i}`` into ``h{i}``; add the constants they need."""
    lo, hi = slopes
    if (hi == 1.0).all():
        if not lo.any():
            return [make("Relu", [f"z{i}"], [f"h{i}"], name=f"relu{i}")]
        constants[f"lo{i}"] = lo
        return [make("PRelu", [f"z{i}", f"lo{i}"], [f"h{i}"], name=f"prelu{i}")]
    constants["zero"] = np.zeros(())
    constants[f"lo{i}"], constants[f"hi{i}"] = lo, hi
    return [
        make("Greater", [f"z{i}", "zero"], [f"on{i}"], name=f"greater{i}"),
        make("Where", [f"on{i}", f"hi{i}", f"lo{i}"], [f"slope{i}"], name=f"where{i}"),
        make("Mul", [f"z{i}", f"slope{i}"], [f"h{i}"], name=f"mul{i}"),
    ]

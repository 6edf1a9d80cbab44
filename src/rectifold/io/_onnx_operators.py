"""The ONNX operators that rectifold understands, as arithmetic on signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from rectifold.core.errors import UnsupportedNetworkError
from rectifold.io._convolution import unroll
from rectifold.io._signals import MAX_ENTRIES, Circuit, Signal, concatenate

__all__ = ["Constant", "Step", "Value", "run_step"]

Constant = NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Positive:
    """The mask ``signal > 0``: the first step of a two-slope unit written as ``x * Where(x > 0, hi, lo)``."""

    signal: Signal


@dataclass(frozen=True, eq=False)
class _Slope:
    """The array ``hi`` where ``signal > 0`` and ``lo`` elsewhere."""

    signal: Signal
    lo: Constant
    hi: Constant


Value = Constant | Signal | _Positive | _Slope | None


@dataclass(frozen=True, eq=False)
class Step:
    """One node with its inputs resolved; handlers turn it into its outputs."""

    circuit: Circuit
    node: Any
    opset: int
    inputs: list[Value]
    attributes: dict[str, Any]

    def refuse(self, why: str) -> UnsupportedNetworkError:
        """Return the error that names this node."""
        label = self.node.name or self.node.output[0]
        return UnsupportedNetworkError(f"ONNX node {label!r} ({self.node.op_type}): {why}")

    def signal(self, position: int) -> Signal:
        """Return an input as a signal."""
        value = self.inputs[position]
        if isinstance(value, Signal):
            return value
        if isinstance(value, np.ndarray):
            return Signal.constant(value)
        raise self.refuse("this use of a comparison is not supported")

    def constant(self, position: int, default: Any = None) -> Constant:
        """Return an input that has to be constant, as float64 if it holds numbers with a fraction."""
        value = self.inputs[position] if position < len(self.inputs) else None
        if value is None:
            if default is None:
                raise self.refuse(f"input {position} is missing")
            return np.asarray(default)
        if not isinstance(value, np.ndarray):
            raise self.refuse(f"input {position} is not constant, so the network is not piecewise affine here")
        return value.astype(np.float64) if value.dtype.kind == "f" else value


def run_step(step: Step) -> list[Value]:
    """Return a node's outputs: fold constants, move entries, or call the operator's handler."""
    op = step.node.op_type
    known = all(value is None or isinstance(value, np.ndarray) for value in step.inputs)
    if op == "Constant" or (known and step.inputs):
        return _evaluate(step, step.inputs)
    if op in _MOVES:
        return _move(step)
    if op not in _HANDLERS:
        raise step.refuse("the operator is not an affine map or a two-slope unit")
    return [_HANDLERS[op](step)]


_RANDOM = ("Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike")


def _evaluate(step: Step, inputs: list[Value]) -> list[Value]:
    """Run a node on arrays with ONNX's reference implementation."""
    if step.node.op_type in _RANDOM:
        raise step.refuse("random operators are not supported")
    node = onnx.NodeProto()
    node.CopyFrom(step.node)
    names = [f"input{i}" if value is not None else "" for i, value in enumerate(inputs)]
    del node.input[:]
    node.input.extend(names)
    function = helper.make_function(
        "rectifold", "node", [name for name in names if name], [name for name in node.output if name], [node],
        [helper.make_opsetid("", step.opset)],
    )  # fmt: skip
    feeds = {name: value for name, value in zip(names, inputs, strict=True) if name}
    try:
        return list(ReferenceEvaluator(function).run(None, feeds, attributes={}))
    except Exception as error:  # the evaluator has many exceptions of its own, none of which may leak
        raise step.refuse(f"cannot be evaluated ({error})") from error


_MOVES = ("Concat", "Expand", "Flatten", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")


def _move(step: Step) -> list[Value]:
    """Handle operators that only rearrange entries: run them on entry numbers instead of values."""
    joins = step.node.op_type == "Concat"
    sources: list[Signal] = []
    numbers: list[Value] = []
    start = 0
    for position, value in enumerate(step.inputs):
        if isinstance(value, Signal) or joins:
            signal = step.signal(position)
            numbers.append(np.arange(start, start + signal.size).reshape(signal.shape))
            sources.append(signal)
            start += signal.size
        elif position == 0:
            raise step.refuse("positions that depend on the input are not supported")
        else:
            numbers.append(value)
    joined = concatenate(sources)
    return [joined.pick(np.asarray(index, dtype=np.intp)) for index in _evaluate(step, numbers)]


def _same(step: Step) -> Value:
    return step.inputs[0]


def _dropout(step: Step) -> Value:
    if len(step.inputs) > 2 and bool(step.constant(2, False)):
        raise step.refuse("training mode is not supported")
    return step.inputs[0]


def _cast(step: Step) -> Value:
    if step.attributes.get("to") not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
        raise step.refuse("only casts to float and double are supported")
    return step.signal(0)


def _shape(step: Step) -> Value:
    shape = np.array(step.signal(0).shape, dtype=np.int64)
    return shape[step.attributes.get("start", 0) : step.attributes.get("end")]


def _add(step: Step) -> Value:
    total = step.signal(0)
    for position in range(1, len(step.inputs)):
        total = total + step.signal(position)
    return total


def _sub(step: Step) -> Value:
    return step.signal(0) + step.signal(1).scale(-1.0)


def _neg(step: Step) -> Value:
    return step.signal(0).scale(-1.0)


def _div(step: Step) -> Value:
    signal, divisor = step.signal(0), step.constant(1)
    if not divisor.all():
        raise step.refuse("division by zero")
    return signal.scale(1.0 / divisor)


def _mul(step: Step) -> Value:
    for slope, other in (step.inputs, step.inputs[::-1]):
        if isinstance(slope, _Slope):
            if other is not slope.signal:
                raise step.refuse("a slope chosen by one value multiplies another")
            return step.circuit.activate(slope.signal, slope.lo, slope.hi)
    position = 1 if isinstance(step.inputs[0], Signal) else 0
    return step.signal(1 - position).scale(step.constant(position))


def _greater(step: Step) -> Value:
    if step.constant(1).any():
        raise step.refuse("only a comparison with zero is supported")
    return _Positive(step.signal(0))


def _where(step: Step) -> Value:
    if not isinstance(step.inputs[0], _Positive):
        raise step.refuse("only Where(x > 0, hi, lo) with constant slopes is supported")
    return _Slope(step.inputs[0].signal, lo=step.constant(2), hi=step.constant(1))


def _relu(step: Step) -> Value:
    return step.circuit.activate(step.signal(0), 0.0, 1.0)


def _leaky_relu(step: Step) -> Value:
    return step.circuit.activate(step.signal(0), step.attributes.get("alpha", 0.01), 1.0)


def _prelu(step: Step) -> Value:
    return step.circuit.activate(step.signal(0), step.constant(1), 1.0)


def _abs(step: Step) -> Value:
    return step.circuit.activate(step.signal(0), -1.0, 1.0)


def _matmul(step: Step) -> Value:
    if isinstance(step.inputs[0], Signal):
        return _times(step.inputs[0], step.constant(1))
    return _times(_transposed(step.signal(1)), step.constant(0).T, transpose_back=True)


def _times(signal: Signal, matrix: Constant, transpose_back: bool = False) -> Signal:
    """Return ``signal @ matrix``, the product along the signal's last axis."""
    if matrix.ndim != 2 or signal.shape[-1:] != matrix.shape[:1]:
        raise UnsupportedNetworkError(f"cannot fold a product of shapes {signal.shape} and {matrix.shape}")
    rows = int(np.prod(signal.shape[:-1], dtype=np.int64))
    if rows * rows * matrix.size > MAX_ENTRIES:
        raise UnsupportedNetworkError(f"a product of {rows} rows with a matrix {matrix.shape} is too large to unroll")
    dense = matrix.T if rows == 1 else np.kron(np.eye(rows), matrix.T)
    product = signal.linear(np.ascontiguousarray(dense), (*signal.shape[:-1], matrix.shape[1]))
    return _transposed(product) if transpose_back else product


def _transposed(signal: Signal) -> Signal:
    """Swap the two axes of a matrix; vectors stay."""
    if len(signal.shape) > 2:
        raise UnsupportedNetworkError(f"cannot transpose a stack of matrices of shape {signal.shape}")
    return signal.pick(np.arange(signal.size).reshape(signal.shape).T)


def _gemm(step: Step) -> Value:
    signal, matrix = step.signal(0), step.constant(1)
    if step.attributes.get("transA", 0):
        signal = _transposed(signal)
    if step.attributes.get("transB", 0):
        matrix = matrix.T
    product = _times(signal, step.attributes.get("alpha", 1.0) * matrix)
    if len(step.inputs) < 3 or step.inputs[2] is None:
        return product
    addend = step.signal(2)
    beta = step.attributes.get("beta", 1.0)
    return product + (addend if beta == 1.0 else addend.scale(beta))


def _batch_normalization(step: Step) -> Value:
    if step.attributes.get("training_mode", 0):
        raise step.refuse("training mode is not supported")
    signal = step.signal(0)
    gain, shift, mean, variance = (step.constant(position) for position in range(1, 5))
    factor = gain / np.sqrt(variance + step.attributes.get("epsilon", 1e-5))
    shape = (-1,) + (1,) * (len(signal.shape) - 2)
    return signal.scale(factor.reshape(shape)) + Signal.constant((shift - factor * mean).reshape(shape))


def _conv(step: Step) -> Value:
    signal, kernel = step.signal(0), step.constant(1)
    attributes, axes = step.attributes, kernel.ndim - 2
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise step.refuse("auto_pad is not supported")
    matrix, spatial = unroll(
        kernel,
        signal.shape[1:],
        pads=attributes.get("pads", [0] * (2 * axes)),
        strides=attributes.get("strides", [1] * axes),
        dilations=attributes.get("dilations", [1] * axes),
        groups=attributes.get("group", 1),
    )
    folded = signal.linear(matrix, (1, kernel.shape[0], *spatial))
    bias = step.constant(2, np.zeros(kernel.shape[0]))
    return folded + Signal.constant(bias.reshape(-1, *(1,) * axes))


_HANDLERS: dict[str, Callable[[Step], Value]] = {
    "Abs": _abs,
    "Add": _add,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Conv": _conv,
    "Div": _div,
    "Dropout": _dropout,
    "Gemm": _gemm,
    "Greater": _greater,
    "Identity": _same,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "Mul": _mul,
    "Neg": _neg,
    "PRelu": _prelu,
    "Relu": _relu,
    "Shape": _shape,
    "Sub": _sub,
    "Sum": _add,
    "Where": _where,
}

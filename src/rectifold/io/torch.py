"""Networks from and to torch modules."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectifold.core.errors import ProblemError, RectifoldError, UnsupportedNetworkError
from rectifold.core.network import ReLUNetwork
from rectifold.io._backends import require
from rectifold.io._signals import Circuit, Signal, affine

__all__ = ["from_torch", "to_torch"]


def from_torch(module: Any) -> ReLUNetwork:
    """Fold a torch module, taken as in ``eval()`` mode, into a `ReLUNetwork`.

    Parameters
    ----------
    module : torch.nn.Module
        ``Sequential`` s, nested, or a module of one input whose ``forward`` torch.fx can trace, made of ``Linear``,
        ``ReLU``, ``LeakyReLU``, ``PReLU``, ``BatchNorm1d`` (folded), ``Identity``, ``Flatten``, ``Dropout``, the
        functions of the same names, and sums and differences of branches (residual links).

    Returns
    -------
    ReLUNetwork
        In float64; a module in float32 agrees to float32 rounding.

    Raises
    ------
    UnsupportedNetworkError
        If a layer is not a piecewise-affine one of these; the message names it.
    ProblemError
        If the argument is no torch module.
    BackendNotFoundError
        If the package torch is missing.
    """
    torch = require("torch", "torch")
    if not isinstance(module, torch.nn.Module):
        raise ProblemError(f"expected a torch.nn.Module, got {type(module).__name__}")
    graph, modules = _trace(torch, module)
    circuit = Circuit((_n_inputs(graph, modules),))
    values: dict[Any, Signal] = {}
    inputs = 0
    for node in graph.nodes:
        if node.op == "placeholder":
            inputs += 1
            values[node] = circuit.input
        elif node.op == "output":
            return circuit.network(_result(node, values))
        else:
            values[node] = _run_node(torch, circuit, node, modules, values)
        if inputs > 1:
            raise UnsupportedNetworkError("the module has more than one input")
    raise UnsupportedNetworkError("the module returns nothing")


def _trace(torch: Any, module: Any) -> tuple[Any, dict[str, Any]]:
    """Return the module's computation graph and its leaf modules by name."""
    fx = require("torch.fx", "torch")

    class Tracer(fx.Tracer):  # type: ignore[name-defined]
        def is_leaf_module(self, m: Any, module_qualified_name: str) -> bool:
            return _kind(m) in _LAYERS or bool(super().is_leaf_module(m, module_qualified_name))

    for name, layer in module.named_modules():
        if layer._forward_hooks or layer._forward_pre_hooks:
            raise UnsupportedNetworkError(f"layer {name!r} ({_kind(layer)}) has forward hooks, which may change values")
    wrapped = torch.nn.Sequential(module)
    try:
        graph = Tracer().trace(wrapped)
    except Exception as error:  # whatever the module's own forward raises when it is traced
        raise UnsupportedNetworkError(f"torch.fx cannot trace {type(module).__name__} ({error})") from error
    return graph, dict(wrapped.named_modules())


def _n_inputs(graph: Any, modules: dict[str, Any]) -> int:
    """Return the number of inputs, from the first layer that fixes it."""
    for node in graph.nodes:
        if node.op == "call_module":
            layer = modules[node.target]
            for attribute in ("in_features", "num_features"):
                if hasattr(layer, attribute):
                    return int(getattr(layer, attribute))
    raise UnsupportedNetworkError("the module has no Linear or BatchNorm1d layer, so its number of inputs is unknown")


def _result(node: Any, values: dict[Any, Signal]) -> Signal:
    """Return what the module returns, which must be one tensor."""
    value = node.args[0]
    if value not in values:
        raise UnsupportedNetworkError("the module must return one tensor")
    return values[value]


def _run_node(torch: Any, circuit: Circuit, node: Any, modules: dict[str, Any], values: dict[Any, Signal]) -> Signal:
    """Return the value of one node of the graph."""
    operands = [values[arg] if _is_node(torch, arg) else arg for arg in node.args]
    try:
        if node.op == "call_module":
            layer = modules[node.target]
            kind = _kind(layer)
            label = f"layer {node.target.partition('.')[2]!r} ({kind})"
            return _LAYERS[kind](circuit, operands[0], layer)
        kind = _name(node.target)
        label = f"the function {kind} in forward"
        return _FUNCTIONS[kind](circuit, operands, dict(node.kwargs))
    except KeyError as error:
        raise UnsupportedNetworkError(f"{label} is not an affine map or a two-slope unit that can be folded") from error
    except RectifoldError as error:
        raise type(error)(f"{label}: {error}") from error
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise UnsupportedNetworkError(f"{label} cannot be folded ({error})") from error


def _kind(layer: Any) -> str:
    """Return the name of a layer's class if it is torch's own or ours; else a name that no table holds."""
    cls = type(layer)
    known = cls.__module__.startswith("torch.nn.modules.") or cls.__module__ == "rectifold.io._torch_modules"
    return cls.__name__ if known else f"{cls.__module__}.{cls.__qualname__}"


def _is_node(torch: Any, value: Any) -> bool:
    return isinstance(value, torch.fx.Node)


def _name(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _array(tensor: Any) -> NDArray[np.float64]:
    """Return a tensor's numbers in float64."""
    array: NDArray[np.float64] = tensor.detach().cpu().double().numpy()
    return array


def _linear(circuit: Circuit, signal: Signal, layer: Any) -> Signal:
    weight = _array(layer.weight)
    return affine(signal, weight, np.zeros(weight.shape[0]) if layer.bias is None else _array(layer.bias))


def _batch_norm(circuit: Circuit, signal: Signal, layer: Any) -> Signal:
    if layer.running_mean is None:
        raise UnsupportedNetworkError("without running statistics it depends on the batch")
    factor = 1.0 / np.sqrt(_array(layer.running_var) + layer.eps)
    shift = -factor * _array(layer.running_mean)
    if layer.affine:
        factor, shift = _array(layer.weight) * factor, _array(layer.weight) * shift + _array(layer.bias)
    return signal.scale(factor) + Signal.constant(shift)


def _same(circuit: Circuit, signal: Signal, *_: Any) -> Signal:
    return signal


_LAYERS: dict[str, Callable[[Circuit, Signal, Any], Signal]] = {
    "BatchNorm1d": _batch_norm,
    "Dropout": _same,
    "Flatten": _same,
    "Identity": _same,
    "LeakyReLU": lambda circuit, signal, layer: circuit.activate(signal, layer.negative_slope, 1.0),
    "Linear": _linear,
    "PReLU": lambda circuit, signal, layer: circuit.activate(signal, _array(layer.weight), 1.0),
    "ReLU": lambda circuit, signal, layer: circuit.activate(signal, 0.0, 1.0),
    "TwoSlope": lambda circuit, signal, layer: circuit.activate(signal, _array(layer.lo), _array(layer.hi)),
}


def _add(circuit: Circuit, operands: list[Any], options: dict[str, Any], sign: float = 1.0) -> Signal:
    left, right = (value if isinstance(value, Signal) else Signal.constant(value) for value in operands)
    return left + right.scale(sign * options.get("alpha", 1.0))


def _leaky(circuit: Circuit, operands: list[Any], options: dict[str, Any]) -> Signal:
    slope = operands[1] if len(operands) > 1 else options.get("negative_slope", 0.01)
    return circuit.activate(operands[0], slope, 1.0)


_FUNCTIONS: dict[str, Callable[[Circuit, list[Any], dict[str, Any]], Signal]] = {
    "abs": lambda circuit, operands, _: circuit.activate(operands[0], -1.0, 1.0),
    operator.add.__name__: _add,
    "dropout": lambda circuit, operands, _: operands[0],
    operator.iadd.__name__: _add,
    "flatten": lambda circuit, operands, _: operands[0],
    "leaky_relu": _leaky,
    "neg": lambda circuit, operands, _: operands[0].scale(-1.0),
    "relu": lambda circuit, operands, _: circuit.activate(operands[0], 0.0, 1.0),
    operator.sub.__name__: lambda circuit, operands, options: _add(circuit, operands, options, -1.0),
}


def to_torch(net: ReLUNetwork) -> Any:
    """Return a network as a ``torch.nn.Sequential`` in float64, in ``eval()`` mode.

    Layers become ``Linear``; activations ``ReLU``, ``LeakyReLU`` (one slope below, 1 above), ``PReLU`` (a slope a unit
    below, 1 above), or else a small module ``TwoSlope``. `from_torch` gives the same network back.

    Raises
    ------
    BackendNotFoundError
        If the package torch is missing.
    """
    if not isinstance(net, ReLUNetwork):
        raise ProblemError(f"expected a ReLUNetwork, got {type(net).__name__}")
    torch = require("torch", "torch")
    layers: list[Any] = []
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        layers.append(_linear_module(torch, weight, bias))
        if i < len(net.slopes):
            layers.append(_activation(torch, *net.slopes[i]))
    return torch.nn.Sequential(*layers).eval()


def _linear_module(torch: Any, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Any:
    """Return a ``Linear`` with these numbers; width 0 is fine, and torch's random state is left alone."""
    layer = torch.nn.Linear(1, 1, device="meta")
    layer.out_features, layer.in_features = weight.shape
    layer.weight, layer.bias = (torch.nn.Parameter(torch.tensor(array)) for array in (weight, bias))
    return layer


def _activation(torch: Any, lo: NDArray[np.float64], hi: NDArray[np.float64]) -> Any:
    """Return the plainest module with these slopes."""
    if not (hi == 1.0).all():
        return require("rectifold.io._torch_modules", "torch").TwoSlope(torch.tensor(lo), torch.tensor(hi))
    if not lo.any():
        return torch.nn.ReLU()
    if (lo == lo[0]).all():
        return torch.nn.LeakyReLU(float(lo[0]))
    layer = torch.nn.PReLU(lo.size, dtype=torch.float64)
    layer.weight.data = torch.tensor(lo)
    return layer

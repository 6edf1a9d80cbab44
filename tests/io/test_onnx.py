"""ONNX in and out, against onnxruntime."""

import builtins
import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifold.core import BackendNotFoundError, ProblemError, ReLUNetwork, UnsupportedNetworkError
from rectifold.io import from_onnx, load, to_onnx

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

DATA = os.environ.get("RECTIFOLD_DATA")
node = helper.make_node


def model_of(nodes, constants=(), shape=("N", 3), opset=17, output="y", dtype=TensorProto.DOUBLE):
    """A model from input "x" to output ``output``; constants by name."""
    kind = np.float64 if dtype == TensorProto.DOUBLE else np.float32
    tensors = [
        numpy_helper.from_array(np.asarray(value, None if np.asarray(value).dtype.kind in "ib" else kind), name)
        for name, value in dict(constants).items()
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(output, dtype, None)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model, points):
    """onnxruntime's outputs at single points, flattened."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    item = session.get_inputs()[0]
    shape = [dim if isinstance(dim, int) else 1 for dim in item.shape]
    kind = np.float64 if "double" in item.type else np.float32
    return np.array([session.run(None, {item.name: x.astype(kind).reshape(shape)})[0].ravel() for x in points])


def assert_same(model, rtol=1e-9, n=25):
    net = from_onnx(model)
    X = np.random.default_rng(0).standard_normal((n, net.n_inputs)).astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(net(X), run(model, X), rtol=rtol, atol=rtol)
    return net


rng = np.random.default_rng(7)
A, B, C = rng.standard_normal((3, 4)), rng.standard_normal((4, 3)), rng.standard_normal((2, 3))
a, b, c = rng.standard_normal(4), rng.standard_normal(3), rng.standard_normal(2)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    widths=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    kind=st.sampled_from(["relu", "prelu", "any"]),
)
def test_what_we_write_runs_elsewhere_in_double(tmp_path_factory, seed, widths, kind):
    rng = np.random.default_rng(seed)
    slopes = [
        (0.0, 1.0) if kind == "relu" else (rng.standard_normal(n), 1.0 if kind == "prelu" else rng.standard_normal(n))
        for n in widths[1:-1]
    ]
    weights = [rng.standard_normal((n, m)) for m, n in itertools.pairwise(widths)]
    net = ReLUNetwork(weights, [rng.standard_normal(n) for n in widths[1:]], slopes)
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    to_onnx(net, path)
    onnx.checker.check_model(str(path))
    X = rng.standard_normal((10, widths[0]))
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"input": X})[0], net(X), rtol=1e-10, atol=1e-10)


def test_gemm_with_all_its_attributes():
    nodes = [
        node("Gemm", ["x", "A", "a"], ["z"], alpha=0.5, beta=2.0),
        node("Relu", ["z"], ["h"]),
        node("Gemm", ["h", "Bt"], ["y"], transB=1, alpha=-1.5),
    ]
    net = assert_same(model_of(nodes, {"A": A, "a": a, "Bt": B.T}))
    assert net.widths == (4,)
    assert net.n_outputs == 3
    transposed = [node("Transpose", ["x"], ["t"], perm=[1, 0]), node("Gemm", ["t", "A"], ["y"], transA=1)]
    assert_same(model_of(transposed, {"A": A}, shape=(1, 3)))


def test_matmul_add_sub_and_scaling():
    nodes = [
        node("Sub", ["x", "b"], ["s"]),
        node("MatMul", ["s", "A"], ["m"]),
        node("Add", ["a", "m"], ["z"]),
        node("LeakyRelu", ["z"], ["h"], alpha=0.25),
        node("Mul", ["h", "a"], ["k"]),
        node("Div", ["k", "two"], ["d"]),
        node("Sub", ["a", "d"], ["e"]),
        node("Neg", ["e"], ["f"]),
        node("MatMul", ["f", "B"], ["y"]),
    ]
    net = assert_same(model_of(nodes, {"A": A, "B": B, "a": a, "b": b, "two": [2.0]}))
    np.testing.assert_array_equal(net.slopes[0][0], np.full(4, 0.25))
    left = [node("Transpose", ["x"], ["t"], perm=[1, 0]), node("MatMul", ["C", "t"], ["u"])]
    left.append(node("Transpose", ["u"], ["y"], perm=[1, 0]))
    assert_same(model_of(left, {"C": C}, shape=(1, 3)))


def test_slopes_per_unit_absolute_value_and_final_activation():
    net = assert_same(model_of([node("PRelu", ["x", "s"], ["y"])], {"s": [0.1, 1.0, -1.0]}))
    assert net.n_neurons == 2
    assert net.widths == (3,)
    assert_same(model_of([node("Abs", ["x"], ["h"]), node("MatMul", ["h", "A"], ["y"])], {"A": A}))
    scaled = [
        node("Greater", ["x", "zero"], ["on"]),
        node("Where", ["on", "b", "one"], ["s"]),
        node("Mul", ["s", "x"], ["y"]),
    ]
    assert_same(model_of(scaled, {"zero": 0.0, "b": b, "one": [1.0]}))


def test_residual_links_become_linear_units():
    nodes = [
        node("Gemm", ["x", "A", "a"], ["z1"]),
        node("Relu", ["z1"], ["h1"]),
        node("Gemm", ["h1", "B", "b"], ["z2"]),
        node("Relu", ["z2"], ["h2"]),
        node("Add", ["h2", "x"], ["r"]),
        node("Gemm", ["r", "A", "a"], ["z3"]),
        node("Relu", ["z3"], ["h3"]),
        node("Sum", ["h3", "h1", "z1"], ["y"]),
    ]
    net = assert_same(model_of(nodes, {"A": A, "a": a, "B": B, "b": b}))
    assert net.n_neurons == 4 + 3 + 4
    assert net.widths == (4 + 3, 3 + 4 + 3, 4 + 4 + 3)
    X = rng.standard_normal((6, 3))
    for x in X:
        np.testing.assert_allclose(net.affine_map(x)(x), net(x), rtol=1e-10)


def test_parallel_branches_and_moves():
    nodes = [
        node("Relu", ["x"], ["p"]),
        node("MatMul", ["x", "A"], ["m"]),
        node("Relu", ["m"], ["q"]),
        node("Concat", ["q", "p", "x", "one"], ["all"], axis=1),
        node("Slice", ["all", "from", "to", "axis"], ["cut"]),
        node("Split", ["cut", "parts"], ["u", "v"], axis=1),
        node("Unsqueeze", ["u", "axis"], ["w"]),
        node("Squeeze", ["w", "axis"], ["w2"]),
        node("Gather", ["v", "order"], ["g"], axis=1),
        node("Concat", ["w2", "g"], ["y"], axis=1),
    ]
    constants = {"A": A, "one": [[1.0]], "from": [1], "to": [10], "axis": [1], "parts": [4, 5], "order": [4, 0, 2]}
    net = assert_same(model_of(nodes, constants))
    assert net.widths == (4 + 3 + 3,) or net.widths == (3 + 4 + 3,)


def test_reshape_through_a_computed_shape():
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Concat", ["n1", "minus"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["f"]),
        node("Constant", [], ["k"], value=numpy_helper.from_array(np.eye(6)[:, :2])),
        node("MatMul", ["f", "k"], ["y"]),
    ]
    constants = {"zero": np.array(0), "axis": np.array([0]), "minus": np.array([-1])}
    assert_same(model_of(nodes, constants, shape=("N", 2, 3)))


def test_products_along_the_last_of_three_axes():
    nodes = [node("MatMul", ["x", "A"], ["z"]), node("Add", ["z", "a"], ["w"]), node("Relu", ["w"], ["y"])]
    assert assert_same(model_of(nodes, {"A": A, "a": a}, shape=("N", 2, 3))).n_neurons == 8


@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        (("N", 1, 4, 4), (2, 1, 3, 3), {}),
        (("N", 2, 5, 6), (3, 2, 2, 3), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
        (("N", 4, 5, 5), (6, 2, 2, 2), {"group": 2, "dilations": [2, 1], "pads": [1, 1, 1, 1]}),
        (("N", 3, 7), (2, 3, 3), {"strides": [2]}),
    ],
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_convolutions_are_unrolled(shape, kernel, options, with_bias):
    constants = {"k": rng.standard_normal(kernel)}
    names = ["x", "k"]
    if with_bias:
        constants["kb"] = rng.standard_normal(kernel[0])
        names.append("kb")
    nodes = [node("Conv", names, ["z"], **options), node("Relu", ["z"], ["h"]), node("Flatten", ["h"], ["y"])]
    assert_same(model_of(nodes, constants, shape=shape, dtype=TensorProto.FLOAT), rtol=2e-5)


@pytest.mark.parametrize("shape", [("N", 3), ("N", 3, 2, 2)])
def test_batch_normalization_dropout_identity_cast(shape):
    nodes = [
        node("BatchNormalization", ["x", "g", "b", "m", "v"], ["n"], epsilon=1e-3),
        node("Dropout", ["n", "rate"], ["d", "mask"]),
        node("Identity", ["d"], ["i"]),
        node("Cast", ["i"], ["k"], to=TensorProto.DOUBLE),
        node("Relu", ["k"], ["y"]),
    ]
    constants = {"g": b, "b": c[[0, 1, 0]], "m": b + 1, "v": np.abs(b) + 0.1, "rate": np.float64(0.5)}
    assert_same(model_of(nodes, constants, shape=shape))


def test_an_output_that_needs_no_input():
    nodes = [node("Mul", ["x", "zero"], ["z"]), node("Add", ["z", "b"], ["y"])]
    net = assert_same(model_of(nodes, {"zero": [0.0], "b": b}))
    assert net.widths == ()
    constant = model_of([node("Neg", ["b"], ["y"])], {"b": b})
    np.testing.assert_array_equal(from_onnx(constant)(np.ones(3)), -b)


def test_input_without_a_batch_axis():
    assert_same(model_of([node("MatMul", ["x", "A"], ["z"]), node("Relu", ["z"], ["y"])], {"A": A}, shape=(3,)))


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Sigmoid", ["x"], ["y"], name="squash")], {}, r"'squash' \(Sigmoid\)"),
        ([node("Softmax", ["x"], ["y"])], {}, r"'y' \(Softmax\)"),
        ([node("MaxPool", ["x"], ["y"], kernel_shape=[2])], {}, "MaxPool"),
        ([node("Mul", ["x", "x"], ["y"])], {}, "not constant"),
        ([node("MatMul", ["x", "B"], ["y"])], {"B": B}, "product of shapes"),
        ([node("Conv", ["x", "k"], ["y"], auto_pad="SAME_UPPER")], {"k": np.ones((1, 3, 1))}, "auto_pad"),
        ([node("Conv", ["x", "k"], ["y"])], {"k": np.ones((1, 3, 1))}, "cannot be folded"),
        ([node("Reshape", ["b", "s"], ["y"])], {"b": b, "s": np.array([7])}, "cannot be evaluated"),
        ([node("Add", ["x", "a"], ["y"])], {"a": a}, "cannot be folded"),
        ([node("Div", ["x", "z"], ["y"])], {"z": np.zeros(3)}, "division by zero"),
        ([node("Cast", ["x"], ["y"], to=TensorProto.INT64)], {}, "casts"),
        ([node("Gather", ["b", "x"], ["y"])], {"b": b}, "positions"),
        ([node("Greater", ["x", "b"], ["y"])], {"b": b}, "comparison with zero"),
        ([node("Greater", ["x", "z"], ["p"]), node("Relu", ["p"], ["y"])], {"z": [0.0]}, "comparison"),
        ([node("Greater", ["x", "z"], ["y"])], {"z": [0.0]}, "output"),
        (
            [
                node("Greater", ["x", "z"], ["p"]),
                node("Where", ["p", "b", "z"], ["s"]),
                node("Neg", ["x"], ["n"]),
                node("Mul", ["n", "s"], ["y"]),
            ],
            {"z": [0.0], "b": b},
            "multiplies another",
        ),
        ([node("Relu", ["x"], ["y"], domain="com.microsoft")], {}, "domain"),
        ([node("RandomNormalLike", ["b"], ["y"])], {"b": b}, "andom"),
        ([node("RandomNormal", [], ["y"], shape=[3])], {}, "RandomNormal"),
        ([node("Dropout", ["x", "r", "t"], ["y"])], {"r": 0.5, "t": np.array(True)}, "training"),
        ([node("Transpose", ["x"], ["y"], perm=[1, 0])], {}, "shape"),
    ],
)
def test_other_operators_are_refused_by_name(nodes, constants, message):
    with pytest.raises((UnsupportedNetworkError, ProblemError), match=message):
        from_onnx(model_of(nodes, constants))


def test_inputs_that_are_refused():
    relu = [node("Relu", ["x"], ["y"])]
    for shape, message in (
        ((4, 3), "batch size of 4"),
        (("N", "M"), "free axis"),
        ((), "no shape"),
        (None, "no shape"),
    ):
        with pytest.raises(UnsupportedNetworkError, match=message):
            from_onnx(model_of(relu, shape=shape))
    two = model_of(relu)
    two.graph.output.append(two.graph.output[0])
    with pytest.raises(UnsupportedNetworkError, match="one output"):
        from_onnx(two)
    with pytest.raises(ProblemError, match="'nowhere', which nothing computes"):
        from_onnx(model_of([node("Relu", ["nowhere"], ["y"])]))
    with pytest.raises(ProblemError, match="does not compute its output"):
        from_onnx(model_of(relu, output="other"))


def test_weights_in_a_side_file(tmp_path):
    model = model_of([node("MatMul", ["x", "A"], ["y"])], {"A": A})
    onnx.save_model(model, str(tmp_path / "m.onnx"), save_as_external_data=True, size_threshold=0, location="m.data")
    np.testing.assert_array_equal(load(tmp_path / "m.onnx").weights[0], A.T)
    with pytest.raises(ProblemError, match="'A' cannot be read"):
        from_onnx(onnx.load(str(tmp_path / "m.onnx"), load_external_data=False))
    (tmp_path / "m.data").unlink()
    with pytest.raises(ProblemError, match="not a readable ONNX model"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize("contents", [b"", b"hello", b"\x08\x08\x12"])
def test_files_that_are_no_model(tmp_path, contents):
    (tmp_path / "m.onnx").write_bytes(contents)
    with pytest.raises(ProblemError, match=r"m\.onnx is not a readable ONNX model"):
        load(tmp_path / "m.onnx")


def test_a_missing_package_comes_with_its_pip_line(tmp_path, monkeypatch):
    original = builtins.__import__

    def without_onnx(name, *args, **kwargs):
        if name.partition(".")[0] == "onnx":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(builtins, "__import__", without_onnx)
    net = ReLUNetwork([[[1.0]]], [[0.0]])
    for call in (lambda: to_onnx(net, tmp_path / "n.onnx"), lambda: load(tmp_path / "n.onnx")):
        with pytest.raises(BackendNotFoundError, match=r'pip install "rectifold\[onnx\]"'):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(DATA is None, reason="RECTIFOLD_DATA is not set")
@pytest.mark.parametrize("folder", ["networks", "acasxu"])
def test_shared_models_agree_with_onnxruntime(folder):
    paths = sorted((Path(DATA) / folder).glob("*.onnx"))
    assert paths
    for path in paths:
        net = load(path)
        X = np.random.default_rng(0).uniform(-1, 1, (10, net.n_inputs)).astype(np.float32).astype(np.float64)
        expected = run(path.read_bytes(), X)
        np.testing.assert_allclose(net(X), expected, atol=2e-5 * max(1.0, np.abs(expected).max()))
        if folder == "acasxu":
            assert net.widths == (50,) * 6
            assert net.n_neurons == 300

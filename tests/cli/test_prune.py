"""``rectifold prune``: fewer neurons, the same predictions on the table."""

import numpy as np
import pandas as pd
import pytest

from rectifold import io
from rectifold.core.network import ReLUNetwork


@pytest.fixture
def wide(tmp_path):
    """A network with three times the neurons that it needs, and a table of its inputs and its outputs."""
    rng = np.random.default_rng(0)
    W, b, a = rng.standard_normal((4, 3)), 0.2 * rng.standard_normal(4), rng.standard_normal(4)
    scale = rng.uniform(0.5, 2.0, (3, 4))
    net = ReLUNetwork(
        [np.vstack([s[:, None] * W for s in scale]), np.concatenate([a / s / 3 for s in scale])[None]],
        [np.concatenate([s * b for s in scale]), np.array([0.3])],
    )
    X = rng.standard_normal((60, 3))
    table = pd.DataFrame(X, columns=["u", "v", "w"]).assign(y=net(X)[:, 0])
    table.to_csv(tmp_path / "inputs.csv", index=False)
    return net, X, tmp_path / "inputs.csv"


@pytest.mark.parametrize("suffix", [".npz", ".onnx"])
def test_a_network_of_any_origin_loses_its_copies(rectifold, wide, tmp_path, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnx", reason="needs the extra 'onnx'")
    net, X, data = wide
    io.save(net, tmp_path / f"net{suffix}")
    outcome = rectifold("prune", f"net{suffix}", data, "--target", "y", "--smallest", "--save", f"less{suffix}")
    assert outcome.code == 0, outcome.err
    assert "12 -> 4" in outcome.out
    less = io.load(tmp_path / f"less{suffix}")
    assert less.widths == (4,)
    np.testing.assert_allclose(less(X), net(X), atol=1e-9)


def test_below_the_minimal_width_the_cost_is_shown(rectifold, wide, tmp_path):
    net, X, data = wide
    io.save(net, tmp_path / "net.npz")
    outcome = rectifold("prune", "net.npz", data, "--target", "y", "--width", 2, "--save", "two.npz")
    assert outcome.code == 0, outcome.err
    assert "below the minimal width" in outcome.out
    two = io.load(tmp_path / "two.npz")
    assert two.widths[0] <= 2
    loss = 0.5 * np.mean((two(X) - net(X)) ** 2)
    assert f"{loss:.4g}" in outcome.out


def test_a_fitted_model_keeps_its_objective(rectifold, csv, tmp_path):
    assert rectifold("fit", csv, "--target", "y", "--alpha", 0.01, "--save", "net.npz").code == 0
    outcome = rectifold("prune", "net.npz", csv, "--save", "less.npz")
    assert outcome.code == 0, outcome.err
    before, after = next(line for line in outcome.out.splitlines() if "objective" in line).split()[1::2]
    assert float(after) == pytest.approx(float(before), rel=1e-6)
    inputs = np.random.default_rng(0).standard_normal((5, io.load(tmp_path / "net.npz").n_inputs))
    assert io.load(tmp_path / "less.npz")(inputs).shape == (5, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net.npz", "inputs.csv"), "takes 3 inputs"),
        (("net.npz", "inputs.csv", "--target", "y", "--width", 0), "--width must be at least 1"),
        (("net.npz", "inputs.csv", "--target", "z"), "no column 'z'"),
        (("net.npz", "text.csv", "--target", "y"), "holds text"),
        (("deep.npz", "inputs.csv", "--target", "y"), "one hidden layer"),
        (("absent.npz", "inputs.csv"), "absent.npz"),
        (("net.npz", "inputs.csv", "--target", "y", "--save", "net.txt"), ".npz or .onnx"),
    ],
)
def test_bad_input_is_one_line(rectifold, wide, tmp_path, arguments, message):
    net, _, data = wide
    io.save(net, tmp_path / "net.npz")
    deep = ReLUNetwork([np.eye(3), np.eye(3), np.ones((1, 3))], [np.zeros(3), np.zeros(3), np.zeros(1)])
    io.save(deep, tmp_path / "deep.npz")
    pd.read_csv(data).assign(v="x").to_csv(tmp_path / "text.csv", index=False)
    outcome = rectifold("prune", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1

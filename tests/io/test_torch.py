"""Torch modules in and out, against torch itself."""

import itertools
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifold.core import BackendNotFoundError, ProblemError, ReLUNetwork, UnsupportedNetworkError
from rectifold.io import from_torch, to_torch

torch = pytest.importorskip("torch", reason="needs the package torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402


def assert_same(module, n_inputs=3, rtol=1e-10):
    module.eval()
    net = from_torch(module)
    kind = next(module.parameters()).dtype
    X = np.random.default_rng(0).standard_normal((20, n_inputs)).astype(np.float32).astype(np.float64)
    with torch.no_grad():
        expected = module(torch.tensor(X, dtype=kind)).double().numpy()
    np.testing.assert_allclose(net(X), expected, rtol=rtol, atol=rtol)
    return net


def test_nested_sequential_with_every_layer():
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(4)
    module = nn.Sequential(
        nn.Flatten(),
        nn.BatchNorm1d(3, affine=False),
        nn.Sequential(nn.Linear(3, 4), norm, nn.PReLU(4), nn.Dropout(0.5)),
        nn.Sequential(nn.Identity(), nn.Sequential(nn.Linear(4, 5, bias=False), nn.LeakyReLU(0.1))),
        nn.Linear(5, 5),
        nn.PReLU(init=-0.3),
        nn.ReLU(),
        nn.Linear(5, 2),
    ).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.uniform_(-1.0, 1.0)
        module[2][2].weight.copy_(torch.tensor([0.1, 1.0, -1.0, 0.3]))
    module.train()
    for _ in range(3):
        module(torch.randn(16, 3, dtype=torch.float64) * 2 + 1)
    net = assert_same(module)
    assert net.widths == (4, 5, 5, 5)
    assert net.n_neurons == 3 + 5 + 5 + 5


def test_single_layers_float32_and_final_activation():
    torch.manual_seed(1)
    assert assert_same(nn.Linear(3, 2), rtol=1e-6).widths == ()
    assert assert_same(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), rtol=1e-6).widths == (2,)
    half = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).to(torch.bfloat16)
    np.testing.assert_array_equal(from_torch(half).weights[0], half[0].weight.detach().double().numpy())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 4), nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        h = torch.relu(self.first(x))
        z = self.second(F.dropout(h, training=self.training))
        z += x
        z = F.leaky_relu(z, 0.2) - z.abs() + torch.flatten(x, 1)
        return -self.last(torch.add(z, x, alpha=2)) + 1.0


def test_a_traced_forward_with_residual_links():
    torch.manual_seed(2)
    net = assert_same(Residual().double())
    assert net.n_neurons == 4 + 3 + 3
    assert net.n_outputs == 2


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    widths=st.tuples(st.integers(1, 4), st.lists(st.integers(0, 4), max_size=3), st.integers(1, 3)),
)
def test_round_trip(seed, widths):
    rng = np.random.default_rng(seed)
    sizes = (widths[0], *widths[1], widths[2])
    kinds = [lambda n: (0, 1), lambda n: (0.1, 1), lambda n: (rng.random(n), 1), lambda n: rng.random((2, n))]
    net = ReLUNetwork(
        [rng.standard_normal((n, m)) for m, n in itertools.pairwise(sizes)],
        [rng.standard_normal(n) for n in sizes[1:]],
        [kinds[rng.integers(len(kinds))](n) for n in sizes[1:-1]],
    )
    module = to_torch(net)
    assert from_torch(module).digest() == net.digest()
    X = rng.standard_normal((5, sizes[0]))
    np.testing.assert_allclose(module(torch.tensor(X)).detach().numpy(), net(X), rtol=1e-10, atol=1e-10)
    assert from_torch(pickle.loads(pickle.dumps(module))).digest() == net.digest()


def test_the_plainest_modules_are_written():
    eye = [np.eye(2)] * 5
    slopes = [(0, 1), (0.1, 1), ([0.1, 0.2], 1), (-1, 2)]
    module = to_torch(ReLUNetwork(eye, [np.zeros(2)] * 5, slopes))
    assert [type(layer).__name__ for layer in module[1::2]] == ["ReLU", "LeakyReLU", "PReLU", "TwoSlope"]
    state = torch.get_rng_state()
    to_torch(ReLUNetwork(eye, [np.zeros(2)] * 5))
    assert torch.equal(state, torch.get_rng_state())
    assert not module.training
    assert next(module.parameters()).dtype == torch.float64


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return self.linear(x) * x


class Branching(Gated):
    def forward(self, x):
        return self.linear(x) if x.sum() > 0 else x


class TwoInputs(Gated):
    def forward(self, x, y):
        return self.linear(x) + y


class TwoOutputs(Gated):
    def forward(self, x):
        return self.linear(x), x


class ReLU(nn.Module):
    """Not torch's."""

    def forward(self, x):
        return torch.tanh(x)


def hooked():
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda module, args, output: output * 2)
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Tanh())), r"layer '1\.0' \(.*Tanh\)"),
        (nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), "LayerNorm"),
        (nn.Sequential(nn.Conv1d(1, 1, 1)), "number of inputs is unknown"),
        (nn.Sequential(nn.ReLU()), "number of inputs is unknown"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 1)), r"layer '1' \(Linear\): .*expects 3 values"),
        (nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)), "depends on the batch"),
        (nn.Sequential(nn.Linear(3, 3), ReLU()), "tanh"),
        (Gated(), "mul"),
        (Branching(), "cannot trace"),
        (TwoInputs(), "cannot trace|more than one input"),
        (TwoOutputs(), "one tensor"),
        (hooked(), "hooks"),
    ],
)
def test_other_layers_are_refused_by_name(module, message):
    with pytest.raises(UnsupportedNetworkError, match=message):
        from_torch(module.eval())


def test_no_module_no_torch(monkeypatch):
    with pytest.raises(ProblemError, match=r"torch\.nn\.Module"):
        from_torch("net.pt")
    with pytest.raises(ProblemError, match="ReLUNetwork"):
        to_torch(nn.Linear(1, 1))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendNotFoundError, match=r'pip install "rectifold\[torch\]"'):
        to_torch(ReLUNetwork([[[1.0]]], [[0.0]]))

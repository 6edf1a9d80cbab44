"""The network type: values, patterns, affine pieces, immutability and refusals."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rectifold.core as core
from rectifold.core import AffineMap, ProblemError, ReLUNetwork


def random_network(seed, widths=(4, 5, 3, 2), slopes="mixed"):
    """A network with Gaussian weights; slopes "relu", or "mixed": ReLU, leaky, |z|, linear and others by turns."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((b, a)) for a, b in itertools.pairwise(widths)]
    biases = [rng.standard_normal(b) for b in widths[1:]]
    pairs = None
    if slopes == "mixed":
        choices = np.array([(0, 1), (0.1, 1), (-1, 1), (1, 1), (0.3, 0.3), (2, -0.5), (1, 0)])
        picked = [choices[rng.integers(len(choices), size=n)] for n in widths[1:-1]]
        pairs = [(pick[:, 0], pick[:, 1]) for pick in picked]
    return ReLUNetwork(weights, biases, pairs)


def by_the_definition(net, x):
    """Value, pre-activations and bits of one point, unit by unit in plain Python."""
    h, layers, bits = list(x), [], []
    for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        z = [sum(w * v for w, v in zip(row, h, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        if layer == len(net.weights) - 1:
            return np.array(z), layers, bits
        layers.append(z)
        lo, hi = net.slopes[layer]
        bits += [v > 0 for v, a, b in zip(z, lo, hi, strict=True) if a != b]
        h = [b * v if v > 0 else a * v for v, a, b in zip(z, lo, hi, strict=True)]
    raise AssertionError("a network has a last layer")


architectures = st.lists(st.integers(0, 5), max_size=3).flatmap(
    lambda hidden: st.tuples(st.integers(1, 4), st.integers(1, 3)).map(lambda ends: (ends[0], *hidden, ends[1]))
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), widths=architectures, slopes=st.sampled_from(["relu", "mixed"]))
def test_values_patterns_and_pieces_follow_the_definition(seed, widths, slopes):
    net = random_network(seed, widths, slopes)
    X = np.random.default_rng(seed + 1).standard_normal((5, widths[0]))
    values, patterns, layers = net(X), net.activation_pattern(X), net.preactivations(X)
    assert values.shape == (5, widths[-1])
    assert patterns.shape == (5, net.n_neurons)
    assert patterns.dtype == bool
    for i, x in enumerate(X):
        value, z, bits = by_the_definition(net, x)
        np.testing.assert_allclose(values[i], value, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(net(x), value, rtol=1e-12, atol=1e-12)
        assert patterns[i].tolist() == bits == net.activation_pattern(x).tolist()
        for mine, theirs, single in zip(layers, z, net.preactivations(x), strict=True):
            np.testing.assert_allclose(mine[i], theirs, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(single, theirs, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(net.affine_map(x)(x), value, rtol=1e-9, atol=1e-9)


def test_the_affine_piece_is_the_gradient():
    net = random_network(3)
    x = np.array([0.3, -0.7, 1.1, 0.2])
    step = 1e-6
    differences = np.stack([(net(x + step * e) - net(x - step * e)) / (2 * step) for e in np.eye(4)], axis=1)
    np.testing.assert_allclose(net.affine_map(x).matrix, differences, atol=1e-7)


def test_a_unit_at_zero_is_off_and_takes_the_lower_slope():
    net = ReLUNetwork([[[1.0]], [[1.0]]], [[0.0], [0.0]], [(0.25, 1.0)])
    assert net.activation_pattern([0.0]).tolist() == [False]
    assert net.affine_map([0.0]).matrix.tolist() == [[0.25]]
    assert net([-4.0]).tolist() == [-1.0]


def test_linear_units_have_no_bit_and_are_no_neurons():
    net = ReLUNetwork([np.eye(3), np.ones((1, 3))], [np.zeros(3), [0.0]], [([0, 1, -1], [1, 1, 1])])
    assert (net.n_neurons, net.widths, net.n_inputs, net.n_outputs) == (2, (3,), 3, 1)
    assert net.kinked[0].tolist() == [True, False, True]
    assert net.activation_pattern([-1.0, -1.0, 2.0]).tolist() == [False, True]
    assert net([-5.0, -3.0, -2.0]).tolist() == [0.0 - 3.0 + 2.0]


def test_constant_and_affine_networks():
    constant = ReLUNetwork([np.zeros((0, 3)), np.zeros((2, 0))], [np.zeros(0), [1.0, 2.0]])
    np.testing.assert_array_equal(constant(np.ones((4, 3))), np.tile([1.0, 2.0], (4, 1)))
    assert constant.widths == (0,)
    assert constant.n_neurons == 0
    assert constant.activation_pattern(np.ones((4, 3))).shape == (4, 0)
    assert not constant.affine_map(np.ones(3)).matrix.any()
    affine = ReLUNetwork([[[2.0, 3.0]]], [[1.0]])
    assert affine.widths == ()
    assert affine([1.0, 1.0]).tolist() == [6.0]
    assert affine(np.empty((0, 2))).shape == (0, 1)


def test_pattern_of_no_point_still_has_a_map():
    net = random_network(5, slopes="relu")
    off = net.affine_map_of_pattern(np.zeros(net.n_neurons, dtype=bool))
    assert not off.matrix.any()
    np.testing.assert_array_equal(off.offset, net.biases[-1])
    for bad in (np.zeros(net.n_neurons), np.zeros(net.n_neurons + 1, dtype=bool)):
        with pytest.raises(ProblemError, match="pattern"):
            net.affine_map_of_pattern(bad)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.float16, bool])
def test_other_number_types_become_float64(dtype):
    net = ReLUNetwork([np.ones((2, 2), dtype), np.ones((1, 2), dtype)], [np.ones(2, dtype), np.ones(1, dtype)])
    assert all(array.dtype == np.float64 for array in (*net.weights, *net.biases, *net.slopes[0]))
    assert net(np.ones((1, 2), dtype)).tolist() == [[7.0]]


def all_arrays(net):
    return [*net.weights, *net.biases, *(side for pair in net.slopes for side in pair), *net.kinked]


def test_nothing_can_be_changed_also_in_copies():
    mine = np.ones((2, 2))
    net = ReLUNetwork([mine, np.ones((1, 2))], [np.zeros(2), [0.0]])
    mine[:] = 7.0
    assert net.weights[0][0, 0] == 1.0
    twins = [net, copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    for twin in twins:
        assert twin.digest() == net.digest()
        for array in all_arrays(twin):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
    for name in ("weights", "anything"):
        with pytest.raises(AttributeError):
            setattr(net, name, ())
    piece = pickle.loads(pickle.dumps(net.affine_map([1.0, 1.0])))
    with pytest.raises(ValueError, match="read-only"):
        piece.matrix[0, 0] = 5.0


def test_equality_is_identity_and_the_digest_is_of_the_contents():
    net, twin = random_network(1), random_network(1)
    assert net == net
    assert net != twin
    assert len({net, twin}) == 2
    assert net.digest() == twin.digest()
    weights = [np.array(weight) for weight in net.weights]
    weights[0][0, 0] = np.nextafter(weights[0][0, 0], 9.0)
    others = [
        ReLUNetwork(weights, net.biases, net.slopes),
        ReLUNetwork(net.weights, net.biases),
        ReLUNetwork(net.weights, [*net.biases[:-1], net.biases[-1] + 1], net.slopes),
    ]
    assert len({net.digest(), *(other.digest() for other in others)}) == 4
    flat = ReLUNetwork([np.ones((2, 1)), np.ones((1, 2))], [np.ones(2), np.ones(1)])
    assert flat.digest() != ReLUNetwork([np.ones((1, 2)), np.ones((2, 1))], [np.ones(1), np.ones(2)]).digest()


def test_the_sign_of_zero_is_no_content():
    plus, minus = (ReLUNetwork([np.ones((1, 1))], [[zero]]) for zero in (0.0, -0.0))
    assert plus.digest() == minus.digest()


def test_repr_tells_the_shape():
    assert repr(random_network(0, (2, 3, 1), "relu")) == "ReLUNetwork(2-3-1, 3 neurons)"


@pytest.mark.parametrize(
    ("weights", "biases", "slopes", "message"),
    [
        ([], [], None, "at least one layer"),
        ([np.eye(2)], [], None, "one bias per weight"),
        ([np.eye(2)], [np.zeros(3)], None, r"biases\[0\]"),
        ([np.eye(2), np.ones((1, 3))], [np.zeros(2), [0.0]], None, r"weights\[1\]"),
        ([np.ones(2)], [[0.0]], None, "dimension"),
        ([[[np.nan, 1.0]]], [[0.0]], None, "NaN"),
        ([[[1.0]]], [[np.inf]], None, "NaN or infinite"),
        ([[["1.0"]]], [[0.0]], None, "real numbers"),
        ([[[1j]]], [[0.0]], None, "real numbers"),
        ([[[1.0, 2.0], [3.0]]], [[0.0]], None, "real numbers"),
        ("ab", [[0.0]], None, "sequence"),
        (3, [[0.0]], None, "sequence"),
        ([np.zeros((1, 0))], [[0.0]], None, "at least one input"),
        ([np.zeros((0, 2))], [np.zeros(0)], None, "at least one input"),
        ([np.eye(2), np.eye(2)], [np.zeros(2)] * 2, [], "one .lo, hi. pair"),
        ([np.eye(2), np.eye(2)], [np.zeros(2)] * 2, [(0, 1, 2)], "pair"),
        ([np.eye(2), np.eye(2)], [np.zeros(2)] * 2, [([0, 0, 0], 1)], "slopes"),
        ([np.eye(2), np.eye(2)], [np.zeros(2)] * 2, [(np.nan, 1)], "NaN"),
    ],
)
def test_bad_networks_are_refused(weights, biases, slopes, message):
    with pytest.raises(ProblemError, match=message):
        ReLUNetwork(weights, biases, slopes)


@pytest.mark.parametrize(
    "X", [np.ones(3), np.ones((2, 3)), np.ones((1, 1, 2)), [[1.0, np.nan]], [[np.inf, 0.0]], [["a", "b"]], 1.0, None]
)
@pytest.mark.parametrize("method", ["__call__", "activation_pattern", "preactivations"])
def test_bad_points_are_refused(X, method):
    net = random_network(0, (2, 3, 1))
    with pytest.raises(ProblemError):
        getattr(net, method)(X)


def test_affine_map_takes_one_point_and_matching_parts():
    net = random_network(0, (2, 3, 1))
    with pytest.raises(ProblemError, match="dimension"):
        net.affine_map(np.ones((2, 2)))
    with pytest.raises(ProblemError, match="rows"):
        AffineMap(np.ones((2, 2)), np.ones(3))
    assert AffineMap(np.ones((1, 2)), np.ones(1))([[1.0, 2.0], [3.0, 4.0]]).tolist() == [[4.0], [8.0]]


def test_errors_are_both_ours_and_pythons():
    families = {
        core.ProblemError: ValueError,
        core.UnsupportedNetworkError: TypeError,
        core.BackendNotFoundError: ImportError,
        core.SolverError: RuntimeError,
        core.CertificateError: ValueError,
    }
    for error, builtin in families.items():
        assert issubclass(error, builtin)
        assert issubclass(error, core.RectifoldError)

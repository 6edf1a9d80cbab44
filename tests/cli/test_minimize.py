"""``rectifold minimize``: what it finds, shows, saves and refuses."""

import json

import numpy as np
import pytest
from programs.network_cases import he_network

import rectifold as rf
from rectifold.certify import load_certificate
from rectifold.cli.monitor import ScreenMonitor
from rectifold.cli.present_minimum import name_row
from rectifold.core.certificate import Grade


@pytest.fixture
def net(tmp_path):
    """A network with three inputs and two hidden layers, in the folder of the run."""
    network = he_network((3, 12, 12), 2)
    rf.save(network, tmp_path / "net.npz")
    return network


def line(out, word):
    """The rest of the line that begins with a word."""
    return next(text.split(word, 1)[1].strip() for text in out.splitlines() if text.strip().startswith(word))


def point(out):
    return np.array([float(number) for number in line(out, "point:").split(",")])


def test_minimum_over_the_box_with_its_walk_and_certificate(rectifold, net):
    outcome = rectifold("minimize", "net.npz", "--box", -1, 1)
    assert outcome.code == 0, outcome.err
    assert float(line(outcome.out, "value")) == pytest.approx(-1.1081655470, abs=1e-9)
    assert net(point(outcome.out))[0] == pytest.approx(-1.1081655470, abs=1e-9)
    assert line(outcome.out, "certificate").startswith("holds (grade FLOAT)")
    assert outcome.out.count("kink of unit") == 3
    assert outcome.err == ""


def test_box_cut_by_the_rows_of_a_text_file(rectifold, net, tmp_path):
    (tmp_path / "rows.csv").write_text("# x0 + x1 + x2 <= 0.5\n1, 1, 1, 0.5\n")
    outcome = rectifold("minimize", "net.npz", "--box", -1, 1, "--polytope", "rows.csv")
    assert outcome.code == 0, outcome.err
    assert float(line(outcome.out, "value")) == pytest.approx(-1.1017891191, abs=1e-9)
    np.testing.assert_allclose(point(outcome.out), [0.42542232, -0.92542232, 1.0], atol=1e-8)
    assert "x0 + x1 + x2 <= 0.5" in outcome.out


def test_polytope_with_equalities_from_npz(rectifold, net, tmp_path):
    A, b = np.vstack([np.eye(3), -np.eye(3)]), np.ones(6)
    np.savez(tmp_path / "domain.npz", A=A, b=b, A_eq=[[1.0, 1.0, 1.0]], b_eq=[0.5])
    outcome = rectifold("minimize", "net.npz", "--polytope", "domain.npz")
    assert outcome.code == 0, outcome.err
    assert "6 inequalities and 1 equalities" in outcome.out
    expected = rf.minimize(net, rf.Polytope(A, b, [[1.0, 1.0, 1.0]], [0.5]))
    assert float(line(outcome.out, "value")) == pytest.approx(expected.value, abs=1e-9)
    assert point(outcome.out).sum() == pytest.approx(0.5)


def test_maximum_from_given_starts(rectifold, net, tmp_path):
    outcome = rectifold("minimize", "net.npz", "--box", "-1,-1,-1", "1,1,2", "--start", "-0.5,0.1,0", "--maximize")
    assert outcome.code == 0, outcome.err
    expected = rf.maximize(net, rf.Box([-1.0, -1.0, -1.0], [1.0, 1.0, 2.0]), x0=[-0.5, 0.1, 0.0])
    assert float(line(outcome.out, "value")) == pytest.approx(expected.value, abs=1e-9)
    moves = [float(text.split()[1]) for text in outcome.out.split("from the end")[1].split("local")[0].splitlines()[1:]
             if text.strip() and text.split()[0].isdigit()]  # fmt: skip
    assert moves[0] == pytest.approx(net([-0.5, 0.1, 0.0])[0], abs=1e-8)
    assert np.all(np.diff(moves) >= 0.0)
    (tmp_path / "starts.txt").write_text("-0.5 0.1 0\n0 0 0\n")
    outcome = rectifold("minimize", "net.npz", "--box", "-1,-1,-1", "1,1,2", "--start", "starts.txt", "--starts", 3)
    assert line(outcome.out, "walks").startswith("3")


def test_ray_without_a_domain(rectifold, tmp_path):
    rf.save(rf.ReLUNetwork([[[1.0]], [[-1.0]]], [[0.0], [0.0]]), tmp_path / "falls.npz")
    outcome = rectifold("minimize", "falls.npz", "--start", "0.5", "--save", "ray.npz")
    assert outcome.code == 0
    assert line(outcome.out, "status").startswith("unbounded")
    assert line(outcome.out, "ray:").startswith("1; along it the output falls for ever")
    with np.load(tmp_path / "ray.npz") as stored:
        np.testing.assert_array_equal(stored["result.ray"], [1.0])
    outcome = rectifold("verify", "ray.npz")
    assert outcome.code == 2
    assert "holds no certificate" in outcome.err


def test_flat_and_degenerate_ends_are_said(rectifold, tmp_path):
    rf.save(rf.ReLUNetwork([[[1.0, 0.0]], [[1.0]]], [[0.0], [0.0]]), tmp_path / "flat.npz")
    outcome = rectifold("minimize", "flat.npz", "--box", -1, 1, "--start", "0.5,0.5")
    assert "It is not strict" in outcome.out


def test_stopping_gives_the_lowest_point_so_far(rectifold, net, monkeypatch):
    monkeypatch.setattr(ScreenMonitor, "should_stop", lambda self: True)
    outcome = rectifold("minimize", "net.npz", "--box", -1, 1)
    assert outcome.code == 0, outcome.err
    assert "Stopped on request" in " ".join(outcome.out.split())
    assert line(outcome.out, "walks").startswith("1")
    assert net(point(outcome.out))[0] == pytest.approx(float(line(outcome.out, "value")))


def test_networks_from_onnx(rectifold, net, tmp_path):
    rf.save(net, tmp_path / "net.onnx")
    outcome = rectifold("minimize", "net.onnx", "--box", -1, 1, "--time-limit", 60)
    assert outcome.code == 0, outcome.err
    assert float(line(outcome.out, "value")) == pytest.approx(-1.1081655470, abs=1e-9)


@pytest.fixture
def saved(rectifold, net, tmp_path):
    assert rectifold("minimize", "net.npz", "--box", -1, 1, "--save", "result.npz").code == 0
    return tmp_path / "result.npz"


def test_saved_results_are_verified_without_anything_else(rectifold, net, saved):
    certificate = load_certificate(saved)
    assert certificate.network.digest() == net.digest()
    outcome = rectifold("verify", "result.npz")
    assert outcome.code == 0, outcome.err
    assert "verdict      holds" in outcome.out
    assert str(Grade.FLOAT) in outcome.out


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("result.x", lambda x: x + 1e-12),
        ("result.value", lambda v: v - 1e-12),
        ("network.weight0", lambda w: 1.01 * w),
        ("x", lambda x: 0.99 * x),
    ],
)
def test_changed_results_do_not_hold(rectifold, saved, name, value):
    with np.load(saved) as stored:
        arrays = dict(stored)
    arrays[name] = value(arrays[name])
    np.savez(saved, **arrays)
    outcome = rectifold("verify", "result.npz")
    assert outcome.code == 1, outcome.out
    assert "DOES NOT HOLD" in outcome.out


def test_damaged_results_are_bad_input(rectifold, saved):
    with np.load(saved) as stored:
        arrays = dict(stored)
    head = json.loads(arrays["json"].tobytes())
    head["kind"] = "Something"
    arrays["json"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    np.savez(saved, **arrays)
    assert rectifold("verify", "result.npz").code == 2


def test_verify_asks_for_the_data_of_a_fitted_network(rectifold, net):
    outcome = rectifold("verify", "net.npz")
    assert outcome.code == 2
    assert "say what net.npz was trained on" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.npz"], "cannot read nowhere.npz"),
        (["net.pt"], "unknown network format"),
        (["net.npz", "--box", 1, -1], "the box is empty"),
        (["net.npz", "--box", "a", 1], "'a' is not a number"),
        (["net.npz", "--box", "nan", 1], "NaN"),
        (["net.npz", "--box", "0,0", 1], "2 numbers for 3 inputs"),
        (["net.npz", "--box", 1], "--box"),
        (["net.npz", "--output", 1], "output must lie in 0..0"),
        (["net.npz", "--starts", 0], "--starts must be at least 1"),
        (["net.npz", "--time-limit", 0], "--time-limit must be a positive number"),
        (["net.npz", "--seed", -1], "--seed must not be negative"),
        (["net.npz", "--save", "result.txt"], "--save writes an .npz file"),
        (["net.npz", "--save", "no/such/result.npz"], "there is no folder no/such"),
        (["net.npz", "--start", "0,0"], "a point has 2 numbers, but the network has 3 inputs"),
        (["net.npz", "--start", "starts.csv"], "there is no file starts.csv"),
        (["net.npz", "--start", "nan,0,0"], "NaN"),
        (["net.npz", "--box", -1, 1, "--start", "2,0,0"], "start 0 is not a point of the domain"),
        (["net.npz", "--polytope", "nowhere.csv"], "cannot read nowhere.csv"),
        (["net.npz", "--polytope", "nowhere.npz"], "cannot read nowhere.npz"),
        (["net.npz", "--polytope", "empty.csv"], "empty.csv has no rows"),
        (["net.npz", "--polytope", "ragged.csv"], "different lengths"),
        (["net.npz", "--polytope", "words.csv"], "'one,2,3,4' is not a number"),
        (["net.npz", "--polytope", "narrow.csv"], "3 coefficients and a limit make 4"),
        (["net.npz", "--polytope", "impossible.csv"], "the domain is empty"),
        (["net.npz", "--polytope", "net.npz"], "it holds ['W0', 'W1', 'W2'"),
        (["net.npz", "--polytope", "narrow.npz"], "A has shape (1, 2), but the network has 3 inputs"),
        (["net.npz", "--polytope", "binary.csv"], "it is no text"),
    ],
)
def test_bad_input_is_one_line(rectifold, net, tmp_path, arguments, message):
    files = {"empty.csv": "# nothing\n", "ragged.csv": "1,2,3,4\n1,2\n", "words.csv": "one,2,3,4\n",
             "narrow.csv": "1 2 3\n", "impossible.csv": "1 0 0 -1\n-1 0 0 -1\n"}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    np.savez(tmp_path / "narrow.npz", A=[[1.0, 2.0]], b=[3.0])
    outcome = rectifold("minimize", *arguments)
    assert outcome.code == 2, outcome.out
    assert outcome.err.startswith("rectifold: error: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


def test_rows_in_words():
    assert name_row(np.array([0.0, -2.0]), 3.0) == "x1 >= -1.5"
    assert name_row(np.array([1.0, -1.0, 2.5]), 0.0) == "x0 - x1 + 2.5 x2 <= 0"
    assert name_row(np.ones(9), 1.0) == "x0 + x1 + x2 + x3 + ... <= 1"

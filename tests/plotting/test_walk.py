"""The pieces are exact, and the walk is the one that `polish` takes."""

import numpy as np
import pytest
from programs.network_cases import cube, he_network

import rectifold as rf
from rectifold.core.errors import ProblemError
from rectifold.plotting import WalkDisplay
from rectifold.plotting.plane_regions import plane_pieces, window

SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
TRIANGLE = rf.Polytope([[1.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, 1.0, 1.0])


def area(corners):
    x, y = corners.T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def leaky(dims, seed):
    net = he_network(dims, seed)
    slopes = [(np.where(np.arange(n) % 3 == 0, 1.0, 0.1), 1.0) for n in net.widths]  # every third unit passes through
    return rf.ReLUNetwork(net.weights, net.biases, slopes)


@pytest.mark.parametrize("net", [he_network((2, 16), 0), he_network((2, 9, 9, 9), 1), leaky((2, 12, 8), 2)])
def test_pieces_are_the_linear_regions(net):
    rng = np.random.default_rng(0)
    pieces = plane_pieces(net, SQUARE, 10_000)
    areas = [area(piece.corners) for piece in pieces]
    assert min(areas) > 0.0
    assert sum(areas) == pytest.approx(4.0, abs=1e-9)
    for piece in pieces:
        shares = rng.dirichlet(np.ones(len(piece.corners)), 5)
        np.testing.assert_allclose(net(shares @ piece.corners), shares @ piece.values, atol=1e-10)
    centers = np.array([piece.corners.mean(axis=0) for piece in pieces])
    patterns = {row.tobytes() for row in net.activation_pattern(centers)}
    assert len(patterns) == len(pieces)
    sampled = net.activation_pattern(rng.uniform(-1.0, 1.0, (5000, 2)))
    assert {row.tobytes() for row in sampled} <= patterns


def test_window_is_the_domain_or_what_is_near_the_walk():
    points = np.array([[0.0, 0.0], [0.2, 0.1]])
    assert area(window(cube(2), points)) == pytest.approx(4.0)
    assert area(window(TRIANGLE, points)) == pytest.approx(4.5)
    corners = window(rf.Box([-1.0, -np.inf], [np.inf, 0.3]), points)
    np.testing.assert_allclose(np.ptp(corners, axis=0), [1.4, 0.5], atol=1e-9)
    np.testing.assert_allclose(corners.min(axis=0), [-1.0, -0.2], atol=1e-9)
    np.testing.assert_allclose(window(None, points).max(axis=0), [0.4, 0.3])
    assert len(window(rf.Polytope([[1.0, 0.0], [-1.0, 0.0]], [-1.0, -1.0]), points)) == 0


@pytest.mark.parametrize("maximum", [False, True])
def test_walk_goes_over_corners_to_the_end_of_polish(maximum):
    net = he_network((2, 20, 20), 3)
    display = WalkDisplay.from_network(net, cube(2), [0.2, 0.3], maximum=maximum)
    values = net(display.points)[:, 0] * (-1.0 if maximum else 1.0)
    assert len(values) > 3
    assert np.all(np.diff(values) <= 1e-12)
    end = rf.polish(net, [0.2, 0.3], cube(2), maximum=maximum)
    np.testing.assert_array_equal(display.points[-1], end.solution)
    np.testing.assert_allclose(np.ravel(display.minimum_.get_data()), end.solution)
    corners = np.concatenate([piece.corners for piece in display.pieces])
    for x in display.points[display.n_before :]:
        assert np.abs(corners - x).max(axis=1).min() < 1e-9
    assert display.vertices_.get_xydata().shape == (len(display.points) - display.n_before, 2)
    assert len(display.regions_.get_segments()) == len(display.pieces)
    np.testing.assert_allclose(np.sort(display.surface_.get_array()), np.sort(net(corners)[:, 0]), atol=1e-12)


def test_rays_and_walks_without_an_end():
    falls = rf.ReLUNetwork([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 1.0]]], [[0.0, 0.0], [0.0]])  # -relu(x0) + relu(x1)
    display = WalkDisplay.from_network(falls, None, [0.5, 0.5])
    assert display.minimum_ is None
    np.testing.assert_allclose(display.ray_.xy - display.points[-1], [display.ray_.xy[0] - display.points[-1, 0], 0.0])
    assert display.ray_.xy[0] > display.points[-1, 0]
    display = WalkDisplay(falls, [[0.0, 0.0], [1.0, 0.0]], cube(2), feature_names=["a", "b"]).plot()
    assert display.minimum_ is None
    assert display.ray_ is None
    assert display.ax_.get_xlabel() == "a"


def test_domain_without_area_has_a_walk_only():
    net = he_network((2, 10), 0)
    segment = rf.Polytope([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [1.0, 1.0, 0.5, -0.5])
    display = WalkDisplay.from_network(net, segment)
    assert display.surface_ is None
    assert display.points[:, 1] == pytest.approx(0.5)


def test_what_cannot_be_drawn_is_refused():
    net = he_network((2, 20, 20), 0)
    with pytest.raises(ProblemError, match="two inputs, this network has 3"):
        WalkDisplay.from_network(he_network((3, 4), 0), cube(3))
    with pytest.raises(ProblemError, match="two inputs"):
        WalkDisplay(he_network((3, 4), 0), [[0.0, 0.0]])
    for points in ([0.0, 0.0], np.zeros((0, 2)), [[0.0, 0.0, 0.0]]):
        with pytest.raises(ProblemError, match="points must have shape"):
            WalkDisplay(net, points)
    with pytest.raises(ProblemError, match=r"output must be in 0\.\.0"):
        WalkDisplay(net, [[0.0, 0.0]], output=1)
    with pytest.raises(ProblemError, match="more than 10 pieces"):
        WalkDisplay(net, [[0.0, 0.0]], cube(2), max_regions=10)
    with pytest.raises(ProblemError, match="not a point of the domain"):
        WalkDisplay.from_network(net, cube(2), [2.0, 0.0])

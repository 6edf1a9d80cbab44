import numpy as np
import pytest
from programs.network_cases import cube, he_network

import rectifold as rf
from rectifold._engine.budget import Budget
from rectifold.programs.multistart import projected_gradient
from rectifold.programs.objective import Objective
from rectifold.programs.starts import nearest_point, starts

SIMPLEX = rf.Polytope(-np.eye(3), np.zeros(3), np.ones((1, 3)), [1.0])
DOMAINS = [
    cube(3),
    rf.Box([0.0, -np.inf, 5.0], [np.inf, np.inf, 5.0]),
    SIMPLEX,
    rf.Polytope([[1.0, 1.0, 0.0]], [-40.0]),
    rf.Polytope(np.zeros((0, 3)), np.zeros(0)),
    rf.Polytope(np.vstack([np.eye(3), -np.eye(3), np.ones((1, 3))]), [1.0] * 6 + [-2.5]),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_starts_are_distinct_points_of_the_domain(domain):
    points = starts(domain, 30, np.random.default_rng(0))
    assert points.shape == (30, 3)
    assert all(domain.contains(x) for x in points)
    assert len(np.unique(points.round(9), axis=0)) == 30


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_gradient_steps_stay_in_the_domain_and_never_end_higher(domain):
    objective = Objective.checked(he_network((3, 12, 12), 2), domain, 0, 1.0)
    points = starts(domain, 20, np.random.default_rng(1))
    ends, values = projected_gradient(objective, points, 40, Budget())
    assert all(domain.contains(x) for x in ends)
    assert (values <= objective(points)).all()
    assert values.min() < objective(points).min()
    np.testing.assert_array_equal(values, objective(ends))


def test_gradients_are_those_of_finite_differences():
    objective = Objective.checked(he_network((3, 12, 12), 2), None, 0, -1.0)
    X = np.random.default_rng(0).standard_normal((5, 3))
    values, gradients = objective.with_gradients(X)
    np.testing.assert_allclose(values, objective(X))
    for i, step in enumerate(1e-6 * np.eye(3)):
        np.testing.assert_allclose((objective(X + step) - objective(X - step)) / 2e-6, gradients[:, i], atol=1e-6)


def test_nearest_point_of_a_simplex():
    np.testing.assert_allclose(nearest_point(SIMPLEX), np.full(3, 1 / 3))
    np.testing.assert_array_equal(nearest_point(cube(3)), np.zeros(3))


def test_empty_polytope_is_refused():
    with pytest.raises(rf.ProblemError, match="empty"):
        starts(rf.Polytope([[1.0], [-1.0]], [0.0, -1.0]), 3, np.random.default_rng(0))

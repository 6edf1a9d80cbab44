"""scikit-learn's own estimator checks, in full; at an alpha that suits the scale of their data."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from rectifold.estimators.convex_relu import ConvexReLUClassifier, ConvexReLURegressor


@parametrize_with_checks(
    [
        ConvexReLURegressor(alpha=5.0, certify=False),
        ConvexReLURegressor(alpha=5.0, certify=False, output_penalty="l1"),
        ConvexReLUClassifier(alpha=0.02, certify=False),
        ConvexReLUClassifier(alpha=0.02, certify=False, loss="squared_hinge"),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)

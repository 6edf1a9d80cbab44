"""scikit-learn's own estimator checks, in full."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from rectifold.estimators.convex_relu import ConvexReLUClassifier, ConvexReLURegressor


@parametrize_with_checks(
    [
        ConvexReLURegressor(certify=False),
        ConvexReLURegressor(certify=False, output_penalty="l1"),
        ConvexReLUClassifier(certify=False),
        ConvexReLUClassifier(certify=False, loss="squared_hinge"),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)

"""Data for quantile regression, and its optimum by HiGHS on the dual linear program."""

from __future__ import annotations

import highspy
import numpy as np


def recipe(n, d, seed):
    """Gaussian X, t(2) noise; fitted with an intercept."""
    rng = np.random.default_rng(1000 + seed)
    X = rng.standard_normal((n, d))
    beta = rng.standard_normal(d)
    return X, X @ beta + 0.5 + rng.standard_t(2, n)


def tied(seed):
    """Zero-one design with a column of ones and integer targets."""
    rng = np.random.default_rng(seed)
    return np.hstack([np.ones((60, 1)), rng.integers(0, 2, (60, 4))]).astype(float), rng.integers(0, 5, 60).astype(
        float
    )


def objective(X, y, coef, intercept, quantile, alpha=0.0, weights=None):
    """Mean pinball loss plus alpha ||coef||_1, by its definition."""
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    r = y - X @ coef - intercept
    return float((w * np.maximum(quantile * r, (quantile - 1.0) * r)).sum() / w.sum() + alpha * np.abs(coef).sum())


def optimum(X, y, quantile=0.5, alpha=0.0, intercept=True, weights=None):
    """min of `objective`: max y'd over |X'd| <= alpha W, 1'd = 0, w (q - 1) <= d <= w q."""
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    E = np.hstack([X, np.ones((len(y), 1))]) if intercept else np.asarray(X, dtype=float)
    n, p = E.shape
    room = np.full(p, alpha * w.sum())
    room[X.shape[1] :] = 0.0
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = n, p
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = -np.asarray(y, dtype=float), (quantile - 1.0) * w, quantile * w
    lp.row_lower_, lp.row_upper_ = -room, room
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = np.arange(0, n * p + 1, p)
    lp.a_matrix_.index_, lp.a_matrix_.value_ = np.tile(np.arange(p), n), E.ravel()
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.passModel(lp)
    highs.run()
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return -highs.getObjectiveValue() / w.sum()

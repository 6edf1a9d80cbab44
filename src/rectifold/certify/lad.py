"""Checks `LADCertificate`: the loss at its coefficients, and the bound that its dual vector proves.

With the penalty as further rows (the unit vectors, target 0, slopes -a and a with a = alpha sum(w)), every d within the
slopes of its rows and with ``E'd = 0`` proves ``F sum(w) >= d'r(theta)`` for the residuals r at any theta. The given d
meets the equation up to rounding only. At grade INTERVAL a vector near it that meets it exactly is shown to exist: the
entries on the basis change by delta with ``E_B' delta = -E'd``, and delta is bounded by a verified solution of that
system. Where the basis has no room for it, d is shrunk towards 0 first, which is inside all slopes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifold.certify.multipliers import require, require_array, require_number
from rectifold.certify.subject import problem_of
from rectifold.certify.verdict import Refusal, Verdict, judged
from rectifold.core.certificate import Grade
from rectifold.core.lad import LADCertificate, LADProblem
from rectifold.core.rounding import TINY, UNIT_ROUNDOFF, gamma

__all__ = ["check_lad"]

Array = NDArray[np.float64]

_U = UNIT_ROUNDOFF
_SLACK = 1e-9
_SMALLEST_SHRINK = 16.0 * _U
_LARGEST_SHRINK = 1e-6


def check_lad(certificate: LADCertificate, problem: LADProblem | None, grade: Grade) -> Verdict:
    """Re-derive the claim of a certificate of quantile regression.

    Raises
    ------
    CertificateError
        If it is malformed, or carries no problem and none is given.
    """

    def check(residuals: dict[str, float]) -> str:
        subject = problem_of(certificate.problem, certificate.digest, problem, LADProblem, "quantile")
        return _check(certificate, subject, grade, residuals)

    return judged(check, grade)


@dataclass
class _Sums:
    """What one pass over the data yields, all in sums over samples (not means)."""

    loss: float  # sum of w rho(r)
    loss_radius: float
    dual: float  # d'r
    dual_radius: float
    moment: Array  # E'd without the penalty's rows, and its error
    moment_radius: Array
    size: Array  # sum of w |E|


def _check(c: LADCertificate, problem: LADProblem, grade: Grade, residuals: dict[str, float]) -> str:
    _require_shapes(c, problem)
    rigorous = grade >= Grade.INTERVAL
    weight = _total_weight(problem)
    _require_box(c, problem)
    sums = _sums(c, problem)
    penalty = problem.alpha * weight * float(np.abs(c.coef).sum())
    radius = sums.loss_radius + 2.0 * gamma(len(c.coef) + len(c.dual) + 4) * penalty if rigorous else 0.0
    residuals["objective"] = (sums.loss + penalty) / weight
    slack = _SLACK * abs(c.objective) + 2.0 * sums.loss_radius / weight  # a float64 evaluation, at every grade
    residuals["objective_excess"] = (sums.loss + penalty + radius) / weight - (c.objective + slack)
    if not residuals["objective_excess"] <= 0.0:
        raise Refusal("The loss at the coefficients is above the claimed objective.")
    proven = _float_bound(c, problem, sums, residuals)
    if rigorous:
        proven = _proven(c, problem, sums, residuals)
    residuals["dual_value"] = proven / weight
    residuals["bound_excess"] = c.lower_bound - residuals["dual_value"]
    if not residuals["bound_excess"] <= 0.0:
        raise Refusal("The lower bound is above what the dual vector proves.")
    residuals["relative_gap"] = (c.objective - c.lower_bound) / c.objective if c.objective > 0.0 else 0.0
    return f"F(coef, intercept) <= {c.objective:.10g}, and F >= {c.lower_bound:.10g} for all coefficients."


def _require_shapes(c: LADCertificate, problem: LADProblem) -> None:
    n, d = problem.X.shape
    require_array(c.coef, "coef", "f", (d,))
    require_array(c.dual, "dual", "f", (n,))
    require_array(c.basis, "basis", "i")
    require(c.basis.ndim == 1 and len(np.unique(c.basis)) == len(c.basis), "basis holds a row twice")
    lowest = -d if problem.alpha > 0.0 else 0
    require(len(c.basis) == 0 or (c.basis.min() >= lowest and c.basis.max() < n), "basis names a row that is not there")
    for name, value in (("intercept", c.intercept), ("objective", c.objective), ("lower_bound", c.lower_bound)):
        require_number(value, name, float)
        require(bool(np.isfinite(value)), f"{name} must be finite")
    require(problem.fit_intercept or c.intercept == 0.0, "there is an intercept, but the problem has none")


def _weights(problem: LADProblem) -> Array:
    return np.ones(len(problem.y)) if problem.weights is None else problem.weights


def _total_weight(problem: LADProblem) -> float:
    """The sum of weights, rounded once."""
    return float(len(problem.y)) if problem.weights is None else math.fsum(problem.weights.tolist())


def _require_box(c: LADCertificate, problem: LADProblem) -> None:
    w, q = _weights(problem), problem.quantile
    slack = 1.0 + 8.0 * _U  # the bounds themselves are rounded; the rigorous bound shrinks d by more than this
    if np.any(c.dual > q * w * slack) or np.any(c.dual < (q - 1.0) * w * slack):
        raise Refusal("The dual vector leaves the interval [q - 1, q] times the weight in some entry.")


def _sums(c: LADCertificate, problem: LADProblem) -> _Sums:
    d = problem.X.shape[1]
    p = d + problem.fit_intercept
    losses, duals, moments = [], [], []
    loss_radius = dual_radius = 0.0
    radius, size = np.zeros(p), np.zeros(p)
    coef_size = np.abs(c.coef)
    for part in problem.parts():
        X = problem.rows(part)
        w = np.ones(len(X)) if problem.weights is None else problem.weights[part]
        r = problem.y[part] - X @ c.coef - c.intercept
        r_radius = 1.01 * gamma(d + 3) * (np.abs(problem.y[part]) + np.abs(X) @ coef_size + abs(c.intercept)) + TINY
        loss = w * np.where(r > 0.0, problem.quantile * r, (problem.quantile - 1.0) * r)
        product = c.dual[part] * r
        losses.append(math.fsum(loss.tolist()))
        duals.append(math.fsum(product.tolist()))
        loss_radius += float(w @ r_radius) * 1.01 + 8.0 * _U * float(loss.sum())
        dual_radius += float(np.abs(c.dual[part]) @ r_radius) * 1.01 + 8.0 * _U * float(np.abs(product).sum())
        terms = np.hstack([X, np.ones((len(X), 1))]) if problem.fit_intercept else X
        size += w @ np.abs(terms)
        terms = terms * c.dual[part][:, None]
        moment, moment_radius = _column_sums(terms)
        moments.append(moment)
        radius += moment_radius
    total = np.array([math.fsum(column) for column in np.array(moments).T])
    radius = radius * 1.01 + 2.0 * _U * np.abs(total) + TINY
    return _Sums(math.fsum(losses), loss_radius, math.fsum(duals), dual_radius, total, radius, size)


def _column_sums(terms: Array) -> tuple[Array, Array]:
    """Sums of the columns and bounds of their error, the rounding of each term included; no order of growth in n.

    A tree of error-free additions; the errors themselves are summed plainly (Ogita, Rump and Oishi 2005).
    """
    n, size = len(terms), np.abs(terms).sum(axis=0)
    errors, depth = np.zeros(terms.shape[1]), 0
    while len(terms) > 1:
        half = len(terms) // 2
        a, b = terms[:half], terms[half : 2 * half]
        s = a + b
        virtual = s - a
        errors += ((a - (s - virtual)) + (b - virtual)).sum(axis=0)
        terms = s if len(terms) == 2 * half else np.vstack([s, terms[-1:]])
        depth += 1
    radius = 1.02 * size * _U * (1.0 + 2.0 * depth * gamma(n + 64)) + TINY
    return terms[0] + errors, radius + 2.0 * _U * np.abs(terms[0])


def _penalty_duals(c: LADCertificate, bound: float, moment: Array) -> Array:
    """The dual entries of the penalty's rows: what the equations need, within their bounds."""
    return np.asarray(np.clip(-moment[: len(c.coef)], -bound, bound))


def _float_bound(c: LADCertificate, problem: LADProblem, sums: _Sums, residuals: dict[str, float]) -> float:
    a = problem.alpha * _total_weight(problem)
    d = len(c.coef)
    moment = sums.moment.copy()
    pen = _penalty_duals(c, a, moment)
    moment[:d] += pen
    allowed = _SLACK * (sums.size + a)
    residuals["stationarity_excess"] = float((np.abs(moment) - allowed - TINY).max())
    if not residuals["stationarity_excess"] <= 0.0:
        raise Refusal("X'd is not zero (or, with a penalty, above alpha): the dual vector proves nothing.")
    bound = sums.dual - float(pen @ c.coef)  # the residual of the penalty's row j is -coef_j
    return max(bound + _SLACK * abs(bound), 0.0)  # no loss is negative


def _proven(c: LADCertificate, problem: LADProblem, sums: _Sums, residuals: dict[str, float]) -> float:
    d = problem.X.shape[1]
    a = problem.alpha * _total_weight(problem) * (1.0 - 4.0 * _U)
    pen = _penalty_duals(c, a, sums.moment)
    moment, radius = sums.moment.copy(), sums.moment_radius.copy()
    moment[:d] += pen
    radius[:d] += 4.0 * _U * (np.abs(pen) + np.abs(moment[:d]))
    change = _basis_change(c, problem, moment, radius)
    shrink = _shrink(c, problem, pen, a, change)
    residuals["dual_change"], residuals["dual_shrink"] = change, shrink
    basis_residual = _basis_residuals(c, problem)
    dual = sums.dual - float(pen @ c.coef)
    loose = sums.dual_radius + 2.0 * gamma(d + 4) * float(np.abs(pen) @ np.abs(c.coef)) + 8.0 * _U * abs(dual)
    proven = dual - shrink * abs(dual) - 1.01 * (loose + change * basis_residual)
    return max(proven * (1.0 - 4.0 * _U), 0.0)  # will be divided by the weight; no loss is negative


def _basis_rows(c: LADCertificate, problem: LADProblem) -> Array:
    d = problem.X.shape[1]
    rows = np.zeros((len(c.basis), d + problem.fit_intercept))
    samples = c.basis >= 0
    rows[samples, :d] = np.asarray(problem.X[c.basis[samples]], dtype=np.float64)
    rows[samples, d:] = 1.0
    rows[~samples, -1 - c.basis[~samples]] = 1.0
    return rows


def _basis_residuals(c: LADCertificate, problem: LADProblem) -> float:
    """An upper bound of the sum of |r| over the basis."""
    rows = _basis_rows(c, problem)
    theta = np.append(c.coef, [c.intercept] if problem.fit_intercept else [])
    y = np.where(c.basis >= 0, problem.y[np.maximum(c.basis, 0)], 0.0)
    radius = gamma(rows.shape[1] + 3) * (np.abs(y) + np.abs(rows) @ np.abs(theta))
    return float((np.abs(y - rows @ theta) + 1.01 * radius).sum()) * 1.01 + TINY


def _basis_change(c: LADCertificate, problem: LADProblem, moment: Array, radius: Array) -> float:
    """A bound of every entry of delta, ``B' delta = -moment``, B being the rows of the basis.

    With R near B'^-1 and ``q = ||I - R B'|| < 1`` in the maximum norm, ``|delta| <= max |R moment| / (1 - q)``.
    """
    B = _basis_rows(c, problem)
    p = B.shape[1]
    if B.shape[0] != p:
        raise Refusal(
            "The basis does not determine all coefficients (dependent columns): nothing is proven at grade INTERVAL."
        )
    scale = np.exp2(-np.rint(np.log2(np.maximum(np.abs(B).max(axis=0), 1e-300))))  # exact: powers of two
    M = (B * scale).T
    try:
        R = np.linalg.inv(M)
    except np.linalg.LinAlgError:
        raise Refusal("The rows of the basis are dependent.") from None
    absolute = np.abs(R)
    defect = np.abs(np.eye(p) - R @ M) + 2.0 * gamma(p + 4) * (absolute @ np.abs(M) + np.eye(p)) + TINY
    norm = float(defect.sum(axis=1).max()) * (1.0 + gamma(p + 4))
    if not norm < 0.5:
        raise Refusal("The rows of the basis are too nearly dependent.")
    size = np.abs(R @ (moment * scale)) + absolute @ (radius * scale) * 1.01
    size += 2.0 * gamma(p + 4) * (absolute @ (np.abs(moment) * scale))
    return float(size.max()) / (1.0 - norm) * 1.01 + TINY


def _shrink(c: LADCertificate, problem: LADProblem, pen: Array, a: float, change: float) -> float:
    """How much smaller d must be made for its entries on the basis to have room for the change."""
    samples = c.basis >= 0
    w, q = _weights(problem)[c.basis[samples]], problem.quantile
    d = np.append(c.dual[c.basis[samples]], pen[-1 - c.basis[~samples]])
    hi = np.append(q * w, np.full((~samples).sum(), a)) * (1.0 - 4.0 * _U)
    lo = np.append((q - 1.0) * w, np.full((~samples).sum(), -a)) * (1.0 - 4.0 * _U)
    room = np.minimum(hi - d, d - lo)
    narrow = np.minimum(hi, -lo)
    if np.any(narrow <= 2.0 * change):
        raise Refusal("The dual vector would have to change by more than its bounds allow.")
    lacking = np.where(room < change, (change - np.minimum(room, 0.0)) / (narrow - change), 0.0)
    shrink = max(1.01 * float(lacking.max(initial=0.0)), _SMALLEST_SHRINK)
    if not shrink <= _LARGEST_SHRINK:
        raise Refusal("The dual vector misses the equations by too much.")
    return shrink

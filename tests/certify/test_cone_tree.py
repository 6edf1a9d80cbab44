"""Cone trees: right ones are accepted in both forms and at both grades, wrong ones refused by the mathematics."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from certify.certified_cases import claim, cone_certified
from certify.cone_tree_builder import TreeBuilder, build, largest_gain, without_leaves
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifold.certify import verify
from rectifold.certify.cone_tree import cone_tree_pricing
from rectifold.certify.verdict import Refusal
from rectifold.core.certificate import CONE_EXTENSION, CONE_LEAF, ConeTree, ConeTrees, Grade
from rectifold.core.errors import CertificateError
from rectifold.core.network import ReLUNetwork
from rectifold.core.problem import ConvexReLUProblem
from rectifold.core.rounding import DyadicArray

GRADES = (Grade.FLOAT, Grade.INTERVAL)
FORMS = ("stored", "replayed")


def certificate(form="stored", **switches):
    return cone_certified(stored=form == "stored", **switches)


def in_form(trees, form):
    return trees if form == "stored" else without_leaves(trees)


def refused(c, problem=None):
    return not any(verify(c, problem, grade) for grade in GRADES)


def with_tree(c, which=0, **fields):
    trees = list(c.evidence.trees)
    trees[which] = replace(trees[which], **fields)
    return replace(c, evidence=ConeTrees(tuple(trees)))


def instance(seed, n=14, d=3):
    """Rows and r of which +r gains more than -r."""
    rng = np.random.default_rng(seed)
    X, r = rng.standard_normal((n, d)), rng.standard_normal(n)
    return (X, r) if largest_gain(X, r) > largest_gain(X, -r) else (X, -r)


@cache
def tight(seed=0, n=14, d=3, ratio=1.02):
    X, r = instance(seed, n, d)
    return X, r, ConeTrees((build(X, r, ratio), build(X, r, ratio, -1)))


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"outputs": 2},
        {"outputs": 2, "output_penalty": "l1"},
        {"hidden_bias": "free"},
        {"hidden_bias": False, "fit_intercept": False},
        {"loss": "squared_hinge"},
        {"loss": "logistic"},
        {"loss": "multinomial"},
        {"n": 20, "d": 3},
    ],
    ids=str,
)
def test_accepts(switches, form, grade):
    c = certificate(form, **switches)
    assert max(len(tree.nodes) for tree in c.evidence.trees) > 10
    verdict = verify(c, grade=grade)
    assert verdict.holds, str(verdict)
    assert 0 < c.lower_bound <= c.objective


class TestPricing:
    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 10**6), d=st.integers(1, 4), kind=st.sampled_from(["normal", "grid", "ones", "rank"]))
    def test_is_valid_and_rounding_costs_little(self, seed, d, kind):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((10, d)) if kind != "grid" else rng.integers(-2, 3, (10, d)).astype(float)
        if kind == "ones":
            X[:, -1] = 1.0
            X[3], X[4] = X[5], 0.0
        if kind == "rank":
            X[:, -1] = X[:, 0]
        r = rng.standard_normal(10) * (rng.random(10) < 0.8)
        tops = np.array([largest_gain(X, r), largest_gain(X, -r)])
        trees = ConeTrees((build(X, r), build(X, r, sign=-1)))
        bounds = [tree.bound for tree in trees.trees]
        for form in FORMS:
            for grade in GRADES:
                out = cone_tree_pricing(X, r[:, None], in_form(trees, form), grade)
                assert out.shape == (1, 1, 2)
                assert np.all(out[0, 0] >= tops)
                assert np.all(out[0, 0] >= bounds)
                assert out[0, 0] == pytest.approx(bounds, rel=1e-9)

    @pytest.mark.parametrize("form", FORMS)
    def test_interval_is_above_float(self, form):
        X, r, trees = tight()
        plain, rigorous = (cone_tree_pricing(X, r[:, None], in_form(trees, form), g) for g in GRADES)
        assert np.all(rigorous > plain)

    @pytest.mark.parametrize("options", [{"eager": True}, {"metric": np.array([1.0, 0.3, 0.05, 2.0])}], ids=str)
    def test_extensions_metrics_and_any_rotation(self, options):
        X, r = instance(3, 12, 4)
        Q = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
        for rotation in (None, Q, np.eye(4)):
            trees = ConeTrees(tuple(build(X, r, sign=s, rotation=rotation, **options) for s in (1, -1)))
            assert (trees.trees[0].nodes == CONE_EXTENSION).any()
            for form in FORMS:
                bounds = cone_tree_pricing(X, r[:, None], in_form(trees, form), Grade.INTERVAL)[0, 0]
                assert bounds == pytest.approx([tree.bound for tree in trees.trees], rel=1e-9)

    def test_leaves_are_judged_as_by_hand(self):
        X, r = instance(5)
        builder = TreeBuilder(X, r, 1.02 * largest_gain(X, r))
        tree = builder.tree()
        down = replace(build(X, r, 3.0, -1), leaves=None)
        rng, answers = np.random.default_rng(0), set()
        for _ in range(150):
            leaf = int(rng.integers(len(tree.leaves.alphas)))
            alphas, duals = tree.leaves.alphas.copy(), tree.leaves.duals.copy()
            row = int(rng.choice(np.flatnonzero(r < 0)))
            alphas[leaf, row] = rng.integers(256)
            duals[leaf] *= 1 + 0.05 * rng.standard_normal(3)
            value = builder.leaf_value(builder.rays[leaf], alphas[leaf] / 255, duals[leaf])
            if abs(value / tree.bound - 1) < 1e-9:
                continue
            changed = replace(tree, leaves=replace(tree.leaves, alphas=alphas, duals=duals))
            try:
                cone_tree_pricing(X, r[:, None], ConeTrees((changed, down)), Grade.FLOAT)
                holds = True
            except Refusal:
                holds = False
            assert holds == (value <= tree.bound)
            answers.add(holds)
        assert answers == {True, False}

    def test_bytes_and_entries_that_are_not_used_do_not_matter(self):
        X, r, trees = tight()
        tree = trees.trees[0]
        alphas, duals = tree.leaves.alphas.copy(), tree.leaves.duals.copy()
        alphas[:, r >= 0] = 77
        flat = (tree.nodes != CONE_EXTENSION).all()
        if flat:
            duals[:, 2:] = 9.0
        changed = replace(tree, leaves=replace(tree.leaves, alphas=alphas, duals=duals))
        out = cone_tree_pricing(X, r[:, None], ConeTrees((changed, trees.trees[1])), Grade.FLOAT)
        assert np.array_equal(out, cone_tree_pricing(X, r[:, None], trees, Grade.FLOAT))

    def test_a_zero_theta_has_the_roots_alone(self):
        X = np.ones((3, 2))
        trees = tuple(
            ConeTree(0, s, 1e-3, np.eye(2), np.ones(2), np.zeros((2, 3)), np.full(4, CONE_LEAF, np.uint16))
            for s in (1, -1)
        )
        assert np.all(cone_tree_pricing(X, np.zeros((3, 1)), ConeTrees(trees), Grade.INTERVAL) < 1e-3 * (1 + 1e-9))

    @pytest.mark.parametrize("d", [1, 2, 3])
    def test_replay_finishes_a_coarse_tree(self, d):
        """What leaves do not prove as they are, verify proves by bisecting them; it opens no axes."""
        X, r, trees = tight(1, 12, d)
        bare = [replace(tree, leaves=None, nodes=full_roots(d)) for tree in trees.trees]
        out = cone_tree_pricing(X, r[:, None], ConeTrees(tuple(bare)), Grade.INTERVAL)
        assert out[0, 0] == pytest.approx([tree.bound for tree in bare], rel=1e-9)


def full_roots(d):
    """All orthants of R^d as leaves."""
    axes = max(d - 2, 0)
    subtree = [CONE_LEAF]
    for _ in range(axes):
        subtree = [CONE_EXTENSION, *subtree, *subtree]
    return np.array(subtree * 2 ** min(2, d), np.uint16)


class TestFalseClaims:
    """Nothing whose bound is below the maximum passes, whatever the tree."""

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("form", FORMS)
    def test_bound_below_the_maximum(self, form, seed):
        X, r = instance(seed, 12, 1 + seed % 4)
        trees = in_form(ConeTrees((build(X, r), build(X, r, 3.0, -1))), form)
        false = replace(trees.trees[0], bound=0.995 * largest_gain(X, r))
        for grade in GRADES:
            with pytest.raises(Refusal):
                cone_tree_pricing(X, r[:, None], ConeTrees((false, trees.trees[1])), grade)

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("form", FORMS)
    def test_evidence_for_another_theta(self, form, seed):
        X, r, trees = tight(seed)
        top = largest_gain(X, r)
        grown = r + 0.05 * top * (X @ np.linalg.lstsq(X, r, rcond=None)[0] > 0)
        assert largest_gain(X, grown) > trees.trees[0].bound
        with pytest.raises(Refusal):
            cone_tree_pricing(X, grown[:, None], in_form(trees, form), Grade.FLOAT)

    def test_accepted_means_true_under_random_damage(self):
        X, r, trees = tight(1, 10, 2)
        tops = np.array([largest_gain(X, r), largest_gain(X, -r)])
        rng, refusals = np.random.default_rng(0), 0
        for _ in range(120):
            tree = trees.trees[0]
            nodes = tree.nodes.copy()
            nodes[rng.integers(len(nodes))] = rng.choice([1, CONE_LEAF, CONE_EXTENSION, 2, 258])
            alphas = np.where(rng.random(tree.leaves.alphas.shape) < 0.02, 255 - tree.leaves.alphas, tree.leaves.alphas)
            n_leaves = int((nodes == CONE_LEAF).sum())
            leaves = replace(
                tree.leaves, alphas=np.resize(alphas, (n_leaves, 10)), duals=np.resize(tree.leaves.duals, (n_leaves, 2))
            )
            changed = replace(
                tree,
                nodes=nodes,
                bound=tree.bound * rng.uniform(0.95, 1.0),
                leaves=leaves if rng.random() < 0.5 else None,
            )
            try:
                out = cone_tree_pricing(X, r[:, None], ConeTrees((changed, trees.trees[1])), Grade.INTERVAL)
                assert np.all(out[0, 0] >= tops)
            except Refusal:
                refusals += 1
        assert refusals >= 60


@pytest.mark.parametrize("form", FORMS)
class TestTamperedClaims:
    def test_theta(self, form):
        c = certificate(form)
        integers = c.theta.integers.copy()
        integers[0, 0] += 1 << 43
        integers[1, 0] -= 1 << 43
        assert refused(replace(c, theta=DyadicArray(integers, c.theta.exponent)))

    def test_sum_of_theta(self, form):
        c = certificate(form)
        integers = c.theta.integers.copy()
        integers[np.abs(integers[:, 0]).argmin(), 0] += 1
        verdict = verify(replace(c, theta=DyadicArray(integers, c.theta.exponent)))
        assert not verdict.holds
        assert "sum to zero" in verdict.message

    def test_bound_lowered(self, form):
        c = certificate(form)
        largest = int(np.argmax([tree.bound for tree in c.evidence.trees]))
        c = with_tree(c, largest, bound=c.evidence.trees[largest].bound * 0.97)
        assert refused(c)

    def test_scale_and_lower_bound_raised(self, form):
        c = certificate(form)
        assert refused(replace(c, scale=c.scale * (1 + 1e-7)))
        assert refused(replace(c, lower_bound=c.lower_bound * (1 + 1e-6)))

    def test_problem(self, form):
        c = certificate(form)
        p = c.problem
        y, X = p.targets.copy(), p.design[:, : p.n_features].copy()
        y[0] += 0.5
        X[2, 0] *= 1.5
        others = [
            p.with_alpha(p.alpha * 0.99),
            ConvexReLUProblem(p.design[:, : p.n_features], y, p.alpha, sample_weight=p.weights),
            ConvexReLUProblem(X, p.targets, p.alpha, sample_weight=p.weights),
        ]
        for other in others:
            assert refused(c, other)
            assert refused(replace(c, problem=other, problem_digest=other.digest))

    def test_one_bit_of_X(self, form):
        """The claim may still follow, but for the problem whose digest it carries only."""
        c = certificate(form)
        p = c.problem
        X = p.design[:, : p.n_features].copy()
        X[0, 0] = np.nextafter(X[0, 0], 9.0)
        other = ConvexReLUProblem(X, p.targets, p.alpha, sample_weight=p.weights)
        assert refused(c, other)
        sign_bit = X.copy()
        sign_bit[np.abs(sign_bit).argmax() // X.shape[1]] *= -1.0
        other = ConvexReLUProblem(sign_bit, p.targets, p.alpha, sample_weight=p.weights)
        assert refused(replace(c, problem=other, problem_digest=other.digest))

    def test_network(self, form):
        c = certificate(form)
        (w, a), (b, v) = c.network.weights, c.network.biases
        assert refused(replace(c, network=ReLUNetwork([w, a], [b, v + 0.1])))

    def test_signs_left_out_or_doubled(self, form):
        c = certificate(form)
        for trees in (c.evidence.trees[:1], c.evidence.trees[1:], ()):
            verdict = verify(replace(c, evidence=ConeTrees(trees)))
            assert not verdict.holds
            assert "missing" in verdict.message
        with pytest.raises(CertificateError, match="two trees"):
            verify(replace(c, evidence=ConeTrees(c.evidence.trees * 2)))
        with pytest.raises(CertificateError, match="unknown output"):
            verify(with_tree(c, output=1))

    def test_signs_swapped(self, form):
        c = certificate(form)
        bounds = [tree.bound for tree in c.evidence.trees]
        assert abs(bounds[0] / bounds[1] - 1) > 0.05
        trees = tuple(replace(tree, sign=-tree.sign) for tree in c.evidence.trees)
        assert refused(replace(c, evidence=ConeTrees(trees)))

    @pytest.mark.parametrize("code", [CONE_LEAF, CONE_EXTENSION])
    def test_structure(self, form, code):
        c = certificate(form)
        for which, tree in enumerate(c.evidence.trees):
            inner = np.flatnonzero(tree.nodes != CONE_LEAF)
            for at in inner[:: max(1, len(inner) // 5)].tolist():
                nodes = tree.nodes.copy()
                if nodes[at] == code:
                    continue
                nodes[at] = code
                leaves = tree.leaves
                if form == "stored" and code == CONE_LEAF:
                    leaves = replace(
                        leaves,
                        alphas=np.vstack([leaves.alphas, leaves.alphas[:1]]),
                        duals=np.vstack([leaves.duals, leaves.duals[:1]]),
                    )
                changed = with_tree(c, which, nodes=nodes, leaves=leaves)
                if code == CONE_LEAF or form == "stored":
                    assert refused(changed)

    def test_rotation(self, form):
        c = certificate(form)
        Q = c.evidence.trees[0].rotation
        for wrong in (Q * 0.99, Q * 1.01, Q + 1e-5, np.zeros_like(Q), np.ones_like(Q)):
            verdict = verify(with_tree(c, rotation=wrong))
            assert not verdict.holds
            assert "orthonormal" in verdict.message

    def test_a_rotation_that_is_slightly_off_costs_its_stretch(self, form):
        c = certificate(form)
        largest = int(np.argmax([tree.bound for tree in c.evidence.trees]))
        tree = c.evidence.trees[largest]
        loose = replace(c, scale=0.0, lower_bound=0.0)
        shrunk = with_tree(loose, largest, rotation=tree.rotation * (1 - 1e-7))
        before, after = (verify(x).residuals["pricing_bound"] for x in (loose, shrunk))
        assert after >= before * (1 + 1e-7)
        assert verify(shrunk, grade="interval").holds
        assert refused(replace(shrunk, scale=c.scale))


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_the_residual_term(form):
    """Positive weights are never wrong, but K is computed from them, not believed; replay gets by without the term."""
    X, r = instance(2, 20, 4)
    X = X * np.array([3.0, 1.0, 0.1, 0.03])
    trees = in_form(ConeTrees((build(X, r, 1.1), build(X, r, 1.1, -1))), form)

    def bounds(row_weights):
        changed = replace(trees.trees[0], row_weights=row_weights)
        return cone_tree_pricing(X, r[:, None], ConeTrees((changed, trees.trees[1])), Grade.INTERVAL)

    weights = trees.trees[0].row_weights
    assert np.array_equal(bounds(7.0 * weights), bounds(weights))
    with pytest.raises(Refusal, match="row weight"):
        bounds(0.0 * weights)
    poor = weights * np.where(np.arange(20) == np.argmax(r), 1e-9, 1.0)
    if form == "stored":
        with pytest.raises(Refusal, match=r"leaf|closed"):
            bounds(poor)
    else:
        assert np.all(bounds(poor)[0, 0] >= [largest_gain(X, r), largest_gain(X, -r)])


class TestTamperedLeaves:
    @pytest.mark.parametrize("which", [0, 1])
    def test_one_leaf(self, which):
        c = certificate(n=20, d=3)
        tree = c.evidence.trees[which]
        leaves, count = tree.leaves, len(tree.leaves.alphas)
        r = tree.sign * c.theta.to_float()[:, 0]
        wrong_alphas, wrong_duals = 0, 0
        for leaf in range(count):
            alphas, duals = leaves.alphas.copy(), leaves.duals.copy()
            alphas[leaf, r < 0] = 255 - alphas[leaf, r < 0]
            duals[leaf] *= 0.9
            wrong_alphas += refused(with_tree(c, which, leaves=replace(leaves, alphas=alphas)))
            wrong_duals += refused(with_tree(c, which, leaves=replace(leaves, duals=duals)))
        assert wrong_alphas >= 0.8 * count
        assert wrong_duals >= 0.1 * count

    def test_a_leaf_left_out(self):
        c = certificate(n=20, d=3)
        for which, tree in enumerate(c.evidence.trees):
            for leaf in (0, 3, len(tree.leaves.alphas) - 1):
                at = np.flatnonzero(tree.nodes == CONE_LEAF)[leaf]
                leaves = replace(
                    tree.leaves,
                    alphas=np.delete(tree.leaves.alphas, leaf, axis=0),
                    duals=np.delete(tree.leaves.duals, leaf, axis=0),
                )
                assert refused(with_tree(c, which, nodes=np.delete(tree.nodes, at), leaves=leaves))
                with pytest.raises(CertificateError, match="alphas"):
                    verify(with_tree(c, which, leaves=leaves))

    def test_a_root_left_out(self):
        c = certificate(n=20, d=3)
        tree = c.evidence.trees[0]
        balance = np.cumsum(np.where(tree.nodes == CONE_LEAF, -1, 1))
        first = int(np.flatnonzero(balance == -1)[0]) + 1
        gone = int((tree.nodes[:first] == CONE_LEAF).sum())
        for nodes, part in (
            (tree.nodes[first:], slice(gone, None)),
            (np.r_[tree.nodes, tree.nodes[:first]], np.r_[0 : len(tree.leaves.alphas), 0:gone]),
        ):
            leaves = replace(tree.leaves, alphas=tree.leaves.alphas[part], duals=tree.leaves.duals[part])
            assert refused(with_tree(c, nodes=nodes, leaves=leaves))
            assert refused(with_tree(c, nodes=nodes, leaves=None))

    def test_one_edge(self):
        c = certificate(n=20, d=3)
        tree = c.evidence.trees[0]
        refusals, tried = 0, 0
        for at in np.flatnonzero(tree.nodes < CONE_EXTENSION).tolist():
            for code in {1, 2, 3, 258, 259, 515} - {int(tree.nodes[at])}:
                nodes = tree.nodes.copy()
                nodes[at] = code
                refusals += refused(with_tree(c, nodes=nodes))
                tried += 1
        assert tried > 20
        assert refusals >= 0.9 * tried


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {"bound": 0.0},
        lambda t: {"bound": np.inf},
        lambda t: {"bound": 1},
        lambda t: {"sign": 0},
        lambda t: {"sign": 1.0},
        lambda t: {"output": True},
        lambda t: {"rotation": t.rotation[:2]},
        lambda t: {"rotation": np.full_like(t.rotation, np.nan)},
        lambda t: {"metric": -t.metric},
        lambda t: {"metric": 0.0 * t.metric},
        lambda t: {"metric": t.metric[:1]},
        lambda t: {"row_weights": -t.row_weights},
        lambda t: {"row_weights": np.full_like(t.row_weights, np.nan)},
        lambda t: {"row_weights": t.row_weights[0]},
        lambda t: {"nodes": t.nodes.astype(np.int32)},
        lambda t: {"nodes": t.nodes[:, None]},
        lambda t: {"nodes": None},
        lambda t: {"leaves": 3},
        lambda t: {"leaves": replace(t.leaves, alphas=t.leaves.alphas.astype(np.uint16))},
        lambda t: {"leaves": replace(t.leaves, alphas=t.leaves.alphas[:, 1:])},
        lambda t: {"leaves": replace(t.leaves, duals=t.leaves.duals[:, 1:])},
        lambda t: {"leaves": replace(t.leaves, duals=np.full_like(t.leaves.duals, np.nan))},
    ],
)
def test_malformed(change):
    c = certificate()
    with pytest.raises(CertificateError):
        verify(with_tree(c, **change(c.evidence.trees[0])))


def test_malformed_trees():
    c = certificate()
    for trees in (list(c.evidence.trees), (3,)):
        with pytest.raises(CertificateError):
            verify(replace(c, evidence=ConeTrees(trees)))


def test_claims_scale_with_the_tree():
    """A tighter tree proves more: the bound of a certificate is what its trees say."""
    loose, close = certificate(ratio=1.3), certificate()
    assert claim(loose).lower_bound < claim(close).lower_bound

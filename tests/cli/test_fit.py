"""``rectifold fit`` from a file to a table, a network and a report."""

import os
import re
import signal

import numpy as np
import pandas as pd
import pytest

import rectifold as rf
from rectifold.cli import fit as fit_module
from rectifold.cli.model_file import load_model


def number_after(label: str, text: str) -> float:
    return float(re.search(rf"{label}\s+(-?[\d.e+-]+)", text).group(1))


def test_regression_tells_what_it_did_and_found(rectifold, csv):
    outcome = rectifold("fit", csv, "--target", "y", "--alpha", 0.05)
    assert outcome.code == 0, outcome.err
    for said in (
        "32 training rows, 8 held out for testing, 6 inputs; regression of y",
        "one-hot encoded (categories): colour (3), side (2)",
        "filled with the median",
        "Column same is constant in the training part and left out.",
        "standardised",
        "proven lower bound",
        "MLPRegressor",
        "RidgeCV",
    ):
        assert said in outcome.out
    assert number_after("proven lower bound", outcome.out) <= number_after("objective", outcome.out)
    assert outcome.err == ""


def test_the_saved_network_predicts_unscaled_rows_as_the_estimator_does_scaled_ones(rectifold, csv, tmp_path):
    assert rectifold("fit", csv, "--target", "y", "--alpha", 0.05, "--save", "net.npz").code == 0
    model = load_model(tmp_path / "net.npz")
    inputs = model.preparation.encode(pd.read_csv(csv))
    np.testing.assert_allclose(
        rf.load(tmp_path / "net.npz")(inputs), model.unfolded(model.preparation.standardize(inputs)), rtol=1e-9
    )
    predicted, truth = model.network(inputs)[:, 0], pd.read_csv(csv)["y"].to_numpy()
    assert np.corrcoef(predicted[model.train], truth[model.train])[0, 1] > 0.9
    np.testing.assert_array_equal(np.sort(np.concatenate([model.train, model.test])), np.arange(40))
    scaled = model.preparation.standardize(inputs[model.train])
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0)


def test_onnx_holds_the_folded_network(rectifold, csv, tmp_path):
    pytest.importorskip("onnx", reason="needs the extra 'onnx'")
    assert rectifold("fit", csv, "--target", "y", "--alpha", 0.05, "--save", "net.onnx").code == 0
    assert rectifold("fit", csv, "--target", "y", "--alpha", 0.05, "--save", "net.npz").code == 0
    points = np.random.default_rng(0).normal(size=(5, 6))
    np.testing.assert_allclose(
        rf.load(tmp_path / "net.onnx")(points), rf.load(tmp_path / "net.npz")(points), rtol=1e-5, atol=1e-4
    )


def test_classification_with_text_labels(rectifold, classes_csv, tmp_path):
    outcome = rectifold("fit", classes_csv, "--target", "kind", "--classify", "--alpha", 0.01, "--save", "net.npz")
    assert outcome.code == 0, outcome.err
    assert "LogisticRegression" in outcome.out
    assert "accuracy" in outcome.out
    np.testing.assert_array_equal(load_model(tmp_path / "net.npz").classes, ["high", "low"])


def test_builtin_data_know_their_target_and_task(rectifold):
    outcome = rectifold("fit", "wine", "--alpha", 0.1, "--test-size", 0)
    assert outcome.code == 0, outcome.err
    assert "178 training rows, none held out, 13 inputs; classification of class" in outcome.out
    assert "test accuracy" not in outcome.out


def test_parquet_semicolons_and_tabs_read_alike(rectifold, frame, tmp_path):
    table = frame.drop(columns="kind")
    table.to_parquet(tmp_path / "t.parquet")
    table.to_csv(tmp_path / "t.csv", sep=";", index=False)
    table.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    objectives = set()
    for name in ("t.parquet", "t.csv", "t.tsv"):
        outcome = rectifold("fit", name, "--target", "y", "--alpha", 0.05)
        assert outcome.code == 0, outcome.err
        objectives.add(number_after("objective", outcome.out))
    assert len(objectives) == 1


def test_rows_without_target_are_left_out_and_that_is_said(rectifold, frame, tmp_path):
    frame.loc[[0, 1], "y"] = np.nan
    frame.drop(columns="kind").to_csv(tmp_path / "t.csv", index=False)
    outcome = rectifold("fit", "t.csv", "--target", "y", "--alpha", 0.05)
    assert "2 rows without a value of y were left out" in outcome.out


def test_no_standardize_is_said(rectifold, csv, tmp_path):
    options = ("--alpha", 5.0, "--no-standardize", "--time-limit", 1, "--save", "net.npz")
    outcome = rectifold("fit", csv, "--target", "y", *options)
    assert "not standardised" in outcome.out
    np.testing.assert_array_equal(load_model(tmp_path / "net.npz").preparation.scale, 1.0)


def test_the_effort_of_the_proof_is_an_option(rectifold, small_csv):
    cheap, more = (
        number_after("proven lower bound", rectifold("fit", small_csv, "--target", "y", "--alpha", 0.1, *work).out)
        for work in (("--max-work", 0), ())
    )
    assert cheap < more


def test_alpha_auto_prints_its_choice(rectifold, small_csv):
    outcome = rectifold("fit", small_csv, "--target", "y")
    assert outcome.code == 0, outcome.err
    chosen = float(re.search(r"Alpha ([\d.e-]+) \(", outcome.out).group(1))
    assert "5-fold cross-validation on the training part" in outcome.out
    assert number_after("alpha", outcome.out) == pytest.approx(chosen, rel=1e-3)


def test_path_prints_a_row_per_alpha(rectifold, small_csv, tmp_path):
    outcome = rectifold("fit", small_csv, "--target", "y", "--path", "--report", "report.html")
    assert outcome.code == 0, outcome.err
    assert "path (alphas fitted to the training part)" in outcome.out
    html = (tmp_path / "report.html").read_text()
    assert "<h2>The path</h2>" in html
    assert html.count("<svg") == 5


def test_above_alpha_max_the_constant_is_the_answer(rectifold, csv):
    outcome = rectifold("fit", csv, "--target", "y", "--alpha", 1e6, "--report", "report.html")
    assert outcome.code == 0, outcome.err
    assert number_after("neurons", outcome.out) == 0
    assert "the constant is the answer" in " ".join(outcome.out.split())


def test_more_columns_than_samples(rectifold, tmp_path):
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(8, 20))).add_prefix("x").assign(y=rng.normal(size=8))
    table.to_csv(tmp_path / "wide.csv", index=False)
    outcome = rectifold("fit", "wide.csv", "--target", "y", "--alpha", 0.1)
    assert outcome.code == 0, outcome.err


def test_the_same_seed_gives_the_same_output(rectifold, csv):
    def run(seed):
        text = rectifold("fit", csv, "--target", "y", "--alpha", 0.05, "--seed", seed).out
        return re.sub(r"\d+(\.\d+)? s\b", "", text)

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_a_report_is_one_file_that_fetches_nothing(rectifold, csv, tmp_path):
    outcome = rectifold("fit", csv, "--target", "y", "--alpha", 0.05, "--report", "report.html")
    assert outcome.code == 0, outcome.err
    html = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?:|[\"'(]//|<link|<script|<img|url\((?!#)|@import", html)
    assert set(re.findall(r'href="(.)', html)) <= {"#", "d"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "table.csv"]


def test_ctrl_c_gives_the_best_so_far_with_its_bound(rectifold, csv, monkeypatch):
    real = fit_module.fit_estimator

    def interrupted(task, X, y, alpha, monitor, **options):
        os.kill(os.getpid(), signal.SIGINT)
        assert monitor.should_stop()
        return real(task, X, y, alpha, monitor, **options)

    monkeypatch.setattr(fit_module, "fit_estimator", interrupted)
    outcome = rectifold("fit", csv, "--target", "y", "--alpha", 0.05)
    assert outcome.code == 0, outcome.err
    assert "Stopped on request" in outcome.out
    assert "proven lower bound" in outcome.out


def test_a_second_ctrl_c_aborts(rectifold, csv, monkeypatch):
    def stubborn(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(fit_module, "fit_estimator", stubborn)
    outcome = rectifold("fit", csv, "--target", "y", "--alpha", 0.05, "--report", "report.html")
    assert outcome.code == 130
    assert outcome.err == "rectifold: aborted\n"


def test_ctrl_c_during_the_choice_of_alpha_goes_on_with_what_is_known(rectifold, small_csv, monkeypatch):
    from rectifold.cli import alpha as alpha_module

    real = alpha_module.fit_estimator
    calls = []

    def interrupt_the_third_alpha(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments, **options)

    monkeypatch.setattr(alpha_module, "fit_estimator", interrupt_the_third_alpha)
    outcome = rectifold("fit", small_csv, "--target", "y")
    assert outcome.code == 0, outcome.err
    assert len(calls) == 12
    assert "the best of 2 by 5-fold" in outcome.out
    assert "stopped early" in outcome.out


def test_ctrl_c_during_the_comparison_leaves_out_unfinished_peers(rectifold, csv, monkeypatch):
    real = fit_module.peer_rows

    def interrupted(*arguments):
        for row in real(*arguments):
            if row.name == "RidgeCV":
                os.kill(os.getpid(), signal.SIGINT)
            yield row

    monkeypatch.setattr(fit_module, "peer_rows", interrupted)
    outcome = rectifold("fit", csv, "--target", "y", "--alpha", 0.05)
    assert outcome.code == 0
    assert "MLPRegressor" in outcome.out
    assert "RidgeCV" not in outcome.out
    assert "the comparison was stopped" in outcome.err


def test_no_time_for_a_single_alpha_falls_back_and_says_so(rectifold, small_csv):
    outcome = rectifold("fit", small_csv, "--target", "y", "--time-limit", 1e-3)
    assert outcome.code == 0, outcome.err
    assert "a tenth of alpha_max: the search for a better one was stopped before its first result" in outcome.out
    assert "proven lower bound" in outcome.out


def test_a_fault_of_the_program_is_one_line_and_not_bad_input(rectifold, csv, monkeypatch):
    monkeypatch.setattr(fit_module, "fit_estimator", lambda *a, **k: 1 / 0)
    monkeypatch.delenv("RECTIFOLD_TRACEBACK", raising=False)
    outcome = rectifold("fit", csv, "--target", "y", "--alpha", 0.05)
    assert outcome.code == 70
    assert outcome.err.startswith("rectifold: error: internal: ZeroDivisionError")
    monkeypatch.setenv("RECTIFOLD_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        rectifold("fit", csv, "--target", "y", "--alpha", 0.05)

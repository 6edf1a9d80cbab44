"""The report's words, figures and file."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib import pyplot as plt

from rectifold.core.errors import BackendNotFoundError, ProblemError
from rectifold.core.result import Proof, Status
from rectifold.report import FitSummary, ModelRow, PathRow, ReportFigure, render_report, words, write_report
from rectifold.report.figures import inline_svg


@pytest.fixture
def summary():
    return FitSummary(
        data_name="houses.csv",
        target="price <EUR> & more",
        task="regression",
        score_name="R²",
        n_train=80,
        n_test=20,
        n_features=3,
        preparation=("Inputs standardised.",),
        alpha=0.1,
        alpha_sentence="Alpha 0.1, as given.",
        objective=2.0,
        lower_bound=1.9,
        gap=0.05,
        priced_gap=1e-9,
        gap_tol=0.01,
        proof=Proof.PRICED,
        status=Status.OPTIMAL,
        n_neurons=4,
        seconds=0.5,
        models=(ModelRow("rectifold", 0.9, 0.8, 0.5, "ours"), ModelRow("RidgeCV", 0.7, 0.6, 0.01)),
        command="rectifold fit houses.csv",
        details={"seed": "0"},
    )


@pytest.fixture
def figure():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], marker="o", label="line")
    ax.imshow(np.eye(3))
    ax.set_xlabel("a < b")
    return fig


class Balance(HTMLParser):
    """Checks that every element that needs an end has one."""

    VOID = frozenset({"meta", "br", "link", "hr", "input", "img"})

    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(html):
    parser = Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return " ".join(" ".join(parser.text).split())


def test_the_page_is_balanced_and_says_the_numbers(summary, figure):
    text = read(render_report(summary, [ReportFigure("A plot", "How to read it.", figure)]))
    for part in (
        "price <EUR> & more",
        "80 training rows, 20 test rows",
        "1.9",
        "5 %",
        "priced",
        "RidgeCV",
        "0.6000",
        "How to read it.",
        "rectifold fit houses.csv",
    ):
        assert part in text


def test_names_are_escaped(summary):
    html = render_report(replace(summary, data_name="<script>alert(1)</script>"))
    assert "<script" not in html


def test_nothing_is_fetched(summary, figure):
    html = render_report(summary, [ReportFigure("A plot", "Caption.", figure)])
    assert not re.search(r"https?:|<link|<script|<img|url\((?!#)|@import|xmlns", html)


def test_the_path_table_appears_when_there_is_a_path(summary):
    assert "The path" not in read(render_report(summary))
    row = PathRow(0.25, 3.0, math.nan, 2, 0.5, None)
    text = read(render_report(replace(summary, path=(row,), n_test=0)))
    assert "The path" in text
    assert "0.25" in text


def test_inline_svg_takes_the_colour_of_the_page(figure):
    svg = inline_svg(figure, 'A "plot"')
    assert svg.startswith('<svg role="img" aria-label="A &quot;plot&quot;"')
    assert "currentColor" in svg
    assert "#000000" not in svg
    assert "a &lt; b" in svg
    assert not re.search(r"<svg[^>]*\s(width|height)=", svg)


def test_references_inside_a_figure_resolve_and_differ_between_figures(figure):
    first, second = inline_svg(figure, "one"), inline_svg(figure, "two")
    for svg in (first, second):
        used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
        assert used <= set(re.findall(r'id="([^"]+)"', svg))
        assert used
    assert not set(re.findall(r'id="([^"]+)"', first)) & set(re.findall(r'id="([^"]+)"', second))


@pytest.mark.parametrize(
    ("changes", "expected", "absent"),
    [
        ({"proof": Proof.CERTIFIED, "gap": 0.005}, "Certified. Proven: no two-layer", "not a proof"),
        ({"proof": Proof.PRICED}, "a search, not a proof", "Certified."),
        ({"proof": Proof.RESTRICTED}, "optimal for the given activation patterns only", "Certified."),
        ({"proof": Proof.NONE, "status": Status.INTERRUPTED}, "nothing is claimed about optimality", "Priced."),
        ({"lower_bound": -math.inf, "gap": math.nan}, "No bound was proven", "at most"),
        ({"proof": Proof.CERTIFIED, "n_neurons": 0, "gap": 1e-9}, "the constant is the answer", "below"),
    ],
)
def test_the_claim_says_what_is_proven(summary, changes, expected, absent):
    text = words.claim(replace(summary, **changes))
    assert expected in text
    assert absent not in text


def test_what_is_not_proven_is_said(summary):
    assert "Nothing is proven about rows not seen" in words.limits_of_the_claim(summary)[0]
    assert any("1 % asked for" in line for line in words.limits_of_the_claim(summary))
    stopped = words.limits_of_the_claim(replace(summary, status=Status.TIME_LIMIT))
    assert Status.TIME_LIMIT.message in stopped
    certified = words.limits_of_the_claim(replace(summary, proof=Proof.CERTIFIED, gap=0.001))
    assert len(certified) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0 %"), (math.nan, "–"), (0.123, "12.3 %"), (0.0123, "1.2 %"), (1e-9, "1e-07 %")]
)
def test_percent(value, text):
    assert words.percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(math.inf, "∞"), (-math.inf, "−∞"), (None, "–"), (1234567.0, "1.23457e+06")]
)
def test_number(value, text):
    assert words.number(value) == text


def test_the_file_is_written_in_one_step(summary, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr("rectifold.report.render.render_report", lambda *a: (_ for _ in ()).throw(ValueError("broken")))
    with pytest.raises(ValueError, match="broken"):
        write_report(path, summary)
    assert path.read_text() == "old"
    monkeypatch.undo()
    write_report(path, summary)
    assert path.read_text().startswith("<!doctype html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_is_not_there_is_a_problem(summary, tmp_path):
    with pytest.raises(ProblemError, match="cannot write the report"):
        write_report(tmp_path / "nowhere" / "report.html", summary)


def test_missing_jinja2_is_answered_with_the_pip_line(summary, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(BackendNotFoundError, match="pip install"):
        render_report(summary)

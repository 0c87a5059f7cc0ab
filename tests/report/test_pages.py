"""Pages of reports: what they say, their figures, and that they need nothing but themselves."""

import re
from html.parser import HTMLParser

import matplotlib as mpl
import pytest

from ml4ir_losses.report.drawing import png, style
from ml4ir_losses.report.page import Page, Section, Table, number, render
from ml4ir_losses.report.run_page import run_page
from report.examples import EMPTY, run_data

VOID = {"meta", "link", "br", "wbr", "img", "hr"}


class Checker(HTMLParser):
    """Collects ids and text of a page, and checks that its tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.words += data.split()


def check(html):
    """The text of a page whose HTML is sound."""
    page = Checker()
    page.feed(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    return " ".join(page.words)


def test_pages_need_nothing_else_and_label_their_axes(pages):
    for page, html in pages.values():
        check(html)
        assert "<script" not in html
        assert not re.search(r"""(src|href)=["'](?!#|data:)""", html)
        assert len(html) < 1_000_000
        plots = list(page.plots)
        assert html.count('<svg viewBox="') == len(plots)
        assert len({plot.name for plot in plots}) == len(plots)
        for plot in plots:
            assert plot.title
            assert plot.description.endswith(".")
            for axes in plot.figure.axes:
                assert f">{axes.get_xlabel()}</text>" in html
                assert f">{axes.get_ylabel()}</text>" in html


@pytest.mark.parametrize(("name", "plots"), [("run", 9), ("text run", 2), ("empty run", 0), ("runs", 3)])
def test_page_draws_what_is_known(pages, name, plots):
    assert len(list(pages[name][0].plots)) == plots


def test_run_page_says_metrics_intervals_baselines_and_worst_queries(pages):
    text = check(pages["run"][1])
    for part in (
        "ndcg_10 on test: 0.7600 (0.7410 to 0.7790). The best baseline, best feature (price), has 0.5400.",
        "The run was interrupted.",
        "0.7410 to 0.7790",
        "kept: epoch 12",
        "40,584",
        "q<1>: ndcg_10 0.0000, 43 documents",
        "d<2>",
        "on 200 queries (5,591 documents), 3 times",
        "5 columns with smaller falls are not shown.",
        "Of 1,200 documents",
        "(ECE) is 0.0833",
        "Cut-offs: made up.",
    ):
        assert part in text


def test_lower_is_better_names_the_lowest_baseline():
    baselines = {"a": {"arp": 5.0}, "b": {"arp": 4.0}}
    run = run_data(**EMPTY | {"metric": "arp", "metrics": {"arp": (3.0, None)}, "baselines": baselines})
    run.higher_is_better = False
    assert "The best baseline, b, has 4.0000." in run_page(run).lead


def test_comparison_says_verdict_ties_failures_and_search(pages):
    text = check(pages["comparison"][1])
    for part in (
        "softmax_cross_entropy is better than the config's list_mle by 0.1000",
        "ndcg_10 on 50 queries of test, 3 seeds",
        "cannot be excluded",
        "lightgbm (library)",
        "list_mle (config)",
        "< 0.001",
        "−0.1000",
        "labels above <3>",
        "0.001, 0.01",
        "Left out: 2 queries",
        "about 0.0210",
    ):
        assert part in text


def test_runs_page_says_which_settings_differ(pages):
    text = check(pages["runs"][1])
    assert "model.loss softmax_cross_entropy list_mle" in text
    assert "training.seed" not in text


def test_figures_take_the_colours_of_the_page_and_png_their_own(pages):
    plot = next(pages["run"][0].plots)
    with style():
        assert "#0072b2" not in plot.svg
        assert "var(--series-0)" in plot.svg
        assert plot.svg in pages["run"][1]  # drawn again, the same
        assert png(plot.figure).startswith(b"\x89PNG")


def test_style_leaves_the_settings_of_the_program_alone():
    before = dict(mpl.rcParams)
    with style():
        assert mpl.rcParams["svg.fonttype"] == "none"
    assert dict(mpl.rcParams) == before


def test_names_and_texts_of_data_are_escaped():
    page = Page("<b>", sections=[Section("s", blocks=[Table(["<i>"], [["<u>"], [None]], "<p>", folded=True)])])
    text = check(render(page))
    assert text == "<b> <b> s <p> <i> <u> –"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.76044, "0.7604"),
        (-0.5, "−0.5000"),
        (12345, "12,345"),
        (3, "3"),
        (0.00001234, "1.23e-05"),
        ("text", "text"),
        (0.0, "0.0000"),
    ],
)
def test_numbers_have_four_digits(value, text):
    assert number(value) == text

"""The gap between two conventions, split into steps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from markdown_blocks import blocks
from metrics.libraries import lightgbm_metrics, xgboost_metrics
from metrics.runs import random_run
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.evaluation.explain_metric import STEPS, explain_metric
from ml4ir_losses.metrics.conventions import CONVENTIONS

pytestmark = pytest.mark.slow_on("jax")
LABELS, SCORES = random_run(11, documents=8)
WEIGHTS = np.random.default_rng(11).integers(1, 5, len(LABELS)) / 2.0


def rows(labels=LABELS, scores=SCORES, weights=None):
    """The columns of explain_metric."""
    sizes = [len(row) for row in labels]
    columns = {"queries": np.repeat([f"q{q}" for q in range(len(sizes))], sizes)}
    columns |= {"labels": np.concatenate(labels), "scores": np.concatenate(scores)}
    columns["document_ids"] = [f"d{i}" for i in np.random.default_rng(0).permutation(sum(sizes))]
    return columns | ({} if weights is None else {"query_weights": np.repeat(weights, sizes)})


def steps(gap):
    return {step.name: step for step in gap.steps}


PAIRS = [(a, b) for a in CONVENTIONS for b in CONVENTIONS if a < b]


@pytest.mark.parametrize(("start", "end"), PAIRS)
def test_steps_sum_to_the_gap_between_the_values(start, end):
    columns = rows(weights=WEIGHTS)
    there = explain_metric({"key": "ndcg", "topn": 3}, start, end, **columns)
    back = explain_metric({"key": "ndcg", "topn": 3}, end, start, **columns)
    for gap in (there, back):
        assert sum(step.difference for step in gap.steps) == pytest.approx(gap.to_value - gap.from_value, abs=1e-12)
        assert [step.name for step in gap.steps] == [name for name in STEPS if name in steps(gap)]
        assert all(step.changes and 0 <= step.queries <= gap.queries == len(LABELS) for step in gap.steps)
    assert (there.from_value, there.to_value) == (back.to_value, back.from_value)


def test_same_convention_has_no_gap():
    gap = explain_metric("ndcg", "lightgbm", "lightgbm", **rows())
    assert (gap.from_value, gap.steps) == (gap.to_value, ())


def test_each_step_measures_its_difference_alone():
    """Data on which one difference between LightGBM and scikit-learn matters, and no other."""
    cases = {
        "empty queries": ([[1, 0], [0, 0]], [[2.0, 1.0], [2.0, 1.0]], -0.5, 1),
        "gain": ([[1, 2], [2, 1]], [[2.0, 1.0], [2.0, 1.0]], None, 1),
        "ties": ([[1, 0], [1, 0]], [[1.0, 1.0], [2.0, 1.0]], (1 / np.log2(3) - 1) / 4, 1),
    }
    for name, (labels, scores, difference, queries) in cases.items():
        gap = explain_metric("ndcg", "lightgbm", "sklearn", **rows([np.array(y) for y in labels], scores))
        found = steps(gap)
        assert found[name].queries == queries
        assert found[name].difference == pytest.approx(gap.to_value - gap.from_value)
        if difference is not None:
            assert found[name].difference == pytest.approx(difference, abs=1e-6)
        assert all(found[other].queries == 0 for other in set(found) - {name})


def test_cut_off_holds_denominators_and_other_metrics():
    gap = explain_metric({"key": "precision", "topn": 5}, "tf_ranking", "trec_eval", **rows())
    assert steps(gap)["cut-off"].changes == ("denominator: retrieved → topn",)
    gap = explain_metric("ndcg", "sklearn", "sklearn", to_metric={"key": "ndcg", "topn": 2}, **rows())
    assert [(step.name, step.changes) for step in gap.steps] == [("cut-off", ("topn: None → 2",))]
    assert gap.steps[0].queries > 0


def test_values_equal_lightgbm_and_xgboost_with_query_weights():
    for topn in (2, 5):
        metric = {"key": "ndcg", "topn": topn}
        gap = explain_metric(metric, "lightgbm", "xgboost", **rows(weights=WEIGHTS))
        assert gap.from_value == pytest.approx(
            lightgbm_metrics(LABELS, SCORES, [topn], WEIGHTS)[f"ndcg@{topn}"], abs=1e-6
        )
        name = f"ndcg@{topn}"
        assert gap.to_value == pytest.approx(xgboost_metrics(LABELS, SCORES, [name], WEIGHTS)[name], abs=1e-6)
        gap = explain_metric({"key": "map", "topn": topn}, "lightgbm", "xgboost", **rows(weights=WEIGHTS))
        assert gap.from_value == pytest.approx(
            lightgbm_metrics(LABELS, SCORES, [topn], WEIGHTS)[f"map@{topn}"], abs=1e-6
        )


def test_values_equal_tf_ranking_with_query_weights():
    golden = Path(__file__).parents[1] / "golden" / "conventions_tf_ranking.json"
    data = json.loads(golden.read_text(encoding="utf-8"))
    columns = rows(data["labels"], data["scores"], data["weights"])
    for case in data["cases"]:
        if case["weighted"] and case["topn"] in (None, 3):
            metric = {"key": case["key"], "topn": case["topn"]}
            gap = explain_metric(metric, "tf_ranking", "ml4ir_losses", **columns)
            assert gap.from_value == pytest.approx(case["mean"], rel=1e-6, abs=1e-6), metric


def test_query_weights_are_a_step_of_their_own():
    gap = explain_metric("ndcg", "tf_ranking", "trec_eval", **rows(weights=WEIGHTS))
    assert steps(gap)["query weights"].changes == ("weighs_queries: True → False", "empty_weight: mean → own")
    assert "query weights" not in steps(explain_metric("ndcg", "tf_ranking", "trec_eval", **rows()))


def test_rows_of_a_query_need_not_be_adjacent():
    columns = {name: np.asarray(column) for name, column in rows().items()}
    mixed = np.argsort(np.random.default_rng(1).random(len(columns["queries"])))
    whole = explain_metric("ndcg", "trec_eval", "sklearn", **columns)
    again = explain_metric("ndcg", "trec_eval", "sklearn", **{name: column[mixed] for name, column in columns.items()})
    assert (again.from_value, again.to_value) == pytest.approx((whole.from_value, whole.to_value), abs=1e-6)
    assert [s.queries for s in again.steps] == [s.queries for s in whole.steps]


def test_text_names_values_steps_and_queries():
    gap = explain_metric({"key": "ndcg", "topn": 3}, "lightgbm", "trec_eval", **rows())
    text = str(gap).splitlines()
    assert text[0] == "ndcg_3 of 40 queries"
    assert text[1].split() == ["lightgbm", f"{gap.from_value:.6f}"]
    assert text[-1].split() == ["trec_eval", f"{gap.to_value:.6f}"]
    assert text[2].startswith("empty queries")
    assert text[2].endswith("queries: empty_queries: one → zero")
    assert len(text) == 3 + len(gap.steps)
    one = replace(gap, queries=1, steps=(replace(gap.steps[0], queries=1),))
    assert str(one).splitlines()[0] == "ndcg_3 of 1 query"


@pytest.mark.backend("tensorflow")  # digits of float32
def test_example_of_the_documentation_prints_what_it_shows(capsys):
    ((_, code),), ((_, text),) = blocks("docs/conventions.md", "python"), blocks("docs/conventions.md", "text")
    exec(compile(code, "docs/conventions.md", "exec"), {})
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("metric", "names", "change", "error", "message"),
    [
        ("ndcg", ("lightgbm", "rax"), {}, UserError, "Unknown convention 'rax'"),
        ("ndgc", ("lightgbm", "sklearn"), {}, UserError, "Unknown metric 'ndgc'"),
        ("mrr", ("allrank", "sklearn"), {}, UserError, "'sklearn' has no metric 'mrr'. Its metrics: ndcg, dcg"),
        ("ndcg", ("lightgbm", "sklearn"), {"to_metric": "map"}, UserError, "Received: 'ndcg' and 'map'"),
        ("ndcg", ("sklearn", "trec_eval"), {"document_ids": None}, DataError, "have no document ids"),
        ("ndcg", ("sklearn", "lightgbm"), {"labels": [1.0]}, DataError, "labels [1]"),
        ("ndcg", ("sklearn", "lightgbm"), {"query_weights": np.arange(200.0)}, DataError, "query_weights [200]"),
    ],
)
def test_wrong_input_is_refused(metric, names, change, error, message):
    with pytest.raises(error) as raised:
        explain_metric(metric, *names, **(rows() | change))
    assert message in str(raised.value)


def test_query_weights_that_differ_within_a_query_are_refused():
    with pytest.raises(DataError, match="must have the same weight"):
        explain_metric("ndcg", "lightgbm", "sklearn", ["q", "q"], [1, 0], [1, 2], query_weights=[1, 2])

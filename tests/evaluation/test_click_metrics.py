"""The average click rank and the failures to rank matches: ml4ir's numbers, and all orders of ties."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from ml4ir_losses.evaluation.click_metrics import (
    all_failure,
    click_metrics,
    intrinsic_failure,
    rank_match_failure,
)
from ml4ir_losses.evaluation.scored_lists import ScoredLists

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "ml4ir_click_metrics.json").read_text())


def golden(prefix):
    return [
        pytest.param(case["inputs"], case["expected"], case["tol"], id=case["id"])
        for case in GOLDEN
        if case["key"].startswith(prefix)
    ]


def lists(labels, scores, match=None):
    """One list per row."""
    labels, scores = np.array(labels, float), np.array(scores, float)
    offsets = np.arange(len(labels) + 1) * labels.shape[1]
    documents = np.arange(labels.size).astype(str)
    match = None if match is None else np.array(match, float).ravel()
    return ScoredLists(
        np.arange(len(labels)).astype(str), offsets, labels.ravel(), scores.ravel(), documents, match=match
    )


def metrics(one):
    return click_metrics(one, one.scores, np.random.default_rng(0))


@pytest.mark.parametrize(("inputs", "expected", "tolerance"), golden("ACR"))
def test_average_click_rank_equals_that_of_ml4ir(inputs, expected, tolerance):
    found = metrics(lists(inputs["y_true"], inputs["y_pred"]))
    assert found.means()["acr"] == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(("inputs", "expected", "tolerance"), golden("AuxAllFailure"))
def test_all_and_intrinsic_failure_equal_those_of_ml4ir(inputs, expected, tolerance):
    match = np.array(inputs["aux_label"], float)
    assert all_failure(match, inputs["click_rank"] - 1) == expected[0]
    assert intrinsic_failure(match) == pytest.approx(expected[1], abs=tolerance)


@pytest.mark.parametrize(("inputs", "expected", "tolerance"), golden("rank_match_failure"))
def test_rank_match_failure_equals_that_of_ml4ir(inputs, expected, tolerance):
    for ranks, click, match, value in zip(
        inputs["pred_ranks"], inputs["pred_click_rank"], inputs["y_aux"], expected, strict=True
    ):
        ranked = np.array(match, float)[np.argsort(np.array(ranks, float), kind="stable")]
        assert rank_match_failure(ranked, click - 1) == pytest.approx(value, abs=tolerance)


@pytest.mark.parametrize("seed", range(10))
def test_average_click_rank_is_the_mean_over_all_orders_of_equal_scores(seed):
    rng = np.random.default_rng(seed)
    labels, scores = rng.integers(0, 3, 6), rng.integers(0, 3, 6)
    labels[0] = 2
    ranks = []
    for order in itertools.permutations(range(6)):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            ranks.append(1 + min(i for i, d in enumerate(order) if labels[d] == labels.max()))
    assert metrics(lists([labels], [scores])).values["acr"][0] == pytest.approx(np.mean(ranks))


def test_queries_without_a_click_are_left_out():
    found = metrics(lists([[0, 0], [0, 1]], [[1, 0], [1, 0]], [[1, 0], [0, 3]]))
    assert found.weights["acr"].tolist() == [0, 1]
    assert found.means() == {
        "acr": 2.0,
        "rank_match_failure": 1 - 1 / np.log2(3),
        "all_failure": 1.0,
        "intrinsic_failure": pytest.approx(1 - 1 / np.log2(3)),
    }


def test_click_on_a_document_without_a_match_is_no_rank_match_failure():
    found = metrics(lists([[0, 1]], [[1, 0]], [[2, 0]]))
    assert found.weights["rank_match_failure"].tolist() == [0]
    assert found.weights["all_failure"].tolist() == [1]


def test_large_matches_do_not_overflow():
    assert intrinsic_failure(np.array([1.0, 5000.0])) == pytest.approx(1 - 1 / np.log2(3))
    assert intrinsic_failure(np.zeros(3)) == 0

"""Retrieval metrics: values computed by hand, and the ranking metrics for complete lists."""

import math

import pytest

from ml4ir_losses.metrics.retrieval import average_precision, evaluate_rankings, mrr, ndcg, recall

RANKING = ["a", "b", "c", "d"]
JUDGED = {"b": 3, "d": 1, "x": 2, "a": 0, "y": -1}


def test_ndcg_equals_the_value_by_hand():
    dcg = 3 / math.log2(3) + 1 / math.log2(5)
    best = 3 + 2 / math.log2(3) + 1 / 2
    assert ndcg(RANKING, JUDGED) == pytest.approx(dcg / best)
    assert ndcg(RANKING, JUDGED, 2) == pytest.approx(3 / math.log2(3) / (3 + 2 / math.log2(3)))
    assert ndcg(["b", "x", "d"], JUDGED, 10) == 1
    assert ndcg(RANKING, {"a": 0}) == 0


def test_mrr_recall_and_average_precision_equal_the_values_by_hand():
    assert mrr(RANKING, JUDGED) == 0.5
    assert mrr(RANKING, JUDGED, 1) == 0
    assert recall(RANKING, JUDGED) == pytest.approx(2 / 3)
    assert recall(RANKING, JUDGED, 2) == pytest.approx(1 / 3)
    assert average_precision(RANKING, JUDGED) == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert average_precision(RANKING, JUDGED, 3) == pytest.approx(1 / 2 / 3)
    assert (recall([], JUDGED), average_precision([], {}), recall([], {})) == (0, 0, 0)


def test_queries_without_relevance_are_left_out_and_unranked_ones_count_0():
    judgments = {"q1": JUDGED, "q2": {"a": 1}, "q3": {"a": 0}, "q4": {"b": 1}}
    values = evaluate_rankings(
        {"q1": RANKING, "q2": RANKING, "q3": RANKING}, judgments, [("mrr", 10), ("recall", None)]
    )
    assert values == {"mrr_10": [0.5, 1.0, 0.0], "recall": [pytest.approx(2 / 3), 1.0, 0.0]}


def test_complete_lists_equal_the_ranking_metric():
    import numpy as np

    from ml4ir_losses.metrics.keras_metric import get_metric

    rng = np.random.default_rng(0)
    grades, scores = rng.integers(0, 4, (6, 9)).astype("float32"), rng.normal(size=(6, 9)).astype("float32")
    for key, topn, params in [("ndcg", 5, {"gain": "identity"}), ("mrr", 5, {}), ("map", None, {}), ("recall", 3, {})]:
        metric = get_metric(key, topn=topn, **params)
        metric.update_state(grades, scores)
        rankings = {q: np.argsort(-row, kind="stable").tolist() for q, row in enumerate(scores)}
        judged = {q: dict(enumerate(map(float, row))) for q, row in enumerate(grades)}
        name = key if topn is None else f"{key}_{topn}"
        ours = evaluate_rankings(rankings, judged, [(key, topn)])[name]
        # Relevant is a grade above 0 here and of at least 1 there: the same for whole grades.
        assert float(metric.result()) == pytest.approx(np.mean(ours), rel=1e-5), key

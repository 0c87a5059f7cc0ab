"""Ties of scores: how many documents they concern, when a run tells of them, and the baselines that they affect."""

import numpy as np
import pytest

from ml4ir_losses.data.batching import BatchPlan
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.evaluation.baselines import original_order_baseline
from ml4ir_losses.evaluation.scoring import MetricSet, query_metrics
from ml4ir_losses.evaluation.tied_scores import Ties, count_tied

MRR = MetricSet([{"key": "mrr"}], "label")
LABELS = [1, 0, 0, 0, 1, 1]  # of two queries with 2 and 4 documents


def plan(labels=LABELS, sizes=(2, 4), **options):
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    ids = np.arange(len(sizes)).astype(str)
    labels = {"label": np.array(labels, "float32")}
    return BatchPlan(Queries(ids, offsets, {}, labels, np.arange(offsets[-1])), 2, **options)


def scores(*values):
    return np.array(values, "float32")


def tied_share(metric_set, plan, row_scores):
    tied, documents = count_tied(metric_set, plan, row_scores)
    return tied / max(documents, 1)


def tie_note(metric_set, *windows):
    ties = Ties(metric_set)
    for plan, row_scores in windows:
        ties.add(plan, row_scores, query_metrics(MRR, plan, row_scores))
    return ties.note()


@pytest.mark.parametrize(
    ("row_scores", "share"),
    [
        (scores(2, 1, 4, 3, 2, 1), 0.0),
        (scores(1, 1, 4, 3, 2, 1), 2 / 6),
        (scores(2, 1, 3, 3, 1, 1), 0.0),  # equal scores of equal labels
        (scores(2, 1, 3, 2, 2, 1), 2 / 6),
        (scores(1, 1, 1, 1, 1, 1), 1.0),
        (scores(2, -np.inf, -np.inf, -np.inf, -np.inf, 1), 0.0),  # not retrieved
        (scores(2, 1, 4, 3, 3, 1) + 2e-8, 2 / 6),
    ],
)
def test_share_of_documents_that_tie_with_another_label(row_scores, share):
    assert tied_share(MRR, plan(), row_scores) == pytest.approx(share)


def test_documents_without_label_and_those_cut_off_do_not_tie():
    assert tied_share(MRR, plan([-1, 0, 0, 0, 1, 1]), scores(1, 1, 4, 3, 2, 1)) == 0.0
    assert tied_share(MRR, plan([-1, -1], [2]), scores(1, 1)) == 0.0
    cut = plan(truncation=Truncation(max_list_size=2))
    assert tied_share(MRR, cut, scores(2, 1, 4, 3, 3, 3)) == 0.0


def test_note_on_ties_gives_share_mean_and_extremes():
    note = tie_note(MRR, (plan(), scores(1, 1, 4, 3, 2, 1)))
    assert note == (
        "33.3% of the documents have the score of another one with a different label: mrr is 0.5417 on average over "
        "their orders, 0.4167 in the worst, 0.6667 in that of the data"
    )


@pytest.mark.parametrize(
    ("metrics", "row_scores"),
    [
        ([{"key": "mrr"}], scores(2, 1, 4, 3, 2, 1)),  # no ties
        ([{"key": "mrr", "topn": 1}], scores(2, 1, 4, 3, 3, 1)),  # none that change the metric
        ([{"key": "alpha_dcg"}], scores(1, 1, 1, 1, 1, 1)),  # no metric that knows the worst order
    ],
)
def test_no_note_where_ties_do_not_matter(metrics, row_scores):
    assert tie_note(MetricSet(metrics, "label"), (plan(), row_scores)) == ""


def test_note_on_ties_of_several_windows_is_that_of_all_queries():
    windows = (plan([1, 0], [2]), scores(2, 1)), (plan([0, 0, 1, 1], [4]), scores(4, 3, 3, 1))
    assert tie_note(MRR, *windows) == tie_note(MRR, (plan(), scores(2, 1, 4, 3, 3, 1))) != ""


def test_original_order_is_a_baseline():
    assert original_order_baseline(MRR, plan()).means() == {"mrr": pytest.approx((1 + 1 / 3) / 2)}

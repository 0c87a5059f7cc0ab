"""Means, groups and comparisons of values per query, against pandas and SciPy."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test

from ml4ir_losses.evaluation.scoring import QueryMetrics
from ml4ir_losses.evaluation.summary import summarize

QUERIES = 60


def metrics(seed=0, queries=QUERIES):
    """`ndcg` counts all queries but some, `arp` weighs them."""
    rng = np.random.default_rng(seed)
    kept = (np.arange(queries) % 5 > 0).astype("float32")
    weights = np.random.default_rng(9).integers(0, 4, queries).astype("float32")
    values = {"ndcg": rng.random(queries).astype("float32"), "arp": 1 + 9 * rng.random(queries)}
    return of(values, {"ndcg": kept, "arp": weights})


def of(values, weights):
    return QueryMetrics(values, weights, np.arange(len(next(iter(values.values())))).astype(str))


def test_means_and_counts_are_those_of_the_queries_that_count():
    values = metrics()
    found = summarize(values)
    assert found.metrics == values.means()
    assert (found.estimates["ndcg"].queries, found.estimates["ndcg"].left_out) == (48, 12)
    counted = int((values.weights["arp"] > 0).sum())
    assert (found.estimates["arp"].queries, found.estimates["arp"].left_out) == (counted, QUERIES - counted)


def test_intervals_are_as_wide_as_the_standard_errors():
    values = metrics()
    for name, estimate in summarize(values).estimates.items():
        w, v = values.weights[name].astype(float), values.values[name]
        share = w / w.sum()
        error = np.sqrt(np.sum(share**2 * (v - estimate.mean) ** 2))
        low, high = estimate.interval
        assert low < estimate.mean < high
        assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.12)


def test_interval_stays_within_the_range_of_the_values():
    values = np.array([1.0, 1.0, 1.0, 0.5])
    found = summarize(of({"ndcg": values}, {"ndcg": np.ones(4)}))
    low, high = found.estimates["ndcg"].interval
    assert 0.5 <= low < high <= 1.0


def test_groups_equal_those_of_pandas():
    values = metrics()
    device = np.random.default_rng(3).choice(["phone", "desktop", ""], QUERIES, p=[0.7, 0.2, 0.1]).astype(object)
    found = summarize(values, groups=device, column="device").groups
    frame = pd.DataFrame({"device": np.where(device == "", "(empty)", device)})
    for name in values.values:
        frame["wv"], frame["w"] = values.values[name] * values.weights[name], values.weights[name]
        sums = frame.groupby("device")[["wv", "w"]].sum()
        expected = (sums["wv"] / sums["w"]).to_dict()
        assert {g.value: g.metrics[name].mean for g in found.groups} == pytest.approx(expected)
        assert found.macro[name] == pytest.approx(np.mean(list(expected.values())))
    sizes = frame.groupby("device").size().sort_values(ascending=False)
    assert [(g.value, g.queries) for g in found.groups] == list(sizes.items())
    assert [g.small for g in found.groups] == (sizes < 25).tolist()


def test_groups_without_counted_queries_are_not_in_the_macro_mean():
    values = of({"mrr": np.array([0.5, 0.7, 0.0])}, {"mrr": np.array([1.0, 1.0, 0.0])})
    found = summarize(values, groups=np.array(["a", "a", "b"], dtype=object), column="c").groups
    assert found.macro["mrr"] == pytest.approx(0.6)
    assert found.groups[1].metrics["mrr"].interval is None


def test_comparison_counts_wins_and_tests_as_scipy():
    ours, theirs = (metrics(seed, 10) for seed in (1, 2))
    ours.values["ndcg"][1] = theirs.values["ndcg"][1]
    found = summarize(ours, baseline=theirs).differences
    kept = ours.weights["ndcg"] > 0
    gap = (ours.values["ndcg"].astype(float) - theirs.values["ndcg"])[kept]
    assert found["ndcg"].difference == pytest.approx(gap.mean())
    assert found["ndcg"].baseline == pytest.approx(theirs.means()["ndcg"])
    assert (found["ndcg"].wins, found["ndcg"].ties, found["ndcg"].losses) == (
        (gap > 0).sum(),
        (gap == 0).sum(),
        (gap < 0).sum(),
    )
    exact = permutation_test((gap,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found["ndcg"].p == pytest.approx(exact.pvalue)
    low, high = found["ndcg"].interval
    assert low < found["ndcg"].difference < high


def test_lower_values_win_where_lower_is_better():
    ours, theirs = (
        of({"arp": v, "acr": v}, {"arp": np.ones(3), "acr": np.ones(3)})
        for v in (np.array([1.0, 2.0, 2.0]), np.array([2.0, 3.0, 1.0]))
    )
    for one in summarize(ours, baseline=theirs).differences.values():
        assert (one.wins, one.ties, one.losses) == (2, 0, 1)
        assert one.difference == pytest.approx(-1 / 3)


def test_one_query_has_no_interval_and_says_so():
    ours, theirs = (of({"mrr": np.array([v])}, {"mrr": np.ones(1)}) for v in (1.0, 0.5))
    found = summarize(ours, baseline=theirs)
    assert found.estimates["mrr"].interval is None
    assert (found.differences["mrr"].interval, found.differences["mrr"].p) == (None, None)
    assert found.notes == ["there is one query: a 95% interval and a test need at least 2"]


def test_metric_that_counts_no_query_has_neither_interval_nor_comparison():
    empty = of({"mrr": np.zeros(3)}, {"mrr": np.zeros(3)})
    found = summarize(empty, baseline=empty)
    assert (found.estimates["mrr"].mean, found.estimates["mrr"].interval, found.estimates["mrr"].left_out) == (
        0,
        None,
        3,
    )
    assert found.differences["mrr"].p is None

"""Metrics in the conventions of other libraries, against the libraries and numbers that they computed."""

import json
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.core.registry import METRICS
from ml4ir_losses.metrics.conventions import CONVENTIONS, OWN, convention_metrics

from .libraries import lightgbm_metrics, trec_eval_metrics, xgboost_metrics
from .runs import random_run

pytestmark = pytest.mark.slow_on("jax")
SEEDS = (0, 1, 2)
TOPNS = (1, 2, 3, 5, 10)


def padded(rows, filler):
    width = max(map(len, rows))
    return np.array([[*row, *[filler] * (width - len(row))] for row in rows])


def by_query(convention, spec, labels, scores, ids=None):
    """Values and weights of the queries in the convention."""
    metrics = convention_metrics(convention, [spec])
    offsets = np.cumsum([0, *map(len, scores)])
    ids = None if ids is None else np.concatenate(ids)
    ranked = np.split(metrics.scores(offsets, np.concatenate(scores), ids), offsets[1:-1])
    y, s, mask = padded(labels, 0.0), padded(ranked, 0.0), padded([np.ones(len(row)) for row in labels], 0.0) > 0
    key, params = metrics.specs[0]["key"], {n: v for n, v in metrics.specs[0].items() if n != "key"}
    values, weights = METRICS[key].target(y.astype("float32"), s.astype("float32"), mask, **params)
    return tuple(ops.convert_to_numpy(x).astype("float64") for x in (values, weights))


def mean(*args, **kwargs):
    values, weights = by_query(*args, **kwargs)
    return np.average(values, weights=weights)


def agree(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def golden(library):
    path = Path(__file__).parents[1] / "golden" / f"conventions_{library}.json"
    return json.loads(path.read_text(encoding="utf-8"))


GOLDEN = {library: golden(library) for library in ("tf_ranking", "allrank")}  # by parity/golden_conventions.py


@pytest.mark.parametrize(
    ("library", "case"),
    [
        pytest.param(library, case, id=f"{library}-{case['key']}-{case['topn']}")
        for library, data in GOLDEN.items()
        for case in data["cases"]
        if not case["weighted"]
    ],
)
def test_convention_equals_golden_numbers(library, case):
    data = GOLDEN[library]
    labels, scores = ([np.array(row) for row in data[name]] for name in ("labels", "scores"))
    spec = {"key": case["key"], "topn": case["topn"]}
    agree(by_query(library, spec, labels, scores)[0], case["values"])
    agree(mean(library, spec, labels, scores), case["mean"])


def test_golden_numbers_cover_every_metric_of_the_library():
    for library, data in GOLDEN.items():
        assert {case["key"] for case in data["cases"]} == set(CONVENTIONS[library].metrics)


@pytest.mark.parametrize("seed", SEEDS)
def test_lightgbm_convention_equals_lightgbm(seed):
    labels, scores = random_run(seed, documents=12)
    theirs = lightgbm_metrics(labels, scores, TOPNS)
    for key in CONVENTIONS["lightgbm"].metrics:
        for topn in TOPNS:
            agree(mean("lightgbm", {"key": key, "topn": topn}, labels, scores), theirs[f"{key}@{topn}"])


@pytest.mark.parametrize("seed", SEEDS)
def test_xgboost_convention_equals_xgboost(seed):
    labels, scores = random_run(seed, documents=12)
    binary = [(row > 0).astype(float) for row in labels]  # XGBoost refuses grades for map and precision
    for key, name, y in (("ndcg", "ndcg", labels), ("map", "map", binary), ("precision", "pre", binary)):
        theirs = xgboost_metrics(y, scores, [name, *(f"{name}@{n}" for n in TOPNS), *(f"{name}@{n}-" for n in TOPNS)])
        agree(mean("xgboost", key, y, scores), theirs[name])
        for topn in TOPNS:
            agree(mean("xgboost", {"key": key, "topn": topn}, y, scores), theirs[f"{name}@{topn}"])
            if key != "precision":
                spec = {"key": key, "topn": topn, "empty_queries": "zero"}
                agree(mean("xgboost", spec, y, scores), theirs[f"{name}@{topn}-"])


def test_xgboost_cuts_off_at_32_unless_told_otherwise():
    labels, scores = random_run(5, queries=6, documents=90, levels=20)
    assert mean("xgboost", "ndcg", labels, scores) != pytest.approx(
        mean("xgboost", {"key": "ndcg", "topn": 90}, labels, scores)
    )
    agree(mean("xgboost", "ndcg", labels, scores), xgboost_metrics(labels, scores, ["ndcg"])["ndcg"])


def test_parameters_of_a_spec_override_the_convention():
    labels, scores = random_run(4)
    linear = xgboost_metrics(labels, scores, ["ndcg@3"], ndcg_exp_gain=False)["ndcg@3"]
    agree(mean("xgboost", {"key": "ndcg", "topn": 3, "gain": "identity"}, labels, scores), linear)


@pytest.mark.parametrize("seed", SEEDS)
def test_sklearn_convention_equals_sklearn(seed):
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import average_precision_score, dcg_score, ndcg_score, roc_auc_score

    labels, scores = random_run(seed, documents=12)
    y, s = padded(labels, 0.0), padded(scores, -1.0)  # documents without gain, ranked last
    for topn in (None, *TOPNS):
        for key, function in (("ndcg", ndcg_score), ("dcg", dcg_score)):
            theirs = [function(y[i : i + 1], s[i : i + 1], k=topn) for i in range(len(y))]
            agree(by_query("sklearn", {"key": key, "topn": topn}, labels, scores)[0], theirs)
            agree(mean("sklearn", {"key": key, "topn": topn}, labels, scores), function(y, s, k=topn))
    with pytest.warns(UserWarning, match="No positive class"):
        theirs = [average_precision_score(y > 0, s) for y, s in zip(labels, scores, strict=True)]
    agree(by_query("sklearn", "map", labels, scores)[0], theirs)
    with pytest.warns(UndefinedMetricWarning, match="Only one class"):
        theirs = np.array([roc_auc_score(y > 0, s) for y, s in zip(labels, scores, strict=True)])
    values, weights = by_query("sklearn", "auc", labels, scores)
    np.testing.assert_array_equal(weights, ~np.isnan(theirs))
    agree(values[weights > 0], theirs[weights > 0])


TREC_NAMES = {"ndcg": "ndcg_cut", "map": "map_cut", "precision": "P", "recall": "recall", "hits": "success"}
TREC_WHOLE = {"ndcg": "ndcg", "map": "map", "mrr": "recip_rank", "bpref": "bpref"}


@pytest.mark.parametrize("seed", SEEDS)
def test_trec_eval_convention_equals_trec_eval(seed):
    labels, scores = random_run(seed, documents=12)
    rng = np.random.default_rng(seed)
    for row in scores:
        row[1:][rng.random(len(row) - 1) < 0.2] = -np.inf  # judged and not retrieved
    ids = [np.array([f"d{i}" for i in rng.permutation(len(row) * 3)[: len(row)]]) for row in labels]
    cuts = ",".join(map(str, TOPNS))
    theirs = trec_eval_metrics(
        labels, scores, ids, {*TREC_WHOLE.values(), *(f"{n}.{cuts}" for n in TREC_NAMES.values())}
    )
    names = {key: (name, None) for key, name in TREC_WHOLE.items()}
    cases = [*names.items(), *((key, (f"{name}_{n}", n)) for key, name in TREC_NAMES.items() for n in TOPNS)]
    for key, (name, topn) in cases:
        got, weights = by_query("trec_eval", {"key": key, "topn": topn}, labels, scores, ids)
        agree(got, [row[name] for row in theirs])
        agree(weights, 1.0)


def test_trec_eval_orders_equal_scores_by_descending_id():
    labels, scores = [np.array([1.0, 0.0, 0.0])], [np.array([0.5, 0.5, 0.5])]
    for ids, rank in ((["b", "a", "c"], 2), (["10", "9", "1"], 2), (["z", "é", "Z"], 2), (["c", "b", "a"], 1)):
        names = [np.array(ids)]
        agree(by_query("trec_eval", "mrr", labels, scores, names)[0], 1 / rank)
        assert trec_eval_metrics(labels, scores, names, {"recip_rank"})[0]["recip_rank"] == pytest.approx(1 / rank)


@pytest.mark.parametrize(("convention", "is_tie"), [("trec_eval", True), ("xgboost", True), ("lightgbm", False)])
def test_scores_are_compared_in_the_precision_of_the_library(convention, is_tie):
    labels, scores, ids = [np.array([0.0, 1.0])], [np.array([1.0, 1.0 + 1e-12])], [np.array(["b", "a"])]
    spec = {"key": "ndcg", "topn": 1}
    agree(by_query(convention, spec, labels, scores, ids)[0], 0.0 if is_tie else 1.0)
    theirs = {
        "trec_eval": lambda: trec_eval_metrics(labels, scores, ids, {"ndcg_cut.1"})[0]["ndcg_cut_1"],
        "xgboost": lambda: xgboost_metrics(labels, scores, ["ndcg@1"])["ndcg@1"],
        "lightgbm": lambda: lightgbm_metrics(labels, scores, [1])["ndcg@1"],
    }[convention]()
    assert theirs == (0.0 if is_tie else 1.0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_scores_do_not_depend_on_the_chunks(convention):
    _, scores = random_run(6)
    offsets = np.cumsum([0, *map(len, scores)])
    ids = np.random.default_rng(6).permutation(offsets[-1]).astype(str)
    metrics = convention_metrics(convention, [])
    whole = metrics.scores(offsets, np.concatenate(scores), ids)
    parts = []
    for first in range(0, len(scores), 7):
        bounds = offsets[first : first + 8]
        rows = slice(bounds[0], bounds[-1])
        parts.append(metrics.scores(bounds - bounds[0], np.concatenate(scores)[rows], ids[rows]))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_scores_keep_the_order_and_what_is_not_retrieved(convention):
    scores = np.array([0.5, -np.inf, 2.0, np.nan, np.inf, -3.0])
    got = convention_metrics(convention, []).scores(np.array([0, 6]), scores, np.arange(6))
    np.testing.assert_array_equal(got, [-2.0, -np.inf, -1.0, np.nan, 0.0, -3.0])
    assert got.dtype == "float32"


def test_own_convention_changes_nothing():
    assert convention_metrics(OWN, ["ndcg", {"key": "mrr", "topn": 3}]).specs == [
        {"key": "ndcg"},
        {"key": "mrr", "topn": 3},
    ]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_convention_names_only_metrics_and_parameters_that_exist(convention):
    for key, params in (CONVENTIONS[convention].metrics or {}).items():
        METRICS[key].check_parameters("metric", params)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: convention_metrics("light", ["ndcg"]),
            UserError,
            "Unknown convention 'light'. Did you mean 'lightgbm'?",
        ),
        (lambda: convention_metrics("lightgbm", ["mrr"]), UserError, "has no metric 'mrr'. Its metrics: ndcg, map."),
        (lambda: convention_metrics("lightgbm", ["ndgc"]), UserError, "Unknown metric 'ndgc'"),
        (
            lambda: convention_metrics("trec_eval", ["ndcg"]).scores(np.array([0, 1]), np.ones(1)),
            DataError,
            "orders documents of equal score by their ids",
        ),
    ],
)
def test_wrong_convention_metric_or_missing_ids_are_refused(make, error, message):
    with pytest.raises(error) as raised:
        make()
    assert message in str(raised.value)

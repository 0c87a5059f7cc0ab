"""Metrics of rankings as LightGBM, XGBoost and trec_eval compute them; a test without the library is skipped."""

import numpy as np
import pytest


def lightgbm_metrics(labels, scores, topns, weights=None):
    """The metrics of a model whose first tree does not change the initial scores."""
    lightgbm = pytest.importorskip("lightgbm")
    sizes = [len(row) for row in labels]
    data = lightgbm.Dataset(
        np.zeros((sum(sizes), 1)),
        label=np.concatenate(labels),
        group=sizes,
        init_score=np.concatenate(scores),
        weight=None if weights is None else np.repeat(weights, sizes),
    )
    found = {}
    lightgbm.train(
        {
            **{"objective": "lambdarank", "metric": ["ndcg", "map"], "eval_at": list(topns), "verbosity": -1},
            **{"learning_rate": 1e-300, "num_threads": 1},
        },
        data,
        num_boost_round=1,
        valid_sets=[data],
        callbacks=[lightgbm.record_evaluation(found)],
    )
    return {name: values[-1] for name, values in found["training"].items()}


def xgboost_metrics(labels, scores, names, weights=None, **params):
    """The metrics of a model without trees, whose scores are the base margin."""
    xgboost = pytest.importorskip("xgboost")
    data = xgboost.DMatrix(np.zeros((sum(map(len, labels)), 1)), label=np.concatenate(labels))
    data.set_group([len(row) for row in labels])
    data.set_base_margin(np.concatenate(scores))
    if weights is not None:
        data.set_weight(weights)
    params = {"objective": "rank:ndcg", "eval_metric": list(names), "verbosity": 0, "nthread": 1, **params}
    found = xgboost.train(params, data, num_boost_round=0).eval(data).split("\t")[1:]
    return {name.removeprefix("eval-"): float(value) for name, value in (part.rsplit(":", 1) for part in found)}


def trec_eval_metrics(labels, scores, ids, names):
    """The metrics of each query; documents with the score -inf are judged and not retrieved."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    judgments, run = {}, {}
    for query, (y, s, names_of) in enumerate(zip(labels, scores, ids, strict=True)):
        judgments[f"q{query}"] = {str(name): int(label) for name, label in zip(names_of, y, strict=True)}
        run[f"q{query}"] = {str(name): float(x) for name, x in zip(names_of, s, strict=True) if x > -np.inf}
    found = pytrec_eval.RelevanceEvaluator(judgments, names).evaluate(run)
    return [found[f"q{query}"] for query in range(len(labels))]

"""Writes tests/golden/conventions_<library>.json: metrics of random rankings, as TF-Ranking and allRank compute them.

Run from the root, by the Python of each library's environment:

    PYTHONPATH=tests/metrics .venv-parity-tfr/bin/python parity/golden_conventions.py tf_ranking
    PYTHONPATH=tests/metrics .venv-bench-torch/bin/python parity/golden_conventions.py allrank

`values` are those of the queries, `mean` is the library's mean over them. TF-Ranking orders equal scores at random: its
value of a query is the mean over every order of the equal scores, each of which it ranks without ties.
"""

from __future__ import annotations

import itertools
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
from runs import random_run

Rows = list[Any]
Case = dict[str, Any]
TOPNS = (None, 1, 3)


def padded(rows: Rows, filler: float) -> Any:
    width = max(map(len, rows))
    return np.array([[*row, *[filler] * (width - len(row))] for row in rows], "float32")


def orders(scores: Any) -> Any:
    """Scores without ties, one row for every order of the equal scores."""
    groups = [np.flatnonzero(scores == value) for value in sorted(set(scores), reverse=True)]
    rows = []
    for parts in itertools.product(*(itertools.permutations(group) for group in groups)):
        row = np.empty(len(scores))
        row[np.concatenate([list(part) for part in parts])] = -np.arange(len(scores))
        rows.append(row)
    return np.array(rows, "float32")


def tf_ranking(labels: Rows, scores: Rows, weights: Any) -> list[Case]:
    from tensorflow_ranking.python import metrics_impl

    classes = {
        "ndcg": metrics_impl.NDCGMetric,
        "dcg": metrics_impl.DCGMetric,
        "mrr": metrics_impl.MRRMetric,
        "map": metrics_impl.MeanAveragePrecisionMetric,
        "precision": metrics_impl.PrecisionMetric,
        "recall": metrics_impl.RecallMetric,
        "hits": metrics_impl.HitsMetric,
        "bpref": metrics_impl.BPrefMetric,
        "pwa": metrics_impl.PWAMetric,
        "arp": metrics_impl.ARPMetric,
        "ordered_pair_accuracy": metrics_impl.OPAMetric,
    }
    cases = []
    for key, topn in itertools.product(classes, TOPNS):
        without_cutoff = key in ("arp", "ordered_pair_accuracy")
        if topn and without_cutoff:
            continue
        computed = classes[key](key, **({} if without_cutoff else {"topn": topn}))
        values = []
        for y, s in zip(labels, scores, strict=True):
            # Pairs of equal scores are wrong in ordered pair accuracy, in any order.
            rows = s[None].astype("float32") if key == "ordered_pair_accuracy" else orders(s)
            per_order, _ = computed.compute(np.tile(y.astype("float32"), (len(rows), 1)), rows)
            values.append(float(np.mean(per_order)))
        for given in (None, weights[:, None].astype("float32")):
            _, counted = computed.compute(padded(labels, -1.0), padded(scores, 0.0), given)
            mean = float(np.average(values, weights=np.asarray(counted, "float64")[:, 0]))
            cases.append({"key": key, "topn": topn, "weighted": given is not None, "values": values, "mean": mean})
    return cases


def allrank(labels: Rows, scores: Rows, weights: Any) -> list[Case]:
    import torch

    unused = ("gcsfs", "pkg_resources", "torchvision", "torchvision.transforms")  # imported, but not by the metrics
    sys.modules.update({name: MagicMock() for name in unused})
    from allrank.models import metrics

    cases = []
    for key, topn in itertools.product(("ndcg", "dcg", "mrr"), TOPNS):
        batch = torch.tensor(padded(scores, 0.0)), torch.tensor(padded(labels, -1.0))
        values = getattr(metrics, key)(*batch, ats=None if topn is None else [topn])[:, 0].tolist()
        cases.append({"key": key, "topn": topn, "weighted": False, "values": values, "mean": float(np.mean(values))})
    return cases


def main(library: str) -> None:
    labels, scores = random_run(7)
    weights = np.random.default_rng(7).integers(1, 5, len(labels)) / 2.0
    cases = {"tf_ranking": tf_ranking, "allrank": allrank}[library](labels, scores, weights)
    distribution = {"tf_ranking": "tensorflow_ranking", "allrank": "allRank"}[library]
    path = Path(__file__).parents[1] / "tests" / "golden" / f"conventions_{library}.json"
    data = {
        "version": version(distribution),
        "labels": [row.tolist() for row in labels],
        "scores": [row.tolist() for row in scores],
        "weights": weights.tolist(),
    }
    head = "{" + "".join(f"{json.dumps(name)}: {json.dumps(part)},\n" for name, part in data.items()) + '"cases": [\n'
    path.write_text(head + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n")


if __name__ == "__main__":
    main(sys.argv[1])

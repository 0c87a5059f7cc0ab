"""Data of reports, made up: a run, a run of texts, a comparison."""

import numpy as np

from ml4ir_losses.report.run_page import Calibration, PoorQuery, RunData

QUANTILES = [-2.0, -1.0, 0.0, 1.0, 2.0]


def run_data(**changes):
    """A run with everything that a report shows."""
    rng = np.random.default_rng(0)
    epochs = [float(epoch) for epoch in range(1, 31)]
    estimate = (0.76, (0.741, 0.779))
    data = {
        "name": "quickstart",
        "folder": "runs/quickstart",
        "summary": [("loss", "softmax_cross_entropy"), ("batch size", 32), ("seed", "1")],
        "settings": {"model.loss": "softmax_cross_entropy", "training.seed": 1},
        "splits": [["train", "a <very> long/path/to/some/folder/of/training/data.csv", 40584, 24]],
        "metric": "ndcg_10",
        "metrics": {"ndcg_10": estimate, "mrr": (0.9, None)},
        "other_parts": {"validation": {"ndcg_10": 0.75, "mrr": 0.91}},
        "baselines": {"random": {"ndcg_10": 0.33, "mrr": 0.6}, "best feature (price)": {"ndcg_10": 0.54, "mrr": 0.8}},
        "history": {
            "epoch": epochs,
            "loss": [70 - epoch / 10 for epoch in epochs],
            "val_loss": [69.0, *[float("nan")] * 28, 66.0],
            "ndcg_10": [0.5 + epoch / 100 for epoch in epochs],
            "val_ndcg_10": [0.5 + epoch / 120 for epoch in epochs],
        },
        "best_epoch": 12,
        "values": rng.random(300).tolist(),
        "cutoffs": {
            "ndcg": dict.fromkeys((1, 3, 5, 10, 20), estimate),
            "mrr": dict.fromkeys((1, 3, 5, 10, 20), estimate),
        },
        "original": dict.fromkeys((1, 3, 5, 10, 20), (0.4, (0.3, 0.5))),
        "grades": {"0": QUANTILES, "1": QUANTILES, "4": QUANTILES},
        "lengths": [("5–16", 76, estimate, (0.5, None)), ("17–28", 70, estimate, (0.4, (0.3, 0.5)))],
        "poor": [PoorQuery("q<1>", 0.0, 43, [(1, 31, "d01", 0.0, 1.25), (9, 2, "d<2>", 4.0, -0.5)])],
        "importance": {
            "metric": "ndcg_10",
            "value": 0.75,
            "queries": 200,
            "documents": 5591,
            "repeats": 3,
            "seconds": 0.4,
            "columns": [
                {"name": f"a_rather_long_name_of_a_column_{i}", "drop": 0.1 / (i + 1), "lowest": 0.0, "highest": 0.1}
                for i in range(25)
            ],
        },
        "explanations": {
            "metric": "ndcg_10",
            "queries": [
                {
                    "query": "q<1>",
                    "value": 0.0,
                    "method": "permutation",
                    "documents": [
                        {"document": "d01", "rank": 1, "label": 0.0, "logit": 1.25},
                        {"document": "d<2>", "rank": 9, "label": 4.0, "logit": -0.5},
                    ],
                    "columns": [
                        {"name": "price", "cells": ["0.5", "0.1"], "adds": 2.0, "error": 0.01},
                        {"name": "3 others", "cells": ["", ""], "adds": -0.25, "error": None},
                    ],
                }
            ],
        },
        "calibration": Calibration([0.1, 0.4, 0.9], [0.2, 0.35, 0.8], 0.0833, 1200),
        "notes": ["The run was interrupted."],
        "missing": ["Cut-offs: made up."],
    }
    return RunData(**{**data, **changes})


def text_run_data():
    """A run of texts: no predictions, no validation metric."""
    history = {"epoch": [1.0], "loss": [0.4]}
    empty = {
        "cutoffs": {},
        "original": {},
        "grades": {},
        "lengths": [],
        "poor": [],
        "importance": None,
        "explanations": None,
        "calibration": None,
    }
    return run_data(history=history, baselines={"untrained": {"ndcg_10": 0.5}}, **empty)


def row(name, mean, **changes):
    """A row of compare.json."""
    against = {"difference": mean - 0.5, "interval": [mean - 0.52, mean - 0.49], "p": 0.01, "p_holm": 0.0004}
    values = {
        "name": name,
        "spec": {"key": name, "k": 10},
        "kind": "loss",
        "mean": mean,
        "interval": [mean - 0.02, mean + 0.02],
        "seed_spread": 0.01,
        "query_spread": 0.25,
        "to_best": None if mean == 0.5 else against,
        "to_own": None if name == "list_mle" else against,
        "tied_with_best": mean > 0.48,
        "learning_rate": 0.001,
        "trials": 4,
        "runs": 5,
        "seconds": 30.0,
        "memory_mib": 812.3,
        "metrics": {"ndcg_10": mean, "mrr": None},
        "error": None,
    }
    return values | changes


def comparison(**changes):
    """The content of a compare.json with a library, a baseline and a loss that failed."""
    nothing = dict.fromkeys(("seed_spread", "learning_rate", "seconds", "memory_mib"))
    failed = dict.fromkeys(("mean", "interval", "to_best", "to_own", "query_spread"))
    values = {
        "version": 1,
        "name": "ltr",
        "metric": "ndcg_10",
        "higher_is_better": True,
        "part": "test",
        "queries": 50,
        "seeds": [1, 2, 3],
        "folds": None,
        "own": "list_mle",
        "best": "softmax_cross_entropy",
        "verdict": "softmax_cross_entropy is better than the config's list_mle by 0.1000 (0.0700 to 0.1300).",
        "notes": ["Left out: 2 queries without a value in some row."],
        "detectable": 0.021,
        "searched": {"learning_rates": [0.001, 0.01], "trials_each": 2},
        "rows": [
            row("softmax_cross_entropy", 0.5),
            row("gumbel_neural_sort_cross_entropy", 0.49),
            row("lightgbm", 0.485, kind="library"),
            row("list_mle", 0.4),
            row("random", 0.3, kind="baseline", **nothing),
            row("ordinal", 0.0) | nothing | failed | {"metrics": {}, "error": "labels above <3>"},
        ],
    }
    return values | changes


EMPTY: dict = {
    **{
        name: {}
        for name in (
            "metrics",
            "history",
            "cutoffs",
            "grades",
            "importance",
            "explanations",
            "baselines",
            "other_parts",
        )
    },
    **{name: [] for name in ("values", "lengths", "poor", "splits")},
    "calibration": None,
}
"""The fields of a run of which nothing is known."""

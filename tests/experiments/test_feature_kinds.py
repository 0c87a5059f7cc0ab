"""A run with dates, transforms within the query and feature dropout, from raw rows to the report and saved model."""

import json

import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.experiments.comparing.boosted_trees import _columns
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.train import train
from ml4ir_losses.model.loading import load_model

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]


def rows(queries, seed):
    """Queries of 3 to 8 documents; the newest documents of a query are relevant, whatever its time."""
    rng = np.random.default_rng(seed)
    columns = {name: [] for name in ("query_id", "label", "published", "searched", "price")}
    for q in rng.permutation(queries):
        size = int(rng.integers(3, 9))
        ages = rng.permutation(size)
        searched = np.datetime64("2024-01-10T08:00") + np.timedelta64(int(rng.integers(5000)), "h")
        columns["query_id"] += [f"q{q}"] * size
        columns["label"] += [int(age < 1) for age in ages]
        columns["published"] += [str(searched - np.timedelta64(int(age) * 20 + 1, "h")) for age in ages]
        columns["searched"] += [str(searched)] * size
        columns["price"] += [None if rng.random() < 0.2 else float(x) for x in 100 * q + rng.random(size)]
    return columns


CONFIG = {
    "data": {"batch_size": 8, "max_list_size": 6},
    "features": {
        "inputs": [
            {
                "name": "age",
                "column": "published",
                "type": "date",
                "reference": "searched",
                "parts": ["age", "weekday"],
                "transforms": ["log1p", "query_z_score"],
                "missing": "query_min",
            },
            {"name": "price", "type": "numeric", "missing": "query_min", "transforms": ["query_min_max"]},
            {
                "name": "buckets",
                "column": "price",
                "type": "numeric",
                "transforms": [{"key": "bucketise", "buckets": 3}],
            },
            {"name": "time", "column": "searched", "type": "date", "scope": "query", "parts": ["hour", "month"]},
        ]
    },
    "model": {"architecture": {"key": "dnn", "hidden_units": [8]}, "loss": "softmax_cross_entropy"}
    | {"optimizer": {"key": "adam", "learning_rate": 0.05}, "feature_dropout": 0.1},
    "training": {"epochs": 3, "seed": 1},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = {"train": rows(60, 0), "validation": rows(20, 1)}
    return train(CONFIG, tmp_path_factory.mktemp("runs") / "run", data=data, progress=False)


def test_model_learns_what_lies_in_dates_alone(run):
    assert run.metrics["validation"]["ndcg_10"] > 0.95
    assert "best feature (published descending)" in run.baselines


def test_importance_names_every_column_of_documents(run):
    importance = json.loads((run.path / "importance.json").read_text())
    assert sorted(column["name"] for column in importance["columns"]) == ["age", "price"]  # price once, of two inputs
    assert importance["columns"][0]["name"] == "age"


def test_saved_model_scores_raw_rows_as_the_run_does(run):
    data = rows(9, 3)
    model = load_model(run.path)
    scores = model.predict_rows(data)
    np.testing.assert_allclose(scores, run.predict(data), rtol=1e-5)
    order = np.random.default_rng(0).permutation(len(scores))  # rows of a query need not be adjacent
    shuffled = {name: [cells[i] for i in order] for name, cells in data.items()}
    np.testing.assert_allclose(model.predict_rows(shuffled, batch_size=5), scores[order], rtol=1e-4, atol=1e-6)


def test_scores_depend_on_the_documents_that_the_model_sees(run):
    data = rows(1, 4)
    model = load_model(run.path)
    whole = model.predict_rows(data, logits=True)
    part = model.predict_rows({name: cells[:2] for name, cells in data.items()}, logits=True)
    assert np.abs(whole[:2] - part).max() > 1e-3


def test_boosted_trees_read_dates_and_values_within_the_query(run):
    config = load_config(CONFIG, data={"train": rows(30, 0), "validation": rows(20, 1)})
    data = FeatureExperiment.prepare(config)
    values, categories = _columns(data, "validation")
    assert values.shape == (data.queries["validation"].rows, 1 + 2 + 1 + 1)
    assert categories == []

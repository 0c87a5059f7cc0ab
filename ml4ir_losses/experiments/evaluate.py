"""Evaluating a run on new data, predicting with it, and checking a config without training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml4ir_losses.config.load import AnyConfig, load_config
from ml4ir_losses.config.text_schema import TextConfig
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.files import write_csv
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.batching import BatchPlan, Truncation
from ml4ir_losses.data.queries import check_gains, make_queries
from ml4ir_losses.data.readers import ENDINGS, read_table
from ml4ir_losses.data.table import Table
from ml4ir_losses.evaluation.scoring import PREDICTION_HEADER, prediction_rows, query_metrics, score_queries
from ml4ir_losses.model.loading import load_model


def open_run(run: str | Path) -> tuple[AnyConfig, Any]:
    """The config and the model of a run folder.

    Raises:
        UserError: when the folder is not that of a finished run.
    """
    path = Path(run)
    if not (path / "config.yaml").is_file() or not (path / "model.keras").is_file():
        raise UserError(f"{path}: is not a run folder; it needs config.yaml and model.keras.")
    return load_config(path / "config.yaml"), load_model(path)


def read_data(config: AnyConfig, data: str) -> Table:
    """A file in the format of the config; a file with an ending also for a run on the synthetic data."""
    if config.data.format == "synthetic" and Path(data.lower().removesuffix(".gz")).suffix in ENDINGS:
        return read_table(data)
    return read_table(data, config.data.format, **config.data.options)


def evaluate(run: str | Path, data: str) -> dict[str, float]:
    """The metrics of a run on a file with labels; of texts also on the run's own `retrieval` or `reranking`.

    Raises:
        UserError, DataError: for a folder that is no run, or data that cannot be used.
    """
    config, model = open_run(run)
    if isinstance(config, TextConfig):
        from ml4ir_losses.experiments.text_commands import evaluate_collection, evaluate_texts

        if data in ("retrieval", "reranking"):
            return evaluate_collection(config, model, data)
        return evaluate_texts(config, model, read_data(config, data))
    queries = make_queries(read_data(config, data), config, model.fitted, losses=False)
    check_gains({"data": queries}, config)
    plan = BatchPlan(queries, config.data.batch_size, truncation=Truncation(config.data.max_list_size))
    if report := plan.truncation.report(queries.sizes):
        LOGGER.warning("%s", report)
    logits = score_queries(model, plan).logits
    return query_metrics(config, plan, logits).means()


def predict(run: str | Path, data: str, output: str | Path) -> int:
    """Writes `query_id,document_id,label,logit,score,rank` of every document; the label column may be missing.

    Lists are not cut here. A run over pairs of texts writes `anchor,positive,cosine` and the probability of each class
    where it has classes. Returns the number of rows.

    Raises:
        UserError, DataError: for a folder that is no run, or data that cannot be used.
    """
    config, model = open_run(run)
    if isinstance(config, TextConfig):
        from ml4ir_losses.experiments.text_commands import predict_texts

        return predict_texts(config, model, read_data(config, data), output)
    queries = make_queries(read_data(config, data), config, model.fitted, labels_required=False, losses=False)
    scored = score_queries(model, BatchPlan(queries, config.data.batch_size))
    write_csv(output, PREDICTION_HEADER, prediction_rows(queries, scored, config.features.label))
    return queries.rows


def check(
    config: str | Path | Mapping[str, Any] | AnyConfig, *, overrides: Iterable[str] = (), seed: int | None = None
) -> dict[str, Any]:
    """Checks a config and its data without training: `{"parameters": n, "splits": {split: {...}}}`.

    Raises:
        ConfigError, DataError: one line for what is wrong.
    """
    from ml4ir_losses.experiments.train import prepare

    return prepare(load_config(config, overrides, seed)).summary()

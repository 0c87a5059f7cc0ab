"""Experiments on documents with features: splits, batches, labels, evaluation and baselines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np

from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.config.distribution import reads_own_files
from ml4ir_losses.config.in_memory import SPLITS
from ml4ir_losses.config.schema import Config
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.core.files import write_csv
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.batching import BatchPlan, EpochPlan, list_dataset
from ml4ir_losses.data.feeding import Feeding
from ml4ir_losses.data.findings import Finding
from ml4ir_losses.data.findings.base import listed
from ml4ir_losses.data.own_files import OwnFiles
from ml4ir_losses.data.queries import Queries, Roles, check_gains, make_queries
from ml4ir_losses.data.sharding import START, WHOLE, Position, Shard
from ml4ir_losses.data.streaming.plan import make_plan
from ml4ir_losses.data.streaming.reading import RowSource
from ml4ir_losses.data.streaming.store import QueryStore
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.evaluation.baselines import MAX_QUERIES, best_feature, judge_baselines
from ml4ir_losses.evaluation.scoring import (
    PREDICTION_HEADER,
    MetricSet,
    QueryMetrics,
    joined,
    lower_is_better,
    prediction_rows,
    query_metrics,
)
from ml4ir_losses.evaluation.tied_scores import Ties
from ml4ir_losses.experiments.feature_data import FeatureData, read_features, with_data
from ml4ir_losses.experiments.initial_model import copy_weights
from ml4ir_losses.experiments.ranking_model import build_from_inputs
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.features.fitting import UnknownValues, encode_rows
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.model.scoring import Scored, score_queries

_NAMED = 20  # queries of a batch in a message


@dataclass
class FeatureExperiment:
    """A config with its data read and its model built; everything is validated."""

    model_class: ClassVar[type[Any]] = RelevanceModel
    config: Config
    model: RelevanceModel
    queries: dict[str, Queries | QueryStore] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    documents_per_second: Mapping[str, float] = field(default_factory=dict)
    own_files: OwnFiles | None = None
    feeding: Feeding = field(default_factory=Feeding, repr=False)
    untrained: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, config: Config) -> FeatureData:
        """Reads every split and fits the features on the training split."""
        return read_features(config)

    @classmethod
    def reads(cls, config: Config) -> tuple[Any, ...]:
        """The data, the features, the roles of columns, and the model that the run starts from."""
        return (
            config.data.source,
            config.features,
            config.model.bias_inputs,
            Roles.of(config.features, config.model),
            config.training.initial_model,
        )

    @classmethod
    def prepare(cls, config: Config, data: FeatureData | None = None) -> Self:
        """Reads the data, checks the labels and builds the compiled model."""
        queries, inputs, sources, start, found, speeds, own_files = data or cls.read(config)
        check_gains(queries, config.features.label, config.model.metrics)
        steps = -(-len(queries["train"]) // config.data.batch_size) if own_files is None else len(own_files)
        model = build_from_inputs(config, inputs, steps)
        _check_labels(model, queries)
        if start is not None:
            initial = config.training.initial_model
            same_inputs = {i.name for i in config.features.inputs} == {i.name for i in start.all_fitted}
            advice = "model.architecture, model.position_bias and features.inputs"
            copy_weights(model, start, initial, "other inputs or layers", advice, fits=same_inputs)
            LOGGER.info("inputs, transforms and vocabularies are those of %s", initial)
        found = [finding for finding in found if finding.key not in config.data.accept]
        return cls(config, model, queries, sources, found, speeds, own_files)

    @classmethod
    def of_run(cls, config: Config, model: RelevanceModel) -> Self:
        """The experiment of a finished run, without its training data."""
        return cls(config, model)

    @property
    def metric_set(self) -> MetricSet:
        """The metrics of the config and the labels that they read."""
        return MetricSet(self.config.model.metrics, self.config.features.label, self.config.model.min_label)

    def plan(self, split: str, shard: Shard = WHOLE) -> EpochPlan:
        """The batches in which a split is trained on (train) or evaluated (the others), or a part of each."""
        data, training = self.config.data, split == "train"
        own = self.own_files if training else None
        if own is not None:
            shard = Shard(devices=shard.devices)
        return make_plan(
            self.queries[split],
            data.batch_size if own is None else own.own_size,
            truncation=Truncation(data.max_list_size, data.truncation if training else "first"),
            shuffle=training and data.shuffle,
            bucketing=training and data.bucketing,
            seed=self.config.training.seed,
            compiled_epochs=self.model.compiled_epochs(1 if split == "test" else self.config.training.epochs),
            shard=shard,
            incomplete_last=own is not None,
        )

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return len(self.plan("train") if self.own_files is None else self.own_files)

    @property
    def window_bytes(self) -> int | None:
        """The size of the windows of training queries on disk; None: all queries are in memory together."""
        data = self.queries["train"]
        return data.window_bytes if isinstance(data, QueryStore) and not data.fits_one_window else None

    def keep_windows(self, window_bytes: int | None) -> None:
        """Trains on windows of that size."""
        data = self.queries["train"]
        if isinstance(data, QueryStore) and window_bytes is not None:
            data.window_bytes = window_bytes
        elif self.window_bytes != window_bytes and not reads_own_files(self.config.training.distribution):
            before = "all in memory" if window_bytes is None else f"in windows of {window_bytes} bytes"
            raise ConfigError(f"data.memory: the training queries were {before}; give what it was then.")

    @property
    def evaluated(self) -> Sequence[str]:
        """Validation and test, if given."""
        return [split for split in SPLITS[1:] if split in self.queries]

    def begin(self) -> None:
        """Logs the sizes of the data and the model."""
        for split, data in self.queries.items():
            LOGGER.info("%s: %s queries, %s documents", split, f"{len(data):,}", f"{data.rows:,}")
            if report := self.plan(split).truncation.report(data.sizes):
                LOGGER.warning("%s: %s", split, report)
        for finding in self.findings:
            LOGGER.warning("%s", finding)
        LOGGER.info("model: %s, %s parameters", self.model.relevance_loss.key, f"{self.model.count_params():,}")

    def monitored(self) -> tuple[str, str]:
        """The configured monitor, by default the first validation metric; the loss without a validation split."""
        stop = self.config.training.early_stopping
        if not self.config.data.paths("validation"):
            return "loss", "min"
        monitor = (stop and stop.monitor) or f"val_{metric_name(self.config.model.metrics[0])}"
        return monitor, "min" if lower_is_better(monitor) else "max"

    def dataset(self, split: str, start: Position = START, shard: Shard = WHOLE) -> Any:
        """The batches of a split; None if it is not given."""
        if split not in self.queries:
            return None
        return list_dataset(self.plan(split, shard), self.feeding, start, self.own_files if split == "train" else None)

    def describe_batch(self, position: Position) -> str:
        """The ids of the queries of a training batch."""
        queries = next(islice(self.plan("train").order(position.epoch), position.batch, None))
        return f" (queries {listed(list(self.queries['train'].take(queries).ids), _NAMED)})"

    def callbacks(self) -> list[Any]:
        """None: Keras computes the metrics."""
        return []

    def evaluate_part(self, part: str, folder: RunFolder) -> dict[str, float]:
        """The metrics of a part; predictions and metrics per query are written for the last one."""
        values: list[QueryMetrics] = []
        ties = Ties(self.metric_set)

        def evaluated() -> Iterator[tuple[Queries, Scored]]:
            for window, scored in self.scored(self.plan(part)):
                values.append(query_metrics(self.metric_set, window, scored.logits))
                ties.add(window, scored.logits, values[-1])
                yield window.data, scored

        if part == self.evaluated[-1]:
            folder.write_csv("predictions.csv", PREDICTION_HEADER, self.prediction_rows(evaluated()))
            folder.write_csv("per_query.csv", ["query_id", *values[0].values], joined(values).rows())
        else:
            deque(evaluated(), maxlen=0)
        if note := ties.note():
            LOGGER.info("%s: %s", part, note)
        return joined(values).means()

    def judge(self, part: str) -> QueryMetrics:
        """The values per query on a part."""
        return self._query_metrics(self.plan(part))

    def scored(self, plan: EpochPlan) -> Iterator[tuple[BatchPlan, Scored]]:
        """The scores of all queries of a plan that is not shuffled, window by window."""
        for window in plan.windows():
            yield window, score_queries(self.model, window)

    def _query_metrics(self, plan: EpochPlan) -> QueryMetrics:
        return joined([query_metrics(self.metric_set, window, scored.logits) for window, scored in self.scored(plan)])

    def prediction_rows(self, parts: Iterable[tuple[Queries, Scored]]) -> Iterator[list[Any]]:
        """The cells of `PREDICTION_HEADER` of each document."""
        for queries, scored in parts:
            yield from prediction_rows(queries, scored, self.config.features.label)

    def baselines(self, part: str) -> dict[str, dict[str, float]]:
        """A random order, the order of the data, and the best single feature."""
        return {name: values.means() for name, values in self.judge_baselines(part).items()}

    def judge_baselines(self, part: str) -> dict[str, QueryMetrics]:
        """The values per query of each baseline, by name."""
        plan, train = self.plan(part), self.queries["train"]
        sample = train.take(np.arange(min(len(train), MAX_QUERIES)))
        feature = best_feature(self.metric_set, self.model.fitted, sample, plan.compiled_epochs)
        return judge_baselines(self.metric_set, plan, feature)

    def summary(self) -> dict[str, Any]:
        """Loss, sizes and splits."""
        splits = {}
        for split, queries in self.queries.items():
            dropped, _ = self.plan(split).truncation.dropped(queries.sizes)
            splits[split] = {
                "queries": len(queries),
                "documents": queries.rows,
                "shortest": int(queries.sizes.min()),
                "median": float(np.median(queries.sizes)),
                "longest": int(queries.sizes.max()),
                "dropped": dropped,
                "documents per second": round(self.documents_per_second[split]),
            }
        return {
            "name": self.config.name,
            "loss": self.model.relevance_loss.key,
            "parameters": self.model.count_params(),
            "features": sum(len(fitted.columns) for fitted in self.model.fitted),
            "splits": splits,
            "findings": [str(finding) for finding in self.findings],
        }

    def evaluate(self, data: Any) -> dict[str, float]:
        """The metrics on data with labels."""
        truncation = Truncation(self.config.data.max_list_size)

        def evaluate(blocks: Iterator[Table]) -> dict[str, float]:
            values, sizes = [], []
            for queries in self.encoded(blocks):
                check_gains({"data": queries}, self.config.features.label, self.config.model.metrics)
                plan = self.plan_once(queries, truncation)
                values.append(query_metrics(self.metric_set, plan, score_queries(self.model, plan).logits))
                sizes.append(queries.sizes)
            if report := truncation.report(np.concatenate(sizes)):
                LOGGER.warning("%s", report)
            return joined(values).means()

        means: dict[str, float] = with_data(self.config, data, evaluate)
        return means

    def predict(self, data: Any, output: str | Path) -> int:
        """Writes the scores and ranks of all documents, of whole lists; the label column may be missing."""
        return self.write_predictions(data, partial(write_csv, output, PREDICTION_HEADER))

    def write_predictions(self, data: Any, write: Callable[[Iterator[list[Any]]], object]) -> int:
        """Calls `write` with the cells of `PREDICTION_HEADER` of each document, and returns their number."""

        def predict(blocks: Iterator[Table]) -> int:
            documents = 0

            def scored() -> Iterator[tuple[Queries, Scored]]:
                nonlocal documents
                for queries in self.encoded(blocks, labels_required=False):
                    documents += queries.rows
                    yield queries, score_queries(self.model, self.plan_once(queries))

            write(self.prediction_rows(scored()))
            return documents

        rows: int = with_data(self.config, data, predict)
        return rows

    def plan_once(self, queries: Queries, truncation: Truncation | None = None) -> BatchPlan:
        """The batches in which queries are scored once."""
        size, compiled_epochs = self.config.data.batch_size, self.model.compiled_epochs()
        return BatchPlan(queries, size, truncation=truncation, compiled_epochs=compiled_epochs)

    def predict_rows(self, data: Any) -> Array:
        """The activated score of each row."""
        return self.model.predict_rows(self.table(data), batch_size=self.config.data.batch_size)

    def table(self, data: Any) -> Table:
        """The rows of a file or of data in memory."""
        section = self.config.data
        return RowSource.of(data, section.format, section.options, self.config.features.list_columns).table()

    def encoded(self, blocks: Iterable[Table], labels_required: bool = True) -> Iterator[Queries]:
        """The queries of tables of whole queries, with the columns that metrics read."""
        roles = Roles.of(self.config.features, self.config.model).for_metrics()
        unknown = UnknownValues(self.model.fitted)
        for table in blocks:
            roles.check_columns(table, labels_required)
            unknown.add(table)
            yield make_queries(table, roles, encode_rows(self.model.fitted, table), labels_required=labels_required)
        unknown.tell()


def _check_labels(model: RelevanceModel, queries: Mapping[str, Queries | QueryStore]) -> None:
    """Raises `DataError` for invalid label values, which are symbolic and cannot be checked inside `fit`."""
    # Symbolic: JAX would compile every operation of a call.
    inputs = keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, str(x.dtype)), model.example())
    outputs = model.compute_output_spec(inputs)
    width = outputs["outputs"].shape[2:] if "outputs" in outputs else ()
    for loss, label, *_ in model.tasks.values():
        for split, data in queries.items():
            if split != "test":
                try:
                    for values in data.label_values(label):
                        loss.check_labels(values, (None, None, *width))
                except UserError as error:
                    raise DataError(f"{data.source} ({split}), column {label!r}: {error}") from None

"""Experiments on texts: data sets, tokens, targets, evaluators and baselines of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.text_checks import batching_of, loss_of, retrieval_metrics
from ml4ir_losses.config.text_schema import TextConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.core.files import write_csv
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.feeding import Feeding
from ml4ir_losses.data.findings import Finding
from ml4ir_losses.data.findings.texts import shared_rows
from ml4ir_losses.data.nested import unnest
from ml4ir_losses.data.readers import read_data
from ml4ir_losses.data.sharding import START, WHOLE, Position, Shard
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.texts.batches import MixedFeed, TextFeed
from ml4ir_losses.data.texts.feeds import Feed, TextBatch, text_dataset
from ml4ir_losses.data.texts.rows import TextPlan, TextRows, TokenRows, column_texts, make_rows
from ml4ir_losses.data.texts.sets import TextSet, check_pair_labels, class_numbers
from ml4ir_losses.evaluation.callback import EvaluationCallback
from ml4ir_losses.evaluation.evaluators import (
    Evaluator,
    RerankingEvaluator,
    RetrievalEvaluator,
)
from ml4ir_losses.evaluation.from_config import COLLECTION_EVALUATORS, pair_evaluators
from ml4ir_losses.evaluation.scoring import QueryMetrics
from ml4ir_losses.evaluation.sparsity import evaluate, evaluate_by_query
from ml4ir_losses.experiments.run_folder import RunFolder
from ml4ir_losses.experiments.text_preparation import TextData, build_model, load_optional, read_sets
from ml4ir_losses.metrics.retrieval import metric_label
from ml4ir_losses.model.embedding_model import TASK, EmbeddingModel, cosines
from ml4ir_losses.model.towers import column_names

_NAMED = 10  # rows of a batch in a message


@dataclass
class TextExperiment:
    """A text config with its data read and its model built; everything is validated."""

    model_class: ClassVar[type[Any]] = EmbeddingModel
    config: TextConfig
    model: EmbeddingModel
    sets: dict[str, TextSet] = field(default_factory=dict)
    teacher: Any = None
    untrained: dict[str, dict[str, float]] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    feeding: Feeding = field(default_factory=Feeding, repr=False)

    @classmethod
    def read(cls, config: TextConfig) -> TextData:
        """Reads every data set."""
        return read_sets(config)

    @classmethod
    def reads(cls, config: TextConfig) -> tuple[Any, ...]:
        """The data, and the losses, which read labels in their own way."""
        return config.data, config.model.loss

    @classmethod
    def prepare(cls, config: TextConfig, data: TextData | None = None) -> Self:
        """Reads the data, fits the tokenizer on the training texts and builds the compiled model."""
        sets, sources = data or cls.read(config)
        for text_set in sets.values():
            check_pair_labels(text_set)
        teacher = load_optional(config.data.teacher_run, "data.teacher")
        experiment = cls(config, build_model(config, sets), sets, teacher, sources=sources)
        experiment._check_batches()
        experiment.evaluators  # noqa: B018  reports invalid evaluation files before training
        return experiment

    @classmethod
    def of_run(cls, config: TextConfig, model: EmbeddingModel) -> Self:
        """The experiment of a finished run, without its training data."""
        return cls(config, model)

    @cached_property
    def findings(self) -> list[Finding]:
        """What is wrong with the data."""
        found = [f for name, one in self.sets.items() for f in shared_rows(one.rows, self._of(name))]
        return [finding for finding in found if finding.key not in self.config.data.accept]

    def _of(self, name: str) -> str:
        """What names a data set in messages, if there are several."""
        return f" of {name}" if len(self.sets) > 1 else ""

    @cached_property
    def evaluators(self) -> dict[str, dict[str, Evaluator]]:
        """The evaluators of every part, by name."""
        by_part: dict[str, dict[str, Evaluator]] = {"validation": {}, "test": {}}
        for split, evaluators in by_part.items():
            for name, text_set in self.sets.items():
                if split in text_set.rows:
                    prefix = f"{name}_" if len(self.sets) > 1 else ""
                    named = self.evaluators_of(text_set, text_set.rows[split])
                    evaluators.update({prefix + key: evaluator for key, evaluator in named.items()})
        for part, make in COLLECTION_EVALUATORS.items():
            if getattr(self.config.data, part) is not None:
                by_part[part] = {"": make(self.config.data)}
        return {part: evaluators for part, evaluators in by_part.items() if evaluators}

    def evaluators_of(self, text_set: TextSet, rows: TextRows) -> dict[str, Evaluator]:
        """The evaluators that fit the columns of validation, test or other rows, by name."""
        return pair_evaluators(self.config.evaluators, text_set, rows)

    @property
    def window_bytes(self) -> None:
        """None: texts are in memory."""

    def keep_windows(self, window_bytes: int | None) -> None:
        """Nothing: there are no windows."""

    @property
    def evaluated(self) -> Sequence[str]:
        """The parts on which the trained model is evaluated."""
        return list(self.evaluators)

    @cached_property
    def feeds(self) -> dict[str, dict[str, Any]]:
        """The batches of every data set, for training and for the loss on the validation rows."""
        feeds: dict[str, dict[str, Any]] = {"train": {}, "validation": {}}
        for split, by_name in feeds.items():
            for name, text_set in self.sets.items():
                if split in text_set.rows:
                    by_name[name] = self._feed(text_set, split)
        return feeds

    def _feed(self, text_set: TextSet, split: str) -> Any:
        training, rows = split == "train", text_set.rows[split]
        plan = TextPlan(
            rows,
            text_set.batching,
            text_set.config.batch_size or 1,
            shuffle=training and self.config.data.shuffle,
            seed=self.config.training.seed,
            min_rows=2 if text_set.loss.in_batch else 1,
        )
        tokens = [TokenRows.of(texts, self.model.tokenizer.ids) for texts in rows.texts]
        names = column_names(text_set.columns)
        multiple = 32 if keras.backend.backend() == "jax" or self.config.training.jit_compile is True else 1
        return TextFeed(plan, tokens, self._target(text_set, rows, tokens), names, multiple)

    def _target(self, text_set: TextSet, rows: TextRows, tokens: list[TokenRows]) -> Callable[[Array], Array]:
        """The function from row numbers to the y_true of the loss."""
        loss = text_set.loss
        if loss.labels == "token":
            return tokens[0].padded
        if loss.labels == "teacher":
            values = rows.teacher if rows.teacher is not None else self._teacher_embeddings(loss, rows)
            return lambda batch: values[batch]
        if loss.labels == "none" or text_set.batching.makes_pairs or rows.labels is None:
            return lambda batch: np.ones(len(batch), "float32")
        labels = class_numbers(text_set, rows) if loss.reads_classes else rows.numbers()
        return lambda batch: labels[batch]

    def _teacher_embeddings(self, loss: Any, rows: TextRows) -> Array:
        """The teacher's embeddings: of the first column, or of all of them for a guide."""
        columns = rows.texts[:1] if loss.teacher_embeddings == "first" else rows.texts
        names = column_names(len(rows.texts))
        embedded = [self.teacher.encode(texts, name) for texts, name in zip(columns, names, strict=False)]
        stacked: Array = embedded[0] if loss.teacher_embeddings == "first" else np.stack(embedded, axis=1)
        return stacked

    @property
    def steps(self) -> int:
        """Estimated batches per epoch; batches without duplicate texts may be more."""
        return sum(feed.plan.steps for feed in self.feeds["train"].values())

    def dataset(self, split: str, start: Position = START, shard: Shard = WHOLE) -> Any:
        """The batches of a split; None if it is not given."""
        return text_dataset(self._whole_feed(split), self.feeding, start, shard) if self.feeds[split] else None

    def _whole_feed(self, split: str) -> Feed:
        """The batches of all data sets of a split."""
        feeds = self.feeds[split]
        if len(self.sets) == 1:
            feed: Feed = next(iter(feeds.values()))
            return feed
        examples = {name: self._first_batch(name) for name in self.feeds["train"]}
        return MixedFeed(feeds, examples, self.config.data.sampling, self.config.training.seed, TASK)

    def begin(self) -> None:
        """Logs the sizes of the data and the model, and evaluates the untrained model, unless its metrics are known."""
        for name, text_set in self.sets.items():
            for split, rows in text_set.rows.items():
                LOGGER.info(
                    "%s%s: %s rows of %s", split, self._of(name), f"{len(rows):,}", ", ".join(text_set.config.texts)
                )
        for finding in self.findings:
            LOGGER.warning("%s", finding)
        losses = ", ".join(dict.fromkeys(text_set.loss.key for text_set in self.sets.values()))
        LOGGER.info("model: %s, %s parameters", losses, f"{self.model.count_params():,}")
        if self.evaluated and not self.untrained:
            self.untrained = {self.evaluated[-1]: _values(self.evaluators[self.evaluated[-1]], self.model)}

    def describe_batch(self, position: Position) -> str:
        """Where the rows of a training batch are."""
        draw: Any = next(islice(self._whole_feed("train").draws(position.epoch), position.batch, None))
        name, drawn = draw if len(self.sets) > 1 else (next(iter(self.sets)), draw)
        numbers = drawn[0] if isinstance(drawn, tuple) else drawn  # of pairs and lists, too
        places = [self.feeds["train"][name].plan.rows.locate(int(number)) for number in numbers[:_NAMED]]
        more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
        return f" ({'; '.join(places)}{more})"

    def callbacks(self) -> list[Any]:
        """The callback that evaluates after every epoch."""
        evaluators = dict(self.evaluators.get("validation", {}))
        for part in COLLECTION_EVALUATORS:
            settings = getattr(self.config.data, part)
            if settings is not None and settings.during_training:
                evaluators[part] = self.evaluators[part][""]
        return [EvaluationCallback(evaluators)] if evaluators else []

    def monitored(self) -> tuple[str, str]:
        """What early stopping says; else the loss on the validation rows, or in training."""
        stop = self.config.training.early_stopping
        if stop is not None and stop.monitor:
            return stop.monitor, "min" if stop.monitor in ("loss", "val_loss") else "max"
        data = self.config.data
        if data.retrieval is not None and data.retrieval.during_training:
            metric, topn = retrieval_metrics(data.retrieval.metrics)[0]
            return f"val_retrieval_{metric_label(metric, topn)}", "max"
        if data.reranking is not None and data.reranking.during_training:
            return "val_reranking_ndcg_10", "max"
        return ("val_loss" if self.feeds["validation"] else "loss"), "min"

    def evaluate_part(self, part: str, folder: RunFolder) -> dict[str, float]:
        """The values of a part's evaluators; where rows are queries, also one by one in `per_query.csv`."""
        evaluators = dict(self.evaluators[part])
        evaluator = evaluators.get("")
        if isinstance(evaluator, (RetrievalEvaluator, RerankingEvaluator)) and part == self.evaluated[-1]:
            del evaluators[""]
            judged, sparsity = evaluate_by_query(evaluator, self.model)
            folder.write_csv("per_query.csv", ["query_id", *judged.values], judged.rows())
            return judged.means() | sparsity | _values(evaluators, self.model)
        return _values(evaluators, self.model)

    def judge(self, part: str) -> QueryMetrics:
        """The values per query of retrieval, reranking or the ranking of a cross-encoder."""
        evaluator = self.evaluators[part].get("")
        if not isinstance(evaluator, (RetrievalEvaluator, RerankingEvaluator)):
            raise UserError(f"{part}: it has no values per query; data.retrieval or data.reranking has.")
        return evaluate_by_query(evaluator, self.model)[0]

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """The untrained model; for a corpus also BM25, where `bm25s` is installed."""
        found = {"untrained": self.untrained[split]} if split in self.untrained else {}
        evaluator = self.evaluators[split].get("")
        if isinstance(evaluator, RetrievalEvaluator):
            from ml4ir_losses.evaluation.bm25 import bm25_rankings

            depth = max(topn or len(evaluator.corpus) for _, topn in evaluator.metrics)
            rankings = bm25_rankings(evaluator.corpus, evaluator.queries, depth)
            if rankings is not None:
                found["bm25"] = evaluator.evaluate(rankings)
        return found

    def summary(self) -> dict[str, Any]:
        """Loss, sizes and splits."""
        rows = {
            split if len(self.sets) == 1 else f"{name} {split}": {"rows": len(texts), **self._lengths(texts)}
            for name, text_set in self.sets.items()
            for split, texts in text_set.rows.items()
        }
        losses = ", ".join(dict.fromkeys(text_set.loss.key for text_set in self.sets.values()))
        return {
            "name": self.config.name,
            "loss": losses,
            "parameters": self.model.count_params(),
            "vocabulary": self.model.tokenizer.vocabulary_size,
            "splits": rows,
            "findings": [str(finding) for finding in self.findings],
        }

    def _lengths(self, rows: TextRows) -> dict[str, float]:
        sizes = [len(self.model.tokenizer.ids(text)) for column in rows.texts for text in column[:10_000]]
        return {"shortest": min(sizes), "median": float(np.median(sizes)), "longest": max(sizes)}

    def evaluate(self, data: Any) -> dict[str, float]:
        """The values of the evaluators that fit the columns, or those of the run's `retrieval` or `reranking`."""
        return _values(self.evaluators_for(data), self.model)

    def evaluators_for(self, data: Any) -> dict[str, Evaluator]:
        """The evaluators of new data that fit the columns, or that of the run's `retrieval` or `reranking`, by name.

        Raises:
            ConfigError: for a part that the config does not have.
            UserError, DataError: for data that cannot be used.
        """
        if isinstance(data, str) and data in COLLECTION_EVALUATORS:
            if getattr(self.config.data, data) is None:
                raise ConfigError(f"data.{data}: is not given in the run's config.")
            return {"": COLLECTION_EVALUATORS[data](self.config.data)}
        table, (_, text_set) = self._read(data), self.config.data.only_set()
        loss = loss_of(self.config.model, text_set)
        rows = make_rows(table, text_set)
        evaluators = self.evaluators_of(TextSet(text_set, loss, batching_of(text_set, loss), {"train": rows}), rows)
        if not evaluators:
            raise UserError(
                f"{table.source}: the columns of this run have nothing to evaluate by; they lack a label or a negative."
            )
        return evaluators

    def predict(self, data: Any, output: str | Path) -> int:
        """Writes a row per pair: its texts, its score, and for a classifier the probability of each class."""
        first, second, columns = self._score_pairs(data)
        roles = self.config.data.only_set()[1].texts[:2]
        write_csv(output, [*roles, *columns], zip(first, second, *columns.values(), strict=True))
        return len(first)

    def predict_rows(self, data: Any) -> Array:
        """The score of each pair; [rows, K], the probability of each class, for a classifier."""
        _, _, columns = self._score_pairs(data)
        classes = [values for name, values in columns.items() if name.startswith("class_")]
        return np.stack(classes, axis=1) if classes else next(iter(columns.values()))

    def _score_pairs(self, data: Any) -> tuple[list[str], list[str], dict[str, Array]]:
        """Anchors, documents, and the columns of scores, the most important one first."""
        table, (name, text_set) = unnest(self._read(data)), self.config.data.only_set()
        if not {"anchor", "positive"} <= set(text_set.columns):
            raise UserError("predict scores pairs: this run has one column of texts. Use encode.")
        first, second = (
            column_texts(table, text_set.columns[role], f"data.columns.{role}") for role in ("anchor", "positive")
        )
        pair = self.model.encode_pairs(first, second)
        columns: dict[str, Array] = {"cosine": cosines(pair)}
        head = self.model.heads.get(name)
        if head is not None and self.model.relevance_losses[name].head == "pair":
            scores = np.asarray(ops.convert_to_numpy(ops.softmax(head(pair), axis=-1)))
            columns |= {f"class_{label}": scores[:, k] for k, label in enumerate(self.model.tasks[name].classes)}
        return first, second, columns

    def _read(self, data: Any) -> Table:
        return read_data(data, self.config.data.format, self.config.data.options)

    def _first_batch(self, name: str) -> TextBatch:
        """The first training batch of a data set; `DataError` if there is none."""
        feed, text_set = self.feeds["train"][name], self.sets[name]
        first: TextBatch | None = next(feed.batches(), None)
        if first is None:
            raise DataError(
                f"{text_set.rows['train'].source}: {text_set.loss.key!r} needs at least two rows without a common text."
            )
        return first

    def _check_batches(self) -> None:
        """Raises `ConfigError` or `DataError` for a first batch that the loss rejects."""
        for name, text_set in self.sets.items():
            model, few = self.model, slice(0, 4)
            x, target, *_ = self._first_batch(name)
            x, target = {column: ids[few] for column, ids in x.items()}, target[few]
            try:
                text_set.loss.check_shapes(target.shape, model.output(name, model(x)["embedding"], target, False).shape)
            except UserError as error:
                where = "columns.teacher" if "teacher" in text_set.config.columns else "loss"
                raise ConfigError(f"{where}: {error}") from None


def _values(evaluators: Mapping[str, Evaluator], model: EmbeddingModel) -> dict[str, float]:
    """The values of all evaluators, prefixed by the evaluator names."""
    return {
        f"{name}_{metric}" if name else metric: value
        for name, evaluator in evaluators.items()
        for metric, value in evaluate(evaluator, model).items()
    }

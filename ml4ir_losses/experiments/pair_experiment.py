"""Experiments on texts with a cross-encoder, which reads a query and a document together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import keras
import numpy as np

from ml4ir_losses.config.text_schema import TextConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.nested import unnest
from ml4ir_losses.data.table import ranks_in_queries
from ml4ir_losses.data.texts.in_batch import InBatchNegatives
from ml4ir_losses.data.texts.list_batches import ListFeed
from ml4ir_losses.data.texts.lists import make_lists
from ml4ir_losses.data.texts.rows import TextPlan, TextRows, column_texts
from ml4ir_losses.data.texts.sets import TextSet
from ml4ir_losses.evaluation.evaluators import Evaluator
from ml4ir_losses.evaluation.from_config import list_evaluators
from ml4ir_losses.experiments.pair_preparation import build_cross_encoder
from ml4ir_losses.experiments.text_experiment import TextExperiment
from ml4ir_losses.experiments.text_preparation import TextData
from ml4ir_losses.model.cross_encoder import TextCrossEncoder


@dataclass
class PairExperiment(TextExperiment):
    """A text config of a cross-encoder with its data read and its model built; everything is validated."""

    model_class: ClassVar[type[Any]] = TextCrossEncoder
    model: TextCrossEncoder

    @classmethod
    def prepare(cls, config: TextConfig, data: TextData | None = None) -> Self:
        """Reads the data, fits the tokenizer on the training texts and builds the compiled model."""
        sets, sources = data or cls.read(config)
        text_set = sets["main"]
        experiment = cls(config, build_cross_encoder(config, text_set), sets, sources=sources)
        experiment._first_batch("main")
        experiment._check_labels(text_set)
        experiment.evaluators  # noqa: B018  reports invalid evaluation files before training
        return experiment

    def _check_labels(self, text_set: TextSet) -> None:
        """Raises `DataError` for labels that the loss does not allow; `fit` cannot check the values of tensors."""
        classes = self.model(self.model.example()).get("outputs", np.zeros((1, 1))).shape[2:]
        for split in ("train", "validation"):
            if split in text_set.rows:
                lists, rows = self.feeds[split]["main"].lists, text_set.rows[split]
                try:
                    self.model.relevance_loss.check_labels(lists.labels, (None, None, *classes))
                except UserError as error:
                    raise DataError(f"{rows.source} ({split}), labels: {error}") from None

    def _feed(self, text_set: TextSet, split: str) -> ListFeed:
        return self._list_feed(text_set, text_set.rows[split], training=split == "train")

    def _list_feed(self, text_set: TextSet, rows: TextRows, training: bool = False) -> ListFeed:
        lists, loss, seed = make_lists(text_set, rows), text_set.loss, self.config.training.seed
        draws = text_set.config.draws_negatives(loss)
        static = keras.backend.backend() == "jax"  # which compiles every new shape
        plan = TextPlan(
            lists.rows,
            text_set.batching,
            text_set.config.batch_size or 1,
            shuffle=training and self.config.data.shuffle,
            seed=seed,
            min_rows=2 if draws else 1,
        )
        return ListFeed(
            lists,
            plan,
            self.model.tokenizer,
            InBatchNegatives(lists, loss.params["num_negatives"]) if draws else None,
            seed=seed if loss.seed is None else loss.seed,
            redraw=training,
            multiple=32 if static else 1,
            width_steps=4 if static and text_set.config.grouped else None,
        )

    def evaluators_of(self, text_set: TextSet, rows: TextRows) -> dict[str, Evaluator]:
        """The evaluators of each query's documents, drawn negatives included, and of labelled pairs."""
        columns, feed = text_set.config, self._list_feed(text_set, rows)
        lists, (query, document, relevance) = feed.lists, feed.pairs()
        single = columns.labelled and len(columns.texts) == 2
        classified = text_set.loss.predicts_classes and not columns.grouped
        return list_evaluators(
            self.config.evaluators,
            [lists.queries[q] for q in query],
            [lists.documents[d] for d in document],
            None if classified else relevance,
            None if single else query,
            pairs=single and not columns.grouped and not classified,
            classes=[(rows.labels or [])[q] for q in query] if classified and single else None,
        )

    def monitored(self) -> tuple[str, str]:
        """As for other texts; without other settings, the ranking of the validation documents."""
        stop = self.config.training.early_stopping
        if "" in self.evaluators.get("validation", {}) and not (stop and stop.monitor):
            return "val_ndcg_10", "max"
        return super().monitored()

    def _score_pairs(self, data: Any) -> tuple[list[str], list[str], dict[str, Array]]:
        table, (_, columns) = unnest(self._read(data)), self.config.data.only_set()
        first, second = (column_texts(table, columns.columns[r], f"data.columns.{r}") for r in columns.texts[:2])
        logits = self.model.score_pairs(first, second)
        scores: dict[str, Array] = {"logit": logits, "rank": ranks_in_queries(logits, first)}
        if self.model.relevance_loss.predicts_classes:
            shares = self.model.class_probabilities(first, second)
            scores |= {f"class_{name}": share for name, share in zip(self.model.classes, shares.T, strict=False)}
        return first, second, scores

    def _lengths(self, rows: TextRows) -> dict[str, float]:
        first, *others = (column[:10_000] for column in rows.texts)
        sizes = np.concatenate([np.count_nonzero(self.model.tokenizer.padded(first, o), axis=1) for o in others])
        return {"shortest": int(sizes.min()), "median": float(np.median(sizes)), "longest": int(sizes.max())}

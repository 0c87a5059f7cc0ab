"""Text data sets of a run: config, loss, rows and classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from ml4ir_losses.config.text_schema import DatasetConfig, TextTask
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.batchings.base import Batching
from ml4ir_losses.data.texts.rows import TextRows


@dataclass
class TextSet:
    """One data set: its config, its loss, the batching of its training rows, its rows by split."""

    config: DatasetConfig
    loss: Any
    batching: Batching
    rows: dict[str, TextRows]

    @cached_property
    def classes(self) -> list[str]:
        """The class labels of the training rows, sorted (numbers by value); empty unless the loss predicts classes."""
        if not self.loss.reads_classes:
            return []
        names = set(self.rows["train"].labels or ())
        try:
            return sorted(names, key=float)
        except ValueError:
            return sorted(names)

    @property
    def columns(self) -> int:
        """Number of text columns that the model reads."""
        return 2 if self.batching.makes_pairs else len(self.config.texts)

    @property
    def task(self) -> TextTask:
        """The loss, number of columns and classes for which the model is built."""
        return TextTask(loss=self.loss.get_config(), columns=self.columns, classes=self.classes)


def training_documents(sets: Iterable[TextSet]) -> list[str]:
    """The distinct training documents: an unlabelled anchor and its positive joined, every other text on its own."""
    texts: list[str] = []
    for text_set in sets:
        rows = text_set.rows["train"]
        pairs = 2 if len(rows.texts) > 1 and rows.labels is None and not text_set.batching.makes_pairs else 1
        texts += map(" ".join, zip(*rows.texts[:pairs], strict=True))
        texts += chain.from_iterable(rows.texts[pairs:])
    return list(dict.fromkeys(texts))


def class_numbers(text_set: TextSet, rows: TextRows) -> Array:
    """The number of each row's class.

    Raises:
        DataError: for a class that the training rows do not have.
    """
    index = {name: float(number) for number, name in enumerate(text_set.classes)}
    unknown = next((row for row, label in enumerate(rows.labels or ()) if label not in index), None)
    if unknown is None:
        return np.array([index[label] for label in rows.labels or ()], dtype="float32")
    if text_set.loss.predicts_classes:
        raise DataError(
            f"{rows.locate(unknown)}: the class {(rows.labels or [''])[unknown]!r} is not among those of training."
        )
    _, numbers = np.unique(np.array(rows.labels), return_inverse=True)
    return numbers.astype("float32")


def check_pair_labels(text_set: TextSet) -> None:
    """Raises `DataError` for labels that the loss does not allow; `fit` cannot check the values of tensors."""
    loss = text_set.loss
    if text_set.batching.makes_pairs or loss.labels not in ("binary", "share", "number", "class"):
        return
    for split, rows in text_set.rows.items():
        if loss.head == "pair" and len(text_set.classes) > loss.params["num_labels"]:
            raise DataError(
                f"{rows.source}: {len(text_set.classes)} classes ({', '.join(text_set.classes[:5])}, ...), "
                f"and num_labels is {loss.params['num_labels']}."
            )
        if loss.labels != "class" and split != "test":
            try:
                text_set.loss.check_labels(rows.numbers(), (None, None, None))
            except UserError as error:
                raise DataError(
                    f"{rows.source} ({split}), column {text_set.config.columns['label']!r}: {error}"
                ) from None

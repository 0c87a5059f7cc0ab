"""Data sets of texts as a run reads them: rows, classes, and the evaluators that their columns allow."""

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
from ml4ir_losses.data.texts import TextRows


@dataclass
class TextSet:
    """One data set: its config, its loss, the batching of its training rows, its rows by split."""

    config: DatasetConfig
    loss: Any
    batching: Batching
    rows: dict[str, TextRows]

    @cached_property
    def classes(self) -> list[str]:
        """The labels of the training rows in order, numbers by size, for losses of classes."""
        if self.loss.labels != "class":
            return []
        names = set(self.rows["train"].labels or ())
        try:
            return sorted(names, key=float)
        except ValueError:
            return sorted(names)

    @property
    def columns(self) -> int:
        """Columns of texts that the model sees."""
        return 2 if self.batching.makes_pairs else len(self.config.texts)

    @property
    def task(self) -> TextTask:
        """What the model must know."""
        return TextTask(loss=self.loss.get_config(), columns=self.columns, classes=self.classes)


def documents(sets: Iterable[TextSet]) -> list[str]:
    """The distinct documents of the training rows: an anchor with its positive; alone, what a label may tell apart."""
    found: list[str] = []
    for one in sets:
        rows = one.rows["train"]
        pairs = 2 if len(rows.texts) > 1 and rows.labels is None and not one.batching.makes_pairs else 1
        found += map(" ".join, zip(*rows.texts[:pairs], strict=True))
        found += chain.from_iterable(rows.texts[pairs:])
    return list(dict.fromkeys(found))


def class_numbers(one: TextSet, rows: TextRows) -> Array:
    """The number of each row's class.

    Raises:
        DataError: for a class that the training rows do not have.
    """
    index = {name: float(number) for number, name in enumerate(one.classes)}
    unknown = next((row for row, label in enumerate(rows.labels or ()) if label not in index), None)
    if unknown is None:
        return np.array([index[label] for label in rows.labels or ()], dtype="float32")
    if one.loss.head:
        raise DataError(
            f"{rows.locate(unknown)}: the class {(rows.labels or [''])[unknown]!r} is not among those of training."
        )
    _, numbers = np.unique(np.array(rows.labels), return_inverse=True)
    return numbers.astype("float32")


def check_pair_labels(one: TextSet) -> None:
    """Raises `DataError` for labels that the loss does not take: inside `fit` their values are not seen."""
    loss = one.loss
    if one.batching.makes_pairs or loss.labels not in ("binary", "share", "number", "class"):
        return
    for split, rows in one.rows.items():
        if loss.head == "pair" and len(one.classes) > loss.params["num_labels"]:
            raise DataError(
                f"{rows.source}: {len(one.classes)} classes ({', '.join(one.classes[:5])}, ...), and num_labels is "
                f"{loss.params['num_labels']}."
            )
        if loss.labels != "class" and split != "test":
            try:
                one.loss.check_labels(rows.numbers(), (None, None, None))
            except UserError as error:
                raise DataError(f"{rows.source} ({split}), column {one.config.columns['label']!r}: {error}") from None

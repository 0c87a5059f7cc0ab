"""Queries with their documents as texts, for cross-encoders, from rows of text columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ml4ir_losses.config.list_checks import label_counts
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.table import group_by_query
from ml4ir_losses.data.texts.rows import TextRows
from ml4ir_losses.data.texts.sets import TextSet, class_numbers


@dataclass
class TextLists:
    """Queries with their documents: query q has the documents offsets[q] to offsets[q + 1].

    Attributes:
        rows: one row per query, for the batching.
        documents: strings [D].
        labels: numbers [D].
        relevance: grades [D] for evaluation: the labels, or 1 for the positive of a row and 0 for its negatives.
        offsets: [Q + 1].
        weight: of the queries [Q], or of the documents [D], or None.
    """

    rows: TextRows
    documents: list[str]
    labels: Array
    relevance: Array
    offsets: Array
    weight: Array | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def queries(self) -> list[str]:
        """Strings [Q]."""
        return self.rows.texts[0]

    @property
    def weighs_documents(self) -> bool:
        """True if there is a weight per document."""
        return self.weight is not None and len(self.weight) == len(self.documents) > len(self)

    def padded(self, batch: Array, width_steps: int | None = None) -> tuple[Array, Array]:
        """Document numbers [B, N] of the queries of a batch, and the mask [B, N]; N as in `padded_width`."""
        sizes = self.offsets[batch + 1] - self.offsets[batch]
        position = np.arange(padded_width(int(sizes.max(initial=1)), width_steps))[None, :]
        mask = position < sizes[:, None]
        return np.where(mask, self.offsets[batch][:, None] + position, 0), mask


def padded_width(longest: int, steps: int | None) -> int:
    """The smallest width 2^k · (1 + i / steps), i < steps, of at least `longest`; `longest` itself without `steps`."""
    if steps is None or longest == 1:
        return longest
    low: int = 2 ** ((longest - 1).bit_length() - 1)
    step = -(-low // steps)
    return min(low + -(-(longest - low) // step) * step, 2 * low)


def make_lists(text_set: TextSet, rows: TextRows) -> TextLists:
    """The lists of a data set's rows.

    A row with `positive` (and negatives) is a list of its own; with `document`, rows of equal anchor form a list.
    Without labels the positive has 1 and the negatives have 0. Labels that are margins, one less than documents, become
    scores that differ by these margins.

    Raises:
        DataError: for a label that is not a number, or a class that is not one of training.
    """
    labels = _labels(text_set, rows)
    if text_set.config.grouped:
        order, offsets = group_by_query(rows.texts[0])
        first = order[offsets[:-1]]
        one_per_query = replace(rows, texts=[[rows.texts[0][row] for row in first]], labels=None, teacher=None)
        weight = None if rows.weight is None else rows.weight[order]
        grades = labels[order, 0]
        return TextLists(one_per_query, [rows.texts[1][row] for row in order], grades, grades, offsets, weight)
    width = len(rows.texts) - 1
    documents = [text for row in zip(*rows.texts[1:], strict=True) for text in row]
    relevance = labels if width == 1 else _first_is_positive(rows)
    offsets = np.arange(len(rows) + 1) * width
    return TextLists(rows, documents, labels.reshape(-1), relevance.reshape(-1), offsets, rows.weight)


def _first_is_positive(rows: TextRows) -> Array:
    """1 for the positive and 0 for the negatives of each row, [rows, documents]."""
    return np.tile(np.eye(1, len(rows.texts) - 1, dtype="float32"), (len(rows), 1))


def _labels(text_set: TextSet, rows: TextRows) -> Array:
    """Numbers [rows, documents of a row]."""
    width = len(rows.texts) - 1
    if not text_set.config.labelled:
        return _first_is_positive(rows)
    if rows.teacher is None:
        values = class_numbers(text_set, rows) if text_set.loss.reads_classes else rows.numbers()
        values = values[:, None]
    else:
        values = rows.teacher
    allowed = label_counts(text_set.loss, width)
    if values.shape[1] not in allowed:
        raise DataError(
            f"{rows.source}: {text_set.loss.key!r} reads {' or '.join(map(str, allowed))} numbers for the documents "
            f"of a row. Received: {values.shape[1]}."
        )
    if values.shape[1] < width:
        values = np.concatenate([np.zeros_like(values[:, :1]), -values], axis=1)
    return values.astype("float32")

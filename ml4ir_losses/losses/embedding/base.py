"""`EmbeddingLossBase`: embedding losses, per row or over the batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.shapes import Shape, differ, show
from ml4ir_losses.losses.base import RelevanceLossBase
from ml4ir_losses.ops import as_float, safe_divide

_LABELS = {
    "none": "y_true with B rows, which are not read",
    "class": "y_true [B] class numbers",
    "binary": "y_true [B] of 0 and 1",
    "share": "y_true [B] from 0 to 1",
    "number": "y_true [B] numbers",
    "teacher": "y_true with B rows of teacher values",
}


def embeddings_of(y_pred: Tensor) -> Tensor:
    """Embeddings [B, C, D] of at least float32; [B, D] are one column."""
    y_pred = as_float(y_pred)
    return y_pred[:, None, :] if len(y_pred.shape) == 2 else y_pred


def row_mask(mask: Tensor | None, like: Tensor) -> Tensor:
    """The rows that count, [B], as booleans; None: all. `like` is any tensor with B rows."""
    if mask is None:
        return ops.ones_like(ops.sum(ops.reshape(like, (ops.shape(like)[0], -1)), axis=-1), dtype="bool")
    return ops.reshape(ops.cast(mask, "bool"), (-1,))


def row_labels(labels: Tensor, like: Tensor) -> Tensor:
    """Labels [B] or [B, 1] as [B], in the dtype of `like`."""
    return ops.cast(ops.reshape(ops.convert_to_tensor(labels), (-1,)), like.dtype)


def clean_rows(embeddings: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Embeddings [B, C, D], 0 in rows that do not count, and the rows that do, [B]."""
    embeddings = embeddings_of(embeddings)
    valid = row_mask(mask, embeddings)
    return ops.where(valid[:, None, None], embeddings, 0.0), valid


Memory = tuple[Tensor, Tensor, Tensor]  # rows of earlier batches: embeddings [M, C, D], labels [M], which count [M]


class ClassRows(NamedTuple):
    """Rows [B, D] as anchors, candidates [A, D], the rows themselves first, and masks [B, A] of their pairs.

    A positive is another row of the anchor's class, a negative one of another class; `valid` [B]: the rows that count.
    """

    rows: Tensor
    candidates: Tensor
    positive: Tensor
    negative: Tensor
    valid: Tensor


def with_memory(memory: Memory | None, x: Tensor, y: Tensor, valid: Tensor) -> Memory:
    """Embeddings [B, C, D], labels [B] and the rows that count, [B], with those of the memory behind them."""
    if memory is None:
        return x, y, valid
    kept, labels, filled = memory
    return (
        ops.concatenate([x, ops.cast(kept, x.dtype)]),
        ops.concatenate([y, ops.cast(labels, y.dtype)]),
        ops.concatenate([valid, ops.cast(filled, "bool")]),
    )


def class_rows(labels: Tensor, embeddings: Tensor, mask: Tensor | None, memory: Memory | None = None) -> ClassRows:
    """The first column of embeddings [B, C, D] with class numbers [B], among itself and the memory."""
    x, valid = clean_rows(embeddings, mask)
    y = ops.where(valid, row_labels(labels, x), 0.0)
    candidates, classes, real = with_memory(memory, x, y, valid)
    both = ops.logical_and(valid[:, None], real[None, :])
    same = y[:, None] == classes[None, :]
    another = ops.arange(ops.shape(y)[0])[:, None] != ops.arange(ops.shape(classes)[0])[None, :]
    positive = ops.logical_and(ops.logical_and(both, same), another)
    negative = ops.logical_and(both, ops.logical_not(same))
    return ClassRows(x[:, 0], candidates[:, 0], positive, negative, valid)


def row_values(terms: Tensor, valid: Tensor, item_weight: Tensor | None, scaled: bool = True) -> Tensor:
    """Terms [B], or one number of the whole batch, as the values of the rows, times their weights.

    Rows that do not count are 0; `scaled` makes up for them, so that the mean over all B rows is that over the rows
    that count.
    """
    counted = ops.cast(valid, terms.dtype)
    if scaled:
        # Not `ops.mean`, which narrows float64 on torch.
        every = ops.cast(ops.ones_like(valid), terms.dtype)
        terms = safe_divide(ops.sum(every) * terms * counted, ops.sum(counted) * every)
    if item_weight is not None:
        counted = ops.where(valid, ops.cast(ops.reshape(item_weight, (-1,)), terms.dtype), 0.0)
    return terms * counted


class EmbeddingLossBase(RelevanceLossBase):
    """An embedding loss, y_pred [B, C, D]: the columns are anchor, positive, negative 1, and so on.

    A subclass says how many columns it takes and what its labels are. Every row has a value, and the mean over the
    rows is the loss; where the loss is one number of the whole batch, every row carries it. Rows that `mask` [B]
    leaves out have the value 0 and are no other row's candidates.
    """

    loss_type = "embedding"
    columns: ClassVar[tuple[int, int | None]] = (2, None)  # at least, at most
    labels: ClassVar[str] = "none"  # a key of _LABELS
    head: ClassVar[str] = ""  # what stands between embeddings and y_pred: a key of model/heads.HEADS, or nothing
    cached: ClassVar[bool] = False  # a model of the builder embeds its rows in mini-batches
    every_layer: ClassVar[bool] = False  # y_pred holds the embeddings of every layer
    trained: ClassVar[tuple[str, ...]] = ()  # parameters above 0 that a model of the builder trains
    takes_memory: ClassVar[bool] = False  # every term has one row as its anchor, so that others may be remembered
    teacher_embeddings: ClassVar[str] = ""  # y_true holds a teacher's embeddings: of the "first" column, or of "all"
    labels_share_dimensions: ClassVar[bool] = False  # y_true [B, D] lies in the space of the embeddings
    defaults = {"min_label": None}

    @property
    def text_columns(self) -> tuple[int, int | None]:
        """How many columns of texts it needs: at least, at most (None: any number)."""
        return self.columns

    @property
    def cached_batch_size(self) -> int | None:
        """Rows that a model embeds at a time; None: all of the batch at once."""
        size: int | None = self.params["mini_batch_size"] if self.cached else None
        return size

    @property
    def reads_classes(self) -> bool:
        return self.labels == "class"

    @property
    def predicts_classes(self) -> bool:
        return self.reads_classes and bool(self.head)

    def default_batching(self, labelled: bool) -> str:
        if self.reads_classes and not self.predicts_classes:
            return "group_by_label"
        return super().default_batching(labelled)

    @property
    def trained_parameters(self) -> dict[str, float]:
        """The parameters that a model of the builder trains, with their first values."""
        return {name: self.params[name] for name in self.trained}

    def train_parameter(self, name: str, value: Callable[[], Tensor]) -> None:
        """Reads one of `trained_parameters` from now on from `value`, which a model trains."""
        self.trained_values[name] = value

    def valid(self, y_true: Tensor, y_pred: Tensor) -> None:
        """Every row counts: labels say nothing of padding."""

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        low, high = self.columns
        columns = 1 if len(y_pred) == 2 else y_pred[1] if len(y_pred) == 3 else 0
        fits = len(y_pred) in (2, 3) and (columns is None or (low <= columns and (high is None or columns <= high)))
        rows = len(y_true) >= 1 and len(y_pred) >= 1 and not differ(y_true[0], y_pred[0])
        if self.labels not in ("none", "teacher"):
            rows = rows and (len(y_true) == 1 or (len(y_true) == 2 and y_true[1] in (1, None)))
        if not fits or not rows:
            raise UserError(
                f"{self.key!r} takes y_pred {self._wanted()} and {_LABELS[self.labels]}. "
                f"Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )

    def _wanted(self) -> str:
        low, high = self.columns
        if low == 1:
            return "[B, D]" if high == 1 else "[B, C, D] (C columns of embeddings) or [B, D]"
        names = "anchor, positive, negatives"
        count = f"C = {low}" if high == low else f"C of at least {low}" if high is None else f"C from {low} to {high}"
        return f"[B, C, D] with {count} columns of embeddings ({names})"

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        if self.in_batch and tuple(y_pred[:2]) == (1, 2):
            # No error: the last batch of an epoch may be so.
            warnings.warn(f"{self.key!r}: a batch of one row has no negatives and teaches nothing.", stacklevel=4)
        if self.labels not in ("class", "binary", "share"):
            return
        values = labels.reshape(-1) if mask is None else labels.reshape(-1)[mask.reshape(-1)]
        right = {
            "class": values % 1 == 0,
            "binary": (values == 0) | (values == 1),
            "share": (values >= 0) & (values <= 1),
        }[self.labels]
        if not right.all():
            wanted = {"class": "whole class numbers", "binary": "labels 0 and 1", "share": "labels from 0 to 1"}
            raise UserError(f"{self.key!r} takes {wanted[self.labels]}. Received: {values[~right][0]:g}.")

    def weight_shape(self, y_true: Shape, y_pred: Shape) -> tuple[int | None, ...]:
        return tuple(y_true[:1])

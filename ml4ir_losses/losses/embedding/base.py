"""`EmbeddingLossBase`: embedding losses, per row or over the batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.shapes import Shape, differ, show
from ml4ir_losses.losses.base import RelevanceLossBase
from ml4ir_losses.ops import as_float, safe_divide
from ml4ir_losses.ops.replicas import gather_rows, row_number, sum_over_replicas

_LABELS = {
    "none": "any y_true with B rows (its values are ignored)",
    "class": "y_true [B] class numbers",
    "binary": "y_true [B] of 0 and 1",
    "share": "y_true [B] from 0 to 1",
    "number": "y_true [B] numbers",
    "teacher": "y_true with B rows of teacher values",
}


def embeddings_of(y_pred: Tensor) -> Tensor:
    """Embeddings [B, C, D], at least float32; [B, D] becomes [B, 1, D]."""
    y_pred = as_float(y_pred)
    return y_pred[:, None, :] if len(y_pred.shape) == 2 else y_pred


def row_mask(mask: Tensor | None, like: Tensor) -> Tensor:
    """Boolean mask [B] of the valid rows; None: all rows of `like`, a tensor with B rows."""
    if mask is None:
        return ops.ones_like(ops.sum(ops.reshape(like, (ops.shape(like)[0], -1)), axis=-1), dtype="bool")
    return ops.reshape(ops.cast(mask, "bool"), (-1,))


def row_labels(labels: Tensor, like: Tensor) -> Tensor:
    """Labels [B] or [B, 1] as [B], in the dtype of `like`."""
    return ops.cast(ops.reshape(ops.convert_to_tensor(labels), (-1,)), like.dtype)


def clean_rows(embeddings: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Embeddings [B, C, D], 0 in masked rows, and the boolean mask [B] of the valid rows."""
    embeddings = embeddings_of(embeddings)
    valid = row_mask(mask, embeddings)
    return ops.where(valid[:, None, None], embeddings, 0.0), valid


CACHED: Mapping[str, Any] = {"mini_batch_size": PositiveInt, "show_progress_bar": bool}  # of losses that are `cached`
CACHED_DEFAULTS: Mapping[str, Any] = {"min_label": None, "mini_batch_size": 32, "show_progress_bar": False}
Memory = tuple[Tensor, Tensor, Tensor]
"""Rows of earlier batches: embeddings [M, C, D], labels [M], and the mask [M] of the valid ones."""


class ClassRows(NamedTuple):
    """Anchors [B, D], candidates [A, D], and boolean masks [B, A] of their pairs.

    The candidates are the anchors of all replicas, then the memory.

    A positive is another row of the anchor's class, a negative a row of another class; `valid` [B] masks the anchors.
    """

    anchors: Tensor
    candidates: Tensor
    positive: Tensor
    negative: Tensor
    valid: Tensor


def with_memory(memory: Memory | None, x: Tensor, y: Tensor, valid: Tensor) -> Memory:
    """Embeddings [B, C, D], labels [B] and mask [B] of the batch, with those of the memory appended."""
    if memory is None:
        return x, y, valid
    embeddings, labels, filled = memory
    return (
        ops.concatenate([x, ops.cast(embeddings, x.dtype)]),
        ops.concatenate([y, ops.cast(labels, y.dtype)]),
        ops.concatenate([valid, ops.cast(filled, "bool")]),
    )


def class_rows(labels: Tensor, embeddings: Tensor, mask: Tensor | None, memory: Memory | None = None) -> ClassRows:
    """Pairs of rows by class: the first column of embeddings [B, C, D], with class numbers [B], and the memory."""
    x, valid = clean_rows(embeddings, mask)
    y = ops.where(valid, row_labels(labels, x), 0.0)
    everyone, first = gather_rows(x, y, valid)
    candidates, classes, valid_candidates = with_memory(memory, *everyone)
    both_valid = ops.logical_and(valid[:, None], valid_candidates[None, :])
    same_class = y[:, None] == classes[None, :]
    own_places = ops.arange(ops.shape(y)[0]) + first
    different_rows = own_places[:, None] != ops.arange(ops.shape(classes)[0])[None, :]
    positive = ops.logical_and(ops.logical_and(both_valid, same_class), different_rows)
    negative = ops.logical_and(both_valid, ops.logical_not(same_class))
    return ClassRows(x[:, 0], candidates[:, 0], positive, negative, valid)


def row_values(terms: Tensor, valid: Tensor, item_weight: Tensor | None, scaled: bool = True) -> Tensor:
    """Per-row loss values [B] from terms [B], or from one number of the whole batch, times the weights of the rows.

    Masked rows have the value 0. With `scaled` the values are scaled up by all rows / valid rows, of all replicas, so
    that their mean over all rows is the mean over the valid rows.
    """
    weight = ops.cast(valid, terms.dtype)
    if scaled:
        # Not `ops.mean`, which narrows float64 on torch.
        rows, count = sum_over_replicas((row_number(weight), ops.sum(weight)))
        terms = safe_divide(rows * terms * weight, count * ops.ones_like(weight))
    if item_weight is not None:
        weight = ops.where(valid, ops.cast(ops.reshape(item_weight, (-1,)), terms.dtype), 0.0)
    return terms * weight


def labelled_pairs(
    labels: Tensor, embeddings: Tensor, mask: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
    """Labels [B], the embeddings of the two texts, [B, D] each, and the mask [B]; 0 in masked rows."""
    x, valid = clean_rows(embeddings, mask)
    return ops.where(valid, row_labels(labels, x), 0.0), (x[:, 0], x[:, 1]), valid


class EmbeddingLossBase(RelevanceLossBase):
    """An embedding loss, y_pred [B, C, D]: the columns are anchor, positive, negative 1, and so on.

    A subclass declares how many columns it takes and what its labels are. The loss is the mean of the per-row values;
    where the loss is one number of the whole batch, every row has that value. Rows that `mask` [B] excludes have the
    value 0 and are not candidates of other rows.
    """

    loss_type = "embedding"
    columns: ClassVar[tuple[int, int | None]] = (2, None)  # fewest and most columns; None: no limit
    labels: ClassVar[str] = "none"  # a key of _LABELS
    head: str = ""  # the head between embeddings and y_pred, a key of model/heads.HEADS; empty: none
    cached: ClassVar[bool] = False  # an `EmbeddingModel` embeds the texts in mini-batches (GradCache)
    every_layer: ClassVar[bool] = False  # y_pred holds the embeddings of every layer
    reconstructs: ClassVar[bool] = False  # y_pred holds the outputs of a sparse auto-encoder, [B, C, P, D]
    trained: ClassVar[tuple[str, ...]] = ()  # positive parameters that an `EmbeddingModel` trains
    takes_memory: ClassVar[bool] = False  # every term has one anchor, so that rows of earlier batches can be candidates
    teacher_embeddings: ClassVar[str] = ""  # y_true holds a teacher's embeddings of the "first" or of "all" columns
    labels_share_dimensions: ClassVar[bool] = False  # y_true [B, D] is in the same space as the embeddings
    defaults: ClassVar[Mapping[str, Any]] = {"min_label": None}

    @property
    def text_columns(self) -> tuple[int, int | None]:
        """The fewest and the most columns of texts that the loss takes (None: any number)."""
        return self.columns

    @property
    def cached_batch_size(self) -> int | None:
        """Number of rows that a model embeds at a time; None: the whole batch at once."""
        size: int | None = self.params["mini_batch_size"] if self.cached else None
        return size

    def needs_labels(self, columns: int) -> bool:
        """True if data with so many columns of texts must have a label; without a label y_true is 1."""
        return self.labels in ("class", "binary", "share", "number")

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
        """The parameters that an `EmbeddingModel` trains, with their initial values."""
        return {name: self.params[name] for name in self.trained}

    def train_parameter(self, name: str, value: Callable[[], Tensor]) -> None:
        """Makes the loss read one of `trained_parameters` from `value`, a variable of the model."""
        self.trained_values[name] = value

    def valid(self, y_true: Tensor, y_pred: Tensor) -> None:
        """None, all rows are valid: labels do not mark padding."""

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        fewest, most = self.columns
        columns = 1 if len(y_pred) == 2 else y_pred[1] if len(y_pred) == 3 else 0
        fits = len(y_pred) in (2, 3) and (columns is None or (fewest <= columns and (most is None or columns <= most)))
        labels_fit = len(y_true) >= 1 and len(y_pred) >= 1 and not differ(y_true[0], y_pred[0])
        if self.labels not in ("none", "teacher"):
            labels_fit = labels_fit and (len(y_true) == 1 or (len(y_true) == 2 and y_true[1] in (1, None)))
        if not fits or not labels_fit:
            raise UserError(
                f"{self.key!r} takes y_pred {self._wanted()} and {_LABELS[self.labels]}. "
                f"Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )

    def _wanted(self) -> str:
        fewest, most = self.columns
        if fewest == 1:
            return "[B, D]" if most == 1 else "[B, C, D] (C columns of embeddings) or [B, D]"
        names = "anchor, positive, negatives"
        count = f"C of at least {fewest}" if most is None else f"C from {fewest} to {most}"
        count = f"C = {fewest}" if most == fewest else count
        return f"[B, C, D] with {count} columns of embeddings ({names})"

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        if self.in_batch and tuple(y_pred[:2]) == (1, 2):
            # No error: the last batch of an epoch may have one row.
            warnings.warn(f"{self.key!r}: a batch of one row has no negatives.", stacklevel=4)
        if self.labels not in ("class", "binary", "share"):
            return
        values = labels.reshape(-1) if mask is None else labels.reshape(-1)[mask.reshape(-1)]
        is_valid = {
            "class": values % 1 == 0,
            "binary": (values == 0) | (values == 1),
            "share": (values >= 0) & (values <= 1),
        }[self.labels]
        if not is_valid.all():
            wanted = {"class": "whole class numbers", "binary": "labels 0 and 1", "share": "labels from 0 to 1"}
            raise UserError(f"{self.key!r} takes {wanted[self.labels]}. Received: {values[~is_valid][0]:g}.")

    def weight_shape(self, y_true: Shape, y_pred: Shape) -> tuple[int | None, ...]:
        return tuple(y_true[:1])

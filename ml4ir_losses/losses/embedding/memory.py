"""Embedding losses whose candidates include the rows of earlier batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import LOSSES, register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, Memory, clean_rows, row_labels
from ml4ir_losses.losses.embedding.wrappers import EmbeddingWrapper
from ml4ir_losses.losses.factory import LossSpec, get_loss


def cross_batch_memory(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    memory: Memory | None = None,
    loss: LossSpec,
) -> Tensor:
    """Per-row values of a loss with candidates from the batch and the memory, [B]: see `CrossBatchMemoryLoss`.

    `memory` holds embeddings [M, C, D], which get no gradient, labels [M] and the mask [M] of filled places; None: it
    is empty.
    """
    inner = get_loss(loss)
    if memory is not None:
        remembered, classes, filled = memory
        # Places that are not filled may hold NaN.
        remembered, filled = clean_rows(ops.stop_gradient(ops.convert_to_tensor(remembered)), filled)
        memory = remembered, ops.where(filled, row_labels(classes, remembered), 0.0), filled
    return inner.pure_function(labels, embeddings, mask, item_weight=item_weight, memory=memory, **inner.arguments)


@register_loss("cross_batch_memory")
class CrossBatchMemoryLoss(EmbeddingWrapper):
    r"""A loss whose candidates are the rows of the batch and the remembered embeddings of earlier batches.

    $$\frac{1}{B}\sum_{i=1}^{B} L_i\big(x_1, \ldots, x_B, m_1, \ldots, m_M\big)$$

    L_i is the term of row i as an anchor. The rows m of the memory are only candidates (positives and negatives) and
    get no gradient. Every call of the loss function stores its batch in the memory in place of the oldest rows, also
    during evaluation, unless `loss_fn.memory.active` is False: then the loss is the plain `loss`. The memory is not
    saved with the function. With several devices each has the same memory, of the rows of all of them. On JAX it is
    updated only as an attribute of the model, `model.memory = loss_fn.memory`. Labels, shapes and units are those of
    `loss`; C and D are the same in every batch.

    Args:
        loss: L, the key or `{key: ..., <parameters>}` of an embedding loss whose terms have one anchor each:
            `multiple_negatives_ranking`, its symmetric and cached forms, `sup_con`, `nt_xent`, `multi_similarity` or
            one of the `batch_` triplet losses.
        memory_size: M, number of rows. Older embeddings fit the current encoder less.
        min_label: no effect.

    Raises:
        ValueError: for another kind of loss, and what `loss` raises.

    Source: Wang et al., "Cross-batch memory for embedding learning" (2020).
    """

    function = staticmethod(cross_batch_memory)
    columns = (1, None)
    step_parameters = {"memory_size": PositiveInt}
    defaults = {"min_label": None, "memory_size": 1024}

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        if not self.inner.takes_memory:
            fitting = sorted(entry.key for entry in LOSSES if getattr(entry.target, "takes_memory", False))
            raise UserError(
                f"`loss` of {self.key!r} must be one of {', '.join(fitting)}. Received: {self.inner.key!r}."
            )

    @property
    def memory_size(self) -> int:
        size: int = self.params["memory_size"]
        return size

    def per_query(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        item_weight: Tensor | None = None,
        mask: Tensor | None = None,
        generator: Any = None,
        memory: Memory | None = None,
    ) -> Tensor:
        return cross_batch_memory(y_true, y_pred, mask, item_weight=item_weight, memory=memory, loss=self.inner)

    def to_remember(self, y_true: Tensor, y_pred: Tensor, mask: Tensor | None = None) -> Memory:
        """What the memory stores of a batch: embeddings [B, C, D], labels [B] and the mask [B]."""
        x, valid = clean_rows(ops.stop_gradient(y_pred), mask)
        no_labels = ops.zeros_like(x[:, 0, 0])
        return x, row_labels(y_true, x) if self.inner.labels == "class" else no_labels, valid

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        super().check_shapes(y_true, y_pred)
        self.inner.check_shapes(y_true, y_pred)

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        """Checks the values only: a row's positives may be in the memory."""
        EmbeddingLossBase.check_labels(self.inner, labels, y_pred, mask)

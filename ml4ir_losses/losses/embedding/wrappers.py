"""Losses that wrap another embedding loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.core.parameters import Allowed
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.ops import ranks

PartsPerStep = Annotated[int, Allowed("a whole number; below 1 it is all")]


class EmbeddingWrapper(EmbeddingLossBase):
    """An embedding loss that wraps another one, its parameter `loss`."""

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        inner = get_loss(self.params["loss"])
        if not isinstance(inner, EmbeddingLossBase):
            raise UserError(f"`loss` of {self.key!r} must be an embedding loss. Received: {inner.key!r}.")
        if inner.head or inner.memory_size:
            reads = "reads the outputs of a head" if inner.head else "has a memory of its own"
            raise UserError(f"`loss` of {self.key!r} must be a plain embedding loss; {inner.key!r} {reads}.")
        self.params["loss"] = self.inner = inner
        for name in ("labels", "in_batch", "teacher_embeddings", "labels_share_dimensions"):
            setattr(self, name, getattr(inner, name))

    @property
    def text_columns(self) -> tuple[int, int | None]:
        return self.inner.text_columns

    @property
    def cached_batch_size(self) -> int | None:
        return self.inner.cached_batch_size

    def needs_labels(self, columns: int) -> bool:
        return self.inner.needs_labels(columns)

    def default_batching(self, labelled: bool) -> str:
        return self.inner.default_batching(labelled)

    @property
    def trained_parameters(self) -> dict[str, float]:
        return self.inner.trained_parameters

    def train_parameter(self, name: str, value: Callable[[], Tensor]) -> None:
        self.inner.train_parameter(name, value)

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        self.inner.check_labels(labels, y_pred, mask)


def chosen_parts(count: int, some: int, seed: Any) -> list[Any]:
    """Booleans: which of `count` parts this step uses, all or a random selection of `some`."""
    if not 0 < some < count:
        return [True] * count
    draw = keras.random.uniform((1, count), dtype="float32", seed=seed)
    is_chosen = ranks(draw, ops.ones_like(draw, dtype="bool")) <= some
    return [is_chosen[0, i] for i in range(count)]

"""Weighted sums of embedding losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase
from ml4ir_losses.losses.factory import WeightedSum


@register_loss("embedding_sum", listed=False)
class EmbeddingSum(WeightedSum, EmbeddingLossBase):
    """Σ weight · loss over several embedding losses on the same embeddings, such as a loss and a regulariser.

    Args:
        losses: (loss, weight) pairs, or `{key: weight}`; at most one reads labels, and at most one trains parameters.
    """

    def __init__(self, losses: Any) -> None:
        super().__init__(losses)
        parts: list[Any] = [loss for loss, _ in self.losses]
        for part in parts:
            if part.head or part.every_layer:
                reads = "the outputs of a head" if part.head else "the embeddings of every layer"
                raise UserError(f"{part.key!r} reads {reads} and cannot be part of a weighted sum.")
        labelled = [part for part in parts if part.labels != "none"]
        trained = [part for part in parts if part.trained_parameters]
        for several, what in ((labelled, "read labels"), (trained, "train parameters")):
            if len(several) > 1:
                names = " and ".join(repr(part.key) for part in several)
                raise UserError(f"Only one loss of a weighted sum can {what}. Received: {names}.")
        self.parts = parts
        self.labelled = (labelled or parts)[0]
        self.trainable = (trained or parts)[0]
        self.in_batch = any(part.in_batch for part in parts)  # type: ignore[misc]
        for name in ("labels", "teacher_embeddings", "labels_share_dimensions"):
            setattr(self, name, getattr(self.labelled, name))

    @property
    def text_columns(self) -> tuple[int, int | None]:
        fewest, most = zip(*(part.text_columns for part in self.parts), strict=True)
        return max(fewest), min((limit for limit in most if limit is not None), default=None)

    @property
    def cached_batch_size(self) -> int | None:
        return min((part.cached_batch_size for part in self.parts if part.cached_batch_size), default=None)

    def needs_labels(self, columns: int) -> bool:
        return any(part.needs_labels(columns) for part in self.parts)

    def default_batching(self, labelled: bool) -> str:
        with_candidates = (part for part in self.parts if part.in_batch)
        batching: str = next(with_candidates, self.labelled).default_batching(labelled)
        return batching

    @property
    def trained_parameters(self) -> dict[str, float]:
        trained: dict[str, float] = self.trainable.trained_parameters
        return trained

    def train_parameter(self, name: str, value: Callable[[], Tensor]) -> None:
        self.trainable.train_parameter(name, value)

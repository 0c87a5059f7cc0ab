"""A queue of the rows of earlier batches, for losses with a memory."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.shapes import same_shape, show
from ml4ir_losses.ops.backend import is_backend
from ml4ir_losses.ops.replicas import gather_rows


@keras.saving.register_keras_serializable("ml4ir_losses")
class RowQueue(keras.layers.Layer):  # type: ignore[misc]
    """The last `size` rows that were put in; a layer, so that a model can track and save them.

    Args:
        size: the number of rows to keep.
    """

    active: bool = True  # False, as in evaluation: the loss neither reads nor adds rows

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**{"name": "memory", **kwargs, "dtype": "float32", "trainable": False})
        self.size = size

    def build(self, embeddings_shape: Any) -> None:
        """Creates the variables for rows of embeddings [B, C, D]."""

        def rows(name: str, *shape: int) -> Any:
            # Without aggregation every replica writes its own copy, of the rows of all: see `put`.
            return self.add_weight((self.size, *shape), "zeros", name=name, trainable=False, aggregation="none")

        self.embeddings, self.labels = rows("embeddings", *embeddings_shape[1:]), rows("labels")
        self.filled = rows("filled")

    def rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings [size, C, D], labels [size], and a mask of the filled rows, [size]; the newest row is the last."""
        return ops.convert_to_tensor(self.embeddings), ops.convert_to_tensor(self.labels), self.filled > 0

    def prepare(self, embeddings: Tensor, scores: Tensor) -> None:
        """Creates the variables at the first batch; `UserError` for another shape, or where no row can be kept."""
        if not self.built:
            self.build(embeddings.shape)
        held = self.embeddings.shape
        if not same_shape(embeddings.shape[1:], held[1:]):
            raise UserError(
                f"A loss with a memory takes batches of one shape, here [B, {', '.join(map(str, held[1:]))}]. "
                f"Received: {show(embeddings.shape)}."
            )
        # A compiled JAX step can only update variables that the model tracks.
        if not is_backend("jax"):
            return
        import jax

        compiled = isinstance(getattr(scores, "primal", None), jax.core.Tracer)
        if compiled and not isinstance(self.filled.value, jax.core.Tracer):
            raise UserError(
                "On JAX the memory of a loss advances only as an attribute of the model: set "
                "`model.memory = loss_fn.memory` before `fit`."
            )

    def put(self, embeddings: Tensor, labels: Tensor, valid: Tensor) -> None:
        """Appends the rows of a batch, those of all replicas, and drops as many of the oldest."""
        rows, _ = gather_rows(embeddings, labels, valid)
        for kept, new in zip((self.embeddings, self.labels, self.filled), rows, strict=True):
            kept.assign(ops.concatenate([kept, ops.cast(new, kept.dtype)])[-self.size :])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}

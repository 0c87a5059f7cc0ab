"""The rows of earlier batches that a loss function keeps."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.shapes import same_shape, show
from ml4ir_losses.ops.backend import is_backend


@keras.saving.register_keras_serializable("ml4ir_losses")
class RowQueue(keras.layers.Layer):  # type: ignore[misc]
    """The last `size` rows that were put in; a layer, so that a model can track and save them.

    Args:
        size: rows.
    """

    active: bool = True  # False, as for an evaluation: the function remembers nothing and takes nothing in

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**{"name": "memory", **kwargs, "dtype": "float32", "trainable": False})
        self.size = size

    def build(self, embeddings_shape: Any) -> None:
        """Room for the rows of embeddings [B, C, D]."""

        def rows(name: str, *shape: int) -> Any:
            # Of the replicas of a distributed step the first one's rows are kept.
            return self.add_weight(
                (self.size, *shape), "zeros", name=name, trainable=False, aggregation="only_first_replica"
            )

        self.embeddings, self.labels = rows("embeddings", *embeddings_shape[1:]), rows("labels")
        self.filled = rows("filled")

    def rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings [size, C, D], labels [size], and which of the rows are filled, [size]; the newest come last."""
        return ops.convert_to_tensor(self.embeddings), ops.convert_to_tensor(self.labels), self.filled > 0

    def prepare(self, embeddings: Tensor, scores: Tensor) -> None:
        """Makes room at the first batch; `UserError` for one of another shape, or where nothing would be kept."""
        if not self.built:
            self.build(embeddings.shape)
        held = self.embeddings.shape
        if not same_shape(embeddings.shape[1:], held[1:]):
            raise UserError(
                f"A loss with a memory takes batches of one shape, here [B, {', '.join(map(str, held[1:]))}]. "
                f"Received: {show(embeddings.shape)}."
            )
        # A compiled JAX step changes nothing but what the model holds.
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
        """Puts the rows of a batch behind those that are there, and drops as many of the first."""
        for kept, new in ((self.embeddings, embeddings), (self.labels, labels), (self.filled, valid)):
            kept.assign(ops.concatenate([kept, ops.cast(new, kept.dtype)])[-self.size :])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}

"""The layers that turn one input of a model into features: their base class, and that of embedded ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from ml4ir_losses.core.lazy import Tensor


class InputEncoder(keras.layers.Layer):  # type: ignore[misc]
    """Features of an input, in two steps: `raw` trains nothing and may read the whole list, `embed` holds the weights.

    Args:
        fitted: the fitted input.
    """

    def __init__(self, fitted: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fitted = fitted

    @property
    def width(self) -> int:
        """Values per document."""
        raise NotImplementedError

    def share(self, encoders: Mapping[str, InputEncoder]) -> None:
        """Lets the layer use the weights of another one; `encoders` by the names of the inputs."""

    def raw(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """The input before the trained layers: transformed numbers, or ids; `valid` [B, N] marks the documents."""
        return x

    def embed(self, raw: Tensor) -> Tensor:
        """Features [..., width] from what `raw` gives, also for documents selected from their lists."""
        return raw

    def build(self, input_shape: Any = None) -> None:
        """There is no state to build."""

    def call(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        return self.embed(self.raw(x, valid))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fitted": self.fitted.model_dump()}


class IdEncoder(InputEncoder):
    """Embeddings of ids; strings are looked up first (TensorFlow only).

    Args:
        fitted: the fitted input.
        rows: number of embeddings.
        lookup: makes the layer that turns strings into the ids of `fitted.encode`.
    """

    def __init__(self, fitted: Any, rows: int, lookup: Any, **kwargs: Any) -> None:
        super().__init__(fitted, **kwargs)
        self.embedding = keras.layers.Embedding(rows, fitted.embedding_dim, dtype=self.dtype_policy)
        self.lookup: Any = lookup() if keras.backend.backend() == "tensorflow" else None

    @property
    def width(self) -> int:
        return int(self.fitted.embedding_dim)

    def build(self, input_shape: Any = None) -> None:
        if not self.embedding.built:  # another encoder may share it
            self.embedding.build(input_shape)

    def raw(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        return self.look_up(x) if keras.backend.standardize_dtype(x.dtype) == "string" else x

    def look_up(self, x: Tensor) -> Tensor:
        """Ids of strings."""
        return self.lookup(x)

    def embed(self, raw: Tensor) -> Tensor:
        return self.embedding(raw)

"""Self-attention over the tokens of a text or the documents of a list."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.lazy import Tensor


@keras.saving.register_keras_serializable("ml4ir_losses")
class TransformerBlock(layers.Layer):  # type: ignore[misc]
    """Self-attention over valid tokens or documents and a feed-forward block, pre-norm with residual connections."""

    def __init__(self, size: int, num_heads: int, hidden_dim: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = {"size": size, "num_heads": num_heads, "hidden_dim": hidden_dim, "dropout": dropout}
        policy = self.dtype_policy
        self.before_attention = layers.LayerNormalization(epsilon=1e-6, dtype=policy)
        self.attention = layers.MultiHeadAttention(num_heads, size // num_heads, dropout=dropout, dtype=policy)
        self.before_dense = layers.LayerNormalization(epsilon=1e-6, dtype=policy)
        self.inner = layers.Dense(hidden_dim, activation="gelu", dtype=policy)
        self.outer = layers.Dense(size, dtype=policy)
        self.dropout = layers.Dropout(dropout, dtype=policy)

    def build(self, input_shape: Any) -> None:
        self.before_attention.build(input_shape)
        self.attention.build(input_shape, input_shape)
        self.before_dense.build(input_shape)
        self.inner.build(input_shape)
        self.outer.build((*input_shape[:-1], self.config["hidden_dim"]))
        self.built = True

    def call(self, x: Tensor, valid: Tensor, training: bool | None = None) -> Tensor:
        return self.transform(self.attend(x, ops.expand_dims(valid, 1), training=training), training)

    def attend(self, x: Tensor, mask: Tensor | None, causal: bool = False, training: bool | None = None) -> Tensor:
        """Adds self-attention under the mask [N, T or 1, T], restricted to preceding tokens if causal."""
        normalized = self.before_attention(x)
        attended = self.attention(
            normalized, normalized, attention_mask=mask, use_causal_mask=causal, training=training
        )
        return x + self.dropout(attended, training=training)

    def transform(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Adds the feed-forward block."""
        return x + self.dropout(self.outer(self.inner(self.before_dense(x))), training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}


@keras.saving.register_keras_serializable("ml4ir_losses")
class SetAttention(layers.Layer):  # type: ignore[misc]
    """Documents [B, N, F] as representations [B, N, D] that depend on the other documents, but not on their order.

    A projection, transformer blocks without positions over the valid documents, and a final layer normalization.

    Source: Pang et al., "SetRank" (2020); Pasumarthi et al., "Permutation equivariant document interaction network for
    neural learning to rank" (2020).
    """

    def __init__(
        self,
        size: int,
        num_layers: int = 2,
        num_heads: int = 2,
        hidden_dim: int | None = None,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config: dict[str, Any] = {
            "size": size,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "hidden_dim": hidden_dim,
            "dropout": dropout,
        }
        policy = self.dtype_policy
        self.projection = layers.Dense(size, dtype=policy)
        self.blocks = [
            TransformerBlock(size, num_heads, hidden_dim or 4 * size, dropout, dtype=policy) for _ in range(num_layers)
        ]
        self.norm = layers.LayerNormalization(epsilon=1e-6, dtype=policy)

    def build(self, input_shape: Any) -> None:
        self.projection.build(input_shape)
        shape = (*input_shape[:-1], self.config["size"])
        for block in self.blocks:
            block.build(shape)
        self.norm.build(shape)

    def call(self, x: Tensor, valid: Tensor | None = None, training: bool | None = None) -> Tensor:
        valid = ops.ones_like(x[..., 0], dtype="bool") if valid is None else ops.cast(valid, "bool")
        # In a list of padding alone each document sees all: a softmax over nothing is NaN on some backends.
        visible = ops.logical_or(valid, ops.logical_not(ops.any(valid, axis=1, keepdims=True)))
        x = self.projection(ops.where(ops.expand_dims(valid, -1), x, 0.0))  # NaN in padding would pass any mask
        for block in self.blocks:
            x = block(x, visible, training=training)
        return self.norm(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}

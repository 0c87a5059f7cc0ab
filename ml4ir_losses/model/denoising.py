"""Layers of TSDAE: word deletion, and a decoder that reconstructs a text from its embedding."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.errors import UserError, check_count, check_fraction, check_whole
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.model.attention import TransformerBlock
from ml4ir_losses.model.text_layers import WordDropout


@keras.saving.register_keras_serializable("ml4ir_losses")
class WordDeletion(WordDropout):
    """Deletes random tokens in training and closes the gaps, [N, T] to [N, T]; 0 is padding.

    Args:
        rate: probability that a token is deleted; at least one token is kept.
        seed: random seed.

    Raises:
        UserError: for a rate that is not from 0 to 1.

    Source: Wang, Reimers, Gurevych, "TSDAE" (2021), whose best rate is 0.6.
    """

    def __init__(self, rate: float = 0.6, seed: int | None = None, **kwargs: Any) -> None:
        check_fraction(rate=rate)
        super().__init__(rate, seed, **kwargs)

    def remove(self, tokens: Tensor, uniform: Tensor) -> Tensor:
        uniform = ops.where(tokens != 0, uniform, -1.0)
        # The token with the highest draw is kept at any rate.
        threshold = ops.minimum(self.rate, ops.max(uniform, axis=1, keepdims=True))
        is_kept = ops.logical_and(tokens != 0, uniform >= threshold)
        positions = ops.arange(ops.shape(tokens)[1])
        order = ops.argsort(ops.where(is_kept, positions, positions + ops.shape(tokens)[1]), axis=1)
        return ops.take_along_axis(ops.where(is_kept, tokens, 0), order, axis=1)


@keras.saving.register_keras_serializable("ml4ir_losses")
class Decoder(layers.Layer):  # type: ignore[misc]
    """Logits [N, T, V] of each token given the text embedding [N, D] and the preceding tokens of [N, T].

    Pre-norm transformer blocks: causal attention among the tokens, attention to the text embedding, a
    feed-forward block. Logits are dot products with the word embeddings, plus a bias. Padding changes no earlier one.

    Args:
        vocabulary_size: V.
        embedding_dim: dimension of the word embeddings and of every layer.
        num_layers: number of layers.
        num_heads: attention heads per layer; must divide `embedding_dim`.
        hidden_dim: hidden width of each feed-forward block; None: 4 `embedding_dim`.
        dropout: dropout rate.
        max_length: number of positions; a longer text is an error.
        words: an `Embedding` of V words shared with an encoder; None: a separate one. A decoder with shared words is
            saved by the model that creates both.

    Raises:
        UserError: for sizes that do not fit, and for texts longer than `max_length`.

    Source: Wang, Reimers, Gurevych, "TSDAE: using transformer-based sequential denoising auto-encoder for unsupervised
    sentence embedding learning" (2021).
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        num_layers: int = 2,
        num_heads: int = 4,
        hidden_dim: int | None = None,
        dropout: float = 0.1,
        max_length: int = 256,
        words: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_whole(1, vocabulary_size=vocabulary_size, embedding_dim=embedding_dim, num_layers=num_layers)
        check_whole(1, num_heads=num_heads, max_length=max_length)
        check_count(hidden_dim=hidden_dim)
        check_fraction(dropout=dropout)
        if embedding_dim % num_heads:
            raise UserError(
                f"`num_heads` must divide embedding_dim={embedding_dim}. Received: num_heads={num_heads!r}."
            )
        if words is not None and (words.input_dim, words.output_dim) != (vocabulary_size, embedding_dim):
            raise UserError(
                f"`words` must have vocabulary_size={vocabulary_size} vectors of embedding_dim={embedding_dim}. "
                f"Received: {words.input_dim} of {words.output_dim}."
            )
        self.config = {
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "hidden_dim": hidden_dim,
            "dropout": dropout,
            "max_length": max_length,
        }
        policy = self.dtype_policy
        self.tied = words is not None
        self.words = words if self.tied else layers.Embedding(vocabulary_size, embedding_dim, dtype=policy)
        self.positions = layers.Embedding(max_length, embedding_dim, dtype=policy)
        self.blocks = [
            TransformerBlock(embedding_dim, num_heads, hidden_dim or 4 * embedding_dim, dropout, dtype=policy)
            for _ in range(num_layers)
        ]
        # A softmax over one key is 1 whatever the query: attention to a single vector is linear.
        self.contexts = [layers.Dense(embedding_dim, dtype=policy) for _ in range(num_layers)]
        self.norm = layers.LayerNormalization(epsilon=1e-6, dtype=policy)
        self.dropout = layers.Dropout(dropout, dtype=policy)

    def build(self, vectors_shape: Any, tokens_shape: Any) -> None:
        size = self.config["embedding_dim"]
        if not self.words.built:
            self.words.build(tokens_shape)
        self.positions.build((None,))
        self.start = self.add_weight(shape=(size,), initializer="zeros", name="start")
        self.bias = self.add_weight(shape=(self.config["vocabulary_size"],), initializer="zeros", name="bias")
        for block, context in zip(self.blocks, self.contexts, strict=True):
            block.build((None, None, size))
            context.build(vectors_shape)
        self.norm.build((None, None, size))
        self.built = True

    def call(self, vectors: Tensor, tokens: Tensor, training: bool | None = None) -> Tensor:
        length, max_length = tokens.shape[1], self.config["max_length"]
        if length is not None and length > max_length:
            raise UserError(
                f"The decoder has positions for max_length={max_length} tokens. Received: texts of {length}."
            )
        # Each token is predicted from the preceding ones: inputs are shifted by one, behind a trainable start vector.
        previous = self.words(tokens[:, :-1])
        start = ops.broadcast_to(ops.cast(self.start, previous.dtype), (ops.shape(tokens)[0], 1, previous.shape[-1]))
        x = ops.concatenate([start, previous], axis=1) + self.positions(ops.arange(ops.shape(tokens)[1]))
        x = self.dropout(x, training=training)
        for block, context in zip(self.blocks, self.contexts, strict=True):
            x = block.attend(x, None, causal=True, training=training)
            x = x + self.dropout(context(vectors), training=training)[:, None, :]
            x = block.transform(x, training)
        # float32 under any dtype policy, for a stable softmax in the loss.
        table = ops.cast(self.words.embeddings, "float32")
        return ops.matmul(ops.cast(self.norm(x), "float32"), ops.transpose(table)) + ops.cast(self.bias, "float32")

    def compute_output_shape(self, vectors_shape: Any, tokens_shape: Any) -> Any:
        return (*tokens_shape, self.config["vocabulary_size"])

    def get_config(self) -> dict[str, Any]:
        if self.tied:
            raise UserError("A decoder that shares an encoder's words is saved with the model that makes both.")
        return {**super().get_config(), **self.config}

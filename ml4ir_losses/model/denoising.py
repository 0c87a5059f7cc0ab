"""Layers of TSDAE: the deletion of words, and a decoder that rebuilds a text from its vector alone."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.errors import UserError, check_count, check_fraction, check_whole
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.model.text_layers import TransformerBlock, WordDropout


@keras.saving.register_keras_serializable("ml4ir_losses")
class WordDeletion(WordDropout):
    """Deletes tokens at random in training and moves the others together, [N, T] to [N, T]; 0 is padding.

    Args:
        rate: the probability of each token to go; one token always stays.
        seed: of the draws.

    Raises:
        UserError: for a rate that is not from 0 to 1.

    Source: Wang, Reimers, Gurevych, "TSDAE" (2021), whose best rate is 0.6.
    """

    def __init__(self, rate: float = 0.6, seed: int | None = None, **kwargs: Any) -> None:
        check_fraction(rate=rate)
        super().__init__(rate, seed, **kwargs)

    def without(self, tokens: Tensor, drawn: Tensor) -> Tensor:
        drawn = ops.where(tokens != 0, drawn, -1.0)
        # The highest draw stays whatever the rate.
        least = ops.minimum(self.rate, ops.max(drawn, axis=1, keepdims=True))
        stays = ops.logical_and(tokens != 0, drawn >= least)
        places = ops.arange(ops.shape(tokens)[1])
        order = ops.argsort(ops.where(stays, places, places + ops.shape(tokens)[1]), axis=1)
        return ops.take_along_axis(ops.where(stays, tokens, 0), order, axis=1)


@keras.saving.register_keras_serializable("ml4ir_losses")
class Decoder(layers.Layer):  # type: ignore[misc]
    """Vectors [N, D] and the tokens [N, T] of their texts to logits [N, T, V] of each token, from those before it.

    Pre-norm transformer blocks: causal attention among the tokens, attention to the vector, a dense part. The logits
    are products with the vectors of the words, plus a bias. What is padded changes no logit before it.

    Args:
        vocabulary_size: V.
        embedding_dim: numbers of a word's vector and of every layer.
        num_layers: how many layers.
        num_heads: heads of each; they divide `embedding_dim`.
        hidden_dim: width inside a layer's dense part; None: four times `embedding_dim`.
        dropout: share of the numbers that is dropped in training.
        max_length: how many tokens have a position; longer texts are an error.
        words: an `Embedding` of V words to share, an encoder's; None: one of its own. Such a decoder is saved with
            the model that makes both, from their configs.

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
        # A softmax over one key is 1 whatever the query: attention to a single vector is a linear map of it.
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
        length, most = tokens.shape[1], self.config["max_length"]
        if length is not None and length > most:
            raise UserError(f"The decoder has positions for max_length={most} tokens. Received: texts of {length}.")
        # A token is told from those before it: its place holds the one before, the first place a trained vector.
        before = self.words(tokens[:, :-1])
        start = ops.broadcast_to(ops.cast(self.start, before.dtype), (ops.shape(tokens)[0], 1, before.shape[-1]))
        x = ops.concatenate([start, before], axis=1) + self.positions(ops.arange(ops.shape(tokens)[1]))
        x = self.dropout(x, training=training)
        for block, context in zip(self.blocks, self.contexts, strict=True):
            x = block.attend(x, None, causal=True, training=training)
            x = x + self.dropout(context(vectors), training=training)[:, None, :]
            x = block.transform(x, training)
        # float32 whatever the policy: the loss takes a softmax of them.
        table = ops.cast(self.words.embeddings, "float32")
        return ops.matmul(ops.cast(self.norm(x), "float32"), ops.transpose(table)) + ops.cast(self.bias, "float32")

    def compute_output_shape(self, vectors_shape: Any, tokens_shape: Any) -> Any:
        return (*tokens_shape, self.config["vocabulary_size"])

    def get_config(self) -> dict[str, Any]:
        if self.tied:
            raise UserError("A decoder that shares an encoder's words is saved with the model that makes both.")
        return {**super().get_config(), **self.config}

"""Layers of the text encoders: token ids [N, T] to vectors [N, D]."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.ops.masking import lowest, safe_divide


def pool(states: Tensor, valid: Tensor, pooling: str) -> Tensor:
    """One vector of the states [N, T, D] of a text's tokens, [N, D]; 0 for a text without tokens."""
    if pooling == "cls":
        return ops.where(valid[:, :1], states[:, 0], 0.0)
    if pooling == "max":
        top = ops.max(ops.where(valid[..., None], states, lowest(states)), axis=1)
        return ops.where(ops.any(valid, axis=1, keepdims=True), top, 0.0)
    count = ops.sum(ops.cast(valid, states.dtype), axis=1, keepdims=True)
    total = ops.sum(ops.where(valid[..., None], states, 0.0), axis=1)
    return safe_divide(total, count * ops.ones_like(total))


class TextEncoder(layers.Layer):  # type: ignore[misc]
    """Token ids [N, T], 0 being padding, to vectors [N, D] in float32.

    A subclass makes its layers in `make` and turns vectors of words into states in `states`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        pooling: str,
        dropout: float = 0.0,
        output_dim: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        **config: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.config = {
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "pooling": pooling,
            "dropout": dropout,
            "output_dim": output_dim,
            **config,
        }
        self.pooling = pooling
        policy = self.dtype_policy
        self.words = layers.Embedding(vocabulary_size, embedding_dim, dtype=policy, name="words")
        self.dropout = self.make_dropout(dropout)
        # float32 whatever the policy: narrow cosines tie.
        self.projection = None if output_dim is None else layers.Dense(output_dim, dtype="float32", name="projection")
        self.make()

    def make_dropout(self, rate: float) -> Any:
        """The layer that drops a share of the words' numbers in training."""
        return layers.Dropout(rate, dtype=self.dtype_policy, name="dropout")

    def make(self) -> None:
        """Makes the layers between words and pooling."""

    def states(self, words: Tensor, valid: Tensor, training: bool | None) -> Tensor:
        """States [N, T, D] of the words' vectors."""
        return words

    @property
    def width(self) -> int:
        """Numbers of a state."""
        width: int = self.config["embedding_dim"]
        return width

    @property
    def output_width(self) -> int:
        """D."""
        return self.config["output_dim"] or self.width

    def build(self, input_shape: Any) -> None:
        if not self.words.built:  # a decoder may share them
            self.words.build(input_shape)
        if self.projection is not None:
            self.projection.build((None, self.width))
        self.build_states((None, None, self.config["embedding_dim"]))
        self.built = True

    def build_states(self, shape: tuple[int | None, ...]) -> None:
        """Builds what `make` made."""

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        valid = tokens != 0
        words = self.dropout(self.words(tokens), training=training)
        return self.finish(self.pooled(self.states(words, valid, training), valid))

    def pooled(self, states: Tensor, valid: Tensor) -> Tensor:
        """The vector of a text before the projection, [N, D]."""
        return pool(ops.cast(states, "float32"), valid, self.pooling)

    def finish(self, pooled: Tensor) -> Tensor:
        """Projects, where there is a projection."""
        return pooled if self.projection is None else self.projection(pooled)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.output_width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}


@keras.saving.register_keras_serializable("ml4ir_losses")
class WordDropout(layers.Layer):  # type: ignore[misc]
    """Turns a share of the tokens into padding, in training."""

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        if not training or not self.rate:
            return tokens
        return self.without(tokens, keras.random.uniform(ops.shape(tokens), dtype="float32", seed=self.seed_generator))

    def without(self, tokens: Tensor, drawn: Tensor) -> Tensor:
        """The tokens that stay, from a number of 0 to 1 that was drawn for each."""
        return ops.where(drawn < self.rate, 0, tokens)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def distinct(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct tokens of each row [N, T] in order, and how often each comes; 0 fills up the tokens."""
    tokens = ops.sort(tokens, axis=1)
    last = ops.concatenate([tokens[:, 1:] != tokens[:, :-1], ops.ones_like(tokens[:, :1], dtype="bool")], axis=1)
    # Where the runs of equal tokens end, moved together: the distance of two ends is the length of a run.
    ends = ops.sort(ops.where(last, ops.arange(ops.shape(tokens)[1], dtype=tokens.dtype), -1), axis=1)
    counts = ends - ops.concatenate([ops.full_like(ends[:, :1], -1), ends[:, :-1]], axis=1)
    return ops.where(counts > 0, ops.take_along_axis(tokens, ops.maximum(ends, 0), axis=1), 0), counts


@keras.saving.register_keras_serializable("ml4ir_losses")
class BagOfWords(TextEncoder):
    """The mean of the words' vectors, by a trained weight of each word where `pooling` is `weighted`."""

    def make_dropout(self, rate: float) -> Any:
        return WordDropout(rate, name="dropout")

    def make(self) -> None:
        # What older files do not say is what it was then.
        self.log_frequency = self.config.get("term_frequency", "raw") == "log"
        self.initial = self.config.get("initial", "random")
        self.importance = None
        if self.pooling == "weighted":
            # A weight of the vocabulary is the softplus of a number; all start equal.
            self.importance = layers.Embedding(
                self.config["vocabulary_size"], 1, embeddings_initializer="zeros", dtype="float32", name="importance"
            )

    def build_states(self, shape: tuple[int | None, ...]) -> None:
        if self.importance is not None:
            self.importance.build((None, None))

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        tokens = self.dropout(tokens, training=training)
        weight = ops.ones_like(tokens, dtype="float32")
        if self.log_frequency:
            tokens, counts = distinct(tokens)
            weight += ops.log(ops.cast(ops.maximum(counts, 1), "float32"))
        states = ops.cast(self.words(tokens), "float32")
        if self.pooling == "max":
            return self.finish(pool(states, tokens != 0, "max"))
        if self.importance is not None:
            weight *= ops.softplus(self.importance(tokens)[..., 0])
        weight = ops.where(tokens != 0, weight, 0.0)[..., None]
        total = ops.sum(weight * states, axis=1)
        return self.finish(safe_divide(total, ops.sum(weight, axis=1) * ops.ones_like(total)))


@keras.saving.register_keras_serializable("ml4ir_losses")
class ConvolutionalEncoder(TextEncoder):
    """Convolutions with ReLU over neighbouring words; what is padded is 0 before each of them."""

    def make(self) -> None:
        self.convolutions = [
            layers.Conv1D(width, self.config["kernel_size"], padding="same", activation="relu", dtype=self.dtype_policy)
            for width in self.config["filters"]
        ]

    @property
    def width(self) -> int:
        return int([self.config["embedding_dim"], *self.config["filters"]][-1])

    def build_states(self, shape: tuple[int | None, ...]) -> None:
        for convolution in self.convolutions:
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)

    def states(self, words: Tensor, valid: Tensor, training: bool | None) -> Tensor:
        for convolution in self.convolutions:
            words = convolution(ops.where(valid[..., None], words, 0.0))
        return words


@keras.saving.register_keras_serializable("ml4ir_losses")
class RecurrentEncoder(TextEncoder):
    """A GRU that leaves out padding, from one end or both."""

    def make(self) -> None:
        policy = self.dtype_policy
        forward = layers.GRU(self.config["units"], return_sequences=True, dtype=policy)
        self.reader = layers.Bidirectional(forward, dtype=policy) if self.config["bidirectional"] else forward

    @property
    def width(self) -> int:
        return int(self.config["units"]) * (2 if self.config["bidirectional"] else 1)

    def build_states(self, shape: tuple[int | None, ...]) -> None:
        self.reader.build(shape)

    def states(self, words: Tensor, valid: Tensor, training: bool | None) -> Tensor:
        return self.reader(words, mask=valid, training=training)


@keras.saving.register_keras_serializable("ml4ir_losses")
class TransformerEncoder(TextEncoder):
    """Pre-norm layers of attention and a dense part, with trained positions and a normalisation at the end."""

    def make(self) -> None:
        config, policy = self.config, self.dtype_policy
        size = config["embedding_dim"]
        self.positions = layers.Embedding(config["max_length"], size, dtype=policy, name="positions")
        self.blocks = [
            TransformerBlock(
                size, config["num_heads"], config["hidden_dim"], config["dropout"], dtype=policy, name=f"block_{k}"
            )
            for k in range(config["num_layers"])
        ]
        self.norm = layers.LayerNormalization(epsilon=1e-6, dtype=policy, name="norm")

    def build_states(self, shape: tuple[int | None, ...]) -> None:
        self.positions.build((None,))
        self.norm.build(shape)
        for block in self.blocks:
            block.build(shape)

    def states(self, words: Tensor, valid: Tensor, training: bool | None) -> Tensor:
        return self.norm(self.layer_states(words, valid, training)[-1])

    def layer_states(self, words: Tensor, valid: Tensor, training: bool | None = None) -> list[Tensor]:
        """The states behind every layer, before the last normalisation."""
        length, most = words.shape[1], self.config["max_length"]
        if length is not None and length > most:
            raise UserError(f"The encoder has positions for max_length={most} tokens. Received: texts of {length}.")
        x = words + self.positions(ops.arange(ops.shape(words)[1]))
        found = []
        for block in self.blocks:
            x = block(x, valid, training=training)
            found.append(x)
        return found

    def every_layer(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        """The pooled output of each layer, [N, layers, D]; the last one is what the encoder gives."""
        valid = tokens != 0
        words = self.dropout(self.words(tokens), training=training)
        pooled = [
            self.finish(self.pooled(self.norm(states), valid)) for states in self.layer_states(words, valid, training)
        ]
        return ops.stack(pooled, axis=1)


@keras.saving.register_keras_serializable("ml4ir_losses")
class TransformerBlock(layers.Layer):  # type: ignore[misc]
    """Attention among the valid tokens and a dense part, each on normalised input and added to it."""

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
        return self.transform(self.attend(x, valid[:, None, :], training=training), training)

    def attend(self, x: Tensor, mask: Tensor | None, causal: bool = False, training: bool | None = None) -> Tensor:
        """Adds what each token sees of those in the mask [N, T or 1, T], of the later ones nothing if causal."""
        normed = self.before_attention(x)
        seen = self.attention(normed, normed, attention_mask=mask, use_causal_mask=causal, training=training)
        return x + self.dropout(seen, training=training)

    def transform(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Adds the dense part."""
        return x + self.dropout(self.outer(self.inner(self.before_dense(x))), training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}


def check_positions(encoder: Any, length: int, source: str) -> None:
    """Raises `UserError` for an encoder that has fewer positions than its texts have tokens."""
    most = getattr(encoder, "config", {}).get("max_length")
    if most is not None and most < length:
        raise UserError(f"the encoder's max_length must be at least {length}, that of {source}. Received: {most}.")

"""Layers of the text encoders, which map token ids [N, T] to embeddings [N, D]."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.model.attention import TransformerBlock
from ml4ir_losses.ops.backend import is_portable
from ml4ir_losses.ops.masking import lowest, safe_divide


def pool(states: Tensor, valid: Tensor, pooling: str) -> Tensor:
    """Pools token states [N, T, D] into text embeddings [N, D]; 0 for a text without tokens."""
    if pooling == "cls":
        return ops.where(valid[:, :1], states[:, 0], 0.0)
    if pooling == "max":
        top = ops.max(ops.where(ops.expand_dims(valid, -1), states, lowest(states)), axis=1)
        return ops.where(ops.any(valid, axis=1, keepdims=True), top, 0.0)
    count = ops.sum(ops.cast(valid, states.dtype), axis=1, keepdims=True)
    total = ops.sum(ops.where(ops.expand_dims(valid, -1), states, 0.0), axis=1)
    return safe_divide(total, count * ops.ones_like(total))


class TextEncoder(layers.Layer):  # type: ignore[misc]
    """Maps token ids [N, T], padded with 0, to float32 embeddings [N, D].

    A subclass creates its layers in `make` and maps word embeddings to token states in `states`.
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
        # float32 under any dtype policy: cosines in half precision tie.
        self.projection = None if output_dim is None else layers.Dense(output_dim, dtype="float32", name="projection")
        self.make()

    def make_dropout(self, rate: float) -> Any:
        """The dropout layer for word embeddings."""
        return layers.Dropout(rate, dtype=self.dtype_policy, name="dropout")

    def make(self) -> None:
        """Creates the layers between word embeddings and pooling."""

    def states(self, words: Tensor, valid: Tensor, training: bool | None) -> Tensor:
        """Token states [N, T, D] from word embeddings."""
        return words

    @property
    def width(self) -> int:
        """Dimension of a token state."""
        width: int = self.config["embedding_dim"]
        return width

    @property
    def output_width(self) -> int:
        """Embedding dimension D."""
        return self.config["output_dim"] or self.width

    def build(self, input_shape: Any) -> None:
        if not self.words.built:  # a decoder may share them
            self.words.build(input_shape)
        if self.projection is not None:
            self.projection.build((None, self.width))
        self.build_states((None, None, self.config["embedding_dim"]))
        self.built = True

    def build_states(self, shape: tuple[int | None, ...]) -> None:
        """Builds the layers that `make` created."""

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        return self.finish(self.pooled(self.token_states(tokens, training), tokens != 0))

    def token_states(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        """Token states [N, T, width] of token ids."""
        words = self.dropout(self.words(tokens), training=training)
        return self.states(words, tokens != 0, training)

    @property
    def word_embeddings(self) -> Any:
        """The trained word embeddings [V, embedding_dim]."""
        return self.words.embeddings

    def pooled(self, states: Tensor, valid: Tensor) -> Tensor:
        """Text embeddings before the projection, [N, D]."""
        return pool(ops.cast(states, "float32"), valid, self.pooling)

    def finish(self, pooled: Tensor) -> Tensor:
        """Applies the projection, if there is one."""
        return pooled if self.projection is None else self.projection(pooled)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.output_width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}


@keras.saving.register_keras_serializable("ml4ir_losses")
class WordDropout(layers.Layer):  # type: ignore[misc]
    """Replaces random tokens by padding in training."""

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        if not training or not self.rate:
            return tokens
        return self.remove(tokens, keras.random.uniform(ops.shape(tokens), dtype="float32", seed=self.seed_generator))

    def remove(self, tokens: Tensor, uniform: Tensor) -> Tensor:
        """Tokens with the removed ones set to 0, given a uniform random number in [0, 1] per token."""
        return ops.where(uniform < self.rate, 0, tokens)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def distinct(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted distinct tokens of each row [N, T], padded with 0, and the number of occurrences of each."""
    tokens = ops.sort(tokens, axis=1)
    last = ops.concatenate([tokens[:, 1:] != tokens[:, :-1], ops.ones_like(tokens[:, :1], dtype="bool")], axis=1)
    # Sorted end positions of the runs of equal tokens: the difference of two neighbours is the length of a run.
    ends = ops.sort(ops.where(last, ops.arange(ops.shape(tokens)[1], dtype=tokens.dtype), -1), axis=1)
    counts = ends - ops.concatenate([ops.full_like(ends[:, :1], -1), ends[:, :-1]], axis=1)
    return ops.where(counts > 0, ops.take_along_axis(tokens, ops.maximum(ends, 0), axis=1), 0), counts


@keras.saving.register_keras_serializable("ml4ir_losses")
class BagOfWords(TextEncoder):
    """The mean of the word embeddings, with a trainable weight per word if `pooling` is `weighted`."""

    def make_dropout(self, rate: float) -> Any:
        return WordDropout(rate, name="dropout")

    def make(self) -> None:
        # Models saved before these options existed used the defaults below.
        self.log_frequency = self.config.get("term_frequency", "raw") == "log"
        self.initial = self.config.get("initial", "random")
        self.importance = None
        if self.pooling == "weighted":
            # The weight of a word is the softplus of a trainable scalar; all start equal.
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
        weight = ops.expand_dims(ops.where(tokens != 0, weight, 0.0), -1)
        total = ops.sum(weight * states, axis=1)
        return self.finish(safe_divide(total, ops.sum(weight, axis=1) * ops.ones_like(total)))


@keras.saving.register_keras_serializable("ml4ir_losses")
class ConvolutionalEncoder(TextEncoder):
    """Convolutions with ReLU over neighbouring words; padding is set to 0 before each convolution."""

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
            words = convolution(ops.where(ops.expand_dims(valid, -1), words, 0.0))
        return words


@keras.saving.register_keras_serializable("ml4ir_losses")
class RecurrentEncoder(TextEncoder):
    """A unidirectional or bidirectional GRU that skips padding."""

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
        if not is_portable():
            return self.reader(words, mask=valid, training=training)
        if not self.config["bidirectional"]:
            return read_in_order(self.reader.cell, words, valid)
        forwards = read_in_order(self.reader.forward_layer.cell, words, valid)
        backwards = read_in_order(self.reader.backward_layer.cell, words, valid, backwards=True)
        return ops.concatenate([forwards, backwards], axis=-1)


def read_in_order(cell: Any, words: Tensor, valid: Tensor, backwards: bool = False) -> Tensor:
    """The states [N, T, units] of a GRU cell after each word [N, T, E]; padding keeps the state.

    A loop over one tensor of all states: other runtimes lack the lists of tensors in which Keras collects them.
    """
    rows, length, _ = ops.shape(words)
    places = ops.arange(length, dtype="int32")[None, :, None]
    state = ops.zeros((rows, cell.units), words.dtype)
    states = ops.zeros((rows, length, cell.units), words.dtype)

    def step(number: Tensor, state: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        place = length - 1 - number if backwards else number
        new, _ = cell(ops.take(words, place, axis=1), [state])
        state = ops.where(ops.expand_dims(ops.take(valid, place, axis=1), -1), new, state)
        return number + 1, state, ops.where(places == place, ops.expand_dims(state, 1), states)

    return ops.while_loop(lambda number, *_: number < length, step, (0, state, states))[2]


@keras.saving.register_keras_serializable("ml4ir_losses")
class TransformerEncoder(TextEncoder):
    """A pre-norm transformer with learned positions and a final layer normalization."""

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
        """Token states after each layer, before the final normalization."""
        length, max_length = words.shape[1], self.config["max_length"]
        if length is not None and length > max_length:
            raise UserError(
                f"The encoder has positions for max_length={max_length} tokens. Received: texts of {length}."
            )
        x = words + self.positions(ops.arange(ops.shape(words)[1]))
        states = []
        for block in self.blocks:
            x = block(x, valid, training=training)
            states.append(x)
        return states

    def every_layer(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        """The pooled output of each layer, [N, layers, D]; the last one equals the encoder's output."""
        valid = tokens != 0
        words = self.dropout(self.words(tokens), training=training)
        pooled = [
            self.finish(self.pooled(self.norm(states), valid)) for states in self.layer_states(words, valid, training)
        ]
        return ops.stack(pooled, axis=1)


def inner_encoder(encoder: Any) -> Any:
    """The dense encoder within a sparse one; any other encoder is returned as it is."""
    return encoder.encoder if getattr(encoder, "sparse", False) else encoder


def check_positions(encoder: Any, length: int, source: str) -> None:
    """Raises `UserError` for an encoder that has fewer positions than its texts have tokens."""
    positions = getattr(inner_encoder(encoder), "config", {}).get("max_length")
    if positions is not None and positions < length:
        raise UserError(f"the encoder's max_length must be at least {length}, that of {source}. Received: {positions}.")

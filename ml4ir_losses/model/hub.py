"""Encoder and tokenizer of a KerasHub preset in a local folder; nothing is ever downloaded.

Ids are those of the preset plus one, so that 0 is padding whatever the preset itself pads with.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ml4ir_losses.core.errors import UserError, check_whole
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.model.text_layers import pool
from ml4ir_losses.text.tokenizers import Array, Tokenizer, pad_rows

INPUTS = ("token_ids", "padding_mask", "segment_ids")


def import_keras_hub() -> Any:
    """The module, or `UserError` with the line that installs it."""
    try:
        import keras_hub
    except ImportError as error:
        raise UserError(
            f"KerasHub presets need keras-hub: pip install 'ml4ir-losses[keras-hub]'. Received: {error}"
        ) from error
    return keras_hub


def load_preset(kind: str, preset: str | Path, **arguments: Any) -> Any:
    """The `backbone` or `tokenizer` of a preset folder; `UserError` for anything else, handles of hubs included."""
    if not os.path.isdir(preset):
        raise UserError(
            f"`preset` must be a folder with a KerasHub preset; none is downloaded. Received: {str(preset)!r}."
        )
    if not os.path.isfile(os.path.join(preset, "config.json")):
        raise UserError(f"`preset` must be a folder with a KerasHub preset: {str(preset)!r} has no config.json.")
    hub = import_keras_hub()
    base = hub.models.Backbone if kind == "backbone" else hub.tokenizers.Tokenizer
    try:
        # The whole path: a folder that bears the name of a public preset is not mistaken for it.
        return base.from_preset(os.path.abspath(preset), **arguments)
    except Exception as error:  # KerasHub's loaders and converters raise whatever the broken file made them raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{kind} of the preset {str(preset)!r} cannot be loaded: {reason}") from error


@keras.saving.register_keras_serializable("ml4ir_losses")
class HubEncoder(layers.Layer):  # type: ignore[misc]
    """Token ids [N, T], 0 being padding, to vectors [N, D] in float32, by a KerasHub backbone.

    The layer's config holds the backbone's, so that a saved model needs no preset.

    Args:
        backbone: a `keras_hub.models.Backbone` of texts.
        pad_id: what the backbone gets where there is no token; masked, so that it changes no vector.
        pooling: `mean` or `max` over the tokens, or `cls`, the first token.
        max_length: longest text in tokens.
        output_dim: D, by a dense layer behind the pooling; None: the backbone's width.

    Raises:
        UserError: for a backbone that does not take token ids with a mask, or has too few positions.
    """

    def __init__(
        self,
        backbone: Any,
        pad_id: int = 0,
        pooling: str = "mean",
        max_length: int = 256,
        output_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config: dict[str, Any] = {
            "pad_id": pad_id,
            "pooling": pooling,
            "max_length": max_length,
            "output_dim": output_dim,
        }
        self.input_names = _inputs(backbone)
        positions = getattr(backbone, "max_sequence_length", None)
        if positions is not None and max_length > positions:
            raise UserError(
                f"`max_length` must be at most {positions}, the positions that the preset has. "
                f"Received: max_length={max_length}."
            )
        self.backbone = backbone
        if hasattr(backbone, "pooled_dense"):
            backbone.pooled_dense.trainable = False  # BERT's head is not used here and would have no gradient
        # float32 whatever the policy: narrow cosines tie.
        self.projection = None
        if output_dim is not None:
            self.projection = layers.Dense(output_dim, dtype="float32", name="projection")
            self.projection.build((None, self.width))
        self.built = True

    @property
    def width(self) -> int:
        """Numbers of a state."""
        return int(_sequence(self.backbone.output).shape[-1])

    @property
    def output_width(self) -> int:
        """D."""
        return int(self.config["output_dim"] or self.width)

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        return self.finish(_sequence(self.run(self.backbone, tokens, training)), tokens)

    def run(self, model: Callable[..., Any], tokens: Tensor, training: bool | None) -> Any:
        """The outputs of the backbone, or of a model with its inputs."""
        length, most = tokens.shape[1], self.config["max_length"]
        if length is not None and length > most:
            raise UserError(f"The encoder takes texts of max_length={most} tokens. Received: texts of {length}.")
        tokens = ops.cast(tokens, "int32")
        given = {
            "token_ids": ops.where(tokens == 0, self.config["pad_id"], tokens - 1),
            "padding_mask": ops.cast(tokens != 0, "int32"),
            "segment_ids": ops.zeros_like(tokens),
        }
        # What is not trained is not disturbed either.
        return model({name: given[name] for name in self.input_names}, training=training and self.backbone.trainable)

    def finish(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Vectors [N, D] of the states [N, T, width]."""
        pooled = pool(ops.cast(states, "float32"), tokens != 0, self.config["pooling"])
        return pooled if self.projection is None else self.projection(pooled)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.output_width)

    def get_config(self) -> dict[str, Any]:
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {**super().get_config(), **self.config, "backbone": backbone}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> HubEncoder:
        import_keras_hub()
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        backbone.trainable = config["backbone"]["config"]["trainable"]  # on torch it is not restored
        return cls(**{**config, "backbone": backbone})


@keras.saving.register_keras_serializable("ml4ir_losses")
class LayeredHubEncoder(HubEncoder):
    """A `HubEncoder` of a backbone whose output is that of its last layer, as in BERT: every layer has a vector."""

    def __init__(self, backbone: Any, **kwargs: Any) -> None:
        super().__init__(backbone, **kwargs)
        every = keras.Model(backbone.input, [layer.output for layer in backbone.transformer_layers])
        # The method, not the model: its layers are the backbone's, which are tracked and saved there.
        self.layer_states = every.__call__

    def every_layer(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        """The pooled output of each layer, [N, layers, D]; the last one is what the encoder gives."""
        states = self.run(self.layer_states, tokens, training)
        return ops.stack([self.finish(layer, tokens) for layer in states], axis=1)


def hub_encoder(preset: str | Path, trainable: bool = True, dtype: Any = None, **arguments: Any) -> HubEncoder:
    """The encoder of a preset folder, with its weights."""
    pad_id = load_preset("tokenizer", preset).pad_token_id
    backbone = load_preset("backbone", preset, dtype=dtype)
    backbone.trainable = trainable
    made = LayeredHubEncoder if _has_layers(backbone) else HubEncoder
    return made(backbone, pad_id=pad_id, dtype=dtype, **arguments)


def _sequence(output: Any) -> Any:
    return output["sequence_output"] if isinstance(output, dict) else output


def _inputs(backbone: Any) -> list[str]:
    names = sorted(backbone.input) if isinstance(backbone.input, dict) else []
    if not set(INPUTS[:2]) <= set(names) <= set(INPUTS):
        raise UserError(
            f"`preset` must hold a text backbone with the inputs token_ids and padding_mask. "
            f"Received: {type(backbone).__name__} with {', '.join(names) or 'other inputs'}."
        )
    return names


def _has_layers(backbone: Any) -> bool:
    """Whether the backbone has a list of layers, each used once, whose last output is its own."""
    found = list(getattr(backbone, "transformer_layers", ()))
    return len(set(map(id, found))) == len(found) > 0 and found[-1].output is _sequence(backbone.output)


@keras.saving.register_keras_serializable("ml4ir_losses")
class HubTokenizer(Tokenizer):
    """The subwords of a KerasHub tokenizer between its start and end tokens.

    Args:
        tokenizer: a `keras_hub.tokenizers.Tokenizer`; its vocabulary is saved as an asset of the model.
        max_length: how many tokens of a text are read, start and end included.
    """

    def __init__(self, tokenizer: Any, max_length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tokenizer, self.max_length = tokenizer, max_length
        self._convert_input_args = False  # strings are TensorFlow's on every backend
        self.built = True

    @classmethod
    def from_preset(cls, preset: str | Path, max_length: int) -> HubTokenizer:
        """The tokenizer of a preset folder; `UserError` when there is none, or no room for a token of a text."""
        made = cls(load_preset("tokenizer", preset), max_length)
        check_whole(1 + sum(map(len, made.bounds)), max_length=max_length)
        return made

    @property
    def vocabulary_size(self) -> int:
        return int(self.tokenizer.vocabulary_size()) + 1

    def ids(self, text: str) -> list[int]:
        return [int(number) for number in self.bounded(np.asarray(self.tokenizer(text)))]

    def padded(self, texts: Sequence[str]) -> Array:
        return pad_rows([self.bounded(row) for row in self.tokens(list(texts))])

    def tokens(self, texts: list[str]) -> Sequence[Array]:
        """The tokens of every text, numbered as in the preset."""
        if not texts:
            return []
        word_piece = isinstance(self.tokenizer, import_keras_hub().tokenizers.WordPieceTokenizer)
        if not word_piece or importlib.util.find_spec("tensorflow_text") is None:
            return [np.asarray(row) for row in self.tokenizer(texts)]
        import tensorflow as tf  # outside of its graphs WordPiece is pure Python, 20 times as slow

        ragged = tf.function(self.tokenizer)(tf.constant(texts))
        return np.split(ragged.values.numpy(), ragged.row_splits.numpy()[1:-1])

    def bounded(self, tokens: Array) -> Array:
        """The ids of a text's tokens, cut to `max_length`."""
        start, end = self.bounds
        room = self.max_length - len(start) - len(end)
        return np.array([*start, *tokens[:room], *end], dtype="int32") + 1

    @property
    def bounds(self) -> tuple[list[int], list[int]]:
        """The tokens that KerasHub's preprocessors put before and behind a text; some models have but one of them."""
        known = (getattr(self.tokenizer, name, None) for name in ("start_token_id", "end_token_id"))
        start, end = ([] if number is None else [number] for number in known)
        return start, end

    def call(self, texts: Tensor) -> Tensor:
        # Made here, since a loaded tokenizer knows its tokens only once its assets are there.
        packer = import_keras_hub().layers.StartEndPacker(self.max_length, *self.bounds, pad_value=-1)
        packed = packer(self.tokenizer(texts)) + 1
        width = ops.max(ops.sum(ops.cast(packed != 0, "int32"), axis=1))
        return packed[:, : ops.maximum(width, 1)]

    def compute_output_spec(self, texts: Any) -> Any:
        return keras.KerasTensor((texts.shape[0], None), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        tokenizer = keras.saving.serialize_keras_object(self.tokenizer)
        return {**super().get_config(), "tokenizer": tokenizer, "max_length": self.max_length}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> HubTokenizer:
        import_keras_hub()
        return cls(**{**config, "tokenizer": keras.saving.deserialize_keras_object(config["tokenizer"])})

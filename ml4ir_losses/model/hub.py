"""Encoder and tokenizer of a KerasHub preset in a local folder; nothing is ever downloaded.

Token ids are those of the preset plus one, so that 0 is padding for every preset.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.model.text_layers import pool
from ml4ir_losses.text.hub_tokenizer import import_keras_hub, load_preset

INPUTS = ("token_ids", "padding_mask", "segment_ids")


@keras.saving.register_keras_serializable("ml4ir_losses")
class HubEncoder(layers.Layer):  # type: ignore[misc]
    """Maps token ids [N, T], padded with 0, to float32 embeddings [N, D] with a KerasHub backbone.

    The layer's config includes the backbone's, so that a saved model does not need the preset.

    Args:
        backbone: a `keras_hub.models.Backbone` for text.
        pad_id: padding id of the backbone; masked, so that it does not change an embedding.
        pooling: `mean` or `max` over the tokens, or `cls`, the first token.
        max_length: maximum number of tokens per text.
        output_dim: embedding dimension D, by a dense layer after the pooling; None: the backbone's width.

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
        # float32 under any dtype policy: cosines in half precision tie.
        self.projection = None
        if output_dim is not None:
            self.projection = layers.Dense(output_dim, dtype="float32", name="projection")
            self.projection.build((None, self.width))
        self.built = True

    @property
    def width(self) -> int:
        """Dimension of a token state."""
        return int(_sequence(self.backbone.output).shape[-1])

    @property
    def output_width(self) -> int:
        """Embedding dimension D."""
        return int(self.config["output_dim"] or self.width)

    def call(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        return self.finish(self.token_states(tokens, training), tokens)

    def token_states(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        """Token states [N, T, width] of token ids."""
        return _sequence(self.run(self.backbone, tokens, training))

    @property
    def word_embeddings(self) -> Any:
        """The backbone's token embeddings [V, embedding_dim], by the ids of the preset."""
        return self.backbone.token_embedding.embeddings

    def run(self, model: Callable[..., Any], tokens: Tensor, training: bool | None) -> Any:
        """The outputs of the backbone, or of a model with its inputs."""
        length, max_length = tokens.shape[1], self.config["max_length"]
        if length is not None and length > max_length:
            raise UserError(f"The encoder takes texts of max_length={max_length} tokens. Received: texts of {length}.")
        tokens = ops.cast(tokens, "int32")
        inputs = {
            "token_ids": ops.where(tokens == 0, self.config["pad_id"], tokens - 1),
            "padding_mask": ops.cast(tokens != 0, "int32"),
            "segment_ids": ops.zeros_like(tokens),
        }
        # A frozen backbone runs without dropout.
        return model({name: inputs[name] for name in self.input_names}, training=training and self.backbone.trainable)

    def finish(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Text embeddings [N, D] of the token states [N, T, width]."""
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
    """A `HubEncoder` that can return embeddings of every layer: the backbone outputs its last layer, as in BERT."""

    def __init__(self, backbone: Any, **kwargs: Any) -> None:
        super().__init__(backbone, **kwargs)
        all_layers = keras.Model(backbone.input, [layer.output for layer in backbone.transformer_layers])
        # The method, not the model: its layers are the backbone's, which are tracked and saved there.
        self.layer_states = all_layers.__call__

    def every_layer(self, tokens: Tensor, training: bool | None = None) -> Tensor:
        """The pooled output of each layer, [N, layers, D]; the last one equals the encoder's output."""
        states = self.run(self.layer_states, tokens, training)
        return ops.stack([self.finish(layer, tokens) for layer in states], axis=1)


def hub_encoder(preset: str | Path, trainable: bool = True, dtype: Any = None, **arguments: Any) -> HubEncoder:
    """The encoder of a preset folder, with its weights."""
    pad_id = load_preset("tokenizer", preset).pad_token_id
    backbone = load_preset("backbone", preset, dtype=dtype)
    backbone.trainable = trainable
    encoder = LayeredHubEncoder if _has_layers(backbone) else HubEncoder
    return encoder(backbone, pad_id=pad_id, dtype=dtype, **arguments)


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
    """Whether the backbone has a list of layers, each used once, the last of which yields the backbone's output."""
    layer_list = list(getattr(backbone, "transformer_layers", ()))
    return len(set(map(id, layer_list))) == len(layer_list) > 0 and layer_list[-1].output is _sequence(backbone.output)

"""Towers: the encoders of a bi-encoder, which map the token ids of each text column to embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers, ops

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.losses.embedding.reconstruction import codes
from ml4ir_losses.model.denoising import Decoder, WordDeletion


def column_names(columns: int) -> list[str]:
    """The columns of y_pred [B, C, D]: anchor, positive, negative_1, ..."""
    return ["anchor", "positive", *(f"negative_{n}" for n in range(1, columns - 1))][:columns]


@keras.saving.register_keras_serializable("ml4ir_losses")
class Towers(layers.Layer):  # type: ignore[misc]
    """Maps token ids `{column: [B, T]}` to embeddings [B, C, D], or to [B, C, L, D], such as those of every layer.

    Args:
        encoders: one for all columns, or one for the anchors and one for the other columns.
        every_layer: return the embeddings of every encoder layer.
    """

    def __init__(self, encoders: Sequence[Any], every_layer: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoders = [keras.saving.deserialize_keras_object(e) if isinstance(e, Mapping) else e for e in encoders]
        self.every_layer = every_layer
        if every_layer and not all(hasattr(encoder, "every_layer") for encoder in self.encoders):
            raise UserError("The loss reads the embeddings of every layer: it needs the encoder 'transformer'.")

    @property
    def output_width(self) -> int:
        """Embedding dimension D."""
        width: int = self.encoders[0].output_width
        return width

    def embeddings(self, outputs: Tensor) -> Tensor:
        """The embeddings [..., D] among outputs of the towers: of the last layer, or the codes."""
        if self.every_layer:
            return outputs[..., -1, :]
        return codes(outputs) if getattr(self.encoders[0], "reconstructs", False) else outputs

    def build(self, input_shape: Any = None) -> None:
        for encoder in self.encoders:
            if not encoder.built:  # a loaded encoder is built already
                encoder.build((None, None))
        self.built = True

    def encode(self, tokens: Tensor, column: str, training: bool | None = None) -> Tensor:
        """Embeddings [B, D] of one column, or [B, L, D]."""
        encoder = self.encoders[0 if column == "anchor" else -1]
        return (
            encoder.every_layer(tokens, training=training) if self.every_layer else encoder(tokens, training=training)
        )

    def call(self, x: Mapping[str, Tensor], training: bool | None = None) -> Tensor:
        columns = [name for name in column_names(2 + len(x)) if name in x]
        if not columns:
            raise DataError(
                f"The model takes texts by column: anchor, positive, ... Received: {', '.join(x) or 'none'}."
            )
        return ops.stack([self.encode(x[name], name, training) for name in columns], axis=1)

    def get_config(self) -> dict[str, Any]:
        encoders = [keras.saving.serialize_keras_object(encoder) for encoder in self.encoders]
        return {**super().get_config(), "encoders": encoders, "every_layer": self.every_layer}


@keras.saving.register_keras_serializable("ml4ir_losses")
class DenoisingTowers(Towers):
    """An encoder of texts with words deleted in training, and a decoder that reconstructs the texts.

    Args:
        encoders: one encoder.
        decoder: the parameters of `Decoder`.
        deletion_rate: probability that a word is deleted.
        tie: whether the decoder shares the encoder's word embeddings.
    """

    def __init__(
        self,
        encoders: Sequence[Any],
        decoder: Mapping[str, Any],
        deletion_rate: float = 0.6,
        tie: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoders, **kwargs)
        self.config = {"decoder": dict(decoder), "deletion_rate": deletion_rate, "tie": tie}
        self.deletion = WordDeletion(deletion_rate)
        words = self.encoders[0].words if tie else None
        self.decoder = Decoder(**decoder, words=words, dtype=self.dtype_policy)

    def build(self, input_shape: Any = None) -> None:
        super().build()
        self.decoder.build((None, self.output_width), (None, None))

    def encode(self, tokens: Tensor, column: str, training: bool | None = None) -> Tensor:
        return super().encode(self.deletion(tokens, training=training), column, training)

    def decode(self, vectors: Tensor, tokens: Tensor, training: bool | None = None) -> Tensor:
        """Logits [B, T, V] of the tokens [B, T] given the text embeddings [B, D]."""
        return self.decoder(vectors, tokens, training=training)

    def get_config(self) -> dict[str, Any]:
        config = {name: value for name, value in super().get_config().items() if name != "every_layer"}
        return {**config, **self.config}

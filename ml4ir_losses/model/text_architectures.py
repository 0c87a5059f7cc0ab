"""Architectures over texts by key: functions that name their parameters and build a layer of encoders."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import ENCODERS, register_architecture

Encoder = str | dict[str, Any]


@register_architecture("bi_encoder")
@register_architecture("pair_classifier")
def bi_encoder(
    *,
    encoder: Encoder = "bag_of_words",
    shared: bool = True,
    vocabulary_size: int = 2,
    every_layer: bool = False,
    dtype: Any = None,
) -> Any:
    """Texts to embeddings, each by itself: one encoder for all columns, or one for anchors and one for the others.

    As `pair_classifier` it stands below the dense head on u, v, |u - v| and u·v that the loss `pair_softmax` asks for.

    Args:
        encoder: key and parameters of the encoder.
        shared: one encoder for all columns.
    """
    from ml4ir_losses.model.towers import Towers

    if not isinstance(shared, bool):
        raise UserError(f"`shared` must be true or false. Received: shared={shared!r}.")
    hidden = {"vocabulary_size": vocabulary_size, "dtype": dtype}
    encoders = [ENCODERS.create(encoder, hidden=hidden) for _ in range(1 if shared else 2)]
    return Towers(encoders, every_layer, name="towers", dtype=dtype)


@register_architecture("denoising_auto_encoder")
def denoising_auto_encoder(
    *,
    encoder: Encoder = "transformer",
    deletion_rate: float = 0.6,
    num_layers: int = 2,
    num_heads: int = 4,
    hidden_dim: int | None = None,
    dropout: float = 0.1,
    vocabulary_size: int = 2,
    every_layer: bool = False,
    tie: bool = True,
    max_length: int = 256,
    dtype: Any = None,
) -> Any:
    """TSDAE: an encoder of texts with words deleted, and a decoder that rebuilds each from its one vector.

    Args:
        encoder: key and parameters of the encoder, which is what remains of the training.
        deletion_rate: the probability of each word to be deleted.
        num_layers: layers of the decoder.
        num_heads: heads of each; they divide the width of a word's vector.
        hidden_dim: width inside a layer's dense part; None: four times that width.
        dropout: share of the decoder's numbers that is dropped in training.
    """
    from ml4ir_losses.model.towers import DenoisingTowers

    built = ENCODERS.create(encoder, hidden={"vocabulary_size": vocabulary_size, "dtype": dtype})
    tie = tie and hasattr(built, "words")  # a pretrained backbone keeps its words to itself
    decoder = {
        "vocabulary_size": vocabulary_size,
        "embedding_dim": built.words.output_dim if tie else built.output_width,
        "num_layers": num_layers,
        "num_heads": num_heads,
        "hidden_dim": hidden_dim,
        "dropout": dropout,
        "max_length": max_length,
    }
    return DenoisingTowers([built], decoder, deletion_rate, tie, name="towers", dtype=dtype)


for _architecture in (bi_encoder, denoising_auto_encoder):
    setattr(_architecture, "reads", "texts")  # noqa: B010  a function has no such attribute for mypy

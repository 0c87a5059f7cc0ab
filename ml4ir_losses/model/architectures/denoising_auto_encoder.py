"""The architecture `denoising_auto_encoder`."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import ENCODERS, register_architecture
from ml4ir_losses.model.rules import Rate, Spec


@register_architecture("denoising_auto_encoder", reads="texts", heads=("decoder",))
def denoising_auto_encoder(
    *,
    encoder: Spec = "transformer",
    deletion_rate: Rate = 0.6,
    num_layers: PositiveInt = 2,
    num_heads: PositiveInt = 4,
    hidden_dim: PositiveInt | None = None,
    dropout: Rate = 0.1,
    vocabulary_size: int = 2,
    every_layer: bool = False,
    tie: bool = True,
    max_length: int = 256,
    dtype: Any = None,
) -> Any:
    """TSDAE: an encoder of texts with deleted words, and a decoder that reconstructs each text from its embedding.

    Args:
        encoder: key and parameters of the encoder, the part that is used after training.
        deletion_rate: probability that a word is deleted.
        num_layers: number of decoder layers.
        num_heads: attention heads per layer; must divide the word embedding dimension.
        hidden_dim: hidden width of each feed-forward block; None: 4 times the word embedding dimension.
        dropout: dropout rate of the decoder.
    """
    from ml4ir_losses.model.towers import DenoisingTowers

    built = ENCODERS.create(encoder, hidden={"vocabulary_size": vocabulary_size, "dtype": dtype})
    tie = tie and hasattr(built, "words")  # a pretrained backbone does not expose its word embeddings
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

"""Encoders by key: layers from token ids [N, T], 0 being padding, to one vector a text, [N, D].

An encoder is a function that names its parameters and builds a layer; `register_encoder` gives it a key. Whatever is
padded, or how far, changes no vector; a text without a token is the zero vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml4ir_losses.core.errors import UserError, check_choice, check_count, check_whole
from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import register_encoder

POOLINGS = ("mean", "max", "cls")


@register_encoder("bag_of_words")
def bag_of_words(
    *,
    embedding_dim: int = 256,
    pooling: str = "weighted",
    term_frequency: str = "raw",
    initial: str = "random",
    dropout: float = 0.0,
    output_dim: int | None = None,
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """A vector per word, and their mean: no order, fast, and hard to beat on little data.

    Args:
        embedding_dim: numbers of a word's vector.
        pooling: `weighted`, by a trained weight above 0 per word; `mean`; `max`.
        term_frequency: what a word that comes c times counts, `raw`: c; `log`: 1 + ln c.
        initial: start of the words' vectors and weights, `random`, or `lsi`: latent semantic indexing of the training
            texts (see `start_values`); a run that starts from `training.initial_model` takes over that model's.
        dropout: share of the words that is dropped in training.
        output_dim: D, by a dense layer behind the pooling; None: the vectors as they are.
    """
    from ml4ir_losses.model.text_layers import BagOfWords

    check_choice(("weighted", "mean", "max"), pooling=pooling)
    check_choice(("raw", "log"), term_frequency=term_frequency)
    check_choice(("random", "lsi"), initial=initial)
    if pooling == "max" and term_frequency == "log":
        raise UserError("`term_frequency` must be 'raw' for pooling='max', which counts no word. Received: 'log'.")
    check_whole(1, embedding_dim=embedding_dim)
    check_count(output_dim=output_dim)
    return BagOfWords(
        vocabulary_size=vocabulary_size,
        embedding_dim=embedding_dim,
        pooling=pooling,
        term_frequency=term_frequency,
        initial=initial,
        dropout=_share(dropout),
        output_dim=output_dim,
        dtype=dtype,
    )


@register_encoder("cnn")
def cnn(
    *,
    embedding_dim: int = 256,
    filters: Sequence[int] = (256, 256),
    kernel_size: int = 3,
    pooling: str = "max",
    dropout: float = 0.0,
    output_dim: int | None = None,
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """Convolutions over neighbouring words.

    Args:
        embedding_dim: numbers of a word's vector.
        filters: width of every convolution.
        kernel_size: how many neighbouring words one of them sees.
        pooling: `max` or `mean` over the words.
        dropout: share of the numbers that is dropped in training.
        output_dim: D, by a dense layer behind the pooling; None: the width of the last convolution.
    """
    from ml4ir_losses.model.text_layers import ConvolutionalEncoder

    check_choice(("max", "mean"), pooling=pooling)
    widths = [filters] if isinstance(filters, int) else list(filters)
    check_whole(1, embedding_dim=embedding_dim, kernel_size=kernel_size)
    check_whole(1, **{f"filters[{place}]": width for place, width in enumerate(widths)})
    check_count(output_dim=output_dim)
    return ConvolutionalEncoder(
        vocabulary_size=vocabulary_size,
        embedding_dim=embedding_dim,
        filters=widths,
        kernel_size=kernel_size,
        pooling=pooling,
        dropout=_share(dropout),
        output_dim=output_dim,
        dtype=dtype,
    )


@register_encoder("gru")
def gru(
    *,
    embedding_dim: int = 256,
    units: PositiveInt = 256,
    bidirectional: bool = True,
    pooling: str = "mean",
    dropout: float = 0.0,
    output_dim: int | None = None,
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """A recurrent network that reads the words in order.

    Args:
        embedding_dim: numbers of a word's vector.
        units: width of the network, of each direction.
        bidirectional: read from both ends.
        pooling: `mean` or `max` over the words.
        dropout: share of the numbers that is dropped in training.
        output_dim: D, by a dense layer behind the pooling; None: the width of the network.
    """
    from ml4ir_losses.model.text_layers import RecurrentEncoder

    check_choice(("mean", "max"), pooling=pooling)
    check_whole(1, embedding_dim=embedding_dim, units=units)
    check_count(output_dim=output_dim)
    return RecurrentEncoder(
        vocabulary_size=vocabulary_size,
        embedding_dim=embedding_dim,
        units=units,
        bidirectional=bool(bidirectional),
        pooling=pooling,
        dropout=_share(dropout),
        output_dim=output_dim,
        dtype=dtype,
    )


@register_encoder("transformer")
def transformer(
    *,
    embedding_dim: int = 256,
    num_layers: int = 4,
    num_heads: int = 4,
    hidden_dim: int | None = None,
    max_length: int = 512,
    pooling: str = "mean",
    dropout: float = 0.1,
    output_dim: int | None = None,
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """A pre-norm transformer.

    Args:
        embedding_dim: numbers of a word's vector and of every layer.
        num_layers: how many layers of attention.
        num_heads: heads of each; they divide `embedding_dim`.
        hidden_dim: width inside a layer's dense part; None: four times `embedding_dim`.
        max_length: how many words have a position; longer texts are an error.
        pooling: `mean`, `max`, or `cls`, the first token.
        dropout: share of the numbers that is dropped in training.
        output_dim: D, by a dense layer behind the pooling; None: `embedding_dim`.
    """
    from ml4ir_losses.model.text_layers import TransformerEncoder

    check_choice(POOLINGS, pooling=pooling)
    check_whole(1, embedding_dim=embedding_dim, num_layers=num_layers, num_heads=num_heads, max_length=max_length)
    check_count(hidden_dim=hidden_dim, output_dim=output_dim)
    if embedding_dim % num_heads:
        raise UserError(f"`num_heads` must divide embedding_dim={embedding_dim}. Received: num_heads={num_heads!r}.")
    return TransformerEncoder(
        vocabulary_size=vocabulary_size,
        embedding_dim=embedding_dim,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim or 4 * embedding_dim,
        max_length=max_length,
        pooling=pooling,
        dropout=_share(dropout),
        output_dim=output_dim,
        dtype=dtype,
    )


def _share(dropout: float) -> float:
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise UserError(f"`dropout` must be from 0 to below 1. Received: dropout={dropout!r}.")
    return float(dropout)


def check_positions(encoder: Any, length: int, source: str) -> None:
    """Raises `UserError` for an encoder that has fewer positions than its texts have tokens."""
    most = getattr(encoder, "config", {}).get("max_length")
    if most is not None and most < length:
        raise UserError(f"the encoder's max_length must be at least {length}, that of {source}. Received: {most}.")

"""The encoder `cnn`."""

from __future__ import annotations

from typing import Any, Literal

from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import register_encoder
from ml4ir_losses.model.rules import Rate, Widths, as_list


@register_encoder("cnn")
def cnn(
    *,
    embedding_dim: PositiveInt = 256,
    filters: Widths = (256, 256),
    kernel_size: PositiveInt = 3,
    pooling: Literal["max", "mean"] = "max",
    dropout: Rate = 0.0,
    output_dim: PositiveInt | None = None,
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """Convolutions over neighbouring words.

    Args:
        embedding_dim: word embedding dimension.
        filters: number of filters of each convolution.
        kernel_size: kernel width in words.
        pooling: `max` or `mean` over the words.
        dropout: dropout rate.
        output_dim: embedding dimension D, by a dense layer after the pooling; None: the width of the last convolution.
    """
    from ml4ir_losses.model.text_layers import ConvolutionalEncoder

    return ConvolutionalEncoder(
        vocabulary_size=vocabulary_size,
        embedding_dim=embedding_dim,
        filters=as_list(filters),
        kernel_size=kernel_size,
        pooling=pooling,
        dropout=dropout,
        output_dim=output_dim,
        dtype=dtype,
    )

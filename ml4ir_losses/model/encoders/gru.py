"""The encoder `gru`."""

from __future__ import annotations

from typing import Any, Literal

from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import register_encoder
from ml4ir_losses.model.rules import Rate


@register_encoder("gru")
def gru(
    *,
    embedding_dim: PositiveInt = 256,
    units: PositiveInt = 256,
    bidirectional: bool = True,
    pooling: Literal["mean", "max"] = "mean",
    dropout: Rate = 0.0,
    output_dim: PositiveInt | None = None,
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """A recurrent network that reads the words in order.

    Args:
        embedding_dim: word embedding dimension.
        units: number of units per direction.
        bidirectional: read from both ends.
        pooling: `mean` or `max` over the words.
        dropout: dropout rate.
        output_dim: embedding dimension D, by a dense layer after the pooling; None: the width of the network.
    """
    from ml4ir_losses.model.text_layers import RecurrentEncoder

    return RecurrentEncoder(
        vocabulary_size=vocabulary_size,
        embedding_dim=embedding_dim,
        units=units,
        bidirectional=bidirectional,
        pooling=pooling,
        dropout=dropout,
        output_dim=output_dim,
        dtype=dtype,
    )

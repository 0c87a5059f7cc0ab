"""The encoder `transformer`."""

from __future__ import annotations

from typing import Any, Literal

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import register_encoder
from ml4ir_losses.model.rules import Rate


@register_encoder("transformer")
def transformer(
    *,
    embedding_dim: PositiveInt = 256,
    num_layers: PositiveInt = 4,
    num_heads: PositiveInt = 4,
    hidden_dim: PositiveInt | None = None,
    max_length: PositiveInt = 512,
    pooling: Literal["mean", "max", "cls"] = "mean",
    dropout: Rate = 0.1,
    output_dim: PositiveInt | None = None,
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """A pre-norm transformer.

    Args:
        embedding_dim: dimension of the word embeddings and of every layer.
        num_layers: number of transformer layers.
        num_heads: attention heads per layer; must divide `embedding_dim`.
        hidden_dim: hidden width of each feed-forward block; None: 4 `embedding_dim`.
        max_length: number of positions; a longer text is an error.
        pooling: `mean`, `max`, or `cls`, the first token.
        dropout: dropout rate.
        output_dim: embedding dimension D, by a dense layer after the pooling; None: `embedding_dim`.
    """
    from ml4ir_losses.model.text_layers import TransformerEncoder

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
        dropout=dropout,
        output_dim=output_dim,
        dtype=dtype,
    )

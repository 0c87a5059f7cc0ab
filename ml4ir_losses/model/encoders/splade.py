"""The encoder `splade`."""

from __future__ import annotations

from typing import Any, Literal

from ml4ir_losses.core.registry import ENCODERS, register_encoder
from ml4ir_losses.model.rules import Spec


@register_encoder("splade")
def splade(
    *,
    encoder: Spec = "transformer",
    pooling: Literal["max", "sum"] = "max",
    activation: Literal["relu", "log1p_relu"] = "relu",
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """Sparse weights of the words of the vocabulary, for inverted indexes: each token gives each word a weight.

    The weight is ln(1 + max(0, logit)), the logit that of a masked language model with the encoder's word embeddings.
    The loss `splade` keeps most weights 0.

    Args:
        encoder: key and parameters of an encoder of words in context: `cnn`, `gru`, `transformer` or `keras_hub`; its
            `pooling` has no effect.
        pooling: `max` (SPLADE v2) or `sum` (SPLADE) over the tokens of a text.
        activation: `relu`, or `log1p_relu` with the logarithm taken twice.
    """
    from ml4ir_losses.model.sparse_layers import SpladeEncoder

    inner = ENCODERS.create(encoder, hidden={"vocabulary_size": vocabulary_size, "dtype": dtype})
    return SpladeEncoder(inner, pooling, activation, dtype=dtype)

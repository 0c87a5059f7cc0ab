"""The encoder `bag_of_words`."""

from __future__ import annotations

from typing import Any, Literal

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import register_encoder
from ml4ir_losses.model.rules import Rate


@register_encoder("bag_of_words")
def bag_of_words(
    *,
    embedding_dim: PositiveInt = 256,
    pooling: Literal["weighted", "mean", "max"] = "weighted",
    term_frequency: Literal["raw", "log"] = "raw",
    initial: Literal["random", "lsi"] = "random",
    dropout: Rate = 0.0,
    output_dim: PositiveInt | None = None,
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """The mean of the word embeddings: ignores word order, is fast, and is hard to beat on small data sets.

    Args:
        embedding_dim: word embedding dimension.
        pooling: `weighted`, by a trainable positive weight per word; `mean`; `max`.
        term_frequency: weight of a word that occurs c times: `raw`: c; `log`: 1 + ln c.
        initial: initial word embeddings and weights: `random`, or `lsi`: latent semantic indexing of the training
            texts (see `start_values`); a run that starts from `training.initial_model` takes over that model's.
        dropout: probability that a word is dropped in training.
        output_dim: embedding dimension D, by a dense layer after the pooling; None: no projection.
    """
    from ml4ir_losses.model.text_layers import BagOfWords

    if pooling == "max" and term_frequency == "log":
        raise UserError("`term_frequency` must be 'raw' for pooling='max', which counts no word. Received: 'log'.")
    return BagOfWords(
        vocabulary_size=vocabulary_size,
        embedding_dim=embedding_dim,
        pooling=pooling,
        term_frequency=term_frequency,
        initial=initial,
        dropout=dropout,
        output_dim=output_dim,
        dtype=dtype,
    )

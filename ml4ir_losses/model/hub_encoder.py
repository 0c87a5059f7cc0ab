"""The encoder key `keras_hub`; its layers are in `hub.py`, which imports Keras."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.errors import check_choice, check_count, check_flag, check_whole
from ml4ir_losses.core.registry import register_encoder
from ml4ir_losses.model.text_encoders import POOLINGS


@register_encoder("keras_hub")
def keras_hub(
    *,
    preset: str,
    pooling: str = "mean",
    max_length: int = 256,
    output_dim: int | None = None,
    trainable: bool = True,
    vocabulary_size: int | None = None,
    dtype: Any = None,
) -> Any:
    """A pretrained KerasHub backbone of texts from a local folder: BERT, RoBERTa, DistilBERT, Gemma and others.

    Args:
        preset: folder with a KerasHub preset; a saved model no longer needs it.
        pooling: `mean`, `max`, or `cls`, the first token.
        max_length: how many tokens of a text are read, start and end included.
        output_dim: D, by a dense layer behind the pooling; None: the backbone's width.
        trainable: whether the backbone's weights are trained; the dense layer's always are.
    """
    from ml4ir_losses.model.hub import hub_encoder

    check_choice(POOLINGS, pooling=pooling)
    check_whole(1, max_length=max_length)
    check_count(output_dim=output_dim)
    check_flag(trainable=trainable)
    return hub_encoder(preset, trainable, dtype, pooling=pooling, max_length=max_length, output_dim=output_dim)

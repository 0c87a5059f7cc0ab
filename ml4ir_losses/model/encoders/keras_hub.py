"""The encoder `keras_hub`; its layers are in `model/hub.py`, which imports Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import register_encoder


def hub_tokenizer(parameters: Mapping[str, Any], max_length: int) -> Any:
    """The tokenizer of the preset."""
    from ml4ir_losses.text.hub_tokenizer import HubTokenizer

    return HubTokenizer.from_preset(parameters["preset"], max_length)


@register_encoder("keras_hub", make_tokenizer=hub_tokenizer)
def keras_hub(
    *,
    preset: str,
    pooling: Literal["mean", "max", "cls"] = "mean",
    max_length: PositiveInt = 256,
    output_dim: PositiveInt | None = None,
    trainable: bool = True,
    vocabulary_size: int | None = None,
    dtype: Any = None,
) -> Any:
    """A pretrained KerasHub text backbone from a local folder: BERT, RoBERTa, DistilBERT, Gemma and others.

    Args:
        preset: folder with a KerasHub preset; a saved model no longer needs it.
        pooling: `mean`, `max`, or `cls`, the first token.
        max_length: maximum number of tokens per text, start and end tokens included.
        output_dim: embedding dimension D, by a dense layer after the pooling; None: the backbone's width.
        trainable: whether the backbone's weights are trained; the dense layer's always are.
    """
    from ml4ir_losses.model.hub import hub_encoder

    return hub_encoder(preset, trainable, dtype, pooling=pooling, max_length=max_length, output_dim=output_dim)

"""The architectures `bi_encoder` and `pair_classifier`."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.registry import ENCODERS, register_architecture
from ml4ir_losses.model.rules import Spec


@register_architecture("bi_encoder", reads="texts", heads=("", "cosine", "squared_distance", "projection"))
@register_architecture("pair_classifier", reads="texts", heads=("pair",))
def bi_encoder(
    *,
    encoder: Spec = "bag_of_words",
    shared: bool = True,
    vocabulary_size: int = 2,
    every_layer: bool = False,
    reconstructs: bool = False,
    dtype: Any = None,
) -> Any:
    """Embeds each text independently, with one encoder for all columns or a separate one for anchors.

    As `pair_classifier` it feeds the dense head on u, v, |u - v| and u·v that the loss `pair_softmax` needs.

    Args:
        encoder: key and parameters of the encoder.
        shared: one encoder for all columns.
    """
    from ml4ir_losses.model.towers import Towers

    hidden = {"vocabulary_size": vocabulary_size, "dtype": dtype, "reconstructs": reconstructs}
    encoders = [ENCODERS.create(encoder, hidden=hidden) for _ in range(1 if shared else 2)]
    return Towers(encoders, every_layer, name="towers", dtype=dtype)

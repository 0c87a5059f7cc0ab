"""The architecture `deep_cross`."""

from __future__ import annotations

from typing import Any, Literal

from ml4ir_losses.core.parameters import NonNegative, PositiveInt
from ml4ir_losses.core.registry import register_architecture
from ml4ir_losses.model.rules import Outputs, Rate, Widths, as_list, logits_per_document


@register_architecture("deep_cross", per_document=True)
def deep_cross(
    *,
    cross_layers: PositiveInt = 2,
    rank: PositiveInt | None = None,
    structure: Literal["parallel", "stacked"] = "parallel",
    hidden_units: Widths = (256, 128),
    activation: str = "relu",
    dropout: Rate = 0.0,
    input_dropout: Rate = 0.0,
    layer_norm: bool = False,
    l2: NonNegative = 0.0,
    num_outputs: Outputs = None,
    outputs: int | None = 1,
    dtype: Any = None,
) -> Any:
    """Products of features by cross layers, with a multilayer perceptron; scores each document independently (DCN-v2).

    $$x_{l+1} = x_0 \\odot (W_l x_l + b_l) + x_l$$

    Features should be scaled: L layers multiply up to L + 1 of them.

    Args:
        cross_layers: number of cross layers.
        rank: rank of each W, for fewer parameters; None: any matrix.
        structure: `parallel`: the perceptron reads the features; `stacked`: it reads the output of the cross layers.
        hidden_units: width of each hidden layer of the perceptron; `stacked` with `[]` has cross layers alone.
        activation: a Keras activation.
        dropout: dropout rate of the hidden units.
        input_dropout: dropout rate of the features.
        layer_norm: normalise each hidden layer's output before its activation.
        l2: L2 regularization factor.
        num_outputs: scorers of the loss `mixture_em`, classes of `categorical_cross_entropy`; 2 when left out.

    Source: Wang et al., "DCN V2: Improved deep & cross network and practical lessons for web-scale learning to rank
    systems" (2021).
    """
    from ml4ir_losses.model.cross_network import CrossNetworkScorer

    return CrossNetworkScorer(
        cross={"num_layers": cross_layers, "rank": rank, "l2": l2},
        perceptron={
            "hidden_units": as_list(hidden_units),
            "activation": activation,
            "dropout": dropout,
            "layer_norm": layer_norm,
            "l2": l2,
        },
        parallel=structure == "parallel",
        input_dropout=input_dropout,
        l2=l2,
        outputs=logits_per_document(num_outputs, outputs),
        name="scorer",
        dtype=dtype,
    )

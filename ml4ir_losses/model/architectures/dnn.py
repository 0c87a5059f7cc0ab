"""The architecture `dnn`."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.parameters import NonNegative
from ml4ir_losses.core.registry import register_architecture
from ml4ir_losses.model.rules import Outputs, Rate, Widths, as_list, logits_per_document


@register_architecture("dnn", per_document=True)
def dnn(
    *,
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
    """A multilayer perceptron that scores each document independently.

    Args:
        hidden_units: width of each hidden layer.
        activation: a Keras activation.
        dropout: dropout rate of the hidden units.
        input_dropout: dropout rate of the features.
        layer_norm: normalise each hidden layer's output before its activation.
        l2: L2 regularization factor.
        num_outputs: scorers of the loss `mixture_em`, classes of `categorical_cross_entropy`; 2 when left out.
    """
    from ml4ir_losses.model.layers import DenseScorer

    return DenseScorer(
        hidden_units=as_list(hidden_units),
        activation=activation,
        dropout=dropout,
        input_dropout=input_dropout,
        layer_norm=layer_norm,
        l2=l2,
        outputs=logits_per_document(num_outputs, outputs),
        name="scorer",
        dtype=dtype,
    )

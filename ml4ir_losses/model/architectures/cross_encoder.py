"""The architecture `cross_encoder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.parameters import NonNegative
from ml4ir_losses.core.registry import ENCODERS, register_architecture
from ml4ir_losses.model.architectures.dnn import dnn
from ml4ir_losses.model.rules import Outputs, Rate, Spec, Widths


@register_architecture("cross_encoder", reads="pairs")
def cross_encoder(
    *,
    encoder: Spec = "transformer",
    hidden_units: Widths = (),
    activation: str = "relu",
    dropout: Rate = 0.0,
    layer_norm: bool = False,
    l2: NonNegative = 0.0,
    num_outputs: Outputs = None,
    outputs: int | None = 1,
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """An encoder of the concatenated query and document, followed by a multilayer perceptron.

    The texts are columns of a text config, or the input of type text_pair of a config with features, whose other inputs
    are concatenated to the text embedding.

    Args:
        encoder: key and parameters of the encoder.
        hidden_units: width of each hidden layer.
        activation: a Keras activation.
        dropout: dropout rate of the text embedding and of the hidden units.
        layer_norm: normalise each hidden layer's output before its activation.
        l2: L2 regularization factor of the perceptron.
        num_outputs: scorers of the loss `mixture_em`, classes of `categorical_cross_entropy`; 2 when left out.
    """
    from ml4ir_losses.model.cross_encoder import CrossScorer

    head = dnn(
        hidden_units=hidden_units,
        activation=activation,
        dropout=dropout,
        input_dropout=dropout,
        layer_norm=layer_norm,
        l2=l2,
        num_outputs=num_outputs,
        outputs=outputs,
        dtype=dtype,
    )
    if isinstance(encoder, Mapping) and encoder.get("initial", "random") != "random":
        raise UserError(f"`initial` of a cross-encoder's encoder must be random. Received: {encoder['initial']!r}.")
    reader = ENCODERS.create(encoder, hidden={"vocabulary_size": vocabulary_size, "dtype": dtype})
    return CrossScorer(reader, head, name="scorer", dtype=dtype)

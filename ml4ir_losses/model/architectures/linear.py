"""The architecture `linear`."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.parameters import NonNegative
from ml4ir_losses.core.registry import register_architecture
from ml4ir_losses.model.architectures.dnn import dnn
from ml4ir_losses.model.rules import Outputs, Rate


@register_architecture("linear", per_document=True)
def linear(
    *,
    dropout: Rate = 0.0,
    l2: NonNegative = 0.0,
    num_outputs: Outputs = None,
    outputs: int | None = 1,
    dtype: Any = None,
) -> Any:
    """One weight per feature and a bias: s = w·x + b.

    Args:
        dropout: dropout rate of the features.
        l2: L2 regularization factor.
        num_outputs: scorers of the loss `mixture_em`, classes of `categorical_cross_entropy`; 2 when left out.
    """
    return dnn(hidden_units=(), input_dropout=dropout, l2=l2, num_outputs=num_outputs, outputs=outputs, dtype=dtype)

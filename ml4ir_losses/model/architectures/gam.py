"""The architecture `gam`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml4ir_losses.core.parameters import NonNegative
from ml4ir_losses.core.registry import register_architecture
from ml4ir_losses.model.rules import Rate, Widths, as_list


@register_architecture("gam", per_document=True)
def gam(
    *,
    hidden_units: Widths = (16, 8),
    query_hidden_units: Widths = (16, 8),
    activation: str = "relu",
    dropout: Rate = 0.0,
    l2: NonNegative = 0.0,
    features: Sequence[Any] = (),
    dtype: Any = None,
) -> Any:
    """A generalized additive model: the sum of a small network per feature, which `RelevanceModel.explain` gives.

    $$s(x) = \\sum_j w_j(q) f_j(x_j), \\qquad w(q) = \\sum_k \\mathrm{softmax}(g_k(q_k))$$

    with a network f of each document feature (its missing indicator and its rank belong to it) and a network g of each
    query feature q; without query features all weights are 1.

    Args:
        hidden_units: width of each hidden layer of f; `[]`: a linear function.
        query_hidden_units: width of each hidden layer of g.
        activation: a Keras activation.
        dropout: dropout rate of the hidden units.
        l2: L2 regularization factor.

    Source: Zhuang et al., "Interpretable ranking with generalized additive models" (2021).
    """
    from ml4ir_losses.model.additive import AdditiveScorer

    return AdditiveScorer(
        features,
        hidden_units=as_list(hidden_units),
        query_hidden_units=as_list(query_hidden_units),
        activation=activation,
        dropout=dropout,
        l2=l2,
        name="scorer",
        dtype=dtype,
    )

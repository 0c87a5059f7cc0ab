"""Architectures by key: functions that name their parameters and build a scorer layer.

One that takes the hidden argument `outputs`, the logits of a document (None: its own choice, `num_outputs`), fits
every loss; the others fit the losses of one logit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import ENCODERS, register_architecture


@register_architecture("linear")
def linear(
    *,
    dropout: float = 0.0,
    l2: float = 0.0,
    num_outputs: int | None = None,
    outputs: int | None = 1,
    dtype: Any = None,
) -> Any:
    """One weight per feature and a bias: s = w·x + b.

    Args:
        dropout: share of the features that is dropped in training.
        l2: factor of the squared weights in the loss.
        num_outputs: scorers of the loss `mixture_em`, classes of `categorical_cross_entropy`; 2 when left out.
    """
    return dnn(hidden_units=(), input_dropout=dropout, l2=l2, num_outputs=num_outputs, outputs=outputs, dtype=dtype)


@register_architecture("dnn")
def dnn(
    *,
    hidden_units: Sequence[int] = (256, 128),
    activation: str = "relu",
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    layer_norm: bool = False,
    l2: float = 0.0,
    num_outputs: int | None = None,
    outputs: int | None = 1,
    dtype: Any = None,
) -> Any:
    """A multilayer perceptron that scores every document by itself.

    Args:
        hidden_units: width of each hidden layer.
        activation: a Keras activation.
        dropout: share of the hidden units that is dropped in training.
        input_dropout: share of the features that is dropped in training.
        layer_norm: normalise each hidden layer's output before its activation.
        l2: factor of the squared weights in the loss.
        num_outputs: scorers of the loss `mixture_em`, classes of `categorical_cross_entropy`; 2 when left out.
    """
    units = [hidden_units] if isinstance(hidden_units, int) else list(hidden_units)
    if not all(isinstance(u, int) and not isinstance(u, bool) and u >= 1 for u in units):
        raise UserError(f"`hidden_units` must be whole numbers of at least 1. Received: {hidden_units!r}.")
    for name, rate in (("dropout", dropout), ("input_dropout", input_dropout)):
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            raise UserError(f"`{name}` must be from 0 to below 1. Received: {rate!r}.")
    if isinstance(l2, bool) or not isinstance(l2, (int, float)) or l2 < 0:
        raise UserError(f"`l2` must be a number of at least 0. Received: {l2!r}.")
    if num_outputs is not None:
        if isinstance(num_outputs, bool) or not isinstance(num_outputs, int) or num_outputs < 2:
            raise UserError(f"`num_outputs` must be a whole number of at least 2. Received: {num_outputs!r}.")
        if outputs is not None:
            raise UserError(
                "`num_outputs` is for the losses 'mixture_em' and 'categorical_cross_entropy'; this one takes "
                f"{outputs} logit{'s' * (outputs > 1)} per document."
            )
    from ml4ir_losses.model.layers import DenseScorer

    return DenseScorer(
        hidden_units=units,
        activation=activation,
        dropout=dropout,
        input_dropout=input_dropout,
        layer_norm=layer_norm,
        l2=l2,
        outputs=(num_outputs or 2) if outputs is None else outputs,
        name="scorer",
        dtype=dtype,
    )


@register_architecture("cross_encoder")
def cross_encoder(
    *,
    encoder: str | dict[str, Any] = "transformer",
    hidden_units: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.0,
    layer_norm: bool = False,
    l2: float = 0.0,
    num_outputs: int | None = None,
    outputs: int | None = 1,
    vocabulary_size: int = 2,
    dtype: Any = None,
) -> Any:
    """An encoder of the query and the document as one text, and a multilayer perceptron on its vector.

    Other inputs than the one of type text_pair stand beside the vector.

    Args:
        encoder: key and parameters of the encoder.
        hidden_units: width of each hidden layer.
        activation: a Keras activation.
        dropout: share of the vector and of the hidden units that is dropped in training.
        layer_norm: normalise each hidden layer's output before its activation.
        l2: factor of the squared weights of the perceptron in the loss.
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


cross_encoder.reads_pairs = True  # type: ignore[attr-defined]

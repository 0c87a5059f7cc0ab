"""The architecture `set_transformer`."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.parameters import NonNegative, PositiveInt
from ml4ir_losses.core.registry import register_architecture
from ml4ir_losses.model.rules import Outputs, Rate, Widths, as_list, logits_per_document


@register_architecture("set_transformer")
def set_transformer(
    *,
    hidden_units: Widths = (256, 128),
    activation: str = "relu",
    attention_dim: PositiveInt = 64,
    num_layers: PositiveInt = 2,
    num_heads: PositiveInt = 2,
    hidden_dim: PositiveInt | None = None,
    latent_cross: bool = True,
    log1p: bool = True,
    noise: NonNegative = 0.0,
    dropout: Rate = 0.0,
    attention_dropout: Rate = 0.0,
    input_dropout: Rate = 0.0,
    layer_norm: bool = False,
    l2: NonNegative = 0.0,
    num_outputs: Outputs = None,
    outputs: int | None = 1,
    dtype: Any = None,
) -> Any:
    """A multilayer perceptron with self-attention over the list, so that scores depend on the other documents (DASALC).

    $$s = w \\cdot ((1 + W a) \\odot h(x)) + b$$

    with the last hidden layer h of the perceptron and the document's representation a from the attention. Permuted
    documents permute the scores; padding changes none. Memory grows with queries × `num_heads` × documents².

    Args:
        hidden_units: width of each hidden layer of the perceptron.
        activation: a Keras activation.
        attention_dim: dimension of every attention layer.
        num_layers: number of attention layers.
        num_heads: attention heads per layer; must divide `attention_dim`.
        hidden_dim: hidden width of each attention layer's feed-forward block; None: 4 `attention_dim`.
        latent_cross: scale h by 1 + W a; False: concatenate h and a.
        log1p: replace each feature x by sign(x) log(1 + |x|).
        noise: standard deviation of the Gaussian noise added to the features in training.
        dropout: dropout rate of the perceptron's hidden units.
        attention_dropout: dropout rate of the attention layers.
        input_dropout: dropout rate of the features.
        layer_norm: normalise each hidden layer's output before its activation.
        l2: L2 regularization factor of the perceptron.
        num_outputs: scorers of the loss `mixture_em`, classes of `categorical_cross_entropy`; 2 when left out.

    Source: Qin et al., "Are neural rankers still outperformed by gradient boosted decision trees?" (2021); Beutel et
    al., "Latent cross" (2018).
    """
    from ml4ir_losses.model.set_scorer import SetScorer

    if attention_dim % num_heads:
        raise UserError(f"`num_heads` must divide attention_dim={attention_dim}. Received: num_heads={num_heads!r}.")
    return SetScorer(
        perceptron={
            "hidden_units": as_list(hidden_units),
            "activation": activation,
            "dropout": dropout,
            "layer_norm": layer_norm,
            "l2": l2,
        },
        attention={
            "size": attention_dim,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "hidden_dim": hidden_dim,
            "dropout": attention_dropout,
        },
        log1p=log1p,
        noise=noise,
        input_dropout=input_dropout,
        latent_cross=latent_cross,
        l2=l2,
        outputs=logits_per_document(num_outputs, outputs),
        name="scorer",
        dtype=dtype,
    )

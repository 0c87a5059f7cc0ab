"""What `model.position_bias` can be: how training on clicks separates relevance from the position.

A position bias is a function that returns a `PositionBiasLayer`, which turns logits of relevance into those of clicks,
or the propensity model of the losses, a mapping. Its parameter `labels` names the label columns that hold clicks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from ml4ir_losses.config.schema import ModelConfig
from ml4ir_losses.core.parameters import Allowed, NonNegative, Positive, PositiveInt
from ml4ir_losses.core.registry import ARCHITECTURES, POSITION_BIASES, register_position_bias, split_spec
from ml4ir_losses.losses.propensity import check_propensity
from ml4ir_losses.model.rules import Rate, Widths, as_list, logits_per_document

Labels = Annotated[Sequence[str] | None, Allowed("None or a list of label columns")]
Propensities = Annotated[
    Sequence[float] | str | None, Allowed("a list of probabilities, or the file of `propensities`")
]


@register_position_bias("additive")
def additive(*, max_position: PositiveInt = 50, dropout: Rate = 0.1, labels: Labels = None, outputs: int = 1) -> Any:
    r"""A trained bias per rank that is added to the logits in training.

    $$\text{logit of a click} = \text{relevance}(x) + b_r$$

    Args:
        max_position: the ranks from this one on share a bias.
        dropout: share of the queries of a batch that are trained without it, so that it does not explain everything.
        labels: the label columns that are clicks; all if left out.

    Source: Zhao et al., "Recommending what video to watch next: a multitask ranking system" (2019).
    """
    from ml4ir_losses.model.position_layers import RankBias

    return RankBias(max_position, outputs=outputs, dropout=dropout, name="position_bias")


@register_position_bias("tower")
def tower(
    *,
    inputs: Sequence[str] = (),
    combine: Literal["add", "multiply"] = "add",
    hidden_units: Widths = (16,),
    activation: str = "relu",
    max_position: PositiveInt = 50,
    dropout: Rate = 0.1,
    labels: Labels = None,
    outputs: int = 1,
    bias_inputs: Sequence[Any] = (),
) -> Any:
    r"""A small network of the rank, and of inputs that relevance does not see.

    $$\text{add: } \text{logit} = \text{relevance}(x) + t(r, z),\quad
    \text{multiply: } P(\text{click}) = \sigma(\text{relevance}(x))\, \sigma(t(r, z))$$

    Args:
        inputs: names of `features.inputs` that only this network reads, such as the device.
        combine: add the logits, or multiply the probabilities (PAL).
        hidden_units: width of each hidden layer.
        activation: a Keras activation.
        max_position: the ranks from this one on are the same to it.
        dropout: share of the queries of a batch that are trained without it, so that it does not explain everything.
        labels: the label columns that are clicks; all if left out.

    Source: Guo et al., "PAL: a position-bias aware learning framework for CTR prediction in live recommender systems"
    (2019); Zhao et al., "Recommending what video to watch next: a multitask ranking system" (2019).
    """
    from ml4ir_losses.model.position_layers import BiasTower

    widths = as_list(hidden_units)
    shared: dict[str, Any] = {"outputs": outputs, "dropout": dropout, "combine": combine, "name": "position_bias"}
    return BiasTower(max_position, widths, activation, bias_inputs, **shared)


@register_position_bias("propensity")
def propensity(
    *,
    values: Propensities = None,
    eta: NonNegative = 1.0,
    clip: Positive = 10.0,
    normalize: bool = False,
    labels: Labels = None,
) -> Any:
    r"""Clicks are weighted by their inverse propensity: the `propensity` of every loss that has none of its own.

    $$w = \min(1 / P(\text{rank } r \text{ is examined}), clip)$$

    Args:
        values: the probabilities of ranks 1, 2, ..., of which the last holds for all later ranks, or the file that
            `ml4ir-losses propensities` wrote; None: the power law r^-eta.
        eta: the exponent of the power law.
        clip: the largest weight.
        normalize: divide the weights by their mean over the documents of the batch.
        labels: the label columns that are clicks; all if left out.

    Source: Joachims, Swaminathan, Schnabel, "Unbiased learning-to-rank with biased feedback" (2017).
    """
    model = {"key": "power", "eta": eta} if values is None else {"key": "table", "values": list(values)}
    return check_propensity({**model, "clip": clip, "normalize": normalize})


def make_position_bias(model: ModelConfig, inputs: Sequence[Any], outputs: int | None) -> tuple[Any, Any]:
    """The layer and the propensity model of a config's position bias; None for what it does not have.

    Args:
        model: the config's model section.
        inputs: all fitted inputs.
        outputs: logits per document that the loss takes; None: as many as the architecture gives.
    """
    if model.position_bias is None:
        return None, None
    _, params = split_spec(ARCHITECTURES.kind, model.architecture)
    hidden = {
        "outputs": logits_per_document(params.get("num_outputs"), outputs),
        "bias_inputs": [fitted for fitted in inputs if fitted.name in model.bias_inputs],
    }
    bias = POSITION_BIASES.create(model.position_bias, hidden=hidden)
    return (None, bias) if isinstance(bias, Mapping) else (bias, None)

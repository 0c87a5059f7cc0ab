"""AdaptiveLayer: a loss on the output of every layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.core.parameters import NonNegative, Seed
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, differ, show
from ml4ir_losses.losses.embedding.base import (
    clean_rows,
    row_values,
)
from ml4ir_losses.losses.embedding.wrappers import EmbeddingWrapper, PartsPerStep, chosen_parts
from ml4ir_losses.losses.factory import LossSpec, get_loss
from ml4ir_losses.ops import as_float

LayerWeighting = Literal["uniform", "log", "linear"] | Callable[[int], float]


def adaptive_layer(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    loss: LossSpec,
    n_layers_per_step: PartsPerStep = 1,
    last_layer_weight: NonNegative = 1.0,
    prior_layers_weight: NonNegative = 1.0,
    kl_div_weight: NonNegative = 1.0,
    kl_temperature: NonNegative = 0.3,
    layer_weighting: LayerWeighting = "uniform",
    seed: Seed = None,
) -> Tensor:
    """Per-row values of a loss on every layer, [B]: see `AdaptiveLayerLoss`."""
    inner, embeddings = get_loss(loss), as_float(embeddings)
    layers = embeddings.shape[-2]
    last = embeddings[..., -1, :]
    clean, valid = clean_rows(last, mask)
    some = n_layers_per_step if 0 < n_layers_per_step < layers - 1 else layers - 1
    generator = seed if isinstance(seed, keras.random.SeedGenerator) else None

    def value(states: Tensor) -> Tensor:
        return inner.per_query(labels, states, item_weight, mask, generator)

    def divergence(states: Tensor) -> Tensor:
        log_p = ops.log_softmax(ops.stop_gradient(clean / kl_temperature), axis=-1)
        log_q = ops.log_softmax(clean_rows(states, mask)[0] / kl_temperature, axis=-1)
        terms = ops.sum(ops.exp(log_p) * (log_p - log_q), axis=(1, 2)) / clean.shape[1]
        return row_values(terms, valid, item_weight)

    def prior(layer: int) -> Tensor:
        states = embeddings[..., layer - 1, :]
        total = prior_layers_weight * layer_weight(layer - 1, layer_weighting) / some * value(states)
        return total + kl_temperature * kl_div_weight * divergence(states) if kl_temperature else total

    total = last_layer_weight * value(last)
    for chosen, layer in zip(chosen_parts(layers - 1, some, seed), range(1, layers), strict=True):
        # Not `ops.cond`: `prior` may draw random numbers, which JAX does not allow in a branch.
        part = prior(layer)
        total = total + (part if chosen is True else ops.where(chosen, part, 0.0))
    return total


def layer_weight(index: int, layer_weighting: LayerWeighting) -> float:
    """The weight δ of a prior layer by its index, 0 for the first one."""
    if not isinstance(layer_weighting, str):
        return layer_weighting(index)
    return {"uniform": 1.0, "linear": 1.0 / (1 + index), "log": 1.0 / (1.0 + math.log(1 + index))}[layer_weighting]


@register_loss("adaptive_layer")
class AdaptiveLayerLoss(EmbeddingWrapper):
    r"""A loss on the last layer and on prior layers, and the KL divergence of prior layers from the last layer.

    $$v_L L(h_L) + \sum_{k \in U} \Big[\frac{v\,\delta_k}{|U|} L(h_k) + \frac{T u}{C}\sum_c
    \mathrm{KL}\big(\mathrm{softmax}(h_L/T) \,\|\, \mathrm{softmax}(h_k/T)\big)\Big]$$

    y_pred [B, C, L, D] (or [B, L, D]) holds the pooled outputs of the L layers, from first to last; U are the prior
    layers that the step samples. The softmax is over the D dimensions; that of the last layer gets no gradient. Labels
    and units are those of `loss`.

    Args:
        loss: L, the key or `{key: ..., <parameters>}` of an embedding loss.
        n_layers_per_step: |U|, number of prior layers that each step samples; below 1 or beyond L - 1: all.
        last_layer_weight: v_L.
        prior_layers_weight: v.
        kl_div_weight: u.
        kl_temperature: T; 0: no divergence.
        layer_weighting: δ_k for k from 1: `uniform`, 1; `linear`, 1/k; `log`, 1/(1 + ln k); or in Python a function of
            the index k - 1, registered with Keras.
        seed: equal seeds give equal sequences of draws.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred without layers, and what `loss` raises.

    Source: Li et al., "2D Matryoshka sentence embeddings" (2024).
    """

    function = staticmethod(adaptive_layer)
    every_layer = True

    @property
    def samples(self) -> bool:
        return bool(self.params["n_layers_per_step"] > 0) or self.inner.samples

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        fits = len(y_pred) in (3, 4) and y_pred[-2] not in (0, None)
        if not fits or not y_true or differ(y_true[0], y_pred[0]):
            raise UserError(
                f"{self.key!r} takes y_pred [B, C, L, D] or [B, L, D], the output of every layer. "
                f"Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )
        self.check_layer(y_true, (*y_pred[:-2], y_pred[-1]))

    def check_layer(self, y_true: Shape, y_pred: Shape) -> None:
        """Raises `UserError` unless labels and the output of one layer have the shapes that `loss` takes."""
        self.inner.check_shapes(y_true, y_pred)

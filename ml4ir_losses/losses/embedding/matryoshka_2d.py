"""Matryoshka2d: a loss on several numbers of leading dimensions of the output of every layer."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras
from ml4ir_losses.core.parameters import NonNegative, Seed
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.embedding.adaptive_layer import AdaptiveLayerLoss, LayerWeighting, adaptive_layer
from ml4ir_losses.losses.embedding.matryoshka import Dims, MatryoshkaLoss, Weights
from ml4ir_losses.losses.embedding.wrappers import PartsPerStep
from ml4ir_losses.losses.factory import LossSpec


def matryoshka_2d(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    loss: LossSpec,
    dims: Dims,
    weights: Weights | None = None,
    n_dims_per_step: PartsPerStep = 1,
    n_layers_per_step: PartsPerStep = 1,
    last_layer_weight: NonNegative = 1.0,
    prior_layers_weight: NonNegative = 1.0,
    kl_div_weight: NonNegative = 1.0,
    kl_temperature: NonNegative = 0.3,
    layer_weighting: LayerWeighting = "uniform",
    seed: Seed = None,
) -> Tensor:
    """Per-row values of a loss over leading dimensions and layers, [B]: see `Matryoshka2dLoss`."""
    known = None if isinstance(seed, keras.random.SeedGenerator) else seed
    inner = MatryoshkaLoss(loss=loss, dims=dims, weights=weights, n_dims_per_step=n_dims_per_step, seed=known)
    return adaptive_layer(
        labels,
        embeddings,
        mask,
        item_weight=item_weight,
        loss=inner,
        n_layers_per_step=n_layers_per_step,
        last_layer_weight=last_layer_weight,
        prior_layers_weight=prior_layers_weight,
        kl_div_weight=kl_div_weight,
        kl_temperature=kl_temperature,
        layer_weighting=layer_weighting,
        seed=seed,
    )


@register_loss("matryoshka_2d")
class Matryoshka2dLoss(AdaptiveLayerLoss):
    r"""`adaptive_layer` around `matryoshka`: a loss over leading dimensions and over layers.

    $$v_L M(h_L) + \sum_{k \in U} \Big[\frac{v\,\delta_k}{|U|} M(h_k) + \frac{T u}{C}\sum_c
    \mathrm{KL}\big(\mathrm{softmax}(h_L/T) \,\|\, \mathrm{softmax}(h_k/T)\big)\Big],\quad
    M(x) = \sum_d v_d\, L\big(x_{1..d} / \lVert x_{1..d}\rVert\big)$$

    Shapes are those of `AdaptiveLayerLoss`.

    Args:
        loss: L, the key or `{key: ..., <parameters>}` of an embedding loss.
        dims: the sizes d, from 1 to D.
        weights: v_d, one for each of `dims`; None: 1.
        n_dims_per_step: number of `dims` that each step samples; below 1: all.
        n_layers_per_step: |U|, number of prior layers that each step samples; below 1 or beyond L - 1: all.
        last_layer_weight: v_L.
        prior_layers_weight: v.
        kl_div_weight: u.
        kl_temperature: T; 0: no divergence.
        layer_weighting: δ_k, as in `AdaptiveLayerLoss`.
        seed: equal seeds give equal sequences of draws.
        min_label: no effect.

    Raises:
        ValueError: as `MatryoshkaLoss` and `AdaptiveLayerLoss`.

    Source: Li et al., "2D Matryoshka sentence embeddings" (2024).
    """

    function = staticmethod(matryoshka_2d)  # type: ignore[assignment]

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        names = ("loss", "dims", "weights", "n_dims_per_step", "seed")
        self.dimensions = MatryoshkaLoss(**{name: self.params[name] for name in names})

    @property
    def samples(self) -> bool:
        return super().samples or self.dimensions.samples

    def check_layer(self, y_true: Shape, y_pred: Shape) -> None:
        self.dimensions.check_shapes(y_true, y_pred)

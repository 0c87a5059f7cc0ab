"""Losses that wrap another embedding loss: over the first dimensions, over every layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import MinLen

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.core.parameters import Allowed, NonNegative, PositiveInt, Seed
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, differ, show
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, clean_rows, row_mask, row_values
from ml4ir_losses.losses.factory import LossSpec, get_loss
from ml4ir_losses.ops import as_float, ranks
from ml4ir_losses.ops.similarity import unit_vectors

Dims = Annotated[Sequence[PositiveInt], MinLen(1), Allowed("a list of whole numbers of at least 1")]
Weights = Annotated[Sequence[NonNegative], Allowed("a list of numbers of at least 0")]
PartsPerStep = Annotated[int, Allowed("a whole number; below 1 it is all")]


def matryoshka(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    loss: LossSpec,
    dims: Dims,
    weights: Weights | None = None,
    n_dims_per_step: PartsPerStep = -1,
    seed: Seed = None,
) -> Tensor:
    """Row values of a loss over the first dimensions, [B]: see `MatryoshkaLoss`."""
    inner: Any = get_loss(loss)
    embeddings, labels = as_float(embeddings), ops.convert_to_tensor(labels)
    valid = row_mask(mask, embeddings)
    embeddings = ops.where(ops.reshape(valid, (-1, *[1] * (len(embeddings.shape) - 1))), embeddings, 0.0)
    nothing = ops.zeros_like(valid, dtype=embeddings.dtype)
    factors = [1.0] * len(dims) if weights is None else weights

    def value(size: int, factor: float) -> Tensor:
        target = labels[..., :size] if inner.labels_share_dimensions else labels
        return factor * inner.per_query(target, unit_vectors(embeddings[..., :size]), item_weight, mask)

    total = nothing
    for chosen, size, factor in zip(_chosen(len(dims), n_dims_per_step, seed), dims, factors, strict=True):
        total = total + _value_if(chosen, lambda size=size, factor=factor: value(size, factor), nothing)
    return total


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
    layer_decay: Literal["none", "linear", "log"] = "none",
    seed: Seed = None,
) -> Tensor:
    """Row values of a loss over every layer, [B]: see `AdaptiveLayerLoss`."""
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
        total = prior_layers_weight * decay(layer, layer_decay) / some * value(states)
        return total + kl_temperature * kl_div_weight * divergence(states) if kl_temperature else total

    total = last_layer_weight * value(last)
    for chosen, layer in zip(_chosen(layers - 1, some, seed), range(1, layers), strict=True):
        # Not by a condition: `value` may draw, which JAX does not let out of a branch.
        part = prior(layer)
        total = total + (part if chosen is True else ops.where(chosen, part, 0.0))
    return total


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
    layer_decay: Literal["none", "linear", "log"] = "none",
    seed: Seed = None,
) -> Tensor:
    """Row values of a loss over first dimensions and layers, [B]: see `Matryoshka2dLoss`."""
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
        layer_decay=layer_decay,
        seed=seed,
    )


def decay(layer: int, layer_decay: str) -> float:
    """The factor of a layer before the last, 1-based."""
    return {"none": 1.0, "linear": 1.0 / layer, "log": 1.0 / (1.0 + math.log(layer))}[layer_decay]


def _chosen(count: int, some: int, seed: Any) -> list[Any]:
    """Which of `count` parts take part in this step: all, or `some` of them, drawn anew."""
    if not 0 < some < count:
        return [True] * count
    draw = keras.random.uniform((1, count), dtype="float32", seed=seed)
    within = ranks(draw, ops.ones_like(draw, dtype="bool")) <= some
    return [within[0, i] for i in range(count)]


def _value_if(chosen: Any, value: Any, otherwise: Tensor) -> Tensor:
    return value() if chosen is True else ops.cond(chosen, value, lambda: otherwise)


class EmbeddingWrapper(EmbeddingLossBase):
    """An embedding loss that wraps another one, its parameter `loss`."""

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        inner = get_loss(self.params["loss"])
        if not isinstance(inner, EmbeddingLossBase):
            raise UserError(f"`loss` of {self.key!r} must be an embedding loss. Received: {inner.key!r}.")
        if inner.head or inner.memory_size:
            reads = "reads the outputs of a head" if inner.head else "keeps rows of its own"
            raise UserError(f"`loss` of {self.key!r} must be a plain embedding loss; {inner.key!r} {reads}.")
        self.params["loss"] = self.inner = inner
        for name in ("labels", "in_batch", "teacher_embeddings", "labels_share_dimensions"):
            setattr(self, name, getattr(inner, name))

    @property
    def text_columns(self) -> tuple[int, int | None]:
        return self.inner.text_columns

    @property
    def cached_batch_size(self) -> int | None:
        return self.inner.cached_batch_size

    def default_batching(self, labelled: bool) -> str:
        return self.inner.default_batching(labelled)

    @property
    def trained_parameters(self) -> dict[str, float]:
        return self.inner.trained_parameters

    def train_parameter(self, name: str, value: Callable[[], Tensor]) -> None:
        self.inner.train_parameter(name, value)

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        self.inner.check_labels(labels, y_pred, mask)


@register_loss("matryoshka")
class MatryoshkaLoss(EmbeddingWrapper):
    r"""A loss of the first d dimensions of every embedding, for several d.

    $$\sum_d v_d\, L\big(x_{1..d} / \lVert x_{1..d}\rVert\big)$$

    Embeddings are cut and made unit vectors at every d, the full one too; the labels of `embedding_mse`, a teacher's
    embeddings, are cut alone. Labels and units are those of `loss`; y_pred [B, C, D] or [B, D].

    Args:
        loss: L, the key or `{key: ..., <parameters>}` of an embedding loss.
        dims: the sizes d, from 1 to D.
        weights: v, one for each of `dims`; None: 1.
        n_dims_per_step: how many of `dims` take part in a step, drawn anew; below 1: all.
        seed: equal seeds give equal sequences of draws.
        min_label: no effect.

    Raises:
        ValueError: for sizes beyond D, weights that are not as many, and what `loss` raises.

    Source: Kusupati et al., "Matryoshka representation learning" (2022).
    """

    function = staticmethod(matryoshka)
    columns = (1, None)

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        _check_dims(self.key, self.params["dims"], self.params["weights"])

    @property
    def samples(self) -> bool:
        some: int = self.params["n_dims_per_step"]
        return 0 < some < len(self.params["dims"])

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        super().check_shapes(y_true, y_pred)
        size, most = (y_pred[-1] if y_pred else None), max(self.params["dims"])
        if size is not None and most > size:
            raise UserError(f"`dims` of {self.key!r} must be at most D = {size}, by y_pred. Received: {most}.")
        self.inner.check_shapes(y_true, y_pred)


@register_loss("adaptive_layer")
class AdaptiveLayerLoss(EmbeddingWrapper):
    r"""A loss of the last layer's embeddings and, less, of the layers before, which also follow the last.

    $$v_L L(h_L) + \sum_{k \in U} \Big[\frac{v\,\delta_k}{|U|} L(h_k) + \frac{T u}{C}\sum_c
    \mathrm{KL}\big(\mathrm{softmax}(h_L/T) \,\|\, \mathrm{softmax}(h_k/T)\big)\Big]$$

    y_pred [B, C, L, D] (or [B, L, D]) holds the pooled output of each of the L layers, the last one last; U are the
    layers before it that take part. The softmax is over the D dimensions, and no gradient flows through that of the
    last layer. Labels and units are those of `loss`.

    Args:
        loss: L, the key or `{key: ..., <parameters>}` of an embedding loss.
        n_layers_per_step: |U|, drawn anew in every step; below 1 or beyond L - 1: all.
        last_layer_weight: v_L.
        prior_layers_weight: v.
        kl_div_weight: u.
        kl_temperature: T; 0 leaves the divergence out.
        layer_decay: δ_k: `none`, 1; `linear`, 1/k (sentence-transformers up to 5.1); `log`, 1/(1 + ln k).
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
        """Checks the shapes of one layer."""
        self.inner.check_shapes(y_true, y_pred)


@register_loss("matryoshka_2d")
class Matryoshka2dLoss(AdaptiveLayerLoss):
    r"""`adaptive_layer` around `matryoshka`: a loss of first dimensions and of layers.

    $$v_L M(h_L) + \sum_{k \in U} \Big[\frac{v\,\delta_k}{|U|} M(h_k) + \frac{T u}{C}\sum_c
    \mathrm{KL}\big(\mathrm{softmax}(h_L/T) \,\|\, \mathrm{softmax}(h_k/T)\big)\Big],\quad
    M(x) = \sum_d v_d\, L\big(x_{1..d} / \lVert x_{1..d}\rVert\big)$$

    Shapes are those of `AdaptiveLayerLoss`.

    Args:
        loss: L, the key or `{key: ..., <parameters>}` of an embedding loss.
        dims: the sizes d, from 1 to D.
        weights: v_d, one for each of `dims`; None: 1.
        n_dims_per_step: how many of `dims` take part in a step, drawn anew; below 1: all.
        n_layers_per_step: |U|, drawn anew in every step; below 1 or beyond L - 1: all.
        last_layer_weight: v_L.
        prior_layers_weight: v.
        kl_div_weight: u.
        kl_temperature: T; 0 leaves the divergence out.
        layer_decay: δ_k, as in `AdaptiveLayerLoss`.
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


def _check_dims(key: str, dims: Sequence[int], weights: Sequence[float] | None) -> None:
    if weights is not None and len(weights) != len(dims):
        raise UserError(
            f"`weights` of {key!r} must hold one number for each of `dims`: {len(dims)}. Received: weights={weights!r}."
        )

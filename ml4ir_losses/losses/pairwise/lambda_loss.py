"""LambdaLoss and its weighting schemes, and RankNet: pairs of the k documents that score highest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal

from pydantic import PlainValidator, WithJsonSchema

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative, Positive, PositiveInt, check_values
from ml4ir_losses.core.registry import WEIGHTING_SCHEMES, register_loss, register_weighting_scheme
from ml4ir_losses.losses.base import PairwiseLossBase
from ml4ir_losses.losses.lambda_weights import absolute_differences, normalised_gain, steps_of
from ml4ir_losses.losses.serialization import from_config, to_config
from ml4ir_losses.ops import clean, descending_order, normalise, rank_table, take
from ml4ir_losses.ops.normalization import Normalization
from ml4ir_losses.ops.pairs import (
    Logistic,
    PairWeights,
    all_pair_weight,
    given_weights,
    ordered_pair_weight,
    pair_sums,
    valid_pairs,
)

LOG_BASE = {"binary": math.log(2.0), "natural": 1.0}


@dataclass(frozen=True)
class BaseWeightingScheme:
    """How much every pair of a ranking counts. Subclass it, or give the key of one of those below.

    A subclass is a frozen dataclass whose fields are its parameters; `register_weighting_scheme` gives it a key.
    With `all_pairs` every two documents make a pair, in both directions and with themselves; else those of
    different labels do, the higher label first.
    """

    key: ClassVar[str] = ""
    all_pairs: ClassVar[bool] = False
    symmetric: ClassVar[bool] = False  # True: `between` gives the same for (j, i) as for (i, j), and is asked once

    def __post_init__(self) -> None:
        check_values(type(self), {field.name: getattr(self, field.name) for field in fields(self)})

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        """Weights of pairs from the (gain, 1/D) of two documents and |1/D(d) - 1/D(d + 1)| of d = |i - j|."""
        raise NotImplementedError

    def forward(self, gain: Tensor, discount: Tensor, true_sorted: Tensor) -> Tensor:
        """The weight of every pair, [B, n, n], for documents in the order of their scores.

        A subclass gives either `between`, with which the loss needs no memory of B·n², or this.

        Args:
            gain: (2^y - 1) over the best DCG, [B, n]; 0 for padding.
            discount: log2(1 + r) of the ranks r = 1..n, [1, n]: a gain is divided by it.
            true_sorted: the labels, [B, n].
        """
        facts = (gain, 1.0 / discount)
        places = ops.arange(ops.shape(discount)[1])[None, :]
        near = ops.take(steps_of(facts[1][0]), absolute_differences(places), axis=0)
        return self.between([x[:, :, None] for x in facts], [x[:, None, :] for x in facts], near)

    def get_config(self) -> dict[str, Any]:
        """The key and every parameter."""
        if "key" not in vars(type(self)):
            raise UserError(
                f"{type(self).__name__!r} has no key by which a saved model could find it again: decorate it with "
                "register_weighting_scheme(key)."
            )
        return {"key": self.key, **{field.name: to_config(getattr(self, field.name)) for field in fields(self)}}


def get_weighting_scheme(spec: str | Mapping[str, Any] | BaseWeightingScheme | None) -> BaseWeightingScheme:
    """The scheme of a key, of `{key: ..., <params>}`, or as it is; None is `none`. `UserError` for an unknown one."""
    if spec is None:
        return NoWeightingScheme()
    if isinstance(spec, BaseWeightingScheme):
        return spec
    if isinstance(spec, Mapping):
        spec = {name: from_config(value) for name, value in spec.items()}
    scheme: BaseWeightingScheme = WEIGHTING_SCHEMES.create(spec)
    return scheme


WeightingSchemeSpec = Annotated[
    str | Mapping[str, Any] | BaseWeightingScheme | None,
    PlainValidator(get_weighting_scheme),
    WithJsonSchema({"type": ["string", "object", "null"]}),
]


@register_weighting_scheme("none")
@dataclass(frozen=True)
class NoWeightingScheme(BaseWeightingScheme):
    """Every pair counts the same: RankNet."""

    symmetric: ClassVar[bool] = True

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        return ops.ones_like(row[0])


@register_weighting_scheme("ndcg_loss1")
@dataclass(frozen=True)
class NDCGLoss1Scheme(BaseWeightingScheme):
    """G_i / D(i), over every two documents, in both directions and with themselves."""

    all_pairs: ClassVar[bool] = True

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        return row[0] * row[1]


@register_weighting_scheme("ndcg_loss2")
@dataclass(frozen=True)
class NDCGLoss2Scheme(BaseWeightingScheme):
    """|1/D(d) - 1/D(d + 1)|·|G_i - G_j| with d = |i - j|."""

    symmetric: ClassVar[bool] = True

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        return step * ops.abs(row[0] - column[0])


@register_weighting_scheme("lambda_rank")
@dataclass(frozen=True)
class LambdaRankScheme(BaseWeightingScheme):
    """|1/D(i) - 1/D(j)|·|G_i - G_j|: what an exchange of the two changes in the NDCG."""

    symmetric: ClassVar[bool] = True

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        return ops.abs(row[1] - column[1]) * ops.abs(row[0] - column[0])


@register_weighting_scheme("ndcg_loss2pp")
@dataclass(frozen=True)
class NDCGLoss2PPScheme(BaseWeightingScheme):
    """`mu` times NDCGLoss2 plus LambdaRank.

    Args:
        mu: at least 0.
    """

    symmetric: ClassVar[bool] = True
    mu: NonNegative = 10.0

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        return (self.mu * step + ops.abs(row[1] - column[1])) * ops.abs(row[0] - column[0])


def lambda_loss(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "batch",
    weighting_scheme: WeightingSchemeSpec = "ndcg_loss2pp",
    k: PositiveInt | None = None,
    sigma: Positive = 1.0,
    reduction_log: Literal["binary", "natural"] = "binary",
    eps: NonNegative = 1e-10,
) -> Tensor:
    """Per-query LambdaLoss, [B]: see `LambdaLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    scheme = get_weighting_scheme(weighting_scheme)
    gains = normalised_gain(labels, mask, "pow2_minus_1", "log2_inverse", k, eps)
    # In the order of the scores all that depends on ranks is one table, and the top k are the first k.
    top = descending_order(scores, mask)[:, :k]
    labels, scores, mask, weight, gains = (take(x, top) for x in (labels, scores, mask, weight, gains))
    discount, both = _log2_discount(gains), scheme.all_pairs
    if type(scheme).between is BaseWeightingScheme.between:  # a scheme of one's own, of whole matrices
        weights = scheme.forward(gains, discount, labels) * ops.ones_like(gains[:, :, None])
        pair_weights = given_weights(ops.where(valid_pairs(mask), weights, 0.0))
    else:
        facts = (gains, ops.ones_like(gains) / discount)
        pair_weights = PairWeights(scheme, facts, steps_of(1.0 / discount[0]))
    given = None if item_weight is None else weight
    total = pair_sums(Logistic(), labels, sigma * scores, mask, given, pair_weights, both)
    pairs = all_pair_weight(mask, weight, itself=True) if both else ordered_pair_weight(labels, mask, weight)
    return normalise(total / LOG_BASE[reduction_log], pairs, normalization)


def ranknet(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "batch",
    k: PositiveInt | None = None,
    sigma: Positive = 1.0,
    reduction_log: Literal["binary", "natural"] = "binary",
) -> Tensor:
    """Per-query RankNet loss, [B]: see `RankNetLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    if k is not None:
        top = descending_order(scores, mask)[:, :k]
        labels, scores, mask, weight = (take(x, top) for x in (labels, scores, mask, weight))
    total = pair_sums(Logistic(), labels, sigma * scores, mask, None if item_weight is None else weight)
    return normalise(total / LOG_BASE[reduction_log], ordered_pair_weight(labels, mask, weight), normalization)


def _log2_discount(like: Tensor) -> Tensor:
    """log2(1 + r) for r = 1..n, [1, n]."""
    return (ops.log1p(rank_table(like)) / LOG_BASE["binary"])[None, :]


@register_loss("lambda_loss")
class LambdaLoss(PairwiseLossBase):
    r"""Pairwise logistic loss weighted by what each pair means to the NDCG, over the top k.

    $$\frac{\sum_{(i,j)} w_i\,\Lambda_{ij} \log_2(1 + e^{-\sigma(s_i - s_j)/T})}{\sum_{(i,j)} w_i}$$
    over the pairs y_i > y_j of the whole batch, both documents among the k that score highest in their query. Λ is by
    the weighting scheme, from G = (2^y - 1) / maxDCG@k and D = log2(1 + rank by score), without a gradient.

    Exact at any score: no probability is clamped. A batch without a pair gives 0, and labels may be of any size. In
    bits, or in nats where `reduction_log` is `natural`. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        normalization: `query`, `batch` or `sum`: see `PairwiseLogisticLoss`. The divisor does not count Λ.
        weighting_scheme: `none`, `ndcg_loss1`, `ndcg_loss2`, `lambda_rank`, `ndcg_loss2pp`, also as
            `{key: ndcg_loss2pp, mu: 5}`, or a `BaseWeightingScheme`. `ndcg_loss1` counts all pairs: ties, both
            directions, i = j.
        k: only the k documents of the highest scores take part; None: all.
        sigma: σ, above 0, the steepness.
        reduction_log: `binary` or `natural`.
        eps: at least 0; the best DCG of a query counts as no less, so that tiny labels do not count as full ones.
        min_label: documents whose label is below it are padding.
        activation_fn: applied to the logits first.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Wang et al., "The LambdaLoss framework for ranking metric optimization" (2018).
    """

    function = staticmethod(lambda_loss)
    defaults = {"activation_fn": None}


@register_loss("ranknet", aliases=("ranknet_loss",))
class RankNetLoss(PairwiseLossBase):
    r"""Logistic loss of the score difference of every pair whose labels differ, in bits, over the top k.

    $$\frac{\sum_{y_i > y_j} w_i \log_2(1 + e^{-\sigma(s_i - s_j)/T})}{\sum_{y_i > y_j} w_i}$$
    over the pairs of the whole batch, both documents among the k that score highest in their query.

    A query without a pair gives 0. In bits, or in nats where `reduction_log` is `natural`. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        normalization: `query`, `batch` or `sum`: see `PairwiseLogisticLoss`.
        k: only the k documents of the highest scores take part; None: all.
        sigma: σ, above 0, the steepness.
        reduction_log: `binary` or `natural`.
        min_label: documents whose label is below it are padding.
        activation_fn: applied to the logits first.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Burges et al., "Learning to rank using gradient descent" (2005).
    """

    function = staticmethod(ranknet)
    defaults = {"activation_fn": None}

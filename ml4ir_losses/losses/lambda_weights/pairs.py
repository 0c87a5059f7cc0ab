"""Lambda weights of pairs and of documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Fraction, PositiveInt
from ml4ir_losses.core.registry import register_lambda_weight
from ml4ir_losses.losses.lambda_weights.base import LambdaWeight
from ml4ir_losses.losses.pair_weights import discount_steps, normalised_gain
from ml4ir_losses.ops import rank_table
from ml4ir_losses.ops.gains import (
    FALLING_DISCOUNTS,
    DiscountSpec,
    GainSpec,
    PositiveSpec,
    get_discount,
    get_positive,
    label_gain,
)
from ml4ir_losses.ops.label_levels import LabelLevels
from ml4ir_losses.ops.separable import (
    SeparableWeights,
    level_differences,
    weights_by_level,
    weights_by_level_and_discount,
)


@register_lambda_weight("label_diff")
@dataclass(frozen=True)
class LabelDiffLambdaWeight(LambdaWeight):
    """The difference of the labels: |y_i - y_j|.

    Source: TF-Ranking; RankNet weighted by differences of relevance.
    """

    symmetric: ClassVar[bool] = True

    def pair_facts(self, labels: Tensor, ranks: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return (ops.where(mask, labels, 0.0),)

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        return ops.abs(row[0] - column[0])

    def separated(self, fields: Sequence[Tensor], levels: LabelLevels) -> SeparableWeights:
        return weights_by_level(levels.indicators, level_differences(fields[0], levels))


@dataclass(frozen=True)
class _GainWeight(LambdaWeight):
    """A weight made of gains and discounts. D depends on the rank alone, so it is a table over 1..N."""

    symmetric: ClassVar[bool] = True
    topn: PositiveInt | None = None
    gain: GainSpec = "pow2_minus_1"
    discount: DiscountSpec = "log2_inverse"
    normalized: bool = True

    def gains(self, labels: Tensor, mask: Tensor) -> Tensor:
        """Gains of the documents, [B, N], over the best DCG where `normalized`."""
        if self.normalized:
            return normalised_gain(labels, mask, self.gain, self.discount, self.topn)
        return label_gain(labels, mask, self.gain)

    def discounts(self, like: Tensor, last: int = 0) -> Tensor:
        """D(1), …, D(N + last)."""
        return get_discount(self.discount)(rank_table(like, last))

    def distance_table(self, like: Tensor) -> Tensor:
        """|D(d) - D(d + 1)| for d = 0, …, N - 1, and 0 for d = 0, [N]."""
        return discount_steps(self.discounts(like))


@register_lambda_weight("dcg")
@dataclass(frozen=True)
class DCGLambdaWeight(_GainWeight):
    r"""The effect of the order of a pair on the DCG.

    $$\Lambda_{ij} = |g_i - g_j|\,[r_i \le K \lor r_j \le K]\,
    \{(1-a)\,|D(d) - D(d+1)| + a\,|\tilde D(r_i) - \tilde D(r_j)|\},\quad d = |r_i - r_j|$$
    with D̃ = D down to rank K and 0 below. A document weighs g_i·D(r_i). TF-Ranking's factor N is left out.

    Args:
        topn: K; None: every rank.
        gain: g of the label: `identity`, `pow2_minus_1` or a Python function.
        discount: D of the 1-based rank: `inverse`, `log2_inverse`, `inverse_log1p`, `identity` or a Python function.
        normalized: divide the gains by the best DCG at K.
        smooth_fraction: a, from 0 to 1.

    Source: Wang et al., "The LambdaLoss framework for ranking metric optimization" (2018).
    """

    family: ClassVar[str] = "dcg"
    gain: GainSpec = "identity"
    discount: DiscountSpec = "inverse"
    normalized: bool = False
    smooth_fraction: Fraction = 0.0

    def pair_facts(self, labels: Tensor, ranks: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        gains = self.gains(labels, mask)
        within = ranks <= (self.topn if self.topn is not None else float("inf"))
        discounts = ops.take(self.discounts(gains), ops.cast(ranks, "int32") - 1, axis=0)
        return gains, ops.where(within, discounts, 0.0), ops.cast(within, gains.dtype)

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        a, steps = self.smooth_fraction, 0.0
        if a < 1:
            steps = (1.0 - a) * step
        if a > 0:
            steps = steps + a * ops.abs(row[1] - column[1])
        weights = ops.abs(row[0] - column[0]) * steps
        return weights if self.topn is None else ops.where(row[2] + column[2] > 0, weights, 0.0)

    @property
    def is_separable(self) -> bool:
        return super().is_separable and self.smooth_fraction == 1 and self.discount in FALLING_DISCOUNTS

    def separated(self, fields: Sequence[Tensor], levels: LabelLevels) -> SeparableWeights:
        return weights_by_level_and_discount(level_differences(fields[0], levels), fields[1], levels)

    @property
    def reach(self) -> int | None:
        return self.topn

    def document_weights(self, labels: Tensor, ranks: Tensor, mask: Tensor) -> Tensor:
        gains = self.gains(labels, mask)
        return gains * ops.take(self.discounts(gains), ranks - 1, axis=0)


@register_lambda_weight("ndcg")
@dataclass(frozen=True)
class NDCGLambdaWeight(DCGLambdaWeight):
    """`DCGLambdaWeight` with the gains 2^y - 1 over the best DCG, and the discount 1 / log2(1 + r).

    Args:
        topn, gain, discount, normalized, smooth_fraction: see `DCGLambdaWeight`.

    Source: Wang et al., "The LambdaLoss framework for ranking metric optimization" (2018).
    """

    gain: GainSpec = "pow2_minus_1"
    discount: DiscountSpec = "log2_inverse"
    normalized: bool = True


@register_lambda_weight("ndcg_v2")
@dataclass(frozen=True)
class NDCGLambdaWeightV2(_GainWeight):
    r"""The tighter bound of NDCG at a cut-off (LambdaLoss@K).

    $$\Lambda_{ij} = |g_i - g_j|\,|D(d) - D(d+1)|\,\mu_{ij},\quad d = |r_i - r_j|$$
    with μ = 1 / (1 - D(max(r_i, r_j))) where the lower of the two is below rank K, else 1. The light discount is D(d)
    in place of the difference.

    Args:
        topn: K; None: every rank.
        gain, discount: as in `DCGLambdaWeight`; a pair below K needs a discount below 1.
        normalized: divide the gains by the best DCG at K.
        light_discount: |D(d)| instead of |D(d) - D(d+1)|, so that distant pairs weigh more (Rax).

    Source: Jagerman et al., "On optimizing top-K metrics for neural ranking models" (2022).
    """

    light_discount: bool = False

    def distance_table(self, like: Tensor) -> Tensor:
        if not self.light_discount:
            return super().distance_table(like)
        table = ops.abs(self.discounts(like))
        return ops.concatenate([ops.zeros_like(table[:1]), table[:-1]], axis=0)  # d = 0, ..., N - 1

    def pair_facts(self, labels: Tensor, ranks: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        gains = self.gains(labels, mask)
        if self.topn is None:
            return (gains,)
        return gains, ranks, ops.take(self.rescaling(gains), ops.cast(ranks, "int32") - 1, axis=0)

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        weights = ops.abs(row[0] - column[0]) * step
        if self.topn is None:
            return weights
        return weights * ops.where(row[1] > column[1], row[2], column[2])  # μ of the lower rank

    def rescaling(self, like: Tensor) -> Tensor:
        """μ by the lower rank of a pair, [N]."""
        discounts = self.discounts(like)
        if self.topn is None:
            return ops.ones_like(discounts)
        below = ops.logical_and(rank_table(like) > self.topn, discounts < 1)
        return ops.where(below, 1.0 / (1.0 - ops.where(below, discounts, 0.0)), 1.0)


@register_lambda_weight("yeti_dcg")
@dataclass(frozen=True)
class YetiDCGLambdaWeight(NDCGLambdaWeightV2):
    """`NDCGLambdaWeightV2` restricted to neighbours in the ranking, |r_i - r_j| = 1, without normalising the gains.

    Args:
        topn, gain, discount, normalized, light_discount: see `NDCGLambdaWeightV2`.

    Source: Lyzhin et al., "Which tricks are important for learning to rank?" (2023).
    """

    normalized: bool = False

    def distance_table(self, like: Tensor) -> Tensor:
        return ops.where(rank_table(like) == 2, super().distance_table(like), 0.0)  # entry 2 is d = 1

    def neighbour_weights(self, gains: Tensor) -> Tensor:
        """Λ of ranks r and r + 1, [B, N - 1], from the gains in the order of the ranking, [B, N]."""
        table = self.discounts(gains, last=1)
        step = ops.abs(table[0] - (0.0 if self.light_discount else table[1]))
        return ops.abs(gains[:, :-1] - gains[:, 1:]) * step * self.rescaling(gains)[1:]


@register_lambda_weight("precision")
@dataclass(frozen=True)
class PrecisionLambdaWeight(LambdaWeight):
    r"""1 for a pair that changes the precision at `topn` when its documents swap places.

    $$\Lambda_{ij} = |b_i - b_j|\,[r_i \le K \oplus r_j \le K],\quad b = [y \ge p]$$

    Args:
        topn: K.
        positive: p, the lowest label of a relevant document, or a Python function of the labels that gives b.

    Source: TF-Ranking; LambdaRank (Burges et al., 2006) for precision.
    """

    symmetric: ClassVar[bool] = True
    topn: PositiveInt
    positive: PositiveSpec = 1.0

    def pair_facts(self, labels: Tensor, ranks: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        positive = ops.cast(get_positive(self.positive)(ops.where(mask, labels, 0.0)), labels.dtype)
        return positive, ops.cast(ranks <= self.topn, labels.dtype)

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        return ops.abs(row[0] - column[0]) * ops.abs(row[1] - column[1])

    def separated(self, fields: Sequence[Tensor], levels: LabelLevels) -> SeparableWeights:
        return weights_by_level_and_discount(level_differences(fields[0], levels), fields[1], levels)

    @property
    def reach(self) -> int:
        return self.topn

"""Weighting schemes of LambdaLoss: the weight of a pair from the gains and ranks of its documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import PlainValidator, WithJsonSchema

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative
from ml4ir_losses.core.registry import WEIGHTING_SCHEMES, register_weighting_scheme
from ml4ir_losses.losses.pair_weights import PairWeight, discount_steps
from ml4ir_losses.losses.serialization import from_config
from ml4ir_losses.ops.label_levels import LabelLevels
from ml4ir_losses.ops.separable import (
    SeparableWeights,
    better_levels,
    level_differences,
    weights_by_level,
    weights_by_level_and_discount,
)


@dataclass(frozen=True)
class BaseWeightingScheme(PairWeight):
    """The weight of every pair of a ranking. Subclass it, or give the key of one of those below.

    A subclass is a frozen dataclass whose fields are its parameters; `register_weighting_scheme` gives it a key.
    With `all_pairs` all (i, j) count, in both directions and with i = j; else only pairs with y_i > y_j.
    """

    decorator: ClassVar[str] = "register_weighting_scheme"
    all_pairs: ClassVar[bool] = False

    def forward(self, gain: Tensor, discount: Tensor, true_sorted: Tensor) -> Tensor:
        """The weight of every pair, [B, n, n], for documents in the order of their scores.

        A subclass defines either `between`, with which the loss needs no memory of B·n², or this.

        Args:
            gain: (2^y - 1) over the best DCG, [B, n]; 0 for padding.
            discount: log2(1 + r) of the ranks r = 1..n, [1, n]: a gain is divided by it.
            true_sorted: the labels, [B, n].
        """
        facts = (gain, 1.0 / discount)
        ranks = ops.arange(ops.shape(discount)[1])[None, :]
        return self.matrix(facts, discount_steps(facts[1][0]), ranks)


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
    """1 for every pair: RankNet."""

    symmetric: ClassVar[bool] = True

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        return ops.ones_like(row[0])

    def separated(self, fields: Sequence[Tensor], levels: LabelLevels) -> SeparableWeights:
        return weights_by_level(levels.indicators, better_levels(levels.indicators))


@register_weighting_scheme("ndcg_loss1")
@dataclass(frozen=True)
class NDCGLoss1Scheme(BaseWeightingScheme):
    """G_i / D(i) over all (i, j), in both directions and with i = j."""

    all_pairs: ClassVar[bool] = True

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        return row[0] * row[1]

    def separated(self, fields: Sequence[Tensor], levels: LabelLevels) -> SeparableWeights:
        ones = levels.indicators
        factors = ops.concatenate([ones * (fields[0] * fields[1])[..., None], ones], axis=-1)
        # The first document's number, whichever of the two is ahead: (x_i, 1)·M·(x_j, 1) = x_i, and with Mᵀ x_j.
        return SeparableWeights(factors, factors, ops.triu(ops.ones((2, 2), dtype=factors.dtype), 1)[None])


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
    """|1/D(i) - 1/D(j)|·|G_i - G_j|: the change of NDCG when the two documents swap places."""

    symmetric: ClassVar[bool] = True

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor) -> Tensor:
        return ops.abs(row[1] - column[1]) * ops.abs(row[0] - column[0])

    def separated(self, fields: Sequence[Tensor], levels: LabelLevels) -> SeparableWeights:
        return weights_by_level_and_discount(level_differences(fields[0], levels), fields[1], levels)


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

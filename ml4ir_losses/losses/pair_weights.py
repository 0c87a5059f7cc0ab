"""The base of lambda weights and weighting schemes: the weight of a pair from the ranks of its documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import check_values
from ml4ir_losses.losses.serialization import to_config
from ml4ir_losses.ops import rank_table, safe_divide
from ml4ir_losses.ops.gains import DiscountSpec, GainSpec, get_discount, label_gain, relative_gain
from ml4ir_losses.ops.pairs import pair_differences
from ml4ir_losses.ops.weighing import Weighing


@dataclass(frozen=True)
class PairWeight(Weighing):
    """A weight Λ of the pairs of documents of a ranking.

    A subclass is a frozen dataclass: its fields are its parameters, and their annotations say which values are
    allowed. It defines `between`, with which losses need no memory of B·N², or returns full matrices.
    """

    key: ClassVar[str] = ""
    decorator: ClassVar[str] = ""  # the decorator that gives a class its key, for messages

    def __post_init__(self) -> None:
        check_values(type(self), {field.name: getattr(self, field.name) for field in fields(self)})

    @property
    def is_elementwise(self) -> bool:
        """True if the class defines `between`; else it returns full matrices."""
        return type(self).between is not PairWeight.between

    def between(self, row: Sequence[Tensor], column: Sequence[Tensor], step: Tensor | None) -> Tensor:
        """Λ of pairs, elementwise, from the facts of both documents and the table's entry for their distance in rank.

        The kind of weight defines the facts and the table.
        """
        raise UserError(f"{self.key or type(self).__name__!r} does not weigh pairs.")

    def matrix(self, facts: Sequence[Tensor], table: Tensor | None, ranks: Tensor) -> Tensor:
        """Λ of all pairs, [B, N, N], by `between`.

        Args:
            facts: what `between` reads of each document, [B, N] each.
            table: by the distance of two ranks, [N]; None: `between` needs none.
            ranks: whole numbers, [B, N] or [1, N].
        """
        step = None if table is None else ops.take(table, ops.abs(pair_differences(ranks)), axis=0)
        return self.between([x[:, :, None] for x in facts], [x[:, None, :] for x in facts], step)

    def get_config(self) -> dict[str, Any]:
        """The key and every parameter."""
        if "key" not in vars(type(self)):
            raise UserError(
                f"{type(self).__name__!r} has no key by which a saved model could find it again: decorate it with "
                f"{self.decorator}(key)."
            )
        return {"key": self.key, **{field.name: to_config(getattr(self, field.name)) for field in fields(self)}}


def normalised_gain(
    labels: Tensor, mask: Tensor, gain: GainSpec, discount: DiscountSpec, topn: int | None, floor: float = 0.0
) -> Tensor:
    """Gains over the best DCG at `topn`, [B, N], where a best DCG below `floor` counts as `floor`; 0 without gains."""
    gains = relative_gain(labels, mask, gain)
    best = -ops.sort(-gains, axis=-1)[:, :topn]
    discounts = get_discount(discount)(rank_table(gains)[: None if topn is None else topn])
    divisor = ops.sum(best * discounts, axis=-1, keepdims=True)
    if floor:
        highest = ops.max(label_gain(labels, mask, gain), axis=-1, keepdims=True)  # the unit of relative gains
        least = safe_divide(ops.ones_like(highest) * floor, highest)
        divisor = ops.where(divisor < least, least, divisor)
    return safe_divide(gains, divisor * ops.ones_like(gains))


def discount_steps(table: Tensor) -> Tensor:
    """|D(d) - D(d + 1)| for d = 1, …, N - 1 of a table D(1), …, D(N), behind a 0 for d = 0, [N]."""
    return ops.concatenate([ops.zeros_like(table[:1]), ops.abs(table[:-1] - table[1:])], axis=0)

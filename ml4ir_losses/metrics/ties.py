"""Documents with equal scores: a tie group fills adjacent places, and each of its orders is equally likely.

A place is a position of the ranked order. `Untied` has one document at each place; `Tied` has groups of documents, each
of which is at each place of its group with the same probability. McSherry and Najork, "Computing information retrieval
performance measures efficiently in the presence of tied scores" (2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops import gather_documents
from ml4ir_losses.ops.backend import cumulative_sum, loop, search_sorted, summed_at

Ties = Literal["average", "order", "worst"]
"""What a metric does with equal scores: the expected value over their orders, the given order, or the lowest value."""


@dataclass(frozen=True)
class Untied:
    """Groups of one document each.

    Attributes:
        start: the number of documents in higher groups, [1, N] or [B, N] float.
        size: the number of documents in the group.
        offset: the number of places of the group above this place.
    """

    start: Tensor
    size: Tensor | float = 1.0
    offset: Tensor | float = 0.0

    def total(self, x: Tensor) -> Tensor:
        """Σ x over the documents of the group."""
        return x

    def above(self, x: Tensor) -> Tensor:
        """Σ x over the documents of higher groups, for integers x [B, N]."""
        return cumulative_sum(x) - x

    def before(self, x: Tensor, own: float) -> Tensor:
        """The expected Σ x over the documents at higher places, [B, N], if the document at this place has x = own."""
        return self.above(x)

    def cascade(self, gain: Tensor, keep: Tensor) -> Tensor:
        """The expected gain at a place, times the `keep` of all documents above it; [B, N] or [B, N, S] as both."""
        return gain * products_above(keep)


@dataclass(frozen=True)
class Tied(Untied):
    """Groups of the documents with equal scores."""

    size: Tensor
    offset: Tensor

    @classmethod
    def of(cls, scores: Tensor, valid: Tensor, retrieved: Tensor) -> Tied:
        """The groups of scores [B, N] in descending order, the valid ones first; alone where not retrieved."""
        ascending = ops.stop_gradient(ops.where(valid, -scores, float("inf")))
        start, end = (ops.cast(search_sorted(ascending, ascending, side), scores.dtype) for side in ("left", "right"))
        places = ops.cast(ops.arange(ops.shape(scores)[1]), scores.dtype)
        start = ops.where(retrieved, start, places)
        return cls(start, ops.where(retrieved, end - start, 1.0), places - start)

    def total(self, x: Tensor) -> Tensor:
        x = x + ops.zeros_like(self.size)
        rows, documents = ops.shape(x)
        # A sum for each group: the difference of two sums over the whole list would lose digits.
        groups = ops.cast(self.start, "int32") + documents * ops.arange(rows, dtype="int32")[:, None]
        groups = ops.reshape(groups, (-1,))
        sums = summed_at(groups, ops.reshape(x, (-1,)), rows * documents)
        return ops.reshape(ops.take(sums, groups, axis=0), (rows, documents))

    def above(self, x: Tensor) -> Tensor:
        return self._at_start(cumulative_sum(x) - x)

    def before(self, x: Tensor, own: float) -> Tensor:
        return self.above(x) + self.offset * (self.total(x) - own) / ops.maximum(self.size - 1.0, 1.0)

    def cascade(self, gain: Tensor, keep: Tensor) -> Tensor:
        """As above, in as many steps as the largest group has documents.

        kept_j is the mean of Π keep over the subsets of j documents, found_j that of a document's gain · Π keep of the
        others over the subsets and their documents. The t-th document of the group changes them to

            (1 - j/t) kept_j + j/t keep_t kept_(j-1)
            (1 - j/t) found_j + ((j-1) keep_t found_(j-1) + gain_t kept_(j-1)) / t
        """
        of_subtopics = len(gain.shape) == 3
        size, offset = (x[..., None] if of_subtopics else x for x in (self.size, self.offset))
        is_first, count = offset < 0.5, offset + 1.0
        last = ops.shape(gain)[1] - 1

        def step(index: Tensor, kept: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
            place = ops.minimum(ops.cast(self.start, "int32") + ops.cast(index, "int32"), last)
            gain_here, keep_here = gather_documents(gain, place), gather_documents(keep, place)
            documents = ops.cast(index, gain.dtype) + 1.0
            without = ops.relu(documents - count) / documents
            kept_above, found_above = ops.where(is_first, 1.0, shifted(kept)), shifted(found)
            now_found = (offset * keep_here * found_above + gain_here * kept_above) / documents
            now_kept = count * keep_here * kept_above / documents
            member = size > documents - 0.5
            changes = ((kept, now_kept), (found, now_found))
            return tuple(ops.where(member, without * before + now, before) for before, now in changes)

        none = ops.zeros_like(gain)
        _, found = loop(step, 0, ops.cast(ops.max(self.size), "int32"), (none, none))
        return found * self._at_start(products_above(keep))

    def _at_start(self, x: Tensor) -> Tensor:
        return gather_documents(x, ops.cast(self.start, "int32"))


def products_above(x: Tensor) -> Tensor:
    """Π x over the documents at higher places, of x [B, N] or [B, N, S]."""
    return shifted(ops.cumprod(x, axis=1), 1.0)


def shifted(x: Tensor, first: float = 0.0) -> Tensor:
    """x one place further down, after `first`."""
    return ops.concatenate([ops.full_like(x[:, :1], first), x[:, :-1]], axis=1)

"""What the ranking metrics share: documents in ranked order, cutoffs, and the weights of queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.metrics.ties import Tied, Ties, Untied, products_above
from ml4ir_losses.ops import clean, descending_order, gather_documents, list_weight, rank_table, row_sum
from ml4ir_losses.ops.backend import ascending_order
from ml4ir_losses.ops.masking import Cleaned, as_float
from ml4ir_losses.ops.soft_ranks import AtRank, RankFn

EmptyQueries = Literal["skip", "zero", "one"]
Values = tuple[Tensor, Tensor]
"""The values of the queries and their weights, both [B]."""


_LOWEST = np.finfo("float32").min
_NOT_RETRIEVED, _LAST = float(_LOWEST), float(np.nextafter(_LOWEST, np.float32(0)))


class Documents(NamedTuple):
    """The documents of each query, [B, N], 0 where not valid; in ranked order, unless the ranks are smooth.

    `labels` are [B, N, S] for a metric over subtopics. `at_rank` and all that follows from it are 0 for documents that
    are not retrieved. `rank` [N] are the places, from 1.
    """

    labels: Tensor
    weight: Tensor
    valid: Tensor
    retrieved: Tensor
    rank: Tensor
    at_rank: AtRank
    groups: Untied

    def relevant(self, threshold: float) -> Tensor:
        """1 for relevant documents, else 0."""
        return ops.cast(
            ops.logical_and(_per_label(self.valid, self.labels), self.labels >= threshold), self.labels.dtype
        )

    def top(self, x: Tensor, topn: int | None) -> Tensor:
        """x where the rank is at most topn, else 0; with ties, times the probability of that."""
        return x * self.at_rank(up_to(topn, ops.ones_like))

    def at_place(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """The function of the place, [B, N]: of what is at a place, not of a document, which ties may move."""
        return ops.where(self.retrieved, function(self.rank), 0.0)

    def mean(self, x: Tensor) -> Tensor:
        """The expected x [B, N] at the place of each document."""
        return self.at_rank(lambda rank: x)

    def first(self, relevant: Tensor) -> Tensor:
        """The probability that the first relevant document is at this place, [B, N], of `relevant` 0 or 1."""
        # The probability that a document is relevant if no document of the group above it was.
        chance = ops.minimum(self.groups.total(relevant) / (self.groups.size - self.groups.offset), 1.0)
        return chance * products_above(1.0 - chance)


def ranked_documents(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None,
    item_weight: Tensor | None,
    ties: Ties,
    rank_fn: RankFn | None = None,
    relevance: Callable[[Cleaned], Tensor] | None = None,
) -> Documents:
    """The documents in the order of their scores; with a `rank_fn` in the given order, with its ranks.

    Args:
        relevance: what equal scores are sorted by, in ascending order, for the worst of their orders, [B, N]; by
            default the labels.
    """
    cleaned = clean_documents(labels, scores, mask, item_weight)
    if ties == "worst" and rank_fn is None:
        order = ascending_order(ops.stop_gradient(cleaned.labels if relevance is None else relevance(cleaned)))
        cleaned = Cleaned(*(gather_documents(x, order) for x in cleaned))
    labels, scores, valid, weight = cleaned
    retrieved, rank = is_retrieved(scores, valid), rank_table(scores)
    untied = Untied((rank - 1.0)[None])
    if rank_fn is not None:
        at_rank = rank_fn(scores, retrieved)
        return Documents(
            labels, weight, valid, retrieved, rank, lambda f: ops.where(retrieved, at_rank(f), 0.0), untied
        )
    order = descending_order(scores, valid)
    valid, retrieved = _first(valid), _first(retrieved)
    weight = gather_documents(weight, order) if item_weight is not None else ops.cast(valid, weight.dtype)
    labels = gather_documents(labels, order)
    groups = Tied.of(gather_documents(scores, order), valid, retrieved) if ties == "average" else untied

    def expected(function: Callable[[Tensor], Tensor]) -> Tensor:
        return ops.where(retrieved, groups.total(function(rank)) / groups.size, 0.0)

    return Documents(labels, weight, valid, retrieved, rank, expected, groups)


def clean_documents(labels: Tensor, scores: Tensor, mask: Tensor | None, item_weight: Tensor | None) -> Cleaned:
    """Labels, scores, mask and weights, 0 where masked; documents of weight 0 are masked, and scores are finite."""
    scores = as_float(scores)
    # The sort would put -inf and NaN among the padding; NaN fails the comparison too.
    ranked = ops.where(scores > _LAST, scores, _LAST)
    scores = ops.where(ops.equal(scores, -float("inf")), _NOT_RETRIEVED, ranked)
    _, scores, mask, weight = clean(scores, scores, mask, item_weight)
    valid = ops.logical_and(mask, weight > 0)
    labels = ops.cast(ops.convert_to_tensor(labels), scores.dtype)
    labels = ops.where(_per_label(valid, labels), labels, 0.0)
    return Cleaned(labels, scores, valid, ops.where(valid, weight, 0.0))


def is_retrieved(scores: Tensor, valid: Tensor) -> Tensor:
    """True for the documents that have a rank, from cleaned scores."""
    return ops.logical_and(valid, scores > _NOT_RETRIEVED)


def _per_label(documents: Tensor, labels: Tensor) -> Tensor:
    """A mask [B, N] in a shape that broadcasts to the labels, [B, N] or [B, N, S]."""
    return documents if len(labels.shape) == 2 else documents[..., None]


def _first(documents: Tensor) -> Tensor:
    """A mask of as many leading documents, [B, N]."""
    return ops.arange(ops.shape(documents)[1]) < row_sum(ops.cast(documents, "int32"))[:, None]


def up_to(topn: int | None, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function at ranks up to topn, 0 below; a smooth rank is rounded for the comparison."""
    if topn is None:
        return function
    return lambda rank: ops.where(rank < topn + 0.5, function(rank), 0.0)


def weighted_values(docs: Documents, value: Tensor, relevance: Tensor, empty_queries: EmptyQueries) -> Values:
    """The values and the query weights Σ w·R / ΣR; queries without relevance follow `empty_queries`."""
    weight = list_weight(relevance, docs.valid, docs.weight)
    return fill_empty_queries(value, weight, ops.any(relevance > 0, axis=-1), weight, empty_queries)


def fill_empty_queries(
    value: Tensor, weight: Tensor, nonempty: Tensor, empty_weight: Tensor, empty_queries: EmptyQueries
) -> Values:
    """Values and weights with those of empty queries set; `empty_weight` is 0 for a query that is all padding."""
    if empty_queries == "skip":
        return ops.where(nonempty, value, 0.0), ops.where(nonempty, weight, 0.0)
    filler = ops.where(empty_weight > 0, 1.0 if empty_queries == "one" else 0.0, 0.0)
    return ops.where(nonempty, value, ops.cast(filler, value.dtype)), ops.where(nonempty, weight, empty_weight)

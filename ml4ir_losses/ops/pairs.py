"""Sums over the document pairs of a query, with value and gradient in one pass.

`pair_sums` computes `dense_pair_sums`: in N log N for long lists, where term and weights are separable, else with a few
tiles of the pair matrix in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import either, gather_documents
from ml4ir_losses.ops.choice import is_better_ranked, may_be_ranked
from ml4ir_losses.ops.counting import counts_below
from ml4ir_losses.ops.exponential_sums import RankedPairs
from ml4ir_losses.ops.kernels.gradients import with_gradient
from ml4ir_losses.ops.kernels.stripes import dense_sums, extents_of, stripe_sums
from ml4ir_losses.ops.label_levels import LabelLevels, label_levels, one_level
from ml4ir_losses.ops.masking import row_sum
from ml4ir_losses.ops.pair_stripe import PairStripe
from ml4ir_losses.ops.pair_terms import ExponentialTerm, PiecewiseTerm, ShiftedTerm, Term
from ml4ir_losses.ops.piecewise_sums import PiecewisePairs
from ml4ir_losses.ops.separable import SeparableWeights, better_levels, equal_weights, weights_by_level
from ml4ir_losses.ops.sorting import descending_order, inverse_order, rank_table
from ml4ir_losses.ops.weighing import PairWeights

_MOST_LEVELS = 5  # lists with more different labels are not summed by level
_SHORT_REACH = 32  # so few documents are compared with all others one by one


def dense_pair_sums(
    term: Term, labels: Tensor, scores: Tensor, mask: Tensor, weight: Tensor, pair_weights: Tensor
) -> Tensor:
    """Σ w_i·Λ_ij·term(s_i - s_j) over the pairs y_i > y_j of valid documents, [B]; weights Λ [B, N, N]."""
    pairs = ops.logical_and(valid_pairs(mask), pair_differences(labels) > 0)
    values, _ = term(pair_differences(scores))
    return ops.sum(ops.where(pairs, weight[:, :, None] * pair_weights * values, 0.0), axis=(1, 2))


SeparableTerm = ExponentialTerm | PiecewiseTerm


class _Documents(NamedTuple):
    """What the sums read of the documents, [B, N] each; the key is the label, NaN in padding."""

    key: Tensor
    scores: tuple[Tensor, ...]
    weight: Tensor | None
    fields: Sequence[Tensor]


def pair_sums(
    term: Term,
    labels: Tensor,
    scores: Tensor | tuple[Tensor, ...],
    mask: Tensor,
    weight: Tensor | None = None,
    pair_weights: PairWeights | None = None,
    all_pairs: bool = False,
    in_order: bool = False,
) -> Tensor:
    """Σ w_i·Λ_ij·term(s_i - s_j) over the pairs y_i > y_j, [B].

    In N log N for long lists of few different labels, where term and Λ are separable, else with a few tiles of pairs in
    memory. Value and gradient come from one pass. Labels and Λ get no gradient.

    Args:
        scores: [B, N]; or a tuple, whose differences s_i - s_j are added instead of the scores, to keep all digits.
        weight: w, [B, N]; None: 1.
        pair_weights: Λ; None: 1. If Λ depends on ranks, the documents must be sorted by rank.
        all_pairs: sum over all (i, j) of valid documents, including (i, i), instead of y_i > y_j.
        in_order: the scores are in descending order, padding last.
    """
    parts = scores if isinstance(scores, tuple) else (scores,)
    inputs = parts if weight is None else (*parts, weight)
    key = ops.where(mask, ops.stop_gradient(labels), float("nan"))
    given = pair_weights or PairWeights()
    tables = [x for x in (given.distance_table, given.matrix) if x is not None]

    def total(*tensors: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        key, *constants = tensors[len(inputs) :]
        fields, tables = constants[: len(given.fields)], constants[len(given.fields) :]
        weight_now = tensors[len(parts)] if weight is not None else None
        documents = _Documents(key, tensors[: len(parts)], weight_now, fields)

        def in_stripes() -> tuple[Tensor, Tensor]:
            values, slopes = _stripe_sums(term, documents, given, tables, all_pairs)
            return (row_sum(values) if weight is None else values), slopes

        def ranked() -> tuple[Tensor, Tensor]:
            if isinstance(term, ShiftedTerm):
                return _shifted_sums(term, documents, levels)
            separable = cast("SeparableTerm", term)
            return _ranked_sums(separable, documents, given, levels, all_pairs, in_order)

        if not _is_separable(term, documents, given, in_order):
            values, slopes = in_stripes()
        else:
            mask = key == key
            levels = (
                one_level(mask, key.dtype) if all_pairs else label_levels(ops.where(mask, key, 0.0), mask, _MOST_LEVELS)
            )
            by_rank = ops.logical_and(levels.complete, is_better_ranked(mask, *documents.scores))
            values, slopes = either(by_rank, ranked, in_stripes)

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            slope = upstream[:, None] * slopes
            return (slope,) * len(parts) + ((upstream[:, None] * values,) if weight is not None else ())

        return values if weight_now is None else row_sum(weight_now * values), pull_back

    return with_gradient(total, inputs, (key, *given.fields, *tables))


def _is_separable(term: Term, documents: _Documents, weights: PairWeights, in_order: bool) -> bool:
    """True unless the term, the weights, or their combination ask for pairs one by one."""
    if not isinstance(term, ExponentialTerm | PiecewiseTerm | ShiftedTerm):
        return False
    if not may_be_ranked(documents.key, documents.key.dtype):
        return False
    if isinstance(term, ShiftedTerm | PiecewiseTerm) and len(documents.scores) > 1:
        return False
    if isinstance(term, ShiftedTerm):
        return weights.weighing is None and weights.matrix is None and weights.reach is None
    if weights.matrix is not None or (weights.reach is not None and weights.reach <= _SHORT_REACH):
        return False
    # Weights by rank separate in the order of the ranking, which is to be that of the scores.
    return weights.weighing is None or (in_order and weights.weighing.is_separable)


def _ranked_sums(
    term: SeparableTerm,
    documents: _Documents,
    weights: PairWeights,
    levels: LabelLevels,
    all_pairs: bool,
    in_order: bool,
) -> tuple[Tensor, Tensor]:
    """Totals [B], or with document weights values [B, N], and slopes [B, N], in N log N."""

    def products(indicators: Tensor) -> SeparableWeights:
        if weights.weighing is not None:
            found = weights.weighing.separated(documents.fields, levels._replace(indicators=indicators))
        elif all_pairs:
            found = equal_weights(indicators[..., 0])
        else:
            found = weights_by_level(indicators, better_levels(indicators))
        if weights.reach is None:
            return found
        # The document ahead must be among the first.
        within = ops.cast(rank_table(documents.key) <= weights.reach, indicators.dtype)[:, None]
        return SeparableWeights(found.lower, found.upper * within, found.mix)

    mask = documents.key == documents.key
    return _sums_in_any_order(term, products, documents.scores, mask, levels.indicators, documents.weight, in_order)


def _shifted_sums(term: ShiftedTerm, documents: _Documents, levels: LabelLevels) -> tuple[Tensor, Tensor]:
    """The same for a shifted term: every document is in the list twice, as the worse one with the offset added."""
    size, count = ops.shape(documents.key)[1], levels.indicators.shape[-1]
    scores, mask = documents.scores[0], documents.key == documents.key

    def twice(x: Tensor) -> Tensor:
        return ops.concatenate([x, x], axis=1)

    def products(indicators: Tensor) -> SeparableWeights:
        return SeparableWeights(indicators, indicators, ops.pad(better, ((0, 0), (0, count), (count, 0))))

    better = better_levels(levels.indicators)
    offset = ops.concatenate([ops.zeros_like(scores), ops.ones_like(scores) * term.offset], axis=1)
    rows = (((0, 0), (0, 0), (0, count)), ((0, 0), (0, 0), (count, 0)))
    roles = ops.concatenate([ops.pad(levels.indicators, row) for row in rows], axis=1)
    weight = None if documents.weight is None else twice(documents.weight)
    parts = (twice(scores), offset)
    values, slopes = _sums_in_any_order(term.unshifted, products, parts, twice(mask), roles, weight, False)
    return (values if weight is None else values[:, :size]), slopes[:, :size] + slopes[:, size:]


def _sums_in_any_order(
    term: SeparableTerm,
    products: Callable[[Tensor], SeparableWeights],
    scores: tuple[Tensor, ...],
    mask: Tensor,
    indicators: Tensor,
    weight: Tensor | None,
    in_order: bool,
) -> tuple[Tensor, Tensor]:
    """Totals, or values of documents with a weight, and slopes, of documents in any order by `sums_in_order`."""
    order = None if in_order else descending_order(sum(scores), mask)
    if order is not None:
        scores = tuple(gather_documents(x, order) for x in scores)
        mask, indicators = gather_documents(mask, order), gather_documents(indicators, order)
        weight = None if weight is None else gather_documents(weight, order)
    pairs = sums_in_order(term, products(indicators), scores, mask)
    values = pairs.total() if weight is None else pairs.values()
    slopes = pairs.slopes(weight)
    if order is None:
        return values, slopes
    back = inverse_order(order)
    return (values if weight is None else gather_documents(values, back)), gather_documents(slopes, back)


def sums_in_order(
    term: SeparableTerm, weights: SeparableWeights, scores: tuple[Tensor, ...], mask: Tensor
) -> RankedPairs | PiecewisePairs:
    """The sums over the pairs of documents in descending order of the scores."""
    if isinstance(term, ExponentialTerm):
        return RankedPairs(term, weights, scores, mask)
    return PiecewisePairs(term, weights, scores[0], mask)


def _stripe_sums(
    term: Term, documents: _Documents, weights: PairWeights, tables: Sequence[Tensor], all_pairs: bool
) -> list[Tensor]:
    """Values and slopes of the documents, [B, N] each, from the pairs one by one."""
    weighing, fields, _, matrix, reach = weights
    weight = () if documents.weight is None else (documents.weight,)
    stripe = PairStripe(term, len(documents.scores), bool(weight), all_pairs, weighing, len(fields))
    columns = [documents.key, *documents.scores, *weight, *documents.fields]
    if matrix is not None:
        return dense_sums(stripe, columns, columns, tables[0])[:2]
    extents, table = extents_of(columns[0] == columns[0]), tables[0] if tables else None
    if reach is None or reach >= (columns[0].shape[1] or reach + 1):
        return stripe_sums(stripe, (2, 2), columns, columns, extents, distance_table=table, mirrored=True)
    # The first `reach` documents are rows with all as columns: other pairs have no weight.
    first = [x[:, :reach] for x in columns]
    *above, values, slopes = stripe_sums(stripe, (2, 2), first, columns, extents, distance_table=table)
    return [ops.concatenate([x, y[:, reach:]], axis=1) for x, y in zip(above, (values, slopes), strict=True)]


def ordered_pair_weight(labels: Tensor, mask: Tensor, weight: Tensor, reach: int | None = None) -> Tensor:
    """Σ w_i over the pairs y_i > y_j, [B]; with `reach`, over those with a document among the first `reach`."""

    def by_sorting() -> tuple[Tensor]:
        partners = counts_below(labels, labels, mask)
        if reach is not None:
            within_reach = counts_below(labels, labels[:, :reach], mask[:, :reach])
            partners = ops.where(rank_table(labels) <= reach, partners, within_reach)
        return (row_sum(weight * ops.cast(partners, weight.dtype)),)

    def by_level() -> tuple[Tensor]:
        weights = ops.sum(weight[..., None] * levels.indicators, axis=1)
        counts = ops.sum(levels.indicators, axis=1)
        better = better_levels(levels.indicators)
        return (ops.sum(weights[:, :, None] * better * counts[:, None, :], axis=(1, 2)),)

    if reach is not None or not may_be_ranked(mask, labels.dtype):
        return by_sorting()[0]
    levels = label_levels(labels, mask, _MOST_LEVELS)
    return either(levels.complete, by_level, by_sorting)[0]


def all_pair_weight(mask: Tensor, weight: Tensor, with_itself: bool = False, reach: int | None = None) -> Tensor:
    """Σ w_i over all (i, j) of valid documents, [B], including (i, i) if `with_itself`.

    With `reach`, over those with a document among the first `reach`; the valid documents then come first.
    """
    size = row_sum(ops.cast(mask, weight.dtype))
    partners = size if with_itself else ops.relu(size - 1.0)
    if reach is None:
        return partners * row_sum(weight)
    first = ops.where(size < reach, size, float(reach))  # not `minimum`: on torch it rounds float64 to float32
    return row_sum(weight * ops.where(rank_table(weight) <= reach, partners[:, None], first[:, None]))


def pairs_within(reach: int, like: Tensor) -> Tensor:
    """True where a document of the pair (i, j) is among the first `reach`, [N, N]."""
    first = rank_table(like) <= reach
    return ops.logical_or(first[:, None], first[None, :])


def valid_pairs(mask: Tensor) -> Tensor:
    """True where both documents are valid, [B, N, N]; includes (i, i)."""
    return ops.logical_and(mask[:, :, None], mask[:, None, :])


def pair_differences(x: Tensor) -> Tensor:
    """x_i - x_j, [B, N] → [B, N, N]."""
    return x[:, :, None] - x[:, None, :]

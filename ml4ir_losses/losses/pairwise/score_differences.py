"""Pairwise losses of the score difference."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Fraction, NonNegative, Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.base import PairwiseLossBase
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec, get_lambda_weight
from ml4ir_losses.ops import (
    below_top,
    clean,
    descending_order,
    gather_documents,
    normalise,
    rank_table,
    ranks,
    row_sum,
    safe_divide,
)
from ml4ir_losses.ops.normalization import Normalization
from ml4ir_losses.ops.pair_terms import Hinge, Logistic, Quantile, SoftZeroOne, Square, Term
from ml4ir_losses.ops.pairs import (
    all_pair_weight,
    ordered_pair_weight,
    pair_sums,
    valid_pairs,
)
from ml4ir_losses.ops.weighing import PairWeights, given_weights


def lambda_sums(
    term: Term,
    spec: LambdaWeightSpec,
    labels: Tensor,
    scores: Tensor | tuple[Tensor, ...],
    mask: Tensor,
    weight: Tensor | None,
    *,
    rank_by: Tensor,
    all_pairs: bool = False,
) -> Tensor:
    """`pair_sums`, with Λ of a lambda weight in the ranking by `rank_by`."""
    if spec is None:
        return pair_sums(term, labels, scores, mask, weight, all_pairs=all_pairs)
    scheme = get_lambda_weight(spec)
    if not scheme.is_elementwise:
        weights = ops.where(valid_pairs(mask), scheme.pair_weights(labels, ranks(rank_by, mask), mask), 0.0)
        return pair_sums(term, labels, scores, mask, weight, given_weights(weights), all_pairs)
    order = descending_order(rank_by, mask)
    parts = scores if isinstance(scores, tuple) else (scores,)
    labels, mask, *ordered = (gather_documents(x, order) for x in (labels, mask, *parts))
    weight = None if weight is None else gather_documents(weight, order)
    facts = scheme.pair_facts(labels, rank_table(labels)[None, :] * ops.ones_like(labels), mask)
    pair_weights = PairWeights(scheme, facts, scheme.distance_table(labels), reach=scheme.reach)
    in_order = len(parts) == 1 and parts[0] is rank_by
    return pair_sums(term, labels, tuple(ordered), mask, weight, pair_weights, all_pairs, in_order)


def _ordered(
    term: Term,
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None,
    item_weight: Tensor | None,
    temperature: float,
    normalization: str,
    lambda_weight: LambdaWeightSpec,
    subtract_labels: bool = False,
) -> Tensor:
    """Per-query mean of a term over the pairs y_i > y_j, [B]."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    explicit_weight = None if item_weight is None else weight
    margins = _excess(labels, scores, mask) if subtract_labels else scores
    total = lambda_sums(term, lambda_weight, labels, margins, mask, explicit_weight, rank_by=scores)
    return normalise(total, ordered_pair_weight(labels, mask, weight), normalization)


def _excess(labels: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """s - y up to a constant per query, [B, N]: its differences are (s_i - s_j) - (y_i - y_j)."""
    # Subtract each maximum first: a large offset of scores or labels, such as that of prices, costs no precision.
    return below_top(scores, mask) - below_top(labels, mask)


def pairwise_logistic(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "query",
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query logistic loss over ordered pairs, [B]: see `PairwiseLogisticLoss`."""
    return _ordered(Logistic(), labels, scores, mask, item_weight, temperature, normalization, lambda_weight)


def pairwise_hinge(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "query",
    margin: NonNegative = 1.0,
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query hinge loss over ordered pairs, [B]: see `PairwiseHingeLoss`."""
    term = Hinge(margin)
    return _ordered(term, labels, scores, mask, item_weight, temperature, normalization, lambda_weight)


def pairwise_soft_zero_one(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "query",
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query smooth share of wrongly ordered pairs, [B]: see `PairwiseSoftZeroOneLoss`."""
    return _ordered(SoftZeroOne(), labels, scores, mask, item_weight, temperature, normalization, lambda_weight)


def pairwise_mse(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "query",
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query squared error of score differences, [B]: see `PairwiseMSELoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    excess = _excess(labels, scores, mask)
    pairs = all_pair_weight(mask, weight)
    if lambda_weight is not None:
        explicit_weight = None if item_weight is None else weight
        total = lambda_sums(
            Square(), lambda_weight, labels, excess, mask, explicit_weight, rank_by=scores, all_pairs=True
        )
        return normalise(total, pairs, normalization)
    # With d of mean 0, Σ_ij w_i (d_i - d_j)² = n Σ w d² + Σ w Σ d²: no pairs are needed.
    size, weights = row_sum(ops.cast(mask, excess.dtype)), row_sum(weight)
    mean = safe_divide(row_sum(excess), size)
    squares = ops.square(ops.where(mask, excess - mean[:, None], 0.0))
    total = size * row_sum(weight * squares) + weights * row_sum(squares)
    return normalise(total, pairs, normalization)


def pairwise_quantile(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "query",
    tau: Fraction = 0.5,
    squared: bool = False,
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query quantile loss of score differences, [B]: see `PairwiseQuantileLoss`."""
    term = Quantile(tau, squared)
    return _ordered(
        term, labels, scores, mask, item_weight, temperature, normalization, lambda_weight, subtract_labels=True
    )


@register_loss("pairwise_logistic", aliases=("pairwise_logistic_loss", "bpr"))
class PairwiseLogisticLoss(PairwiseLossBase):
    r"""Logistic loss of the score difference of every pair whose labels differ (RankNet with hard targets, BPR).

    $$\frac{\sum_{y_i > y_j} w_i\,\Lambda_{ij} \ln(1 + e^{-(s_i - s_j)/T})}{\sum_{y_i > y_j} w_i}$$

    Pairs of equal labels do not count; a query without a pair gives 0. In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        normalization: `query`, the mean over the query's pairs; `batch`, the mean over all pairs of the batch
            (Rax, sentence-transformers); `sum` (TF-Ranking's SUM).
        lambda_weight: Λ, by the ranking that the scores give: a key, such as `ndcg`, or `{key: ndcg, topn: 3}`;
            None: 1.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a lambda weight that does not weigh pairs.

    Source: Burges et al., "Learning to rank using gradient descent" (2005); Rendle et al., "BPR" (2009).
    """

    function = staticmethod(pairwise_logistic)
    lambda_weights = ("pair", "dcg")


@register_loss("pairwise_hinge", aliases=("pairwise_hinge_loss",))
class PairwiseHingeLoss(PairwiseLossBase):
    r"""Hinge loss of the score difference of every pair whose labels differ (ranking SVM).

    $$\frac{\sum_{y_i > y_j} w_i\,\Lambda_{ij} \max(0, m - (s_i - s_j)/T)}{\sum_{y_i > y_j} w_i}$$

    A query without a pair gives 0. In units of the scores over T. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores, not the margin, are divided by it.
        normalization: `query`, `batch` or `sum`: see `PairwiseLogisticLoss`.
        margin: m, at least 0.
        lambda_weight: Λ: see `PairwiseLogisticLoss`.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a lambda weight that does not weigh pairs.

    Source: Joachims, "Optimizing search engines using clickthrough data" (2002).
    """

    function = staticmethod(pairwise_hinge)
    lambda_weights = ("pair", "dcg")


@register_loss("pairwise_soft_zero_one", aliases=("pairwise_soft_zero_one_loss",))
class PairwiseSoftZeroOneLoss(PairwiseLossBase):
    r"""Smooth share of the pairs in the wrong order.

    $$\frac{\sum_{y_i > y_j} w_i\,\Lambda_{ij}\,\sigma(-(s_i - s_j)/T)}{\sum_{y_i > y_j} w_i}$$

    A query without a pair gives 0. Between 0 and 1 where Λ is 1. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        normalization: `query`, `batch` or `sum`: see `PairwiseLogisticLoss`.
        lambda_weight: Λ: see `PairwiseLogisticLoss`.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a lambda weight that does not weigh pairs.

    Source: TF-Ranking (2019).
    """

    function = staticmethod(pairwise_soft_zero_one)
    lambda_weights = ("pair", "dcg")


@register_loss("pairwise_mse", aliases=("pairwise_mse_loss",))
class PairwiseMSELoss(PairwiseLossBase):
    r"""Squared error of the score differences against the label differences, over all ordered pairs.

    $$\frac{\sum_{i \ne j} w_i\,\Lambda_{ij}\,[(s_i - s_j)/T - (y_i - y_j)]^2}{\sum_{i \ne j} w_i}$$

    Pairs of equal labels count too, and every pair counts in both directions, each with the weight of its first
    document. In squared units of the labels. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores, not labels, are divided by it.
        normalization: `query`, `batch` or `sum`: see `PairwiseLogisticLoss`.
        lambda_weight: Λ: see `PairwiseLogisticLoss`.
        min_label: documents whose label is below it are padding; None: negative labels are labels.

    Raises:
        ValueError: for a lambda weight that does not weigh pairs.

    Source: Dehghani et al., "Neural ranking models with weak supervision" (2017); TF-Ranking.
    """

    function = staticmethod(pairwise_mse)
    negative_labels = True
    lambda_weights = ("pair", "dcg")


@register_loss("pairwise_quantile", aliases=("pairwise_qr_loss",))
class PairwiseQuantileLoss(PairwiseLossBase):
    r"""Quantile regression of the score differences on the label differences.

    $$\frac{\sum_{y_i > y_j} w_i\,\Lambda_{ij}\,[\tau\,(\Delta y - \Delta s)_+ + (1-\tau)(\Delta s - \Delta y)_+]}
    {\sum_{y_i > y_j} w_i}$$
    with Δy = y_i - y_j and Δs = (s_i - s_j)/T. A query without a pair gives 0. In units of the labels, squared where
    `squared`. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores, not labels, are divided by it.
        normalization: `query`, `batch` or `sum`: see `PairwiseLogisticLoss`.
        tau: the quantile, from 0 to 1; above 0.5 too small a difference costs more than too large a one.
        squared: square both sides (expectile regression).
        lambda_weight: Λ: see `PairwiseLogisticLoss`.
        min_label: documents whose label is below it are padding; None: negative labels are labels.

    Raises:
        ValueError: for a lambda weight that does not weigh pairs.

    Source: Koenker and Bassett, "Regression quantiles" (1978); Rax (2022).
    """

    function = staticmethod(pairwise_quantile)
    negative_labels = True
    lambda_weights = ("pair", "dcg")

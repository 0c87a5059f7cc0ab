"""Pairwise losses."""

from __future__ import annotations

from ml4ir_losses.lazy import Tensor, ops
from ml4ir_losses.losses.base import PairwiseLossBase
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec, get_lambda_weight
from ml4ir_losses.ops import below_top, clean, normalise, ranks, row_sum, safe_divide
from ml4ir_losses.ops.pairs import distinct_pairs, logistic, ordered_pairs, pair_sums
from ml4ir_losses.registry import register_loss


def lambdas(spec: LambdaWeightSpec, labels: Tensor, scores: Tensor, mask: Tensor) -> Tensor | None:
    """Λ of every pair in the ranking by the scores, [B, N, N]; None: every pair counts the same."""
    if spec is None:
        return None
    return get_lambda_weight(spec).pair_weights(labels, ranks(scores, mask), mask)


def _excess(labels: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """s - y but for a constant of the query, [B, N]: its differences are (s_i - s_j) - (y_i - y_j)."""
    # Each below its top first: no digits go to an offset of scores or labels, such as that of prices.
    return below_top(scores, mask) - below_top(labels, mask)


def pairwise_logistic(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: float = 1.0,
    normalization: str = "query",
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query logistic loss over ordered pairs, [B]: see `PairwiseLogisticLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    pair_weights = lambdas(lambda_weight, labels, scores, mask)
    sums = pair_sums(logistic, ordered_pairs(labels, mask), scores, weight, pair_weights)
    return normalise(*sums, normalization)


def pairwise_hinge(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: float = 1.0,
    normalization: str = "query",
    margin: float = 1.0,
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query hinge loss over ordered pairs, [B]: see `PairwiseHingeLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    pair_weights = lambdas(lambda_weight, labels, scores, mask)
    pairs = ordered_pairs(labels, mask)
    sums = pair_sums(lambda margins: ops.relu(margin - margins), pairs, scores, weight, pair_weights)
    return normalise(*sums, normalization)


def pairwise_soft_zero_one(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: float = 1.0,
    normalization: str = "query",
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query smooth share of wrongly ordered pairs, [B]: see `PairwiseSoftZeroOneLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    pair_weights = lambdas(lambda_weight, labels, scores, mask)
    pairs = ordered_pairs(labels, mask)
    sums = pair_sums(lambda margins: ops.sigmoid(-margins), pairs, scores, weight, pair_weights)
    return normalise(*sums, normalization)


def pairwise_mse(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: float = 1.0,
    normalization: str = "query",
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query squared error of score differences, [B]: see `PairwiseMSELoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    excess = _excess(labels, scores, mask)
    pair_weights = lambdas(lambda_weight, labels, scores, mask)
    if pair_weights is not None:
        sums = pair_sums(ops.square, distinct_pairs(mask), excess, weight, pair_weights)
        return normalise(*sums, normalization)
    # With d of mean 0, Σ_ij w_i (d_i - d_j)² = n Σ w d² + Σ w Σ d²: no pairs are needed.
    size, weights = row_sum(ops.cast(mask, excess.dtype)), row_sum(weight)
    mean = safe_divide(row_sum(excess), size)
    squares = ops.square(ops.where(mask, excess - mean[:, None], 0.0))
    total = size * row_sum(weight * squares) + weights * row_sum(squares)
    return normalise(total, ops.relu(size - 1.0) * weights, normalization)


def pairwise_quantile(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: float = 1.0,
    normalization: str = "query",
    tau: float = 0.5,
    squared: bool = False,
    lambda_weight: LambdaWeightSpec = None,
) -> Tensor:
    """Per-query quantile loss of score differences, [B]: see `PairwiseQuantileLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)

    def quantile(excess: Tensor) -> Tensor:
        below, above = ops.relu(-excess), ops.relu(excess)
        if squared:
            below, above = ops.square(below), ops.square(above)
        return tau * below + (1.0 - tau) * above

    pair_weights = lambdas(lambda_weight, labels, scores, mask)
    excess = _excess(labels, scores, mask)
    sums = pair_sums(quantile, ordered_pairs(labels, mask), excess, weight, pair_weights)
    return normalise(*sums, normalization)


@register_loss("pairwise_logistic", aliases=("pairwise_logistic_loss", "bpr"))
class PairwiseLogisticLoss(PairwiseLossBase):
    r"""Logistic loss of the score difference of every pair whose labels differ (RankNet with hard targets, BPR).

    $$\frac{\sum_{y_i > y_j} w_i\,\Lambda_{ij} \ln(1 + e^{-(s_i - s_j)/T})}{\sum_{y_i > y_j} w_i}$$

    Pairs of equal labels take no part; a query without a pair gives 0. In nats. Scores and labels [B, N].

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

    A query without a pair gives 0. A number from 0 to 1 where Λ is 1. Scores and labels [B, N].

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

    Pairs of equal labels take part, and every pair counts in both directions, each with the weight of its first
    document. In squared units of the labels. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores, not labels, are divided by it.
        normalization: `query`, `batch` or `sum`: see `PairwiseLogisticLoss`.
        lambda_weight: Λ: see `PairwiseLogisticLoss`.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a lambda weight that does not weigh pairs.

    Source: Dehghani et al., "Neural ranking models with weak supervision" (2017); TF-Ranking.
    """

    function = staticmethod(pairwise_mse)
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
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a lambda weight that does not weigh pairs.

    Source: Koenker and Bassett, "Regression quantiles" (1978); Rax (2022).
    """

    function = staticmethod(pairwise_quantile)
    lambda_weights = ("pair", "dcg")

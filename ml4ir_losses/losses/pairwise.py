"""Pairwise losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ml4ir_losses.lazy import Tensor, ops
from ml4ir_losses.losses.base import PairwiseLossBase
from ml4ir_losses.losses.lambda_weights import LambdaWeightSpec, YetiDCGLambdaWeight, get_lambda_weight
from ml4ir_losses.ops import (
    below_top,
    clean,
    descending_order,
    lowest,
    normalise,
    ranks,
    row_sum,
    safe_divide,
    take,
)
from ml4ir_losses.ops.sampling import gumbel_noise
from ml4ir_losses.registry import register_loss

LOG_BASE = {"binary": math.log(2.0), "natural": 1.0}


def pair_differences(x: Tensor) -> Tensor:
    """x_i - x_j, [B, N] → [B, N, N]."""
    return x[:, :, None] - x[:, None, :]


def valid_pairs(mask: Tensor) -> Tensor:
    """True where both documents are valid, [B, N, N]; a document makes a pair with itself too."""
    return ops.logical_and(mask[:, :, None], mask[:, None, :])


def ordered_pairs(labels: Tensor, mask: Tensor) -> Tensor:
    """True where y_i > y_j and both are valid, [B, N, N]."""
    return ops.logical_and(labels[:, :, None] > labels[:, None, :], valid_pairs(mask))


def distinct_pairs(labels: Tensor, mask: Tensor) -> Tensor:
    """True where i ≠ j and both are valid, [B, N, N]."""
    index = ops.arange(ops.shape(mask)[1])
    return ops.logical_and(index[:, None] != index[None, :], valid_pairs(mask))


def pair_sums(
    term: Callable[[Tensor], Tensor], pairs: Tensor, scores: Tensor, weight: Tensor, pair_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Σ w_i·Λ_ij·term(s_i - s_j) and Σ w_i over the pairs, both [B]; Λ gets no gradient."""
    terms = term(ops.where(pairs, pair_differences(scores), 0.0))
    if pair_weights is not None:
        terms = terms * ops.stop_gradient(ops.where(pairs, pair_weights, 0.0))
    weights = ops.where(pairs, weight[:, :, None], 0.0)
    return ops.sum(weights * terms, axis=(1, 2)), ops.sum(weights, axis=(1, 2))


def lambdas(spec: LambdaWeightSpec, labels: Tensor, scores: Tensor, mask: Tensor) -> Tensor | None:
    """Λ of every pair in the ranking by the scores, [B, N, N]; None: every pair counts the same."""
    if spec is None:
        return None
    return get_lambda_weight(spec).pair_weights(labels, ranks(scores, mask), mask)


def logistic(margins: Tensor) -> Tensor:
    """ln(1 + e^-x)."""
    return -ops.log_sigmoid(margins)


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
    pair_weights = lambdas(lambda_weight, labels, scores, mask)
    # (s_i - s_j) - (y_i - y_j) is the difference of s - y: one tensor of pairs less
    sums = pair_sums(ops.square, distinct_pairs(labels, mask), scores - labels, weight, pair_weights)
    return normalise(*sums, normalization)


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
    sums = pair_sums(quantile, ordered_pairs(labels, mask), scores - labels, weight, pair_weights)
    return normalise(*sums, normalization)


def ranknet(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: float = 1.0,
    normalization: str = "batch",
    k: int | None = None,
    sigma: float = 1.0,
    reduction_log: str = "binary",
) -> Tensor:
    """Per-query RankNet loss, [B]: see `RankNetLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    if k is not None:
        top = descending_order(scores, mask)[:, :k]
        labels, scores, mask, weight = (take(x, top) for x in (labels, scores, mask, weight))
    total, weights = pair_sums(logistic, ordered_pairs(labels, mask), sigma * scores, weight)
    return normalise(total / LOG_BASE[reduction_log], weights, normalization)


def yeti_logistic(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: float = 1.0,
    normalization: str = "query",
    sample_size: int = 8,
    gumbel_temperature: float = 1.0,
    lambda_weight: LambdaWeightSpec = "yeti_dcg",
    seed: Any = None,
) -> Tensor:
    """Per-query YetiRank loss, [B]: see `YetiLogisticLoss`. `seed` may also be a `keras.random.SeedGenerator`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    noise = gumbel_noise(scores, sample_size, seed)
    pairs = ordered_pairs(labels, mask)
    scheme = None if lambda_weight is None else get_lambda_weight(lambda_weight)
    total = 0.0
    for sample in range(sample_size):
        gumbel = noise[sample]
        # Ranks apart, noise is added to differences alone: beside a score of 1e4 it would lose its digits.
        perturbed = below_top(scores, mask) + gumbel
        if type(scheme) is YetiDCGLambdaWeight:
            order = descending_order(perturbed, mask)
            sample_total = _neighbours(scheme, order, labels, scores, gumbel, gumbel_temperature, mask, weight)
        else:

            def term(margins: Tensor, gumbel: Tensor = gumbel) -> Tensor:
                return logistic((margins + pair_differences(gumbel)) / gumbel_temperature)

            sample_total, _ = pair_sums(term, pairs, scores, weight, lambdas(scheme, labels, perturbed, mask))
        total = total + sample_total
    weights = row_sum(weight * ops.sum(ops.cast(pairs, scores.dtype), axis=2))
    return normalise(total / sample_size, weights, normalization)


def _neighbours(
    scheme: YetiDCGLambdaWeight,
    order: Tensor,
    labels: Tensor,
    scores: Tensor,
    noise: Tensor,
    gumbel_temperature: float,
    mask: Tensor,
    weight: Tensor,
) -> Tensor:
    """Σ w·Λ·φ, [B], over the pairs of neighbouring ranks: no other pair counts, so no [B, N, N] is needed."""
    documents = (labels, scores, noise, mask, weight, scheme.gains(labels, mask))
    labels, scores, noise, mask, weight, gains = (take(x, order) for x in documents)
    higher_first = labels[:, :-1] > labels[:, 1:]
    pairs = ops.logical_and(labels[:, :-1] != labels[:, 1:], mask[:, 1:])
    margins = ((scores[:, :-1] - scores[:, 1:]) + (noise[:, :-1] - noise[:, 1:])) / gumbel_temperature
    margins = ops.where(pairs, margins, 0.0)
    terms = logistic(ops.where(higher_first, margins, -margins))
    weights = ops.where(higher_first, weight[:, :-1], weight[:, 1:]) * scheme.neighbour_weights(gains)
    return row_sum(ops.stop_gradient(ops.where(pairs, weights, 0.0)) * terms)


def circle(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: float = 1.0,
    gamma: float = 64.0,
    margin: float = 0.25,
) -> Tensor:
    """Per-query circle loss, [B]: see `CircleLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    pairs = ordered_pairs(labels, mask)
    similarity = ops.clip(scores, 0.0, 1.0)
    pull = ops.stop_gradient(ops.relu(1.0 - similarity + margin)) * (1.0 - similarity - margin)
    push = ops.stop_gradient(ops.relu(similarity + margin)) * (similarity - margin)
    exponents = ops.where(pairs, gamma * (pull[:, :, None] + push[:, None, :]), lowest(scores))
    values = ops.softplus(ops.logsumexp(exponents, axis=(1, 2)))
    mean_weight = safe_divide(
        ops.sum(ops.where(pairs, weight[:, :, None], 0.0), axis=(1, 2)),
        ops.sum(ops.cast(pairs, scores.dtype), axis=(1, 2)),
    )
    return mean_weight * values


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

    Source: Burges et al., "Learning to rank using gradient descent" (2005).
    """

    function = staticmethod(ranknet)
    defaults = {"activation_fn": None}


@register_loss("yeti_logistic", aliases=("yeti_logistic_loss",))
class YetiLogisticLoss(PairwiseLossBase):
    r"""YetiRank: pairwise logistic loss of randomly perturbed rankings, by default of neighbours alone.

    $$\frac{1}{S}\sum_{t=1}^{S} \frac{\sum_{y_i > y_j} w_i\,\Lambda^t_{ij} \ln(1 + e^{-(z^t_i - z^t_j)})}
    {\sum_{y_i > y_j} w_i},\quad z^t = (s/T + G^t)/T_G$$
    with standard Gumbel noise G, and Λ by the ranking of z.

    Every call draws anew. A query without a pair gives 0. In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        normalization: `query`, `batch` or `sum`: see `PairwiseLogisticLoss`.
        sample_size: S, the number of perturbed copies.
        gumbel_temperature: T_G, above 0.
        lambda_weight: Λ: see `PairwiseLogisticLoss`. `yeti_dcg` needs memory B·N per sample, others B·N².
        seed: equal seeds give equal sequences.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a lambda weight that does not weigh pairs.

    Source: Lyzhin et al., "Which tricks are important for learning to rank?" (2023).
    """

    function = staticmethod(yeti_logistic)
    lambda_weights = ("pair", "dcg")
    stochastic = True


@register_loss("circle", aliases=("circle_loss",))
class CircleLoss(PairwiseLossBase):
    r"""Circle loss: every pair is pulled apart the more the further its two scores are from 1 and 0.

    $$\bar w \ln\Big(1 + \sum_{y_i > y_j} e^{\gamma\,[\alpha_i(1 - t_i - m) + \alpha_j'(t_j - m)]}\Big),\quad
    t = \mathrm{clip}(s/T, 0, 1)$$
    with α_i = (1 - t_i + m)₊ and α'_j = (t_j + m)₊ as constants, and w̄ the mean weight of the pairs' higher documents.

    Scores outside [0, 1] get no gradient. Exact at any γ; a query without a pair gives 0. In nats. Scores and
    labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        gamma: γ, above 0, the scale.
        margin: m, at least 0.
        min_label: documents whose label is below it are padding.

    Source: Sun et al., "Circle loss: a unified perspective of pair similarity optimization" (2020).
    """

    function = staticmethod(circle)

"""LambdaLoss and RankNet, over the pairs at the top of the ranking."""

from __future__ import annotations

import math
from typing import Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative, Positive, PositiveInt
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.base import PairwiseLossBase
from ml4ir_losses.losses.pair_weights import discount_steps, normalised_gain
from ml4ir_losses.losses.weighting_schemes import WeightingSchemeSpec, get_weighting_scheme
from ml4ir_losses.ops import clean, descending_order, gather_documents, normalise, rank_table
from ml4ir_losses.ops.normalization import Normalization
from ml4ir_losses.ops.pair_terms import Logistic
from ml4ir_losses.ops.pairs import (
    all_pair_weight,
    ordered_pair_weight,
    pair_sums,
    pairs_within,
    valid_pairs,
)
from ml4ir_losses.ops.weighing import PairWeights, given_weights

LOG_BASE = {"binary": math.log(2.0), "natural": 1.0}
TopKPairs = Literal["either", "both"]


def lambda_loss(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "sum",
    weighting_scheme: WeightingSchemeSpec = "ndcg_loss2pp",
    k: PositiveInt | None = None,
    top_k_pairs: TopKPairs = "either",
    sigma: Positive = 1.0,
    reduction_log: Literal["binary", "natural"] = "binary",
    eps: NonNegative = 1e-10,
) -> Tensor:
    """Per-query LambdaLoss, [B]: see `LambdaLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    scheme = get_weighting_scheme(weighting_scheme)
    gains = normalised_gain(labels, mask, "pow2_minus_1", "log2_inverse", k, eps)
    # Sorted by score, the discounts are one table for all queries, and the top k are the first k.
    order, reach = _ranking(scores, mask, k, top_k_pairs)
    labels, scores, mask, weight, gains = (gather_documents(x, order) for x in (labels, scores, mask, weight, gains))
    discount, both = _log2_discount(gains), scheme.all_pairs
    if not scheme.is_elementwise:
        weights = scheme.forward(gains, discount, labels) * ops.ones_like(gains[:, :, None])
        counted = valid_pairs(mask) if reach is None else valid_pairs(mask) & pairs_within(reach, gains)
        pair_weights = given_weights(ops.where(counted, weights, 0.0))
    else:
        facts = (gains, ops.ones_like(gains) / discount)
        pair_weights = PairWeights(scheme, facts, discount_steps(1.0 / discount[0]), reach=reach)
    explicit_weight = None if item_weight is None else weight
    total = pair_sums(Logistic(), labels, sigma * scores, mask, explicit_weight, pair_weights, both, in_order=True)
    if both:
        pairs = all_pair_weight(mask, weight, with_itself=True, reach=reach)
    else:
        pairs = ordered_pair_weight(labels, mask, weight, reach)
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
    top_k_pairs: TopKPairs = "either",
    sigma: Positive = 1.0,
    reduction_log: Literal["binary", "natural"] = "binary",
) -> Tensor:
    """Per-query RankNet loss, [B]: see `RankNetLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    reach = None
    if k is not None:
        order, reach = _ranking(scores, mask, k, top_k_pairs)
        labels, scores, mask, weight = (gather_documents(x, order) for x in (labels, scores, mask, weight))
    explicit_weight = None if item_weight is None else weight
    ranked = PairWeights(reach=reach)
    total = pair_sums(Logistic(), labels, sigma * scores, mask, explicit_weight, ranked, in_order=k is not None)
    return normalise(total / LOG_BASE[reduction_log], ordered_pair_weight(labels, mask, weight, reach), normalization)


def _ranking(scores: Tensor, mask: Tensor, k: int | None, top_k_pairs: TopKPairs) -> tuple[Tensor, int | None]:
    """Indices of the documents that count, by score, and how many of the first a pair needs one of (None: all)."""
    order = descending_order(scores, mask)
    return (order, k) if top_k_pairs == "either" else (order[:, :k], None)


def _log2_discount(like: Tensor) -> Tensor:
    """log2(1 + r) for r = 1..n, [1, n]."""
    return (ops.log1p(rank_table(like)) / LOG_BASE["binary"])[None, :]


@register_loss("lambda_loss")
class LambdaLoss(PairwiseLossBase):
    r"""Pairwise logistic loss weighted by the effect of each pair on NDCG.

    $$\sum_{(i,j)} w_i\,\Lambda_{ij} \log_2(1 + e^{-\sigma(s_i - s_j)/T})$$
    over the pairs y_i > y_j of a query with a document among its k highest scores; the mean over queries. Λ is by the
    weighting scheme, from G = (2^y - 1) / maxDCG@k and D = log2(1 + rank by score), without a gradient.

    Exact at any score: no probability is clamped. A batch without a pair gives 0, and labels may be of any size. In
    bits, or in nats where `reduction_log` is `natural`. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        normalization: `sum`, or `query` or `batch`, which divide by the sum of w over the pairs of the query or of the
            batch: see `PairwiseLogisticLoss`. The divisor does not count Λ, so that long lists have small gradients,
            too small for the epsilon of Adam. sentence-transformers' loss is `batch`.
        weighting_scheme: `none`, `ndcg_loss1`, `ndcg_loss2`, `lambda_rank`, `ndcg_loss2pp`, also as
            `{key: ndcg_loss2pp, mu: 5}`, or a `BaseWeightingScheme`. `ndcg_loss1` counts all pairs: ties, both
            directions, i = j.
        k: the k documents of the highest scores are the top of a query; None: all are.
        top_k_pairs: `either`: a pair counts if at least one of its documents is in the top k, so that a relevant
            document below it still gets a gradient; `both`: only pairs within the top k count.
        sigma: σ, above 0, the steepness.
        reduction_log: `binary` or `natural`.
        eps: at least 0; a best DCG below it counts as `eps`, so that gains of tiny labels stay tiny.
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
    over the pairs of the whole batch with a document among the k highest scores of their query.

    A query without a pair gives 0. In bits, or in nats where `reduction_log` is `natural`. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        normalization: `query`, `batch` or `sum`: see `PairwiseLogisticLoss`.
        k: the k documents of the highest scores are the top of a query; None: all are.
        top_k_pairs: `either`: a pair counts if at least one of its documents is in the top k; `both`: only pairs
            within the top k count. See `LambdaLoss`.
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

"""Pairwise losses."""

from __future__ import annotations

from ml4ir_losses.lazy import Tensor, ops
from ml4ir_losses.losses.base import PairwiseLossBase
from ml4ir_losses.ops import clean, normalise
from ml4ir_losses.registry import register_loss


def pair_differences(x: Tensor) -> Tensor:
    """x_i - x_j, [B, N] → [B, N, N]."""
    return x[:, :, None] - x[:, None, :]


def pairwise_logistic(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: float = 1.0,
    normalization: str = "query",
) -> Tensor:
    """Per-query logistic loss over ordered pairs, [B]: see `PairwiseLogisticLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    ordered = (pair_differences(labels) > 0) & mask[:, :, None] & mask[:, None, :]
    pair_weight = ops.where(ordered, weight[:, :, None], 0.0)
    margins = ops.where(ordered, pair_differences(scores), 0.0)
    total = -ops.sum(pair_weight * ops.log_sigmoid(margins), axis=(1, 2))
    return normalise(total, ops.sum(pair_weight, axis=(1, 2)), normalization)


@register_loss("pairwise_logistic", aliases=("pairwise_logistic_loss", "bpr"))
class PairwiseLogisticLoss(PairwiseLossBase):
    r"""Logistic loss of the score difference of every pair whose labels differ (RankNet with hard targets, BPR).

    $$\frac{\sum_{y_i > y_j} w_i \ln(1 + e^{-(s_i - s_j)/T})}{\sum_{y_i > y_j} w_i}$$

    Pairs of equal labels take no part; a query without a pair gives 0. In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores are divided by it.
        normalization: `query`, the mean over the query's pairs; `batch`, the mean over all pairs of the batch
            (Rax, sentence-transformers); `sum` (TF-Ranking's SUM).
        min_label: documents whose label is below it are padding.

    Source: Burges et al., "Learning to rank using gradient descent" (2005); Rendle et al., "BPR" (2009).
    """

    function = staticmethod(pairwise_logistic)

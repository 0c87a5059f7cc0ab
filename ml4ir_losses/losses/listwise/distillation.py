"""Losses against a teacher's scores or true ranks."""

from __future__ import annotations

import math

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive, PositiveInt, Seed
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.base import ListwiseLossBase
from ml4ir_losses.ops import (
    as_float,
    below_top,
    clean,
    descending_order,
    list_weight,
    lowest,
    normalise,
    rank_table,
    row_sum,
)
from ml4ir_losses.ops.counting import counts_below
from ml4ir_losses.ops.gains import identity
from ml4ir_losses.ops.sampling import gumbel_noise
from ml4ir_losses.ops.soft_ranks import approx_ranks
from ml4ir_losses.ops.tail_sums import plackett_luce


def coupled_rank_distil(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    sample_size: PositiveInt = 8,
    topk: PositiveInt | None = None,
    seed: Seed = None,
) -> Tensor:
    """Per-query coupled RankDistil, [B]: see `CoupledRankDistilLoss`."""
    noise = gumbel_noise(as_float(scores), sample_size, seed)
    values = _rank_distil(labels, scores, mask, noise, item_weight, temperature, topk)
    return ops.sum(values, axis=0) / sample_size  # not `mean`: on torch it rounds float64 to float32


def _rank_distil(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None,
    noise: Tensor,
    item_weight: Tensor | None,
    temperature: float,
    topk: int | None,
) -> Tensor:
    """Per-sample, per-query values, [S, B]."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    size = ops.shape(scores)[1]
    samples = ops.shape(noise)[0]
    # Subtract the maximum first: added to teacher scores of 1e4, the noise would lose its precision.
    keys = ops.reshape(below_top(labels, mask)[None] + noise, (-1, size))
    tiled_scores, tiled_mask = (ops.reshape(ops.repeat(x[None], samples, axis=0), (-1, size)) for x in (scores, mask))
    order = descending_order(keys, tiled_mask)
    last = row_sum(ops.cast(tiled_mask, scores.dtype))[:, None]
    if topk is not None:
        last = ops.where(last > topk, float(topk), last)
    counted = ops.cast(rank_table(scores)[None, :] <= last, scores.dtype)
    values = plackett_luce(ops.where(tiled_mask, tiled_scores, lowest(scores)), order, counted)
    values = ops.reshape(values, (samples, -1))
    return list_weight(labels, mask, weight) * values


def adr_mse(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    alpha: Positive = 1.0,
) -> Tensor:
    """Per-query ADR-MSE, [B], scaled so that the mean is the loss: see `ADRMSELoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    size = row_sum(ops.cast(mask, scores.dtype))
    lower, higher = (ops.cast(counts_below(x, x, mask), scores.dtype) for x in (labels, -labels))
    rank = ops.where(mask, (1.0 + higher + size[:, None] - lower) / 2.0, 1.0)  # tied labels share their mean rank
    soft_rank = approx_ranks(1.0 / alpha)(scores, mask)(identity)
    terms = math.log(2.0) / ops.log1p(rank) * ops.square(rank - soft_rank)
    total = list_weight(labels, mask, weight) * row_sum(ops.where(mask, terms, 0.0))
    return normalise(total, size, "batch")


@register_loss("coupled_rank_distil", aliases=("coupled_rankdistil_loss",))
class CoupledRankDistilLoss(ListwiseLossBase):
    r"""Negative log likelihood, under the student's scores, of orders drawn from the teacher's scores.

    $$\frac{\bar w}{S} \sum_{\pi} \sum_{r=1}^{k} \Big[\ln\sum_{q \ge r} e^{s_{\pi(q)}/T} - s_{\pi(r)}/T\Big],\quad
    \pi = \mathrm{argsort}_{\downarrow}(y + G)$$
    with S draws of Gumbel noise G, so that π follows the teacher's Plackett-Luce model, and w̄ the label-weighted
    mean of the item weights.

    In nats. Scores [B, N]; labels [B, N], the teacher's scores, on the scale of logits. Every call draws new samples.

    Args:
        temperature: T, above 0; the student's scores are divided by it.
        sample_size: S, the number of sampled orders.
        topk: k, the number of leading positions that count; None: all.
        seed: equal seeds give equal sequences of draws.
        min_label: documents whose label is below it are padding; None: negative scores of the teacher count.

    Raises:
        ValueError: for a `sample_size` or `topk` below 1.

    Source: Reddi et al., "RankDistil: knowledge distillation for ranking" (2021).
    """

    function = staticmethod(coupled_rank_distil)
    negative_labels = True
    stochastic = True


@register_loss("adr_mse")
class ADRMSELoss(ListwiseLossBase):
    r"""Squared difference between soft and true ranks, discounted by the true rank.

    $$\frac{1}{n} \sum_i \frac{(\rho_i - r_i)^2}{\log_2(1 + r_i)},\quad
    \rho_i = 1 + \sum_{j \ne i} \sigma\big(\alpha\,(s_j - s_i)/T\big)$$
    with r the ranks of the labels, tied labels sharing their mean rank, and n the number of documents of the batch.

    The per-query values are scaled so that their mean is that sum over the batch; each is multiplied by the
    label-weighted mean of the query's item weights. In squared ranks. Scores and labels [B, N]; memory B·N.

    Args:
        temperature: T, above 0; scores are divided by it.
        alpha: α, above 0: how sharp the soft ranks are.
        min_label: documents whose label is below it are padding; None: negative labels are labels.
        activation_fn: applied to the logits first.

    Raises:
        ValueError: for an `alpha` that is not above 0.

    Source: Schlatt et al., "Rank-DistiLLM: closing the effectiveness gap between cross-encoders and LLMs for passage
    re-ranking" (2024).
    """

    function = staticmethod(adr_mse)
    negative_labels = True
    defaults = {"activation_fn": None}

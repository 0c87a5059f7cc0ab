"""Losses made from metrics with smooth ranks, and losses averaged over Gumbel noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive, PositiveInt, Seed, signature_of
from ml4ir_losses.core.registry import METRICS, register_loss
from ml4ir_losses.losses.base import ListwiseLossBase
from ml4ir_losses.metrics.ranking.ndcg import ndcg
from ml4ir_losses.ops import clean, list_weight, row_sum, safe_divide
from ml4ir_losses.ops.gains import inverse
from ml4ir_losses.ops.neural_sort import neural_sort_ranks
from ml4ir_losses.ops.sampling import gumbel_noise, perturb
from ml4ir_losses.ops.soft_ranks import RankFn, approx_ranks, bound_ranks, exact_ranks

Metric = Callable[..., tuple[Tensor, Tensor]]
LossFunction = Callable[..., Tensor]


def approx(metric: Metric | str, temperature: float = 0.1) -> LossFunction:
    """Turns a metric into a loss by sigmoid ranks: minus the metric at ρ_i = 1/2 + Σ_j σ((s_j - s_i)/T).

    Args:
        metric: the key of a registered metric, or a function `fn(labels, scores, mask, *, item_weight, rank_fn)` that
            gives ([B] values, [B] weights), computed with the ranks of `rank_fn` (`ml4ir_losses.metrics.ranking`).
        temperature: T, above 0: the default of the loss's own `temperature`.

    Returns:
        A loss function for `ListwiseLossBase.function`, [B]. The metric is called without item weights; its value is
        multiplied by the query's label-weighted mean item weight.

    >>> import numpy as np
    >>> loss = approx("mrr", temperature=0.01)(np.array([[0.0, 1.0, 0.0]]), np.array([[3.0, 2.0, 1.0]]))
    >>> round(float(loss[0]), 4)
    -0.5
    """
    return _smooth(metric, approx_ranks, temperature)


def neural_sort(metric: Metric | str, temperature: float = 1.0) -> LossFunction:
    """Turns a metric into a loss by NeuralSort: minus its expected value; arguments as for `approx`.

    >>> import numpy as np
    >>> loss = neural_sort("mrr", temperature=0.01)(np.array([[0.0, 1.0, 0.0]]), np.array([[3.0, 2.0, 1.0]]))
    >>> round(float(loss[0]), 4)
    -0.5
    """
    return _smooth(metric, neural_sort_ranks, temperature)


def bound(metric: Metric | str, temperature: float = 1.0) -> LossFunction:
    """Turns a metric into a loss that is never below minus the metric; arguments as for `approx`.

    The ranks are ρ_i = Σ_j max(0, 1 + (s_j - s_i)/T) ≥ rank of i, with Σ over all documents, i among them: a document
    that is ahead of i by d counts as 1 + d/T ranks, one that is behind by T or more as none. At ρ a metric is at most
    its exact value (`arp` at least), whatever T is, so that minus the loss is a value that the metric is sure to have.
    With `topn`, documents whose ρ is below it have no gradient.

    Source: Joachims, Swaminathan, Schnabel, "Unbiased learning-to-rank with biased feedback" (2017); Agarwal et al., "A
    general framework for counterfactual learning-to-rank" (2019).

    >>> import numpy as np
    >>> loss = bound("mrr", temperature=0.5)(np.array([[0.0, 1.0, 0.0]]), np.array([[3.0, 2.0, 1.0]]))
    >>> round(float(loss[0]), 4)
    -0.25
    """
    return _smooth(metric, bound_ranks, temperature)


def gumbel(
    loss_function: LossFunction, sample_size: int = 8, gumbel_temperature: float = 1.0, seed: Any = None
) -> LossFunction:
    r"""Turns a loss into its mean over lists perturbed by Gumbel noise.

    $$\frac{1}{S}\sum_{k=1}^{S} L(\ln\mathrm{softmax}((s + G_k)/\beta))$$

    Args:
        loss_function: `fn(labels, scores, mask, *, item_weight, **params) -> [B]`, in which the value of a query does
            not depend on the scores of another. Its parameters are parameters of the new loss too.
        sample_size: S, the number of samples; the loss sees S·B lists.
        gumbel_temperature: β, above 0.
        seed: of the noise; None draws from Keras' global generator.

    Returns:
        A loss function whose class sets `stochastic = True`.
    """
    own = {"sample_size": sample_size, "gumbel_temperature": gumbel_temperature, "seed": seed}

    def loss(
        labels: Tensor, scores: Tensor, mask: Tensor | None = None, *, item_weight: Tensor | None = None, **params: Any
    ) -> Tensor:
        labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
        size, beta, source = (params.pop(name, default) for name, default in own.items())

        width = ops.shape(scores)[1]

        def tiled(x: Tensor) -> Tensor:
            return ops.reshape(ops.repeat(x[None], size, axis=0), (-1, width))

        perturbed = ops.reshape(perturb(scores, mask, gumbel_noise(scores, size, source), beta), (-1, width))
        values = loss_function(tiled(labels), perturbed, tiled(mask), item_weight=tiled(weight), **params)
        return ops.sum(ops.reshape(values, (size, -1)), axis=0) / size  # `ops.mean` narrows float64 on torch

    # A loss class reads its parameters from the signature.
    kinds = {"sample_size": PositiveInt, "gumbel_temperature": Positive, "seed": Seed}
    signature = signature_of(loss_function)
    inner = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD and p.name not in own]
    outer = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=kinds[name])
        for name, value in own.items()
    ]
    loss.__signature__ = signature.replace(parameters=[*inner, *outer])  # type: ignore[attr-defined]
    return loss


def surrogate(metric: Metric | str, rank_fn: RankFn) -> LossFunction:
    """Minus the metric over the ranks of `rank_fn` (plus, where lower is better), times the weight of the list."""
    function: Metric = METRICS[metric].target if isinstance(metric, str) else metric
    undecorated = getattr(function, "func", function)  # the function of a functools.partial
    lower_is_better = any(entry.target is undecorated and entry.trait("lower_is_better", False) for entry in METRICS)

    def loss(
        labels: Tensor, scores: Tensor, mask: Tensor | None = None, *, item_weight: Tensor | None = None
    ) -> Tensor:
        labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
        value, _ = function(labels, scores, mask, rank_fn=rank_fn)
        value = value if lower_is_better else -value
        return ops.where(value == 0, 0.0, value * list_weight(labels, mask, weight))  # no -0.0

    return loss


def _smooth(metric: Metric | str, ranks: Callable[[float], RankFn], default: float) -> LossFunction:
    def loss(
        labels: Tensor,
        scores: Tensor,
        mask: Tensor | None = None,
        *,
        item_weight: Tensor | None = None,
        temperature: Positive = default,
    ) -> Tensor:
        return surrogate(metric, ranks(temperature))(labels, scores, mask, item_weight=item_weight)

    return loss


def reciprocal_rank(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    rank_fn: RankFn | None = None,
) -> tuple[Tensor, Tensor]:
    """Label-weighted mean reciprocal rank of each query, Σ w·y/r / Σ w·y, and its weight Σ w·y / Σ y."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
    relevance = weight * ops.where(labels > 0, labels, 0.0)
    value = row_sum(relevance * (rank_fn or exact_ranks)(scores, mask)(inverse))
    return safe_divide(value, row_sum(relevance)), list_weight(labels, mask, weight)


approx_ndcg = approx(ndcg)
approx_mrr = approx(reciprocal_rank)
gumbel_approx_ndcg = gumbel(approx_ndcg)
bound_ndcg = bound(ndcg)


@register_loss("approx_ndcg", aliases=("approx_ndcg_loss",))
class ApproxNDCGLoss(ListwiseLossBase):
    r"""Minus NDCG, with smooth ranks.

    $$-\bar w\,\frac{\sum_i (2^{y_i}-1)/\log_2(1+\rho_i)}{\sum_i (2^{y_i}-1)/\log_2(1+r^*_i)},\quad
    \rho_i = \tfrac12 + \sum_j \sigma((s_j - s_i)/T)$$
    with r* the ranks of the best order and w̄ the label-weighted mean of the item weights.

    From -1 (perfect) to 0, a share without a unit; tends to -NDCG as T → 0. Finite for labels of any size. A query
    without relevance gives 0. Scores and labels [B, N]; memory B·N.

    Args:
        temperature: T, above 0: small is close to NDCG, with steep and sparse gradients.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Qin, Liu, Li, "A general approximation framework for direct optimization of information retrieval
    measures" (2010); Bruch et al., "Revisiting approximate metric optimization in the age of deep neural networks"
    (2019).
    """

    function = staticmethod(approx_ndcg)


@register_loss("approx_mrr", aliases=("approx_mrr_loss",))
class ApproxMRRLoss(ListwiseLossBase):
    r"""Minus the label-weighted mean reciprocal rank, with smooth ranks.

    $$-\bar w\,\frac{\sum_i y_i/\rho_i}{\sum_i y_i},\quad \rho_i = \tfrac12 + \sum_j \sigma((s_j - s_i)/T)$$
    with w̄ the label-weighted mean of the item weights.

    From -1 to 0, a share without a unit. With one relevant document it tends to -MRR as T → 0; with several, as in
    TF-Ranking, every one counts. A query without relevance gives 0. Scores and labels [B, N]; memory B·N.

    Args:
        temperature: T, above 0: small is close to the exact ranks, with steep and sparse gradients.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Qin, Liu, Li, "A general approximation framework for direct optimization of information retrieval
    measures" (2010), as in TF-Ranking.
    """

    function = staticmethod(approx_mrr)


@register_loss("gumbel_approx_ndcg", aliases=("gumbel_approx_ndcg_loss",))
class GumbelApproxNDCGLoss(ListwiseLossBase):
    r"""ApproxNDCG, averaged over lists with Gumbel noise on the scores.

    $$\frac{1}{S}\sum_{k=1}^{S} \mathrm{ApproxNDCG}(\ln\mathrm{softmax}((s + G_k)/\beta))$$

    From -1 to 0, a share without a unit. Every call draws new noise. Scores and labels [B, N]; memory S·B·N.

    Args:
        temperature: T of the smooth ranks, above 0.
        sample_size: S, samples per query.
        gumbel_temperature: β, above 0.
        seed: equal seeds give equal sequences of draws; None: no fixed sequence.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Bruch et al., "A stochastic treatment of learning to rank scoring functions" (2020).
    """

    function = staticmethod(gumbel_approx_ndcg)
    stochastic = True


@register_loss("bound_ndcg")
class BoundNDCGLoss(ListwiseLossBase):
    r"""Minus a lower bound on NDCG, from a hinge bound on the ranks.

    $$-\bar w\,\frac{\sum_i (2^{y_i}-1)/\log_2(1+\rho_i)}{\sum_i (2^{y_i}-1)/\log_2(1+r^*_i)},\quad
    \rho_i = \sum_j \max(0, 1 + (s_j - s_i)/T)$$
    with r* the ranks of the ideal order and w̄ the label-weighted mean of the item weights. The sum over j includes i.

    From -1 to 0, a share without a unit; never below -w̄·NDCG. A query without relevance gives 0. Scores and labels
    [B, N]; memory B·N.

    Args:
        temperature: T, above 0: the lead from which a document below costs nothing.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Agarwal et al., "A general framework for counterfactual learning-to-rank" (2019).
    """

    function = staticmethod(bound_ndcg)

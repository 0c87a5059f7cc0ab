"""YetiRank: pairs of randomly perturbed rankings."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive, PositiveInt, Seed
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.base import PairwiseLossBase
from ml4ir_losses.losses.lambda_weights import LambdaWeight, LambdaWeightSpec, YetiDCGLambdaWeight, get_lambda_weight
from ml4ir_losses.losses.pairwise.score_differences import lambda_sums
from ml4ir_losses.ops import below_top, clean, descending_order, gather_documents, normalise, row_sum
from ml4ir_losses.ops.normalization import Normalization
from ml4ir_losses.ops.pair_terms import Logistic, logistic
from ml4ir_losses.ops.pairs import ordered_pair_weight
from ml4ir_losses.ops.samples import mean_over_samples
from ml4ir_losses.ops.sampling import gumbel_noise


def yeti_logistic(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "query",
    sample_size: PositiveInt = 8,
    gumbel_temperature: Positive = 1.0,
    lambda_weight: LambdaWeightSpec = "yeti_dcg",
    seed: Seed = None,
) -> Tensor:
    """Per-query YetiRank loss, [B]: see `YetiLogisticLoss`. `seed` may also be a `keras.random.SeedGenerator`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
    scheme = None if lambda_weight is None else get_lambda_weight(lambda_weight)
    scale = temperature * gumbel_temperature

    def sample(scores: Tensor, noise: Tensor) -> Tensor:
        # Except for ranking, noise is added to score differences: added to scores of 1e4 it would lose its precision.
        documents = (labels, scores, noise, scale, mask, weight)
        if type(scheme) is YetiDCGLambdaWeight:
            return _neighbours(scheme, *documents)
        return _all_pairs(scheme, *documents)

    value = mean_over_samples(sample, scores, gumbel_noise(scores, sample_size, seed))
    return normalise(value, ordered_pair_weight(labels, mask, weight), normalization)


def _all_pairs(
    scheme: LambdaWeight | None,
    labels: Tensor,
    scores: Tensor,
    noise: Tensor,
    scale: float,
    mask: Tensor,
    weight: Tensor,
) -> Tensor:
    """Σ w·Λ·φ, [B], over the pairs y_i > y_j."""
    rank_by = below_top(scores, mask) + noise
    return lambda_sums(Logistic(), scheme, labels, (scores / scale, noise / scale), mask, weight, rank_by=rank_by)


def _neighbours(
    scheme: YetiDCGLambdaWeight,
    labels: Tensor,
    scores: Tensor,
    noise: Tensor,
    scale: float,
    mask: Tensor,
    weight: Tensor,
) -> Tensor:
    """`_all_pairs` where only neighbouring ranks have weight, without [B, N, N]."""
    order = descending_order(below_top(scores, mask) + noise, mask)
    documents = (labels, scores, noise, mask, weight, scheme.gains(labels, mask))
    labels, scores, noise, mask, weight, gains = (gather_documents(x, order) for x in documents)
    higher_first = labels[:, :-1] > labels[:, 1:]
    pairs = ops.logical_and(labels[:, :-1] != labels[:, 1:], mask[:, 1:])
    margins = ((scores[:, :-1] - scores[:, 1:]) + (noise[:, :-1] - noise[:, 1:])) / scale
    margins = ops.where(pairs, margins, 0.0)
    terms = logistic(ops.where(higher_first, margins, -margins))
    weights = ops.where(higher_first, weight[:, :-1], weight[:, 1:]) * scheme.neighbour_weights(gains)
    return row_sum(ops.stop_gradient(ops.where(pairs, weights, 0.0)) * terms)


@register_loss("yeti_logistic", aliases=("yeti_logistic_loss",))
class YetiLogisticLoss(PairwiseLossBase):
    r"""YetiRank: pairwise logistic loss of randomly perturbed rankings, by default over neighbours in the ranking.

    $$\frac{1}{S}\sum_{t=1}^{S} \frac{\sum_{y_i > y_j} w_i\,\Lambda^t_{ij} \ln(1 + e^{-(z^t_i - z^t_j)})}
    {\sum_{y_i > y_j} w_i},\quad z^t = (s + G^t)/(T\,T_G)$$
    with standard Gumbel noise G, and Λ by the ranking of z.

    Every call draws new noise. A query without a pair gives 0. In nats. Scores and labels [B, N].

    Args:
        temperature: T, above 0; scores and noise are divided by it.
        normalization: `query`, `batch` or `sum`: see `PairwiseLogisticLoss`.
        sample_size: S, the number of perturbed copies.
        gumbel_temperature: T_G, above 0.
        lambda_weight: Λ: see `PairwiseLogisticLoss`. `yeti_dcg` takes time in proportion to N,
            others to N².
        seed: equal seeds give equal sequences.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for a lambda weight that does not weigh pairs.

    Source: Gulin et al., "Winning the transfer learning track of Yahoo!'s learning to rank challenge with YetiRank"
    (2011); Lyzhin et al., "Which tricks are important for learning to rank?" (2023).
    """

    function = staticmethod(yeti_logistic)
    lambda_weights = ("pair", "dcg")
    stochastic = True

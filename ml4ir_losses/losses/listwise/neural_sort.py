"""Losses over NeuralSort's relaxed permutation matrix."""

from __future__ import annotations

from functools import partial

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative, Positive, PositiveInt, Seed
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.base import ListwiseLossBase
from ml4ir_losses.losses.listwise.surrogates import gumbel, neural_sort, surrogate
from ml4ir_losses.metrics.ranking.ndcg import ndcg
from ml4ir_losses.ops import below_top, clean, list_weight, row_sum, safe_divide
from ml4ir_losses.ops.neural_sort import neural_sort_entropy, neural_sort_ranks
from ml4ir_losses.ops.samples import mean_over_samples
from ml4ir_losses.ops.sampling import gumbel_noise


def neural_sort_cross_entropy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
) -> Tensor:
    """Per-query cross entropy of two NeuralSort matrices, [B]: see `NeuralSortCrossEntropyLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight, temperature)
    entropy = neural_sort_entropy(labels, scores, mask)
    mean = safe_divide(entropy, row_sum(ops.cast(mask, entropy.dtype)))
    return ops.where(ops.any(labels > 0, axis=-1), mean * list_weight(labels, mask, weight), 0.0)


neural_sort_ndcg = neural_sort(ndcg)
gumbel_neural_sort_cross_entropy = gumbel(neural_sort_cross_entropy)
gumbel_neural_sort_ndcg = gumbel(neural_sort_ndcg)


def neural_ndcg(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    k: PositiveInt | None = None,
    stochastic: bool = False,
    n_samples: PositiveInt = 32,
    beta: NonNegative = 0.1,
    max_iter: PositiveInt = 50,
    seed: Seed = None,
) -> Tensor:
    """Per-query NeuralNDCG, [B]: see `NeuralNDCGLoss`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
    fn = surrogate(partial(ndcg, topn=k), neural_sort_ranks(temperature, max_iter))
    if not stochastic:
        return fn(labels, scores, mask, item_weight=weight)

    def sample(scores: Tensor, noise: Tensor) -> Tensor:
        # Subtract the maximum first: added to scores of 1e4, the noise would lose its precision.
        return fn(labels, below_top(scores, mask) + beta * noise, mask, item_weight=weight)

    return mean_over_samples(sample, scores, gumbel_noise(scores, n_samples, seed))


@register_loss("neural_sort_cross_entropy", aliases=("neural_sort_cross_entropy_loss",))
class NeuralSortCrossEntropyLoss(ListwiseLossBase):
    r"""Cross entropy between the relaxed permutation matrices of labels and scores.

    $$-\frac{\bar w}{n}\sum_{r=1}^{n}\sum_k P(y)_{rk} \ln P(s/T)_{rk},\quad
    P(v)_{rk} = \mathrm{softmax}_k\big((n+1-2r)\,v_k - \textstyle\sum_j |v_k - v_j|\big)$$
    over the n valid documents, with w̄ the label-weighted mean of the item weights.

    The logarithm is exact, without a floor. In nats. A query without relevance gives 0. Scores and labels [B, N];
    memory B·N and one stripe of the matrices.

    Args:
        temperature: T, above 0; scores, not labels, are divided by it.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Grover et al., "Stochastic optimization of sorting networks via continuous relaxations" (2019), as in
    TF-Ranking.
    """

    function = staticmethod(neural_sort_cross_entropy)


@register_loss("neural_sort_ndcg", aliases=("neural_sort_ndcg_loss",))
class NeuralSortNDCGLoss(ListwiseLossBase):
    r"""Minus NDCG, with the gains sorted by NeuralSort's relaxed permutation matrix.

    $$-\bar w\,\frac{\sum_r (P\,g)_r/\log_2(1+r)}{\sum_r g^*_r/\log_2(1+r)},\quad g_i = 2^{y_i}-1,\
    P_{rk} = \mathrm{softmax}_k\big((n+1-2r)\,s_k/T - \textstyle\sum_j |s_k - s_j|/T\big)$$
    with g* the gains in their best order and w̄ the label-weighted mean of the item weights.

    A share without a unit; tends to -NDCG as T → 0. Columns of P need not add up to 1, so values slightly
    below -1 are possible. A query without relevance gives 0. Scores and labels [B, N]; memory B·N and one stripe of
    the matrix.

    Args:
        temperature: T, above 0.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Grover et al., "Stochastic optimization of sorting networks via continuous relaxations" (2019), as in
    TF-Ranking.
    """

    function = staticmethod(neural_sort_ndcg)


@register_loss("gumbel_neural_sort_cross_entropy", aliases=("gumbel_neural_sort_cross_entropy_loss",))
class GumbelNeuralSortCrossEntropyLoss(ListwiseLossBase):
    r"""NeuralSort cross entropy, averaged over lists with Gumbel noise on the scores.

    $$\frac{1}{S}\sum_{k=1}^{S} \mathrm{NeuralSortCrossEntropy}(\ln\mathrm{softmax}((s + G_k)/\beta))$$

    In nats. Every call draws new noise. Scores and labels [B, N]; memory S·B·N.

    Args:
        temperature: T of NeuralSort, above 0.
        sample_size: S, samples per query.
        gumbel_temperature: β, above 0.
        seed: equal seeds give equal sequences of draws; None: no fixed sequence.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Grover et al., "Stochastic optimization of sorting networks via continuous relaxations" (2019).
    """

    function = staticmethod(gumbel_neural_sort_cross_entropy)
    stochastic = True


@register_loss("gumbel_neural_sort_ndcg", aliases=("gumbel_neural_sort_ndcg_loss",))
class GumbelNeuralSortNDCGLoss(ListwiseLossBase):
    r"""NeuralSort NDCG, averaged over lists with Gumbel noise on the scores.

    $$\frac{1}{S}\sum_{k=1}^{S} \mathrm{NeuralSortNDCG}(\ln\mathrm{softmax}((s + G_k)/\beta))$$

    A share without a unit. Every call draws new noise. Scores and labels [B, N]; memory S·B·N.

    Args:
        temperature: T of NeuralSort, above 0.
        sample_size: S, samples per query.
        gumbel_temperature: β, above 0.
        seed: equal seeds give equal sequences of draws; None: no fixed sequence.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Grover et al., "Stochastic optimization of sorting networks via continuous relaxations" (2019).
    """

    function = staticmethod(gumbel_neural_sort_ndcg)
    stochastic = True


@register_loss("neural_ndcg")
class NeuralNDCGLoss(ListwiseLossBase):
    r"""Minus NDCG, with the gains sorted by NeuralSort's matrix after Sinkhorn scaling.

    $$-\bar w\,\frac{\sum_{r \le k} (P\,g)_r/\log_2(1+r)}{\sum_{r \le k} g^*_r/\log_2(1+r)},\quad g_i = 2^{y_i}-1$$
    with P nearly doubly stochastic, g* the gains in their best order, w̄ the label-weighted mean of the item weights.

    From -1 to 0, a share without a unit; tends to -NDCG as T → 0. A query without relevance gives 0. Scores and
    labels [B, N]; memory B·N² for Sinkhorn, also for many samples and iterations.

    Args:
        temperature: T of NeuralSort, above 0.
        k: the ranks that count; None: all.
        stochastic: average over Gumbel noise on the scores, drawn at every call.
        n_samples: samples per query, if stochastic.
        beta: scale of the noise, if stochastic.
        max_iter: the number of Sinkhorn iterations.
        seed: of the noise, if stochastic.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for values or shapes that it does not take.

    Source: Pobrotyn, Białobrzeski, "NeuralNDCG: direct optimisation of a ranking metric via differentiable
    relaxation of sorting" (2021).
    """

    function = staticmethod(neural_ndcg)

    @property
    def samples(self) -> bool:
        return bool(self.params["stochastic"])


@register_loss("neural_ndcg_transposed")
class NeuralNDCGTransposedLoss(NeuralNDCGLoss):
    r"""Minus NDCG, with the expected discount of each document under NeuralSort's matrix after Sinkhorn scaling.

    $$-\bar w\,\frac{\sum_i g_i \sum_{r \le k} P_{ri}/\log_2(1+r)}{\sum_{r \le k} g^*_r/\log_2(1+r)},\quad
    g_i = 2^{y_i}-1$$

    The sums of `neural_ndcg` in the other order, hence the same value; units and shapes are the same.

    Args:
        temperature: T of NeuralSort, above 0.
        k: the ranks that count; None: all.
        stochastic: average over Gumbel noise on the scores, drawn at every call.
        n_samples: samples per query, if stochastic.
        beta: scale of the noise, if stochastic.
        max_iter: the number of Sinkhorn iterations.
        seed: of the noise, if stochastic.
        min_label: documents whose label is below it are padding.

    Source: Pobrotyn, Białobrzeski, "NeuralNDCG: direct optimisation of a ranking metric via differentiable
    relaxation of sorting" (2021).
    """

"""NeuralSort's relaxed permutation matrix P, [B, N, N]: row r is a distribution of rank r over the documents.

P is that of `dense_neural_sort`, without its rounding errors for scores of a large scale. Sums over P are computed in
stripes of ranks, without storing P; their gradients are again sums over ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import cumulative_sum, detached, gather_documents, has_accelerator, is_backend
from ml4ir_losses.ops.counting import counts_below
from ml4ir_losses.ops.kernels.gradients import with_gradient
from ml4ir_losses.ops.kernels.stripes import Stripe, extents_of, stripe_sums
from ml4ir_losses.ops.masking import below_top, lowest, row_sum, safe_divide, without_nan
from ml4ir_losses.ops.sinkhorn import sinkhorn
from ml4ir_losses.ops.soft_ranks import AtRank, RankFn
from ml4ir_losses.ops.sorting import descending_order, rank_table

Documents = Sequence[Tensor]

_RANK, _DOCUMENT = 3, 5  # number of fields of a rank, and of a document, from which a logit is computed


def dense_neural_sort(scores: Tensor, mask: Tensor) -> Tensor:
    """P_rk = softmax_k(f_r·s_k - Σ_j |s_k - s_j|), f_r = n + 1 - 2r, of a list's n valid documents; else 0."""
    valid = ops.cast(mask, scores.dtype)
    size = row_sum(valid)[:, None, None]
    ranks = rank_table(scores)[None, :, None]
    distances = ops.sum(valid[:, None, :] * ops.abs(scores[:, :, None] - scores[:, None, :]), axis=2)
    logits = (size + 1.0 - 2.0 * ranks) * scores[:, None, :] - distances[:, None, :]
    shares = ops.softmax(ops.where(mask[:, None, :], logits, lowest(scores)), axis=-1)
    return ops.where(ops.logical_and(mask[:, None, :], ranks <= size), shares, 0.0)


def neural_sort_ranks(temperature: float, sinkhorn_iterations: int = 0) -> RankFn:
    """Expected values under the NeuralSort matrix P: Σ_r P_ri f(r); memory B·N plus one stripe.

    With `sinkhorn_iterations` P is first scaled by Sinkhorn iterations, which takes memory B·N².
    """

    def rank_fn(scores: Tensor, mask: Tensor) -> AtRank:
        scores, position = scores / temperature, rank_table(scores)[None, :]
        if not sinkhorn_iterations:
            return lambda function: _expected_values(function(position), scores, mask)
        matrix = sinkhorn(neural_sort_matrix(scores, mask), sinkhorn_iterations)
        return lambda function: ops.sum(matrix * function(position)[:, :, None], axis=1)

    return rank_fn


def neural_sort_matrix(scores: Tensor, mask: Tensor) -> Tensor:
    """P, [B, N, N]; 0 for ranks beyond the number of valid documents, and for padding."""

    def matrix(scores: Tensor, mask: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        sort = _NeuralSort(scores, mask > 0)
        rows, columns = [x[:, :, None] for x in sort.ranks], [x[:, None, :] for x in sort.documents]
        _, powers = _powers(rows, columns)
        shares = powers * _inverse(ops.sum(powers, axis=-1, keepdims=True))

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            slopes = shares * (upstream - ops.sum(shares * upstream, axis=-1, keepdims=True))
            return (sort.gradient(*_slope_sums(rows, columns, [ops.ones_like(rows[0])], slopes)[0]),)

        return shares, pull_back

    return with_gradient(matrix, (scores,), (ops.cast(mask, scores.dtype),))


def neural_sort_entropy(labels: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """-Σ_rk P(labels)_rk·ln P(scores)_rk, [B]; memory B·N plus one stripe. Labels get no gradient."""

    def entropy(scores: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        sort, target, extents = _NeuralSort(scores, mask > 0), _NeuralSort(labels, mask > 0), extents_of(mask > 0)
        ranks, documents = (*sort.ranks, *target.ranks[1:]), (*sort.documents, *target.documents)
        total, target_total, logits = stripe_sums(_EntropyStripe(), (3, 0), ranks, documents, extents)
        inverse, target_inverse = _inverse(total), _inverse(target_total)
        values = ops.log(ops.where(total > 0, total, 1.0)) - target_inverse * logits
        ranks = (*ranks, inverse, target_inverse)
        slopes = sort.gradient(*stripe_sums(_EntropySlopeStripe(), (0, 2), ranks, documents, extents))
        return row_sum(values), lambda upstream: (upstream[:, None] * slopes,)

    return with_gradient(entropy, (scores,), (ops.stop_gradient(labels), ops.cast(mask, scores.dtype)))


def _expected_values(at_rank: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Σ_r P_ri·at_rank_r, [B, N]; `at_rank` [1, N]."""

    def expected(
        scores: Tensor, at_rank: Tensor, mask: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        sort, extents = _NeuralSort(scores, mask > 0), extents_of(mask > 0)
        (total,) = stripe_sums(_TotalStripe(), (1, 0), sort.ranks, sort.documents, extents)
        inverse = _inverse(total)
        ranks = (*sort.ranks, at_rank * inverse)
        (values,) = stripe_sums(_ExpectedStripe(), (0, 1), ranks, sort.documents, extents)

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            documents = (*sort.documents, detached(upstream))
            (means,) = stripe_sums(_MeanStripe(), (1, 0), sort.ranks, documents, extents)
            ranks = (*sort.ranks, at_rank * inverse, at_rank * inverse * inverse * means)
            return (sort.gradient(*stripe_sums(_ExpectedSlopeStripe(), (0, 2), ranks, documents, extents)),)

        return values, pull_back

    constants = (ops.convert_to_tensor(at_rank, dtype=scores.dtype), ops.cast(mask, scores.dtype))
    return with_gradient(expected, (scores,), constants)


class _NeuralSort:
    """The fields of ranks and documents from which the logits of P are computed, [B, N] each; NaN in padding.

    Let v be the scores below their maximum and l_k = Σ_j sign(v_k - v_j). A logit is then
    (f_r - l_k)·v_k + Σ_j sign(v_k - v_j)·v_j, less the largest logit of rank r, that of the r-th document. These terms
    cancel: for v = 1e4 and n = 1000 they are about 1e7, where float32 loses the digits that matter. So v is split into
    an integer multiple of a step, for which all sums are exact, and a remainder.
    """

    def __init__(self, scores: Tensor, mask: Tensor) -> None:
        values = below_top(scores, mask)
        # Compares scores, not v: a compiler may compute v twice with different rounding, and equal scores must compare
        # equal. Where v are equal although the scores differ, the terms are 0 either way.
        scores = ops.where(mask, scores, 0.0)
        keys = ops.where(scores == 0, 0.0, -scores)  # no -0.0
        size = row_sum(ops.cast(mask, values.dtype))[:, None]
        self.mask = mask
        self.order = descending_order(scores, mask)
        self.above = counts_below(keys, keys, mask)
        self.not_below = counts_below(keys, keys, mask, or_equal=True)
        lead = size - ops.cast(self.above + self.not_below, values.dtype)
        rank = rank_table(values)[None, :]
        factor = ops.where(rank <= size, size + 1.0 - 2.0 * rank, float("nan"))
        self.ranks, self.documents = [factor], [ops.where(mask, lead, float("nan"))]

        # Adding and subtracting a number 4n times as large rounds v to multiples of a power of 2; n·v has 22 bits.
        large = 4.0 * size * ops.max(-values, axis=-1, keepdims=True)
        coarse = (values + large) - large
        surplus = factor - gather_documents(lead, self.order)  # 0 except at ties
        for part in (coarse, values - coarse):
            sums = self._signed_sums(part)
            self.documents += [part, sums]
            self.ranks.append(surplus * gather_documents(part, self.order) + gather_documents(sums, self.order))

    def gradient(self, to_value: Tensor, to_distance: Tensor) -> Tensor:
        """The gradient in the scores from Σ_r (f_r - l_k)·g_rk and Σ_r g_rk, with g the gradient in the logits."""
        return ops.where(self.mask, to_value - self._signed_sums(to_distance), 0.0)

    def _signed_sums(self, x: Tensor) -> Tensor:
        """Σ_j sign(v_k - v_j)·x_j, where the sign of a tie is 0."""
        ordered = gather_documents(ops.where(self.mask, x, 0.0), self.order)
        sums = cumulative_sum(ordered)
        sums = ops.concatenate([ops.zeros_like(sums[:, :1]), sums], axis=-1)
        return sums[:, -1:] - gather_documents(sums, self.not_below) - gather_documents(sums, self.above)


@dataclass(frozen=True)
class _TotalStripe(Stripe):
    """Σ_k e^logit_rk."""

    def __call__(self, rows: Documents, columns: Documents, at_distance: Tensor | None) -> tuple[Documents, Documents]:
        return (row_sum(_powers(rows, columns)[1]),), ()


@dataclass(frozen=True)
class _ExpectedStripe(Stripe):
    """Σ_r w_r·e^logit_rk."""

    def __call__(self, rows: Documents, columns: Documents, at_distance: Tensor | None) -> tuple[Documents, Documents]:
        return (), _over_ranks([rows[_RANK]], _powers(rows, columns)[1])


@dataclass(frozen=True)
class _MeanStripe(Stripe):
    """Σ_k u_k·e^logit_rk, where u is the gradient in the expected values."""

    def __call__(self, rows: Documents, columns: Documents, at_distance: Tensor | None) -> tuple[Documents, Documents]:
        return (row_sum(_powers(rows, columns)[1] * without_nan(columns[_DOCUMENT])),), ()


@dataclass(frozen=True)
class _ExpectedSlopeStripe(Stripe):
    """The sums of slope_rk = (w_r·u_k - v_r)·e^logit_rk."""

    def __call__(self, rows: Documents, columns: Documents, at_distance: Tensor | None) -> tuple[Documents, Documents]:
        own, others = _slope_sums(rows, columns, rows[_RANK:], _powers(rows, columns)[1])
        upstream = without_nan(columns[_DOCUMENT])[:, 0, :]
        return (), [upstream * x - y for x, y in zip(own, others, strict=True)]


@dataclass(frozen=True)
class _EntropyStripe(Stripe):
    """Σ_k e^logit_rk of the scores, of the labels, and Σ_k e^(logit_rk of the labels)·(logit_rk of the scores)."""

    def __call__(self, rows: Documents, columns: Documents, at_distance: Tensor | None) -> tuple[Documents, Documents]:
        logits, powers, target = _both_powers(rows, columns)
        return (row_sum(powers), row_sum(target), row_sum(target * logits)), ()


@dataclass(frozen=True)
class _EntropySlopeStripe(Stripe):
    """The sums of slope_rk = P(scores)_rk - P(labels)_rk."""

    def __call__(self, rows: Documents, columns: Documents, at_distance: Tensor | None) -> tuple[Documents, Documents]:
        _, powers, target = _both_powers(rows, columns)
        (own,) = _slope_sums(rows, columns, [rows[-2]], powers)
        (desired,) = _slope_sums(rows, columns, [rows[-1]], target)
        return (), [x - y for x, y in zip(own, desired, strict=True)]


def _both_powers(rows: Documents, columns: Documents) -> tuple[Tensor, Tensor, Tensor]:
    """Logits and exponentials of the scores, and exponentials of the labels."""
    target = [rows[0], *rows[_RANK : 2 * _RANK - 1]]
    return (*_powers(rows, columns), _powers(target, columns[_DOCUMENT:])[1])


def _powers(rank: Documents, document: Documents) -> tuple[Tensor, Tensor]:
    """Logits minus the largest of their rank, and their exponentials, [P, T, W]; 0 in padding."""
    factor, top, top_rest = rank[:_RANK]
    lead, value, sums, rest, sums_rest = document[:_DOCUMENT]
    distance = factor - lead
    logits = ((distance * value + sums) - top) + ((distance * rest + sums_rest) - top_rest)
    return without_nan(logits), without_nan(ops.exp(logits), logits)


def _inverse(total: Tensor) -> Tensor:
    """1 / total, 0 for ranks without documents."""
    return safe_divide(ops.ones_like(total), total)


def _slope_sums(rank: Documents, document: Documents, weights: Documents, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Σ_r (f_r - l_k)·weight_r·x_rk and Σ_r weight_r·x_rk of each weight.

    f_r is taken relative to the stripe's first rank: where x_rk is large, that difference is small and keeps its
    digits.
    """
    factor, first, lead = rank[0], without_nan(rank[0][:, 0]), without_nan(document[0][:, 0])
    sums = _over_ranks([*weights, *((factor - first[:, :, None]) * weight for weight in weights)], x)
    plain, within = sums[: len(weights)], sums[len(weights) :]
    return [(y + (first - lead) * z, z) for y, z in zip(within, plain, strict=True)]


def _over_ranks(weights: Documents, x: Tensor) -> list[Tensor]:
    """Σ_r weight_r·x_rk for each of the weights [G, T, 1], [G, W]."""
    if has_accelerator() and not is_backend("torch"):
        # Not as a matrix product, whose factors TensorFlow and JAX round to 10 bits there.
        return [ops.sum(without_nan(weight) * x, axis=1) for weight in weights]
    # Not `ops.matmul`, which narrows float64 on torch.
    sums = ops.swapaxes(without_nan(ops.concatenate(weights, axis=-1)), 1, 2) @ x
    return [sums[:, i] for i in range(len(weights))]

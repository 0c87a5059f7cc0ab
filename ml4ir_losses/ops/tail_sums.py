"""Log-sum-exp over the tails of a list, and the Plackett-Luce likelihood of an order.

`tail_sums` computes `dense_tail_sums` without an N × N matrix, exactly for any range of x; `plackett_luce` is a
weighted sum of them.
"""

from __future__ import annotations

from collections.abc import Callable

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.backend import cumulative_sum, gather_documents
from ml4ir_losses.ops.kernels.gradients import with_gradient
from ml4ir_losses.ops.masking import lowest, row_sum
from ml4ir_losses.ops.sorting import inverse_order

# A tail sum relative to a far larger term loses digits: from this size on it loses none.
_EXACT = {"float32": 1e-13, "float64": 1e-40}


def dense_tail_sums(x: Tensor) -> Tensor:
    """log Σ_{j≥i} exp(x_j - x_i) for every i, [B, N] → [B, N]; memory B·N²."""
    places = ops.arange(ops.shape(x)[1])
    differences = x[:, None, :] - x[:, :, None]
    return ops.logsumexp(ops.where(places[None, :] >= places[:, None], differences, -float("inf")), axis=-1)


def tail_sums(x: Tensor) -> Tensor:
    """log Σ_{j≥i} exp(x_j - x_i) for every i, [B, N] → [B, N], exact for any range of x; 0 where x_i is very low."""

    def summed(x: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        valid = ops.cast(x > lowest(x) / 2, x.dtype)
        return _weighted_tail_sums(x, valid)[0], lambda upstream: (_weighted_tail_sums(x, upstream * valid)[1],)

    return with_gradient(summed, (ops.convert_to_tensor(x),))


def plackett_luce(scores: Tensor, order: Tensor, weight: Tensor) -> Tensor:
    """Σ_r w_r·(log Σ_{q≥r} exp s_q - s_r) over the ranks r of an order, [B], differentiable in the scores.

    Args:
        scores: [B, N], very low where masked.
        order: [B, N], the document at each rank, masked ones last.
        weight: [B, N], the weight of each rank, 0 where masked.

    The gradient is computed together with the value, while the scores are sorted.
    """

    def summed(scores: Tensor, order: Tensor, weight: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        order = ops.cast(order, "int32")
        sums, slopes = _weighted_tail_sums(gather_documents(scores, order), weight)
        slopes = gather_documents(slopes, inverse_order(order))
        return row_sum(sums), lambda upstream: (upstream[:, None] * slopes,)

    return with_gradient(summed, (scores,), (ops.cast(order, scores.dtype), weight))


def _weighted_tail_sums(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight_i·log Σ_{j≥i} exp(x_j - x_i) for every i, [B, N], and the gradient of their sum in x.

    The gradient is Σ_{i≤j} weight_i·(share of j in the tail of i) - weight_j. A tail is a cumulative sum of
    exp(x - top) from the end of the list. With one top per list the tails far below it would underflow. So a pass
    over the list does the part of each weight for which the tail is large enough; as long as weight is left, which is
    rare, another pass takes the largest x left as its top.
    """
    if 0 in x.shape:
        return x, x
    exact = _EXACT[keras.backend.standardize_dtype(x.dtype)]

    def one_pass(weight: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        below = x - ops.max(x, axis=1, keepdims=True)
        terms = ops.exp(below)
        tails = cumulative_sum(terms, reverse=True)
        missing = ops.relu(1.0 - tails / exact)
        left = weight * missing
        done, tails = weight - left, tails + exact * exact  # never 0
        return left, missing, done * (ops.log(tails) - below), terms * cumulative_sum(done / tails)

    def is_left(left: Tensor, *_: Tensor) -> Tensor:
        return ops.any(ops.max(ops.abs(left), axis=1) > 0)  # false for NaN, so that the loop ends

    def further(left: Tensor, missing: Tensor, sums: Tensor, slopes: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        x = ops.where(missing > 0, x, lowest(x))  # without those whose tails are done
        left, missing, more_sums, more_slopes = one_pass(left, x)
        return left, missing, sums + more_sums, slopes + more_slopes, x

    _, _, sums, slopes, _ = ops.while_loop(is_left, further, (*one_pass(weight, x), x))
    return sums, slopes - weight

"""Log-sum-exp over the tails of a list, and the Plackett-Luce likelihood of an order.

`tail_sums` computes `dense_tail_sums` in N log N, exactly for any range of x; `plackett_luce` is a weighted sum of
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import loop, scattered
from ml4ir_losses.ops.kernels.compiling import compiled, kernel_shape, padded
from ml4ir_losses.ops.kernels.gradients import with_gradient
from ml4ir_losses.ops.masking import lowest, row_sum

_SMALL = 2**12  # up to so many entries compilation does not pay off


def dense_tail_sums(x: Tensor) -> Tensor:
    """log Σ_{j≥i} exp(x_j - x_i) for every i, [B, N] → [B, N]; memory B·N²."""
    places = ops.arange(ops.shape(x)[1])
    differences = x[:, None, :] - x[:, :, None]
    return ops.logsumexp(ops.where(places[None, :] >= places[:, None], differences, -float("inf")), axis=-1)


def tail_sums(x: Tensor) -> Tensor:
    """log Σ_{j≥i} exp(x_j - x_i) for every i, [B, N] → [B, N], exact for any range of x.

    With one shift per list some tail sums would underflow or overflow. So each tail is summed relative to its own
    maximum m_i: t_i = exp(x_i - m_i) + exp(m_{i+1} - m_i)·t_{i+1}. Only differences of x occur, so that a
    common offset costs no digits.
    """

    def summed(x: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        rows, size = ops.shape(x)
        shape = _shape(x)
        tails, *saved = _kernel(_tail_sums, x)(padded(x, *shape, lowest(x)))
        slopes = _kernel(_slopes, x)
        return tails[:rows, :size], lambda upstream: (slopes(padded(upstream, *shape, 0.0), *saved)[:rows, :size],)

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
        rows, size = ops.shape(scores)
        shape = _shape(scores)
        places = ops.cast(padded(order, *shape, -1.0), "int32")
        in_place = ops.arange(ops.shape(places)[1], dtype="int32")
        places = ops.where(places < 0, in_place, places)  # padding stays where it is
        lists = padded(scores, *shape, lowest(scores)), places, padded(weight, *shape, 0.0)
        values, slopes = _kernel(_plackett_luce, scores)(*lists)
        return values[:rows], lambda upstream: (upstream[:, None] * slopes[:rows, :size],)

    return with_gradient(summed, (scores,), (ops.cast(order, scores.dtype), weight))


def _is_small(x: Tensor) -> bool:
    rows, size = x.shape
    return isinstance(rows, int) and isinstance(size, int) and rows * size <= _SMALL


def _kernel(function: Any, x: Tensor) -> Any:
    """The function, compiled unless x is known to be small."""
    return function if _is_small(x) else compiled(function)


def _shape(x: Tensor) -> tuple[Any, Any]:
    """The shape to which x is padded for the kernel."""
    rows, size = ops.shape(x)
    return (rows, size) if _is_small(x) else kernel_shape(rows, size, x)


class _Tails(NamedTuple):
    sums: Tensor  # log Σ_{j≥i} exp(x_j - x_i)
    shares: Tensor  # share of i in the tail from i: exp(x_i) / Σ_{j≥i} exp(x_j)
    shrinks: Tensor  # share of the tail from i + 1 in the tail from i: 1 - share, without rounding errors


def _tail_sums(x: Tensor) -> _Tails:
    top = _largest_of_tails(x)
    own = ops.exp(x - top)
    # The tail behind the last place is empty: exp(lowest - m) is 0.
    shrink = ops.exp(_from(top, 1, lowest(x)) - top)
    totals = _weighted_tails(own, shrink)
    return _Tails(top - x + ops.log(totals), own / totals, shrink * _from(totals, 1, 0.0) / totals)


def _slopes(upstream: Tensor, shares: Tensor, shrinks: Tensor) -> Tensor:
    """The gradient of Σ upstream·sums in x: share_j · Σ_{i≤j} upstream_i · (tail of j in that of i) - upstream_j."""
    # Reversed, so that the sum over i ≤ j is a tail sum.
    upstream_back, shrinks_back = ops.flip(upstream, axis=1), _from(ops.flip(shrinks, axis=1), 1, 0.0)
    return shares * ops.flip(_weighted_tails(upstream_back, shrinks_back), axis=1) - upstream


def _plackett_luce(scores: Tensor, order: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    rows, size = ops.shape(scores)
    places = ops.reshape(order + size * ops.arange(rows, dtype="int32")[:, None], (-1,))
    ordered = ops.reshape(ops.take(ops.reshape(scores, (-1,)), places), (rows, size))
    sums, shares, shrinks = _tail_sums(ordered)
    slopes = ops.reshape(_slopes(weight, shares, shrinks), (-1,))
    slopes = ops.reshape(scattered(places, slopes, (rows * size,)), (rows, size))
    return row_sum(weight * sums), slopes


def _largest_of_tails(x: Tensor) -> Tensor:
    """max_{j≥i} x_j, [B, N], by doubling the number of places covered."""

    def step(level: Tensor, top: Tensor) -> tuple[Tensor]:
        further = _from(top, 2**level, lowest(x))
        return (ops.where(further > top, further, top),)  # `ops.maximum` narrows float64 on torch

    return loop(step, 0, _levels(x), (x,))[0]


def _weighted_tails(x: Tensor, factor: Tensor) -> Tensor:
    """t_i = x_i + factor_i·t_{i+1}, [B, N], by doubling the number of terms summed."""

    def step(level: Tensor, total: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        reach = 2**level
        return total + factor * _from(total, reach, 0.0), factor * _from(factor, reach, 0.0)

    return loop(step, 0, _levels(x), (x, factor))[0]


def _from(x: Tensor, first: Any, filler: float) -> Tensor:
    """x[:, first:], padded to the width of x with the filler."""
    padded = ops.concatenate([x, ops.full_like(x, filler, dtype=x.dtype)], axis=1)
    return ops.slice(padded, (0, first), ops.shape(x))


def _levels(x: Tensor) -> Any:
    """Number of doublings from 1 up to the width of x."""
    size = ops.shape(x)[1]
    if isinstance(size, int):
        return (size - 1).bit_length()
    return ops.sum(ops.cast(2 ** ops.arange(31, dtype="int32") < size, "int32"))

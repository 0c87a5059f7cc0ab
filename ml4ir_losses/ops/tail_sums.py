"""Exact sums over the tail of a list, and the Plackett-Luce model of an order, which consists of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.kernels.compiling import compiled, loop, of_few_widths
from ml4ir_losses.ops.kernels.loops import with_gradient
from ml4ir_losses.ops.masking import lowest, row_sum
from ml4ir_losses.ops.sorting import scattered

_SMALL = 2**12  # numbers; so few are not worth a compilation


def tail_sums(x: Tensor) -> Tensor:
    """log Σ_{j≥i} exp(x_j - x_i) for every i, [B, N] → [B, N], exact at any spread of x.

    Every tail has a maximum of its own, so one shift per list would under- or overflow. Here each tail is summed
    beside its maximum, and shrinks as that grows: t_i = exp(x_i - m_i) + exp(m_{i+1} - m_i)·t_{i+1}. Only differences
    of x enter, so that no digits go to a common offset.
    """

    def summed(x: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        size = ops.shape(x)[1]
        tails, *kept = _quick(_tail_sums, x)(of_few_widths(x, lowest(x), size))
        slopes = _quick(_slopes, x)
        return tails[:, :size], lambda upstream: (slopes(of_few_widths(upstream, 0.0, size), *kept)[:, :size],)

    return with_gradient(summed, (ops.convert_to_tensor(x),))


def plackett_luce(scores: Tensor, order: Tensor, weight: Tensor) -> Tensor:
    """Σ_r w_r·(log Σ_{q≥r} exp s_q - s_r) over the ranks r of an order, [B], differentiable in the scores.

    Args:
        scores: [B, N], very low where masked.
        order: [B, N], the document at each rank, the masked ones last.
        weight: [B, N], of the ranks, 0 where masked.

    The slopes are found beside the values, while the order is at hand.
    """

    def summed(scores: Tensor, order: Tensor, weight: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        size = ops.shape(scores)[1]
        places = ops.cast(order, "int32")
        if not isinstance(size, int):  # what is filled up is at its own place
            places = ops.cast(of_few_widths(order + 1.0, 0.0, size), "int32") - 1
            places = ops.where(places < 0, ops.arange(ops.shape(places)[1], dtype="int32"), places)
        lists = of_few_widths(scores, lowest(scores), size), places, of_few_widths(weight, 0.0, size)
        values, slopes = _quick(_plackett_luce, scores)(*lists)
        return values, lambda upstream: (upstream[:, None] * slopes[:, :size],)

    return with_gradient(summed, (scores,), (ops.cast(order, scores.dtype), weight))


def _quick(function: Any, x: Tensor) -> Any:
    """The function, compiled unless x is known to be small."""
    rows, size = x.shape
    small = isinstance(rows, int) and isinstance(size, int) and rows * size <= _SMALL
    return function if small else compiled(function)


class _Tails(NamedTuple):
    sums: Tensor  # log Σ_{j≥i} exp(x_j - x_i)
    shares: Tensor  # of i in the tail from i: exp(x_i) / Σ_{j≥i} exp(x_j)
    shrinks: Tensor  # of the tail from i + 1 in that from i: 1 - share, without its rounding


def _tail_sums(x: Tensor) -> _Tails:
    top = _largest_of_tails(x)
    own = ops.exp(x - top)
    # Of the last there is no tail: at the lowest number it is worth nothing beside any score.
    shrink = ops.exp(_from(top, 1, lowest(x)) - top)
    totals = _weighted_tails(own, shrink)
    return _Tails(top - x + ops.log(totals), own / totals, shrink * _from(totals, 1, 0.0) / totals)


def _slopes(upstream: Tensor, shares: Tensor, shrinks: Tensor) -> Tensor:
    """The gradient of Σ upstream·sums in x: share_j · Σ_{i≤j} upstream_i · (tail of j in that of i) - upstream_j."""
    # From the other end, where the sum runs over what comes before.
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
    """max_{j≥i} x_j, [B, N], by doubling the reach."""

    def step(level: Tensor, top: Tensor) -> tuple[Tensor]:
        further = _from(top, 2**level, lowest(x))
        return (ops.where(further > top, further, top),)  # `ops.maximum` narrows float64 on torch

    return loop(step, 0, _levels(x), (x,))[0]


def _weighted_tails(x: Tensor, factor: Tensor) -> Tensor:
    """t_i = x_i + factor_i·t_{i+1}, [B, N], by doubling the reach."""

    def step(level: Tensor, total: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        reach = 2**level
        return total + factor * _from(total, reach, 0.0), factor * _from(factor, reach, 0.0)

    return loop(step, 0, _levels(x), (x, factor))[0]


def _from(x: Tensor, first: Any, filler: float) -> Tensor:
    """x[:, first:], filled up to its width."""
    padded = ops.concatenate([x, ops.full_like(x, filler, dtype=x.dtype)], axis=1)
    return ops.slice(padded, (0, first), ops.shape(x))


def _levels(x: Tensor) -> Any:
    """How often 1 must be doubled to reach the width of x."""
    size = ops.shape(x)[1]
    if isinstance(size, int):
        return (size - 1).bit_length()
    return ops.sum(ops.cast(2 ** ops.arange(31, dtype="int32") < size, "int32"))

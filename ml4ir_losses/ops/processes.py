"""Rows of the processes of `torch.distributed`, with their gradients; `replicas` imports it on torch alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed

from ml4ir_losses.core.lazy import Tensor


def count() -> int:
    """The number of processes."""
    return int(distributed.get_world_size())


def row_numbers(x: Tensor) -> list[int]:
    """The number of rows of x [B, ...] in every process."""
    own = torch.tensor([x.shape[0]], device=x.device)
    found = [torch.empty_like(own) for _ in range(count())]
    distributed.all_gather(found, own)
    return [int(size) for size in found]


def before(sizes: Sequence[int]) -> int:
    """The number of rows of the processes before this one."""
    return sum(sizes[: distributed.get_rank()])


def gather(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """x [B, ...] with the rows of all processes, which have so many."""
    return _Gathered.apply(x, sizes)


def add(x: Tensor) -> Tensor:
    """The sum of x over all processes."""
    return _Sum.apply(x)


def _summed(x: Any) -> Any:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


class _Gathered(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Any, sizes: Sequence[int]) -> Any:
        ctx.own = slice(before(sizes), before(sizes) + x.shape[0])
        # As bytes, which every dtype has and every engine sends, in parts of equal size.
        flat = x.detach().reshape(x.shape[0], math.prod(x.shape[1:])).contiguous().view(torch.uint8)
        part = flat.new_zeros((max(sizes), flat.shape[1]))
        part[: x.shape[0]] = flat
        parts = [torch.empty_like(part) for _ in sizes]
        distributed.all_gather(parts, part)
        rows = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
        return rows.view(x.dtype).reshape(sum(sizes), *x.shape[1:])

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        slope = slopes[0]
        wide = slope.float() if slope.dtype in (torch.float16, torch.bfloat16) else slope
        return _summed(wide)[ctx.own].to(slope.dtype), None


class _Sum(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        return _summed(slopes[0])

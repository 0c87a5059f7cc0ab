"""Lambda weights of the ranks of the ideal order."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.registry import register_lambda_weight
from ml4ir_losses.losses.lambda_weights.base import LambdaWeight
from ml4ir_losses.ops import row_sum, safe_divide
from ml4ir_losses.ops.gains import DiscountSpec, get_discount


@register_lambda_weight("list_mle")
@dataclass(frozen=True)
class ListMLELambdaWeight(LambdaWeight):
    """The weight of every step of ListMLE: the discount of its rank in the ideal order.

    Args:
        discount: a function of the 1-based rank, by name (`log2_inverse`, …) or in Python.

    Source: Lan et al., "Position-aware ListMLE" (2014).
    """

    family: ClassVar[str] = "position"
    discount: DiscountSpec

    def position_weights(self, ranks: Tensor, sizes: Tensor) -> Tensor:
        return ops.where(ranks <= sizes, get_discount(self.discount)(ranks), 0.0)


@register_lambda_weight("p_list_mle")
@dataclass(frozen=True)
class PListMLELambdaWeight(LambdaWeight):
    r"""The weights of position-aware ListMLE; those of a list of n documents add up to 1.

    $$v_r = \frac{w_r}{\sum_{q=1}^{n} w_q},\quad w_r = 2^{n-r} - 1$$
    from the first rank, r = 1, to the last, finite for any n. The only rank of a list of one document has the weight 0.

    Args:
        rank_discount_fn: w, another function of the 1-based rank by name, or a Python function of the ranks, `f(r)`, or
            of ranks and number of documents, `f(r, n)`.

    Source: Lan et al., "Position-aware ListMLE" (2014).
    """

    family: ClassVar[str] = "position"
    rank_discount_fn: DiscountSpec | None = None

    def position_weights(self, ranks: Tensor, sizes: Tensor) -> Tensor:
        if self.rank_discount_fn is None:
            weights = ops.exp2(-ranks) - ops.exp2(-sizes)  # in units of 2^n: no power is large
        else:
            function: Callable[..., Tensor] = get_discount(self.rank_discount_fn)
            weights = function(ranks, sizes) if _takes_two(function) else function(ranks)
        weights = ops.where(ranks <= sizes, weights, 0.0)
        return safe_divide(weights, row_sum(weights)[:, None] * ops.ones_like(weights))


def _takes_two(function: Callable[..., Any]) -> bool:
    """True for a function with two required positional parameters."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a builtin without a signature
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters) == 2

"""Gains of labels and discounts of ranks, by name: `identity`, `log2_inverse`, or a Python function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

from pydantic import PlainValidator, WithJsonSchema

from ml4ir_losses.core.errors import UserError, unknown_name
from ml4ir_losses.core.lazy import Tensor, ops

Function = Callable[[Tensor], Tensor]


class Gain(NamedTuple):
    """The gain of a label, and the highest label whose gain float32 holds with room for sums over a list."""

    function: Function
    max_label: float = math.inf


def identity(x: Tensor) -> Tensor:
    """x."""
    return x


def pow2_minus_1(labels: Tensor) -> Tensor:
    """2^y - 1."""
    return ops.expm1(math.log(2.0) * labels)  # exp2(y) - 1 would lose digits near 0


def inverse(ranks: Tensor) -> Tensor:
    """1 / r."""
    return 1.0 / ranks


def log2_inverse(ranks: Tensor) -> Tensor:
    """1 / log2(1 + r)."""
    return math.log(2.0) / ops.log1p(ranks)


def inverse_log1p(ranks: Tensor) -> Tensor:
    """1 / ln(1 + r)."""
    return 1.0 / ops.log1p(ranks)


GAINS: dict[str, Gain] = {
    "identity": Gain(identity, max_label=1e30),
    "pow2_minus_1": Gain(pow2_minus_1, max_label=100.0),
}
DISCOUNTS: dict[str, Function] = {
    "identity": identity,
    "inverse": inverse,
    "log2_inverse": log2_inverse,
    "inverse_log1p": inverse_log1p,
}
FALLING_DISCOUNTS = ("inverse", "log2_inverse", "inverse_log1p")


def get_gain(gain: GainSpec) -> Gain:
    """The gain of a name or Python function; `UserError` for an unknown name."""
    if callable(gain):
        return Gain(gain, getattr(gain, "max_label", math.inf))
    if not isinstance(gain, str) or gain not in GAINS:
        raise UserError(unknown_name("gain", gain, list(GAINS)))
    return GAINS[gain]


def get_discount(discount: DiscountSpec) -> Function:
    """The discount, a function of 1-based ranks, of a name or Python function; `UserError` for an unknown name."""
    if callable(discount):
        return discount
    if not isinstance(discount, str) or discount not in DISCOUNTS:
        raise UserError(unknown_name("discount", discount, list(DISCOUNTS)))
    return DISCOUNTS[discount]


def get_positive(positive: PositiveSpec) -> Function:
    """The function of labels that is true for relevant documents: of the lowest relevant label, or as it is."""
    if callable(positive):
        return positive
    if isinstance(positive, bool) or not isinstance(positive, (int, float)) or not math.isfinite(positive):
        raise UserError(
            f"`positive` must be a number, the lowest relevant label, or a Python function of labels. "
            f"Received: positive={positive!r}."
        )
    return lambda labels: labels >= positive


GainSpec = Annotated[str | Function, PlainValidator(get_gain), WithJsonSchema({"enum": list(GAINS)})]
DiscountSpec = Annotated[str | Function, PlainValidator(get_discount), WithJsonSchema({"enum": list(DISCOUNTS)})]
PositiveSpec = Annotated[float | Function, PlainValidator(get_positive), WithJsonSchema({"type": "number"})]


def label_gain(labels: Tensor, mask: Tensor, gain: GainSpec) -> Tensor:
    """Gains, [B, N]; at least 0, and 0 where masked. Labels are capped at the gain's highest label."""
    function, top = get_gain(gain)
    # Not `minimum`, which with a Python number turns float64 into float32 on torch.
    gains = function(labels if top == math.inf else ops.where(labels > top, top, labels))
    return ops.where(ops.logical_and(mask, gains > 0), gains, 0.0)  # false for NaN too


def relative_gain(labels: Tensor, mask: Tensor, gain: GainSpec) -> Tensor:
    """Gains divided by the query's highest gain, [B, N], from 0 to 1: finite for labels of any size."""
    if gain == "pow2_minus_1":
        top = ops.max(ops.where(ops.logical_and(mask, labels > 0), labels, 0.0), axis=-1, keepdims=True)
        labels = ops.where(ops.logical_and(mask, labels > 0), labels, 0.0)
        gains = -ops.exp2(labels - top) * ops.expm1(-math.log(2.0) * labels)
    else:
        gains = label_gain(labels, mask, gain)
    highest = ops.max(gains, axis=-1, keepdims=True)
    return gains / ops.where(highest > 0, highest, 1.0)


def check_labels_fit_gain(max_label_in_data: float, gain: GainSpec) -> None:
    """Raises `UserError` if float32 cannot hold the gain of the highest label in the data."""
    top = get_gain(gain).max_label
    if max_label_in_data > top:
        raise UserError(
            f"The gain {gain!r} takes labels up to {top:g}. Received: a label of {max_label_in_data:g}; "
            "use gain='identity', or grade the labels on a smaller scale."
        )

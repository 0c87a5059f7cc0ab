"""Parameter types shared by architectures and encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Ge, Lt

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.parameters import Allowed, PositiveInt

Rate = Annotated[float, Ge(0), Lt(1)]
Outputs = Annotated[int, Ge(2)] | None
Widths = Annotated[PositiveInt | Sequence[PositiveInt], Allowed("whole numbers of at least 1")]
Spec = Annotated[str | dict[str, Any], Allowed("a key or {key: ..., <parameters>}")]


def as_list(widths: int | Sequence[int]) -> list[int]:
    """One width or several as a list."""
    return [widths] if isinstance(widths, int) else list(widths)


def logits_per_document(num_outputs: int | None, outputs: int | None) -> int:
    """The width of a scorer's head: what the loss takes, else what the config says, else 2."""
    if outputs is None:
        return num_outputs or 2
    if num_outputs is not None:
        raise UserError(
            "`num_outputs` is for the losses 'mixture_em' and 'categorical_cross_entropy'; this one takes "
            f"{outputs} logit{'s' * (outputs > 1)} per document."
        )
    return outputs

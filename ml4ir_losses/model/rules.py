"""Parameter types shared by architectures and encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Ge, Lt

from ml4ir_losses.core.parameters import Allowed, PositiveInt

Rate = Annotated[float, Ge(0), Lt(1)]
Outputs = Annotated[int, Ge(2)] | None
Widths = Annotated[PositiveInt | Sequence[PositiveInt], Allowed("whole numbers of at least 1")]
Spec = Annotated[str | dict[str, Any], Allowed("a key or {key: ..., <parameters>}")]


def as_list(widths: int | Sequence[int]) -> list[int]:
    """One width or several as a list."""
    return [widths] if isinstance(widths, int) else list(widths)

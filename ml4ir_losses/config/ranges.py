"""The section `tune`: the values among which `ml4ir-losses tune` searches, by the path of the parameter."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from ml4ir_losses.config.base import null_is_empty

Kind = Literal["choice", "uniform", "log_uniform", "int", "log_int"]


def label(value: Any) -> str:
    """A value of a choice as text."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _has_one_kind(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"needs one of {', '.join(get_args(Kind))}, such as {{choice: [a, b]}}. Received: {value!r}")
    return value


def _checked(value: dict[Kind, list[Any]]) -> dict[Kind, list[Any]]:
    ((kind, values),) = value.items()
    if kind == "choice":
        labels = [label(v) for v in values]
        if not values:
            raise ValueError("choice lists no value")
        if twice := next((text for text in labels if labels.count(text) > 1), None):
            raise ValueError(f"choice lists {twice} twice")
        return value
    whole = kind in ("int", "log_int")
    if len(values) != 2 or not all(_is_number(v, whole) for v in values):
        raise ValueError(f"{kind} needs two {'whole ' * whole}numbers, [lowest, highest]. Received: {values}")
    if not values[0] < values[1]:
        raise ValueError(f"{kind} is turned round: it needs [lowest, highest]. Received: {values}")
    if kind.startswith("log_") and values[0] <= 0:
        raise ValueError(f"{kind} needs values above 0. Received: {values}")
    return value


def _is_number(value: Any, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return not whole or isinstance(value, int)


Range = Annotated[dict[Kind, list[Any]], AfterValidator(_checked), BeforeValidator(_has_one_kind)]
"""`{choice: [...]}`, or lowest and highest value: `{uniform: [a, b]}`, `log_uniform`, `int`, `log_int`."""

Ranges = Annotated[
    dict[str, Range],
    null_is_empty,
    Field(description="values that tune tries, by path; train reads none of them"),
]

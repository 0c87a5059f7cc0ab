"""The losses and metrics as pure functions, for custom training loops.

Every loss is `fn(labels, scores, mask=None, *, item_weight=None, **params) -> [B]`; every metric gives
`(values [B], weights [B])`. A function has the name that it has in the module of its loss or metric; `functional.pyi`
names them for editors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ml4ir_losses.core.registry import LOSSES, METRICS
from ml4ir_losses.losses.listwise.surrogates import approx, bound, gumbel, neural_sort
from ml4ir_losses.losses.propensity import propensity_weight


def functions() -> dict[str, Callable[..., Any]]:
    """Every pure function of this package by its name."""
    found: dict[str, Callable[..., Any]] = {
        made.__name__: made for made in (approx, bound, gumbel, neural_sort, propensity_weight)
    }
    for entry in (*LOSSES.own(), *METRICS.own()):
        function = getattr(entry.target, "function", entry.target)
        names = vars(sys.modules[entry.target.__module__])
        found |= {name: value for name, value in names.items() if value is function and not isinstance(value, type)}
    return dict(sorted(found.items()))


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return list(functions())
    if not name.startswith("__") and name in (found := functions()):
        globals().update(found)
        return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(functions())

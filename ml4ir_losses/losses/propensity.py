"""Inverse propensity weights against position bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml4ir_losses.core.errors import UserError, check_not_negative, check_positive, unknown_name
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.registry import split_spec

PropensitySpec = Mapping[str, Any] | str | Sequence[float] | None


def power(positions: Tensor, *, eta: float = 1.0, clip: float = 10.0) -> Tensor:
    r"""Weights of a power-law examination model.

    $$w = \min(r^\eta,\ clip)$$ with r the 1-based rank at which the document was shown.

    Source: Joachims, Swaminathan, Schnabel, "Unbiased learning-to-rank with biased feedback" (2017).
    """
    return ops.minimum(positions**eta, clip)


def table(positions: Tensor, *, values: Sequence[float], clip: float = 10.0) -> Tensor:
    r"""Weights from a table of examination probabilities, the last of which holds for all later ranks.

    $$w = \min(1 / values_r,\ clip)$$
    """
    examined = np.asarray(values, dtype="float32")
    index = ops.cast(ops.clip(positions - 1, 0, len(examined) - 1), "int32")
    return ops.minimum(1.0 / ops.take(ops.convert_to_tensor(examined), index, axis=0), clip)


_MODELS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "power": (power, ("eta", "clip")),
    "table": (table, ("values", "clip")),
}


def check_propensity(spec: PropensitySpec) -> dict[str, Any]:
    """The propensity model as `{key: ..., <parameters>}`; `UserError` when it cannot be one."""
    if spec is None:
        spec = {"key": "power"}
    elif not isinstance(spec, (str, Mapping)):
        spec = {"key": "table", "values": list(spec)}
    key, params = split_spec("propensity model", spec)
    if key not in _MODELS:
        raise UserError(unknown_name("propensity model", key, list(_MODELS)))
    for name in params:
        if name not in _MODELS[key][1]:
            raise UserError(unknown_name(f"parameter of the propensity model {key!r}:", name, list(_MODELS[key][1])))
    if "eta" in params:
        check_not_negative(eta=params["eta"])
    if "clip" in params:
        check_positive(clip=params["clip"])
    if key == "table":
        values = params.get("values")
        if not isinstance(values, Sequence) or not values or not all(0 < v <= 1 for v in values):
            raise UserError(f"`propensity.values` must be probabilities above 0 and at most 1. Received: {values!r}.")
    return {"key": key, **params}


def propensity_weight(positions: Tensor, spec: PropensitySpec = None) -> Tensor:
    """The weights, [B, N], of documents shown at 1-based `positions`; 0 where the position is below 1 (padding)."""
    spec = check_propensity(spec)
    key, params = split_spec("propensity model", spec)
    positions = ops.cast(ops.convert_to_tensor(positions), "float32")
    shown = positions >= 1
    return ops.where(shown, _MODELS[key][0](ops.where(shown, positions, 1.0), **params), 0.0)

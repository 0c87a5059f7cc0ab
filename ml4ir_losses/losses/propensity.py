"""Inverse propensity weights against position bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml4ir_losses.core.errors import UserError, check_not_negative, check_positive, unknown_name
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.registry import split_spec
from ml4ir_losses.ops.replicas import sum_over_replicas

PropensitySpec = Mapping[str, Any] | str | Sequence[float] | None


def power(positions: Tensor, *, eta: float = 1.0) -> Tensor:
    r"""Weights of a power-law examination model.

    $$w = r^\eta$$ with r the 1-based rank at which the document was shown.

    Source: Joachims, Swaminathan, Schnabel, "Unbiased learning-to-rank with biased feedback" (2017).
    """
    return positions**eta


def table(positions: Tensor, *, values: Sequence[float]) -> Tensor:
    r"""Weights from a table of examination probabilities, the last of which holds for all later ranks.

    $$w = 1 / values_r$$
    """
    examined = np.asarray(values, dtype="float32")
    index = ops.cast(ops.clip(positions - 1, 0, len(examined) - 1), "int32")
    return 1.0 / ops.take(ops.convert_to_tensor(examined), index, axis=0)


_MODELS: dict[str, tuple[Any, tuple[str, ...]]] = {"power": (power, ("eta",)), "table": (table, ("values",))}
_SHARED = ("clip", "normalize")


def check_propensity(spec: PropensitySpec) -> dict[str, Any]:
    """The propensity model as `{key: ..., <parameters>}`; `UserError` when it cannot be one."""
    if spec is None:
        spec = {"key": "power"}
    elif not isinstance(spec, (str, Mapping)):
        spec = {"key": "table", "values": list(spec)}
    key, params = split_spec("propensity model", spec)
    if key not in _MODELS:
        raise UserError(unknown_name("propensity model", key, list(_MODELS)))
    allowed = [*_MODELS[key][1], *_SHARED]
    for name in params:
        if name not in allowed:
            raise UserError(unknown_name(f"parameter of the propensity model {key!r}:", name, allowed))
    if "eta" in params:
        check_not_negative(eta=params["eta"])
    if "clip" in params:
        check_positive(clip=params["clip"])
    if not isinstance(params.get("normalize", False), bool):
        raise UserError(f"`propensity.normalize` must be true or false. Received: {params['normalize']!r}.")
    if key == "table":
        values = params.get("values")
        if (
            isinstance(values, str)
            or not isinstance(values, Sequence)
            or not values
            or not all(map(_is_chance, values))
        ):
            raise UserError(f"`propensity.values` must be probabilities above 0 and at most 1. Received: {values!r}.")
    return {"key": key, **params}


def propensity_weight(positions: Tensor, spec: PropensitySpec = None) -> Tensor:
    r"""The weights, [B, N], of documents shown at 1-based `positions`; 0 where the position is below 1 (padding).

    $$w = \min(1 / P(\text{examined}), clip)$$ with `clip` 10 by default; `normalize: true` divides by their mean over
    the documents of the batch.

    Source: clipping: Swaminathan, Joachims, "Counterfactual risk minimization" (2015).
    """
    spec = check_propensity(spec)
    key, params = split_spec("propensity model", spec)
    clip, normalize = params.pop("clip", 10.0), params.pop("normalize", False)
    positions = ops.cast(ops.convert_to_tensor(positions), "float32")
    shown = positions >= 1
    weight = ops.minimum(_MODELS[key][0](ops.where(shown, positions, 1.0), **params), clip)
    weight = ops.where(shown, weight, 0.0)
    if not normalize:
        return weight
    documents, total = sum_over_replicas((ops.sum(ops.cast(shown, "float32")), ops.sum(weight)))
    return weight * (documents / ops.maximum(total, 1e-9))


def _is_chance(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float, np.floating)) and bool(0 < value <= 1)

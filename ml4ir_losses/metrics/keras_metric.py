"""The Keras metric of every key, and `get_metric`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from ml4ir_losses.core.errors import UserError, check_number
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.registry import METRICS, Entry, split_spec
from ml4ir_losses.core.shapes import same_shape, show
from ml4ir_losses.ops.masking import safe_divide
from ml4ir_losses.ops.weights import split_weights


@keras.saving.register_keras_serializable("ml4ir_losses")
class RankingMetric(keras.metrics.Metric):  # type: ignore[misc]
    """The weighted mean of a ranking metric over queries: a Keras metric for a function of `metrics.ranking`.

    y_true and y_pred are [B, N] (queries, documents); for a metric over subtopics y_true is [B, N, S]. Weights are
    scalar, [B] or [B, 1] per query, or [B, N] per document. A `_keras_mask` on y_pred is ignored: the labels say what
    is padding.

    Args:
        key: of the metric, such as `"ndcg"`.
        name: by default the key and `topn`, `ndcg_10`.
        dtype: float32, or float64 to accumulate in it; scores are ranked in float32.
        min_label: documents whose label is below it, or NaN, are padding; None: no document is. Of documents with
            several labels those without a label of at least `min_label`.
        **params: the metric's own parameters. A Python function as gain or discount must be registered with
            `keras.saving.register_keras_serializable` to be saved.

    Raises:
        ValueError: for an unknown parameter, an invalid value, and inputs or weights of a wrong shape.
    """

    def __init__(
        self,
        key: str,
        name: str | None = None,
        dtype: str | None = None,
        min_label: float | None = 0.0,
        **params: Any,
    ) -> None:
        entry = METRICS[key]
        if _is_metric_class(entry):
            raise UserError(f"The metric {key!r} has its own class. Create it with get_metric({key!r}).")
        params = {parameter: _from_config(value) for parameter, value in params.items()}
        entry.check_parameters("metric", params)
        if min_label is not None:
            check_number(min_label=min_label)
        topn = params.get("topn")
        super().__init__(name=name or (entry.key if topn is None else f"{entry.key}_{topn}"), dtype=dtype)
        self.key = entry.key
        self.min_label = min_label
        self.params = {**entry.parameters, **params}
        self._function = entry.target
        self._subtopics = bool(entry.trait("subtopics", False))
        self._direction = (
            "down" if entry.trait("lower_is_better", False) else "up"
        )  # read by EarlyStopping(mode="auto")
        kind = "float64" if self.dtype == "float64" else "float32"  # sums in half precision would stop growing
        self.total = self.add_variable(shape=(), initializer="zeros", dtype=kind, name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", dtype=kind, name="count")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds a batch."""
        y_pred = ops.cast(ops.convert_to_tensor(y_pred), "float32")
        y_true = ops.cast(ops.convert_to_tensor(y_true), "float32")
        y_pred = _without_last(y_pred)
        y_true = y_true if self._subtopics else _without_last(y_true)
        dims = len(y_true.shape), len(y_pred.shape)
        if dims != (3 if self._subtopics else 2, 2) or not same_shape(y_true.shape[:2], y_pred.shape):
            takes = "y_true [B, N, S] (queries, documents, subtopics) and y_pred [B, N]"
            if not self._subtopics:
                takes = "y_true and y_pred of the same shape, [B, N] (queries, documents)"
            raise UserError(
                f"The metric {self.name!r} takes {takes}. "
                f"Received: y_true {show(y_true.shape)}, y_pred {show(y_pred.shape)}."
            )
        query_weight, item_weight = split_weights(sample_weight, y_true.shape)
        if query_weight is not None:
            item_weight = ops.cast(ops.reshape(query_weight, (-1, 1)), "float32") * ops.ones_like(y_pred)
        mask = None if self.min_label is None else y_true >= self.min_label
        if mask is not None and self._subtopics:
            mask = ops.any(mask, axis=-1)
        values, weights = self._function(y_true, y_pred, mask, item_weight=item_weight, **self.params)
        values, weights = ops.cast(values, self.total.dtype), ops.cast(weights, self.count.dtype)
        self.total.assign_add(ops.sum(values * weights))
        self.count.assign_add(ops.sum(weights))

    def result(self) -> Tensor:
        """The mean so far, a scalar; 0 when no query counted."""
        return safe_divide(ops.convert_to_tensor(self.total), ops.convert_to_tensor(self.count))

    def get_config(self) -> dict[str, Any]:
        """The key and every parameter."""
        params = {name: _to_config(value) for name, value in self.params.items()}
        return {**super().get_config(), "key": self.key, "min_label": self.min_label, **params}


def get_metric(spec: str | Mapping[str, Any] | keras.metrics.Metric, **params: Any) -> keras.metrics.Metric:
    """The Keras metric of a key, or of `{"key": ..., <params>}`.

    >>> get_metric("ndcg", topn=10).name
    'ndcg_10'

    Args:
        spec: the key, alone or in a mapping with parameters. A Keras metric is returned unchanged.
        **params: the metric's parameters, and `name`, `dtype` and `min_label`.

    Raises:
        ValueError: for an unknown key or parameter, with the nearest match.
    """
    if isinstance(spec, keras.metrics.Metric):
        return spec
    key, params = split_spec("metric", spec, params)
    if _is_metric_class(METRICS[key]):
        return METRICS.create(key, **params)
    return RankingMetric(key, **params)


def _is_metric_class(entry: Entry) -> bool:
    return isinstance(entry.target, type) and issubclass(entry.target, keras.metrics.Metric)


def _to_config(value: Any) -> Any:
    return keras.saving.serialize_keras_object(value) if callable(value) else value


def _from_config(value: Any) -> Any:
    is_serialized = isinstance(value, Mapping) and "class_name" in value
    return keras.saving.deserialize_keras_object(value) if is_serialized else value


def _without_last(x: Tensor) -> Tensor:
    """Scores or labels [B, N, 1] as [B, N]; others as they are."""
    return x[..., 0] if len(x.shape) == 3 and x.shape[-1] == 1 else x

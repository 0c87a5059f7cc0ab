"""On JAX every loss is compiled once for every shape: running operation by operation takes ten times as long."""

from functools import partial
from typing import Any

import pytest

from losses.numeric import BACKEND
from ml4ir_losses.losses.base import RelevanceLossBase
from ml4ir_losses.losses.keras_loss import RelevanceLoss

_PLAIN, _PLAIN_CALL = RelevanceLossBase.per_query, RelevanceLoss.call
_COMPILED: dict[Any, Any] = {}


def compiled_once(key: Any, function: Any) -> Any:
    import jax

    if key not in _COMPILED:
        _COMPILED[key] = jax.jit(function)
    return _COMPILED[key]


def per_query(
    self: Any, y_true: Any, y_pred: Any, item_weight: Any = None, mask: Any = None, generator: Any = None
) -> Any:
    if self.samples:  # draws new values at every call
        return _PLAIN(self, y_true, y_pred, item_weight, mask, generator)
    return compiled_once((type(self), repr(self)), partial(_PLAIN, self))(y_true, y_pred, item_weight, mask)


def call(self: Any, target: Any, prediction: Any) -> Any:
    if self.memory is not None and self.memory.active:
        if "per_query" not in vars(self.loss):
            self.loss.per_query = compiled_once(("memory", repr(self.loss)), self.loss.per_query)
        return _PLAIN_CALL(self, target, prediction)
    if self.loss.samples:
        return _PLAIN_CALL(self, target, prediction)
    key = (type(self.loss), repr(self.loss), self.from_logits)
    return compiled_once(key, partial(_PLAIN_CALL, self))(target, prediction)


@pytest.fixture(autouse=True)
def compiled(monkeypatch: Any) -> None:
    """Compiles the losses that draw no samples."""
    if BACKEND == "jax":
        monkeypatch.setattr(RelevanceLossBase, "per_query", per_query)
        monkeypatch.setattr(RelevanceLoss, "call", call)

"""Ranking and embedding losses for Keras 3, chosen by key in a YAML config.

>>> import numpy as np
>>> from ml4ir_losses import get_loss
>>> loss = get_loss("softmax_cross_entropy").get_loss_fn()
>>> round(float(loss(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]))), 4)
0.6931
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml4ir_losses.catalogue import list_losses, list_metrics
    from ml4ir_losses.config import Config, load_config
    from ml4ir_losses.errors import ConfigError, DataError, UserError
    from ml4ir_losses.evaluation.evaluate import check, evaluate, predict
    from ml4ir_losses.keys import LossKey, MetricKey
    from ml4ir_losses.losses.base import (
        ListwiseLossBase,
        PairwiseLossBase,
        PointwiseLossBase,
        RelevanceLossBase,
        get_loss,
    )
    from ml4ir_losses.losses.classification import CategoricalCrossEntropy
    from ml4ir_losses.losses.keras_loss import RelevanceLoss
    from ml4ir_losses.losses.listwise import (
        AuxOneHotCrossEntropy,
        AuxSoftmaxCrossEntropy,
        ListMLELoss,
        RankOneListNet,
        SoftmaxCrossEntropy,
    )
    from ml4ir_losses.losses.pairwise import PairwiseLogisticLoss
    from ml4ir_losses.losses.pointwise import SigmoidCrossEntropy
    from ml4ir_losses.metrics.ranking import RankingMetric, get_metric
    from ml4ir_losses.model.relevance_model import RelevanceModel, load_model
    from ml4ir_losses.registry import register_architecture, register_loss, register_metric, register_reader
    from ml4ir_losses.training.train import Run, train

__version__ = "0.1.0"

_HOMES = {
    "catalogue": ("list_losses", "list_metrics"),
    "config": ("Config", "load_config"),
    "errors": ("ConfigError", "DataError", "UserError"),
    "evaluation.evaluate": ("check", "evaluate", "predict"),
    "keys": ("LossKey", "MetricKey"),
    "losses.base": ("ListwiseLossBase", "PairwiseLossBase", "PointwiseLossBase", "RelevanceLossBase", "get_loss"),
    "losses.classification": ("CategoricalCrossEntropy",),
    "losses.keras_loss": ("RelevanceLoss",),
    "losses.listwise": (
        "AuxOneHotCrossEntropy",
        "AuxSoftmaxCrossEntropy",
        "ListMLELoss",
        "RankOneListNet",
        "SoftmaxCrossEntropy",
    ),
    "losses.pairwise": ("PairwiseLogisticLoss",),
    "losses.pointwise": ("SigmoidCrossEntropy",),
    "metrics.ranking": ("RankingMetric", "get_metric"),
    "model.relevance_model": ("RelevanceModel", "load_model"),
    "registry": ("register_architecture", "register_loss", "register_metric", "register_reader"),
    "training.train": ("Run", "train"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AuxOneHotCrossEntropy",
    "AuxSoftmaxCrossEntropy",
    "CategoricalCrossEntropy",
    "Config",
    "ConfigError",
    "DataError",
    "ListMLELoss",
    "ListwiseLossBase",
    "LossKey",
    "MetricKey",
    "PairwiseLogisticLoss",
    "PairwiseLossBase",
    "PointwiseLossBase",
    "RankOneListNet",
    "RankingMetric",
    "RelevanceLoss",
    "RelevanceLossBase",
    "RelevanceModel",
    "Run",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "UserError",
    "check",
    "evaluate",
    "get_loss",
    "get_metric",
    "list_losses",
    "list_metrics",
    "load_config",
    "load_model",
    "predict",
    "register_architecture",
    "register_loss",
    "register_metric",
    "register_reader",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "keras" in sys.modules:  # so that `keras.models.load_model` knows our classes
    importlib.import_module(f"{__name__}.model.relevance_model")

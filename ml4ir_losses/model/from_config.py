"""Support for `from_config` of the models: the model class of an architecture, and checks of saved configs."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from ml4ir_losses.config.base import Spec
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import ARCHITECTURES, split_spec

MODEL_CLASSES = {
    "features": "ml4ir_losses.model.relevance_model:RelevanceModel",
    "texts": "ml4ir_losses.model.embedding_model:EmbeddingModel",
    "pairs": "ml4ir_losses.model.cross_encoder:CrossEncoderModel",
}
"""The model class of an architecture, by what it reads."""


def build_module() -> Any:
    """The module `experiments.build`, imported by name because it is in a higher layer than the models."""
    return importlib.import_module("ml4ir_losses.experiments.build")


def export_module() -> Any:
    """The module `export.exporting`, imported by name for the same reason."""
    return importlib.import_module("ml4ir_losses.export.exporting")


def saved_config(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config, checked to be a result of the class's `get_config`.

    Raises:
        UserError: for any other mapping, such as that of an experiment.
    """
    # Not of the class: for an inherited __init__, Python 3.11.2 (3.11.7 does not) gives those of Keras' __new__.
    _, *signature = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    parameters = {parameter.name: parameter for parameter in signature}
    required = [n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    missing = [name for name in required if name not in config]
    unknown = [name for name in config if name not in (*parameters, "name")]
    if missing or unknown:
        wrong = f"{missing[0]!r} is missing" if missing else f"{unknown[0]!r} is unknown"
        raise UserError(
            f"{cls.__name__}.from_config takes a mapping only as get_config gave it, and {wrong}. For an experiment "
            "in a mapping: from_config(load_config(mapping))."
        )
    return dict(config)


def model_class(spec: Spec) -> Any:
    """The model class of an architecture: its trait `model_class`, or the default for what it reads."""
    entry = ARCHITECTURES[split_spec(ARCHITECTURES.kind, spec)[0]]
    path = entry.trait("model_class", MODEL_CLASSES[entry.trait("reads", "features")])
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)

"""Builds the compiled model of a config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml4ir_losses.config.load import AnyConfig, load_config, reads_texts
from ml4ir_losses.config.text_schema import TextConfig
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.feature_data import fit_training_split
from ml4ir_losses.experiments.ranking_model import build_from_inputs
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.relevance_model import RelevanceModel

Source = str | Path | Mapping[str, Any] | AnyConfig


def build_relevance_model(source: Source, data: Any = None) -> RelevanceModel | EmbeddingModel:
    """The compiled model of a YAML file, a checked config or a mapping, fitted on the config's training split.

    A text config gives an `EmbeddingModel` or a cross-encoder. `data`: data in memory in the place of the config's
    files.

    Raises:
        ConfigError, DataError: for a config or data that cannot be used.
    """
    config = load_config(source, data=data)
    if reads_texts(config):
        return _build_text_model(config)
    inputs, queries = fit_training_split(config)
    return build_from_inputs(config, inputs, -(-queries // config.data.batch_size))


def build_embedding_model(source: Source, data: Any = None) -> EmbeddingModel:
    """The compiled model of a YAML file, a `TextConfig` or a mapping, its tokenizer fitted on the training texts.

    `data`: data in memory in the place of the config's files.

    Raises:
        ConfigError, DataError: for a config or data that cannot be used.
    """
    config = load_config(source, data=data)
    if not reads_texts(config):
        raise ConfigError("an embedding model reads columns of text: give data.columns.")
    model = _build_text_model(config)
    if not isinstance(model, EmbeddingModel):
        raise ConfigError(f"model.architecture: {config.model.architecture!r} is not one of an embedding model.")
    return model


def _build_text_model(config: TextConfig) -> RelevanceModel | EmbeddingModel:
    model: RelevanceModel | EmbeddingModel = prepare(config).model
    return model

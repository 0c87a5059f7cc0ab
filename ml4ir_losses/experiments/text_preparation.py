"""Reads the data sets of a text config, fits its tokenizer and builds its model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ml4ir_losses.config.checks import encoders_of
from ml4ir_losses.config.explain import with_path
from ml4ir_losses.config.in_memory import SPLITS
from ml4ir_losses.config.text_checks import batching_of, loss_of
from ml4ir_losses.config.text_schema import TextConfig, TextModelConfig
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.core.registry import ENCODERS, split_spec
from ml4ir_losses.data.provenance import describe
from ml4ir_losses.data.texts.rows import make_rows, read_texts
from ml4ir_losses.data.texts.sets import TextSet, training_documents
from ml4ir_losses.experiments.initial_model import copy_weights
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.loading import load_encoder
from ml4ir_losses.model.start_values import start_encoders
from ml4ir_losses.model.text_layers import inner_encoder
from ml4ir_losses.text.tokenizers import Tokenizer, WordTokenizer

TextData = tuple[dict[str, TextSet], dict[str, dict[str, Any]]]
"""The data sets by name, and where the rows of each split came from."""


def read_sets(config: TextConfig) -> TextData:
    """The data sets by name: their rows, losses and batchings; and where the rows of each split came from.

    Raises:
        ConfigError, DataError: one line for what is wrong.
    """
    several = bool(config.data.datasets)
    sets, sources = {}, {}
    for name, text_set in config.data.sets().items():
        where = f"data.datasets.{name}.columns" if several else "data.columns"
        loss = loss_of(config.model, text_set)
        rows = {}
        for split in SPLITS:
            if (paths := getattr(text_set, split)) is not None:
                table = read_texts(config.data, paths)
                teacher = str(config.data.paths(text_set.teacher[split])[0]) if split in text_set.teacher else None
                rows[split] = make_rows(table, text_set, where, teacher)
                sources[f"{name} {split}" if several else split] = describe(table)
        sets[name] = TextSet(text_set, loss, batching_of(text_set, loss), rows)
    return sets, sources


def build_model(config: TextConfig, sets: Mapping[str, TextSet]) -> EmbeddingModel:
    """The compiled model of a config, its tokenizer fitted on the training texts.

    Raises:
        ConfigError: for invalid parameters.
    """
    start = load_optional(config.training.initial_model, "training.initial_model")
    texts = dict.fromkeys(
        text for text_set in sets.values() for column in text_set.rows["train"].texts for text in column
    )
    tokenizer = build_tokenizer(config.model, texts) if start is None else start.tokenizer
    steps = sum(-(-len(s.rows["train"]) // (s.config.batch_size or 1)) for s in sets.values())
    model = EmbeddingModel.make(config, tokenizer, {name: text_set.task for name, text_set in sets.items()}, steps)
    if start is not None:
        _warm_start(model, start, config.training.initial_model)
    else:
        start_encoders(model.encoders, map(tokenizer.ids, training_documents(sets.values())), config.training.seed)
    return model


def build_tokenizer(model: TextModelConfig, texts: Iterable[str]) -> Tokenizer:
    """The tokenizer of the model's encoder if it has one, else a word tokenizer fitted on the texts."""
    settings = model.tokenizer
    for encoder in encoders_of(model.architecture):
        key, params = split_spec(ENCODERS.kind, encoder)
        make = ENCODERS[key].trait("make_tokenizer")
        if make is not None:
            tokenizer: Tokenizer = with_path("model.architecture.encoder", partial(make, params, settings.max_length))
            return tokenizer
    return WordTokenizer.fit(texts, **settings.model_dump(exclude={"max_query_length"}))


def load_optional(path: str | None, where: str) -> EmbeddingModel | None:
    """The embedding model of a run folder; None if `path` is None."""
    return None if path is None else with_path(where, lambda: load_encoder(path))


def _warm_start(model: EmbeddingModel, start: EmbeddingModel, path: str | None) -> None:
    """Copies the encoder weights; heads and decoders keep their fresh initialization, as do new sparse outputs."""
    sources = start.encoders
    for place, encoder in enumerate(model.encoders):
        source = sources[min(place, len(sources) - 1)]
        if inner_encoder(source) is source:
            encoder = inner_encoder(encoder)
        copy_weights(encoder, source, path, "another encoder", "model.architecture.encoder")
    LOGGER.info("tokenizer and encoders are those of %s", path)

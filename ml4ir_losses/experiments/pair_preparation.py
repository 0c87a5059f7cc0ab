"""Builds the cross-encoder of a text config."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.inputs import FeatureConfig, TextPairInput
from ml4ir_losses.config.schema import Config, DataConfig, ModelConfig
from ml4ir_losses.config.text_schema import DatasetConfig, TextConfig, listed
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.core.registry import ARCHITECTURES, split_spec
from ml4ir_losses.data.texts.list_batches import PAIR
from ml4ir_losses.data.texts.sets import TextSet
from ml4ir_losses.experiments.initial_model import copy_weights, load_initial_model
from ml4ir_losses.experiments.ranking_model import build_from_inputs
from ml4ir_losses.experiments.text_preparation import build_tokenizer
from ml4ir_losses.features.kinds.text_pair import FittedTextPair
from ml4ir_losses.model.cross_encoder import TextCrossEncoder
from ml4ir_losses.text.tokenizers import PairTokenizer

TEXTS = ("anchor", "document")
"""The names of the texts in the config of the ranking model."""


def build_cross_encoder(config: TextConfig, text_set: TextSet) -> TextCrossEncoder:
    """The compiled cross-encoder of a config, its tokenizer fitted on the training texts.

    Raises:
        ConfigError: for invalid parameters.
    """
    initial = config.training.initial_model
    start = load_initial_model(initial, TextCrossEncoder, "a cross-encoder of texts alone")
    pair = FittedTextPair(name=PAIR, columns=text_columns(text_set.config))
    pair.tokenizer = _pair_tokenizer(config, text_set) if start is None else start.tokenizer
    pair.max_length, pair.max_query_length = pair.tokenizer.max_length, pair.tokenizer.max_query_length
    steps = -(-len(text_set.rows["train"]) // (text_set.config.batch_size or 1))
    model: Any = build_from_inputs(_ranking_config(config, text_set), [pair], steps)
    model.classes = tuple(text_set.classes)
    if start is not None:
        copy_weights(model, start, initial, "other layers", "model.architecture")
        LOGGER.info("tokenizer and weights are those of %s", initial)
    return model  # type: ignore[no-any-return]


def text_columns(dataset: DatasetConfig) -> list[str]:
    """The columns under which the model takes strings: the query, then those of a document."""
    query, document = (listed(dataset.columns[role]) for role in dataset.texts[:2])
    return [query[0] if len(query) == 1 else TEXTS[0], *document]


def _pair_tokenizer(config: TextConfig, text_set: TextSet) -> PairTokenizer:
    settings = config.model.tokenizer
    texts = dict.fromkeys(text for column in text_set.rows["train"].texts for text in column)
    words = build_tokenizer(config.model, texts)
    words.max_length += sum(map(len, words.bounds))  # start and end tokens are counted for the pair
    query_length = settings.max_query_length or max(settings.max_length // 4, 1)
    try:
        return PairTokenizer(words, settings.max_length, query_length)
    except UserError as error:
        raise ConfigError(f"model.tokenizer: {error}") from None


def _ranking_config(config: TextConfig, text_set: TextSet) -> Config:
    """The config of the ranking model: pairs of texts are its only input."""
    pair = TextPairInput(name=PAIR, type="text_pair", query=TEXTS[0], document=TEXTS[1])
    loss = text_set.loss.without_draws() if text_set.config.draws_negatives(text_set.loss) else text_set.loss
    return Config(
        name=config.name,
        data=DataConfig(train=text_set.config.train, batch_size=text_set.config.batch_size or 1),
        features=FeatureConfig(query_id=text_columns(text_set.config)[0], inputs=[pair]),
        model=ModelConfig(
            architecture=_with_outputs(config.model.architecture, len(text_set.classes)),
            loss=loss.get_config(),
            metrics=[],
            optimizer=config.model.optimizer,
            lr_schedule=config.model.lr_schedule,
        ),
        training=config.training,
    )


def _with_outputs(architecture: Spec, classes: int) -> Spec:
    """The architecture with an output for each class, unless it says how many it has."""
    key, params = split_spec(ARCHITECTURES.kind, architecture)
    if classes <= 2 or not ARCHITECTURES[key].takes("num_outputs") or params.get("num_outputs") is not None:
        return architecture
    return {"key": key, **params, "num_outputs": classes}

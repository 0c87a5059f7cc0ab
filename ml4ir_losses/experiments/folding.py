"""The configs of the folds of a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ml4ir_losses.config.folds import FoldsConfig
from ml4ir_losses.config.in_memory import InMemory
from ml4ir_losses.config.load import AnyConfig, load_config, reads_texts
from ml4ir_losses.config.schema import Config
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.data.folds import folded_tables
from ml4ir_losses.data.splitting import read_splits


def fold_configs(
    config: AnyConfig, folds: FoldsConfig | int, splits: Sequence[str] = ("train", "validation")
) -> list[AnyConfig]:
    """One config per fold, with the rows of the splits in memory; the other splits stay as they are.

    Fold k is the test part if `test` is among the splits, and fold k + 1 then the validation part; else fold k is the
    validation part. See `ml4ir_losses.data.folds.folded_tables`.

    Raises:
        ConfigError: for a text config, and for fewer than 2 folds.
        DataError: for data that cannot be read, or cannot be dealt out to so many folds.
    """
    if reads_texts(config):
        raise ConfigError(
            "data.folds: queries with features can be dealt out to folds; a text config has fixed splits."
        )
    if isinstance(folds, int):
        if folds < 2:
            raise ConfigError(f"data.folds.k: at least 2 folds are needed. Received: {folds}.")
        folds = FoldsConfig(k=folds)
    config = _with_parts_in_memory(config)
    given = [split for split in config.data.splits if split in splits]
    tables = read_splits(config.data, config.features.query_id, given, config.features.list_columns)
    kept = {split: getattr(config.data, split) for split in config.data.splits if split not in splits}
    # Expected metrics were measured on the config's own splits.
    base = config.model_copy(update={"expected_metrics": {}, "data": config.data.model_copy(update={"folds": None})})
    configs: list[AnyConfig] = []
    for number, parts in enumerate(folded_tables(tables, config.features.query_id, folds, "test" in splits), 1):
        data = {part: InMemory(table, f"{part} of fold {number} of {folds.k}") for part, table in parts.items()}
        configs.append(load_config(base, data=kept | data))
    return configs


def without_test(config: AnyConfig) -> AnyConfig:
    """The config without its test split, which then cannot be read by mistake."""
    if reads_texts(config):
        test = {"test": None}
        sets = {name: one.model_copy(update=test) for name, one in config.data.datasets.items()}
        data: Any = config.data.model_copy(update=test | {"datasets": sets})
    else:
        data = config.data.without("test")
    return config.model_copy(update={"data": data, "expected_metrics": {}})


def _with_parts_in_memory(config: Config) -> Config:
    """The config with the parts of `data.path` in memory, in the places of the splits."""
    if config.data.path is None:
        return config
    tables = read_splits(config.data, config.features.query_id, lists=config.features.list_columns)
    data = {split: InMemory(table, split) for split, table in tables.items()}
    return cast(Config, load_config(config, data=data))

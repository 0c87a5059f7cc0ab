"""Fitting of the config's inputs on the training split, and encoding of rows as model inputs."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ml4ir_losses.config.inputs import FeatureConfig, InputConfig, NumericInput, TextInput, TextPairInput
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.queries import EncodedRows
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.features.pairs import encode_pairs, fit_words
from ml4ir_losses.features.transforms import fill_values, fit_transforms
from ml4ir_losses.text.words import most_common, tokenize


def fit_inputs(features: FeatureConfig, table: Table) -> list[FittedInput]:
    """Fits every input on the training table.

    Raises:
        DataError: for a feature without a column in the data, with the nearest column.
    """
    return [_fit_input(config, features, table) for config in features.inputs]


def _fit_input(config: Any, features: FeatureConfig, table: Table) -> FittedInput:
    columns = _columns(config, features, table)
    if isinstance(config, NumericInput):
        x = table.matrix(columns).astype("float64")
        fill = fill_values(x, config.missing)
        transforms = fit_transforms(np.where(np.isnan(x), fill, x), config.transforms)
        return FittedInput(
            name=config.name,
            type="numeric",
            scope=config.scope,
            columns=columns,
            fill=fill,
            transforms=transforms,
            missing_indicator=config.missing_indicator,
            query_rank=config.query_rank,
        )
    if isinstance(config, TextInput):
        words = Counter(word for text in table.strings(config.name) for word in tokenize(text))
        return FittedInput(
            name=config.name,
            type="text",
            scope=config.scope,
            columns=columns,
            vocabulary=most_common(words, config.max_vocabulary),
            max_length=config.max_length,
            embedding_dim=config.embedding_dim,
        )
    if isinstance(config, TextPairInput):
        return FittedInput(
            name=config.name,
            type="text_pair",
            columns=columns,
            vocabulary=[] if config.preset else fit_words(columns, table, config.max_vocabulary),
            max_length=config.max_length,
            max_query_length=config.query_length,
            preset=config.preset,
        )
    values = Counter(str(v) for v in table.strings(config.name))
    hashed = config.encoding == "hash"
    return FittedInput(
        name=config.name,
        type="categorical",
        scope=config.scope,
        columns=columns,
        vocabulary=[] if hashed else most_common(values, config.max_vocabulary),
        num_buckets=config.num_buckets if hashed else 0,
        embedding_dim=config.embedding_dim,
    )


def _columns(config: InputConfig, features: FeatureConfig, table: Table) -> list[str]:
    names = config.columns if isinstance(config, TextPairInput) else [config.name]
    pattern = isinstance(config, NumericInput) and any(c in config.name for c in "*?[")
    if pattern and config.name not in table:
        texts = {column for i in features.inputs if isinstance(i, TextPairInput) for column in i.columns}
        used = features.roles | texts | {other.name for other in features.inputs}
        columns = [n for n in table.names if fnmatch.fnmatchcase(n, config.name) and n not in used]
        if columns:
            return columns
    for name in names:
        table.require(name, "features.inputs")
    return names


def encode_rows(inputs: Sequence[FittedInput], table: Table) -> EncodedRows:
    """The model's inputs, one row per document: floats, or ids of categories and words.

    Strings are looked up here, once per distinct value, so that batches hold only numbers.
    """
    arrays = {fitted.name: _encode(fitted, table) for fitted in inputs}
    return EncodedRows(arrays, frozenset(fitted.name for fitted in inputs if fitted.scope == "query"))


def _encode(fitted: FittedInput, table: Table) -> Array:
    if fitted.type == "numeric":
        return table.matrix(fitted.columns)
    if fitted.type == "text_pair":
        return encode_pairs(fitted, table)
    cells = pa.array(table.strings(fitted.name)).dictionary_encode()
    ids: Array = lookup_ids(fitted, cells.dictionary.to_pylist())[cells.indices.to_numpy()]
    return ids


def lookup_ids(fitted: FittedInput, values: Sequence[str]) -> Array:
    """Ids of strings: 0 is padding of a text, or an empty or unknown category; hashed categories have no such id."""
    if fitted.type == "categorical" and fitted.num_buckets:
        from ml4ir_losses.features.lookup import string_lookup

        return np.asarray(string_lookup(fitted)(np.array(values, object))).astype("int32")
    index = {value: i for i, value in enumerate(fitted.vocabulary)}
    if fitted.type == "categorical":
        return np.array([index.get(v, -1) + 1 for v in values], dtype="int32")
    ids = np.zeros((len(values), fitted.max_length), dtype="int32")
    for row, text in enumerate(values):
        words = [index.get(word, -1) + 2 for word in tokenize(text)[: fitted.max_length]]
        ids[row, : len(words)] = words
    return ids

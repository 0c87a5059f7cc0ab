"""Fitting of the config's inputs on the training split, and encoding of rows as model inputs."""

from __future__ import annotations

from collections.abc import Sequence

from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.data.queries import EncodedRows
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, FittedInput
from ml4ir_losses.features.kinds import KINDS


def make_accumulators(features: FeatureConfig) -> list[Accumulator]:
    """An accumulator for each input; added chunks of the training table fit it."""
    return [KINDS[config.type].accumulator(config, features) for config in features.inputs]


def fit_inputs(features: FeatureConfig, table: Table) -> list[FittedInput]:
    """Fits every input on the training table.

    Raises:
        DataError: for a feature without a column in the data, with the nearest column.
    """
    return [accumulator.add(table).result() for accumulator in make_accumulators(features)]


def encode_rows(inputs: Sequence[FittedInput], table: Table) -> EncodedRows:
    """The model's inputs, one row per document: floats, or ids of categories and words.

    Strings are looked up here, once per distinct value, so that batches hold only numbers.
    """
    arrays = {fitted.name: fitted.encode(table) for fitted in inputs}
    return EncodedRows(arrays, frozenset(fitted.name for fitted in inputs if fitted.scope == "query"))

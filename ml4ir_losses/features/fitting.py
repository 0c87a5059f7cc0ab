"""Fitting of the config's inputs on the training split, and encoding of rows as model inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ml4ir_losses.config.input_base import ListColumns
from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.queries import EncodedRows
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, FittedInput
from ml4ir_losses.features.kinds import KINDS


def make_accumulators(features: FeatureConfig) -> list[Accumulator]:
    """An accumulator for each input; added chunks of the training table fit it."""
    accumulators = {config.name: KINDS[config.type].accumulator(config, features) for config in features.inputs}
    for accumulator in accumulators.values():
        accumulator.share(accumulators)
    return list(accumulators.values())


def fit_inputs(features: FeatureConfig, table: Table) -> list[FittedInput]:
    """Fits every input on the training table.

    Raises:
        DataError: for a feature without a column in the data, with the nearest column.
    """
    accumulators = [accumulator.add(table) for accumulator in make_accumulators(features)]
    return [accumulator.result() for accumulator in accumulators]


def encode_rows(inputs: Sequence[FittedInput], table: Table) -> EncodedRows:
    """The model's inputs, one row per document: floats, or ids of categories and words.

    Strings are looked up here, once per distinct value, so that batches hold only numbers.
    """
    arrays = {fitted.name: fitted.encode(table) for fitted in inputs}
    return EncodedRows(arrays, frozenset(fitted.name for fitted in inputs if fitted.scope == "query"))


def list_columns(inputs: Sequence[FittedInput], *others: str) -> ListColumns:
    """What lists in the cells of the columns of inputs, and of other columns, are."""
    values = [column for fitted in inputs if fitted.keeps_lists for column in fitted.columns]
    documents = [*others, *(c for fitted in inputs for c in fitted.columns if c not in values)]
    return ListColumns(
        values, documents, [column for fitted in inputs if fitted.splits_texts for column in fitted.columns]
    )


class UnknownValues:
    """Counts the values that vocabularies do not have, which are no errors.

    Args:
        inputs: the inputs of a model.
    """

    def __init__(self, inputs: Sequence[FittedInput]) -> None:
        self.inputs = inputs
        self.unknown: Counter[str] = Counter()
        self.total: Counter[str] = Counter()

    def add(self, table: Table) -> None:
        """Adds the rows of a table."""
        for fitted in self.inputs:
            unknown, total = fitted.unknown(table)
            self.unknown[fitted.name] += unknown
            self.total[fitted.name] += total

    def tell(self) -> None:
        """Logs a line for each input that met any."""
        for name, number in self.unknown.items():
            if number:
                total = self.total[name]
                share = f"{number:,} of {total:,} values ({number / total:.1%})"
                LOGGER.info("%s: %s are not in the vocabulary", name, share)

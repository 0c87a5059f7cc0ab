"""Fitting of the inputs on rows that do not fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.table import Table
from ml4ir_losses.features.fitted import Accumulator, FittedInput
from ml4ir_losses.features.fitting import make_accumulators

_SAMPLE = 200_000  # rows for medians and quantiles: a rank error of 0.3%
_FEWEST = 10_000
_BYTES_PER_VALUE, _BYTES_PER_NAME = 32, 128  # of a sampled number while it is fitted, and of a counted string
_FEWEST_NAMES = 100_000
_SHARE = 8  # the share of the memory for data that the sample, or the counted strings, may take


def fit_streamed(features: FeatureConfig, chunks: Callable[[], Iterator[Table]], limit: float) -> list[FittedInput]:
    """The inputs fitted on chunks of rows, which are read once, or twice where later chunks have more columns.

    Counts, means, variances and extreme values are those of all rows. Medians and quantiles are those of a uniform
    sample: with n rows, the rank of each of them is off by at most sqrt(ln(2 / 0.05) / 2n) with a probability of 95%.
    Of more different strings than the memory holds, the rarest are dropped. Both are said in the log.

    Source: Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality" (1990).

    Args:
        features: the feature section of a config.
        chunks: reads the rows.
        limit: bytes of memory for data.

    Raises:
        DataError: for a feature without a column in the data, and cells that cannot be read.
    """
    first, width = 1, 0
    for _ in range(2):
        accumulators, sample, seen = make_accumulators(features), _Sample(), False
        grown = False
        for chunk in chunks():
            if chunk.features is not None:
                narrow = first, width
                first, width = min(first, chunk.first), max(width, chunk.features.shape[1])
                grown |= seen and (first, width) != narrow
                chunk = chunk.widened(first, width)
            seen = True
            if not grown:
                _add(accumulators, chunk, sample, limit)
        if not grown:
            break
    _tell(accumulators, sample)
    return [accumulator.result() for accumulator in accumulators]


class _Sample:
    """A uniform sample of rows that come one after another: those with the lowest random keys."""

    def __init__(self) -> None:
        self.rows = 0
        self.keys = np.empty(0)
        self._rng, self._highest = np.random.default_rng(0), 1.0

    def draw(self, rows: int) -> Array:
        """A mask of the rows that are in the sample, for now."""
        keys = self._rng.random(rows)
        chosen: Array = keys < self._highest
        self.keys = np.concatenate([self.keys, keys[chosen]])
        self.rows += rows
        return chosen

    def thin(self, size: int) -> Array:
        """A mask of those that stay in the sample, `size` of them."""
        self._highest = float(np.partition(self.keys, size)[size])
        stay: Array = self.keys < self._highest
        self.keys = self.keys[stay]
        return stay

    @property
    def rank_error(self) -> float:
        """The largest error of a rank, as a share of all rows, with a probability of 95%; 0 if no row is left out."""
        count = len(self.keys)
        return 0.0 if count == self.rows else math.sqrt(math.log(2 / 0.05) / (2 * count))


def _add(accumulators: list[Accumulator], chunk: Table, sample: _Sample, limit: float) -> None:
    chosen = sample.draw(len(chunk))
    for accumulator in accumulators:
        accumulator.add(chunk, chosen)
        accumulator.drop_rare(max(_FEWEST_NAMES, int(limit / _SHARE / _BYTES_PER_NAME / len(accumulators))))
    values = sum(len(accumulator.columns) for accumulator in accumulators if accumulator.keeps_rows)
    size = int(np.clip(limit / _SHARE / (_BYTES_PER_VALUE * max(1, values)), _FEWEST, _SAMPLE))
    if len(sample.keys) > 2 * size:
        stay = sample.thin(size)
        for accumulator in accumulators:
            accumulator.thin(stay)


def _tell(accumulators: list[Accumulator], sample: _Sample) -> None:
    """Logs what is not exact."""
    if sample.rank_error and any(accumulator.keeps_rows for accumulator in accumulators):
        LOGGER.info(
            "medians and quantiles are those of %s random rows of %s: their ranks are right to %.2f%%",
            *(f"{len(sample.keys):,}", f"{sample.rows:,}", 100 * sample.rank_error),
        )
    for accumulator in accumulators:
        if accumulator.undercount:
            LOGGER.warning(
                "features.inputs, %r: too many different values for data.memory; rare ones are dropped, and the "
                "counts of the others are too low by %s at most",
                accumulator.config.name,
                f"{accumulator.undercount:,}",
            )

"""`estimate_propensities`: how probably users look at each rank, from a click log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.core.parameters import PositiveInt, checked
from ml4ir_losses.data.nested import unnest_chunks
from ml4ir_losses.data.propensities.click_rows import ClickRows, LogColumns, click_rows
from ml4ir_losses.data.propensities.em import EmSample, regression_em
from ml4ir_losses.data.propensities.estimate import Propensities, summarised
from ml4ir_losses.data.propensities.swaps import SwapCounts
from ml4ir_losses.data.readers import read_chunks
from ml4ir_losses.data.streaming.seen import SeenIds

__all__ = ["METHODS", "LogColumns", "Propensities", "estimate_propensities"]

METHODS = ("em", "swaps")
RESAMPLES = {"em": 20, "swaps": 200}
Count = Annotated[int, Ge(0)]


@checked
def estimate_propensities(
    log: Any,
    *,
    method: Literal["em", "swaps"] = "em",
    features: Sequence[str] = (),
    columns: LogColumns | None = None,
    max_position: PositiveInt = 50,
    resamples: Count | None = None,
    rounds: Count = 3,
    max_rows: PositiveInt = 1_000_000,
    seed: Count = 0,
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[str, int, int | None], None] = lambda what, done, total: None,
) -> Propensities:
    """The probability that each rank is examined, relative to the rank that is examined most.

    The log is read once, chunk by chunk. `swaps` needs the columns of an experiment and no features; its memory grows
    by 8 bytes per session. `em` needs features that explain relevance, and all that the ranker read: what the ranker
    knew and the features do not tell is taken for position bias. It keeps a sample of whole sessions.

    Args:
        log: a file, a glob, a list of them, or data in memory: a row per document shown, with session, rank and click.
        method: `em`, regression-EM, or `swaps`, an experiment that swaps ranks at random.
        features: names or globs of the columns that `em` reads; numbers, or text as categories.
        columns: the names of the log's columns; None: `LogColumns()`, those of a simulated log.
        max_position: the ranks from this one on share a propensity.
        resamples: number of bootstrap resamples of the sessions for the intervals, at
            least 10; None: 20 for em, 200 for swaps.
        rounds: the largest number of rounds of EM.
        max_rows: the largest number of rows that `em` keeps.
        seed: of resamples and trees.
        format: the format of the log; None: by the ending of the file.
        options: parameters of its reader.
        progress: called with what is done, how much of it and how much in all (None: unknown).

    Raises:
        DataError: for a log without what the method needs: columns, clicks, several ranks, an experiment.
    """
    columns = columns or LogColumns()
    resamples = RESAMPLES[method] if resamples is None else resamples
    if method == "em" and not features:
        raise UserError("The method em needs `features`: the columns that explain the relevance of a document.")
    estimator: Any = SwapCounts(columns, max_position, resamples, seed)
    if method == "em":
        estimator = EmSample(features, columns, max_rows)
    counts = _Counts(max_position)
    chunks = unnest_chunks(read_chunks(log, format, **(options or {})))
    for rows in counts.counted(click_rows(chunks, columns)):
        estimator.add(rows)
        progress("rows", int(counts.shown.sum()), None)
    counts.check()
    used = counts.rows
    if method == "em":
        used = sum(len(part[0]) for part in estimator.parts)
        if used < counts.rows:
            LOGGER.info("em: a sample of %s of %s rows, whole sessions", f"{used:,}", f"{counts.rows:,}")
        found = regression_em(
            estimator, max_position, rounds, resamples, seed, lambda done, total: progress("rounds", done, total)
        )
    else:
        found = estimator.result()
    propensities, intervals, interpolated = summarised(found)
    if interpolated:
        ranks = ", ".join(map(str, interpolated))
        LOGGER.warning("ranks without clicks in the data, interpolated: %s", ranks)
    size = len(propensities)
    shown, clicks = ([*map(int, v[: size - 1]), int(v[size - 1 :].sum())] for v in (counts.shown, counts.clicks))
    return Propensities(method, propensities, intervals, shown, clicks, interpolated, len(counts.sessions), used)


class _Counts:
    """Rows and clicks by rank, and the number of sessions."""

    def __init__(self, max_position: int) -> None:
        self.shown, self.clicks = np.zeros(max_position), np.zeros(max_position)
        self.sessions = SeenIds()
        self.source = "the log"

    def counted(self, chunks: Iterable[ClickRows]) -> Iterator[ClickRows]:
        """The chunks, each counted."""
        for rows in chunks:
            place = np.minimum(rows.rank, len(self.shown)) - 1
            self.shown += np.bincount(place, minlength=len(self.shown))
            self.clicks += np.bincount(place, rows.click, len(self.shown))
            self.sessions.add(np.unique(rows.session))
            self.source = rows.table.source
            yield rows

    @property
    def rows(self) -> int:
        return int(self.shown.sum())

    def check(self) -> None:
        """Raises `DataError` for rows from which nothing can be estimated."""
        if not self.rows:
            raise DataError("The log has no rows.")
        if not self.clicks.any():
            raise DataError(f"{self.source}: the log has no click.")
        if (self.shown > 0).sum() < 2:
            rank = int(np.flatnonzero(self.shown)[0]) + 1
            raise DataError(f"{self.source}: every row was shown at rank {rank}; propensities compare ranks.")
        if not self.clicks[0]:
            raise DataError(f"{self.source}: no document was clicked at rank 1, to which the others are compared.")

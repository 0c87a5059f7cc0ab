"""What an evaluation computes beside the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.evaluation.list_metrics import CUTOFFS


@dataclass(frozen=True)
class Options:
    """What `evaluate` computes beside the metrics.

    Attributes:
        group_by: the column by whose values queries are grouped.
        baseline: a run folder, a column of the data, or a TREC run file.
        convention: the library whose conventions the metrics follow.
        cutoffs: the cut-offs of the metrics.
        positions: the column of shown ranks; None: `features.positions` of the config, where the data have it.
        match: the column that tells how well a document matches, for the failures to rank matches.
        explain_metric: the metric whose gap between our convention and the other is explained.
    """

    group_by: str | None = None
    baseline: str | Path | None = None
    convention: str | None = None
    cutoffs: Sequence[int] = CUTOFFS
    positions: str | None = None
    match: str | None = None
    explain_metric: str | None = None


def differs_within_query(place: str, column: str, query: object, first: str, other: str) -> DataError:
    """The error for a column that cannot group queries."""
    return DataError(
        f"{place}, column {column!r}: differs within query {query!r}: {first!r} and {other!r}; queries can be grouped "
        "only by what describes the query."
    )

"""Click logs simulated over graded documents: a ranker shows them, a click model clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.core.parameters import Fraction, NonNegative, PositiveInt, checked
from ml4ir_losses.data.clicks.models import get_click_model
from ml4ir_losses.data.table import Table, group_by_query, ranks_in_queries

SESSION, POSITION, CLICK, SWAP_RANK, SWAPPED = "session_id", "position", "click", "swap_rank", "swapped"
LOG_COLUMNS = (SESSION, POSITION, CLICK, SWAP_RANK, SWAPPED)
_SALT = 22  # of the random numbers, so that equal seeds of data and clicks are unrelated


@checked
def simulate_clicks(
    table: Table,
    ranker: str | Any = None,
    model: str | Mapping[str, Any] = "position_based",
    *,
    query_id: str = "query_id",
    label: str = "label",
    sessions: PositiveInt = 1,
    top: PositiveInt | None = None,
    ranker_noise: NonNegative = 0.0,
    swaps: Fraction = 0.0,
    noise: Fraction = 0.1,
    attraction: Sequence[Fraction] | None = None,
    seed: int = 0,
) -> Table:
    r"""A click log of graded documents: the rows as they were shown, session by session.

    Adds the columns `session_id` (`<query id>#<number>`), `position` (the shown rank), `click` (0 or 1), `swap_rank`
    and `swapped` (see `swaps`); the others, grades included, are kept.

    An examined document of grade y is clicked with the probability
    $$a = \epsilon + (1 - \epsilon) (2^y - 1) / (2^{y_{max}} - 1)$$

    Args:
        table: documents with a grade of at least 0 each.
        ranker: the column by which documents are shown, highest first (`-name`: lowest first), or scores [rows], for
            instance of a model; None: in random order.
        model: a click model, `{key: user_browsing, eta: 0.5}`.
        query_id: the column of query ids.
        label: the column of grades.
        sessions: how often each query is searched.
        top: the number of documents that are shown; None: all.
        ranker_noise: standard deviation of the noise that each session adds to the ranker's scores, in units of that of
            the scores.
        swaps: the share of sessions in an experiment that swaps the documents at rank 1 and at a rank drawn from 2 to
            the last, `swap_rank`, in one half of them, `swapped`; 0 elsewhere. Sessions that show too few are left out.
        noise: ε, the probability that an irrelevant document is clicked once it is examined.
        attraction: a of grades 0, 1, ... instead of the formula.
        seed: equal seeds give equal logs.

    Raises:
        UserError: for an unknown click model or a wrong parameter.
        DataError: for a missing column, a grade below 0, or columns that the log would overwrite.

    Source: clicks of grades: Ai et al., "Unbiased learning to rank with unbiased propensity estimation" (2018); swaps:
    Joachims, Swaminathan, Schnabel, "Unbiased learning-to-rank with biased feedback" (2017).
    """
    click_model = get_click_model(model)
    existing = next((name for name in LOG_COLUMNS if name in table), None)
    if existing is not None:
        raise DataError(f"{table.source}: has a column {existing!r} already, which the simulated log would replace.")
    rng = np.random.default_rng([seed, _SALT])
    clicked_if_examined = _attraction(table, label, noise, attraction)
    scores = _scores(table, ranker, rng)
    ids = table.strings(query_id)
    order, offsets = group_by_query(ids)
    query = np.empty(len(order), int)
    query[order] = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    rows = np.tile(order, sessions)
    number = np.repeat(np.arange(sessions), len(order))
    session = number * (len(offsets) - 1) + query[rows]
    spread = ranker_noise * float(scores.std())
    shown_scores = rng.random(len(rows)) if ranker is None else scores[rows] + rng.normal(0, spread, len(rows))
    ranks = ranks_in_queries(shown_scores, session)
    kept = np.flatnonzero(ranks <= (top or len(rows)))
    kept = kept[np.lexsort((ranks[kept], session[kept]))]
    rows, number, session, ranks = rows[kept], number[kept], session[kept], ranks[kept]
    swap_rank, swapped = _draw_swaps(rng, session, ranks, swaps)
    ranks = np.where(swapped & (ranks == 1), swap_rank, np.where(swapped & (ranks == swap_rank), 1, ranks))
    by_rank = np.lexsort((ranks, session))
    rows, number, session, ranks = rows[by_rank], number[by_rank], session[by_rank], ranks[by_rank]
    clicks = click_model.sample(clicked_if_examined[rows], ranks, session, rng)
    shown = table.take(rows)
    columns = {
        SESSION: np.char.add(np.char.add(ids[rows].astype(str), "#"), number.astype(str)).astype(object),
        POSITION: ranks,
        CLICK: clicks.astype(int),
        SWAP_RANK: swap_rank[by_rank],
        SWAPPED: swapped[by_rank].astype(int),
    }
    return Table({**shown.columns, **columns}, shown.sources, shown.features, shown.first, shown.origin)


def _attraction(table: Table, label: str, noise: float, by_grade: Sequence[float] | None) -> Array:
    """The probability that each document is clicked once it is examined, [rows]."""
    grades = table.numeric(label, missing=False)
    wrong = grades < 0 if by_grade is None else (grades % 1 != 0) | (grades < 0) | (grades >= len(by_grade))
    if wrong.any():
        row = int(wrong.argmax())
        allowed = "at least 0" if by_grade is None else f"whole numbers below {len(by_grade)}, the size of `attraction`"
        raise DataError(f"{table.locate(row)}, column {label!r}: grades must be {allowed}. Received: {grades[row]:g}.")
    if by_grade is not None:
        return np.asarray(np.asarray(by_grade, float)[grades.astype(int)])
    highest = max(float(grades.max(initial=0.0)), 1.0)
    return np.asarray(noise + (1.0 - noise) * (np.exp2(grades) - 1.0) / (np.exp2(highest) - 1.0))


def _scores(table: Table, ranker: Any, rng: np.random.Generator) -> Array:
    """What the documents are shown by, highest first, [rows]; a missing cell comes last."""
    if ranker is None:
        return np.zeros(len(table))
    if isinstance(ranker, str):
        sign = -1.0 if ranker.startswith("-") and ranker not in table else 1.0
        scores = sign * table.numeric(ranker if sign > 0 else ranker[1:])
        lowest = np.nanmin(scores) if np.isfinite(scores).any() else 0.0
        return np.nan_to_num(scores, nan=lowest - 1.0)
    scores = np.asarray(ranker, float)
    if scores.shape != (len(table),):
        raise UserError(f"`ranker` as scores holds one per row, {len(table)}. Received: an array {scores.shape}.")
    return scores


def _draw_swaps(rng: np.random.Generator, session: Array, ranks: Array, share: float) -> tuple[Array, Array]:
    """The rank that is swapped with rank 1 (0: none), and whether it is, of each row's session."""
    if not share or ranks.max(initial=0) < 2:
        return np.zeros(len(ranks), int), np.zeros(len(ranks), bool)
    number, shown = int(session.max()) + 1, np.bincount(session)
    # Drawn from all ranks, so that the sessions of a rank do not depend on how many documents they show.
    drawn = rng.integers(2, ranks.max() + 1, number)
    taken = (rng.random(number) < share) & (drawn <= shown)
    swapped = taken & (rng.random(number) < 0.5)
    return np.where(taken, drawn, 0)[session], swapped[session]

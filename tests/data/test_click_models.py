"""Click models and simulated logs: sampled clicks follow the closed forms, and logs are what they say."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.clicks.logs import LOG_COLUMNS, simulate_clicks
from ml4ir_losses.data.clicks.models import get_click_model
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.table import Source, Table

ATTRACTION = np.array([0.3, 0.6, 0.2, 0.9, 0.5])
MODELS: list[Any] = [
    {"key": "position_based", "eta": 0.7},
    {"key": "position_based", "propensities": [1.0, 0.5, 0.25]},
    "cascade",
    {"key": "dependent_click", "continuation": [0.9, 0.5]},
    {"key": "user_browsing", "eta": 0.4, "delta": 0.8},
]
NAMES = ["power", "table", "cascade", "dependent_click", "user_browsing"]


def chance_of_click(spec: Any, rank: int, last: int) -> float:
    """The probability that a document of attraction 1 is examined, from the papers, given the last click above it."""
    if spec == "cascade":
        return float(last == 0)
    if "propensities" in spec:
        return float(spec["propensities"][min(rank, 3) - 1])
    if spec["key"] == "position_based":
        return float(rank ** -spec["eta"])
    return float(rank ** -spec["eta"] * (rank - last) ** -spec["delta"])


def enumerated(spec: Any) -> Any:
    """P(click) at each rank by summing over all click patterns, in plain Python."""
    totals = np.zeros(len(ATTRACTION))
    for pattern in itertools.product([0, 1], repeat=len(ATTRACTION)):
        if isinstance(spec, dict) and spec["key"] == "dependent_click":
            chance = dependent_click_pattern(spec["continuation"], pattern)
        else:
            chance, last = 1.0, 0
            for rank, clicked in enumerate(pattern, 1):
                p = ATTRACTION[rank - 1] * chance_of_click(spec, rank, last)
                chance *= p if clicked else 1 - p
                last = rank if clicked else last
        totals += chance * np.array(pattern)
    return totals


def dependent_click_pattern(continuation: list[float], pattern: tuple[int, ...]) -> float:
    """The probability of a pattern: the user may have stopped after the last click only."""
    chance, unclicked, goes_on = 1.0, 1.0, 1.0
    for rank, clicked in enumerate(pattern, 1):
        a = ATTRACTION[rank - 1]
        if clicked:
            chance, unclicked = chance * unclicked * goes_on * a, 1.0
            goes_on = continuation[min(rank, len(continuation)) - 1]
        else:
            unclicked *= 1 - a
    return chance * (1 - goes_on + goes_on * unclicked)


@pytest.mark.parametrize("spec", MODELS, ids=NAMES)
def test_probabilities_are_sums_over_all_click_patterns(spec: Any) -> None:
    ranks, session = np.arange(1, 6), np.zeros(5, int)
    found = get_click_model(spec).probabilities(ATTRACTION, ranks, session)
    np.testing.assert_allclose(found, enumerated(spec), rtol=1e-12)


@pytest.mark.parametrize("spec", MODELS, ids=NAMES)
def test_sampled_clicks_follow_the_probabilities_in_any_order_of_rows(spec: Any) -> None:
    sessions, rng = 40_000, np.random.default_rng(1)
    shuffled = rng.permutation(sessions * 5)
    session, ranks = np.repeat(np.arange(sessions), 5)[shuffled], np.tile(np.arange(1, 6), sessions)[shuffled]
    clicks = get_click_model(spec).sample(ATTRACTION[ranks - 1], ranks, session, rng)
    rates = np.array([clicks[ranks == r].mean() for r in range(1, 6)])
    expected = enumerated(spec)
    error = np.sqrt(expected * (1 - expected) / sessions)
    assert (np.abs(rates - expected) < 4.5 * error + 1e-12).all()
    if spec == "cascade":
        assert np.bincount(session[clicks]).max() == 1


def graded(queries: int = 40, documents: int = 6) -> Table:
    rng = np.random.default_rng(0)
    rows = queries * documents
    columns = {
        "query_id": [f"q{i // documents}" for i in range(rows)],
        "label": rng.integers(0, 4, rows),
        "bm25": rng.permutation(rows) / 10,
    }
    return Table(columns, [Source("grades.csv", rows, lambda row: row + 2)])


def test_log_shows_the_top_documents_of_the_ranker_in_its_order() -> None:
    log = simulate_clicks(graded(), "bm25", top=4, sessions=2)
    assert len(log) == 40 * 4 * 2
    scores, ranks = log.numeric("bm25").reshape(-1, 4), log.numeric("position").reshape(-1, 4)
    assert (np.diff(scores) < 0).all()
    assert (ranks == [1, 2, 3, 4]).all()
    assert len(set(log.strings("session_id"))) == 80
    lowest_first = simulate_clicks(graded(), "-bm25", top=4, sessions=2)
    assert (np.diff(lowest_first.numeric("bm25").reshape(-1, 4)) > 0).all()
    by_scores = simulate_clicks(graded(), graded().numeric("bm25"), top=4, sessions=2)
    np.testing.assert_array_equal(by_scores.numeric("bm25"), log.numeric("bm25"))


def test_clicks_of_a_log_have_the_chance_of_their_grade() -> None:
    table = graded(2000, 3)
    log = simulate_clicks(table, model={"key": "position_based", "eta": 0.0}, noise=0.2, sessions=4)
    grades, clicks = log.numeric("label"), log.numeric("click")
    for grade in range(4):
        chance = 0.2 + 0.8 * (2**grade - 1) / 7
        rate, rows = clicks[grades == grade].mean(), (grades == grade).sum()
        assert abs(rate - chance) < 4.5 * np.sqrt(chance * (1 - chance) / rows) + 1e-12
    given = simulate_clicks(table, model={"key": "position_based", "eta": 0.0}, attraction=[0, 0, 1, 1])
    np.testing.assert_array_equal(given.numeric("click"), given.numeric("label") >= 2)


def test_swaps_exchange_the_first_and_the_drawn_document_in_half_of_the_experiment() -> None:
    log = simulate_clicks(graded(500), "bm25", sessions=4, swaps=0.6)
    scores, drawn = log.numeric("bm25").reshape(-1, 6), log.numeric("swap_rank").reshape(-1, 6)
    swapped = log.numeric("swapped").reshape(-1, 6)
    assert (drawn == drawn[:, :1]).all()
    assert (swapped == swapped[:, :1]).all()
    drawn, swapped = drawn[:, 0].astype(int), swapped[:, 0] > 0
    assert set(drawn) == {0, 2, 3, 4, 5, 6}
    assert not swapped[drawn == 0].any()
    assert abs((drawn > 0).mean() - 0.6) < 0.06
    assert abs(swapped[drawn > 0].mean() - 0.5) < 0.06
    best = -np.sort(-scores, axis=1)
    np.testing.assert_array_equal(scores[~swapped], best[~swapped])
    rows = np.arange(len(scores))
    np.testing.assert_array_equal(scores[swapped, 0], best[rows, np.maximum(drawn - 1, 0)][swapped])
    np.testing.assert_array_equal(scores[rows, np.maximum(drawn - 1, 0)][swapped], best[swapped, 0])


def test_equal_seeds_give_equal_logs_and_noise_changes_the_order() -> None:
    def columns(**options: Any) -> list[Any]:
        log = simulate_clicks(graded(), "bm25", sessions=2, **options)
        return [log.strings(name).tolist() for name in LOG_COLUMNS]

    assert columns(seed=3) == columns(seed=3)
    assert columns(seed=3) != columns(seed=4)
    noisy = simulate_clicks(graded(), "bm25", ranker_noise=1.0).numeric("bm25").reshape(-1, 6)
    assert (np.diff(noisy) > 0).any()


def test_reader_simulates_over_another_format() -> None:
    options = {"source": "synthetic", "source_options": {"queries": 20}}
    log = read_table("train", "clicks", ranker="-shown_rank", model="cascade", top=5, **options)
    graded = read_table("train", "synthetic", queries=20)
    same = simulate_clicks(graded, "-shown_rank", "cascade", top=5)
    np.testing.assert_array_equal(log.strings("click"), same.strings("click"))
    np.testing.assert_array_equal(log.numeric("position"), log.numeric("shown_rank"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "cascad"}, "Unknown click model 'cascad'. Did you mean 'cascade'?"),
        ({"model": {"key": "pbm", "eta": -1}}, "`eta` must be a number of at least 0"),
        ({"noise": 2.0}, "`noise` must be a number from 0 to 1"),
        ({"ranker": "bm52"}, "no column 'bm52'. Did you mean 'bm25'?"),
        ({"ranker": np.zeros(3)}, "one per row, 240. Received: an array"),
        ({"attraction": [0.1, 0.2]}, "grades.csv, line .*whole numbers below 2"),
    ],
)
def test_wrong_parameters_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        simulate_clicks(graded(), **options)


def test_negative_grades_and_columns_of_a_log_are_refused() -> None:
    table = graded(2)
    negative = Table({**table.columns, "label": [-1.0] * 12}, table.sources)
    with pytest.raises(DataError, match=r"grades.csv, line 2, column 'label': grades must be at least 0"):
        simulate_clicks(negative)
    with pytest.raises(DataError, match="has a column 'session_id' already"):
        simulate_clicks(simulate_clicks(table))
    with pytest.raises(UserError, match="has no parameter 'topp'"):
        read_table("train", "clicks", source="synthetic", topp=3)

"""Cells as numbers and times: booleans, dates with and without a zone, the place of the first wrong one."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.memory import memory_table

UTC = dt.UTC


def test_true_and_false_are_one_and_zero():
    table = memory_table({"x": ["true", "FALSE", None, " True "], "b": [True, False, None, True]})
    for name in "xb":
        np.testing.assert_array_equal(table.numeric(name), [1, 0, np.nan, 1])


@pytest.mark.parametrize("cell", ["yes", "t", "truth", "wahr"])
def test_other_words_are_no_booleans(cell):
    with pytest.raises(DataError, match=f"data, row 2, column 'x': '{cell}' is not a number"):
        memory_table({"x": ["1", "2", cell]}).numeric("x")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", dt.datetime(2026, 1, 31, tzinfo=UTC)),
        ("1969-12-31", dt.datetime(1969, 12, 31, tzinfo=UTC)),
        (" 2026-01-31T12:30 ", dt.datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31 12:30:15.25", dt.datetime(2026, 1, 31, 12, 30, 15, 250000, tzinfo=UTC)),
        ("2026-01-31T12:30:15.123456789", dt.datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)),
        ("2026-01-31T12:30:15Z", dt.datetime(2026, 1, 31, 12, 30, 15, tzinfo=UTC)),
        ("2026-01-31T12:30:15+01:00", dt.datetime(2026, 1, 31, 11, 30, 15, tzinfo=UTC)),
        ("2026-01-31T12:30:15-0530", dt.datetime(2026, 1, 31, 18, 0, 15, tzinfo=UTC)),
    ],
)
def test_iso_8601_texts_are_seconds_since_1970(text, moment):
    alone = memory_table({"t": [text, None]}).times("t")
    np.testing.assert_array_equal(alone, [moment.timestamp(), np.nan])
    beside_others = memory_table({"t": ["2026-02-01", "2026-02-01T00:00:00+00:00", text]}).times("t")
    assert beside_others.tolist() == [1769904000, 1769904000, moment.timestamp()]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns", "Europe/Paris")])
def test_arrow_dates_and_timestamps_are_seconds_since_1970(kind):
    day = dt.datetime(2026, 1, 31, tzinfo=UTC)
    cells = pa.array([day.date() if pa.types.is_date(kind) else day, None], kind)
    np.testing.assert_array_equal(memory_table({"t": cells}).times("t"), [day.timestamp(), np.nan])


def test_numbers_are_times_as_they_are():
    rows = {"features": np.array([[5.0], [7.0]]), "label": [0, 1], "qid": [1, 1]}
    for table, name in ((memory_table({"t": ["5", "7"]}), "t"), (memory_table({"t": [5, 7]}), "t")):
        assert table.times(name).tolist() == [5, 7]
    assert memory_table(rows).times("f0").tolist() == [5, 7]


@pytest.mark.parametrize("cell", ["2026-02-30", "31.01.2026", "yesterday", "17"])
def test_first_cell_that_is_no_time_is_named(cell):
    table = memory_table({"t": ["2026-01-31"] * 5 + [cell] + ["2026-01-31T10:00Z"] * 3 + ["no"]})
    with pytest.raises(DataError, match=f"^data, row 5, column 't': '{cell}' is neither a number nor a date such as"):
        table.times("t")


def test_missing_and_infinite_times_are_refused_where_values_are_needed():
    table = memory_table({"t": ["2026-01-31", " "], "x": [1.0, np.inf], "b": [[1], [2]]})
    with pytest.raises(DataError, match="data, row 1, column 't': the cell is empty"):
        table.times("t", missing=False)
    with pytest.raises(DataError, match="data, row 1, column 'x': inf is not finite"):
        table.times("x")
    with pytest.raises(DataError, match="column 'b': it holds list"):
        table.times("b")

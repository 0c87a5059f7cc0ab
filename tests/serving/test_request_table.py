"""Cells of requests are read as those of JSON Lines."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.serving.request_table import RequestTable

NUMBERS = st.floats(-1e30, 1e30) | st.integers(-(2**60), 2**60)
TEXTS = st.sampled_from(["", " ", "a", "Ä b", "1.5", " 2 ", "true", "nan", "1e3", "2024-02-03", "2024-02-03T04:05:06Z"])
COLUMN = st.one_of(
    *(st.lists(st.none() | cell, min_size=1, max_size=6) for cell in (NUMBERS, TEXTS, st.booleans(), NUMBERS | TEXTS))
)


def read(function):
    try:
        return function()
    except DataError as error:
        return error


@given(cells=COLUMN, missing=st.booleans())
def test_cells_are_read_as_those_of_a_file(tmp_path_factory, cells, missing):
    path = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    rows = [{"x": cell} if cell is not None or not missing else {"other": 1} for cell in cells]
    path.write_text("".join(json.dumps({**row, "other": 1}) + "\n" for row in rows))
    table = RequestTable(["x", "other"], rows, [{}] * len(rows), lambda row: f"row {row}")
    file = read(lambda: read_table(str(path)))
    if isinstance(file, DataError):  # cells of several types
        assert all(isinstance(read(f), DataError) for f in (lambda: table.matrix(["x"]), lambda: table.strings("x")))
        return
    if "x" not in file:
        return
    for name in ("strings", "times"):
        expected, found = (read(lambda t=t, name=name: getattr(t, name)("x")) for t in (file, table))
        assert isinstance(found, DataError) == isinstance(expected, DataError)
        if not isinstance(found, DataError):
            np.testing.assert_array_equal(found, expected)
    expected, found = (read(lambda t=t: t.matrix(["x"])) for t in (file, table))
    assert isinstance(found, DataError) == isinstance(expected, DataError)
    if not isinstance(found, DataError):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_a_shared_cell_is_that_of_rows_which_lack_it():
    table = RequestTable(["x", "y"], [{"x": 1.0}, {}, {"x": None}], [{"x": 5.0}] * 3, str)
    np.testing.assert_array_equal(table.matrix(["x", "y"])[:, 0], [1.0, 5.0, np.nan])


def test_an_error_names_the_place_and_the_column():
    table = RequestTable(["x"], [{"x": "1"}, {"x": "one"}], [{}] * 2, lambda row: f"queries[0].documents[{row}]")
    with pytest.raises(DataError, match=r"^queries\[0\]\.documents\[1\], column 'x': 'one' is not a number$"):
        table.matrix(["x"])
    with pytest.raises(DataError, match="column 'x': its cells have several types"):
        RequestTable(["x"], [{"x": 1.0}, {"x": "a"}], [{}] * 2, str).strings("x")

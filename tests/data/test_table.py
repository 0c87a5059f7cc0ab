"""`Table`: numbers and strings with located errors, joining, selecting, writing; grouping by query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.table import Source, Table, group_by_query


def csv_table(folder: Path, text: str, name: str = "a.csv") -> Table:
    path = folder / name
    path.write_text(text)
    return read_table(path)


def typed_table(**columns: object) -> Table:
    rows = len(next(iter(columns.values())))  # type: ignore[arg-type]
    return Table(columns, [Source("memory", rows, lambda row: row + 1)])


def message(error: pytest.ExceptionInfo[DataError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("cell", ["abc", "1,5", "0x10", "1_000", "1 2", "12abc", "none", "--1", "٣"])
def test_text_in_a_numeric_column_raises(tmp_path: Path, cell: str) -> None:
    table = csv_table(tmp_path, f'q,x\n1,1\n2,\n3,"{cell}"\n')
    for read in (table.numeric, lambda name: table.matrix([name])):
        with pytest.raises(DataError) as error:
            read("x")
        assert message(error) == f"{tmp_path / 'a.csv'}, line 4, column 'x': {cell!r} is not a number"


@pytest.mark.parametrize("cell", ["-nan", "NAN", "inf", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_raise(tmp_path: Path, cell: str) -> None:
    table = csv_table(tmp_path, f"q,x\n1,1\n2,{cell}\n")
    with pytest.raises(DataError) as error:
        table.numeric("x")
    expected = f"line 3, column 'x': {cell!r} is not finite; leave the cell empty for a missing value"
    assert message(error).endswith(expected)


def test_numbers_beyond_float32_raise(tmp_path: Path) -> None:
    table = csv_table(tmp_path, "q,x\n1,1\n2,-1e39\n")
    assert table.numeric("x")[1] == -1e39
    with pytest.raises(DataError, match="line 3, column 'x': '-1e39' is beyond float32"):
        table.matrix(["q", "x"])


def test_all_spellings_of_numbers_are_read(tmp_path: Path) -> None:
    table = csv_table(tmp_path, 'x\n1\n-1.5\n+2\n.5\n3.\n1e3\n 7 \n"8"\n007\n')
    numbers = table.numeric("x")
    assert numbers.dtype == np.float64
    assert numbers.tolist() == [1, -1.5, 2, 0.5, 3, 1000, 7, 8, 7]
    assert table.strings("x").tolist()[-1] == "007"


def test_missing_cells_are_nan_or_raise(tmp_path: Path) -> None:
    table = csv_table(tmp_path, 'q,x\na,1\nb,\nc,""\nd,  \n')
    np.testing.assert_array_equal(table.numeric("x"), [1, np.nan, np.nan, np.nan])
    assert table.strings("x").tolist() == ["1", "", "", "  "]
    for read in (table.numeric, table.strings):
        with pytest.raises(DataError) as error:
            read("x", missing=False)
        assert "line 3, column 'x': the cell is empty" in message(error)
    assert table.strings("q", missing=False).tolist() == ["a", "b", "c", "d"]
    assert np.isnan(csv_table(tmp_path, "q,x\na,\nb,\n").numeric("x")).all()


def test_unknown_column_names_the_nearest_one(tmp_path: Path) -> None:
    table = csv_table(tmp_path, "query,price,f1\n1,2,3\n")
    for read in (table.numeric, table.strings, lambda name: table.matrix([name])):
        with pytest.raises(DataError) as error:
            read("prise")
        assert "has no column 'prise'. Did you mean 'price'? It has: query, price, f1." in message(error)
    with pytest.raises(DataError, match="no column 'f2'"):  # absent is 0 in svmlight only
        table.matrix(["f1", "f2"])


def test_unknown_column_message_shortens_many_columns() -> None:
    table = typed_table(**{f"column{i}": [1.0] for i in range(100)})
    with pytest.raises(DataError, match=r"column29 and 70 more\.$"):
        table.numeric("zzz")


def test_typed_columns_convert_to_numbers_and_strings() -> None:
    table = typed_table(
        i=np.array([1, 2]), x=np.array([0.5, np.nan]), b=[True, False], t=["a", None], n=pa.array([None, 3.0]),
        inf=[1.0, np.inf], day=pa.array([1, 2], pa.date32()), big=pa.array(["1", "2"], pa.large_string()),
    )  # fmt: skip
    assert table.numeric("i").tolist() == [1, 2]
    np.testing.assert_array_equal(table.numeric("x"), [0.5, np.nan])
    np.testing.assert_array_equal(table.numeric("n"), [np.nan, 3])
    assert table.numeric("b").tolist() == [1, 0]
    assert table.numeric("big").tolist() == [1, 2]
    assert [table.strings(name).tolist() for name in "ixbtn"] == [
        ["1", "2"], ["0.5", ""], ["true", "false"], ["a", ""], ["", "3"],
    ]  # fmt: skip
    with pytest.raises(DataError, match="memory, line 2, column 'inf': inf is not finite"):
        table.numeric("inf")
    with pytest.raises(DataError, match="column 'day': it holds date32"):
        table.numeric("day")


def test_columns_of_different_lengths_raise() -> None:
    with pytest.raises(DataError, match="column 'b' has 1 cells for 2 rows"):
        typed_table(a=[1, 2], b=[1])


def test_take_and_concat_keep_file_and_line(tmp_path: Path) -> None:
    first = csv_table(tmp_path, "q,x\na,1\nb,2\n", "one.csv")
    second = csv_table(tmp_path, "x,q\n3,c\n\n4,d\noops,e\n", "two.csv")
    table = Table.concat([first.take([1]), second.take([2, 1]), first])
    assert table.names == ["q", "x"]
    assert table.strings("q").tolist() == ["b", "e", "d", "a", "b"]
    places = ["one.csv, line 3", "two.csv, line 5", "two.csv, line 4", "one.csv, line 2", "one.csv, line 3"]
    assert [table.locate(row) for row in range(5)] == [str(tmp_path / place) for place in places]
    assert table.source == f"{tmp_path / 'one.csv'} and 1 more"
    with pytest.raises(DataError, match=r"two\.csv, line 5, column 'x': 'oops'"):
        table.numeric("x")
    rest = table.take(np.array([True, False, True, False, False]))
    assert rest.numeric("x").tolist() == [2, 4]
    assert rest.locate(1) == str(tmp_path / "two.csv, line 4")
    assert len(table.take([])) == 0


def test_concat_of_different_columns_raises(tmp_path: Path) -> None:
    first = csv_table(tmp_path, "q,x\na,1\n", "one.csv")
    second = csv_table(tmp_path, "q,y\na,1\n", "two.csv")
    with pytest.raises(DataError, match=r"two\.csv has no column 'x', which .*one\.csv has"):
        Table.concat([first, second])
    with pytest.raises(DataError, match=r"one\.csv has no column 'y', which .*two\.csv has"):
        Table.concat([first, Table({**second.columns, **first.columns}, second.sources)])
    (tmp_path / "three.txt").write_text("1 qid:1 1:2\n")
    with pytest.raises(DataError, match="different formats"):
        read_table([tmp_path / "one.csv", tmp_path / "three.txt"])


def test_concat_of_svmlight_files_fills_absent_features_with_zero(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 qid:1 1:2 # docid = x\n0 qid:1\n")
    (tmp_path / "b.txt").write_text("0 qid:2 0:5 3:4 # docid = y\n")
    table = read_table(tmp_path / "*.txt")
    assert table.names == ["label", "qid", "f0", "f1", "f2", "f3"]  # a row of a.txt has no document id
    np.testing.assert_array_equal(
        table.matrix(["f0", "f1", "f2", "f3", "f4"]), [[0, 2, 0, 0, 0], [0] * 5, [5, 0, 0, 4, 0]]
    )
    picked = table.take([2, 0])
    np.testing.assert_array_equal(picked.matrix(["f1", "f3"]), [[0, 4], [2, 0]])
    assert picked.locate(0) == f"{tmp_path / 'b.txt'}, line 1"


def test_csv_round_trip_keeps_every_cell(tmp_path: Path) -> None:
    cells = ["plain", 'quo"te', "com,ma", "two\nlines", "ünï", "", " space "]
    table = typed_table(t=cells, x=[1.5, np.nan, 1e-7, 3.0, -2.0, 1e20, 0.1], i=range(7))
    path = tmp_path / "new" / "a.csv"
    table.to_csv(path)
    table.to_csv(path)  # over an existing file
    reread = read_table(path)
    assert reread.names == ["t", "x", "i"]
    for name in reread.names:
        assert reread.strings(name).tolist() == table.strings(name).tolist()
    np.testing.assert_array_equal(reread.numeric("x"), table.numeric("x"))
    assert [file.name for file in path.parent.iterdir()] == ["a.csv"]


def test_svmlight_written_as_csv_keeps_every_feature(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 qid:1 1:0.1 3:7\n")
    table = read_table(tmp_path / "a.txt")
    table.to_csv(tmp_path / "a.csv")
    reread = read_table(tmp_path / "a.csv")
    assert reread.names == ["label", "qid", "f1", "f2", "f3"]
    np.testing.assert_array_equal(reread.matrix(["f1", "f2", "f3"]), table.matrix(["f1", "f2", "f3"]))


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    path = tmp_path / "a.csv"
    path.write_text("old")
    monkeypatch.setattr("ml4ir_losses.data.table.pacsv.write_csv", fail)
    with pytest.raises(DataError, match="disk full"):
        typed_table(x=[1]).to_csv(path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "ids",
    [["b", "a", "b", "c", "a"], [2, 1, 2, 9, 1], np.array(["b", "a", "b", "c", "a"]), np.array([7, -1, 7, 3, -1])],
)
def test_group_by_query_keeps_first_appearance_order(ids: object) -> None:
    order, offsets = group_by_query(ids)  # type: ignore[arg-type]
    assert order.tolist() == [0, 2, 1, 4, 3]
    assert offsets.tolist() == [0, 2, 4, 5]


def test_group_by_query_of_no_rows_is_empty() -> None:
    order, offsets = group_by_query([])
    assert (order.tolist(), offsets.tolist()) == ([], [0])


def test_group_by_query_agrees_with_a_loop() -> None:
    ids = np.random.default_rng(0).integers(0, 30_000, 1_000_000)
    order, offsets = group_by_query(ids)
    groups: dict[int, list[int]] = {}
    for row, query in enumerate(ids.tolist()):
        groups.setdefault(query, []).append(row)
    assert np.array_equal(order, np.concatenate(list(groups.values())))
    assert np.array_equal(np.diff(offsets), [len(rows) for rows in groups.values()])

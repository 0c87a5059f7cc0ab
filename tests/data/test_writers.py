"""Writers: what is written reads back the same, and nothing is left after an error."""

import numpy as np
import pytest

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.writers import write_chunks


def small(start=0, **columns):
    """Three queries of two documents, from number `start` on."""
    ids = [f"q{start + i // 2}" for i in range(6)]
    return memory_table({"query_id": ids, "label": [2, 0, 1, 0, 3, 1], "price": np.arange(6) / 7 + start, **columns})


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.csv.zst", "memory://writers/a.csv.gz"])
def test_csv_reads_back_the_same_numbers(name, tmp_path):
    path = name if "://" in name else str(tmp_path / name)
    texts = ['a "quoted", cell', "", None, "tab\there", "x", "y"]
    table = small(title=texts, exact=np.float32([0.1, 1e-30, np.nan, 3.4e38, -0.5, 16777217]))
    assert write_chunks(path, [table, table.take([0, 1])], overwrite=True) == 8
    read = read_table(path)
    assert read.names == table.names
    np.testing.assert_array_equal(read.numeric("price")[:6], table.numeric("price"))
    np.testing.assert_array_equal(read.matrix(["exact"])[:6], table.matrix(["exact"]))
    assert list(read.strings("title")[:6]) == ['a "quoted", cell', "", "", "tab\there", "x", "y"]


def test_lists_in_csv_need_a_separator(tmp_path):
    table = small(tags=[["a", "b"], [], None, ["c"], ["d"], ["e"]])
    with pytest.raises(DataError, match=r"column 'tags': csv cannot hold lists.*--exclude tags"):
        write_chunks(tmp_path / "a.csv", [table])
    assert not list(tmp_path.iterdir())
    write_chunks(tmp_path / "a.csv", [table], list_separator="|")
    assert list(read_table(str(tmp_path / "a.csv")).strings("tags")[:3]) == ["a|b", "", ""]


def failing():
    yield small()
    raise KeyboardInterrupt


@pytest.mark.parametrize("folder", ["memory://interrupted", None])
def test_interrupted_write_leaves_what_was_there(folder, tmp_path):
    path = f"{folder or tmp_path}/a.csv"
    write_chunks(path, [small(5)])
    with pytest.raises(KeyboardInterrupt):
        write_chunks(path, failing(), overwrite=True)
    assert read_table(path).strings("query_id")[0] == "q5"
    assert [item.name for item in tmp_path.iterdir()] == ([] if folder else ["a.csv"])


def test_existing_file_is_kept(tmp_path):
    write_chunks(tmp_path / "a.csv", [small()])
    with pytest.raises(DataError, match=r"a\.csv exists"):
        write_chunks(tmp_path / "a.csv", [small(5)])
    assert read_table(str(tmp_path / "a.csv")).strings("query_id")[0] == "q0"


def test_wrong_format_and_option_are_named(tmp_path):
    with pytest.raises(DataError, match=r"ending of '.*a\.xyz' does not tell"):
        write_chunks(tmp_path / "a.xyz", [small()])
    with pytest.raises(UserError, match=r"output format 'csv' has no parameter 'delimeter'\. Did you mean 'delimiter'"):
        write_chunks(tmp_path / "a.csv", [small()], delimeter=";")
    with pytest.raises(DataError, match="no rows"):
        write_chunks(tmp_path / "a.csv", [])
    assert not list(tmp_path.iterdir())

"""Rows that do not fit into memory: blocks of whole queries, rows that are not adjacent, files that are in the way."""

import re

import numpy as np
import pyarrow as pa
import pytest
from test_store import largest_file

from ml4ir_losses.config.in_memory import InMemory
from ml4ir_losses.core.errors import ConfigError, DataError
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.data.nested import unnest, unnest_chunks
from ml4ir_losses.data.queries import EncodedRows, Roles, make_queries
from ml4ir_losses.data.streaming import reading, sorting
from ml4ir_losses.data.streaming.reading import (
    QueryStarts,
    RowSource,
    ScatteredRows,
    query_blocks,
    read_within,
    with_blocks,
)
from ml4ir_losses.data.table import Table

SMALL = 4_000  # bytes of a chunk


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    for module in (reading, sorting):
        monkeypatch.setattr(module, "CHUNK_BYTES", SMALL)


def lines(ids, seed=0):
    rng = np.random.default_rng(seed)
    return [(f"q{query}", int(rng.integers(3)), f"d{i}", f"{rng.random():.3f}") for i, query in enumerate(ids)]


def write_csv(path, ids, seed=0):
    rows = [",".join(map(str, row)) for row in lines(ids, seed)]
    path.write_text("\n".join(["query_id,label,doc,x", *rows]) + "\n")
    return path


def write_svmlight(path, ids, seed=0):
    """Later rows have more features than the first."""
    rows = [
        f"{label} qid:{query[1:]} 1:{x} {2 + i * 7 // len(ids)}:{x} #docid = {document}"
        for i, (query, label, document, x) in enumerate(lines(ids, seed))
    ]
    path.write_text("\n".join(rows) + "\n")
    return path


def scattered(rows=900, queries=40):
    return np.random.default_rng(3).integers(0, queries, rows)


def adjacent(rows=900, queries=40):
    return np.sort(scattered(rows, queries))


def queries_of(table, names):
    query_id, document_id = ("qid", "document_id") if "qid" in table else ("query_id", "doc")
    return make_queries(
        table, Roles(query_id, "label", document_id=document_id), EncodedRows({"x": table.matrix(names)})
    )


def assert_same_queries(parts, whole):
    for name in ("ids", "document_ids"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))
    np.testing.assert_array_equal(np.concatenate([part.sizes for part in parts]), whole.sizes)
    np.testing.assert_array_equal(np.concatenate([part.features["x"] for part in parts]), whole.features["x"])
    np.testing.assert_array_equal(np.concatenate([part.labels["label"] for part in parts]), whole.labels["label"])


@pytest.mark.parametrize("order", [scattered, adjacent])
@pytest.mark.parametrize(("write", "names"), [(write_csv, ["x"]), (write_svmlight, [f"f{i}" for i in range(1, 9)])])
def test_blocks_of_chunks_give_the_queries_of_the_whole_table(tmp_path, write, names, order):
    ids = order()
    write(tmp_path / "a.txt", ids[:500])
    write(tmp_path / "b.txt", ids[500:], seed=1)  # a query may go on in the next file
    source = RowSource([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")], "csv" if write is write_csv else "svmlight")
    query_id = "query_id" if write is write_csv else "qid"
    assert len(list(source.chunks())) > 5
    with_blocks(
        source,
        source.chunks(),
        query_id,
        1e9,
        lambda blocks: assert_same_queries(
            [queries_of(block, names) for block in blocks], queries_of(source.table(), names)
        ),
        tmp_path / "temporary",
    )
    assert not (tmp_path / "temporary").exists() or not list((tmp_path / "temporary").iterdir())


def test_sorting_is_said_and_keeps_the_places_of_rows(tmp_path, caplog):
    ids = scattered()
    source = RowSource(str(write_csv(tmp_path / "a.csv", ids)))

    def places(blocks):
        return [(cell, block.locate(row)) for block in blocks for row, cell in enumerate(block.strings("doc"))]

    with caplog.at_level("INFO", "ml4ir_losses"):
        found = with_blocks(source, source.chunks(), "query_id", 0, places, tmp_path / "temporary")
    assert "a.csv: the rows of a query are not adjacent; they are sorted on disk, in " in caplog.text
    for document, place in (found[0], found[7], found[-1]):
        assert place == f"{tmp_path / 'a.csv'}, line {int(document[1:]) + 2}"


def test_columns_of_different_types_become_text_when_sorted(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"query_id": 1, "x": 1}\n{"query_id": 2, "x": 2}\n')
    (tmp_path / "b.jsonl").write_text('{"query_id": 1, "x": 1.5}\n{"query_id": null, "x": null}\n')
    tables = [
        memory_table({"query_id": [1, 2], "x": [1, 2]}),
        memory_table({"query_id": [1, None], "x": [1.5, None]}),
    ]
    with sorting.sorted_by_query(lambda: iter(tables), "query_id", 0, tmp_path) as chunks:
        table = Table.concat(list(chunks))
    assert table.strings("query_id").tolist() == ["1", "1", "2", ""]
    assert table.strings("x").tolist() == Table.concat(tables).take([0, 2, 1, 3]).strings("x").tolist()


def test_files_with_other_columns_cannot_be_sorted_together(tmp_path):
    tables = [memory_table({"query_id": [1], "x": [1]}), memory_table({"query_id": [1], "y": [1]})]
    with (
        pytest.raises(DataError, match=r"not all files have the column '[xy]'"),
        sorting.sorted_by_query(lambda: iter(tables), "query_id", 0, tmp_path),
    ):
        pass


@pytest.mark.parametrize("place", ["chunks", "blocks"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("line 3: wrong")])
def test_temporary_files_of_sorting_are_removed_after_an_error(tmp_path, place, error):
    tables = [memory_table({"query_id": [1, 2, 1], "x": [1, 2, 3]})]

    def chunks():
        yield from tables
        if place == "chunks":
            raise error

    def fail():
        with sorting.sorted_by_query(chunks, "query_id", 0, tmp_path) as rows:
            next(rows)
            raise error

    with pytest.raises(type(error)):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [1_000, 300_000])  # too small for the rows as they are read; for those being sorted
def test_full_disk_while_sorting_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, size):
    monkeypatch.setattr(sorting, "_MEMORY", 32 << 20)
    rng = np.random.default_rng(0)
    rows = 200_000
    table = memory_table({"query_id": rng.integers(0, 1000, rows), "x": rng.random(rows), "text": ["x" * 100] * rows})

    def chunks():
        return (table.slice(i, i + 1000) for i in range(0, rows, 1000))

    with (
        pytest.raises(DataError, match="rows cannot be sorted there") as error,
        largest_file(size),
        sorting.sorted_by_query(chunks, "query_id", 0, tmp_path) as ordered,
    ):
        list(ordered)
    assert str(error.value).startswith(f"{tmp_path}: ")
    assert "Set data.cache to a folder with more space" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_query_that_comes_again_is_found_wherever_it_is():
    def blocks(ids):
        return list(query_blocks((memory_table({"query_id": part}) for part in np.array_split(ids, 7)), "query_id"))

    ids = np.repeat(np.arange(100), 3).astype(str)
    assert sum(len(block) for block in blocks(ids)) == 300
    for place in (4, 150, 299):
        wrong = ids.copy()
        wrong[place] = "0"
        if place != 299:
            wrong[place] = "99"
        with pytest.raises(ScatteredRows):
            blocks(wrong)


def test_starts_of_queries_are_found_over_chunks():
    queries = QueryStarts()
    starts = [queries.add(np.array(part, object)).tolist() for part in (["a", "a", "b"], ["b"], ["c", "d"])]
    assert (starts, len(queries), queries.scattered) == ([[0, 2], [], [0, 1]], 4, False)
    queries.add(np.array(["a"], object))
    assert (len(queries), queries.scattered) == (4, True)


def test_long_query_is_one_block_or_one_line(tmp_path):
    ids = np.array([0] * 3 + [1] * 2000 + [2] * 3)
    source = RowSource(str(write_csv(tmp_path / "a.csv", ids)))
    blocks = list(query_blocks(source.chunks(), "query_id"))
    assert [len(block) for block in blocks if "q1" in block.strings("query_id")] == [2000]
    with pytest.raises(DataError, match=r"line 5: query 'q1' has more than .* documents, which do not fit into"):
        list(query_blocks(source.chunks(), "query_id", limit=100))


def test_data_within_the_limit_are_one_table_read_once(tmp_path, monkeypatch):
    source = RowSource(str(write_csv(tmp_path / "a.csv", adjacent())))
    reads = []
    original = reading.read_chunks
    monkeypatch.setattr(reading, "read_chunks", lambda *args, **options: reads.append(1) or original(*args, **options))
    table = read_within(source, 1e9)
    assert isinstance(table, Table)
    chunks = read_within(source, 10_000)
    assert sum(len(chunk) for chunk in chunks) == len(table)
    assert len(reads) == 2


def test_rows_are_streamed_as_soon_as_the_share_that_was_read_tells_their_size(tmp_path, monkeypatch):
    source = RowSource(str(write_csv(tmp_path / "a.csv", adjacent())))
    seen = []
    chunks = RowSource.chunks
    monkeypatch.setattr(RowSource, "chunks", lambda self: (seen.append(chunk) or chunk for chunk in chunks(self)))
    monkeypatch.setattr(RowSource, "share_read", lambda self, sizes: 0.1)
    limit = 10 * reading.COPIES * SMALL
    assert not isinstance(read_within(source, limit), Table)
    assert len(seen) == 4


def test_share_that_was_read_counts_the_files_before(tmp_path):
    from ml4ir_losses.data.files import open_binary

    paths = [str(write_csv(tmp_path / f"{name}.csv", adjacent())) for name in "abc"]
    source = RowSource(paths)
    sizes = source.sizes()
    assert source.share_read(sizes) is None
    with open_binary(paths[1]) as file:
        file.read(sizes[paths[1]] // 2)
        file.seek(sizes[paths[1]] // 2)
        assert source.share_read(sizes) == pytest.approx(0.5, abs=0.01)
    assert source.share_read(sizes) is None


def test_data_in_memory_are_never_streamed():
    assert isinstance(read_within(RowSource({"query_id": ["a"], "x": [1]}), 0), Table)


def test_data_without_rows_say_why():
    nested = memory_table({"query": ["a"], "label": pa.array([[]], pa.list_(pa.int64()))})
    with pytest.raises(DataError, match="every list is empty"):
        read_within(RowSource([InMemory(nested, "x")]), 0)


def test_wrong_options_are_errors_of_the_config(tmp_path):
    source = RowSource(str(write_csv(tmp_path / "a.csv", adjacent())), "csv", {"delimeter": ","})
    with pytest.raises(ConfigError, match=re.escape("data.options")):
        list(source.chunks())


def test_nested_rows_are_numbered_over_chunks():
    def nested(*queries):
        return memory_table({"text": [f"t{i}" for i in range(len(queries))], "label": list(queries)})

    whole = unnest(nested([1, 2], [0], [3, 4]))
    chunks = list(unnest_chunks([nested([1, 2]), nested([]), nested([0], [3, 4])]))
    assert Table.concat(chunks).strings("label").tolist() == whole.strings("label").tolist()
    assert Table.concat(chunks).strings("query_id").tolist() == ["0", "0", "2", "3", "3"]

"""Every format of data files: the same rows, streamed, compressed, behind URLs, and the message of a damaged file."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from markdown_blocks import ROOT
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import READERS
from ml4ir_losses.data.nested import unnest
from ml4ir_losses.data.readers import read_chunks, read_table
from ml4ir_losses.data.table import Table

COUNT = 300
ROWS: dict[str, list[Any]] = {
    "query_id": [f"q{i // 7}" for i in range(COUNT)],
    "label": [i % 4 for i in range(COUNT)],
    "price": [None if i % 9 == 0 else i / 8 for i in range(COUNT)],
    "title": [f"mug {i}, „rot”" for i in range(COUNT)],
}
TABLE = pa.table(ROWS)


def as_csv(delimiter: str) -> bytes:
    sink = pa.BufferOutputStream()
    pacsv.write_csv(TABLE, sink, pacsv.WriteOptions(delimiter=delimiter))
    return sink.getvalue().to_pybytes()


def as_stream() -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=50)
    return sink.getvalue().to_pybytes()


def written(write: Callable[[pa.Table, Any], Any]) -> bytes:
    sink = pa.BufferOutputStream()
    write(TABLE, sink)
    return sink.getvalue().to_pybytes()


FILES: dict[str, Callable[[], bytes]] = {
    "rows.csv": lambda: as_csv(","),
    "rows.tsv": lambda: as_csv("\t"),
    "rows.jsonl": lambda: "".join(json.dumps(row) + "\n" for row in TABLE.to_pylist()).encode(),
    "rows.parquet": lambda: written(lambda table, sink: pq.write_table(table, sink, row_group_size=100)),
    "rows.feather": lambda: written(feather.write_feather),
    "rows.arrow": as_stream,
}
SVMLIGHT = "".join(f"{i % 4} qid:{i // 7} 1:{i / 8} 2:{-i}\n" for i in range(COUNT)).encode()
COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("arrow_chunks", "readers.parquet", "readers.svmlight"):
        monkeypatch.setattr(f"ml4ir_losses.data.{module}.CHUNK_BYTES", 2000)
    for module in ("delimited", "readers.jsonl", "readers.svmlight"):
        monkeypatch.setattr(f"ml4ir_losses.data.{module}._BLOCK_BYTES", 2000)


def error_message(path: str, **options: Any) -> str:
    """The message of the `DataError`, after a check that it is one line and names the file."""
    with pytest.raises(DataError) as caught:
        read_table(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert path in message
    return message


def check(table: Table) -> None:
    assert table.names == list(ROWS)
    assert table.strings("query_id").tolist() == ROWS["query_id"]
    assert table.numeric("label", missing=False).tolist() == ROWS["label"]
    np.testing.assert_array_equal(table.numeric("price"), np.array(ROWS["price"], float))
    assert table.strings("title").tolist() == ROWS["title"]


@pytest.mark.parametrize("name", FILES)
def test_same_rows_come_from_every_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name]())
    check(read_table(str(tmp_path / name)))


@pytest.mark.parametrize("name", FILES)
def test_rows_come_in_chunks_that_know_their_places(tmp_path: Path, name: str, small_chunks: None) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name]())
    chunks = list(read_chunks(str(path)))
    assert len(chunks) > 3
    check(Table.concat(chunks))
    first = {"csv": 2, "tsv": 2, "jsonl": 1}.get(path.suffix[1:], 0)
    unit = "row" if first == 0 else "line"
    places = [chunk.locate(row) for chunk in chunks for row in range(0, len(chunk), 40)]
    starts = np.cumsum([0, *map(len, chunks)])
    rows = [start + row for start, chunk in zip(starts, chunks, strict=False) for row in range(0, len(chunk), 40)]
    assert places == [f"{path}, {unit} {row + first}" for row in rows]


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("name", FILES)
def test_every_format_is_read_behind_urls_compressed_and_by_globs(name: str, compression: str) -> None:
    memory, content = fsspec.filesystem("memory"), COMPRESS[compression](FILES[name]())
    for file in ("a", "b"):
        memory.pipe(f"/formats{compression}/{file}{name}{compression}", content)
    check(read_table(f"memory://formats{compression}/a{name}{compression}"))
    both = read_table(f"memory://formats{compression}/*{name}{compression}")
    assert both.strings("title").tolist() == ROWS["title"] * 2


@pytest.mark.parametrize("compression", COMPRESS)
def test_svmlight_is_read_behind_urls_compressed_and_in_chunks(compression: str, small_chunks: None) -> None:
    path = f"memory://svmlight/rows.txt{compression}"
    fsspec.filesystem("memory").pipe(path, COMPRESS[compression](SVMLIGHT))
    chunks = list(read_chunks(path))
    assert len(chunks) > 3
    table = Table.concat(chunks)
    assert table.names == ["label", "qid", "f1", "f2"]
    assert table.numeric("f1").tolist() == [i / 8 for i in range(COUNT)]
    assert table.numeric("f2").tolist() == [-float(i) for i in range(COUNT)]
    assert table.strings("qid").tolist() == [str(i // 7) for i in range(COUNT)]
    assert table.locate(COUNT - 1) == f"{path}, line {COUNT}"


@pytest.mark.parametrize("name", [*FILES, "rows.txt"])
@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_truncated_compressed_files_are_one_clear_line(tmp_path: Path, name: str, compression: str) -> None:
    content = COMPRESS[compression](FILES[name]() if name in FILES else SVMLIGHT)
    path = tmp_path / f"{name}{compression}"
    path.write_bytes(content[: len(content) * 2 // 3])
    assert "cannot be read: " in error_message(str(path))


@pytest.mark.parametrize("name", ["rows.parquet", "rows.feather", "rows.arrow"])
def test_binary_files_that_are_cut_off_are_one_clear_line(tmp_path: Path, name: str) -> None:
    content = FILES[name]()
    path = tmp_path / name
    path.write_bytes(content[: len(content) // 2])
    kind = "Parquet" if name.endswith("parquet") else "Arrow"
    reason = "cannot be read: Expected to be able to read" if path.suffix == ".arrow" else f"is no {kind} file, or a"
    assert f"{path} {reason}" in error_message(str(path))
    path.write_bytes(b"")
    assert error_message(str(path)) == f"{path} is empty."
    path.write_bytes(b"query_id,label\n1,2\n")
    assert f"{path} is no {kind} file" in error_message(str(path))


@pytest.mark.parametrize("name", ["rows.parquet", "rows.feather"])
def test_binary_files_without_rows_or_with_a_column_twice_raise(tmp_path: Path, name: str) -> None:
    write = pq.write_table if name.endswith("parquet") else feather.write_feather
    path = str(tmp_path / name)
    write(TABLE.slice(0, 0), path)
    assert error_message(path) == f"{path} has no data rows."
    if name.endswith("parquet"):
        write(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
        assert "the column 'a' occurs twice" in error_message(path)


# JSON Lines


def jsonl(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "a.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_jsonl_keeps_numbers_and_texts_as_written(tmp_path: Path) -> None:
    text = '\ufeff{"id": 9007199254740993, "date": "2024-01-31", "x": 1, "ok": true}\n\n{"x": 2.5, "id": null}\n'
    table = read_table(jsonl(tmp_path, text))
    assert table.strings("id").tolist() == ["9007199254740993", ""]
    assert table.strings("date").tolist() == ["2024-01-31", ""]
    assert table.numeric("x").tolist() == [1, 2.5]
    assert table.locate(1).endswith("line 3")


@pytest.mark.parametrize("kept_bytes", [0, 1 << 20])
def test_jsonl_columns_and_types_are_those_of_the_whole_file(
    tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    monkeypatch.setattr("ml4ir_losses.data.readers.jsonl._KEPT_BYTES", kept_bytes)
    lines = ['{"a": 1, "c": []}'] * 400 + ['{"a": 1.5, "b": "x", "c": [2]}']
    chunks = list(read_chunks(jsonl(tmp_path, "\n".join(lines))))
    assert len(chunks) > 2
    assert {str(chunk.columns["a"].type) for chunk in chunks} == {"double"}
    assert all(chunk.names == ["a", "c", "b"] for chunk in chunks)
    assert Table.concat(chunks).strings("b").tolist()[-2:] == ["", "x"]


@pytest.mark.parametrize(
    "line",
    [
        '{"query": "mug", "documents": [{"title": "a", "price": 1}, {"title": "b", "price": null}], "label": [1, 0]}',
        '{"query": "mug", "documents": [{"title": "a", "price": 1}, {"title": "b"}], "label": [1, 0]}',
        '{"query": "mug", "title": ["a", "b"], "price": [1, null], "label": [1, 0]}',
        '{"query": "mug", "documents": {"title": ["a", "b"], "price": [1, null]}, "label": [1, 0]}',
    ],
)
def test_jsonl_with_a_query_per_line_gives_a_row_per_document(tmp_path: Path, line: str) -> None:
    table = unnest(read_table(jsonl(tmp_path, f"{line}\n{line.replace('mug', 'cup')}\n")))
    assert table.strings("query").tolist() == ["mug", "mug", "cup", "cup"]
    assert table.strings("title").tolist() == ["a", "b"] * 2
    np.testing.assert_array_equal(table.numeric("price"), [1, np.nan] * 2)
    assert table.numeric("label").tolist() == [1, 0] * 2
    assert table.strings("query_id").tolist() == ["0", "0", "1", "1"]
    assert table.locate(2).endswith("line 2")


@pytest.mark.parametrize("kept_bytes", [0, 1 << 20])
@pytest.mark.parametrize(
    "lists",
    [
        [[None, 2], [3]],
        [[], [None, None, 1.5]],
        [[None, "a"], None, [None]],
        [[None, None], []],
        [[None, {"a": 1}], [{"a": 2}]],
        [[{"a": [None, True]}, {"a": None}], []],
    ],
)
def test_jsonl_keeps_nulls_at_the_start_of_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: list[list[object] | None], kept_bytes: int
) -> None:
    monkeypatch.setattr("ml4ir_losses.data.readers.jsonl._KEPT_BYTES", kept_bytes)
    rows = [{"x": cells, "n": 1} for cells in lists]
    table = read_table(jsonl(tmp_path, "\n".join(map(json.dumps, rows))))
    (column,) = (cells for name, cells in table.columns.items() if name != "n")
    expected = [
        None if cells is None else [cell["a"] if isinstance(cell, dict) else cell for cell in cells] for cells in lists
    ]
    assert column.to_pylist() == expected


def test_field_of_nested_documents_keeps_its_name_unless_it_is_taken(tmp_path: Path) -> None:
    table = unnest(read_table(jsonl(tmp_path, '{"id": "q", "docs": [{"id": "a", "vector": [1, 2]}]}\n')))
    assert table.strings("id").tolist() == ["q"]
    assert table.strings("docs.id").tolist() == ["a"]
    assert table.columns["vector"].to_pylist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n\n{"a": "x"}\n', "line 3, column 'a': a string here, a number on line 1; write all as one type"),
        ('{"a": [1]}\n{"a": true}\n', "line 2, column 'a': true or false here, a list on line 1"),
        ('{"d": [{"p": 1}]}\n{"d": [{"p": "x"}]}\n', "line 2, column 'd[].p': a string here, a number on line 1"),
        ('{"a": 1}\n{"a": 1\n', "line 2: is not a JSON object: Expecting ',' delimiter (character 8)"),
        ('{"a": 1} {"a": 2}\n', "line 1: is not a JSON object: Extra data (character 10)"),
        ('[{"a": 1},\n{"a": 2}]\n', "a file that is one list becomes lines with: jq -c '.[]' FILE > NEW"),
        ('[{"a": 1}, {"a": 2}]', "a file that is one list becomes lines with: jq -c '.[]' FILE > NEW"),
        ('{"a": 1}\n7\n', "line 2: is not a JSON object. Received: '7'"),
        ('{"a": 1, "a": 2}\n', "line 1: 'a' occurs twice in an object"),
        ('{"a": 1}\n{"a": 18446744073709551615}\n', "line 2: the integer '18446744073709551615' does not fit"),
        (b'{"a": "x"}\n{"a": "\xff"}\n', "line 2: the text is not utf-8"),
        ("\n \n", "has no data rows"),
        ("", "is empty"),
    ],
)
def test_jsonl_malformed_line_is_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in error_message(jsonl(tmp_path, text))


def test_jsonl_mixed_types_in_different_blocks_name_both_lines(tmp_path: Path, small_chunks: None) -> None:
    path = jsonl(tmp_path, '{"a": 1}\n' * 900 + '{"a": "x"}\n')
    assert "line 901, column 'a': a string here, a number on line 1" in error_message(path)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_nested_lists_of_different_lengths_name_row_and_columns(tmp_path: Path, ending: str) -> None:
    rows = [{"q": "a", "t": ["x"], "y": [1]}, {"q": "b", "t": ["x", "y"], "y": [1]}]
    path = str(tmp_path / f"a.{ending}")
    if ending == "jsonl":
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    place = f"{path}, {'line 2' if ending == 'jsonl' else 'row 1'}"
    with pytest.raises(DataError, match=f"{place}: 'y' has 1 items and 't' has 2"):
        unnest(read_table(path))


@pytest.mark.parametrize("ending", ["jsonl", "parquet", pytest.param("txt", marks=pytest.mark.slow)])
def test_query_with_a_million_documents_is_read(tmp_path: Path, ending: str) -> None:
    count, path = 1_000_000, tmp_path / f"a.{ending}"
    labels = np.arange(count) % 5
    if ending == "txt":
        path.write_text("1 qid:1 1:2\n" * count)
    elif ending == "jsonl":
        path.write_text(json.dumps({"q": "a", "label": labels.tolist()}) + "\n")
    else:
        pq.write_table(pa.table({"q": ["a"], "label": [labels]}), path)
    table = unnest(read_table(str(path)))
    assert len(table) == count
    assert table.locate(count - 1).endswith({"txt": "line 1000000", "jsonl": "line 1", "parquet": "row 0"}[ending])


def test_files_whose_lists_hold_several_types_are_joined_if_a_type_holds_both(tmp_path: Path) -> None:
    texts = ('{"q": "a", "y": [1, 2]}', '{"q": "b", "y": [1.5]}', '{"q": "c", "y": []}', '{"q": "d", "y": ["x"]}')
    paths = [tmp_path / f"{i}.jsonl" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    assert unnest(read_table(paths[:3])).numeric("y").tolist() == [1, 2, 1.5]
    expected = r"3\.jsonl, column 'y': it holds list<.*string>, and list<.*double> in .*0\.jsonl; these cannot be"
    with pytest.raises(DataError, match=expected):
        read_table(paths)


# Folders


def test_huggingface_folder_is_read_by_arrow_alone(tmp_path: Path) -> None:
    for i in range(2):
        sink = pa.BufferOutputStream()
        part = TABLE.slice(150 * i, 150)
        with pa.ipc.new_stream(sink, part.schema) as writer:
            writer.write_table(part)
        (tmp_path / f"data-0000{i}-of-00002.arrow").write_bytes(sink.getvalue().to_pybytes())
    files = [{"filename": f"data-0000{i}-of-00002.arrow"} for i in range(2)]
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": files}))
    fsspec.filesystem("memory").put(f"{tmp_path}/*", "/saved/")
    check(read_table("memory://saved"))
    table = read_table(str(tmp_path))
    check(table)
    assert table.locate(151) == f"{tmp_path}/data-00001-of-00002.arrow, row 1"
    (tmp_path / files[1]["filename"]).unlink()
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow does not exist"):
        read_table(str(tmp_path))
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataError, match="it has no list '_data_files'"):
        read_table(str(tmp_path))


@pytest.mark.slow  # imports datasets
def test_saved_huggingface_dataset_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict(ROWS)
    data.save_to_disk(tmp_path / "one", num_shards=3)
    check(read_table(tmp_path / "one"))
    datasets.DatasetDict({"train": data, "test": data.select(range(5))}).save_to_disk(tmp_path / "both")
    check(read_table(tmp_path / "both" / "train"))
    assert f"name one of them: {tmp_path}/both/train, {tmp_path}/both/test" in error_message(str(tmp_path / "both"))


def test_folder_of_parquet_files_is_read_and_other_folders_are_refused(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for i in range(3):
        part = tmp_path / f"part-{i}.parquet"
        pq.write_table(TABLE.slice(100 * i, 100), part)
        memory.pipe(f"/folder/{part.name}", part.read_bytes())
    check(read_table(str(tmp_path)))
    check(read_table("memory://folder"))
    (tmp_path / "empty").mkdir()
    assert "neither a Hugging Face dataset (no state.json) nor a folder of Parquet" in error_message(
        str(tmp_path / "empty")
    )
    (tmp_path / "empty" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert f"name one of them: {tmp_path}/empty/train, " in error_message(str(tmp_path / "empty"))


def test_page_of_formats_names_every_reader_with_its_endings_and_options() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` (\|.*)$", (ROOT / "docs" / "formats.md").read_text(encoding="utf-8"), re.M))
    for entry in READERS.own():
        if entry.trait("endings", ()) or entry.key == "huggingface":
            assert all(f"`{name}`" in rows[entry.key] for name in entry.trait("endings", ()))
            assert all(f"`{name}" in rows[entry.key] for name in entry.parameters)

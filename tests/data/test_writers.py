"""Writers: what is written reads back the same, and nothing is left after an error."""

import datetime
import json
import resource
import subprocess
import sys

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.files import open_binary, open_seekable
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.streaming.seen import SeenIds
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.writers import write_chunks
from ml4ir_losses.data.writers.base import WriterRoles


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


ROLES = WriterRoles("query_id", "label", "doc")


def rich():
    """All kinds of columns, with missing cells."""
    return small(
        doc=list("abcdef"),
        single=np.float32([0.1, np.nan, 0, 1e-9, 3e38, -2]),
        title=['a "q"', "b\\", "c\n", "\x01d", None, "é"],
        tags=[["a", None], [], None, ['"x'], ["y"], ["z"]],
        vector=[[0.1, -2.0]] * 6,
        flag=[True, False, None, True, True, False],
        day=[datetime.date(2026, 1, 31)] * 6,
    )


def in_chunks(table):
    """Chunks that do not end where queries end."""
    return [table.take([0, 1, 2]), table.take([3]), table.take([4, 5])]


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "memory://writers/a.parquet"])
def test_columnar_files_hold_every_column_as_it_is(name, tmp_path):
    path = name if "://" in name else str(tmp_path / name)
    write_chunks(path, in_chunks(rich()), overwrite=True)
    with open_seekable(path) as stream:
        read = pq.read_table(stream) if name.endswith("parquet") else pa.ipc.open_file(stream).read_all()
    assert read.equals(rich().to_arrow())


def test_hugging_face_folder_loads(tmp_path):
    write_chunks(tmp_path / "folder", in_chunks(rich()), "huggingface")
    write_chunks(f"{tmp_path}/folder/", in_chunks(rich()), "huggingface", overwrite=True)
    assert datasets.load_from_disk(tmp_path / "folder").data.table.equals(rich().to_arrow())


def parsed(path):
    with open_binary(str(path)) as stream:
        return [json.loads(line) for line in stream]


def as_json(table):
    """The rows as JSON reads them."""
    rows = table.to_arrow().to_pylist()
    return [{**row, "day": str(row["day"]), "single": json_number(row["single"])} for row in rows]


def json_number(value):
    return None if value is None else float(str(np.float32(value)))


def test_json_lines_hold_every_cell(tmp_path):
    write_chunks(tmp_path / "a.jsonl.gz", in_chunks(rich()))
    assert parsed(tmp_path / "a.jsonl.gz") == as_json(rich())


def test_nested_json_lines_hold_a_query_each(tmp_path):
    write_chunks(tmp_path / "a.jsonl", in_chunks(rich()), roles=ROLES, nested=True)
    queries = parsed(tmp_path / "a.jsonl")
    assert [query["query_id"] for query in queries] == ["q0", "q1", "q2"]
    rows = [{"query_id": query["query_id"], **row} for query in queries for row in query["documents"]]
    assert rows == as_json(rich())


def test_columns_of_a_query_stand_once_in_nested_json_lines(tmp_path):
    roles = WriterRoles("query_id", query_columns=("device",))
    write_chunks(tmp_path / "a.jsonl", [small(device=["tv", "tv", "web", "web", "tv", "tv"])], roles=roles, nested=True)
    queries = parsed(tmp_path / "a.jsonl")
    assert [query["device"] for query in queries] == ["tv", "web", "tv"]
    assert list(queries[0]["documents"][0]) == ["label", "price"]
    alone = memory_table({"query_id": ["a", "a", "b"]})
    write_chunks(tmp_path / "b.jsonl", [alone], roles=WriterRoles("query_id"), nested=True)
    assert parsed(tmp_path / "b.jsonl")[0] == {"query_id": "a", "documents": [{}, {}]}


def numeric():
    return small(doc=list("abcdef"), single=np.float32([0.1, 0, 0, 1e-9, 3e38, -2]))


def test_svmlight_numbers_its_columns(tmp_path):
    write_chunks(tmp_path / "a.txt", in_chunks(numeric()), roles=ROLES)
    table = read_table(str(tmp_path / "a.txt"))
    assert (tmp_path / "a.txt").read_text().splitlines()[1] == "0 qid:q0 1:0.14285715 #docid = b"
    assert list(table.strings("document_id")) == list("abcdef")
    np.testing.assert_array_equal(table.matrix(["f1", "f2"]), numeric().matrix(["price", "single"]))


def test_svmlight_keeps_the_indices_of_features(tmp_path):
    lines = "2 qid:7 1:0.5 9:2\n0.5 qid:7 3:-0.25\n1 qid:x8\n"
    (tmp_path / "a.txt").write_text(lines)
    write_chunks(tmp_path / "b.txt", [read_table(str(tmp_path / "a.txt"))], roles=WriterRoles("qid", "label"))
    assert (tmp_path / "b.txt").read_text() == lines


def test_group_file_holds_the_sizes_of_queries(tmp_path):
    write_chunks(tmp_path / "a.txt", in_chunks(numeric()), roles=ROLES, groups="query")
    assert (tmp_path / "a.txt.query").read_text() == "2\n2\n2\n"
    assert (tmp_path / "a.txt").read_text().splitlines()[1] == "0 1:0.14285715"
    (tmp_path / "a.txt").unlink()
    with pytest.raises(DataError, match=r"a\.txt\.query exists"):
        write_chunks(tmp_path / "a.txt", [numeric()], roles=ROLES, groups="query")


def test_catboost_reads_its_file_and_description(tmp_path):
    pytest.importorskip("catboost")
    table = small(doc=list("abcdef"), title=['a "q"', '"x" y', "tab\there", "", None, "z"], vector=[[0.5, -2.0]] * 6)
    write_chunks(tmp_path / "a.tsv", in_chunks(table), "catboost", roles=ROLES)
    kinds = [line.split("\t")[1] for line in (tmp_path / "a.cd").read_text().splitlines()]
    assert kinds == ["GroupId", "Label", "Num", "SampleId", "Categ", "NumVector"]
    code = "import catboost; p = catboost.Pool('a.tsv', column_description='a.cd'); print(p.shape, p.get_label())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, check=True)
    assert done.stdout == "(6, 3) ['2', '0', '1', '0', '3', '1']\n"


def test_trec_files_hold_run_judgments_and_texts(tmp_path):
    table = memory_table(
        {
            "query_id": ["q0", "q0", "q1", "q1"],
            "label": [2, None, 0, 1],
            "doc": ["a", "b", "a", "c"],
            "bm25": [0.5, 1.25, 3, 2],
            "words": ["red hat", "red hat", 'a "b"', 'a "b"'],
            "title": ["x", None, "x", "y"],
        }
    )
    options = {"score": "bm25", "query": "words", "document": "title"}
    write_chunks(tmp_path / "a.run", [table.take([0]), table.take([1, 2, 3])], roles=ROLES, **options)
    assert (tmp_path / "a.run").read_text() == (
        "q0 Q0 a 2 0.5 run\nq0 Q0 b 1 1.25 run\nq1 Q0 a 1 3 run\nq1 Q0 c 2 2 run\n"
    )
    assert (tmp_path / "a.qrels").read_text() == "q0 0 a 2\nq1 0 a 0\nq1 0 c 1\n"
    assert parsed(tmp_path / "a.queries.jsonl") == [{"_id": "q0", "text": "red hat"}, {"_id": "q1", "text": 'a "b"'}]
    assert parsed(tmp_path / "a.documents.jsonl") == [{"_id": "a", "text": "x"}, {"_id": "c", "text": "y"}]
    roles = WriterRoles("query_id", document_id="doc")
    write_chunks(
        tmp_path / "b.run", [Table({n: table.columns[n] for n in ("query_id", "doc")}, table.sources)], roles=roles
    )
    assert (tmp_path / "b.run").read_text().splitlines()[:2] == ["q0 Q0 a 1 1 run", "q0 Q0 b 2 0.5 run"]


@pytest.mark.parametrize(
    ("name", "options", "table", "message"),
    [
        ("a.txt", {}, small(title=["x"] * 6), r"row 0, column 'title': 'x' is not a number\..*--exclude title"),
        ("a.txt", {}, small(gap=[1, None, 2, 3, 4, 5]), r"row 1, column 'gap': the cell is empty.*--option missing=0"),
        ("a.txt", {}, small(doc=["a b"] * 6), r"row 0, column 'doc': 'a b' holds a space or #"),
        ("a.run", {}, small(doc=list("abcdef")), r"trec holds no column 'price'; 1 columns.*--columns label"),
        ("a.txt", {"groups": "group"}, numeric().take([0, 2, 1]), r"row 1.*'q0' has rows further up, and a \.group"),
        ("a.jsonl", {"nested": True}, numeric().take([0, 2, 1]), r"row 1.*nested JSONL holds the rows of a query to"),
        ("a.jsonl", {}, small(raw=[b"\xff"] * 6), r"column 'raw': jsonl cannot hold binary"),
        ("a.parquet.gz", {}, small(), r"parquet compresses its columns itself"),
    ],
)  # fmt: skip
def test_cells_that_a_format_cannot_hold_are_named(name, options, table, message, tmp_path):
    with pytest.raises(DataError, match=message):
        write_chunks(tmp_path / name, [table], roles=ROLES, **options)
    assert not list(tmp_path.iterdir())


def test_formats_with_roles_name_the_missing_one(tmp_path):
    with pytest.raises(DataError, match="svmlight needs the column of the query id; name it by `query_id`"):
        write_chunks(tmp_path / "a.txt", [small()])


def test_chunk_with_other_cells_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"column 'price': not all are double as above"):
        write_chunks(tmp_path / "a.parquet", [small(), memory_table({"query_id": ["q"], "label": [1], "price": ["x"]})])


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=12))
def test_seen_ids_are_those_of_a_set(parts):
    seen, known = SeenIds(), set()
    for part in parts:
        ids = [f"q{number}" for number in part]
        assert list(seen.add(ids)) == [name in known or name in ids[:i] for i, name in enumerate(ids)]
        known.update(ids)
        assert len(seen) == len(known)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.feather", "a.jsonl", "a.svm.zst"])
def test_full_disk_leaves_nothing_behind(name, tmp_path):
    rng = np.random.default_rng(0)
    table = memory_table({"query_id": ["q"] * 5000, "label": [1] * 5000, "x": rng.random(5000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(DataError, match=r"a\.\S+ cannot be written: File too large"):
            write_chunks(tmp_path / name, [table, table], roles=WriterRoles("query_id", "label"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())

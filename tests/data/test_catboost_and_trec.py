"""CatBoost's files with their column description, and TREC runs with judgments and texts."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.readers import read_chunks, read_table
from ml4ir_losses.data.table import Table

POOL = '1\tq1\td1\t0.5\tred\tnote\t2.5\n0\tq1\td2\tnan\tblue\t\t\n2\tq2\td1\t-1\t"a\tb"\tx\t1\n'
CD = "0\tLabel\n1\tGroupId\n2\tDocId\tshop\n4\tCateg\tcolour\n5\tAuxiliary\tnote\n6\tNum\n"


def message_of(path: Any, format: str | None = None, **options: Any) -> str:
    with pytest.raises((DataError, UserError)) as caught:
        read_table(str(path), format, **options)
    return str(caught.value)


def check_pool(table: Table) -> None:
    assert table.names == ["label", "query_id", "document_id", "f0", "colour", "note", "f2"]
    assert table.numeric("label").tolist() == [1, 0, 2]
    assert table.strings("query_id").tolist() == ["q1", "q1", "q2"]
    np.testing.assert_array_equal(table.numeric("f0"), [0.5, np.nan, -1])
    np.testing.assert_array_equal(table.numeric("f2"), [2.5, np.nan, 1])
    assert table.strings("colour").tolist() == ["red", "blue", "a\tb"]
    assert table.locate(2).endswith("line 3")


@pytest.mark.parametrize("name", ["train.pool", "train.pool.gz"])
@pytest.mark.parametrize("description", ["train.cd", "train.pool.cd"])
def test_catboost_columns_are_named_by_the_file_beside(tmp_path: Path, name: str, description: str) -> None:
    content = POOL.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (tmp_path / description).write_text(CD)
    check_pool(read_table(tmp_path / name))


def test_catboost_options_and_urls(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/pool/a.tsv", POOL.encode())
    memory.pipe("/pool/columns", CD.encode())
    check_pool(read_table("memory://pool/a.tsv", "catboost", cd="memory://pool/columns"))
    (tmp_path / "a.csv").write_text("y,g,x,z\n1,a,2,3\n")
    (tmp_path / "a.cd").write_text("0\ttarget\n1\tQUERYID\tname\n")
    table = read_table(tmp_path / "a.csv", "catboost", delimiter=",", has_header=True)
    assert table.names == ["label", "query_id", "x", "z"]
    assert table.locate(0).endswith("line 2")


def test_catboost_columns_of_one_type_get_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.pool").write_text("1\t2\t3\t4\n")
    (tmp_path / "a.cd").write_text("0\tBaseline\n1\tBaseline\n2\tAuxiliary\n3\tLabel\n")
    assert read_table(tmp_path / "a.pool").names == ["baseline", "baseline_1", "auxiliary", "label"]


@pytest.mark.parametrize(
    ("cd", "message"),
    [
        (None, "a.pool: no column description. Write "),
        ("0\tLabel\nx\tNum\n", "a.cd, line 2: a line is '<index> TAB <type> TAB <name>', counted from 0"),
        ("0 Label\n", "a.cd, line 1: a line is '<index> TAB <type> TAB <name>'"),
        ("0\tLabell\n", "a.cd, line 1: Unknown column type 'Labell'. Did you mean 'Label'?"),
        ("0\tLabel\n7\tNum\n", "a.cd, line 2: column 7 is described; {path} has 7 columns, from 0"),
        ("3\tNum\tx\n4\tNum\tx\n", "a.pool: the column 'x' occurs 2 times"),
    ],
)
def test_catboost_wrong_column_descriptions_are_explained(tmp_path: Path, cd: str | None, message: str) -> None:
    path = tmp_path / "a.pool"
    path.write_text(POOL)
    if cd is not None:
        (tmp_path / "a.cd").write_text(cd)
    assert message.format(path=path) in message_of(path)


def test_catboost_row_with_a_wrong_number_of_cells_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pool").write_text(POOL + "1\tq\n")
    (tmp_path / "a.cd").write_text(CD)
    assert f"{tmp_path / 'a.pool'}, line 4: 2 cell(s), 7 are expected" in message_of(tmp_path / "a.pool")
    (tmp_path / "a.pool").write_bytes(POOL.encode() + b"1\tq2\td1\t0.5\t\xff\tnote\t2.5\n")
    assert f"{tmp_path / 'a.pool'}, line 4: the text is not utf-8" in message_of(tmp_path / "a.pool")


# TREC

RUN = "q1 Q0 a 1 2.5 t\nq1 Q0 b 2 3 t\n\nq2 Q0 c 1 0.5 t\nq3 Q0 a 1 1 t\n"
QRELS = "q1 0 a 2\nq1 0 z 1\nq2 0 c -1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bm25.run").write_text(RUN)
    (tmp_path / "qrels.txt").write_text(QRELS)
    (tmp_path / "topics.tsv").write_text('q2\tsecond "query\nq1\tNA\n')
    (tmp_path / "corpus.jsonl").write_text(
        '{"_id": "a", "title": "A", "text": "ta"}\n{"_id": "x", "title": "X", "text": "tx"}\n'
        '{"_id": "c", "title": null, "text": "tc"}\n'
    )
    return tmp_path


def test_trec_run_with_judgments_and_texts_is_one_table(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {"qrels": "qrels.txt", "queries": "topics.tsv", "documents": "corpus.jsonl"}
    with caplog.at_level("INFO"):
        table = read_table(folder / "bm25.run", **{name: str(folder / file) for name, file in files.items()})
    assert table.names == ["query_id", "document_id", "label", "score", "rank", "query", "title", "document"]
    assert table.strings("query_id").tolist() == ["q1", "q1", "q2"]
    assert table.strings("document_id").tolist() == ["a", "b", "c"]
    assert table.numeric("label").tolist() == [2, 0, -1]
    assert table.numeric("score").tolist() == [2.5, 3, 0.5]
    assert table.numeric("rank").tolist() == [2, 1, 1]
    assert table.strings("query").tolist() == ["NA", "NA", 'second "query']
    assert table.strings("document").tolist() == ["ta", "", "tc"]
    assert table.strings("title").tolist() == ["A", "", ""]
    assert [table.locate(row).rpartition(", ")[2] for row in range(3)] == ["line 1", "line 2", "line 4"]
    assert "queries without judgments" in caplog.text


def test_trec_run_alone_qrels_alone_and_unjudged_documents(folder: Path) -> None:
    assert read_table(folder / "bm25.run").names == ["query_id", "document_id", "score", "rank"]
    table = read_table(folder / "qrels.txt", "trec")
    assert table.names == ["query_id", "document_id", "label"]
    assert table.numeric("label").tolist() == [2, 1, -1]
    table = read_table(folder / "bm25.run", qrels="qrels.txt", unjudged=None)  # in the folder of the run
    np.testing.assert_array_equal(table.numeric("label"), [2, np.nan, -1])


def test_trec_judgments_beside_the_run_are_found(folder: Path) -> None:
    (folder / "qrels.txt").rename(folder / "bm25.qrels")
    assert read_table(folder / "bm25.run").numeric("label").tolist() == [2, 0, -1]
    assert read_table(folder / "bm25.qrels").names == ["query_id", "document_id", "label"]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_trec_files_behind_urls_come_in_chunks(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    monkeypatch.setattr("ml4ir_losses.data.readers.trec._CHUNK_ROWS", 2)
    content = RUN.encode()
    packed = {"": content, ".gz": gzip.compress(content), ".zst": pa.compress(content, "zstd", asbytes=True)}[ending]
    fsspec.filesystem("memory").pipe(f"/trec/a.run{ending}", packed)
    chunks = list(read_chunks(f"memory://trec/a.run{ending}"))
    assert [len(chunk) for chunk in chunks] == [2, 2]
    assert chunks[1].locate(1) == f"memory://trec/a.run{ending}, line 5"


def test_trec_errors_name_file_and_line(folder: Path) -> None:
    run = folder / "bm25.run"
    (folder / "other.txt").write_text("q9 0 a 1\n")
    (folder / "twice.tsv").write_text("a\tx\na\ty\n")
    (folder / "columns.csv").write_text("id,body\na,x\n")
    assert "have no query in common" in message_of(run, qrels=str(folder / "other.txt"))
    assert "twice.tsv: the id 'a' occurs 2 times" in message_of(run, documents=str(folder / "twice.tsv"))
    assert "columns.csv: needs the columns 'text' and" in message_of(run, documents=str(folder / "columns.csv"))
    assert "nothing.tsv does not exist" in message_of(run, queries=str(folder / "nothing.tsv"))
    run.write_text(RUN + "q4 Q0 a 1 x t\n")
    assert f"{run}, line 6: the score 'x' is not a finite number" in message_of(run)

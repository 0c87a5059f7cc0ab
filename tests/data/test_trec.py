"""TREC run and qrels files: read by query, written, and refused with the line."""

import gzip

import numpy as np
import pytest

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.trec import QRELS, RUN, TrecFile, write_qrels, write_run

LINES = ["q1 Q0 a 1 2.5 t", "q1\tQ0  b 2 1e-3 t", "q2 Q0 a 1 -4 t", "", "q10 Q0 c 1 0 t"]


def read(path, kind=RUN):
    file = TrecFile(path, kind)
    return {query: dict(zip(*file.documents(query), strict=True)) for query in file.queries}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run.txt").write_text("\n".join(LINES) + "\n")
    return tmp_path / "run.txt"


def test_run_is_read_as_ir_measures_reads_it(path):
    ir_measures = pytest.importorskip("ir_measures")
    expected = {}
    for one in ir_measures.read_trec_run(str(path)):
        expected.setdefault(one.query_id, {})[one.doc_id] = one.score
    assert read(path) == expected
    assert list(expected) == ["q1", "q2", "q10"]


def test_lines_in_any_order_give_the_same_documents(path, tmp_path, caplog):
    shuffled = tmp_path / "shuffled.txt"
    shuffled.write_text("\n".join([LINES[i] for i in (0, 2, 3, 4, 1)]))
    with caplog.at_level("INFO", "ml4ir_losses"):
        assert read(shuffled) == read(path)
    assert "not sorted by query" in caplog.text


def test_compressed_file_and_byte_order_mark_are_read(path, tmp_path):
    (tmp_path / "run.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read(tmp_path / "run.txt.gz") == read(tmp_path / "bom.txt") == read(path)


def test_query_that_the_file_lacks_has_no_documents(path):
    file = TrecFile(path, RUN)
    assert "q3" not in file
    assert "q2" in file
    assert len(file) == 3
    documents, scores = file.documents("q3")
    assert documents == []
    assert scores.shape == (0,)


def test_written_files_are_read_back_exactly(tmp_path):
    scores = np.array([0.1, 1e-8, -3.4e38], "float32")
    write_run(tmp_path / "run", [("q", f"d{i}", i + 1, score) for i, score in enumerate(scores)], "my run")
    assert (tmp_path / "run").read_text().splitlines()[0] == "q Q0 d0 1 0.1 my_run"
    assert np.array_equal(TrecFile(tmp_path / "run", RUN).documents("q")[1].astype("float32"), scores)
    write_qrels(tmp_path / "qrels", [("q", "d0", 2.0), ("q", "d1", 0.0)])
    assert (tmp_path / "qrels").read_text() == "q 0 d0 2\nq 0 d1 0\n"
    assert read(tmp_path / "qrels", QRELS) == {"q": {"d0": 2.0, "d1": 0.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("q 0 d 1\n", "line 1: has 4 fields"),
        ("q Q0 d 1 2 t\n\nq Q0 e 2 x t\n", "line 3: the score 'x' is not a finite number"),
        ("q Q0 d 1 nan t\n", "line 1: the score 'nan' is not a finite number"),
        ("q Q0 d 1 2 t\nq Q0 e 2 1 t\nq Q0 d 3 0 t\n", "line 3: document 'd' comes a second time for query 'q'"),
        ("q Q0 d 1 2 t\np Q0 d 1 2 t\nq Q0 d 3 0 t\n", "line 3: document 'd' comes a second time for query 'q'"),
    ],
)
def test_invalid_lines_are_refused_with_their_number(tmp_path, text, message):
    (tmp_path / "run").write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "run")


def test_unreadable_files_and_ids_with_spaces_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"nope: cannot be read \(No such file"):
        TrecFile(tmp_path / "nope", RUN)
    (tmp_path / "wide").write_text("q Q0 d 1 2 t\n", encoding="utf-16")
    with pytest.raises(DataError, match="is UTF-16 text"):
        TrecFile(tmp_path / "wide", RUN)
    with pytest.raises(DataError, match="'red shoe' cannot stand in a TREC file"):
        write_run(tmp_path / "run", [("red shoe", "d", 1, 0.5)], "t")
    assert not (tmp_path / "run").exists()

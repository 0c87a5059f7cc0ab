"""Readers: accepted files, and the one-line message for each kind of invalid file."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.readers import read_chunks, read_table
from ml4ir_losses.data.table import Table

SVM = """# a comment

2 qid:10 1:0.5 3:-2 #docid = GX-1 inc = 1
0 qid:10 2:1e-1 # docid=GX-2
1 qid:abc  #docid = GX-3
"""
CSV = 'qid,title,price,label\na,"red, ""big"" mug",3.5,1\na,,,0\n007,Tëst ☕,-1e2,+2\n'


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def error_message(path: str, **options: object) -> str:
    """The message of the `DataError`, after a check that it is one line and names the file."""
    with pytest.raises(DataError) as caught:
        read_table(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert path in message
    return message


# svmlight


@pytest.mark.parametrize("ending", ["txt", "svm", "svmlight", "libsvm", "letor", "TXT"])
def test_svmlight_columns_and_lines_are_read(tmp_path: Path, ending: str) -> None:
    table = read_table(write(tmp_path / f"a.{ending}", SVM))
    assert table.names == ["label", "qid", "document_id", "f1", "f2", "f3"]
    assert table.strings("qid").tolist() == ["10", "10", "abc"]
    assert table.strings("label").tolist() == ["2", "0", "1"]
    assert table.strings("document_id").tolist() == ["GX-1", "GX-2", "GX-3"]
    matrix = table.matrix(["f1", "f2", "f3"])
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, np.array([[0.5, 0, -2], [0, 0.1, 0], [0, 0, 0]], np.float32))
    assert table.strings("f2").tolist() == ["0", "0.1", "0"]
    assert [table.locate(row).removeprefix(str(tmp_path)) for row in range(3)] == [
        f"/a.{ending}, line {line}" for line in (3, 4, 5)
    ]


def test_svmlight_absent_features_are_zero(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.txt", SVM))
    assert "f3" in table
    assert "f9" not in table
    assert "f0" not in table
    np.testing.assert_array_equal(table.matrix(["f9", "f1", "f0"])[0], [0, 0.5, 0])
    np.testing.assert_array_equal(table.matrix(["f3", "f4"]), [[-2, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(table.numeric("f9"), [0, 0, 0])
    with pytest.raises(DataError, match=r"has no column 'lable'\. Did you mean 'label'\? It has: label, qid"):
        table.matrix(["f1", "lable"])


def test_svmlight_matrix_takes_features_and_columns_together(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.txt", SVM))
    np.testing.assert_array_equal(table.matrix(["f3", "label", "f7"]), [[-2, 2, 0], [0, 0, 0], [0, 1, 0]])


def test_svmlight_matrix_is_a_copy(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.txt", SVM))
    table.matrix(["f1", "f2"])[:] = 9
    assert table.numeric("f1").tolist() == [0.5, 0, 0]


def test_svmlight_keeps_a_zero_based_index(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.txt", "1 qid:1 0:5 2:7\n0 qid:1 1:6\n"))
    assert table.names == ["label", "qid", "f0", "f1", "f2"]
    assert "f0" in table
    np.testing.assert_array_equal(table.matrix(["f0", "f1", "f2"]), [[5, 0, 7], [0, 6, 0]])


def test_svmlight_has_document_ids_only_if_every_row_names_one(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.txt", SVM.replace("# docid=GX-2", "# none")))
    assert "document_id" not in table


def test_svmlight_with_byte_order_mark_crlf_and_gzip_is_read(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + SVM.replace("# a comment\n\n", "").replace("\n", "\r\n").encode()
    table = read_table(write(tmp_path / "a.txt.gz", gzip.compress(text)))
    assert table.numeric("label", missing=False).tolist() == [2, 0, 1]
    assert table.strings("qid").tolist() == ["10", "10", "abc"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 1:2", "line 4: no 'qid:<id>' comes right after the label"),
        ("1", "line 4: no 'qid:<id>' comes right after the label"),
        ("1 qid: 1:2", "line 4: no 'qid:<id>' comes right after the label"),
        ("1 1:2 qid:3", "line 4: no 'qid:<id>' comes right after the label"),
        ("x qid:1 1:2", "line 4: the label 'x' is not a number"),
        ("nan qid:1 1:2", "line 4: the label 'nan' is not finite"),
        ("inf qid:1 1:2", "line 4: the label 'inf' is not finite"),
        ("1 qid:1 1:2 3:nan", "line 4: feature 3: nan is not finite"),
        ("1 qid:1 1:2 3:-inf 4:1", "line 4: feature 3: -inf is not finite"),
        ("1 qid:1 1:2 3:1e39", "line 4: feature 3: inf is not finite in float32"),
        ("1 qid:1 1:2 3:", "line 4: feature 3: '' is not a number"),
        ("1 qid:1 1:2 3:4:5", "line 4: feature 3: '4:5' is not a number"),
        ("1 qid:1 1:2 3:abc", "line 4: feature 3: 'abc' is not a number"),
        ("1 qid:1 1:2 17", "line 4: '17' is not '<feature index>:<value>'"),
        ("1 qid:1 a:2", "line 4: 'a:2' is not '<feature index>:<value>'"),
        ("1 qid:1 -1:2", "line 4: '-1:2' is not '<feature index>:<value>'"),
        ("1 qid:1 5:2 4:1", "line 4: feature 4 comes after feature 5; the indices of a line must ascend"),
        ("1 qid:1 5:2 5:1", "line 4: feature 5 comes after feature 5"),
        ("1 qid:1 123456:1", "line 4: feature 123456: the index is above 100000"),
        ("1 qid:1 12345678901234:1", "line 4: feature 12345678901234: the index is above 100000"),
    ],
)
def test_svmlight_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "a.txt", f"# comment\n0 qid:1 1:1 2:2 # docid=a\n\n{line}\n1 qid:2 1:3\n")
    assert f"{path}, {message}" in error_message(path)


# CSV


def check_csv(path: str, **options: object) -> None:
    table = read_table(path, **options)  # type: ignore[arg-type]
    assert table.names == ["qid", "title", "price", "label"]
    assert table.strings("qid").tolist() == ["a", "a", "007"]
    assert table.strings("title").tolist() == ['red, "big" mug', "", "Tëst ☕"]
    np.testing.assert_array_equal(table.numeric("price"), [3.5, np.nan, -100])
    np.testing.assert_array_equal(table.numeric("label", missing=False), [1, 0, 2])
    np.testing.assert_array_equal(table.matrix(["label", "price"])[:2], np.array([[1, 3.5], [0, np.nan]], np.float32))
    assert table.locate(2) == f"{path}, line 4"


def test_csv_is_read(tmp_path: Path) -> None:
    check_csv(write(tmp_path / "a.csv", CSV))


def test_csv_with_crlf_is_read(tmp_path: Path) -> None:
    check_csv(write(tmp_path / "a.csv", CSV.replace("\n", "\r\n")))


def test_csv_with_byte_order_mark_is_read(tmp_path: Path) -> None:
    check_csv(write(tmp_path / "a.csv", b"\xef\xbb\xbf" + CSV.encode()))


def test_gzipped_csv_is_read(tmp_path: Path) -> None:
    check_csv(write(tmp_path / "a.csv.gz", gzip.compress(CSV.encode())))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "UTF8", "utf-8-sig"])
def test_csv_encoding_is_an_option(tmp_path: Path, encoding: str) -> None:
    check_csv(write(tmp_path / "a.csv", CSV.encode(encoding)), encoding=encoding)


def test_csv_in_latin_1_is_read(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", "q,t\n1,é\n".encode("latin-1")), encoding="latin-1")
    assert table.strings("t").tolist() == ["é"]


def test_csv_delimiter_and_format_are_options(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.data", "q;t\n1;x,y\n"), "csv", delimiter=";")
    assert table.strings("t").tolist() == ["x,y"]


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_csv_other_delimiters_are_found_out_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, delimiter: str, ending: str
) -> None:
    text = 'q;"t; u";price\n1;"x;y";1,5\n2;z;3\n'.replace(";", delimiter)
    path = write(tmp_path / f"a.{ending}", gzip.compress(text.encode()) if ending.endswith("gz") else text)
    with caplog.at_level("INFO"):
        table = read_table(path)
    assert table.names == ["q", f"t{delimiter} u", "price"]
    assert table.strings("price").tolist() == ["1,5", "3"]
    assert f"{path}: read with data.options.delimiter: {json.dumps(delimiter)}" in caplog.text


@pytest.mark.parametrize("text", ["q\n1\n", "q;t,u\n1;2,3\n", "q,t;u\n1,2;3\n", "q,t\n1;2,3;4\n"])
def test_csv_comma_stays_the_delimiter_where_it_fits(tmp_path: Path, text: str) -> None:
    table = read_table(write(tmp_path / "a.csv", text))
    assert table.names == text.partition("\n")[0].split(",")


def test_csv_given_delimiter_is_not_questioned(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "a.csv", "q;t\n1;2\n"), delimiter=",").names == ["q;t"]


def test_csv_texts_of_missing_cells_are_an_option(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'n,t\n1,NA\nNULL,null\nnan,NaN\n,"NA"\n-999,none\n')
    table = read_table(path)
    np.testing.assert_array_equal(table.numeric("n"), [1, np.nan, np.nan, np.nan, -999])
    assert table.strings("t").tolist() == ["", "", "", "", "none"]
    other = read_table(path, na_values=["-999", "NULL", "nan"])
    np.testing.assert_array_equal(other.numeric("n"), [1, np.nan, np.nan, np.nan, np.nan])
    assert other.strings("t").tolist() == ["NA", "null", "NaN", "NA", "none"]
    assert read_table(path, na_values=[]).strings("n").tolist() == ["1", "NULL", "nan", "", "-999"]


def test_csv_rows_of_several_chunks_know_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml4ir_losses.data.delimited._BLOCK_BYTES", 64)
    path = write(tmp_path / "a.csv", "q,n\n" + "".join(f'{i},"a\nb"\n' for i in range(99)))
    chunks = list(read_chunks(path))
    assert len(chunks) > 5
    assert chunks[-1].locate(len(chunks[-1]) - 1) == f"{path}, line 198"
    table = Table.concat(chunks)
    assert table.strings("q").tolist() == [str(i) for i in range(99)]
    assert [table.locate(row) for row in (0, 60)] == [f"{path}, line {line}" for line in (2, 122)]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_csv_quoted_line_ends_are_kept_where_chunks_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    path = write(tmp_path / "a.csv", ("q,n\r\n" + '1,"é\r\nb"\r\n' * 50).encode(encoding))
    for size in range(40, 60):
        monkeypatch.setattr("ml4ir_losses.data.delimited._BLOCK_BYTES", size)
        assert set(read_table(path, encoding=encoding).strings("n")) == {"é\r\nb"}


def test_csv_error_in_a_later_chunk_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml4ir_losses.data.delimited._BLOCK_BYTES", 64)
    path = write(tmp_path / "a.csv", "q,n\n" + "1,2\n" * 50 + "1,2,3\n")
    assert "line 52: 3 cell(s), the header has 2" in error_message(path)


def test_tsv_is_split_at_tabs(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.tsv", 'q\tt\n1\tx,y\n2\t"a\tb"\n'))
    assert table.strings("t").tolist() == ["x,y", "a\tb"]


def test_tsv_quotes_can_be_turned_off(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.tsv", 'q\tt\n1\t"open\n2\t5" screen\n'), quote="")
    assert table.strings("t").tolist() == ['"open', '5" screen']
    assert table.locate(1).endswith("line 3")


def test_csv_line_numbers_count_blank_lines_and_quoted_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '\nq,n\n\n1,"two\n\nlines"\n\n2,x\n')
    table = read_table(path)
    assert table.strings("n").tolist() == ["two\n\nlines", "x"]
    assert [table.locate(row) for row in range(2)] == [f"{path}, line 4", f"{path}, line 8"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q,n\n1,2\n1,2,3\n4,5\n", "line 3: 3 cell(s), the header has 2"),
        ("q,n\n1,2\n\n1\n", "line 4: 1 cell(s), the header has 2"),
        ('q,n\n"a\nb",1\n2\n', "line 4: 1 cell(s), the header has 2"),
        ('q,n\n1,2\n3,"4\n5,6\n7,8,9\n', "line 3: a quote is left open"),
        ('q,n\n1,2\n3,"4\n5,""6""\n\n', "line 3: a quote is left open"),
        ("q,n,q\n1,2,3\n", "line 1: the column 'q' occurs 2 times"),
        ("q,n\n", "has a header and no data rows"),
        ("\n\n", "has no header line"),
        ("", "is empty"),
        (b"q,n\n1,ok\n2,\xff\xfe\n", "line 3: the text is not utf-8"),
        (b"\x89PNG\r\n\x00\x00\x1a", "is a binary file, not text"),
    ],
)
def test_csv_malformed_file_is_explained(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in error_message(write(tmp_path / "a.csv", text))


def test_csv_undecodable_line_deep_in_a_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"q,n\n" + b"1,2\n" * 50_000 + b"1,\xe9\n" + b"1,2\n" * 50_000)
    assert "line 50002: the text is not utf-8" in error_message(path)


def test_csv_wrong_cell_count_hints_at_an_open_quote(tmp_path: Path) -> None:
    message = error_message(write(tmp_path / "a.csv", 'q,n,m\n1,2,3\n3,"4,1\n5,6,7\n'))
    assert "line 3: 2 cell(s), the header has 3; a quote may be left open" in message


@pytest.mark.parametrize("last", ['"two\nlines"\n', '"two\nlines"', '"two\n""lines"""\r\n\r\n'])
def test_csv_may_end_with_a_quoted_line_end(tmp_path: Path, last: str) -> None:
    table = read_table(write(tmp_path / "a.csv", f"q,n\n1,{last}"))
    assert table.strings("n")[0].replace('"', "") == "two\nlines"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "||"}, "`delimiter` must be None or one character. Received: delimiter='||'."),
        ({"quote": "''"}, '`quote` must be one character or "". Received: quote="\'\'".'),
        ({"encoding": "utf-9"}, "encoding is the name of a Python codec, such as utf-8 or latin-1. Received: 'utf-9'."),
        ({"encoding": "hex"}, "data.options.encoding is the name of a Python codec, such as utf-8 or latin-1."),
    ],
)
def test_csv_invalid_options_raise(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        read_table(write(tmp_path / "a.csv", CSV), **options)


def test_unknown_reader_option_names_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'csv' has no parameter 'delimeter'\. Did you mean 'delimiter'"):
        read_table(write(tmp_path / "a.csv", CSV), delimeter=";")


# paths


def test_globs_are_sorted_and_lists_of_paths_keep_their_order(tmp_path: Path) -> None:
    for name in "bca":
        write(tmp_path / f"{name}.csv", f"q\n{name}\n")
    write(tmp_path / "d.txt", SVM)
    (tmp_path / "folder.csv").mkdir()
    assert read_table(str(tmp_path / "*.csv")).strings("q").tolist() == ["a", "b", "c"]
    files = [tmp_path / "c.csv", str(tmp_path / "[ab].csv")]
    table = read_table(files)
    assert table.strings("q").tolist() == ["c", "a", "b"]
    assert table.locate(2) == f"{tmp_path / 'b.csv'}, line 2"


def test_existing_file_is_not_read_as_a_glob(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "a[1].csv", "q\nx\n")).strings("q").tolist() == ["x"]


def test_missing_files_raise(tmp_path: Path) -> None:
    assert "does not exist" in error_message(str(tmp_path / "none.csv"))
    assert "does not exist" in error_message(str(tmp_path / "none.txt"))
    assert "No file matches" in error_message(str(tmp_path / "*.none"))
    assert "is a directory; name its files" in error_message(str(tmp_path), format="csv")
    with pytest.raises(DataError, match="empty"):
        read_table([])
    with pytest.raises(DataError, match="a path, a glob or a list"):
        read_table(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_damaged_files_raise(tmp_path: Path, ending: str) -> None:
    assert "is empty" in error_message(write(tmp_path / f"empty.{ending}", b""))
    assert "is a binary file" in error_message(write(tmp_path / f"binary.{ending}", b"1 qid:1\n\x00\x01"))
    assert "cannot be read" in error_message(write(tmp_path / f"fake.{ending}.gz", b"1 qid:1 1:2\n"))
    compressed = gzip.compress(bytes(np.random.default_rng(0).integers(48, 58, 9000, np.uint8)))
    assert "cannot be read" in error_message(write(tmp_path / f"cut.{ending}.gz", compressed[:-2000]))


def test_svmlight_without_rows_raises(tmp_path: Path) -> None:
    assert "has no data rows" in error_message(write(tmp_path / "a.txt", "# nothing\n\n"))


def test_unknown_format_lists_the_readers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xyz", SVM)
    message = error_message(path)
    assert all(name in message for name in ("csv", "svmlight", "synthetic"))
    assert len(read_table(path, "svmlight")) == 3
    with pytest.raises(UserError, match="Did you mean 'svmlight'"):
        read_table(path, "svmligth")


@pytest.mark.parametrize(("name", "text"), [("a.csv", CSV), ("a.tsv", CSV), ("a.txt", SVM), ("a.svmlight", SVM)])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_utf_16_and_utf_32_errors_name_the_encoding(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    message = error_message(write(tmp_path / name, text.encode(encoding)))
    assert f"is {encoding.upper()} text; save it as UTF-8, for instance with: iconv -f {encoding.upper()}" in message


def test_files_behind_urls_are_read_with_globs_and_compression() -> None:
    memory, text = fsspec.filesystem("memory"), b"query_id,label\na,1\nb,0\n"
    for name, content in (
        ("a.csv", text),
        ("b.csv.gz", gzip.compress(text)),
        ("c.csv.zst", pa.compress(text, "zstd", asbytes=True)),
    ):
        memory.pipe(f"/urls/{name}", content)
    assert read_table("memory://urls/a.csv").strings("query_id").tolist() == ["a", "b"]
    table = read_table("memory://urls/*.csv*")
    assert table.strings("query_id").tolist() == ["a", "b"] * 3
    assert table.locate(5) == "memory:///urls/c.csv.zst, line 3"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("memory://urls/missing.csv", "missing.csv does not exist"),
        ("memory://urls/cut.csv.gz", "cannot be read: Compressed file ended"),
        ("memory://urls/cut.csv.zst", "cannot be read: Truncated"),
        ("memory://urls/*.nothing", "No file matches"),
        ("unknown://bucket/file.csv", "unknown://bucket/file.csv cannot be opened: Protocol not known"),
    ],
)
def test_urls_that_cannot_be_read_are_one_clear_line(path: str, message: str) -> None:
    memory, text = fsspec.filesystem("memory"), b"query_id,label\n" + b"a,1\n" * 999
    memory.pipe("/urls/cut.csv.gz", gzip.compress(text)[:-9])
    memory.pipe("/urls/cut.csv.zst", pa.compress(text, "zstd", asbytes=True)[:-9])
    with pytest.raises(DataError, match=re.escape(message)):
        read_table(path)

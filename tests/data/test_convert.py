"""Conversion: types of columns over all chunks, choice of columns, options, the command."""

import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from ml4ir_losses import convert, inspect
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.convert import options_of
from ml4ir_losses.data.readers import read_table


def write(path, text):
    path.write_text(text)
    return str(path)


def types(path):
    return {field.name: str(field.type) for field in pq.read_schema(path)}


def test_columns_of_text_get_their_types(tmp_path):
    cells = ["1,2,007,3,1.50,,x,12345678901234567890", "2,0,7,-4,.5,,,2"]
    path = write(tmp_path / "a.csv", "query_id,label,zip,count,price,none,text,long\n" + "\n".join(cells))
    assert convert(path, tmp_path / "a.parquet") == 2
    assert types(tmp_path / "a.parquet") == {
        "query_id": "string",
        "label": "int64",
        "zip": "string",
        "count": "int64",
        "price": "double",
        "none": "null",
        "text": "string",
        "long": "string",
    }
    convert(path, tmp_path / "b.parquet", keep_text=["co*"])
    assert types(tmp_path / "b.parquet")["count"] == "string"


def test_text_of_a_typed_format_stays_text(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"query_id": "1", "label": "2"}\n')
    convert(path, tmp_path / "a.parquet")
    assert types(tmp_path / "a.parquet") == {"query_id": "string", "label": "string"}


def test_later_rows_change_the_type_of_a_column(tmp_path, caplog):
    caplog.set_level("INFO", "ml4ir_losses")
    for i, cell in enumerate(["", "1", "2.5", "3"]):
        write(tmp_path / f"{i}.csv", f"query_id,label,x\nq{i},1,{cell}\n")
    progress = []
    assert convert(str(tmp_path / "*.csv"), tmp_path / "out.parquet", progress=progress.append) == 4
    assert pq.read_table(tmp_path / "out.parquet")["x"].to_pylist() == [None, 1.0, 2.5, 3.0]
    assert len(caplog.records) == 1  # all rows are read before the second attempt
    assert "1.csv, line 2 and below: the column 'x' holds int64" in caplog.text
    assert progress[-1] == 4


def test_svmlight_files_of_different_widths(tmp_path):
    write(tmp_path / "1.txt", "1 qid:1 2:0.5\n")
    write(tmp_path / "2.txt", "0 qid:2 1:1 4:2\n")
    convert([str(tmp_path / "1.txt"), str(tmp_path / "2.txt")], tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows[0] == {"label": 1, "qid": "1", "f1": 0.0, "f2": 0.5, "f3": 0.0, "f4": 0.0}
    convert([str(tmp_path / "1.txt"), str(tmp_path / "2.txt")], tmp_path / "out.svm", exclude=["f1"])
    assert (tmp_path / "out.svm").read_text() == "1 qid:1 2:0.5\n0 qid:2 4:2\n"


def test_files_with_other_columns_are_refused(tmp_path):
    paths = [write(tmp_path / "1.csv", "query_id,a\n1,2\n"), write(tmp_path / "2.csv", "query_id,b\n1,2\n")]
    with pytest.raises(DataError, match=r"1\.csv and .*2\.csv: only one of them has the column 'b'"):
        convert(paths, tmp_path / "out.parquet")


def test_columns_are_chosen_and_roles_are_kept(tmp_path):
    path = write(tmp_path / "a.csv", "qid,label,doc,f1,f2,f30,rank\n1,2,d,3,4,5,6\n")
    convert(path, tmp_path / "a.parquet", columns=["f*"], exclude=["f3*", "doc"])
    assert list(types(tmp_path / "a.parquet")) == ["qid", "label", "f1", "f2"]
    with pytest.raises(DataError, match=r"no column matches 'g\*'"):
        convert(path, tmp_path / "b.parquet", columns=["g*"])
    with pytest.raises(DataError, match=r"`label`: there is no column 'lable'\. Did you mean 'label'"):
        convert(path, tmp_path / "b.parquet", label="lable")


def test_named_roles_go_into_the_file(tmp_path):
    path = write(tmp_path / "a.csv", "session,clicks,price\na,1,3\n")
    convert(path, tmp_path / "a.txt", query_id="session", label="clicks")
    assert (tmp_path / "a.txt").read_text() == "1 qid:a 1:3\n"


def test_options_go_to_the_side_that_has_them():
    given = {"delimiter": ";", "nested": True}
    assert options_of(given, ["a.csv"], None, "b.jsonl", None) == ({"delimiter": ";"}, {"nested": True})
    given = {"from.delimiter": ";", "to.delimiter": "|"}
    assert options_of(given, ["a.csv"], None, "b.csv", None) == ({"delimiter": ";"}, {"delimiter": "|"})
    with pytest.raises(UserError, match=r"option 'delimiter'.*from.delimiter.*to.delimiter"):
        options_of({"delimiter": ";"}, ["a.csv"], None, "b.csv", None)
    with pytest.raises(UserError, match=r"option 'nestd'. Did you mean"):
        options_of({"nestd": ";"}, ["a.csv"], None, "b.jsonl", None)


def test_command_converts_and_keeps_existing_files(run, tmp_path):
    source = write(tmp_path / "a.csv", "query_id;label;price\nq;1;2\n")
    target = tmp_path / "a.jsonl"
    line = ["convert", source, target, "--option", "delimiter=;"]
    code, out, _ = run(*line)
    assert code == 0
    assert out.startswith("1 rows, ")
    assert target.read_text() == '{"query_id": "q", "label": 1, "price": 2}\n'
    code, _, err = run(*line)
    assert (code, err) == (2, f"error: {target} exists. Choose another name, or overwrite it (--force).\n")
    assert run(*line, "--force", "--exclude", "price")[0] == 0
    assert target.read_text() == '{"query_id": "q", "label": 1}\n'
    assert "nested=False" in run("writers", "jsonl")[1]
    assert run("convert", source)[2] == "error: convert: name the files that are read, then the file that is written.\n"


def test_conversion_imports_no_backend(tmp_path):
    source = write(tmp_path / "a.csv", "query_id,label\nq,1\n")
    code = f"import sys, ml4ir_losses.data.convert as c; c.convert({source!r}, 'a.parquet'); "
    code += "print({'keras', 'tensorflow', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, check=True)
    assert done.stdout == "set()\n"


def test_queries_with_lists_become_rows_of_documents(tmp_path):
    lines = [
        {"qid": "a", "words": "red", "taste": [1, 2], "documents": [{"label": 1, "v": [1, 2]}, {"label": 0, "v": [4]}]},
        {"qid": "b", "words": "hat", "taste": [2, 3], "documents": [{"label": 2, "v": []}]},
    ]  # fmt: skip
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    convert(path, tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == [
        {"qid": "a", "words": "red", "taste": [1, 2], "label": 1, "v": [1, 2]},
        {"qid": "a", "words": "red", "taste": [1, 2], "label": 0, "v": [4]},
        {"qid": "b", "words": "hat", "taste": [2, 3], "label": 2, "v": []},
    ]
    assert sorted(inspect(path).queries.sizes()) == [1, 2]
    convert(
        tmp_path / "a.parquet", tmp_path / "b.jsonl", write_options={"nested": True}, query_columns=["words", "taste"]
    )
    assert [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()] == lines


@pytest.mark.parametrize("cell", ["1", "x"])
def test_rows_are_sorted_by_query(cell, tmp_path):
    rows = ["b,0,3", "a,1,4", f"b,2,{cell}", "a,0,5"]
    paths = [write(tmp_path / f"{i}.csv", f"query_id,label,x\n{row}\n") for i, row in enumerate(rows)]
    with pytest.raises(DataError, match=r"2\.csv, line 2.*'b' has rows further up.*\(--sort\)"):
        convert(paths, tmp_path / "a.jsonl", write_options={"nested": True}, exclude=["x"])
    convert(paths, tmp_path / "a.csv", sort=True)
    assert read_table(str(tmp_path / "a.csv")).strings("x").tolist() == ["3", cell, "4", "5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.csv", "1.csv", "2.csv", "3.csv", "a.csv"]


def test_queries_without_id_are_numbered(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"label": [1, 0]}\n{"label": [2]}\n')
    convert([path, path], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().split() == ['"query_id","label"', "0,1", "0,0", "1,2", "2,1", "2,0", "3,2"]

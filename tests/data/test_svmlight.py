"""svmlight: values against Python's own parser, and the files with the sizes of queries beside it."""

from __future__ import annotations

import gzip
from pathlib import Path

import fsspec
import numpy as np
import pytest

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.table import Table

NUMBERS = ["1", "-2", "+3", "0.5", ".5", "5.", "1e-3", "1E5", "-0", "1_0", "00012", "1e-400", "3.4028235e38"]
NUMBERS += ["0.1000000014901161193847656250001", "16777217", "8.589973e9", "1.00000017881393432617187499"]


def oracle(text: str) -> tuple[list[list[str]], list[dict[int, np.float32]]]:
    """Label, query and document of each row, and its features as the float32 of Python's `float`."""
    heads, features = [], []
    for line in text.split("\n"):
        body, _, comment = line.partition("#")
        label, query, *cells = body.split() or ["", ""]
        if label:
            heads.append([label, query.removeprefix("qid:"), comment.partition("=")[2].strip()])
            pairs = (cell.split(":") for cell in cells)
            features.append({int(index): np.float32(float(value)) for index, value in pairs})
    return heads, features


def random_text(rng: np.random.Generator, rows: int, indices: list[int] | None, odd: bool) -> str:
    """Lines of rows, blank lines and comments; with `indices` all rows have them, else each has some of its own."""
    lines = []
    for row in range(rows):
        if rng.random() < 0.1:
            lines.append(rng.choice(["", "# comment 1:2", "  \t"]))
        own = np.sort(rng.choice(40, rng.integers(0, 6), replace=False)) if indices is None else indices
        space = (lambda: rng.choice([" ", "  ", "\t", "\v", "\r"])) if odd else (lambda: " ")
        cells = [f"{i}:{rng.choice(NUMBERS) if odd and rng.random() < 0.3 else repr(rng.normal())}" for i in own]
        ids = [str(rng.integers(5)), f"qid:{rng.choice(['7', 'a', '007', 'ü:x'])}"]
        lines.append("".join(f"{cell}{space()}" for cell in [*ids, *cells]) + f"#docid = d{row}")
    return "\n".join(lines)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("indices", [[1, 2, 3], [0, 4], None])
def test_every_cell_is_the_float32_that_python_reads(tmp_path: Path, indices: list[int] | None, odd: bool) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        text = random_text(rng, rng.integers(1, 9), indices, odd)
        heads, features = oracle(text)
        path = tmp_path / "a.txt"
        path.write_text(text, newline="")
        table = read_table(str(path))
        for place, name in enumerate(["label", "qid", "document_id"]):
            assert table.strings(name).tolist() == [head[place] for head in heads]
        matrix = table.matrix([f"f{i}" for i in range(41)])
        expected = [[row.get(i, np.float32(0)) for i in range(41)] for row in features]
        np.testing.assert_array_equal(matrix, np.array(expected, np.float32))
        assert table.first == min([1, *(i for row in features for i in row)])


def test_rows_that_repeat_their_indices_are_not_taken_for_two_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1 qid:1 1:5 2:6 1:7 2:8\n0 qid:1\n")
    with pytest.raises(DataError, match="line 1: feature 1 comes after feature 2"):
        read_table(str(path))
    path.write_text("1 qid:1 1:5 2:6 1:7\n0 qid:1 2:8\n")
    with pytest.raises(DataError, match="line 1: feature 1 comes after feature 2"):
        read_table(str(path))


def test_rows_without_features_are_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1 qid:1\n0 qid:1 # none\n")
    assert read_table(str(path)).numeric("f1").tolist() == [0, 0]


# the sizes of queries


def with_sizes(path: Path, sizes: str, ending: str = ".query") -> Table:
    content = b"1 1:5\n\n0 2:6 # x\n2 1:7\n"
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    Path(f"{path}{ending}").write_text(sizes)
    return read_table(str(path))


@pytest.mark.parametrize("ending", [".query", ".group"])
@pytest.mark.parametrize("name", ["a.txt", "a.svm.gz"])
def test_rows_without_qid_take_their_queries_from_a_file_beside(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / name
    table = with_sizes(path, "2\n0\n1\n", ending)
    assert table.strings("qid").tolist() == [f"{path}:1", f"{path}:1", f"{path}:3"]
    assert table.numeric("label").tolist() == [1, 0, 2]
    np.testing.assert_array_equal(table.matrix(["f1", "f2"]), [[5, 0], [0, 6], [7, 0]])


def test_queries_of_several_files_differ_and_urls_have_sizes_too() -> None:
    memory = fsspec.filesystem("memory")
    for name in "ab":
        memory.pipe(f"/sizes/{name}.txt", b"1 1:5\n0 1:6\n")
        memory.pipe(f"/sizes/{name}.txt.query", b"2\n")
    table = read_table("memory://sizes/*.txt")
    assert len(set(table.strings("qid"))) == 2


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ("2\n", "a.txt.query: its numbers add up to 2; {data} has more rows"),
        ("2\n2\n", "a.txt.query: its numbers add up to 4; {data} has 3 rows"),
        ("2\nx\n", "a.txt.query, line 2: needs the number of rows of a query. Received: 'x'"),
        ("1.5\n", "a.txt.query, line 1: needs the number of rows of a query. Received: '1.5'"),
        ("", "a.txt.query is empty"),
    ],
)
def test_wrong_sizes_of_queries_are_explained(tmp_path: Path, sizes: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        with_sizes(tmp_path / "a.txt", sizes)
    assert message.format(data=tmp_path / "a.txt") in str(caught.value)


def test_rows_with_qid_do_not_need_the_file_beside(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 qid:x 1:5\n")
    (tmp_path / "a.txt.query").write_text("7\n")
    assert read_table(str(tmp_path / "a.txt")).strings("qid").tolist() == ["x"]


def test_row_with_qid_among_rows_without_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1 1:5\n1 qid:x 1:5\n")
    Path(f"{path}.query").write_text("2\n")
    with pytest.raises(DataError, match="line 2: has 'qid:', the rows before it have not"):
        read_table(str(path))

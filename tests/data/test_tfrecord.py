"""TFRecord files: what TF-Ranking parses is read, in whatever form protobuf allows; damaged files are refused."""

import base64
import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ml4ir_losses.compat.tf_ranking import data
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.convert import convert
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.data.nested import unnest
from ml4ir_losses.data.readers import read_chunks, read_table
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.tfrecord import framing, queries, wire
from ml4ir_losses.data.tfrecord.kinds import possible_kinds
from ml4ir_losses.data.writers import write_chunks
from ml4ir_losses.data.writers.base import WriterRoles

GOLDEN = Path(__file__).parents[1] / "golden" / "tfrecord"
LIST_KINDS = ("elwc", "eie", "sequence_example")
CONTEXT = ("query_id", "tokens", "age")
LISTS = ("tokens", "genres", "vector", "raw")


@pytest.fixture(scope="module")
def golden():
    return json.loads((GOLDEN / "parsed.json").read_text())


def as_json(value):
    """A cell as the golden file has it: text and bytes as base64."""
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, (str, bytes)):
        return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
    return value


def cells(table):
    return {name: as_json(column.to_pylist()) for name, column in table.columns.items()}


def write(path, records):
    path.write_bytes(b"".join(framing.framed(record) for record in records))
    return str(path)


def example(**features):
    lists = {float: "float_list", int: "int64_list", bytes: "bytes_list"}
    message = tf.train.Example()
    for name, values in features.items():
        feature = message.features.feature[name]
        if values:
            getattr(feature, lists[type(values[0])]).value.extend(values)
    return message


def elwc(*documents, **context):
    """An ExampleListWithContext."""
    parts = [wire.delimited(1, document.SerializeToString()) for document in documents]
    return b"".join([*parts, wire.delimited(2, example(**context).SerializeToString())])


@pytest.mark.parametrize("kind", LIST_KINDS)
def test_documents_are_those_that_were_written(kind, golden):
    """Where TF-Ranking pads and fills in defaults, the table has missing cells."""
    read = cells(read_table(str(GOLDEN / f"{kind}.tfrecord")))
    documents = [(context, document) for context, documents in golden["queries"] for document in documents]
    for row, (context, document) in enumerate(documents):
        for name in {*read} - {"rank", "clicked"}:
            expected = (context if name in CONTEXT else document).get(name)
            if kind == "sequence_example" and name == "label":
                expected = expected or [0.0]
            if name not in LISTS:
                expected = expected[0] if expected else None
                expected = np.float32(expected) if isinstance(expected, float) else expected
            cell = read[name][row]
            if isinstance(expected, list) or cell in ([], None):  # an empty list is no list in a SequenceExample
                expected = np.float32(expected).tolist() if name == "vector" and expected else expected
                assert (cell or []) == (expected or []), (name, row)
            else:
                assert cell == expected, (name, row)


@pytest.mark.parametrize("kind", LIST_KINDS)
def test_values_equal_those_that_tf_ranking_parses(kind, golden):
    table = read_table(str(GOLDEN / f"{kind}.tfrecord"))
    parsed, read = golden[kind]["None"], cells(table)
    places = [(query, place) for query, size in enumerate(parsed["size"]) for place in range(size)]
    assert len(table) == len(places)
    defaults = {"label": -1.0, "price": 0.25, "title": as_json("none"), "query_id": as_json(""), "age": -7}
    for name in set(parsed) - {"size", "mask"}:
        values = parsed[name]
        if isinstance(values, dict):
            expected = {place: [] for place in places}
            for index, value in zip(values["indices"], values["values"], strict=True):
                for place in places:
                    if place[: len(index) - 1] == tuple(index[:-1]):
                        expected[place].append(value)
            column = [cell if isinstance(cell, list) else [] if cell is None else [cell] for cell in read[name]]
            assert column == list(expected.values()), name
        else:
            dense = [values[query] if name in CONTEXT else values[query][place] for query, place in places]
            default = defaults.get(name, 0)
            assert [default if cell is None else cell for cell in read[name]] == [cell[0] for cell in dense], name


def test_examples_equal_those_that_tf_ranking_parses(golden):
    read, parsed = cells(read_table(str(GOLDEN / "example.tfrecord"))), golden["example"]
    assert [0.25 if cell is None else cell for cell in read["price"]] == [cell[0] for cell in parsed["price"]]
    assert [0 if cell is None else cell for cell in read["clicks"]] == [cell[0][0] for cell in parsed["clicks"]]
    assert "query_id" not in read


@pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecord.gz", "a.tfrecords.zst", "memory://reading/a.tfrecord.gz"])
@pytest.mark.parametrize("inner", [bytes, gzip.compress, zlib.compress])
def test_compression_by_ending_or_found_in_the_content(name, inner, tmp_path):
    content = inner(b"".join(framing.framed(example(f=[float(i)]).SerializeToString()) for i in range(3)))
    content = gzip.compress(content) if name.endswith(".gz") else content
    content = pa.compress(content, "zstd", asbytes=True) if name.endswith(".zst") else content
    if name.startswith("memory"):
        import fsspec

        with fsspec.open(name, "wb") as stream:
            stream.write(content)
    else:
        name = str(tmp_path / name)
        Path(name).write_bytes(content)
    assert read_table(name, kind="example").columns["f"].to_pylist() == [0.0, 1.0, 2.0]


def test_small_blocks_give_the_same_rows_and_places(monkeypatch):
    path = str(GOLDEN / "elwc.tfrecord")
    whole = read_table(path, lists=LISTS)
    monkeypatch.setattr(framing, "BLOCK", 64)  # most records are longer
    chunks = list(read_chunks(path, lists=LISTS))
    assert len(chunks) > 8
    parts = Table.concat(chunks)
    assert {name: column.to_pylist() for name, column in parts.columns.items()} == {
        name: whole.columns[name].to_pylist() for name in parts.columns
    }
    assert [parts.locate(row) for row in range(len(parts))] == [whole.locate(row) for row in range(len(whole))]


VALUES = {
    1: st.lists(st.one_of(st.binary(max_size=4), st.binary(min_size=130, max_size=140)), max_size=3),
    2: st.lists(st.floats(width=32, allow_nan=False), max_size=3),
    3: st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300), max_size=3),
}
KINDS = {"a": 1, "bb": 2, "long name " * 14: 3, "né": 2, "id": 1}
FEATURES = st.fixed_dictionaries({}, optional={name: VALUES[kind] for name, kind in KINDS.items()})


@st.composite
def messages(draw):
    """`Features` as bytes in forms that protobuf allows: any order, a key twice, unpacked, in parts, unknown fields."""
    features = draw(FEATURES)
    parts = []
    for name in draw(st.permutations(list(features))):
        kind, values = KINDS[name], features[name]
        content = wire.feature(kind, values)
        form = draw(st.sampled_from(("packed", "unpacked", "parts", "twice", "unknown", "last value first")))
        one = {1: lambda v: wire.delimited(1, v), 2: lambda v: b"\x0d" + np.float32(v).tobytes()}
        one[3] = lambda v: b"\x08" + wire.varint(v)
        if form == "unpacked":
            content = wire.delimited(kind, b"".join(map(one[kind], values)))
        elif form == "parts":
            content = wire.feature(kind, values[:1]) + wire.feature(kind, values[1:])
        elif form == "twice":
            parts.append(wire.entry(name.encode(), wire.feature(1, [b"overwritten"])))
        elif form == "unknown":
            content += wire.delimited(7, b"unknown")
        key, value = wire.delimited(1, name.encode()), wire.delimited(2, content)
        parts.append(wire.delimited(1, value + key if form == "last value first" else key + value))
    return features, b"".join(parts)


@given(st.lists(messages(), min_size=1, max_size=6))
@settings(max_examples=60)
def test_whatever_protobuf_accepts_is_read(monkeypatch_module, written):
    """The same as TensorFlow's own parser of protobuf messages, with and without the short cut for equal documents."""
    records = [wire.delimited(1, data[: len(data)]) for _, data in written]
    path = write(monkeypatch_module, [elwc(), elwc(*map(tf.train.Example.FromString, records)), *raw_elwc(records)])
    expected = [tf.train.Example.FromString(record).features.feature for record in records] * 2
    table = read_table(path, kind="elwc", lists=list(KINDS))
    for name, kind in KINDS.items():
        column = table.columns[name].to_pylist() if name in table else [None] * len(table)
        for cell, features in zip(column, expected, strict=True):
            values = getattr(features[name], wire.KIND_NAMES[kind]).value if name in features else []
            cell = [v.encode() if isinstance(v, str) else v for v in cell or []]
            assert cell == list(values), name


def raw_elwc(records):
    """An ExampleListWithContext of serialised documents as they are, the context before them and in two parts."""
    context = wire.delimited(2, example(x=[1]).SerializeToString())
    return [b"".join([context, *(wire.delimited(1, record) for record in records), context])]


@pytest.fixture(scope="module")
def monkeypatch_module(tmp_path_factory):
    return tmp_path_factory.mktemp("tfrecord") / "a.tfrecord"


def test_equal_documents_are_read_as_different_ones_are(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    documents = [
        example(
            id=[b"%d" % rng.integers(5000, 20000)],
            label=[int(rng.integers(0, 100))],
            negative=[-1 - i],
            vector=rng.normal(size=2).tolist(),
            **{f"f{j}": [float(rng.normal())] for j in range(5) if i % 50 or j},
        )
        for i in range(700)
    ]
    path = write(tmp_path / "a.tfrecord", [elwc(*documents[i : i + 7], q=[b"q%d" % i]) for i in range(0, 700, 7)])
    monkeypatch.setattr(queries, "read_alike", counted := Counted(queries.read_alike))
    fast = read_table(path)
    assert counted.found == 1  # the documents; there are few contexts, of different sizes
    monkeypatch.setattr(queries, "read_alike", lambda *_: None)
    slow = read_table(path)
    assert fast.names == slow.names
    for name in fast.names:
        assert fast.columns[name].equals(slow.columns[name]), name
    assert fast.columns["f1"].to_pylist() == [
        document.features.feature["f1"].float_list.value[0] for document in documents
    ]
    assert fast.columns["f0"].null_count == 14


class Counted:
    """A function that counts what it finds."""

    def __init__(self, function):
        self.function, self.found = function, 0

    def __call__(self, *args):
        result = self.function(*args)
        self.found += result is not None
        return result


def test_kind_is_found_from_the_first_record_that_tells_it(tmp_path, caplog):
    sequence = tf.train.SequenceExample()
    sequence.feature_lists.feature_list["x"].feature.add().float_list.value.append(1.0)
    records = {"elwc": elwc(example(x=[1.0])), "sequence_example": sequence.SerializeToString()}
    with caplog.at_level("INFO", "ml4ir_losses"):
        for kind, record in records.items():
            assert possible_kinds(record) == [kind]
            path = write(tmp_path / "a.tfrecord", [b"", record])
            assert read_table(path).columns["x"].to_pylist() == [1.0]
            assert f"read as {kind}" in caplog.text
    assert "1 of its records has no documents" in caplog.text
    with pytest.raises(DataError, match=r"record 1: it is of the kind elwc, not example \(data.options.kind\)"):
        read_table(write(tmp_path / "a.tfrecord", [records["elwc"]]), kind="example")


def test_queries_without_an_id_are_numbered_by_their_record(tmp_path):
    path = write(tmp_path / "a.tfrecord", [elwc(example(x=[1.0]), example(x=[2.0])), elwc(), elwc(example(x=[3.0]))])
    assert list(read_table(path).strings("query_id")) == [f"{path}:1", f"{path}:1", f"{path}:3"]


def test_lists_are_values_of_a_document(tmp_path):
    """`unnest` makes rows of lists elsewhere, where a row may be a query with its documents."""
    table = read_table(write(tmp_path / "a.tfrecord", [elwc(example(x=[1.0, 2.0]), example(x=[3.0]))]))
    assert len(unnest(table)) == 2
    assert unnest(Table.concat([table, table])).columns["x"].to_pylist() == [[1.0, 2.0], [3.0]] * 2


def test_feature_of_query_and_document_is_that_of_the_query(tmp_path, caplog):
    path = write(tmp_path / "a.tfrecord", [elwc(example(x=[1.0]), x=[2.0])])
    assert read_table(path).columns["x"].to_pylist() == [2.0]
    assert "'x' is a feature of queries and of documents" in caplog.text


def damaged(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content, size: content[: 2 * size - 7], "record 2: the file ends inside this record; it is truncated"),
        (lambda content, size: content[: size + 5], "record 2: the file ends inside this record; it is truncated"),
        (lambda content, size: damaged(content, 2 * size - 6), r"record 2: its content is damaged \(CRC\)"),
        (lambda content, size: damaged(content, size + 2), r"record 2: its length is damaged \(CRC\)"),
        (lambda content, size: b"label,x\n1,2,3\n", "record 1: this is no TFRecord file"),
        (lambda content, size: b"", "has no records"),
        (lambda content, size: gzip.compress(content)[:-9], "its compressed content is cut short"),
        (lambda content, size: damaged(gzip.compress(content), 30), "cannot be read"),
    ],
)
def test_damaged_file_is_refused_with_its_record(change, message, tmp_path):
    path = write(tmp_path / "a.tfrecord", [example(x=[float(i)]).SerializeToString() for i in range(3)])
    content = Path(path).read_bytes()
    Path(path).write_bytes(change(content, len(content) // 3))
    with pytest.raises(DataError, match=message) as error:
        read_table(path)
    assert str(error.value).startswith(path)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (example(x=[1]), "record 3: feature 'x' is an int64_list, and a float_list before"),
        (example(x=[1.0, 2.0]), r"record 3: feature 'x' has 2 values.*set data.options.lists to \[x\]"),
        (example(x=[1.0], t=[b"\xff"]), r"record 3: feature 't' is not valid UTF-8: b'\\xff'"),
        (b"\x0a\x05abc", "record 3: a field runs over the end of its message"),
        (wire.delimited(1, wire.entry(b"x", wire.delimited(2, wire.delimited(1, b"12345")))), "a float_list"),
    ],
)
def test_record_that_does_not_fit_is_refused(last, message, tmp_path, monkeypatch):
    monkeypatch.setattr(framing, "BLOCK", 64)
    record = last if isinstance(last, bytes) else last.SerializeToString()
    first = example(x=[1.0], t=[b"text"]).SerializeToString()
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "a.tfrecord", [first, first, record]))


def test_feature_that_comes_later_is_missing_before(tmp_path, monkeypatch):
    monkeypatch.setattr(framing, "BLOCK", 64)
    records = [example(x=[1.0]), example(x=[2.0], y=[b"late"]), example(y=[b"later"])]
    table = read_table(write(tmp_path / "a.tfrecord", [record.SerializeToString() for record in records]))
    assert table.columns["y"].to_pylist() == [None, "late", "later"]
    assert table.columns["x"].to_pylist() == [1.0, 2.0, None]


def awkward_table():
    """Columns of all types, of queries and of documents, with missing cells."""
    return memory_table(
        {
            "query_id": ["a", "a", "b", "c", "c", "c"],
            "country": ["de", "de", None, "ü", "ü", "ü"],
            "label": [0, 1, 2, 0, 4, 3],
            "price": pa.array([0.1, None, 2.5, -1e30, 1e-40, 7], pa.float32()),
            "large": [2**40, -1, None, 0, 2**63 - 1, -(2**63)],
            "title": ["x", "", None, "größe", "y", "z"],
            "tags": pa.array([["a", "b"], [], None, ["c"], ["d"], ["e", "é"]]),
            "vector": pa.array([[1.5], [2.5, 3.5], None, [], [4.5], [5.5]], pa.list_(pa.float32())),
            "raw": pa.array([b"\xff", None, b"", b"a", b"b", b"c"]),
            "flag": [True, False, None, True, True, False],
        }
    )


ROLES = WriterRoles(query_id="query_id", label="label", query_columns=("country",))


@pytest.mark.parametrize("kind", [*LIST_KINDS, "example"])
def test_written_files_read_back_the_same(kind, tmp_path):
    path, table = str(tmp_path / "a.tfrecord"), awkward_table()
    chunks = [table.take([0]), table.take([1, 2, 3]), table.take([4, 5])]
    assert write_chunks(path, chunks, roles=ROLES, kind=kind) == 6
    read = read_table(path, kind=kind, lists=["tags", "vector"])
    assert set(read.names) == set(table.names)
    for name in table.names:
        expected = [int(cell) if isinstance(cell, bool) else cell for cell in table.columns[name].to_pylist()]
        cells = read.columns[name].to_pylist()
        if kind == "sequence_example" and name in ("tags", "vector"):  # a query without any: no list; else empty ones
            expected, cells = [cell or None for cell in expected], [cell or None for cell in cells]
        assert cells == expected, name


def test_tf_ranking_parses_written_files(tmp_path):
    """By the parsers of `compat`, which equal TF-Ranking's on its golden files."""
    for kind, key in (("elwc", data.ELWC), ("eie", data.EIE), ("sequence_example", data.SEQ)):
        path = str(tmp_path / f"{kind}.tfrecord")
        write_chunks(path, [awkward_table()], roles=ROLES, kind=kind)
        context = {"country": tf.io.FixedLenFeature([1], tf.string, default_value=["?"])}
        documents = {
            "label": tf.io.FixedLenFeature([1], tf.int64, default_value=[-1]),
            "vector": tf.io.VarLenFeature(tf.float32),
        }
        records = tf.stack(list(tf.data.TFRecordDataset(path)))
        batch = data.make_parsing_fn(key, None, context, documents)(records)
        assert batch["country"].numpy().tolist() == [[b"de"], [b"?"], ["ü".encode()]]
        assert batch["label"].numpy()[..., 0].tolist() == [[0, 1, -1], [2, -1, -1], [0, 4, 3]]
        assert batch["vector"].values.numpy().tolist() == [1.5, 2.5, 3.5, 4.5, 5.5]


@pytest.mark.parametrize(
    ("column", "roles", "message"),
    [
        (pa.array([{"x": 1}] * 6), ROLES, "column 'odd': tfrecord cannot hold struct"),
        (pa.array([[[1]]] * 6), ROLES, "column 'odd': tfrecord cannot hold list"),
        (pa.array([2**64 - 1] * 6, pa.uint64()), ROLES, "column 'odd': tfrecord cannot hold Integer value"),
        (pa.array([1e39] * 6), ROLES, "column 'odd': tfrecord cannot hold numbers beyond float32"),
        (pa.array([1] * 6), WriterRoles(), "elwc needs the column of the query id"),
    ],
)
def test_what_a_feature_cannot_hold_is_refused(column, roles, message, tmp_path):
    table = awkward_table()
    table = Table({**table.columns, "odd": column}, table.sources)
    with pytest.raises(DataError, match=message):
        write_chunks(tmp_path / "a.tfrecord", [table], roles=roles)
    assert not list(tmp_path.iterdir())


def test_rounding_to_float32_is_told(tmp_path, caplog):
    table = memory_table({"query_id": ["a", "b"], "exact": [0.5, None], "rounded": [0.5, 0.1]})
    with caplog.at_level("INFO", "ml4ir_losses"):
        write_chunks(tmp_path / "a.tfrecord", [table, table.take([1])], kind="example")
    assert [record.args[0] for record in caplog.records] == ["rounded"]
    assert read_table(str(tmp_path / "a.tfrecord")).columns["rounded"].to_pylist() == [0.5, *[np.float32(0.1)] * 2]


def test_training_reads_what_convert_wrote(tmp_path):
    """The same rows as the CSV file they were converted from, in the same order."""
    rng = np.random.default_rng(0)
    log = {
        "query_id": [f"q{i // 4}" for i in range(40)],
        "label": rng.integers(0, 3, 40),
        "price": rng.integers(0, 99, 40),
    }
    memory_table(log).to_csv(tmp_path / "a.csv")
    for kind in (*LIST_KINDS, "example"):
        convert(str(tmp_path / "a.csv"), tmp_path / "a.tfrecord", write_options={"kind": kind}, overwrite=True)
        table = read_table(str(tmp_path / "a.tfrecord"))
        assert list(table.strings("query_id")) == log["query_id"]
        for name in ("label", "price"):
            np.testing.assert_array_equal(table.numeric(name), log[name])


def test_sequence_examples_in_any_form_are_read(tmp_path):
    """Messages in two parts, unpacked numbers, a list twice, unknown fields, and lists of different lengths."""

    def feature_list(name, *features):
        return wire.entry(name, b"".join(wire.delimited(1, feature) for feature in features))

    unpacked = wire.delimited(3, b"\x08\x01\x08\x7f")
    records = [
        wire.delimited(2, feature_list(b"x", wire.feature(2, [1.5])) + feature_list(b"n", unpacked, b""))
        + wire.delimited(1, wire.entry(b"a", wire.feature(3, [7])))
        + wire.delimited(2, feature_list(b"t", wire.feature(1, [b"text"]), wire.feature(1, [b"x" * 200])))
        + wire.delimited(1, wire.entry(b"b", wire.feature(1, [b"c"])))
        + wire.delimited(9, b"unknown"),
        wire.delimited(2, feature_list(b"n", wire.feature(3, [0])) + feature_list(b"n", wire.feature(3, [5, -5]))),
    ]
    table = read_table(write(tmp_path / "a.tfrecord", records), kind="sequence_example")
    expected = {
        "x": [1.5, None, None],
        "n": [[1, 127], None, [5, -5]],
        "t": ["text", "x" * 200, None],
        "a": [7, 7, None],
        "b": ["c", "c", None],
    }
    assert {name: table.columns[name].to_pylist() for name in expected} == expected


def test_whole_numbers_beyond_float64_are_rounded_where_numbers_are_needed():
    table = read_table(str(GOLDEN / "elwc.tfrecord"))
    np.testing.assert_array_equal(table.numeric("clicks")[:3], [2.0**40 + 1, -1, -(2.0**63)])
    np.testing.assert_array_equal(table.matrix(["age"])[:1], [[np.float32(2.0**53)]])


def test_bytes_that_are_no_text_are_refused_where_text_is_needed(tmp_path):
    path = write(tmp_path / "a.tfrecord", [example(x=[raw]).SerializeToString() for raw in (b"a", b"\xff\xfe")])
    table = read_table(path)
    assert table.columns["x"].to_pylist() == [b"a", b"\xff\xfe"]
    with pytest.raises(DataError, match=r"a\.tfrecord, record 2, column 'x': b'\\xff\\xfe' is not valid UTF-8"):
        table.strings("x")
    assert list(table.take([0]).strings("x")) == ["a"]

"""Serialized messages inside a graph: their columns are those that the reader of TFRecord files gives."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.tfrecord import wire
from ml4ir_losses.export.messages import MessageReader
from ml4ir_losses.features.fitted import ColumnType

pytestmark = pytest.mark.backend("tensorflow")
GOLDEN = Path(__file__).parents[1] / "golden" / "tfrecord"
COLUMNS = {
    "age": ColumnType("float64", scope="query"),
    "query_id": ColumnType("string", scope="query"),
    "tokens": ColumnType("string", (None,), "query"),
    "label": ColumnType("float32"),
    "price": ColumnType("float32"),
    "clicks": ColumnType("float64"),
    "title": ColumnType("string"),
    "genres": ColumnType("string", (None,)),
    "vector": ColumnType("float32", (None,)),
}


@pytest.fixture(scope="module")
def reader():
    return MessageReader(COLUMNS)


def records(kind):
    """The records of a golden file, made by TF-Ranking's environment."""
    path = str(GOLDEN / f"{kind}.tfrecord")
    compression = "GZIP" if kind == "sequence_example" else ""
    return [record.numpy() for record in tf.data.TFRecordDataset(path, compression)]


def cell(value, column):
    """A cell as the reader has it: without padding, None where it is missing."""
    if column.shape:
        return [item for item in map(plain, value) if item not in ("", None)]
    return plain(value)


def plain(value):
    if isinstance(value, bytes):
        return value.decode() or None
    return None if np.isnan(value) else float(value)


def expected_cell(value, column):
    if column.shape:
        return [item for item in value or [] if item != ""]
    return None if value == "" else value


@pytest.mark.parametrize("kind", ["elwc", "sequence_example", "example"])
def test_columns_of_golden_files_are_those_of_the_reader(reader, kind):
    """Lists of many sizes, without documents, without features; integers beyond 2^53; texts in any script."""
    method = {"elwc": "example_lists", "sequence_example": "sequence_examples", "example": "examples"}[kind]
    columns, mask = getattr(reader, method)(tf.constant(records(kind)))
    table = read_table(str(GOLDEN / f"{kind}.tfrecord"))
    places = np.argwhere(mask.numpy() > 0)
    assert len(places) == len(table)
    for name, column in COLUMNS.items():
        values = columns[name].numpy()
        found = [cell(values[q] if column.scope == "query" else values[q, d], column) for q, d in places]
        cells = table.columns[name].to_pylist() if name in table else [None] * len(table)
        for one, other in zip(found, cells, strict=True):
            other = expected_cell(other, column)
            if column.dtype != "string" and other is not None:  # TensorFlow rounds 1e-45 to 0
                np.testing.assert_allclose(one, np.asarray(other, column.dtype), rtol=0, atol=1e-40)
            else:
                assert one == other, name


def example(**features):
    """A serialized Example; the kind of a feature follows from its values."""
    kinds = {float: wire.FLOAT, int: wire.INT64, bytes: wire.BYTES}
    entries = (
        wire.entry(name.encode(), wire.feature(kinds[type(values[0])] if values else 0, values))
        for name, values in features.items()
    )
    return wire.delimited(1, b"".join(entries))


def lists(context, *documents):
    return b"".join([*(wire.delimited(1, document) for document in documents), wire.delimited(2, context)])


def test_numbers_and_texts_are_converted_as_the_reader_does(reader):
    columns, _ = reader.examples(
        tf.constant(
            [
                example(price=[3], clicks=[b" 1e3 "], title=[7], genres=[1, 2], vector=[4]),
                example(price=[b""], clicks=[2.5], title=[12.0], age=[b"1700000000.25"]),
                example(price=[], title=[b"as it is "]),
            ]
        )
    )
    np.testing.assert_array_equal(columns["price"][:, 0], [3, np.nan, np.nan])
    np.testing.assert_array_equal(columns["clicks"][:, 0], [1e3, 2.5, np.nan])
    np.testing.assert_array_equal(columns["age"], [np.nan, 1700000000.25, np.nan])
    assert columns["title"].numpy()[:, 0].tolist() == [b"7", b"12", b"as it is "]
    assert columns["genres"].numpy()[:, 0].tolist() == [[b"1", b"2"], [b"", b""], [b"", b""]]


def test_feature_of_the_query_counts_before_that_of_its_documents(reader):
    columns, mask = reader.example_lists(
        tf.constant(
            [
                lists(example(price=[9.0]), example(price=[1.0], age=[5]), example(age=[6])),
                lists(example(age=[7]), example(price=[1.0], age=[5])),
                lists(b""),
            ]
        )
    )
    np.testing.assert_array_equal(mask, [[1, 1], [1, 0], [0, 0]])
    np.testing.assert_array_equal(columns["price"], [[9, 9], [1, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(columns["age"], [5, 7, np.nan])  # else that of the first document


def test_messages_that_are_joined_count_as_one(reader):
    """TensorFlow Serving appends a request's context to each of its examples."""
    columns, _ = reader.examples(tf.constant([example(price=[1.0], label=[2.0]) + example(price=[3.0], age=[4])]))
    assert [float(columns[name].numpy().reshape(-1)[0]) for name in ("price", "label", "age")] == [3, 2, 4]


def test_numbers_that_are_not_packed_are_read(reader):
    feature = wire.delimited(wire.FLOAT, b"\x0d\x00\x00\x80\x3f")  # 1.0 as a field of four bytes
    columns, _ = reader.examples(tf.constant([wire.delimited(1, wire.entry(b"price", feature))]))
    assert float(columns["price"][0, 0]) == 1.0


def test_vectors_may_be_texts_with_a_separator():
    reader = MessageReader({"v": ColumnType("float32", (3,), separator="|"), "n": ColumnType("float32")})
    given = [example(v=[b"1| 2|3.5"]), example(v=[4.0, 5.0, 6.0]), example(n=[1.0]), example(v=[b" "])]
    columns, _ = reader.examples(tf.constant(given))
    nothing = [np.nan] * 3
    np.testing.assert_array_equal(columns["v"][:, 0], [[1, 2, 3.5], [4, 5, 6], nothing, nothing])


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (example(price=[1.0, 2.0]), "feature 'price' has several values, and its column one"),
        (example(title=[0.5]), "feature 'title' holds numbers that are not whole, and its column text"),
        (example(size=[1.0]), "feature 'size' is no vector of 2 numbers"),
        (example(price=[b"dear"]), "dear"),
        (b"\xff\xff", "Failed to consume entire buffer"),
    ],
)
def test_unusable_message_is_an_error_that_names_it(message, reason):
    columns = {**COLUMNS, "size": ColumnType("float32", (2,))}
    with pytest.raises(tf.errors.OpError, match=reason):
        MessageReader(columns).examples(tf.constant([example(label=[1.0]), message]))

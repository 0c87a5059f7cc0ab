"""`compat.tf_ranking.data` beside TF-Ranking's parsers: golden numbers of the files in golden/tfrecord."""

import base64
import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ml4ir_losses.compat.tf_ranking import data
from ml4ir_losses.core.errors import UserError

pytestmark = pytest.mark.backend("tensorflow")

FOLDER = Path(__file__).parents[1] / "golden" / "tfrecord"
KINDS = {"elwc": data.ELWC, "eie": data.EIE, "sequence_example": data.SEQ}
COMPRESSION = {"sequence_example": "GZIP"}


@pytest.fixture(scope="module")
def golden():
    return json.loads((FOLDER / "parsed.json").read_text())


def fixed(dtype, default):
    return tf.io.FixedLenFeature([1], dtype, default_value=[default])


CONTEXT = {
    "query_id": fixed(tf.string, ""),
    "tokens": tf.io.VarLenFeature(tf.string),
    "age": fixed(tf.int64, -7),
}
DOCUMENTS = {
    "label": fixed(tf.float32, -1.0),
    "clicks": fixed(tf.int64, 0),
    "genres": tf.io.VarLenFeature(tf.string),
    "vector": tf.io.VarLenFeature(tf.float32),
    "raw": tf.io.VarLenFeature(tf.string),
}
LISTS = {"price": fixed(tf.float32, 0.25), "title": fixed(tf.string, "none")}
SEQUENCES = {
    "price": tf.io.VarLenFeature(tf.float32),
    "title": tf.io.VarLenFeature(tf.string),
    "rank": fixed(tf.int64, 0),
    "clicked": fixed(tf.int64, -1),
}


def spec(kind):
    return {**DOCUMENTS, **(SEQUENCES if kind == "sequence_example" else LISTS)}


def as_json(value):
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def tensors(features):
    """Features as the golden file has them."""
    found = {}
    for name, value in features.items():
        if isinstance(value, tf.SparseTensor):
            parts = {"indices": value.indices, "values": value.values, "shape": value.dense_shape}
            found[name] = {part: as_json(tensor.numpy().tolist()) for part, tensor in parts.items()}
        else:
            found[name] = as_json(value.to_list() if isinstance(value, tf.RaggedTensor) else value.numpy().tolist())
    return found


def records(kind):
    return list(tf.data.TFRecordDataset(str(FOLDER / f"{kind}.tfrecord"), COMPRESSION.get(kind, "")))


def check(parsed, expected):
    assert set(parsed) == set(expected)
    for name in expected:
        assert parsed[name] == expected[name], name


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_parsed_features_equal_those_of_tf_ranking(kind, graph, golden):
    for size in (None, 2, 8):
        parse = data.make_parsing_fn(KINDS[kind], size, CONTEXT, spec(kind), "size", "mask")
        parse = tf.function(parse) if graph else parse
        check(tensors(parse(tf.stack(records(kind)))), golden[kind][str(size)])


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_ragged_features_equal_those_of_tf_ranking(kind, graph, golden):
    ragged = {"vector": tf.io.RaggedFeature(tf.float32), "label": DOCUMENTS["label"]}
    serialized = records(kind)
    for size in (None, 2, 8):
        parse = data.make_parsing_fn(KINDS[kind], size, example_feature_spec=ragged)
        parse = tf.function(parse) if graph else parse
        check(tensors(parse(tf.stack(serialized[:1] + serialized[4:]))), golden[kind]["ragged"][str(size)])


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_files_equal_those_of_tf_ranking(kind, golden):
    dataset = data.build_ranking_dataset(
        str(FOLDER / f"{kind}.tfrecord"),
        KINDS[kind],
        batch_size=5,
        context_feature_spec=CONTEXT,
        example_feature_spec=spec(kind),
        list_size=4,
        mask_feature_name="mask",
        num_epochs=1,
        shuffle=False,
        reader_args=[COMPRESSION.get(kind, "")],
    )
    assert dataset.element_spec["label"].shape.as_list() == [None, 4, 1]
    for batch, expected in zip(dataset, golden[kind]["batches"], strict=True):
        check(tensors(batch), expected)


def test_examples_are_lists_of_one_document(golden):
    documents = {name: spec("elwc")[name] for name in DOCUMENTS}
    parsed = data.parse_from_tf_example(records("example"), {"price": LISTS["price"]}, documents, "size", "mask")
    check(tensors(parsed), golden["example"])


@pytest.mark.parametrize("kind", ["elwc", "eie"])
def test_shuffled_documents_are_those_of_the_list(kind, golden):
    label = {"label": DOCUMENTS["label"]}
    parse = data.make_parsing_fn(KINDS[kind], None, None, label, "size", shuffle_examples=True, seed=1)
    parsed = parse(tf.stack(records(kind)))
    labels, expected = parsed["label"].numpy(), np.array(golden[kind]["None"]["label"])
    assert (labels != expected).any()
    for ours, theirs, size in zip(labels, expected, parsed["size"].numpy(), strict=True):
        assert sorted(ours[:size, 0]) == sorted(theirs[:size, 0])
        assert (ours[size:] == -1).all()


def test_records_are_repeated_shuffled_and_dropped():
    path = str(FOLDER / "elwc.tfrecord")
    options = {"context_feature_spec": {"query_id": CONTEXT["query_id"]}, "example_feature_spec": DOCUMENTS}

    def ids(**kwargs):
        dataset = data.build_ranking_dataset(path, data.ELWC, 3, **options, **kwargs)
        return [batch["query_id"].numpy()[:, 0].tolist() for batch in dataset.take(4)]

    ordered = ids(num_epochs=1, shuffle=False)
    assert [len(batch) for batch in ordered] == [3, 3, 3, 1]
    assert [len(batch) for batch in ids(shuffle=False)] == [3, 3, 3, 3]  # without end: no smaller batch
    shuffled = ids(num_epochs=1, shuffle_seed=1)
    assert shuffled != ordered
    assert sorted(chain(*shuffled)) == sorted(chain(*ordered))
    assert len(ids(num_epochs=1, drop_final_batch=True)) == 3


def test_wrong_arguments_are_named():
    with pytest.raises(UserError, match=r"Unknown data format 'elwc'.*Allowed: example_list_with_context"):
        data.make_parsing_fn("elwc")
    with pytest.raises(UserError, match="`shuffle_examples` is not possible with sequence_example"):
        data.parse_from_sequence_example([b""], example_feature_spec=DOCUMENTS, shuffle_examples=True)
    with pytest.raises(UserError, match="needs at least one feature"):
        data.parse_from_example_list([b""])
    with pytest.raises(UserError, match="must be a list of files"):
        data.build_ranking_dataset("x", data.ELWC, 1, None, DOCUMENTS, from_file_list=True)
    several = {"x": tf.io.FixedLenFeature([2], tf.float32, default_value=[1.0, 2.0])}
    with pytest.raises(UserError, match=r"Feature 'x': the default value must be a scalar"):
        data.parse_from_sequence_example([b""], example_feature_spec=several)

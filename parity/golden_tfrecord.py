"""Writes tests/golden/tfrecord: small TFRecord files, their content, and what TF-Ranking's parsers return for them.

The files hold the same queries as ExampleListWithContext, Example-in-Example and SequenceExample (compressed, with the
features `rank` and `clicked`, as ml4ir writes them), and some documents as plain examples.

Run by the Python of TF-Ranking's environment, from the root: .venv-parity-tfr/bin/python parity/golden_tfrecord.py
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_ranking as tfr
from tensorflow_serving.apis import input_pb2

FOLDER = Path("tests/golden/tfrecord")
Values = list[Any]
Example = dict[str, Values]

AWKWARD: list[tuple[Example, list[Example]]] = [
    (
        {"query_id": ["q-1"], "tokens": ["rote", "schuhe", "größe ☃"], "age": [2**53 + 1]},
        [
            {
                "label": [1.0],
                "price": [0.1],
                "clicks": [2**40 + 1],
                "title": ["naïve 東京"],
                "vector": [0.5, -1.5, 3e38],
            },
            {"label": [0.0], "clicks": [-1], "title": [""], "genres": [], "vector": [1e-45]},
            {
                "label": [4.0],
                "price": [-0.0],
                "clicks": [-(2**63)],
                "genres": ["a", "", "long " * 40],
                "raw": [b"\xff\0"],
            },
        ],
    ),
    ({"query_id": ["no documents"], "age": [0]}, []),
    ({}, [{"label": [2.0], "price": [16777216.0], "clicks": [2**63 - 1], "raw": [b"\xfe", b"", b"text"]}]),
    ({"query_id": ["empty document"], "tokens": []}, [{}, {"label": [3.0], "genres": ["b"]}, {}]),
]


def queries() -> list[tuple[Example, list[Example]]]:
    """The awkward queries, and many plain ones."""
    rng = np.random.default_rng(0)
    plain = []
    for query in range(6):
        documents = [
            {
                "label": [float(rng.integers(0, 5))],
                "price": [float(np.float32(rng.normal()))],
                "clicks": [int(rng.integers(0, 400))],
                "title": [f"document {rng.integers(0, 10**6)}"],
                "vector": rng.normal(size=2).astype(np.float32).tolist(),
            }
            for _ in range(rng.integers(1, 7))
        ]
        plain.append(({"query_id": [f"q{query}"], "age": [query]}, documents))
    return [*AWKWARD, *plain]


FLOATS, INTEGERS = ("label", "price", "vector"), ("clicks", "age", "rank", "clicked")


def feature(name: str, values: Values) -> tf.train.Feature:
    if name in FLOATS:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if name in INTEGERS:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    content = [value.encode() if isinstance(value, str) else value for value in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=content))


def example(features: Example) -> tf.train.Example:
    return tf.train.Example(features=tf.train.Features(feature={n: feature(n, v) for n, v in features.items()}))


def elwc(context: Example, documents: list[Example]) -> bytes:
    message = input_pb2.ExampleListWithContext(examples=[example(document) for document in documents])
    if context:
        message.context.CopyFrom(example(context))
    return message.SerializeToString()


def eie(context: Example, documents: list[Example]) -> bytes:
    parts = {
        "serialized_context": [example(context).SerializeToString()],
        "serialized_examples": [example(document).SerializeToString() for document in documents],
    }
    return example(parts).SerializeToString()


def sequence_example(context: Example, documents: list[Example]) -> bytes:
    """Lists of `clicks` are shorter where the last documents lack it; other missing features are empty ones."""
    names = sorted({name for document in documents for name in document})
    lists = {name: [document.get(name, []) for document in documents] for name in names}
    lists |= {"label": [document.get("label", [0.0]) for document in documents]}
    lists |= {"clicks": [document["clicks"] for document in documents if "clicks" in document]}
    lists |= {"rank": [[place] for place, _ in enumerate(documents, 1)]}
    lists |= {"clicked": [[int(document.get("label", [0])[0] > 2)] for document in documents]}
    lists = {name: values for name, values in lists.items() if values}
    return tf.train.SequenceExample(
        context=example(context).features,
        feature_lists=tf.train.FeatureLists(
            feature_list={
                name: tf.train.FeatureList(feature=[feature(name, value) for value in values])
                for name, values in lists.items()
            }
        ),
    ).SerializeToString()


CONTEXT = {
    "query_id": tf.io.FixedLenFeature([1], tf.string, default_value=[""]),
    "tokens": tf.io.VarLenFeature(tf.string),
    "age": tf.io.FixedLenFeature([1], tf.int64, default_value=[-7]),
}
FIXED = {
    "label": tf.io.FixedLenFeature([1], tf.float32, default_value=[-1.0]),
    "clicks": tf.io.FixedLenFeature([1], tf.int64, default_value=[0]),
}
VARIABLE = {
    "genres": tf.io.VarLenFeature(tf.string),
    "vector": tf.io.VarLenFeature(tf.float32),
    "raw": tf.io.VarLenFeature(tf.string),
}
ONLY_LISTS = {
    "price": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.25]),
    "title": tf.io.FixedLenFeature([1], tf.string, default_value=["none"]),
}
ONLY_SEQUENCES = {
    "price": tf.io.VarLenFeature(tf.float32),
    "title": tf.io.VarLenFeature(tf.string),
    "rank": tf.io.FixedLenFeature([1], tf.int64, default_value=[0]),
    "clicked": tf.io.FixedLenFeature([1], tf.int64, default_value=[-1]),
}
FORMATS = {
    "elwc": (elwc, tfr.data.parse_from_example_list, {**FIXED, **VARIABLE, **ONLY_LISTS}),
    "eie": (eie, tfr.data.parse_from_example_in_example, {**FIXED, **VARIABLE, **ONLY_LISTS}),
    "sequence_example": (
        sequence_example,
        tfr.data.parse_from_sequence_example,
        {**FIXED, **VARIABLE, **ONLY_SEQUENCES},
    ),
}
KEYS = {"elwc": tfr.data.ELWC, "eie": tfr.data.EIE, "sequence_example": tfr.data.SEQ}


def plain(value: Any) -> Any:
    """Numbers and bytes as JSON has them: bytes as base64."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return (
        base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
        if isinstance(value, (str, bytes))
        else value
    )


def tensors(features: dict[str, Any]) -> dict[str, Any]:
    """Parsed features: dense values, or the parts of a sparse tensor."""
    found = {}
    for name, value in sorted(features.items()):
        if isinstance(value, tf.SparseTensor):
            found[name] = {
                "indices": value.indices.numpy().tolist(),
                "values": plain(value.values.numpy().tolist()),
                "shape": value.dense_shape.numpy().tolist(),
            }
        elif isinstance(value, tf.RaggedTensor):
            found[name] = plain(value.to_list())
        else:
            found[name] = plain(value.numpy().tolist())
    return found


def main() -> None:
    """Writes the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    golden: dict[str, Any] = {"queries": plain(queries())}
    for name, (serialise, parse, documents) in FORMATS.items():
        records = [serialise(*query) for query in queries()]
        compressed = "GZIP" if name == "sequence_example" else ""
        path = FOLDER / f"{name}.tfrecord"
        with tf.io.TFRecordWriter(str(path), compressed) as writer:
            for record in records:
                writer.write(record)
        specs = {"context_feature_spec": CONTEXT, "example_feature_spec": documents}
        names = {"size_feature_name": "size", "mask_feature_name": "mask"}
        golden[name] = {}
        for size in (None, 2, 8):
            golden[name][str(size)] = tensors(parse(records, list_size=size, **specs, **names))
        ragged = {"vector": tf.io.RaggedFeature(tf.float32), "label": FIXED["label"]}
        golden[name]["ragged"] = {
            str(size): tensors(parse(records[:1] + records[4:], list_size=size, example_feature_spec=ragged))
            for size in (None, 2, 8)
        }
        golden[name]["batches"] = [
            tensors(batch)
            for batch in tfr.data.build_ranking_dataset(
                str(path),
                KEYS[name],
                batch_size=5,
                list_size=4,
                num_epochs=1,
                shuffle=False,
                reader_args=[compressed],
                mask_feature_name="mask",
                **specs,
            )
        ]
    documents = [document for _, documents in queries() for document in documents]
    with tf.io.TFRecordWriter(str(FOLDER / "example.tfrecord")) as writer:
        for document in documents:
            writer.write(example(document).SerializeToString())
    records = [example(document).SerializeToString() for document in documents]
    golden["example"] = tensors(
        tfr.data.parse_from_tf_example(
            records,
            context_feature_spec={"price": ONLY_LISTS["price"]},
            example_feature_spec={**FIXED, **VARIABLE},
            size_feature_name="size",
            mask_feature_name="mask",
        )
    )
    (FOLDER / "parsed.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

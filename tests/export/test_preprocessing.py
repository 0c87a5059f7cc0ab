"""`preprocessing.json` and its reader against the fitted inputs and tokenizers: every kind of input, any JSON cell."""

import json
import os

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.readers.jsonl import read_jsonl
from ml4ir_losses.data.table import Table
from ml4ir_losses.export.preprocessing import farmhash64, load
from ml4ir_losses.export.preprocessing_spec import input_spec
from ml4ir_losses.features.hashing import hashed
from ml4ir_losses.features.kinds import load_fitted

WORDS = ["red", "shoe", "a", "1", "true", "École", "0.5"]
NUMERIC = {"type": "numeric", "columns": ["x"], "fill": [0.0]}
INPUTS = {
    "numeric": NUMERIC,
    "date": {"type": "date", "parts": ["age"], "reference": 0.0, "age": {**NUMERIC, "name": "x"}},
    "vocabulary": {"type": "categorical", "vocabulary": WORDS},
    "oov": {"type": "categorical", "vocabulary": WORDS, "num_buckets": 3},
    "hash": {"type": "categorical", "num_buckets": 1000},
    "lists": {"type": "categorical", "vocabulary": WORDS, "num_buckets": 9, "pooling": "mean", "max_values": 3},
    "split": {
        "type": "categorical",
        "vocabulary": WORDS,
        "pooling": "max",
        "max_values": 2,
        "separator": ", ",
        "empty_is_missing": True,
    },
    "cross": {"type": "cross", "columns": ["x", "x"], "num_buckets": 1000},
    "vector": {"type": "vector", "size": 2},
    "split vector": {"type": "vector", "size": 2, "separator": ","},
    "text": {"type": "text", "vocabulary": WORDS, "max_length": 3},
    "ngrams": {
        "type": "text",
        "vocabulary": WORDS,
        "max_length": 3,
        "ngrams": (2, 4),
        "num_buckets": 50,
        "max_ngrams": 12,
    },
    "text_pair": {
        "type": "text_pair",
        "columns": ["x", "x", "x"],
        "vocabulary": WORDS,
        "max_length": 9,
        "max_query_length": 3,
    },
}
each_input = pytest.mark.parametrize("kind", INPUTS)

numbers = st.one_of(
    st.integers(-(2**64), 2**64),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-20, 20).map(lambda i: i / 4),
)
number_texts = st.one_of(
    numbers.map(str),
    st.from_regex(r"[ +-]?[0-9.]{1,5}([eE][+-]?[0-9]{1,3})?\s?"),
    st.sampled_from(["nan", "-Inf", "1e400"]),
)
date_texts = st.one_of(
    st.datetimes().map(lambda time: time.isoformat()),
    st.dates().map(str),
    st.from_regex(
        r"[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]"
        r"([T ][0-2][0-9](:[0-6][0-9]){0,2}(\.[0-9]{0,8})?(Z|[+-][0-2][0-9](:?[0-6][0-9])?)?)?"
    ),
)
words = st.sampled_from([*WORDS, "True", "FALSE", "red,", " shoe", "RED", "it's", "\u00a0", "\x1f"])
texts = st.one_of(words, st.lists(words, max_size=6).map(", ".join), st.text(max_size=12), number_texts, date_texts)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
lists = st.one_of(*(st.lists(st.one_of(st.none(), one), max_size=5) for one in (st.booleans(), numbers, words, texts)))
cells = st.one_of(
    scalars, lists, st.lists(numbers, min_size=2, max_size=2), st.sampled_from([{}, {"a": 1}, [[1, 2]], [{}]])
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("cells") / "rows.jsonl"


def make(**inputs):
    """The fitted inputs, and the preprocessor of their JSON."""
    fitted = load_fitted([{"columns": ["x"], **config, "name": name} for name, config in inputs.items()])
    spec = {"version": 1, "inputs": [input_spec(one) for one in fitted]}
    return fitted, load(json.loads(json.dumps(spec)))


def read(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Table.concat(list(read_jsonl(os.fspath(path))))


def same(array, expected):
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


MADE = {kind: make(x=config) for kind, config in INPUTS.items()}


@each_input
@settings(max_examples=60)
@given(cell=cells)
def test_any_cell_is_encoded_or_refused_as_the_model_does(path, kind, cell):
    (fitted,), preprocessor = MADE[kind]
    try:
        expected = fitted.encode(read(path, [{"x": cell}]))
    except (DataError, pa.ArrowException):
        with pytest.raises(ValueError, match=r"queries\[0\].documents\[0\], column 'x': ") as error:
            preprocessor.lists([{"documents": [{"x": cell}]}])
        assert "\n" not in str(error.value)
        return
    same(preprocessor.lists([{"documents": [{"x": cell}]}])["x"][0], expected)


@pytest.mark.backend("tensorflow")
@given(st.lists(st.text(max_size=40), max_size=20))
def test_hashes_of_texts_are_those_of_the_model(texts):
    assert [farmhash64(text.encode()) % 1000 for text in texts] == hashed(texts, 1000).tolist()

"""`preprocessing.json` and its reader against the fitted inputs and tokenizers: every kind of input, any JSON cell."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.batching import BatchPlan, make_inputs
from ml4ir_losses.data.feeding import import_tensorflow
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.readers.jsonl import read_jsonl
from ml4ir_losses.data.table import Table, group_by_query
from ml4ir_losses.export import preprocessing
from ml4ir_losses.export.preprocessing import farmhash64, load
from ml4ir_losses.export.preprocessing_spec import input_spec, tokenizer_spec
from ml4ir_losses.features.fitting import encode_rows
from ml4ir_losses.features.kinds import load_fitted
from ml4ir_losses.text.tokenizers import WordTokenizer

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

integers = st.integers(-(2**64), 2**64)
floats = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-20, 20).map(lambda i: i / 4))
numbers = st.one_of(integers, floats)
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
lists = st.one_of(
    *(st.lists(st.one_of(st.none(), one), max_size=5) for one in (st.booleans(), integers, floats, words, texts)),
    *(st.lists(one, min_size=2, max_size=2) for one in (integers, floats, number_texts)),
)
cells = st.one_of(scalars, lists, st.sampled_from([{}, {"a": 1}, [[1, 2]], [{}]]))


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


COLUMNS = {
    "price": st.one_of(numbers.filter(lambda x: isinstance(x, float) or abs(x) < 2**63), st.just(0.0)),
    "stock": st.booleans(),
    "rating": st.floats(-9, 9).map(str),
    "published": st.one_of(st.dates().map(str), st.datetimes().map(lambda time: time.isoformat())),
    "today": st.integers(0, 2**33),
    "brand": st.one_of(words, st.text(max_size=5)),
    "size": st.one_of(st.floats(-1e12, 1e12), st.sampled_from([1.0, 0.5])),
    "tags": st.lists(st.one_of(st.none(), words), max_size=5),
    "codes": st.one_of(st.sampled_from([1, 2]), st.integers(-(2**63), 2**63 - 1)),
    "image": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
    "title": texts,
    "device": words,
    "age": st.integers(0, 99),
    "search": texts,
}
OF_QUERIES = ("today", "device", "age", "search")
LISTS = {
    "numbers": {**NUMERIC, "columns": ["price", "stock", "rating"], "fill": [0.0] * 3},
    "date": {**INPUTS["date"], "columns": ["published", "today"], "reference": None},
    **{name: {**INPUTS["oov"], "columns": [name]} for name in ("brand", "size")},
    "tags": {**INPUTS["lists"], "columns": ["tags"]},
    "codes": {**INPUTS["split"], "columns": ["codes"]},
    "brand_device": {**INPUTS["cross"], "columns": ["brand", "device"]},
    "image": {**INPUTS["vector"], "columns": ["image"]},
    "title": {**INPUTS["ngrams"], "columns": ["title"]},
    "device": {**INPUTS["vocabulary"], "columns": ["device"], "scope": "query"},
    "person": {**NUMERIC, "columns": ["age"], "scope": "query"},
    "pair": {**INPUTS["text_pair"], "columns": ["search", "title", "brand"]},
}


def row_of(columns):
    """Rows with some of the columns, and with missing cells."""
    return st.fixed_dictionaries({}, optional={name: st.one_of(st.none(), COLUMNS[name]) for name in columns})


queries = st.fixed_dictionaries(
    {
        "query": row_of(OF_QUERIES),
        "documents": st.lists(row_of([name for name in COLUMNS if name not in OF_QUERIES]), min_size=1, max_size=4),
    }
)
MADE_LISTS = make(**LISTS)


@settings(max_examples=30)
@given(st.lists(queries, min_size=1, max_size=4))
def test_lists_are_the_batches_that_the_model_trains_on(path, requests):
    inputs, preprocessor = MADE_LISTS
    nothing = dict.fromkeys(COLUMNS)  # so that every column is there
    rows = [
        {"query_id": i, **nothing, **one["query"], **document}
        for i, one in enumerate(requests)
        for document in one["documents"]
    ]
    table = read(path, rows)
    _, offsets = group_by_query(table.strings("query_id"))
    try:
        encoded = encode_rows(inputs, table)
    except DataError:  # a price beyond float32
        with pytest.raises(ValueError, match="queries"):
            preprocessor.lists(requests)
        return
    ids, of_rows = table.strings("query_id"), np.arange(len(table))
    data = Queries(ids[offsets[:-1]], offsets, dict(encoded.arrays), {}, of_rows, encoded.query_scope)
    plan, batch = BatchPlan(data, len(data)), np.arange(len(data))
    expected = make_inputs(data, batch, *plan.rows(batch))
    arrays = preprocessor.lists(requests)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        same(array, expected[name])


OPTIONS = [{"punctuation": punctuation, "prefix_length": n} for punctuation in ("strip", "split") for n in (None, 2)]


@pytest.mark.parametrize("options", OPTIONS)
@given(st.lists(st.one_of(texts, st.lists(words).map(" ".join)), max_size=5))
def test_token_ids_are_those_of_the_tokenizer(options, given_texts):
    tokenizer = WordTokenizer(["red", "re", "a", "École", "éc"], 4, **options)
    preprocessor = load({"version": 1, "tokenizer": tokenizer_spec(tokenizer)})
    same(preprocessor.ids(given_texts), tokenizer.padded(given_texts))


def test_words_end_where_the_tokenizer_ends_them():
    numbers_of_letters = (*range(0x3000), *range(0x3000, 0xD800, 5), *range(0xE000, 0x30000, 5))
    letters = [f"A{chr(n)}b" for n in numbers_of_letters]
    for options in OPTIONS[:3:2]:
        tokenizer = WordTokenizer(["b", "a"], 4, **options)
        preprocessor = load({"version": 1, "tokenizer": tokenizer_spec(tokenizer)})
        same(preprocessor.ids(letters), tokenizer.padded(letters))


@given(st.lists(st.tuples(texts, texts), max_size=5))
def test_pair_ids_are_those_of_the_tokenizer(pairs):
    (fitted,), preprocessor = MADE["text_pair"]
    of_queries, of_documents = [query for query, _ in pairs], [document for _, document in pairs]
    same(preprocessor.pairs(of_queries, of_documents), fitted.tokenizer.padded(of_queries, of_documents))


def test_fingerprints_are_those_of_tensorflow_at_every_length():
    tf = import_tensorflow()
    rng = np.random.default_rng(0)
    strings = [rng.bytes(n) for n in (*range(301), *range(301), 447, 448, 449, 1000, 4096, 100_001)]
    with tf.device("CPU"):
        expected = tf.strings.to_hash_bucket_fast(tf.constant(strings), 2**63 - 1).numpy()
    assert [farmhash64(one) % (2**63 - 1) for one in strings] == expected.tolist()


ALONE = """
import importlib.abc, json, sys

class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "numpy", "preprocessing"}:
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, Guard())
sys.path[:0] = sys.argv[1:]
import preprocessing
inputs = preprocessor = preprocessing.load(sys.argv[1] + "/preprocessing.json").lists(json.load(sys.stdin))
print(json.dumps({name: values.tolist() for name, values in inputs.items()}))
"""


def test_reader_runs_where_only_numpy_is_there(tmp_path):
    shutil.copy(preprocessing.__file__, tmp_path)
    inputs = {name: config for name, config in LISTS.items() if name != "image"}
    fitted, preprocessor = make(**inputs)
    spec = {"version": 1, "inputs": [input_spec(one) for one in fitted]}
    (tmp_path / "preprocessing.json").write_text(json.dumps(spec))
    request = [{"query": {"device": "red"}, "documents": [{"price": 3, "brand": "new", "published": "2026-01-31"}, {}]}]
    for one in request[0]["documents"]:
        one.update(price=1.5, rating=2, stock=True)
        one.setdefault("published", 0)
    request[0]["query"] |= {"today": 5.0, "age": 3}
    folders = [str(tmp_path), str(Path(np.__file__).parents[1])]
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ALONE, *folders],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    assert json.loads(result.stdout) == {name: values.tolist() for name, values in preprocessor.lists(request).items()}


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([{"documents": [{}, {"price": "x"}]}], "queries[0].documents[1], column 'price': 'x' is not a number"),
        ([{"documents": []}, {"documents": [{"price": [1]}]}], "queries[1].documents[0], column 'price': [1] is not a"),
        ([{"query": {"age": {}}, "documents": [{}]}], "queries[0], column 'age': {} is not a number"),
        ([{"documents": [{"price": 2**64}]}], "the integer 18446744073709551616 does not fit into 64 bits"),
        ([{"documents": [{"price": 1e39}]}], "column 'price': 1e+39 is beyond float32"),
        ([{"documents": [{"price": float("inf")}]}], "column 'price': the number is not finite"),
        ([{"documents": [{"brand": ["a"]}]}], "column 'brand': ['a'] is not a single value"),
        ([{"documents": [{"brand": "\ud800"}]}], "is not valid Unicode"),
        ([{"documents": [{"tags": "a"}]}], "queries[0].documents[0], column 'tags': 'a' is not a list"),
        ([{"documents": [{"image": [1.0]}]}], "column 'image': a vector of 1 numbers; the model reads 2"),
        ([{"documents": [{"image": [1.0, None]}]}], "column 'image': None is not a finite number of float32"),
        (
            [{"documents": [{"published": "31.1.2026"}]}],
            "'31.1.2026' is neither a number nor a date such as 2026-01-31",
        ),
        ([{"documents": [{"published": 1.8e12}]}], "1800000000000 seconds since 1970 are beyond the year 9999"),
        ([{"documents": [{}, 3]}], "queries[0].documents[1] is not an object. Received: 3"),
        ([{"documents": {}}], "queries[0] is not of the form"),
        (["x"], "queries[0] is not of the form"),
        ([{"query": [], "documents": 1}], "queries[0] is not of the form"),
    ],
)
def test_bad_request_is_one_line_with_its_place(requests, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        MADE_LISTS[1].lists(requests)
    assert "\n" not in str(error.value)


def test_unknown_columns_are_refused_where_it_is_asked_for():
    preprocessor = MADE_LISTS[1]
    requests = [{"query": {"device": "a"}, "documents": [{"id": "d1", "price": 1.0, "prise": 2.0}]}]
    assert preprocessor.lists(requests)["numbers"][0, 0, 0] == 1.0
    message = r"queries\[0\].documents\[0\]: the model reads no column 'prise'. Did you mean 'price'\?"
    with pytest.raises(ValueError, match=message):
        preprocessor.lists(requests, strict=True)
    del requests[0]["documents"][0]["prise"]
    preprocessor.lists(requests, strict=True)
    with pytest.raises(ValueError, match=r"queries\[0\]: the model reads no column 'id'"):
        preprocessor.lists([{"query": {"id": 1}, "documents": []}], strict=True)


def test_columns_are_told_by_scope():
    assert MADE_LISTS[1].columns["query"] == ["device", "age"]
    assert {"price", "today", "search", "device"} <= set(MADE_LISTS[1].columns["document"])


def test_queries_without_documents_are_padding():
    arrays = MADE_LISTS[1].lists([{"query": {"age": 7}, "documents": []}])
    assert arrays["mask"].tolist() == [[0.0]]
    assert arrays["person"].tolist() == [[7.0]]
    assert arrays["numbers"].shape == (1, 1, 3)
    assert MADE_LISTS[1].lists([])["tags"].shape == (0, 1, 3)


def test_very_long_cells_take_no_long_time():
    long = "1" * 200_000 + "x"
    for kind in INPUTS:
        with contextlib.suppress(ValueError):
            MADE[kind][1].lists([{"documents": [{"x": long}]}])


def test_what_a_model_does_not_read_is_said():
    with pytest.raises(ValueError, match="does not read single texts"):
        MADE["numeric"][1].ids(["a"])
    with pytest.raises(ValueError, match="does not read pairs of texts"):
        MADE["numeric"][1].pairs(["a"], ["b"])
    with pytest.raises(ValueError, match="1 queries and 2 documents are no pairs"):
        MADE["text_pair"][1].pairs(["a"], ["b", "c"])
    with pytest.raises(ValueError, match=r"documents\[1\]: \[\] is not a single value"):
        MADE["text_pair"][1].pairs(["a", "b"], ["b", []])
    with pytest.raises(ValueError, match="version 2 is not 1, which this file reads"):
        load({"version": 2})

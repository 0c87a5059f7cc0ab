"""Categories, lists of them, crosses, vectors and n-grams: ids and features against NumPy, on every backend."""

import keras
import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.nested import unnest
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.features.fitting import UnknownValues, encode_rows, fit_inputs, list_columns, make_accumulators
from ml4ir_losses.features.hashing import hashed, hashed_ngrams
from ml4ir_losses.features.layers import FeatureEncoder
from ml4ir_losses.features.vocabulary import read_vocabulary

LISTS = [["a", "b"], [], ["b", "new", "a"], None, ["c"], [" a ", ""]]
POOL = {"mean": np.mean, "sum": np.sum, "max": np.max}


def table(**columns):
    rows = len(next(iter(columns.values())))
    return Table(columns, [Source("t.csv", rows, lambda i: i + 2)])


def features(*inputs):
    return FeatureConfig.model_validate({"inputs": list(inputs)})


def fit(data, *inputs):
    return fit_inputs(features(*inputs), data)


def run(layer, x):
    return keras.ops.convert_to_numpy(layer({name: values[None] for name, values in x.items()}))[0]


def weights(layer, number=0):
    return keras.ops.convert_to_numpy(layer.encoders[number].embedding.embeddings)


def ids(inputs, data, name="x"):
    return encode_rows(inputs, data).arrays[name].tolist()


def test_rare_values_are_unknown():
    inputs = fit(table(x=["a", "b", "a", "c", "c"]), {"name": "x", "type": "categorical", "min_count": 2})
    assert inputs[0].vocabulary == ["a", "c"]
    assert ids(inputs, table(x=["a", "b", "c", "", "new"])) == [1, 0, 2, 0, 0]


@pytest.mark.parametrize("config", [{"type": "categorical"}, {"type": "text"}, {"type": "vector", "separator": " "}])
def test_input_may_have_another_name_than_its_column(config):
    data = table(x=["1 2", "3 4"])
    inputs = fit(data, {"name": "x", **config}, {"name": "other", "column": "x", **config})
    arrays = encode_rows(inputs, data).arrays
    np.testing.assert_array_equal(arrays["x"], arrays["other"])


def test_unknown_values_are_hashed_into_their_buckets_and_missing_ones_are_not():
    inputs = fit(table(x=["a", "b"]), {"name": "x", "type": "categorical", "oov_buckets": 3})
    new = [f"new {i}" for i in range(20)]
    values = ids(inputs, table(x=["a", "b", "", *new]))
    assert values[:3] == [4, 5, 0]
    assert values[3:] == (1 + hashed(new, 3)).tolist()
    assert set(values[3:]) == {1, 2, 3}
    layer = FeatureEncoder(inputs)
    layer.build()
    assert weights(layer).shape == (6, 16)


def test_hashes_are_the_same_in_every_process():
    assert hashed(["a", "b", "", "École", "a\x1fb"], 1000).tolist() == [939, 822, 263, 461, 562]


def test_vocabulary_from_a_file_or_the_config(tmp_path):
    (tmp_path / "brands.txt").write_bytes("b\r\na\nÉcole\n".encode())
    given = ({"vocabulary": str(tmp_path / "brands.txt")}, {"vocabulary": ["b", "a", "École"]})
    for config in given:
        inputs = fit(table(x=["a", "z"]), {"name": "x", "type": "categorical", **config})
        assert ids(inputs, table(x=["b", "a", "École", "z"])) == [1, 2, 3, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "v.txt: is empty"),
        (b"a\n\nb\n", "v.txt, line 2: is empty"),
        (b"a\nb\na\n", "v.txt, line 3: 'a' is there twice, first in line 1"),
        (b"a\n\xff\n", "v.txt, line 2: is not UTF-8 text"),
        (None, "v.txt"),
    ],
)
def test_bad_vocabulary_file_is_one_line_with_its_place(tmp_path, content, message):
    if content is not None:
        (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_vocabulary(str(tmp_path / "v.txt"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("pooling", POOL)
@pytest.mark.parametrize("empty", ["zeros", "missing"])
def test_list_of_categories_is_the_pooled_embedding_of_its_values(pooling, empty):
    config = {"name": "x", "type": "categorical", "pooling": pooling, "empty": empty, "embedding_dim": 3}
    data = table(x=pa.array(LISTS))
    inputs = fit(table(x=pa.array([["a", "b"], ["b", "c", "b"]])), config)
    assert inputs[0].vocabulary == ["b", "a", "c"]
    encoded = encode_rows(inputs, data).arrays
    nothing = [0, -1, -1] if empty == "missing" else [-1, -1, -1]
    assert encoded["x"].tolist() == [[2, 1, -1], nothing, [1, 0, 2], nothing, [3, -1, -1], [2, -1, -1]]
    layer = FeatureEncoder(inputs)
    result, rows = run(layer, encoded), weights(layer)
    for cell, values in zip(result, encoded["x"], strict=True):
        known = rows[values[values >= 0]]
        expected = POOL[pooling](known, axis=0) if len(known) else np.zeros(3)
        np.testing.assert_allclose(cell, expected, rtol=1e-5, atol=1e-7)


def test_text_is_split_like_a_list():
    config = {"name": "x", "type": "categorical", "pooling": "mean", "embedding_dim": 2}
    lists, texts = table(x=pa.array(LISTS)), table(x=["a|b", "", "b|new| a", "  ", "c", " a |"])
    by_list, by_text = fit(lists, config), fit(texts, {**config, "separator": "|"})
    assert by_text[0].vocabulary == by_list[0].vocabulary == ["a", "b", "c", "new"]
    assert ids(by_text, texts) == ids(by_list, lists)


def test_values_beyond_max_values_are_not_read():
    config = {"name": "x", "type": "categorical", "separator": ",", "max_values": 2}
    inputs = fit(table(x=["a,b,c", "c"]), config)
    assert np.array(ids(inputs, table(x=["c,b,a"]))).shape == (1, 2)


def test_shared_embedding_has_one_vocabulary_and_one_table():
    data = table(x=["a", "b", "a"], y=pa.array([["c"], ["c", "c"], ["a"]]))
    owner = {"name": "x", "type": "categorical", "embedding_dim": 3, "oov_buckets": 2}
    inputs = fit(data, {"name": "y", "type": "categorical", "pooling": "sum", "share_embedding": "x"}, owner)
    assert inputs[0].vocabulary == inputs[1].vocabulary == ["a", "c", "b"]
    layer = FeatureEncoder(inputs)
    result = run(layer, encode_rows(inputs, data).arrays)
    rows = weights(layer)
    assert rows.shape == (6, 3)
    assert len(layer.trainable_weights) == 1
    np.testing.assert_allclose(result[1], np.concatenate([2 * rows[4], rows[5]]), rtol=1e-5)


def test_cross_depends_on_all_of_its_columns_alone():
    data = table(a=["x", "x", "xy", ""], b=["y", "z", "", "y"], c=[1.0, 2.0, 3.0, 4.0])
    inputs = fit(data, {"name": "ab", "type": "cross", "columns": ["a", "b"], "num_buckets": 1000})
    expected = hashed(["x\x1fy", "x\x1fz", "xy\x1f", "\x1fy"], 1000).tolist()
    assert ids(inputs, data, "ab") == expected
    assert len(set(expected)) == 4
    layer = FeatureEncoder(inputs)
    np.testing.assert_array_equal(run(layer, encode_rows(inputs, data).arrays), weights(layer)[expected])


def test_vector_is_read_as_it_is_or_with_length_one():
    data = table(x=pa.array([[3.0, 4.0], None, [0.0, 0.0], [1e30, 1e30]], pa.list_(pa.float64())))
    for normalise in (False, True):
        inputs = fit(data, {"name": "x", "type": "vector", "normalise": normalise})
        result = run(FeatureEncoder(inputs), encode_rows(inputs, data).arrays)
        half = np.sqrt(0.5)
        expected = [[0.6, 0.8], [0, 0], [0, 0], [half, half]] if normalise else [[3, 4], [0, 0], [0, 0], [1e30, 1e30]]
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_vector_from_text_with_a_separator():
    inputs = fit(table(x=["1 2.5", ""]), {"name": "x", "type": "vector", "separator": " "})
    np.testing.assert_array_equal(encode_rows(inputs, table(x=["3 -1e2", ""])).arrays["x"], [[3, -100], [np.nan] * 2])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([[1.0, 2.0], [3.0]], r"t.csv, line 3, column 'x': a vector of 1 numbers; the first one has 2"),
        ([[1.0, 2.0], [3.0, None]], r"t.csv, line 3, column 'x': None is not a finite number"),
        ([[1.0, 2.0], [3.0, float("nan")]], r"t.csv, line 3, column 'x': nan is not a finite number"),
        ([["1", "2"], ["3", "four"]], r"t.csv, line 3, column 'x': 'four' is not a finite number"),
        ([1.0, 2.0], r"t.csv, column 'x': its cells are single values, not lists; give the input a separator"),
        ([None, None], r"no row has a vector in the column 'x'"),
    ],
)
def test_bad_vector_is_one_line_with_its_row(cells, message):
    with pytest.raises(DataError, match=message):
        fit(table(x=pa.array(cells)), {"name": "x", "type": "vector"})


def test_later_vectors_have_the_size_of_the_training_split():
    inputs = fit(table(x=pa.array([[1.0, 2.0]])), {"name": "x", "type": "vector"})
    with pytest.raises(DataError, match=r"line 2, column 'x': a vector of 3 numbers; the first one has 2"):
        encode_rows(inputs, table(x=pa.array([[1.0, 2.0, 3.0]])))


@pytest.mark.parametrize("kind", ["categorical", "cross"])
def test_list_without_pooling_says_what_to_give(kind):
    more = {"columns": ["x", "x"]} if kind == "cross" else {}
    with pytest.raises(DataError, match=r"column 'x': its cells are lists; give the input pooling: mean"):
        fit(table(x=pa.array([["a"]])), {"name": "x", "type": kind, **more})


def ngrams(text, low, high):
    words = ["<" + word + ">" for word in text.lower().split()]
    return [w[i : i + n] for w in words for n in range(low, high + 1) for i in range(len(w) - n + 1)]


def test_character_ngrams_are_hashed_word_by_word():
    texts = ["Red shoe", "", "École, a!", "x"]
    result = hashed_ngrams(texts, (3, 4), words=2, width=9, number=50)
    for row, text in zip(result, ["Red shoe", "", "École a", "x"], strict=True):
        grams = ngrams(text.replace("É", "\x00"), 3, 4) if text else []
        grams = [gram.replace("\x00", "É") for gram in grams][:9]
        assert row.tolist() == [*(1 + hashed(grams, 50)).tolist(), *[0] * (9 - len(grams))]


def test_text_with_ngrams_is_the_mean_of_known_words_and_ngrams():
    config = {"name": "x", "type": "text", "ngrams": [3, 3], "num_buckets": 20, "min_count": 2, "embedding_dim": 4}
    inputs = fit(table(x=["red shoe", "red"]), config)
    assert inputs[0].vocabulary == ["red"]
    assert inputs[0].max_ngrams == 7
    layer = FeatureEncoder(inputs)
    result = run(layer, encode_rows(inputs, table(x=["red boot", ""])).arrays)
    rows = weights(layer)
    grams = 3 + hashed(ngrams("red boot", 3, 3), 20)
    np.testing.assert_allclose(result[0], rows[[2, *grams]].mean(axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(result[1], 0.0)


STRINGS = {
    "no values": {"type": "categorical", "min_count": 9},
    "oov": {"type": "categorical", "oov_buckets": 3},
    "hash": {"type": "categorical", "encoding": "hash", "num_buckets": 7},
    "separator": {"type": "categorical", "separator": " ", "max_values": 2, "empty": "missing"},
    "ngrams": {"type": "text", "ngrams": [3, 5], "num_buckets": 50, "max_ngrams": 6, "max_length": 3},
}


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("kind", STRINGS)
def test_strings_inside_the_model_give_the_ids_of_the_pipeline(kind):
    import tensorflow as tf

    inputs = fit(table(x=["Red shoe", "hat", "", "red"]), {"name": "x", **STRINGS[kind]})
    data = table(x=["Red shoe", "hat hat  a", "", "new", "it's a café", "École", "[UNK]", "[none]", " x "])
    layer = FeatureEncoder(inputs)
    by_string = layer({"x": tf.constant([data.strings("x").tolist()])})
    np.testing.assert_array_equal(run(layer, encode_rows(inputs, data).arrays), by_string[0])


@pytest.mark.backend("tensorflow")
def test_lists_and_crosses_of_strings_inside_the_model_give_the_ids_of_the_pipeline():
    import tensorflow as tf

    data = table(x=pa.array([["a", "b"], [], ["new"]]), a=["p", "q", ""], b=["r", "", ""])
    inputs = fit(
        data,
        {"name": "x", "type": "categorical", "pooling": "max", "oov_buckets": 2},
        {"name": "ab", "type": "cross", "columns": ["a", "b"], "num_buckets": 9},
    )
    layer = FeatureEncoder(inputs)
    raw = {
        "x": tf.constant([[["a", "b"], ["", ""], ["new", ""]]]),
        "ab": tf.constant([[["p", "r"], ["q", ""], ["", ""]]]),
    }
    np.testing.assert_array_equal(run(layer, encode_rows(inputs, data).arrays), layer(raw)[0])


def test_rare_values_of_inputs_that_share_a_vocabulary_are_dropped_from_it():
    x, y = [f"v{i % 7}" for i in range(50)], [f"v{i}" for i in range(50)]
    owner = {"name": "x", "type": "categorical", "max_vocabulary": 5}
    accumulators = make_accumulators(features(owner, {"name": "y", "type": "categorical", "share_embedding": "x"}))
    for accumulator in accumulators:
        accumulator.add(table(x=x, y=y)).drop_rare(10)
    assert sum(accumulator.undercount for accumulator in accumulators) == 1
    assert accumulators[0].result().vocabulary == accumulators[1].result().vocabulary == ["v0", "v1", "v2", "v3", "v4"]


def test_chunks_fit_what_the_whole_table_fits():
    data = table(x=["b", "a", "b", "c"] * 5, y=["a z", "", "c", "c b a q"] * 5, t=["Red shoe", "hat", "red", ""] * 5)
    config = features(
        {"name": "x", "type": "categorical", "min_count": 2},
        {"name": "y", "type": "categorical", "separator": " ", "share_embedding": "x"},
        {"name": "t", "type": "text", "ngrams": [2, 4]},
    )
    accumulators = make_accumulators(config)
    for start in range(0, 20, 7):
        for accumulator in accumulators:
            accumulator.add(data.take(np.arange(start, min(start + 7, 20))))
    assert [accumulator.result() for accumulator in accumulators] == fit_inputs(config, data)


def test_unknown_values_are_counted(caplog):
    inputs = fit(
        table(x=["a", "b"], y=["p q", "p"], z=["1", "2"]),
        {"name": "x", "type": "categorical"},
        {"name": "y", "type": "categorical", "separator": " "},
        {"name": "z", "type": "categorical", "encoding": "hash"},
    )
    unknown = UnknownValues(inputs)
    unknown.add(table(x=["a", "new", ""], y=["p", "r q s", ""], z=["3", "4", "5"]))
    unknown.add(table(x=["a", "b"], y=["", ""], z=["3", "4"]))
    with caplog.at_level("INFO", LOGGER.name):
        unknown.tell()
    assert [record.getMessage() for record in caplog.records] == [
        "x: 1 of 4 values (25.0%) are not in the vocabulary",
        "y: 2 of 4 values (50.0%) are not in the vocabulary",
    ]


def test_lists_of_values_stay_lists_where_documents_are_nested():
    nested = table(qid=[1, 2], label=[[0, 1], [1]], tags=[[["a"], ["b", "c"]], [[]]], topic=[["p", "q"], ["p"]])
    config = features(
        {"name": "tags", "type": "categorical", "pooling": "mean"},
        {"name": "topic", "type": "categorical", "pooling": "mean", "scope": "query"},
    )
    flat = unnest(nested, lists=config.list_columns)
    assert flat.columns["tags"].to_pylist() == [["a"], ["b", "c"], []]
    assert flat.columns["topic"].to_pylist() == [["p", "q"], ["p", "q"], ["p"]]
    assert list_columns(fit_inputs(config, flat)).values == ["tags", "topic"]
    assert unnest(flat.take([0, 1]), lists=config.list_columns).columns["tags"].to_pylist() == [["a"], ["b", "c"]]


def test_texts_of_values_are_cells_of_nested_documents():
    config = features(
        {"name": "tags", "type": "categorical", "separator": "|"},
        {"name": "image", "type": "vector", "separator": " "},
        {"name": "spare", "type": "vector"},
        {"name": "topic", "type": "categorical", "separator": "|", "scope": "query"},
        {"name": "x", "type": "numeric"},
    )
    nested = table(
        query_id=["q", "r"],
        label=[[0, 1], [1]],
        x=[[1.0, 2.0], [3.0]],
        tags=[["a|b", "c"], [None]],
        image=[["1 2", "3 4"], ["5 6"]],
        spare=[[None, None], [None]],
        topic=[["p", "q"], ["p"]],
    )
    flat = unnest(nested, lists=config.list_columns)
    assert flat.columns["tags"].to_pylist() == ["a|b", "c", None]
    assert flat.columns["image"].to_pylist() == ["1 2", "3 4", "5 6"]
    assert flat.columns["spare"].to_pylist() == [None] * 3
    assert flat.columns["topic"].to_pylist() == [["p", "q"], ["p", "q"], ["p"]]
    inputs = fit(flat, *({"name": i.name, "type": i.type, "separator": i.separator} for i in config.inputs[:2]))
    assert list_columns(inputs).texts == config.list_columns.texts == ["tags", "image"]
    assert inputs[0].vocabulary == ["a", "b", "c"]
    as_lists = table(query_id=["q"], x=[[1.0, 2.0]], tags=[["a", "b", "c"]])
    assert unnest(as_lists, lists=config.list_columns).columns["tags"].to_pylist() == [["a", "b", "c"]] * 2


def test_lists_in_columns_that_nothing_reads_are_no_documents():
    config = features({"name": "x*", "type": "numeric"})
    rows = table(query_id=["q", "q"], label=[0, 1], x1=[3.0, 4.0], unread=[[1.0, 2.0], [3.0, 4.0]])
    assert unnest(rows, lists=config.list_columns) is rows
    nested = table(
        query_id=["q", "r"], label=[[0, 1], [1]], x1=[[3.0, 4.0], [5.0]], shown=[["a", "b"], ["c"]], u=[[1], []]
    )
    flat = unnest(nested, lists=config.list_columns)
    assert flat.columns["x1"].to_pylist() == [3.0, 4.0, 5.0]
    assert flat.columns["shown"].to_pylist() == ["a", "b", "c"]  # as long as the others
    assert flat.columns["u"].to_pylist() == [None] * 3
    with pytest.raises(DataError, match="'x1' has 1 items and 'label' has 2"):
        unnest(table(query_id=["q"], label=[[0, 1]], x1=[[3.0]]), lists=config.list_columns)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([{"type": "categorical", "share_embedding": "b"}], "share_embedding of 'x' must name a categorical input"),
        ([{"type": "categorical", "share_embedding": "x"}], "must name a categorical input"),
        ([{"type": "categorical", "share_embedding": "y", "embedding_dim": 4}], "embedding_dim has no effect with"),
        ([{"type": "categorical", "vocabulary": ["a", "a"]}], "needs different values. Received: 'a' twice"),
        ([{"type": "categorical", "vocabulary": "f", "min_count": 2}], "min_count has no effect with vocabulary"),
        ([{"type": "categorical", "encoding": "hash", "oov_buckets": 2}], "oov_buckets has no effect with"),
        ([{"type": "categorical", "empty": "missing"}], "give pooling or separator"),
        ([{"type": "cross", "columns": ["a"]}], "at least 2 items"),
        ([{"type": "text", "ngrams": [5, 3]}], "the shorter one first"),
    ],
)
def test_keys_that_do_not_fit_are_refused(inputs, message):
    with pytest.raises(ValidationError, match=message):
        features(*({"name": "x", **config} for config in inputs))

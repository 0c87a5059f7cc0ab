"""Text pair inputs: the token ids of a query and a document in one sequence."""

import re
import string

import numpy as np
import pytest

from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.features.fitting import encode_rows, fit_inputs
from ml4ir_losses.text.tokenizers import PairTokenizer, WordTokenizer

QUERIES = ["Red shoe", "", "a b c d e f g", "red", "it's café!"]
DOCUMENTS = ["red shoe, blue hat", "hat", "", "shoe " * 9, "unknown words red"]
VOCABULARY = ["red", "shoe", "hat", "a", "blue", "c"]


def oracle(query, document, vocabulary=VOCABULARY, length=8, query_length=3):
    """The ids of a pair, word by word: from 2, 1 for unknown words, and the highest id for the separator."""

    def words(text):
        kept = "".join(c for c in text if c not in string.punctuation)
        kept = re.sub("[A-Z]", lambda match: match[0].lower(), kept)
        return [2 + vocabulary.index(word) if word in vocabulary else 1 for word in kept.split()]

    row = [*words(query)[:query_length], 2 + len(vocabulary)]
    for word in words(document):
        if len(row) < length:
            row.append(word)
    return row


def tokenizer(length=8, query_length=3):
    return PairTokenizer(WordTokenizer(VOCABULARY, length), length, query_length)


def table(**columns):
    rows = len(next(iter(columns.values())))
    return Table(columns, [Source("t.csv", rows, lambda i: i + 2)])


def features(**pair):
    pair = {"name": "pair", "type": "text_pair", "query": "q", "document": ["title", "text"], **pair}
    return FeatureConfig.model_validate({"inputs": [pair]})


def test_pair_ids_match_a_word_by_word_oracle():
    pairs = tokenizer()
    expected = [oracle(q, d) for q, d in zip(QUERIES, DOCUMENTS, strict=True)]
    assert [pairs.ids(q, d) for q, d in zip(QUERIES, DOCUMENTS, strict=True)] == expected
    padded = pairs.padded(QUERIES, DOCUMENTS)
    assert padded.dtype == "int32"
    assert padded.shape == (5, 8)
    assert [row[row > 0].tolist() for row in padded] == expected
    assert pairs.vocabulary_size == 1 + max(map(max, expected)) == len(VOCABULARY) + 3


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize(("length", "query_length"), [(8, 3), (4, 2), (30, 10)])
def test_graph_ids_match_numpy_ids(length, query_length):
    import tensorflow as tf

    pairs = tokenizer(length, query_length)
    graph = tf.function(lambda q, d: pairs(q, d))
    pairs_of_texts = [(q, d) for q in QUERIES for d in DOCUMENTS]
    queries, documents = map(list, zip(*pairs_of_texts, strict=True))
    ids = graph(tf.constant(queries), tf.constant(documents)).numpy()
    np.testing.assert_array_equal(ids, pairs.padded(queries, documents))
    assert ids.shape[1] == max(len(oracle(q, d, length=length, query_length=query_length)) for q, d in pairs_of_texts)


def test_vocabulary_is_fitted_on_query_and_document_columns():
    """A query counts once, whatever its number of documents."""
    data = table(q=["new hat"] * 4, title=["red", "red", "old", "x"], text=["coat", "coat y", "red", "coat z"])
    fitted = fit_inputs(features(max_vocabulary=4, max_length=9, max_query_length=2), data)
    assert fitted[0].vocabulary == ["coat", "red", "hat", "new"]
    ids = encode_rows(fitted, table(q=["hat sale now", ""], title=["red old", ""], text=["coat", "hat"])).arrays["pair"]
    assert ids.tolist() == [[4, 1, 6, 3, 1, 2], [6, 4, 0, 0, 0, 0]]


def test_glob_does_not_match_text_columns():
    data = table(q=["a"], title=["b"], text=["c"], x=[1.0])
    inputs = [*features().inputs, {"name": "*", "type": "numeric"}]
    config = FeatureConfig.model_validate({"inputs": [i if isinstance(i, dict) else i.model_dump() for i in inputs]})
    assert [fitted.columns for fitted in fit_inputs(config, data)] == [["q", "title", "text"], ["x"]]


@pytest.mark.parametrize("missing", ["q", "title", "text"])
def test_missing_column_is_named(missing):
    columns = {name: ["a", "b"] for name in ("q", "title", "text", "other") if name != missing}
    with pytest.raises(
        DataError, match=rf"t.csv: no column '{missing}' \(features.inputs\).*Columns: .*other\."
    ) as error:
        fit_inputs(features(), table(**columns))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ({"document": []}, "document names no column"),
        ({"name": "title"}, "name 'title' is a column of text"),
        ({"max_length": 10, "max_query_length": 9}, "max_query_length must be at most max_length - 2 = 8"),
        ({"max_length": 3}, "max_length"),
        ({"scope": "query"}, "scope"),
    ],
)
def test_invalid_text_pair_config_raises(pair, message):
    with pytest.raises(ValueError, match=message):
        features(**pair)


def test_second_text_pair_input_raises():
    pair = features().inputs[0].model_dump()
    with pytest.raises(ValueError, match="only one input can be of type text_pair"):
        FeatureConfig.model_validate({"inputs": [pair, {**pair, "name": "other"}]})


def test_query_length_without_room_for_the_document_raises():
    with pytest.raises(UserError, match=r"`max_query_length` must be at most 6: 1 of max_length=8 .* Received: .*=7"):
        tokenizer(8, 7)


def test_missing_preset_raises(tmp_path):
    pytest.importorskip("keras_hub")
    data = table(q=["a"], title=["b"], text=["c"])
    fitted = fit_inputs(features(preset=str(tmp_path / "nowhere")), data)
    with pytest.raises((UserError, ConfigError), match=r"`preset` must be a folder with a KerasHub preset.*nowhere"):
        encode_rows(fitted, data)

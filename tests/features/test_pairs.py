"""Token ids of a query and a document in one sequence."""

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


def oracle(query, document, vocabulary=VOCABULARY, longest=8, asked=3):
    """Word by word: ids from 2, 1 for unknown words, the separator behind them all."""

    def words(text):
        kept = "".join(c for c in text if c not in string.punctuation)
        kept = re.sub("[A-Z]", lambda match: match[0].lower(), kept)
        return [2 + vocabulary.index(word) if word in vocabulary else 1 for word in kept.split()]

    row = [*words(query)[:asked], 2 + len(vocabulary)]
    for word in words(document):
        if len(row) < longest:
            row.append(word)
    return row


def tokenizer(longest=8, asked=3):
    return PairTokenizer(WordTokenizer(VOCABULARY, longest), longest, asked)


def table(**columns):
    rows = len(next(iter(columns.values())))
    return Table(columns, [Source("t.csv", rows, lambda i: i + 2)])


def features(**pair):
    pair = {"name": "pair", "type": "text_pair", "query": "q", "document": ["title", "text"], **pair}
    return FeatureConfig.model_validate({"inputs": [pair]})


def test_ids_against_the_oracle():
    pairs = tokenizer()
    expected = [oracle(q, d) for q, d in zip(QUERIES, DOCUMENTS, strict=True)]
    assert [pairs.ids(q, d) for q, d in zip(QUERIES, DOCUMENTS, strict=True)] == expected
    padded = pairs.padded(QUERIES, DOCUMENTS)
    assert padded.dtype == "int32"
    assert padded.shape == (5, 8)
    assert [row[row > 0].tolist() for row in padded] == expected
    assert pairs.vocabulary_size == 1 + max(map(max, expected)) == len(VOCABULARY) + 3


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize(("longest", "asked"), [(8, 3), (4, 2), (30, 10)])
def test_strings_in_a_graph_give_the_same_ids(longest, asked):
    import tensorflow as tf

    pairs = tokenizer(longest, asked)
    graph = tf.function(lambda q, d: pairs(q, d))
    every = [(q, d) for q in QUERIES for d in DOCUMENTS]
    queries, documents = map(list, zip(*every, strict=True))
    found = graph(tf.constant(queries), tf.constant(documents)).numpy()
    np.testing.assert_array_equal(found, pairs.padded(queries, documents))
    assert found.shape[1] == max(len(oracle(q, d, longest=longest, asked=asked)) for q, d in every)


def test_the_words_of_both_columns_are_fitted_on_the_training_split():
    """Queries count once, however many documents they have."""
    data = table(q=["new hat"] * 4, title=["red", "red", "old", "x"], text=["coat", "coat y", "red", "coat z"])
    fitted = fit_inputs(features(max_vocabulary=4, max_length=9, max_query_length=2), data)
    assert fitted[0].vocabulary == ["coat", "red", "hat", "new"]
    ids = encode_rows(fitted, table(q=["hat sale now", ""], title=["red old", ""], text=["coat", "hat"])).arrays["pair"]
    assert ids.tolist() == [[4, 1, 6, 3, 1, 2], [6, 4, 0, 0, 0, 0]]


def test_a_glob_takes_no_column_of_text():
    data = table(q=["a"], title=["b"], text=["c"], x=[1.0])
    inputs = [*features().inputs, {"name": "*", "type": "numeric"}]
    config = FeatureConfig.model_validate({"inputs": [i if isinstance(i, dict) else i.model_dump() for i in inputs]})
    assert [fitted.columns for fitted in fit_inputs(config, data)] == [["q", "title", "text"], ["x"]]


@pytest.mark.parametrize("lacking", ["q", "title", "text"])
def test_a_missing_column_is_named(lacking):
    columns = {name: ["a", "b"] for name in ("q", "title", "text", "other") if name != lacking}
    with pytest.raises(
        DataError, match=rf"t.csv: no column '{lacking}' \(features.inputs\).*Columns: .*other\."
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
def test_invalid_config_is_refused(pair, message):
    with pytest.raises(ValueError, match=message):
        features(**pair)


def test_single_pair_can_be_encoded():
    pair = features().inputs[0].model_dump()
    with pytest.raises(ValueError, match="only one input can be of type text_pair"):
        FeatureConfig.model_validate({"inputs": [pair, {**pair, "name": "other"}]})


def test_a_query_that_leaves_no_room_is_refused():
    with pytest.raises(UserError, match=r"`max_query_length` must be at most 6: 1 of max_length=8 .* Received: .*=7"):
        tokenizer(8, 7)


def test_missing_preset_is_named(tmp_path):
    pytest.importorskip("keras_hub")
    data = table(q=["a"], title=["b"], text=["c"])
    fitted = fit_inputs(features(preset=str(tmp_path / "nowhere")), data)
    with pytest.raises((UserError, ConfigError), match=r"`preset` must be a folder with a KerasHub preset.*nowhere"):
        encode_rows(fitted, data)

"""Word tokenizer: splitting in Python and in the graph, prefixes, vocabularies, saving."""

import unicodedata

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ml4ir_losses.config.text_schema import TokenizerConfig
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.text.tokenizers import WordTokenizer, split_strings, split_words

tensorflow_only = pytest.mark.backend("tensorflow")
OPTIONS = [
    {"punctuation": punctuation, "prefix_length": length} for punctuation in ("strip", "split") for length in (None, 3)
]
with_all_options = pytest.mark.parametrize("options", OPTIONS, ids=lambda r: "-".join(map(str, r.values())))
TEXTS = [
    "The boundary-layer, and (again) the boundary layer's edge.",
    "ÉCOLE école Straße ΟΔΟΣ İstanbul",
    "a\tb\nc\r\nd\x0be\x0cf\x1fg\x85h\u00a0i\u3000j\u200bk",
    "東京、大阪。日本語 한국어 हिन्दी میخواهم",
    "red❤️shoe 😀 👨‍👩‍👧 C++ 3.5% x_y",
    "“quoted” – it’s «naïve»",
    "",
    " \n ",
    "...",
]


@pytest.mark.parametrize(
    ("text", "strip", "split"),
    [
        ("Boundary-layer, Mach 3.5.", ["boundarylayer", "mach", "35"], ["boundary", "layer", "mach", "3", "5"]),
        ("it's x_y", ["its", "xy"], ["it", "s", "x", "y"]),
        ("a\tb\nc", ["a", "b", "c"], ["a", "b", "c"]),
        ("ÉCOLE Straße", ["École", "straße"], ["école", "straße"]),
        ("naïve–“quoted”", ["naïve–“quoted”"], ["naïve", "quoted"]),
        ("東京、大阪", ["東京、大阪"], ["東京", "大阪"]),
        ("हिन्दी", ["हिन्दी"], ["हिन्दी"]),
        ("red❤️shoe", ["red❤️shoe"], ["red", "shoe"]),
        ("a\u00a0b", ["a\u00a0b"], ["a", "b"]),
        (" . ", [], []),
    ],
)
def test_split_words_handles_punctuation_of_many_scripts(text, strip, split):
    assert split_words(text, "strip") == strip
    assert split_words(text, "split") == split


def test_prefix_length_counts_letters():
    assert split_words("Boundary boundaries éééé 東京都庁 ab", "split", 3) == ["bou", "bou", "ééé", "東京都", "ab"]


@tensorflow_only
@with_all_options
def test_graph_ids_match_python_ids(options):
    tokenizer = WordTokenizer.fit(TEXTS[::2], 100, 9, **options)
    np.testing.assert_array_equal(np.asarray(tokenizer(np.array(TEXTS, object))), tokenizer.padded(TEXTS))
    assert (tokenizer.padded(TEXTS) > 1).any()


@tensorflow_only
@with_all_options
@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_graph_words_match_python_words(options, texts):
    graph_words = split_strings(np.array([text.encode() for text in texts], object), **options).to_list()
    assert [[word.decode() for word in words] for words in graph_words] == [
        split_words(text, **options) for text in texts
    ]


@tensorflow_only
@pytest.mark.parametrize("punctuation", ["strip", "split"])
def test_graph_splits_words_at_the_same_characters(punctuation):
    """Every character of Unicode 3.2, which Python, RE2 and ICU all know."""
    letters = [chr(n) for n in range(0x20000) if unicodedata.ucd_3_2_0.category(chr(n)) not in ("Cn", "Cs", "Co")]
    texts = [f"A{letter}b" for letter in letters]
    graph_words = split_strings(np.array([text.encode() for text in texts], object), punctuation).to_list()
    differences = [
        (text, words)
        for text, words in zip(texts, graph_words, strict=True)
        if [w.decode() for w in words] != split_words(text, punctuation)
    ]
    assert len(letters) > 50_000
    assert not differences


@tensorflow_only
@with_all_options
def test_saved_and_exported_tokenizer_gives_the_same_ids(options, tmp_path):
    import tensorflow as tf

    strings = keras.Input((), dtype="string")
    model = keras.Model(strings, WordTokenizer.fit(TEXTS, 100, 6, **options)(strings))
    texts = np.array(TEXTS, object)
    expected = np.asarray(model(texts))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(loaded(texts)), expected)
    assert loaded.layers[-1].ids(TEXTS[0]) == model.layers[-1].ids(TEXTS[0])
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served").serve(tf.constant(TEXTS))
    np.testing.assert_array_equal(np.asarray(served), expected)


def test_default_options_split_words_like_text_features():
    config = WordTokenizer(["boundarylayer"], 4).get_config()
    del config["punctuation"], config["prefix_length"]
    assert WordTokenizer.from_config(config).ids("Boundary-layer flow") == [2, 1]


def test_min_count_leaves_out_words_of_few_texts():
    texts = ["wing wing wing flow", "flow heat", "heat flow", "jet"]
    fit = WordTokenizer.fit
    assert fit(texts, 10, 5).vocabulary == ["flow", "wing", "heat", "jet"]
    assert fit(texts, 10, 5, min_count=2).vocabulary == ["flow", "heat"]
    assert fit(texts, 1, 5, min_count=2).vocabulary == ["flow"]
    assert fit(texts, 10, 5, min_count=2).ids("wing flow heat") == [1, 2, 3]
    empty = fit(texts, 10, 5, min_count=9)
    assert (empty.vocabulary, empty.vocabulary_size, empty.ids("wing")) == ([], 2, [1])
    assert fit(texts, 10, 5, min_count=2, prefix_length=1).vocabulary == ["f", "h"]


def test_tokenizer_config_has_defaults_and_checks_values():
    assert TokenizerConfig().model_dump(exclude={"max_vocabulary", "max_length"}) == {
        "min_count": 1,
        "punctuation": "split",
        "prefix_length": None,
        "max_query_length": None,
    }
    for name, value in (("min_count", 0), ("punctuation", "keep"), ("prefix_length", 0), ("max_query_length", 0)):
        with pytest.raises(ValidationError, match=name):
            TokenizerConfig(**{name: value})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"punctuation": "splt"}, "`punctuation` must be one of strip, split. Received: punctuation='splt'.*'split'"),
        ({"prefix_length": 0}, "`prefix_length` must be None or a whole number of at least 1"),
        ({"prefix_length": True}, "`prefix_length` must be None or a whole number of at least 1"),
    ],
)
def test_invalid_parameters_raise(params, message):
    with pytest.raises(UserError, match=message):
        WordTokenizer(["a"], 4, **params)

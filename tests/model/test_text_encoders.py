"""Text encoders: padding, empty texts, order of words, gradients, precision, saving."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops

from losses.numeric import values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import ENCODERS
from ml4ir_losses.model.text_layers import BagOfWords, distinct
from ml4ir_losses.ops.backend import portable_operations
from selection import slow_except

SMALL = {
    "bag_of_words": {"embedding_dim": 6},
    "cnn": {"embedding_dim": 6, "filters": [5, 7]},
    "gru": {"embedding_dim": 6, "units": 4},
    "transformer": {"embedding_dim": 8, "num_layers": 2, "num_heads": 2, "max_length": 12},
}
POOLINGS = {
    "bag_of_words": ("weighted", "mean", "max"),
    "cnn": ("max", "mean"),
    "gru": ("mean", "max"),
    "transformer": ("mean", "max", "cls"),
}
WIDTH = {"bag_of_words": 6, "cnn": 7, "gru": 8, "transformer": 8}
TOKENS = np.array([[5, 3, 8, 0, 0], [2, 0, 0, 0, 0], [7, 7, 1, 4, 9], [0, 0, 0, 0, 0]], dtype="int32")
each_encoder = pytest.mark.parametrize("key", SMALL)
each_pooling = pytest.mark.parametrize(("key", "pooling"), [(k, p) for k, ps in POOLINGS.items() for p in ps])


def make(key, **params):
    keras.utils.set_random_seed(1)
    encoder = ENCODERS.create({"key": key, **SMALL[key], **params}, hidden={"vocabulary_size": 10})
    encoder.build((None, None))
    for place, weight in enumerate(encoder.trainable_variables):  # zeros and ones would hide what is not used
        weight.assign(np.random.default_rng(place).normal(size=weight.shape) * 0.5)
    return encoder


def test_every_encoder_is_tested():
    elsewhere = {"keras_hub", "splade", "csr"}  # test_hub.py, test_sparse_encoders.py
    assert {entry.key for entry in ENCODERS} == {*SMALL, *elsewhere}


@pytest.mark.slow_on("jax")
@each_pooling
def test_padding_does_not_change_embeddings(key, pooling):
    encoder = make(key, pooling=pooling)
    vectors = values(encoder(TOKENS))
    assert vectors.shape == (4, WIDTH[key])
    longer = values(encoder(np.pad(TOKENS, ((0, 0), (0, 6)))))
    np.testing.assert_allclose(longer, vectors, atol=1e-5)
    np.testing.assert_allclose(values(encoder(TOKENS[:1, :3])), vectors[:1], atol=1e-5)
    assert (vectors[3] == 0).all()
    assert (np.abs(vectors[:3]).max(axis=1) > 0.01).all()


@each_encoder
def test_embedding_does_not_depend_on_other_texts(key):
    encoder = make(key)
    np.testing.assert_allclose(values(encoder(TOKENS[[2, 0]])), values(encoder(TOKENS))[[2, 0]], atol=1e-5)


@pytest.mark.slow_on("jax")
@each_pooling
def test_portable_operations_do_not_change_embeddings(key, pooling):
    encoder = make(key, pooling=pooling)
    vectors = values(encoder(TOKENS))
    with portable_operations():
        np.testing.assert_allclose(values(encoder(TOKENS)), vectors, atol=1e-6)


@each_encoder
def test_word_order_matters_except_for_bag_of_words(key):
    encoder = make(key)
    here, turned = values(encoder(TOKENS[2:3])), values(encoder(TOKENS[2:3, ::-1]))
    assert np.allclose(here, turned, atol=1e-6) == (key == "bag_of_words")


def test_bag_of_words_is_a_weighted_mean_of_word_embeddings():
    encoder = make("bag_of_words")
    words, importance = values(encoder.words.embeddings), values(encoder.importance.embeddings)
    weight = np.log1p(np.exp(importance[:, 0]))
    text = TOKENS[0, :3]
    expected = (weight[text, None] * words[text]).sum(0) / weight[text].sum()
    np.testing.assert_allclose(values(encoder(TOKENS))[0], expected, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["weighted", "mean"])
def test_log_term_frequency_matches_formula(pooling):
    """A loop over the distinct words of each text, in float64."""
    encoder = make("bag_of_words", pooling=pooling, term_frequency="log")
    tokens = np.array(
        [[5, 3, 5, 5, 9, 3], [2, 2, 2, 2, 2, 2], [7, 1, 0, 0, 0, 0], [0, 4, 0, 4, 8, 0], [0] * 6], "int32"
    )
    words = values(encoder.words.embeddings)
    weight = np.ones(10) if pooling == "mean" else np.log1p(np.exp(values(encoder.importance.embeddings)[:, 0]))
    expected = np.zeros((5, 6))
    for row, text in enumerate(tokens.tolist()):
        known = [token for token in text if token]
        factors = {token: weight[token] * (1 + np.log(known.count(token))) for token in set(known)}
        for token, factor in factors.items():
            expected[row] += factor / sum(factors.values()) * words[token]
    found = values(encoder(tokens))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values(encoder(np.pad(tokens, ((0, 0), (3, 2))))), found, rtol=1e-5, atol=1e-6)
    raw = make("bag_of_words", pooling=pooling)
    np.testing.assert_allclose(values(raw(tokens))[1:3], found[1:3], rtol=1e-5)  # no word beside another twice
    assert np.abs(values(raw(tokens)) - found)[[0, 3]].max(axis=1).min() > 1e-3


@pytest.mark.usefixtures("eager_steps")
def test_bag_of_words_with_log_frequency_trains_compiled_and_is_saved(tmp_path):
    tokens = keras.Input((None,), dtype="int32")
    model = keras.Model(tokens, make("bag_of_words", term_frequency="log", initial="lsi", dropout=0.2)(tokens))
    model.compile(keras.optimizers.Adam(0.05), loss="mse", jit_compile=keras.backend.backend() != "torch")
    repeated = np.array([[5, 3, 5, 5, 0], [2, 2, 0, 0, 0], [7, 7, 1, 4, 7], [0, 0, 0, 0, 0]], "int32")
    target = np.random.default_rng(0).normal(size=(4, 6))
    losses = model.fit(repeated, target, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    assert np.isfinite(model.predict(repeated, verbose=0)).all()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(repeated, verbose=0), model.predict(repeated, verbose=0))


@given(arrays("int32", st.tuples(st.integers(1, 4), st.integers(1, 7)), elements=st.integers(0, 5)))
def test_distinct_matches_numpy_unique(tokens):
    found, counts = map(values, distinct(ops.convert_to_tensor(tokens)))
    for row, text in enumerate(tokens):
        kept = found[row] != 0
        expected, expected_counts = np.unique(text[text != 0], return_counts=True)
        np.testing.assert_array_equal(found[row][kept], expected)
        np.testing.assert_array_equal(counts[row][kept], expected_counts)


def test_saved_bag_of_words_without_options_uses_defaults():
    config = make("bag_of_words").get_config()
    del config["term_frequency"], config["initial"]
    encoder = BagOfWords.from_config(config)
    assert (encoder.log_frequency, encoder.initial) == (False, "random")


def test_pooling_matches_hand_computed_values():
    encoder = make("cnn", pooling="mean")
    states = values(encoder.states(encoder.words(TOKENS), ops.convert_to_tensor(TOKENS != 0), False))
    np.testing.assert_allclose(values(encoder(TOKENS))[0], states[0, :3].mean(0), rtol=1e-5)
    encoder = make("cnn", pooling="max")
    np.testing.assert_allclose(values(encoder(TOKENS))[0], states[0, :3].max(0), rtol=1e-5)


def test_transformer_attention_matches_numpy():
    """One layer, one head, in float64 NumPy from the formula."""
    encoder = make("transformer", num_layers=1, num_heads=1, dropout=0.0)
    block = encoder.blocks[0]

    def norm(x, layer):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * values(layer.gamma) + values(layer.beta)

    def dense(x, layer):
        return x @ values(layer.kernel) + values(layer.bias)

    def project(x, layer):
        return x @ values(layer.kernel)[:, 0] + values(layer.bias)[0]

    x = values(encoder.words.embeddings)[TOKENS[0, :3]] + values(encoder.positions.embeddings)[:3]
    normed, attention = norm(x, block.before_attention), block.attention
    q, k, v = (project(normed, part) for part in (attention._query_dense, attention._key_dense, attention._value_dense))
    share = np.exp(q @ k.T / np.sqrt(8))
    mixed = (share / share.sum(-1, keepdims=True)) @ v
    x = x + mixed @ values(attention._output_dense.kernel)[0] + values(attention._output_dense.bias)
    inner = dense(norm(x, block.before_dense), block.inner)
    x = x + dense(values(keras.activations.gelu(inner)), block.outer)
    np.testing.assert_allclose(values(encoder(TOKENS))[0], norm(x, encoder.norm).mean(0), rtol=1e-4, atol=1e-5)


def test_every_layer_returns_all_transformer_layers():
    encoder = make("transformer", output_dim=3)
    every = values(encoder.every_layer(TOKENS))
    assert every.shape == (4, 2, 3)
    np.testing.assert_allclose(every[:, -1], values(encoder(TOKENS)), atol=1e-6)
    assert np.abs(every[:3, 0] - every[:3, 1]).max() > 0.01


@each_encoder
def test_dropout_applies_only_in_training(key):
    encoder = make(key, dropout=0.5)
    still = values(encoder(TOKENS))
    np.testing.assert_array_equal(values(encoder(TOKENS)), still)
    drawn = [values(encoder(TOKENS, training=True)) for _ in range(3)]
    assert np.isfinite(drawn).all()
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3


@pytest.mark.parametrize("key", slow_except(SMALL, "bag_of_words", "cnn"))
@pytest.mark.usefixtures("eager_steps")
def test_encoder_trains_and_saved_model_keeps_embeddings(key, tmp_path):
    tokens = keras.Input((5,), dtype="int32")
    model = keras.Model(tokens, make(key, output_dim=3)(tokens))
    model.compile(keras.optimizers.Adam(0.05), loss="mse")
    target = np.random.default_rng(0).normal(size=(4, 3))
    losses = model.fit(TOKENS, target, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(TOKENS, verbose=0), model.predict(TOKENS, verbose=0))


@each_encoder
def test_bfloat16_embeddings_are_close_to_float32(key):
    wide = make(key)
    narrow = ENCODERS.create({"key": key, **SMALL[key]}, hidden={"vocabulary_size": 10, "dtype": "mixed_bfloat16"})
    narrow.build((None, None))
    for mine, other in zip(narrow.trainable_variables, wide.trainable_variables, strict=True):
        mine.assign(other)
    vectors = narrow(TOKENS)
    assert "float32" in str(vectors.dtype)
    np.testing.assert_allclose(values(vectors), values(wide(TOKENS)), atol=0.15)


@pytest.mark.parametrize(
    ("key", "params", "message"),
    [
        ("transformer", {"num_heads": 3}, r"`num_heads` must divide embedding_dim=8\. Received: num_heads=3"),
        ("transformer", {"pooling": "first"}, "`pooling` must be one of mean, max, cls. Received: pooling='first'"),
        ("bag_of_words", {"pooling": "cls"}, "`pooling` must be one of weighted, mean, max"),
        ("cnn", {"filters": [4, 0]}, "`filters` must be whole numbers of at least 1. Received: filters=.4, 0"),
        ("gru", {"units": 2.5}, "`units` must be a whole number of at least 1. Received: units=2.5"),
        ("gru", {"dropout": 1.0}, "`dropout` must be a number from 0 to below 1"),
        ("cnn", {"output_dim": 0}, "`output_dim` must be None or a whole number of at least 1"),
        ("bag_of_words", {"term_frequency": "logs"}, "`term_frequency` must be one of raw, log. .* Did you mean 'log'"),
        ("bag_of_words", {"initial": "lda"}, "`initial` must be one of random, lsi. Received: initial='lda'"),
        (
            "bag_of_words",
            {"pooling": "max", "term_frequency": "log"},
            "`term_frequency` must be 'raw' for pooling='max'",
        ),
        ("gru", {"layers": 2}, "has no parameter 'layers'"),
        ("gruu", {}, "Unknown encoder 'gruu'. Did you mean 'gru'"),
    ],
)
def test_invalid_parameters_are_rejected(key, params, message):
    with pytest.raises(UserError, match=message) as caught:
        ENCODERS.create({"key": key, **SMALL.get(key, {}), **params}, hidden={"vocabulary_size": 10})
    assert "\n" not in str(caught.value)


def test_texts_longer_than_max_length_are_rejected():
    with pytest.raises(UserError, match=r"positions for max_length=12 tokens\. Received: texts of 13"):
        make("transformer")(np.ones((1, 13), dtype="int32"))

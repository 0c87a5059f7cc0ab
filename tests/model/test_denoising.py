"""TSDAE's layers: which tokens are deleted, what the decoder may see, its values against NumPy, training, saving."""

import keras
import numpy as np
import pytest
from keras import ops

from losses.numeric import BACKEND, values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.model.denoising import Decoder, WordDeletion
from ml4ir_losses.model.text_layers import BagOfWords

TOKENS = np.array([[5, 3, 8, 4, 0, 0], [2, 0, 0, 0, 0, 0], [7, 7, 1, 4, 9, 6], [0, 0, 0, 0, 0, 0]], dtype="int32")
VECTORS = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
SIZES = {"vocabulary_size": 10, "embedding_dim": 8, "num_layers": 2, "num_heads": 2, "max_length": 6, "dropout": 0.0}


def decoder(vector_width=5, **params):
    keras.utils.set_random_seed(1)
    layer = Decoder(**{**SIZES, **params})
    layer.build((None, vector_width), (None, None))
    for place, weight in enumerate(layer.trainable_variables):  # zeros and ones would hide what is not used
        weight.assign(np.random.default_rng(place).normal(size=weight.shape) * 0.5)
    return layer


def deleted(tokens, rate, times=1, seed=1):
    layer = WordDeletion(rate, seed=seed)
    return np.concatenate([values(layer(tokens, training=True)) for _ in range(times)]).astype(int)


def left(row):
    return row[row != 0].tolist()


def test_deletion_keeps_order_and_closes_gaps():
    tokens = np.array([[4, 9, 2, 7, 1, 0, 0], [3, 0, 0, 0, 0, 0, 0], [0] * 7], dtype="int32")
    shorter = 0
    for row in deleted(tokens, 0.5, times=40).reshape(40, 3, 7):
        kept = left(row[0])
        assert kept == [token for token in left(tokens[0]) if token in kept]
        assert (row[0, : len(kept)] != 0).all()
        assert len(kept) >= 1
        assert left(row[1]) == [3]
        assert (row[2] == 0).all()
        shorter += len(kept) < 5
    assert shorter > 30


def test_deleted_share_equals_rate():
    tokens = np.tile(np.arange(1, 41, dtype="int32"), (200, 1))
    kept = (deleted(tokens, 0.6) != 0).sum(axis=1)
    # Binomial(40, 0.4): the mean of 200 rows has a standard error of 0.22.
    assert abs(kept.mean() - 16) < 1
    assert 7 < kept.var() < 13


def test_last_kept_token_is_random():
    rows = deleted(np.tile(np.array([1, 2, 3, 4, 0], dtype="int32"), (2000, 1)), 1.0)
    assert ((rows != 0).sum(axis=1) == 1).all()
    assert (np.abs(np.bincount(rows[:, 0], minlength=5)[1:] - 500) < 100).all()


def test_deletion_applies_only_in_training_and_redraws():
    tokens = np.arange(1, 31, dtype="int32")[None]
    np.testing.assert_array_equal(values(WordDeletion(0.6)(tokens)), tokens)
    np.testing.assert_array_equal(deleted(tokens, 0.0), tokens)
    drawn = deleted(tokens, 0.6, times=2)
    assert (drawn[0] != drawn[1]).any()
    np.testing.assert_array_equal(deleted(tokens, 0.6, times=2), drawn)
    assert (deleted(tokens, 0.6, seed=2)[0] != drawn[0]).any()


@pytest.mark.usefixtures("eager_steps")
def test_saved_model_keeps_deletion(tmp_path):
    tokens = keras.Input((6,), dtype="int32")
    words = WordDeletion(0.3, seed=4)(tokens)
    assert "int32" in str(words.dtype)
    model = keras.Model(tokens, BagOfWords(10, 3, "mean")(words))
    model.compile("sgd", loss="mse", jit_compile=BACKEND != "torch")
    model.fit(TOKENS, np.ones((4, 3)), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(TOKENS, verbose=0), model.predict(TOKENS, verbose=0))
    assert (again.layers[1].rate, again.layers[1].seed) == (0.3, 4)


@pytest.mark.parametrize("rate", [-0.1, 1.5, None, "half", float("nan")])
def test_invalid_rate_is_rejected(rate):
    with pytest.raises(UserError, match=r"`rate` must be a number from 0 to 1\. Received: rate="):
        WordDeletion(rate)


def test_decoder_matches_numpy():
    """Cross attention is written out with its softmax over the one vector, in float64."""
    layer = decoder(num_layers=2)
    vector, tokens = VECTORS[2].astype("float64"), TOKENS[2]

    def norm(x, part):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * values(part.gamma) + values(part.beta)

    def dense(x, part):
        return x @ values(part.kernel) + values(part.bias)

    def softmax(x):
        share = np.exp(x - x.max(-1, keepdims=True))
        return share / share.sum(-1, keepdims=True)

    words = values(layer.words.embeddings)
    x = np.vstack([values(layer.start), words[tokens[:-1]]]) + values(layer.positions.embeddings)
    seen = np.tril(np.ones((6, 6), dtype=bool))
    for block, context in zip(layer.blocks, layer.contexts, strict=True):
        normed, attention = norm(x, block.before_attention), block.attention
        added = values(attention._output_dense.bias)
        for head in range(2):
            q, k, v = (
                normed @ values(part.kernel)[:, head] + values(part.bias)[head]
                for part in (attention._query_dense, attention._key_dense, attention._value_dense)
            )
            share = softmax(np.where(seen, q @ k.T / np.sqrt(4), -np.inf))
            added = added + share @ v @ values(attention._output_dense.kernel)[head]
        x = x + added
        one_key = softmax(x @ np.ones((8, 1)))  # whatever the query: all of it on the one vector
        x = x + one_key @ dense(vector[None], context)
        inner = dense(norm(x, block.before_dense), block.inner)
        x = x + dense(values(keras.activations.gelu(inner)), block.outer)
    expected = norm(x, layer.norm) @ words.T + values(layer.bias)
    np.testing.assert_allclose(values(layer(VECTORS[2:3], tokens[None]))[0], expected, rtol=1e-3, atol=1e-4)


def test_attention_to_one_vector_is_linear():
    attention = keras.layers.MultiHeadAttention(2, 4)
    query = np.random.default_rng(1).normal(size=(4, 6, 8)).astype("float32")
    seen = values(attention(query, VECTORS[:, None, :]))
    v, o = attention._value_dense, attention._output_dense
    kernel = np.einsum("dhk,hke->de", values(v.kernel), values(o.kernel))
    bias = np.einsum("hk,hke->e", values(v.bias), values(o.kernel)) + values(o.bias)
    np.testing.assert_allclose(seen, np.broadcast_to((VECTORS @ kernel + bias)[:, None], seen.shape), atol=1e-5)


def test_token_logits_depend_only_on_preceding_tokens():
    layer = decoder()
    logits = values(layer(VECTORS, TOKENS))
    assert logits.shape == (4, 6, 10)
    for place in range(6):
        other = TOKENS.copy()
        other[:, place] = (other[:, place] + 3) % 10
        changed = np.abs(values(layer(VECTORS, other)) - logits).max(axis=(0, 2))
        assert (changed[: place + 1] == 0).all()
        assert (changed[place + 1 :] > 1e-3).all()


def test_padding_does_not_change_logits():
    layer = decoder()
    logits = values(layer(VECTORS, TOKENS))
    for row, length in enumerate([4, 1, 6]):
        alone = values(layer(VECTORS[row : row + 1], TOKENS[row : row + 1, :length]))
        np.testing.assert_allclose(alone[0], logits[row, :length], rtol=1e-4, atol=1e-5)


def test_every_position_depends_on_embedding_of_its_text():
    layer = decoder()
    other = VECTORS.copy()
    other[1] += 1
    changed = np.abs(values(layer(other, TOKENS)) - values(layer(VECTORS, TOKENS))).max(axis=2)
    assert (changed[1] > 1e-3).all()
    assert (changed[[0, 2, 3]] == 0).all()


def test_decoder_shares_encoder_words():
    encoder = BagOfWords(10, 8, "mean")
    tied, own = Decoder(**SIZES, words=encoder.words), decoder()
    tied.build((None, 5), (None, None))  # before the encoder: its build makes no second table
    encoder.build((None, None))
    assert tied.words.embeddings is encoder.weights[0]
    assert len({id(weight) for weight in [*tied.weights, *encoder.weights]}) == len(own.weights)
    before = values(tied(VECTORS, TOKENS))
    encoder.words.embeddings.assign(np.random.default_rng(3).normal(size=(10, 8)))
    assert (np.abs(values(tied(VECTORS, TOKENS)) - before)[:3] > 1e-3).any(axis=2).all()
    with pytest.raises(UserError, match="is saved with the model that makes both"):
        tied.get_config()


@pytest.mark.slow_on("jax")
def test_decoder_learns_to_reconstruct_texts():
    """The first token can be told from the vector alone, and words of the encoder's own only be trained through it."""
    keras.utils.set_random_seed(2)
    encoder = BagOfWords(10, 8, "mean")
    tokens = keras.Input((6,), dtype="int32")
    vectors = encoder(WordDeletion(0.3)(tokens))
    logits = Decoder(**{**SIZES, "num_layers": 1})(vectors, tokens)
    model = keras.Model(tokens, logits)
    loss = get_loss("denoising_auto_encoder").get_loss_fn()
    model.compile(keras.optimizers.Adam(0.03), loss=loss, jit_compile=False)
    table = values(encoder.words.embeddings)
    texts = np.tile(TOKENS[:3], (100, 1))
    first = values(loss(texts[:3], model(texts[:3])))
    model.fit(texts, texts, batch_size=6, shuffle=False, verbose=0)
    assert first > 2
    assert values(loss(texts[:3], model(texts[:3]))) < 0.5
    assert np.abs(values(encoder.words.embeddings) - table).max() > 0.05
    best = values(model(TOKENS[:3])).argmax(axis=2)
    np.testing.assert_array_equal(best[:, 0], TOKENS[:3, 0])


def test_saved_untied_decoder_keeps_logits(tmp_path):
    vectors, tokens = keras.Input((5,)), keras.Input((None,), dtype="int32")
    model = keras.Model([vectors, tokens], decoder(dropout=0.2, hidden_dim=7)(vectors, tokens))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(values(again([VECTORS, TOKENS])), values(model([VECTORS, TOKENS])))


def test_dropout_applies_only_in_training():
    layer = decoder(dropout=0.4)
    np.testing.assert_array_equal(values(layer(VECTORS, TOKENS)), values(layer(VECTORS, TOKENS, training=False)))
    drawn = [values(layer(VECTORS, TOKENS, training=True)) for _ in range(2)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3


def test_bfloat16_logits_are_close_to_float32():
    wide, narrow = decoder(), decoder(dtype="mixed_bfloat16")
    logits = narrow(VECTORS, TOKENS)
    assert "float32" in str(logits.dtype)
    np.testing.assert_allclose(values(logits), values(wide(VECTORS, TOKENS)), atol=0.4)
    assert ops.shape(logits) == (4, 6, 10)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_heads": 3}, r"`num_heads` must divide embedding_dim=8\. Received: num_heads=3"),
        ({"num_layers": 0}, "`num_layers` must be a whole number of at least 1"),
        ({"vocabulary_size": None}, "`vocabulary_size` must be a whole number"),
        ({"hidden_dim": 0}, "`hidden_dim` must be None or a whole number"),
        ({"dropout": 1.5}, "`dropout` must be a number from 0 to 1"),
        ({"words": keras.layers.Embedding(9, 8)}, "`words` must have vocabulary_size=10 .* Received: 9 of 8"),
    ],
)
def test_invalid_decoder_parameters_are_rejected(params, message):
    with pytest.raises(UserError, match=message) as caught:
        Decoder(**{**SIZES, **params})
    assert "\n" not in str(caught.value)


def test_texts_longer_than_max_length_are_rejected():
    with pytest.raises(UserError, match=r"positions for max_length=6 tokens\. Received: texts of 7"):
        decoder()(VECTORS[:1], np.ones((1, 7), dtype="int32"))

"""Encoders with sparse outputs: sentence-transformers' numbers, padding, word embeddings, dead latents, saving."""

import keras
import numpy as np
import pytest
from keras import ops

from compat.golden import load, near
from losses.numeric import gradient, value_and_gradient, values
from ml4ir_losses.config.text_schema import TextConfig, TextTask
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import ENCODERS
from ml4ir_losses.losses.embedding.reconstruction import codes
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.loading import load_model
from ml4ir_losses.model.sparse_layers import SparseAutoEncoder, largest, splade_pool
from ml4ir_losses.text.tokenizers import WordTokenizer
from selection import slow_except

GOLDEN = load("st_sparse.json")
INNER = {
    "cnn": {"key": "cnn", "embedding_dim": 6, "filters": [5]},
    "gru": {"key": "gru", "embedding_dim": 6, "units": 4},
    "transformer": {"key": "transformer", "embedding_dim": 8, "num_layers": 1, "num_heads": 2, "max_length": 12},
}
BAG = {"key": "bag_of_words", "embedding_dim": 4}
TOKENS = np.array([[5, 3, 8, 0, 0], [2, 0, 0, 0, 0], [7, 7, 1, 4, 9], [0, 0, 0, 0, 0]], dtype="int32")
SPECS = {
    **{f"splade-{name}": {"key": "splade", "encoder": inner} for name, inner in INNER.items()},
    "splade-sum": {"key": "splade", "encoder": INNER["cnn"], "pooling": "sum", "activation": "log1p_relu"},
    "csr": {"key": "csr", "encoder": INNER["transformer"], "k": 3},
    "csr-normalized": {"key": "csr", "encoder": BAG, "k": 2, "hidden_dim": 8, "normalize": True},
}
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def make(spec, **hidden):
    """An encoder whose weights are far from 0."""
    keras.utils.set_random_seed(1)
    encoder = ENCODERS.create(spec, hidden={"vocabulary_size": 10, **hidden})
    encoder.build((None, None))
    for place, weight in enumerate(encoder.trainable_variables):
        weight.assign(np.random.default_rng(place).normal(size=weight.shape) * 0.5)
    return encoder


@pytest.mark.parametrize("case", GOLDEN["pooling"], ids=lambda case: f"{case['pooling']}-{case['activation']}")
def test_pooling_of_sentence_transformers(case):
    logits, valid = np.array(case["logits"], "float32"), np.array(case["mask"]) > 0

    def pooled(x):
        return splade_pool(x, ops.convert_to_tensor(valid), case["pooling"], case["activation"])

    near(values(pooled(ops.convert_to_tensor(logits))), case["pooled"])
    near(gradient(lambda x: ops.sum(pooled(x) ** 2), logits), case["gradient"])


@pytest.mark.parametrize("case", GOLDEN["autoencoder"], ids=lambda case: str(case["params"]))
def test_auto_encoder_of_sentence_transformers(case):
    """Its outputs, and the gradients of their sum of squares by input and weights."""
    layer = SparseAutoEncoder(**case["params"], reconstructs=True)
    layer.build((None, 4))
    weight, bias, latent_bias = (np.array(w, "float32") for w in case["weights"])
    given = [np.array(case["x"], "float32"), weight.T.copy(), bias, latent_bias]

    def outputs(*tensors):
        layer.idle.assign(np.array(case["idle"]))
        for name, tensor in zip(("weight", "bias", "latent_bias"), tensors[1:], strict=True):
            object.__setattr__(layer, name, ops.convert_to_tensor(tensor))  # in place of the variable
        return layer(ops.convert_to_tensor(tensors[0]), training=case["training"])

    near(values(outputs(*given)), case["outputs"])
    near(values(codes(outputs(*given))), np.array(case["outputs"])[:, 5:].reshape(5, -1))
    expected = [np.array(slopes) for slopes in case["gradients"]]
    expected[1] = expected[1].T
    for place, slopes in enumerate(expected):

        def square(x, place=place):
            return ops.sum(outputs(*given[:place], x, *given[place + 1 :]) ** 2)

        near(gradient(square, given[place]), slopes)


@each_spec
def test_padding_does_not_change_embeddings(spec):
    encoder = make(spec)
    vectors = values(encoder(TOKENS))
    assert vectors.shape == (4, encoder.output_width)
    np.testing.assert_allclose(values(encoder(np.pad(TOKENS, ((0, 0), (0, 6))))), vectors, atol=1e-5)
    np.testing.assert_allclose(values(encoder(TOKENS[:1, :3])), vectors[:1], atol=1e-5)
    np.testing.assert_allclose(values(encoder(TOKENS[[2, 0]])), vectors[[2, 0]], atol=1e-5)
    assert (vectors[3] == 0).all()
    assert (vectors >= 0).all()
    assert (vectors[:3].max(axis=1) > 0.01).all()


def test_padding_gets_no_gradient():
    logits, valid = np.random.default_rng(0).normal(size=(2, 4, 5)).astype("float32"), np.arange(4)[None] < 2
    for pooling in ("max", "sum"):
        slopes = gradient(
            lambda x, pooling=pooling: ops.sum(splade_pool(x, ops.convert_to_tensor(valid), pooling)), logits
        )
        assert (slopes[:, 2:] == 0).all()
        assert (slopes[:, :2] != 0).any()


def test_weight_of_a_word_is_that_of_its_most_similar_token():
    """In float64 NumPy: dense layer, layer normalization, dot products with the word embeddings."""
    encoder = make(SPECS["splade-cnn"])
    words, text = values(encoder.encoder.words.embeddings), TOKENS[:1, :3]
    states = values(encoder.encoder.token_states(ops.convert_to_tensor(text)))[0]
    hidden = states @ values(encoder.transform.kernel) + values(encoder.transform.bias)
    hidden = values(keras.activations.gelu(ops.convert_to_tensor(hidden)))
    hidden = (hidden - hidden.mean(-1, keepdims=True)) / np.sqrt(hidden.var(-1, keepdims=True) + 1e-6)
    hidden = hidden * values(encoder.norm.gamma) + values(encoder.norm.beta)
    logits = hidden @ words.T + values(encoder.bias)
    np.testing.assert_allclose(values(encoder(text))[0], np.log1p(np.maximum(logits, 0)).max(0), rtol=1e-4, atol=1e-6)


def test_codes_keep_the_largest_latents():
    latents = np.array([[0.5, -1.0, 3.0, 2.0], [-1.0, -2.0, -3.0, 1.0], [-1.0, -2.0, -3.0, -4.0]], "float32")
    expected = np.array([[0.0, 0.0, 3.0, 2.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(values(largest(ops.convert_to_tensor(latents), 2)), expected)
    value, slopes = value_and_gradient(lambda x: ops.sum(largest(x, 2)), latents)
    assert float(value) == 6.0
    np.testing.assert_array_equal(slopes, expected > 0)


def test_latents_unused_in_training_make_the_auxiliary_reconstruction():
    layer = SparseAutoEncoder(hidden_dim=8, k=1, k_aux=8, dead_threshold=2, reconstructs=True)
    layer.build((None, 4))
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(1, 4)).astype("float32"))
    layer(x)
    assert (values(layer.idle) == 0).all()
    for _ in range(3):
        layer(x, training=True)
    latents = (values(x) @ values(layer.weight))[0]
    used = (latents > 0) & (latents >= np.sort(latents)[-4])
    np.testing.assert_array_equal(values(layer.idle), np.where(used, 1, 3))
    unused = np.where(used, 0.0, np.maximum(latents, 0.0))
    np.testing.assert_allclose(values(layer(x))[0, 3], unused @ values(layer.weight).T, atol=1e-5)


def test_reconstructions_stand_before_the_codes():
    plain, full = make(SPECS["csr"]), make(SPECS["csr"], reconstructs=True)
    outputs = full(TOKENS)
    assert tuple(outputs.shape) == full.compute_output_shape((4, 5)) == (4, 5 + 4, 8)
    np.testing.assert_allclose(values(codes(outputs)), values(plain(TOKENS)), atol=1e-6)
    np.testing.assert_allclose(values(outputs)[:, 0], values(plain.encoder(TOKENS)), atol=1e-6)


def test_frozen_encoder_trains_the_auto_encoder_alone():
    encoder = make({**SPECS["csr"], "train_encoder": False})
    assert {v.path.split("/")[-1] for v in encoder.trainable_variables} == {"weight", "bias", "latent_bias"}
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(encoder))
    assert len(again.trainable_variables) == 3


@pytest.mark.parametrize("name", slow_except(SPECS, "splade-cnn", "csr-normalized"))
@pytest.mark.usefixtures("eager_steps")
def test_encoder_trains_and_saved_model_keeps_embeddings(name, tmp_path):
    tokens = keras.Input((5,), dtype="int32")
    model = keras.Model(tokens, make(SPECS[name])(tokens))
    model.compile(keras.optimizers.Adam(0.02), loss="mse")
    target = np.abs(np.random.default_rng(0).normal(size=(4, model.output_shape[-1])))
    losses = model.fit(TOKENS, target, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(TOKENS, verbose=0), model.predict(TOKENS, verbose=0))


TEXTS = ["a cat sat", "the dog ran away", "a bird", "fish swim in the sea", "the cat", "birds of the sea"] * 2
TOKENIZER = WordTokenizer.fit(TEXTS, 100, 8)
IDS = TOKENIZER.padded(TEXTS)
PAIRS, ZEROS = {"anchor": IDS, "positive": np.roll(IDS, 1, axis=0)}, np.zeros(len(IDS), "float32")


def text_model(loss, encoder):
    config = {
        "data": {"train": "x", "columns": {"anchor": "a", "positive": "b"}},
        "model": {
            "architecture": {"key": "bi_encoder", "encoder": encoder},
            "loss": loss,
            "optimizer": {"key": "sgd", "learning_rate": 0.1},
        },
    }
    return EmbeddingModel.make(TextConfig.model_validate(config), TOKENIZER, {"main": TextTask(loss=loss, columns=2)})


@pytest.mark.parametrize(
    ("loss", "spec"),
    [({"key": "splade", "document_regularizer_weight": 0.1}, SPECS["splade-cnn"]), ("csr", SPECS["csr-normalized"])],
)
@pytest.mark.usefixtures("eager_steps")
def test_text_model_trains_encodes_and_is_saved(loss, spec, tmp_path):
    model = text_model(loss, spec)
    before = model.get_weights()
    history = model.fit(PAIRS, ZEROS, batch_size=6, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    changed = [np.abs(a - b).max() > 0 for a, b in zip(before, model.get_weights(), strict=True)]
    assert np.mean(changed) > 0.8  # the counts of latents too
    if loss == "csr":
        assert (values(model.encoders[0].autoencoder.idle) > 0).all()
    vectors = model.encode([*TEXTS, ""])
    assert model.sparse
    assert vectors.shape == (len(TEXTS) + 1, model.encoders[0].output_width)
    assert (vectors[-1] == 0).all()
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "model.keras").encode([*TEXTS, ""]), vectors)


@pytest.mark.backend("tensorflow")
@pytest.mark.usefixtures("eager_steps")
def test_cached_splade_takes_the_step_of_splade():
    weights = {"document_regularizer_weight": 0.3, "query_regularizer_weight": 0.2}
    models = [
        text_model(loss, SPECS["splade-cnn"])
        for loss in ({"key": "splade", **weights}, {"key": "cached_splade", "mini_batch_size": 5, **weights})
    ]
    assert models[1].mini_batch_size == 5
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.fit(PAIRS, ZEROS, batch_size=12, verbose=0)
    for whole, cached in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(cached, whole, atol=1e-6)


def test_mixed_precision_keeps_float32_outputs():
    for spec in (SPECS["splade-cnn"], SPECS["csr"]):
        wide, narrow = make(spec), make(spec, dtype="mixed_bfloat16")
        vectors = narrow(TOKENS)
        assert "float32" in str(vectors.dtype)
        if spec["key"] == "splade":  # the choice of the largest latents is not continuous
            np.testing.assert_allclose(values(vectors), values(wide(TOKENS)), atol=0.15)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"key": "splade", "encoder": BAG}, "'splade' must read words in context: cnn, gru, transformer or keras_hub"),
        ({"key": "splade", "encoder": SPECS["csr"]}, "The encoder within a sparse encoder must be a dense one"),
        ({"key": "csr", "encoder": SPECS["splade-cnn"]}, "The encoder within a sparse encoder must be a dense one"),
        ({"key": "splade", "encoder": {**INNER["cnn"], "output_dim": 3}}, "`output_dim` has no effect"),
        ({"key": "splade", "encoder": "cn"}, "Unknown encoder 'cn'. Did you mean 'cnn'"),
        ({"key": "splade", "pooling": "mean"}, "`pooling` must be one of max, sum"),
        ({"key": "csr", "encoder": BAG, "hidden_dim": 10}, "`hidden_dim` must be a multiple of 4, the encoder's width"),
        ({"key": "csr", "encoder": BAG, "k": 17}, "`k` must be at most hidden_dim=16. Received: k=17"),
        ({"key": "csr", "encoder": BAG, "k": 2, "k_aux": 20}, "`k_aux` must be at most hidden_dim=16"),
    ],
)
def test_invalid_parameters_are_rejected(spec, message):
    with pytest.raises(UserError, match=message) as caught:
        make(spec)
    assert "\n" not in str(caught.value)

"""GradCache gives the gradients of the whole batch for any mini-batch size, with the same dropout in both passes."""

import keras
import numpy as np
import pytest
from keras import ops

from losses.numeric import BACKEND, values
from ml4ir_losses.core.registry import ENCODERS
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.model.grad_cache import cached_gradients
from selection import slow_except

pytestmark = pytest.mark.backend("tensorflow", "torch")  # on JAX: test_embedding_model, test_cross_encoder

TRANSFORMER = {"key": "transformer", "embedding_dim": 16, "num_layers": 2, "num_heads": 2, "max_length": 8}
each_encoder = pytest.mark.parametrize(
    "spec", [TRANSFORMER, {"key": "bag_of_words", "embedding_dim": 8}], ids=lambda spec: spec["key"]
)


def pairs(rows):
    tokens = np.random.default_rng(0).integers(1, 40, (rows, 2, 6))
    tokens[:, :, 4:] *= np.random.default_rng(1).integers(0, 2, (rows, 2, 2))
    return tokens.astype("int32")


def make(spec, dropout=0.0):
    keras.utils.set_random_seed(3)
    encoder = ENCODERS.create({**spec, "dropout": dropout}, hidden={"vocabulary_size": 40})
    encoder.build((None, None))

    def encode(tokens):
        vectors = encoder(keras.ops.reshape(tokens, (-1, tokens.shape[-1])), training=dropout > 0)
        return keras.ops.reshape(vectors, (-1, 2, vectors.shape[-1]))

    return encoder, encode


def generators_of(layer):
    found = [layer.seed_generator] if hasattr(layer, "seed_generator") else []
    return found + [
        g for inner in layer._flatten_layers(include_self=False, recursive=False) for g in generators_of(inner)
    ]


def direct(encode, variables, tokens, loss, chunks=None):
    """The loss and the gradients through all rows at once, or through mini-batches that are all in memory."""
    tokens, inputs = ops.convert_to_tensor(tokens), [variable.value for variable in variables]
    chunks = chunks or len(tokens)

    def whole():
        return loss(ops.concatenate([encode(tokens[i : i + chunks]) for i in range(0, len(tokens), chunks)]))

    if BACKEND == "torch":
        import torch

        value = whole()
        gradients = torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = whole()
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(value, inputs, unconnected_gradients="zero")]
    return values(value), [values(g) for g in gradients]


def cached(encode, variables, tokens, loss, size, generators=(), graph=True):
    def step(tokens):
        return cached_gradients(encode, loss, tokens, size, variables, [g.state for g in generators])

    if graph and BACKEND == "tensorflow":
        import tensorflow as tf

        step = tf.function(step, input_signature=[tf.TensorSpec([None, 2, 6], "int32")])
    value, gradients, embeddings = step(ops.convert_to_tensor(tokens))
    return values(value), [values(g) for g in gradients], values(embeddings)


def near(actual, expected):
    value, gradients = actual
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    assert len(gradients) == len(expected[1])
    for mine, theirs in zip(gradients, expected[1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max() + 1e-6)


def ranking(embeddings):
    fn = get_loss("multiple_negatives_ranking").get_loss_fn()
    return fn(keras.ops.zeros_like(embeddings[:, 0, 0]), embeddings)


@each_encoder
@pytest.mark.parametrize("size", slow_except([1, 4, 5, 16, 99], 5))
def test_mini_batch_gradients_equal_full_batch_gradients(spec, size):
    encoder, encode = make(spec)
    tokens = pairs(16)
    variables = encoder.trainable_variables
    value, gradients, embeddings = cached(encode, variables, tokens, ranking, size)
    expected = direct(encode, variables, tokens, ranking)
    near((value, gradients), expected)
    assert max(np.abs(g).max() for g in gradients) > 1e-3
    np.testing.assert_allclose(embeddings, values(encode(tokens)), atol=1e-5)


@pytest.mark.parametrize("graph", [True, False])
@each_encoder
def test_both_passes_use_same_dropout_draws(spec, graph):
    encoder, encode = make(spec, dropout=0.3)
    tokens, variables, generators = pairs(10), encoder.trainable_variables, generators_of(encoder)
    assert generators
    start = [values(generator.state) for generator in generators]
    keras.utils.set_random_seed(5)  # on torch, dropout draws from its global generator
    value, gradients, _ = cached(encode, variables, tokens, ranking, 4, generators, graph)
    after = [values(generator.state) for generator in generators]
    for generator, state in zip(generators, start, strict=True):
        generator.state.assign(state)
    keras.utils.set_random_seed(5)
    near((value, gradients), direct(encode, variables, tokens, ranking, chunks=4))
    for generator, state in zip(generators, after, strict=True):  # as far as one pass gets
        np.testing.assert_array_equal(values(generator.state), state)


def test_loss_variables_receive_gradients():
    encoder, encode = make(TRANSFORMER)
    scale = keras.Variable(np.float32(2.0), name="scale")

    def loss(embeddings):
        return ranking(embeddings) * scale.value

    variables, tokens = [*encoder.trainable_variables, scale], pairs(6)
    value, gradients, _ = cached(encode, variables, tokens, loss, 4)
    near((value, gradients), direct(encode, variables, tokens, loss))
    assert gradients[-1] == pytest.approx(value / 2, rel=1e-5)

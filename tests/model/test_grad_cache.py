"""GradCache gives the gradients of the whole batch, whatever the mini-batches, with dropout replayed."""

import keras
import numpy as np
import pytest

from losses.numeric import values
from ml4ir_losses.core.registry import ENCODERS
from ml4ir_losses.losses.factory import get_loss
from selection import slow_except

pytestmark = pytest.mark.backend("tensorflow")

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
    """The loss and the gradients through all rows at once, or through mini-batches that one tape holds."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        parts = (
            [encode(tokens)]
            if chunks is None
            else [encode(tokens[i : i + chunks]) for i in range(0, len(tokens), chunks)]
        )
        value = loss(tf.concat(parts, axis=0))
    gradients = tape.gradient(value, [variable.value for variable in variables], unconnected_gradients="zero")
    return values(value), [values(tf.convert_to_tensor(g)) for g in gradients]


def cached(encode, variables, tokens, loss, size, generators=(), graph=True):
    import tensorflow as tf

    from ml4ir_losses.model.grad_cache import cached_gradients

    def step(tokens):
        return cached_gradients(encode, loss, tokens, size, variables, [g.state for g in generators])

    step = tf.function(step, input_signature=[tf.TensorSpec([None, 2, 6], "int32")]) if graph else step
    value, gradients, embeddings = step(tf.constant(tokens))
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
    value, gradients, _ = cached(encode, variables, tokens, ranking, 4, generators, graph)
    after = [values(generator.state) for generator in generators]
    for generator, state in zip(generators, start, strict=True):
        generator.state.assign(state)
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

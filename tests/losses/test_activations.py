"""The final activations: values, masks, and what becomes of them in a functional graph."""

import keras
import numpy as np
import pytest

from losses.cases import case_of, get_loss
from losses.models import ranker
from losses.numeric import assert_close, gradient, values
from ml4ir_losses.losses.activations import ACTIVATIONS, INVERSES, MaskedActivation
from selection import each_loss

LOGITS = np.array([[0.5, -1.0, 2.0, 7.0], [3.0, 3.0, 9.0, 9.0], [1.0, 2.0, 3.0, 4.0]], dtype="float32")
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
SEVERAL = np.stack([LOGITS, LOGITS[:, ::-1] - 1.0], axis=-1)  # two logits per document
LOWEST = np.finfo("float32").min


WIDE = ("sum_of_sigmoids", "mean_of_sigmoids", "sigmoid_of_relevance", "classes")


def logits_of(name):
    return SEVERAL if name in WIDE else LOGITS


def by_hand(name, mask):
    expected = np.zeros(LOGITS.shape)
    for b, row in enumerate(logits_of(name).astype("float64")):
        real = np.flatnonzero(mask[b])
        if name in WIDE:
            p = 1 / (1 + np.exp(-row[real]))
            both = p[:, 0] + p[:, 1]
            second = 1 / (1 + np.exp(row[real, 0] - row[real, 1]))
            expected[b, real] = {WIDE[0]: both, WIDE[1]: both / 2, WIDE[2]: p[:, 1], WIDE[3]: second}[name]
        elif name == "identity":
            expected[b] = LOWEST
            expected[b, real] = row[real]
        elif name == "sigmoid":
            expected[b, real] = 1 / (1 + np.exp(-row[real]))
        elif len(real):
            expected[b, real] = np.exp(row[real]) / np.exp(row[real]).sum()
    return expected


each_activation = pytest.mark.parametrize("name", sorted(ACTIVATIONS))


@each_activation
@pytest.mark.parametrize("dtype", ["bool", "float32", "int32"])
def test_values_by_hand(name, dtype):
    logits = logits_of(name)
    np.testing.assert_allclose(values(ACTIVATIONS[name](logits, MASK.astype(dtype))), by_hand(name, MASK), rtol=1e-6)
    np.testing.assert_allclose(values(ACTIVATIONS[name](logits)), by_hand(name, np.ones((3, 4))), rtol=1e-6)


@each_activation
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_padding_reaches_neither_value_nor_gradient(name, garbage):
    logits = logits_of(name)
    dirty = np.where((MASK > 0).reshape(MASK.shape + (1,) * (logits.ndim - 2)), logits, np.float32(garbage))
    np.testing.assert_allclose(values(ACTIVATIONS[name](dirty, MASK)), by_hand(name, MASK), rtol=1e-6)

    def first(x):  # the sum of a softmax has no gradient
        return ACTIVATIONS[name](x, MASK)[:, :1]

    np.testing.assert_allclose(gradient(first, dirty), gradient(first, logits), rtol=1e-6)


@each_activation
def test_extreme_logits_give_exact_values(name):
    far = np.array([[1e4, -1e4, 0.0, 1e4]], dtype="float32")
    sigmoid = np.array([[1, 0, 0.5, 1]])
    expected = {
        "identity": far,
        "softmax": [[0.5, 0, 0, 0.5]],
        "sum_of_sigmoids": 2 * sigmoid,
        "classes": [[0.5] * 4],
    }.get(name, sigmoid)
    far = np.stack([far, far], axis=-1) if name in WIDE else far
    np.testing.assert_allclose(values(ACTIVATIONS[name](far)), expected, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(INVERSES))
def test_inverses_undo_the_activation(name):
    logits = values(INVERSES[name](ACTIVATIONS[name](LOGITS)))
    shift = LOGITS - logits if name != "sigmoid" else np.zeros((3, 1))
    np.testing.assert_allclose(logits + shift[:, :1], LOGITS, atol=1e-3)
    assert_close(
        values(INVERSES[name](np.full((1, 2), 0.5 if name == "sigmoid" else np.exp(-2.0))))[0, 0],
        0.0 if name == "sigmoid" else -2.0,
    )


@each_loss(quick="family")
def test_functional_graph_names_the_node_and_reloads_it(key, tmp_path):
    """It is named, carries no mask that Keras would multiply into the loss, and comes back from a file."""
    width = (case_of(key).outputs,) if case_of(key).layout == "outputs" else ()
    data = np.tile(LOGITS[..., None], (1, 1, *width)) if width else LOGITS
    logits, mask = keras.Input((4, *width), name="logits"), keras.Input((4,), name="mask")
    op = get_loss(key).get_final_activation_op("relevance")
    model = keras.Model([logits, mask], op(logits, mask))
    assert model.output_names == ["relevance"]
    assert model.layers[-1].name == "relevance"
    assert keras.src.backend.get_keras_mask(model.output) is None
    scores = model.predict([data, MASK.astype("float32")], verbose=0)
    expected = values(ACTIVATIONS[get_loss(key).activation](data, MASK))  # test_values_by_hand checks them
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert getattr(op(data, MASK), "_keras_mask", None) is None
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict([data, MASK.astype("float32")], verbose=0), scores)


def test_keras_mask_is_dropped():
    words = keras.Input((6,), dtype="int32")
    embedded = keras.layers.Embedding(4, 3, mask_zero=True)(words)
    scored = keras.layers.Softmax(axis=1)(keras.layers.Dense(2)(embedded))
    assert keras.src.backend.get_keras_mask(scored) is not None
    assert keras.src.backend.get_keras_mask(MaskedActivation("sigmoid", name="s")(scored)) is None


@each_activation
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_output_is_float32_under_any_policy(name, dtype, policy):
    policy(dtype)
    model = ranker(size=4, outputs=2 if name in WIDE else 0)
    assert "float32" not in str(model.output.dtype)
    layer, narrow = MaskedActivation(name, name="score"), logits_of(name) / 7
    again = MaskedActivation.from_config(layer.get_config())
    for activation in (layer, again):
        assert "float32" in str(activation(model.output).dtype)
        assert "float32" in str(activation(model(np.ones((2, 4, 3)))).dtype)
        # and float32 logits are not narrowed on their way in
        np.testing.assert_allclose(values(activation(narrow)), values(ACTIVATIONS[name](narrow)), rtol=1e-6)


@each_loss(elsewhere="key")
def test_rank_scores_order_documents_like_final_scores(key):
    """`rank_scores` is unbounded: where the activation is 1 in float32, the documents still differ."""
    loss, case = get_loss(key), case_of(key)
    if not case.documents:
        pytest.skip("its rows are no lists")
    shape = (5, 8, case.outputs) if case.layout == "outputs" else (5, 8)
    logits = np.random.default_rng(0).normal(size=shape).astype("float32")
    ranks, scores = values(loss.rank_scores(logits)), values(ACTIVATIONS[loss.activation](logits))
    assert ranks.shape == scores.shape == (5, 8)
    np.testing.assert_array_equal(np.argsort(ranks), np.argsort(scores))
    far = logits + np.arange(8).reshape((8,) + (1,) * (len(shape) - 2)) * 1e3
    assert (np.diff(values(loss.rank_scores(far))) > 0).all()
